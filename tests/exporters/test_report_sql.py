"""The numbers on the page against queries of the store that share no code with it."""

import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.analysis.conftest import write_store
from tests.analysis.trees import at

from tokenflation.exporters.report import build_report, render

_OF_A_TASK = {
    "calls": "count(*)",
    "failed calls": "sum(status != 'ok')",
    "HTTP attempts": "sum(attempts)",
    "tool calls": "sum(tool_calls)",
    "agent runs": "count(distinct agent_run_id)",
    "sub-agent runs": "count(distinct case when depth > 0 then agent_run_id end)",
    "sub-agent calls": "sum(depth > 0)",
    "depth": "max(depth)",
    "input tokens": "sum(input_tokens)",
    "output tokens": "sum(output_tokens)",
    "peak context, tokens": "max(input_tokens)",
    "cache reads, tokens": "sum(cache_read_tokens)",
    "reasoning tokens": "sum(reasoning_tokens)",
    "duration": "(max(ended_at_ns) - min(started_at_ns)) / 1e9",
}
_SCALES = {"k": 1e3, "M": 1e6, "ms": 1e-3, "min": 60.0, "h": 3600.0}


class _Tables(HTMLParser):
    """Gathers every table of a page as rows of texts, by caption."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.rows: list[list[str]] = []
        self.inside = ""

    def handle_starttag(self, tag: str, _attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.rows = []
        elif tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        if tag in ("caption", "td", "th"):
            self.inside = tag

    def handle_data(self, data: str) -> None:
        if self.inside == "caption":
            self.tables[data] = self.rows
        elif self.inside:
            self.rows[-1][-1] += data.replace("\N{NO-BREAK SPACE}", " ")

    def handle_endtag(self, tag: str) -> None:
        if tag == self.inside:
            self.inside = ""


def _number(text: str) -> float:
    found = re.fullmatch(r"([\d.,]+)(?: ?(\w+|%))?[×%]?", text)
    assert found is not None, text
    return float(found[1].replace(",", "")) * _SCALES.get(found[2] or "", 1.0)


def _rows(rng: np.random.Generator) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for task in range(24):
        for step in range(int(rng.integers(1, 9))):
            tokens, begin = int(rng.integers(50, 9_000)), 100 * task + 3 * step
            told = {
                "input_tokens": tokens,
                "cache_read_tokens": int(rng.integers(0, tokens)),
                "output_tokens": step + 7,
            }
            told |= {"reasoning_tokens": step} if task % 3 else {}
            silent = dict.fromkeys(told)
            rows.append(
                {
                    "task": ("triage", "research")[task % 2], "task_id": f"t{task}", "step": step, "depth": step % 2,
                    "agent_run_id": f"t{task}-{step % 2}", "status": "error" if step == 6 else "ok", "model": "m",
                    "attempts": 1 + (step == 4), "tool_calls": step % 3, "started_at_ns": at(begin),
                    "ended_at_ns": at(begin + 2), "duration_s": 2.0, **(silent if step in (3, 6) else told),
                }
            )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, list[list[str]]], sqlite3.Connection]]:
    store: Path = write_store(tmp_path_factory.mktemp("sql") / "runs.db", _rows(np.random.default_rng(5)))
    parser = _Tables()
    parser.feed(re.sub(r"<(script|style).*?</\1>", "", render(build_report(str(store))), flags=re.DOTALL))
    with closing(sqlite3.connect(store)) as connection:
        yield parser.tables, connection


@pytest.mark.parametrize("kind", ["triage", "research"])
def test_means_percentiles_and_sums_are_those_of_the_store(
    kind: str, page: tuple[dict[str, list[list[str]]], sqlite3.Connection]
) -> None:
    tables, store = page
    head, *rows = next(rows for caption, rows in tables.items() if caption.startswith(f"{kind}, 12 tasks"))
    # Behind the name of a number that not all calls report stands the share of those that do.
    shown = {re.sub(r" \([\d.]+\s%\)$", "", row[0]): dict(zip(head[1:], row[1:], strict=True)) for row in rows}
    for name, query in _OF_A_TASK.items():
        asked = store.execute(f"select {query} from calls where task = ? group by task_id", [kind])
        values = np.array([value for (value,) in asked if value is not None], dtype=float)
        cells = shown[name]
        assert _number(cells["mean"]) == pytest.approx(values.mean(), rel=6e-3), name
        for level in (10, 50, 90, 99):
            assert _number(cells[f"p{level}"]) == pytest.approx(np.quantile(values, level / 100), rel=6e-3), name
        if cells["all tasks"]:
            assert _number(cells["all tasks"]) == pytest.approx(values.sum(), rel=6e-3), name


def test_parts_agents_and_hit_rates_are_those_of_the_store(
    page: tuple[dict[str, list[list[str]]], sqlite3.Connection],
) -> None:
    tables, store = page
    both = "input_tokens is not null and cache_read_tokens is not null"
    for kind in ("triage", "research"):
        mean, outside, tokens, rate = store.execute(
            "select sum(input_tokens) * 1.0 / count(distinct case when input_tokens is not null then task_id end), "
            "sum(case when depth > 0 then input_tokens + output_tokens end), sum(input_tokens + output_tokens), "
            f"sum(case when {both} then cache_read_tokens end) * 100.0 / sum(case when {both} then input_tokens end) "
            "from calls where task = ?",
            [kind],
        ).fetchone()
        parts = [row for row in tables["Mean input tokens per task, by part"] if row[0].startswith(f"{kind}:")]
        assert sum(_number(row[1]) for row in parts) == pytest.approx(mean, abs=len(parts))
        head, *agents = tables["Agents"]
        mine = next(row for row in agents if row[0] == kind)
        assert _number(mine[head.index("sub-agents' tokens")]) == pytest.approx(100 * outside / tokens, abs=0.06)
        percentiles = next(rows for caption, rows in tables.items() if caption.startswith(f"{kind}, 12 tasks"))
        hits = next(row for row in percentiles if row[0] == "cache hits by tokens")
        assert _number(hits[1]) == pytest.approx(rate, abs=0.06)
