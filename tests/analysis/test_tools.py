"""What tools are asked for and take: counts by hand, and sums that agree on random trees."""

from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from tests.analysis.conftest import Row, frame_of
from tests.analysis.trees import at, call, random_tasks, tool, tools_of

from tokenflation.analysis.columns.structure import TOOL_COLUMNS
from tokenflation.analysis.context.steps import context_steps
from tokenflation.analysis.structure.tools import tools


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(rows)


def test_each_tool_is_counted_with_its_failures_sizes_and_times() -> None:
    calls = [call("a", "r", 0, 0), call("b", "r", 1, 10), call("z", "s", 0, 20, task="other", task_id="o")]
    same = {"arguments_hash": b"1", "arguments_bytes": 4}
    rows = [
        tool(
            "a",
            "1",
            "read",
            started_at_ns=at(1),
            ended_at_ns=at(3),
            failed=0,
            result_tokens=50,
            result_bytes=200,
            **same,
        ),
        tool("b", "2", "read", started_at_ns=at(11), ended_at_ns=at(15), failed=1, run_span_id="s", **same),
        tool("b", "3", "read", executed=None, arguments_hash=b"2"),
        tool("b", "4", "web", kind="server", executed=None),
        tool("z", "5", "read", agent_run_id="sub", **same),
        tool("gone", "6", "read"),
    ]
    frame = tools(frame_of(calls), _frame(rows))
    assert list(frame.columns) == list(TOOL_COLUMNS)
    assert list(zip(frame["task"], frame["tool"], frame["requested"], strict=True)) == [
        ("kind", "read", 3), ("kind", "web", 1), ("other", "read", 1),
    ]  # fmt: skip
    read, web, other = frame.to_dict("records")
    assert (read["executed"], read["unanswered"], read["repeated"], read["arguments_known"]) == (2, 1, 1, 3)
    assert (read["failed"], read["failure_known"], read["error_rate"]) == (1, 2, 0.5)
    assert (read["arguments_bytes"], read["result_bytes"], read["result_tokens"], read["results_known"]) == (
        8,
        200,
        50,
        1,
    )
    # 2 s and 4 s: the median lies at 3, nine tenths of the way from the first to the second at 3.8.
    assert [read[name] for name in ("tool_s", "tool_s_p50", "tool_s_p90")] == pytest.approx([6, 3, 3.8])
    assert (read["timed"], read["timed_by_run"]) == (2, 1)
    assert (web["server_side"], web["executed"], web["unanswered"]) == (1, 0, 0)
    assert (other["sub_agent_runs"], other["repeated"]) == (1, 0)


def test_what_the_provider_ran_is_no_repetition_in_whatever_order_rows_stand() -> None:
    same = {"arguments_hash": b"1", "name": "web"}
    rows = [tool("a", "1", kind="server", **same), tool("a", "2", **same)]
    for order in (rows, rows[::-1]):
        [found] = tools(frame_of([call("a", "r", 0, 0)]), _frame(order)).to_dict("records")
        assert (found["requested"], found["server_side"], found["repeated"]) == (2, 1, 0)
        assert found["arguments_known"] == 1


def test_a_run_that_ended_before_the_answer_that_asks_for_it_took_no_time() -> None:
    row = tool("a", "1", started_at_ns=at(3), ended_at_ns=at(2))
    [found] = tools(frame_of([call("a", "r", 0, 0)]), tools_of([row])).to_dict("records")
    assert (found["tool_s"], found["timed"]) == (0, 1)


def test_a_tools_time_is_exact_to_the_nanosecond() -> None:
    asked = at(1) + 100
    row = tool("a", "1", started_at_ns=asked, ended_at_ns=asked + 301)
    [found] = tools(frame_of([call("a", "r", 0, 0)]), tools_of([row])).to_dict("records")
    assert (found["tool_s"], found["tool_s_p50"]) == (301e-9, 301e-9)


def test_what_later_calls_carry_of_a_tools_results_is_its_share_of_the_input() -> None:
    # Four steps; the third reads a history that was cut down, so what came before is carried no further.
    sizes = (1_000, 1_400, 300, 700)
    calls = frame_of([call(name, "r", step, 10 * step, input_tokens=sizes[step]) for step, name in enumerate("abcd")])
    rows = [
        tool("a", "1", "read", result_tokens=400),  # read by b
        tool("b", "2", "read", result_tokens=300),  # its reader is the call that was cut down
        tool("c", "3", "read", result_tokens=250),  # read by d
        tool("c", "4", "web", kind="server", result_tokens=90),
        tool("d", "5", "look"),
    ]
    frame = tools(calls, _frame(rows), steps=context_steps(calls, windows={})).set_index("tool")
    assert frame.loc["read", "carried_tokens"] == 400 + 250
    assert frame.loc["read", "carried_input_share"] == pytest.approx(650 / 3_400)
    assert frame.loc[["web", "look"], ["carried_tokens", "carried_input_share"]].isna().all(axis=None)
    assert tools(calls, _frame(rows))["carried_tokens"].isna().all()


def test_what_no_tool_call_says_is_missing() -> None:
    row = tools(frame_of([call("a", "r", 0, 0)]), _frame([tool("a", "1")])).iloc[0]
    assert row[["error_rate", "result_bytes", "result_tokens", "tool_s", "tool_s_p90"]].isna().all()


def test_a_source_that_names_no_tool_calls_gives_no_row() -> None:
    for rows in (None, tools_of([])):
        frame = tools(frame_of([call("a", "r", 0, 0, tool_calls=1)]), rows)
        assert (len(frame), list(frame.columns)) == (0, list(TOOL_COLUMNS))


@given(random_tasks())
@settings(deadline=None, max_examples=50)
def test_every_tool_call_is_counted_once(task: tuple[list[Row], list[dict[str, Any]]]) -> None:
    frame = tools(frame_of(task[0]), tools_of(task[1]))
    assert frame["requested"].sum() == len(task[1])
    assert (frame["executed"] + frame["unanswered"] + frame["server_side"] == frame["requested"]).all()
