"""Where a task's time goes: worked by hand, and exact sums on random call trees."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import SECOND_NS, Row, frame_of
from tests.analysis.trees import at, call, random_tasks, research, tool, tools_of

from tokenflation.analysis import tasks
from tokenflation.analysis.columns.structure import TIME_COLUMNS
from tokenflation.analysis.structure.tasks import structure_tasks
from tokenflation.analysis.structure.timing import timing
from tokenflation.analysis.structure.trees import trees
from tokenflation.sdk.errors import FrameError

PARTS = ("generation_ns", "tool_ns", "human_wait_ns", "rest_ns", "unknown_ns")


def _seconds(calls: Sequence[Row], tools: list[dict[str, Any]] | None = None) -> list[float]:
    """Return generation, tool, human, rest and unknown seconds of the only task."""
    [row] = timing(frame_of(calls), tools_of(tools or [])).to_dict("records")
    return [row[name] / SECOND_NS for name in PARTS]


def test_an_answer_a_tool_an_answer_and_a_user_are_told_apart() -> None:
    # call 0-1, its tool 1-4, call 4-5, the user 5-15, call 15-16.
    calls = [
        call("a", "r", 0, 0, tool_calls=1, prompted_by="user"),
        call("b", "r", 1, 4, prompted_by="tool"),
        call("c", "r", 2, 15, prompted_by="user"),
    ]
    tools = [tool("a", "x", started_at_ns=at(1), ended_at_ns=at(4))]
    assert _seconds(calls, tools) == [3, 3, 10, 0, 0]


def test_a_tool_run_with_times_of_its_own_leaves_the_rest_to_the_program() -> None:
    # answer over at 1, the tool runs 2-3, the next call starts at 4: a second before it and one after are the
    # program's.
    calls = [call("a", "r", 0, 0, tool_calls=1), call("b", "r", 1, 4, prompted_by="tool")]
    assert _seconds(calls, [tool("a", "x", started_at_ns=at(2), ended_at_ns=at(3))]) == [2, 1, 0, 2, 0]


def test_calls_and_tools_at_once_count_each_instant_once() -> None:
    # a runs 0-1, tools 1-6 and 1-3, b 2-3 in parallel: generation 0-1, 2-3, 6-7; tool 1-2, 3-6.
    calls = [call("a", "r", 0, 0, tool_calls=2), call("b", "q", 0, 2), call("c", "r", 1, 6, prompted_by="tool")]
    tools = [
        tool("a", "x", started_at_ns=at(1), ended_at_ns=at(6)),
        tool("a", "y", started_at_ns=at(1), ended_at_ns=at(3)),
    ]
    assert _seconds(calls, tools) == [3, 4, 0, 0, 0]


def test_the_time_of_a_tool_that_holds_a_sub_agent_is_that_of_what_is_inside() -> None:
    # calls 0-2.2, 2.5-3.5, 4-5, 6-7; all three tools hold a sub-agent; the gaps 0.3 + 0.5 + 1 are the program's.
    calls, tools = research()
    assert _seconds(calls, tools) == pytest.approx([5.2, 0, 0, 1.8, 0])
    row = timing(frame_of(calls), tools_of(tools)).iloc[0]
    assert (row["concurrency_max"], row["call_ns"]) == (2, 6 * SECOND_NS)
    assert row["concurrency_mean"] == pytest.approx(6 / 7)


def test_without_rows_of_tools_a_gap_is_read_by_the_answer_before_it() -> None:
    # 1-3 after an answer that asks for a tool, 4-9 after one that does not, 10-11 after a failure.
    calls = [
        call("a", "r", 0, 0, tool_calls=1),
        call("b", "r", 1, 3),
        call("c", "r", 2, 9, status="error"),
        call("d", "r", 3, 11),
    ]
    assert _seconds(calls) == [4, 2, 5, 1, 0]


def test_a_new_sub_agent_is_begun_by_the_program_and_its_messages_are_no_user() -> None:
    calls = [
        call("a", "r", 0, 0, prompted_by="user"),
        call("b", "s", 0, 2, depth=1, prompted_by="user"),
        call("c", "s", 1, 5, depth=1, prompted_by="user"),
    ]
    assert _seconds(calls) == [3, 0, 0, 3, 0]


def test_a_new_history_in_an_agent_run_is_the_programs_prompt_and_one_that_goes_on_is_the_users() -> None:
    # 1-3 before a history that begins anew, 4-9 before one that goes on.
    begun = {"prompted_by": "user", "history": b"u12345678"}
    calls = [
        call("a", "r", 0, 0, **begun),
        call("b", "r", 1, 3, **begun),
        call("c", "r", 2, 9, **begun, continues_call_id="b"),
    ]
    assert _seconds(calls) == [3, 0, 5, 2, 0]
    row = structure_tasks(frame_of(calls)).iloc[0]
    assert row["user_requests"] == 2


def test_after_a_call_of_unknown_end_nobody_knows_until_a_later_one_starts() -> None:
    calls = [call("a", "r", 0, 0, ended_at_ns=None), call("b", "r", 1, 4), call("c", "r", 2, 6, prompted_by="user")]
    assert _seconds(calls) == [2, 0, 1, 0, 4]
    row = timing(frame_of([call("a", "r", 0, 0), call("b", "r", 1, 4, ended_at_ns=None)])).iloc[0]
    assert row["calls_without_end"] == 1
    assert row[["duration_ns", *PARTS, "tool_time_share"]].isna().all()


def test_a_second_of_server_tools_is_part_of_the_answer() -> None:
    calls = [call("a", "r", 0, 0), call("b", "r", 1, 3, prompted_by="user")]
    assert _seconds(calls, [tool("a", "x", kind="server", started_at_ns=at(1), ended_at_ns=at(3))]) == [2, 0, 2, 0, 0]


def test_rows_are_one_per_task_in_order_of_start_with_the_columns_of_the_contract() -> None:
    rows = [call("b", "q", 0, 5, task_id="late"), call("a", "r", 0, 0, task_id="early")]
    frame = timing(frame_of(rows))
    assert list(frame.columns) == list(TIME_COLUMNS)
    assert list(frame["task_id"]) == ["early", "late"]
    with pytest.raises(FrameError, match="without rows"):
        timing(frame_of([]))


@st.composite
def _timed_tools(draw: st.DrawFn) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return a random tree whose calls and tools take any time, some of them none that is known."""
    calls, tools = draw(random_tasks())
    seconds = st.none() | st.integers(min_value=-5, max_value=70).map(at)
    for one in tools:
        one |= {"started_at_ns": draw(seconds), "ended_at_ns": draw(seconds)}
    who = st.sampled_from((None, "user", "tool", "both"))
    changed: list[Row] = []
    for row in calls:
        length = draw(st.none() | st.integers(min_value=-1, max_value=20 * SECOND_NS))
        end = None if length is None else row["started_at_ns"] + length
        changed.append(dict(row) | {"ended_at_ns": end, "prompted_by": draw(who)})
    return changed, tools


@given(_timed_tools())
@settings(deadline=None, max_examples=25)
def test_the_parts_add_up_to_the_duration_exactly(task: tuple[list[Row], list[dict[str, Any]]]) -> None:
    calls, tools = frame_of(task[0]), tools_of(task[1])
    row = timing(calls, tools).iloc[0]
    assert (row["concurrency_max"] == 0) == bool(calls["ended_at_ns"].isna().all())
    if pd.isna(row["duration_ns"]):
        assert pd.isna(tasks(calls)["duration_s"].iloc[0])
        return
    assert all(row[name] >= 0 for name in PARTS)
    assert sum(int(row[name]) for name in PARTS) == row["duration_ns"]
    assert row["generation_ns"] <= row["call_ns"] <= row["concurrency_max"] * row["duration_ns"]


@given(_timed_tools())
@settings(deadline=None, max_examples=25)
def test_the_duration_is_that_of_the_tasks_frame(task: tuple[list[Row], list[dict[str, Any]]]) -> None:
    forward = [row for row in task[0] if row["ended_at_ns"] is None or row["ended_at_ns"] >= row["started_at_ns"]]
    if not forward:
        return
    calls = frame_of(forward)
    mine, theirs = timing(calls)["duration_ns"].iloc[0], tasks(calls)["duration_s"].iloc[0]
    assert (pd.isna(mine) and pd.isna(theirs)) or mine / 1e9 == pytest.approx(theirs)


def test_a_task_whose_calls_have_dates_but_for_some_lasts_nobody_knows_how_long() -> None:
    undated = {"started_at_ns": 5 * SECOND_NS, "ended_at_ns": 6 * SECOND_NS}
    dated = [call("c1", "r", 1, 0), call("c2", "r", 2, 5)]
    mixed = frame_of([call("c0", "r", 0, 0, **undated), *dated])
    (row,) = timing(mixed).to_dict("records")
    assert row["call_ns"] == 3 * SECOND_NS
    assert all(pd.isna(row[name]) for name in ("duration_ns", "rest_ns", "generation_ns"))
    assert tasks(mixed)["duration_s"].isna().all()
    assert next(trees(mixed)).duration_s is None
    assert structure_tasks(mixed)["duration_ns"].isna().all()
    assert timing(frame_of(dated))["duration_ns"].tolist() == [6 * SECOND_NS]
    assert timing(frame_of([call("c0", "r", 0, 0, **undated)]))["duration_ns"].tolist() == [SECOND_NS]
