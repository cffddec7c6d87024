"""The shape of a task: fan-out, shares and critical path by hand, and bounds that hold for any tree."""

from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import SECOND_NS, Row, frame_of
from tests.analysis.trees import at, call, random_tasks, research, tool, tools_of

from tokenflation.analysis import tasks
from tokenflation.analysis.columns.structure import SHAPE_COLUMNS
from tokenflation.analysis.structure.shape import _longest_chain, _Piece, shape


def _row(calls: Sequence[Row], tools: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    [row] = shape(frame_of(calls), tools_of(tools or [])).to_dict("records")
    return {str(name): value for name, value in row.items()}


def test_a_planner_with_two_readers_one_of_whom_asks_a_checker() -> None:
    row = _row(*research())
    # p0 starts two readers, b0 one checker.
    assert (row["starting_steps"], row["fan_out_max"], row["fan_out_mean"]) == (2, 2, 1.5)
    assert (row["agent_runs"], row["sub_agent_runs"], row["unplaced_runs"], row["depth"]) == (4, 3, 0, 2)
    # planner 2500 + 300; readers 510 + 110 + 210, checker 55.
    assert (row["tokens"], row["root_tokens"], row["sub_agent_tokens"]) == (3_685, 2_800, 885)
    assert row["sub_agent_token_share"] == pytest.approx(885 / 3_685)
    assert row["multi_agent_overhead"] == pytest.approx(3_685 / 2_800)
    # p0, then b0, c0, b1 (a0 runs beside them), then p1: 5 of the 6 busy seconds.
    assert (row["busy_ns"], row["critical_path_ns"], row["parallelism"]) == (6 * SECOND_NS, 5 * SECOND_NS, 1.2)


def test_four_sub_agents_at_once_are_one_link_of_the_chain() -> None:
    # 0-1, then four runs of 2 s at once, then 3-4: busy 10 s, chain 4 s.
    calls = [call("p", "p", 0, 0, tool_calls=4), call("q", "p", 1, 3)]
    calls += [call(f"s{n}", f"s{n}", 0, 1, ended_at_ns=at(3), depth=1, inside_tool_call_id=f"t{n}") for n in range(4)]
    tools = [tool("p", f"t{n}", "ask", started_at_ns=at(1), ended_at_ns=at(3)) for n in range(4)]
    row = _row(calls, tools)
    assert (row["fan_out_max"], row["busy_ns"], row["critical_path_ns"]) == (4, 10 * SECOND_NS, 4 * SECOND_NS)
    assert row["parallelism"] == 2.5


def test_the_longer_of_two_tools_at_once_is_in_the_chain_and_waiting_is_not() -> None:
    # call 0-1, tools 1-3 and 1-6, call 6-7, a gap, call 20-21: 1 + 5 + 1 + 1.
    calls = [call("a", "r", 0, 0, tool_calls=2), call("b", "r", 1, 6), call("c", "r", 2, 20)]
    tools = [
        tool("a", "x", started_at_ns=at(1), ended_at_ns=at(3)),
        tool("a", "y", started_at_ns=at(1), ended_at_ns=at(6)),
    ]
    row = _row(calls, tools)
    assert (row["critical_path_ns"], row["busy_ns"]) == (8 * SECOND_NS, 10 * SECOND_NS)


def test_calls_of_a_sibling_never_continue_a_chain_of_another_that_still_runs() -> None:
    # Two sub-agents overlap: r 1-2 and 8-9, s 3-4 and 6-7. Neither run waits for the other, so the chain has 2 of 4 s.
    calls = [call("p", "p", 0, 0, tool_calls=2)]
    calls += [call(f"r{t}", "r", t, t, depth=1, inside_tool_call_id="x") for t in (1, 8)]
    calls += [call(f"s{t}", "s", t, t, depth=1, inside_tool_call_id="y") for t in (3, 6)]
    row = _row(calls, [tool("p", "x"), tool("p", "y")])
    assert (row["critical_path_ns"], row["busy_ns"]) == (3 * SECOND_NS, 5 * SECOND_NS)


def test_what_is_not_known_stays_missing() -> None:
    silent = {"input_tokens": None, "output_tokens": None, "ended_at_ns": None}
    row = _row([call("a", "r", 0, 0, **silent)])
    assert (row["calls_with_usage"], row["calls_without_end"], row["critical_path_ns"]) == (0, 1, 0)
    frame = shape(frame_of([call("a", "r", 0, 0, **silent)]))
    assert frame[["tokens", "root_tokens", "multi_agent_overhead", "parallelism", "fan_out_mean"]].isna().all(axis=None)
    assert list(frame.columns) == list(SHAPE_COLUMNS)


def test_tokens_of_agents_that_report_none_are_missing_and_not_nought() -> None:
    silent = {"input_tokens": None, "output_tokens": None}
    row = _row([call("p", "p", 0, 0, **silent), call("s", "s", 0, 1, depth=1)])
    assert (row["tokens"], row["sub_agent_tokens"]) == (110, 110)
    assert pd.isna(row["root_tokens"])
    assert pd.isna(row["multi_agent_overhead"])
    row = _row([call("p", "p", 0, 0), call("s", "s", 0, 1, depth=1, **silent)])
    assert (row["tokens"], row["root_tokens"], row["multi_agent_overhead"]) == (110, 110, 1)
    assert pd.isna(row["sub_agent_tokens"])
    assert pd.isna(row["sub_agent_token_share"])


def test_a_part_without_calls_has_no_tokens_and_one_that_reports_nought_has_nought() -> None:
    row = _row([call("p", "p", 0, 0)])
    assert (row["root_tokens"], row["sub_agent_tokens"], row["sub_agent_token_share"]) == (110, 0, 0)
    row = _row([call("p", "p", 0, 0), call("s", "s", 0, 1, depth=1, input_tokens=0, output_tokens=0)])
    assert (row["root_tokens"], row["sub_agent_tokens"], row["sub_agent_token_share"]) == (110, 0, 0)


def test_a_sub_agent_of_unknown_place_is_counted_as_such() -> None:
    row = _row([call("p", "p", 0, 0), call("q", "q", 0, 0), call("s", "s", 0, 1, depth=1)])
    assert (row["sub_agent_runs"], row["unplaced_runs"], row["starting_steps"]) == (1, 1, 0)


@given(random_tasks())
@settings(deadline=None, max_examples=25)
def test_splits_agree_with_the_tasks_frame_exactly(task: tuple[list[Row], list[dict[str, Any]]]) -> None:
    calls = frame_of(task[0])
    row, grouped = shape(calls, tools_of(task[1])).iloc[0], tasks(calls).iloc[0]
    for name in ("calls", "calls_with_usage", "agent_runs", "sub_agent_runs", "depth"):
        assert row[name] == grouped[name]
    if grouped[["input_tokens", "output_tokens"]].notna().any():
        assert row["tokens"] == grouped[["input_tokens", "output_tokens"]].fillna(0).sum()
        parts = row[["root_tokens", "sub_agent_tokens"]].dropna()
        assert parts.sum() == row["tokens"]
    assert row["fan_out_max"] <= row["sub_agent_runs"]
    if grouped["duration_s"] > 0:
        assert row["critical_path_ns"] <= min(row["busy_ns"], round(grouped["duration_s"] * SECOND_NS))


@given(
    st.lists(
        st.tuples(st.integers(0, 12), st.integers(1, 6), st.floats(0, 1)).map(
            lambda one: _Piece(one[0], one[0] + one[1], round(one[1] * one[2]))
        ),
        max_size=8,
    )
)
def test_the_longest_chain_is_that_of_all_choices(pieces: list[_Piece]) -> None:
    chains = (chosen for size in range(len(pieces) + 1) for chosen in combinations(sorted(pieces), size))
    fitting = [
        sum(piece.weight_ns for piece in chain)
        for chain in chains
        if all(one.end_ns <= other.start_ns for one, other in pairwise(chain))
    ]
    assert _longest_chain(pieces) == max(fitting)


def test_a_store_may_nest_deeper_than_python_recurses() -> None:
    calls = [
        call(f"c{n}", f"r{n}", 0, n, depth=n, inside_tool_call_id=f"t{n - 1}" if n else None) for n in range(2_000)
    ]
    row = _row(calls, [tool(f"c{n}", f"t{n}") for n in range(1_999)])
    assert (row["depth"], row["critical_path_ns"]) == (1_999, 2_000 * SECOND_NS)
