"""`tokenflation cache`: what it prints, and that it says what is not known."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from tests.analysis.conftest import write_store
from tests.analysis.prompts import asked

from tokenflation.cli import main


def _run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


def _volatile(at: int) -> dict[str, Any]:
    """Return the first call of a task of its own: four blocks of system prompt, two of tools, then the question."""
    prompt = f"s{at}sstt" + "uvw"[at]
    known = {"instructions_hash": prompt[:6].encode(), "system_tokens": 16, "tool_definition_tokens": 8}
    return asked(prompt, 400 * at, task="[b]triage", task_id=f"t{at}", call_id=f"{at:016x}", **known)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    rows = [_volatile(at) | {"cache_read_tokens": 0, "prompted_by": "user"} for at in range(3)]
    return write_store(tmp_path / "runs.db", rows)


def test_json_is_the_summary_with_exact_integers_and_coverage(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("cache", store, "--json") == 0

    (row,) = json.loads(capsys.readouterr().out)
    assert (row["provider"], row["model"], row["calls"], row["calls_with_both"]) == ("openai", "m", 3, 3)
    assert (row["ideal_tokens"], row["lost_tokens"], row["realised_hit_rate"]) == (8, 8, 0.0)
    assert isinstance(row["ideal_tokens"], int)


@pytest.mark.parametrize("table", ["summary", "triggers", "resent", "ttl", "bytes", "needed", "volatile"])
def test_every_table_comes_as_json_and_csv_with_the_same_columns(
    store: Path, table: str, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--table", table, "--kv-bytes-per-token", "1024")
    _run("cache", store, *options, "--json")
    objects = json.loads(capsys.readouterr().out)

    assert _run("cache", store, *options, "--csv") == 0

    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [list(row) for row in rows] == [list(row) for row in objects]
    assert objects


def test_people_see_rates_sizes_and_the_sentence_about_what_changes(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run("cache", store, "--kv-bytes-per-token", "1024") == 0

    shown = capsys.readouterr().out
    assert "Block 1 (tokens 4 to 7) differs in every call of `[b]triage`" in shown.replace("\n", " ")
    assert "5 min" in shown
    assert "4.10kB" in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_a_store_without_hashes_shows_what_is_realised_and_says_what_is_not_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"input_tokens": 100, "cache_read_tokens": 40, "model": "m"}, {"model": "m"}]

    assert _run("cache", write_store(tmp_path / "plain.db", rows)) == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert "40.0 %" in shown
    assert "No cache reads are reported by 1 of 2 calls." in shown
    assert "No prefix hashes are there of 2 of 2 calls" in shown


def test_what_is_read_beyond_a_history_is_no_rate_above_1_and_is_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [{"input_tokens": size, "cache_read_tokens": read, "model": "m"} for size, read in ((100, 80), (150, 90))]

    assert _run("cache", write_store(tmp_path / "plain.db", rows)) == 0

    shown = " ".join(capsys.readouterr().out.split())
    assert "│ 100 │ 90.0 % │ 10 │ 80 │" in shown
    assert "Read beyond what a history sends again: beginnings that another task or agent had put into" in shown


def test_a_question_about_hashes_to_a_store_without_any_is_answered_with_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = write_store(tmp_path / "plain.db", [{"input_tokens": 100}])

    assert _run("cache", store, "--table", "ttl") == 1

    assert "no prefix hashes" in capsys.readouterr().err


def test_times_that_count_from_each_tasks_start_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = asked("ab", extra='{"session":{"session_relative_time":true}}')

    _run("cache", write_store(tmp_path / "runs.db", [row]))

    assert "The times of 1 task count from the task's own start" in " ".join(capsys.readouterr().out.split())


def test_misuse_is_told_from_wrong_input(store: Path, tmp_path: Path) -> None:
    assert _run("cache", store, "--kv-bytes-per-token", "0") == 2
    assert _run("cache", store, "--by", "status") == 2
    assert _run("cache", tmp_path / "missing.db") == 1
