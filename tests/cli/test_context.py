"""`tokenflation context`: what it prints, and that it says what is not known."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.analysis.conftest import write_store

from tokenflation.cli import main


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _calls(tasks: int = 12) -> list[dict[str, Any]]:
    """Return tasks of 1, 2, 3 ... steps that each add 900 tokens to 3,000."""
    return [
        {
            "task": "[b]fix",
            "task_id": f"t{task}",
            "step": step,
            "model": "m",
            "input_tokens": 3000 + 900 * step,
            "output_tokens": 100,
            "cache_read_tokens": 2000 if step else 0,
            "prompted_by": "tool" if step else "user",
        }
        for task in range(tasks)
        for step in range(task + 1)
    ]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "runs.db", _calls())


def test_json_is_one_object_per_kind_with_ratios_of_sums(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("context", store, "--json") == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert (row["task"], row["runs"], row["steps"], row["calls"]) == ("[b]fix", 12, 78, 78)
    assert row["input_over_peak_context"] == row["input_tokens"] / row["peaks_tokens"]
    assert 1 < row["growth_exponent_low"] < row["growth_exponent"] < row["growth_exponent_high"] < 2


def test_the_same_store_prints_the_same_intervals(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("context", store, "--json")
    first = capsys.readouterr().out
    _run("context", store, "--json")

    assert capsys.readouterr().out == first


@pytest.mark.parametrize("table", ["kinds", "runs", "steps", "append"])
def test_every_table_comes_as_json_and_csv_with_the_same_columns(
    store: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    _run("context", store, "--table", table, "--json")
    objects = json.loads(capsys.readouterr().out)

    assert _run("context", store, "--table", table, "--csv") == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [list(row) for row in rows] == [list(row) for row in objects]
    assert len(rows) == {"kinds": 1, "runs": 12, "steps": 78, "append": 2}[table]


@pytest.mark.parametrize("table", [(), ("--table", "runs"), ("--table", "steps"), ("--table", "append")])
def test_people_see_tables_within_a_hundred_columns(
    store: Path, table: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("context", store, *table) == 0

    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= 100
    assert "…" not in shown
    assert ("20 of 78 rows" in shown) == ("steps" in table)


def test_a_window_can_be_given_and_calls_near_it_are_counted(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _run("context", store, "--window", "15000", "--json")

    (row,) = json.loads(capsys.readouterr().out)
    # 80 % are 12,000 tokens: steps 10 and 11, of tasks with 11 and with 12 steps.
    assert (row["calls_near_window"], row["calls_with_window"]) == (3, 78)


def test_what_is_not_known_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"input_tokens": 100, "model": "m"}, {"model": "m"}]

    assert _run("context", write_store(tmp_path / "runs.db", rows)) == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert "No exponent over runs: fewer than 10 runs that report every input (1 kind)." in shown
    assert "No input is reported by 1 of 2 calls: left out." in shown
    assert "What was cached of 1 call is not known." in shown
    assert "The context window of 1 call is not known" in shown


def test_an_embedding_that_reports_its_input_is_not_said_to_report_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"input_tokens": 100, "output_tokens": 9, "model": "m"}, {"input_tokens": 7, "output_tokens": 0}]

    _run("context", write_store(tmp_path / "runs.db", rows))

    shown = " ".join(capsys.readouterr().out.split())
    assert "In no context, and left out: 1 call without output, as embeddings are." in shown
    assert "No input is reported" not in shown


def test_a_store_without_any_input_is_refused_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("context", write_store(tmp_path / "runs.db", [{"model": "m"}])) == 1

    assert "No call reports its input" in capsys.readouterr().err


def test_agents_of_one_kind_without_an_exponent_are_not_counted_as_kinds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        {"input_tokens": 100, "agent": name, "agent_run_id": name, "call_id": name} for name in ("planner", "reader")
    ]

    assert _run("context", write_store(tmp_path / "runs.db", rows)) == 0

    assert "(2 agents)." in " ".join(capsys.readouterr().out.split())
