"""Of a large store the page says all sums exactly, the rest of whole tasks taken at random, and which is which."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation import analysis
from tokenflation.exporters.parquet import seal
from tokenflation.exporters.report import Live, build_report, page_parts, task_part
from tokenflation.exporters.report.build import with_task
from tokenflation.exporters.report.facts import facts_of
from tokenflation.exporters.report.sampling import calls_of_tasks, count_calls, take

TASKS, STEPS = 60, 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store of sixty tasks of four calls, one of which is much the largest."""
    rows: list[dict[str, Any]] = [
        call(
            f"t{task}c{step}", f"r{task}", step, 10 * task + step, task_id=f"T-{task}", model="m",
            input_tokens=100_000 if task == 7 else 100 * (step + 1), status="error" if task == 3 else "ok",
        )
        for task in range(TASKS)
        for step in range(STEPS)
    ]  # fmt: skip
    return write_store(tmp_path_factory.mktemp("sample") / "runs.db", rows)


def test_whole_tasks_are_taken_the_same_each_time_and_no_more_calls_than_asked_for(store: Path) -> None:
    taken = take(str(store), 40)
    sizes = taken.calls.groupby("task_id").size()
    assert set(sizes) == {STEPS}
    assert 0 < len(taken.calls) <= 40
    assert (taken.tasks, taken.all_tasks, taken.is_sample) == (len(sizes), TASKS, True)
    assert take(str(store), 40).calls["call_id"].tolist() == taken.calls["call_id"].tolist()


def test_a_task_stays_in_when_the_store_grows_unless_there_is_no_room(store: Path) -> None:
    small, large = (set(take(str(store), most).calls["task_id"]) for most in (40, 80))
    assert small < large


def test_calls_that_are_taken_are_those_that_the_store_holds(store: Path) -> None:
    taken = take(str(store), 40).calls
    whole = analysis.load(str(store), blocks=True)
    same = whole[whole["call_id"].isin(taken["call_id"])].reset_index(drop=True)
    assert taken.equals(same.astype(taken.dtypes.to_dict()))


def test_parquet_gives_the_same_sample_as_the_store_it_is_of(store: Path, tmp_path: Path) -> None:
    source = str(tmp_path / "calls")
    seal(analysis.load(str(store), blocks=True), tmp_path / "calls")
    assert count_calls(source) == count_calls(str(store)) == TASKS * STEPS
    assert take(source, 40).calls["call_id"].tolist() == take(str(store), 40).calls["call_id"].tolist()


def test_sums_and_percentiles_are_of_all_calls_and_the_rest_says_of_how_many_tasks_it_is(store: Path) -> None:
    whole, sample = (build_report(str(store), most_calls=most) for most in (None, 40))
    assert sample.facts == whole.facts
    assert sample.profile.drop(columns="task").equals(whole.profile.drop(columns="task"))
    parts, full = page_parts(sample), page_parts(whole)
    assert sample.sample is not None
    told = f"Of a sample: {sample.sample[0]} of {TASKS} tasks."
    assert [key for key in parts if told in parts[key]] == [
        "findings", "parts", "steps", "growth", "cache", "structure", "tasks", "inflation", "demand",
    ]  # fmt: skip
    assert "taken at random" in parts["headline"]
    assert parts["kinds"] == full["kinds"]
    assert parts["percentiles"] == full["percentiles"]


def test_the_largest_task_is_taken_apart_though_the_sample_lacks_it_and_any_other_on_request(store: Path) -> None:
    report = build_report(str(store), most_calls=8)
    assert "T-7" not in set(report.calls["task_id"])
    assert "kind: T-7" in page_parts(report)["tasks"]
    left = next(name for name in report.known["task_id"] if name not in set(report.calls["task_id"]) | {"T-7"})  # type: ignore[index]
    chosen = task_part(with_task(report, str(store), left), Live(version="", task_id=left))
    assert f"kind: {left}" in chosen
    assert "Of a sample" not in chosen
    assert "Of a sample" in page_parts(report)["tasks"]


def test_ctrl_c_while_the_calls_of_a_sample_are_read_logs_no_error(
    store: Path, caplog: pytest.LogCaptureFixture
) -> None:
    known = take(str(store), 40).known
    assert known is not None

    def interrupted(_cursor: sqlite3.Cursor, row: tuple[object, ...]) -> tuple[object, ...]:
        if len(row) > 30:  # a call's
            raise KeyboardInterrupt
        return row

    def connected(connection: sqlite3.Connection, _record: object) -> None:
        connection.row_factory = interrupted

    sa.event.listen(sa.Pool, "connect", connected)
    try:
        with pytest.raises(KeyboardInterrupt):
            calls_of_tasks(str(store), known)
    finally:
        sa.event.remove(sa.Pool, "connect", connected)
    assert caplog.records == []


def test_of_tasks_that_are_not_there_nothing_is_returned(store: Path) -> None:
    known = take(str(store), 40).known
    assert known is not None
    calls, tool_calls, spans = calls_of_tasks(str(store), known.assign(task_id="none"))
    assert [len(calls), len(tool_calls), len(spans)] == [0, 0, 0]


def test_facts_of_a_frame_and_of_its_store_are_the_same(store: Path) -> None:
    facts = facts_of(str(store))
    assert facts == facts_of(analysis.load(str(store)))
    assert (facts.calls, facts.failed, facts.models) == (TASKS * STEPS, STEPS, ("m",))
    assert facts.missing["reasoning_tokens"] == TASKS * STEPS


def test_the_page_names_the_models_that_answered_where_none_was_asked_for(tmp_path: Path) -> None:
    names = [(None, "local"), (None, "local"), ("auto", "big-v1"), ("small", None), ("auto", None), (None, None)]
    rows = [
        call(f"c{number}", "r", number, number, model=asked, response_model=answered)
        for number, (asked, answered) in enumerate(names)
    ]
    assert facts_of(str(write_store(tmp_path / "runs.db", rows))).models == ("local", "big-v1", "small")
