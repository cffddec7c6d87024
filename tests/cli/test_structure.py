"""`tokenflation structure`: what a user sees, what programs get, and what is refused."""

import csv
import io
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.analysis.conftest import write_store
from tests.analysis.trees import at, call, research, tool

from tokenflation.analysis import load
from tokenflation.analysis.structure.summary import SUMMARY_COLUMNS
from tokenflation.cli import main
from tokenflation.exporters import write
from tokenflation.sdk.store.tables import TABLES

SESSIONS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "agent_sessions" / "sessions.jsonl.xz"


def _stored(path: Path, calls: list[Any], tools: list[dict[str, Any]], outcomes: dict[str, int]) -> str:
    write_store(path, calls)
    names = [column.name for table in TABLES if table.name == "tool_calls" for column in table.columns]
    with closing(sqlite3.connect(path)) as connection:
        marks = ", ".join("?" * len(names))
        rows = [[one.get(name) for name in names] for one in tools]
        connection.executemany(f"insert into tool_calls values ({marks})", rows)
        spans = [(id_, id_, outcome, at(0)) for id_, outcome in outcomes.items()]
        columns = "span_id, kind, name, task_id, outcome, status, ended_at_ns"
        connection.executemany(f"insert into spans ({columns}) values (?, 'task', 'research', ?, ?, 'ok', ?)", spans)
        connection.commit()
    return str(path)


@pytest.fixture
def store(tmp_path: Path) -> str:
    """Return a store of the research task that failed, one that loops and succeeds, and one of another kind."""
    calls, tools = research()
    named: list[Any] = [dict(row) | {"task": "research", "task_id": "R-1"} for row in calls]
    for number in range(4):
        asks = {"tool_calls": 1, "prompted_by": "tool" if number else "user"}
        named.append(call(f"l{number}", "looper", number, 100 + 3 * number, task="research", task_id="R-2", **asks))
        times = {"started_at_ns": at(101 + 3 * number), "ended_at_ns": at(103 + 3 * number), "failed": 0}
        tools.append(tool(f"l{number}", f"s{number}", "poll", **times) | {"arguments_hash": b"same"})
    named.append(
        call("x", "solo", 0, 500, task="ask", task_id="A-1", status="error", input_tokens=None, output_tokens=None)
    )
    return _stored(tmp_path / "runs.db", named, tools, {"R-1": 0, "R-2": 1})


@pytest.fixture
def structure(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return a function that runs the command and gives its exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            main(["structure", *arguments])
        printed = capsys.readouterr()
        return int(caught.value.code or 0), printed.out, printed.err

    return run


def _lines(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_kind_is_shown_with_its_agents_time_tools_loops_and_success(
    structure: Callable[..., Any], store: str
) -> None:
    code, out, _ = structure(store)
    lines = _lines(out)
    assert code == 0
    assert lines[0] == "research: 2 tasks, 10 calls, 5 agent runs, 4.12k tokens"
    for line in (
        "sub-agent runs 3 2 levels deep at most",
        "branching factor 0.75 per agent run above the deepest level (4)",
        "fan-out 1.50 of an answer that starts any; at most 2",
        "error rate 0.0 % 4 of 7 results that tell",
        "loops 1 in 1 task, 3 steps beyond the first round",
        "reflections 75.0 % 3 that repeat a tool call",
        "success rate 50.0 % 1 of the 2 with an outcome",
        "poll 4 4 3 0 of 4 8.00 s 2.00 s 2.00 s",
        "1 task failed; the most expensive:",
        "R-1: 3.69k tokens (89.3 % of the kind), 6 calls; its outcome says so",
    ):
        assert line in lines, out


def test_tasks_that_failed_without_an_outcome_are_told_from_the_success_rate(
    structure: Callable[..., Any], tmp_path: Path
) -> None:
    ends = ["ok", "error", "error", "ok"]
    calls = [
        call(f"c{n}", f"r{n}", 0, 100 + n, task="research", task_id=f"R-{n}", status=end) for n, end in enumerate(ends)
    ]
    _, out, _ = structure(_stored(tmp_path / "ends.db", calls, [], {"R-0": 1}))

    lines = _lines(out)
    assert "success rate 100.0 % 1 of the 1 with an outcome; 3 tasks without one" in lines, out
    assert "2 tasks failed (2 without an outcome, so not in the success rate); the most expensive:" in lines


def test_what_is_not_known_is_said_and_not_shown_as_nothing(structure: Callable[..., Any], store: str) -> None:
    _, out, _ = structure(store, "--task", "ask")
    text = " ".join(_lines(out))
    assert text.startswith("ask: 1 task, 1 call, 1 agent run, no tokens reported")
    assert "failed calls 1 0 of them report tokens" in text
    assert "Not known: the input tokens of every call; the output tokens of every call;" in text
    assert "the outcome of every task." in text
    assert "tokens of failed calls" not in text
    assert "spread" not in text


def test_json_has_a_row_per_kind_with_every_column(structure: Callable[..., Any], store: str) -> None:
    ask, research_kind = json.loads(structure(store, "--json")[1])
    assert list(ask) == list(SUMMARY_COLUMNS)
    assert (ask["task"], ask["tokens"], ask["failed_tokens"]) == ("ask", None, None)
    assert (research_kind["multi_agent_overhead"], research_kind["tool_calls"]) == (pytest.approx(4_125 / 3_240), 7)


@pytest.mark.parametrize(
    ("grain", "count", "column"),
    [
        ("task", 3, "critical_path_ns"),
        ("run", 6, "reflections"),
        ("flag", 4, "repeats_step"),
        ("tool", 3, "error_rate"),
        ("failure", 2, "failed_by"),
        ("curve", 3, "success_share"),
    ],
)
def test_other_grains_are_rows_for_programs(
    structure: Callable[..., Any], store: str, grain: str, count: int, column: str
) -> None:
    rows = list(csv.DictReader(io.StringIO(structure(store, "--per", grain, "--csv")[1])))
    assert len(rows) == count
    assert column in rows[0]


def test_cost_of_a_success_needs_prices(structure: Callable[..., Any], store: str, tmp_path: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("update calls set model = 'm'")
        connection.commit()
    (tmp_path / "prices.json").write_text('{"currency": "USD", "prices": [{"model": "m", "input": 1e6, "output": 0}]}')
    [row] = json.loads(structure(store, "--task", "research", "--prices", str(tmp_path / "prices.json"), "--json")[1])
    # One dollar a token of input: 3,350 of the failure and 400 of the only success.
    assert (row["outcomes_priced"], row["cost_per_success"]) == (2, 3_750)
    assert "cost per success 3.75k USD" in " ".join(
        _lines(structure(store, "--prices", str(tmp_path / "prices.json"))[1])
    )


def test_misuse_and_bad_input_are_refused_with_a_reason(
    structure: Callable[..., Any], store: str, tmp_path: Path
) -> None:
    assert structure(store, "--per", "tool")[0] == 2
    assert structure(store, "--json", "--csv")[0] == 2
    code, out, err = structure(store, "--task", "nothing")
    assert (code, out) == (1, "")
    assert "its kinds are: ask, research" in err
    assert "there is no such file" in structure(str(tmp_path / "none.db"))[2]
    code, _, err = structure(store, "--prices", str(tmp_path / "none.json"))
    assert (code, "none.json cannot be read" in err) == (1, True)


def test_a_renamed_kind_goes_by_its_name_with_its_tools_and_outcomes(structure: Callable[..., Any], store: str) -> None:
    with pytest.raises(SystemExit):
        main(["tasks", store, "--rename", "research", "survey"])
    [row] = json.loads(structure(store, "--task", "survey", "--json")[1])
    assert (row["task"], row["successes"], row["loops"]) == ("survey", 1, 1)


def test_names_cannot_style_the_terminal_or_move_its_cursor(structure: Callable[..., Any], tmp_path: Path) -> None:
    bad = "[bold red]x[/bold red]\x1b[2J"
    calls = [call("a", bad, 0, 0, task=bad, task_id=bad, tool_calls=1, status="error", error_type=bad)]
    out = structure(_stored(tmp_path / "bad.db", calls, [tool("a", "t", bad)], {}))[1]
    assert "\x1b" not in out
    assert "[bold red]x[/bold red]\\x1b[2J: 1 task" in out


@pytest.mark.shared_data
@pytest.mark.skipif(not SESSIONS.exists(), reason="needs ../shared/data/agent_sessions/sessions.jsonl.xz")
def test_the_recorded_sessions_have_the_structure_that_is_known_of_them(
    structure: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["import", str(SESSIONS), "--store", str(tmp_path / "runs.db")])
    [row] = json.loads(structure(str(tmp_path / "runs.db"), "--json")[1])
    assert (row["tasks"], row["calls"], row["agent_runs"], row["sub_agent_runs"]) == (362, 24_665, 394, 32)
    assert row["tokens"] == 3_113_816_958 + 10_837_727
    parts = [row[f"{part}_s"] for part in ("generation", "tool", "human_wait", "rest", "unknown")]
    assert sum(parts) == pytest.approx(row["duration_s"])
    assert row["branching_factor_low"] < row["branching_factor"] == 32 / 362 < row["branching_factor_high"] < 1
    assert row["alarm"] is None
    assert row["parallelism"] >= 1
    assert row["tool_rows"] == row["tasks_with_outcome"] == 0


@pytest.mark.parametrize("command", ["structure", "tree", "profile"])
def test_a_folder_of_parquet_says_what_it_does_not_hold(
    command: str, store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "lake"
    write(load(store, blocks=True), folder, format="parquet")

    for source in (str(folder), store):
        capsys.readouterr()
        with pytest.raises(SystemExit, match="0"):
            main([command, source])

        said = "Parquet holds calls alone" in " ".join(capsys.readouterr().out.split())
        assert said == (source != store)


def test_how_well_a_kind_foretells_its_tasks_is_a_grain_of_its_own(
    structure: Callable[..., tuple[int, str, str]], store: str
) -> None:
    code, out, _ = structure(store, "--per", "predictability", "--json")

    rows = json.loads(out)
    assert code == 0
    assert [(row["task"], row["tasks"]) for row in rows] == [("ask", 1), ("research", 2), (None, 3)]
    assert rows[1]["typical_factor"] > 1
