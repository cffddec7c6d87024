"""The tree of a task: who stands where, and sums that agree exactly, on trees by hand and at random."""

from collections import Counter
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.conftest import Row, frame_of
from tests.analysis.trees import at, call, random_tasks, research, tool, tree_of

from tokenflation.analysis.structure.flags import flagged, step_flags
from tokenflation.analysis.structure.folding import folded, tool_names
from tokenflation.analysis.structure.trees import Node, added, tree_rows, trees, walk
from tokenflation.sdk.errors import FrameError


def _outline(node: Node) -> list[tuple[int, str, str]]:
    return [(level, one.kind, one.id) for level, one, _ in walk(node)]


def _one(node: Node, id_: str, kind: str | None = None) -> Node:
    (found,) = [one for _, one, _ in walk(node) if one.id == id_ and kind in (None, one.kind)]
    return found


def _sum(calls: list[Row], name: str) -> int | None:
    known = [row[name] for row in calls if row.get(name) is not None]
    return sum(known) if known else None


def test_parallel_sub_agents_stand_in_the_tool_calls_that_started_them() -> None:
    assert _outline(tree_of(*research())) == [
        (0, "task", "t"),
        (1, "agent", "planner"),
        (2, "step", "p0"),
        (3, "tool", "t1"),
        (4, "agent", "reader-a"),
        (5, "step", "a0"),
        (3, "tool", "t2"),
        (4, "agent", "reader-b"),
        (5, "step", "b0"),
        (6, "tool", "t3"),
        (7, "agent", "checker"),
        (8, "step", "c0"),
        (5, "step", "b1"),
        (2, "step", "p1"),
    ]


def test_own_tokens_are_those_of_own_calls_and_totals_add_what_is_inside() -> None:
    tree = tree_of(*research())
    planner, reader = _one(tree, "planner", "agent"), _one(tree, "reader-b", "agent")
    assert (tree.own.calls, tree.total.calls, tree.total.input_tokens) == (0, 6, 3_350)
    assert (planner.own.input_tokens, planner.total.input_tokens) == (2_500, 3_350)
    assert (reader.own.input_tokens, reader.total.input_tokens, reader.total.output_tokens) == (300, 350, 25)
    assert _one(tree, "p0").own.input_tokens == 1_000
    assert _one(tree, "p0").total.input_tokens == 1_850
    assert (_one(tree, "t2").own.calls, _one(tree, "t2").total.calls) == (0, 3)


def test_times_go_from_the_first_start_to_the_last_end_of_what_is_inside() -> None:
    tree = tree_of(*research())
    assert (tree.started_at_ns, tree.ended_at_ns, tree.duration_s) == (at(0), at(7), 7.0)
    assert _one(tree, "t3").duration_s == pytest.approx(1.8)
    assert _one(tree, "p0").ended_at_ns == at(6)


def test_an_end_that_is_not_known_is_not_made_up() -> None:
    tree = tree_of([call("a", "r", 0, 0), call("b", "r", 1, 5, ended_at_ns=None)])
    assert (tree.ended_at_ns, tree.duration_s, _one(tree, "b").duration_s) == (None, None, None)


def test_a_call_without_usage_is_counted_and_adds_no_tokens() -> None:
    silent = {"input_tokens": None, "output_tokens": None}
    tree = tree_of([call("a", "r", 0, 0), call("b", "r", 1, 2, status="cut", **silent)])
    total = tree.total
    assert (total.calls, total.failed_calls, total.calls_with_input, total.input_tokens) == (2, 1, 1, 100)
    assert _one(tree, "b").total.input_tokens is None
    assert tree_of([call("b", "r", 0, 2, **silent)]).total.output_tokens is None


def test_tool_calls_without_a_result_and_with_several_keep_their_counts() -> None:
    tree = tree_of([call("a", "r", 0, 0, tool_calls=2)], [tool("a", "x", executed=None), tool("a", "y", executed=2)])
    assert [(one.results, one.total.calls) for one in (_one(tree, "x"), _one(tree, "y"))] == [(None, 0), (2, 0)]
    assert tree.total.tool_calls == 2


def test_a_tool_call_id_used_twice_takes_the_one_asked_for_last_before_the_run_began() -> None:
    calls = [
        call("p0", "p", 0, 0),
        call("p1", "p", 1, 10),
        call("p2", "p", 2, 20),
        call("s", "sub", 0, 15, depth=1, inside_tool_call_id="0"),
    ]
    tools = [tool(id_, "0", started_at_ns=at(second)) for id_, second in (("p0", 1), ("p1", 11), ("p2", 21))]
    tree = tree_of(calls, tools)
    assert [(one.id, one.total.calls) for one in tree.children[0].children] == [("p0", 1), ("p1", 2), ("p2", 1)]


def _span(span_id: str, parent_id: str | None, kind: str, run: str | None) -> tuple[Any, ...]:
    return span_id, parent_id, kind, run


def test_without_a_tool_call_the_scopes_say_at_which_step_a_sub_agent_began() -> None:
    calls = [call("p0", "p", 0, 0), call("p1", "p", 1, 10), call("s", "sub", 0, 12, depth=1)]
    rows = [_span("t", None, "task", None), _span("p", "t", "agent", "p"), _span("f", "p", "tool", "p")]
    spans = pd.DataFrame(
        [*rows, _span("sub", "f", "agent", "sub")], columns=["span_id", "parent_id", "kind", "agent_run_id"]
    )
    tree = tree_of(calls, spans=spans)
    assert (_one(tree, "p1").total.calls, _one(tree, "sub").placed_by) == (2, "scope")


def test_the_only_run_one_level_up_holds_a_sub_agent_and_of_two_none_is_chosen() -> None:
    one = [call("p0", "p", 0, 0), call("s", "sub", 0, 3, depth=1)]
    assert _one(tree_of(one), "sub").placed_by == "depth"
    two = tree_of([*one, call("q0", "q", 0, 1)])
    assert _one(two, "sub").placed_by == "open"
    assert [child.id for child in two.children] == ["p", "q", "sub"]


def test_who_was_asked_for_in_the_text_of_a_step_stands_in_that_step() -> None:
    calls = [
        call("p0", "p", 0, 0), call("p1", "p", 1, 10), call("q0", "q", 0, 11),
        call("s", "sub", 0, 12, depth=1, inside_call_id="p0"),
    ]  # fmt: skip
    tree = tree_of(calls)
    assert (_one(tree, "p0").total.calls, _one(tree, "sub").placed_by) == (2, "call")


def test_runs_that_name_each_other_do_not_go_in_circles() -> None:
    calls = [call("a", "one", 0, 0, depth=1), call("b", "two", 0, 0, depth=1)]
    tools = [tool("a", "x", agent_run_id="two"), tool("b", "y", agent_run_id="one")]
    assert tree_of(calls, tools).total.calls == 2


def test_a_store_may_nest_deeper_than_python_recurses() -> None:
    calls = [
        call(f"c{n}", f"r{n}", 0, n, depth=n, inside_tool_call_id=f"t{n - 1}" if n else None) for n in range(2_000)
    ]
    tree = folded(tree_of(calls, [tool(f"c{n}", f"t{n}") for n in range(1_999)]), most=5)
    assert max(level for level, _, _ in walk(tree)) == 3 * 2_000 - 1
    assert len(tree_rows(tree)) == 1 + 2 * 2_000 + 1_999


def test_tasks_of_one_id_and_two_kinds_are_two_trees_in_order_of_start() -> None:
    rows = [call("b", "r", 0, 5, task="later"), call("a", "r", 0, 0, task="first")]
    assert [(tree.name, tree.total.calls) for tree in trees(frame_of(rows))] == [("first", 1), ("later", 1)]


def test_no_calls_are_refused_with_a_reason() -> None:
    with pytest.raises(FrameError, match="without rows"):
        list(trees(frame_of([])))


def test_rows_say_own_and_total_and_what_they_stand_in() -> None:
    rows = tree_rows(tree_of(*research())).set_index("id")
    assert rows.loc["reader-b", ["level", "kind", "parent_id", "calls", "own_calls"]].tolist() == [
        4,
        "agent",
        "t2",
        3,
        2,
    ]
    assert rows.loc["t3", ["input_tokens", "duration_s", "results"]].tolist() == [50, pytest.approx(1.8), 1]
    assert rows["step"].isna().sum() == 8


@given(random_tasks())
@settings(deadline=None)
def test_every_call_stands_at_one_step_and_sums_agree_exactly_at_every_node(task: tuple[list[Row], Any]) -> None:
    calls, tools = task
    tree = tree_of(calls, tools)
    nodes = [node for _, node, _ in walk(tree)]
    assert Counter(node.id for node in nodes if node.kind == "step") == Counter(row["call_id"] for row in calls)
    for node in nodes:
        own = [] if node.kind == "agent" else [node.own]
        assert node.total == added([*own, *(child.total for child in node.children)])
    for kind in ("step", "agent"):
        own_of_all = added([node.own for node in nodes if node.kind == kind])
        assert own_of_all == tree.total
    for name in ("input_tokens", "output_tokens", "reasoning_tokens"):
        assert getattr(tree.total, name) == _sum(calls, name)


@given(random_tasks(), st.integers(min_value=3, max_value=6))
@settings(deadline=None)
def test_a_folded_tree_is_narrow_and_keeps_the_sums(task: tuple[list[Row], Any], most: int) -> None:
    tree = tree_of(*task)
    small = folded(tree, most=most)
    assert small.total == tree.total
    for _, node, _ in walk(small):
        assert len(node.children) <= most
        own = [] if node.kind == "agent" else [node.own]
        assert node.kind == "more" or node.total == added([*own, *(child.total for child in node.children)])
        assert node.kind != "more" or node.total == added([one.total for one in node.members])


def test_a_thousand_steps_become_pieces_of_one_size_and_the_step_with_a_sub_agent_stays_alone() -> None:
    calls = [call(f"c{n}", "r", n, n, tool_calls=1) for n in range(1_000)]
    calls.append(call("s", "sub", 0, 500.5, depth=1, inside_tool_call_id="t500"))
    tools = [tool(f"c{n}", f"t{n}", "read" if n < 700 else "edit", executed=None) for n in range(1_000)]
    (run,) = folded(tree_of(calls, tools), most=6).children
    assert [(one.kind, one.total.calls, tool_names(one)) for one in run.children] == [
        ("more", 500, {"read": 500}),
        ("step", 2, {"read": 1}),
        ("more", 199, {"read": 199}),
        ("more", 300, {"edit": 300}),
    ]
    (run,) = folded(tree_of(calls, tools), most=12).children
    assert [one.total.calls for one in run.children] == [100] * 5 + [2, 100, 99] + [100] * 3


def test_of_many_sub_agents_the_largest_are_kept_and_the_others_are_one() -> None:
    calls = [call("p", "p", 0, 0)]
    calls += [
        call(f"s{n}", f"sub{n}", 0, 1 + n, depth=1, input_tokens=n * 10, inside_tool_call_id=f"t{n}") for n in range(40)
    ]
    tools = [tool("p", f"t{n}", "ask", started_at_ns=at(1 + n)) for n in range(40)]
    (step,) = folded(tree_of(calls, tools), most=5).children[0].children
    assert [(one.kind, one.id, one.total.calls) for one in step.children] == [
        ("more", "t0", 38),
        ("tool", "t38", 1),
        ("tool", "t39", 1),
    ]


def test_flags_are_put_at_their_steps_and_agent_runs_and_into_the_rows() -> None:
    calls = [call(f"c{n}", "r", n, n, tool_calls=1) for n in range(4)]
    tools = pd.DataFrame([tool(f"c{n}", f"t{n}", "poll") | {"arguments_hash": b"same"} for n in range(4)])
    frame = frame_of(calls)
    tree = flagged(next(trees(frame, tools)), step_flags(frame, tools))
    assert [step.repeats_step for step in tree.children[0].children] == [None, 0, 1, 2]
    [loop] = tree.children[0].loops
    assert (loop.first_step, loop.last_step, loop.times, loop.tools) == (0, 3, 4, "poll")
    rows = tree_rows(tree).set_index("id")
    assert (rows.loc["c2", "repeats_step"], rows.loc["r", "loop_times"]) == (1, 4)


@given(random_tasks())
@settings(deadline=None, max_examples=20)
def test_flags_change_no_number_of_a_tree(task: tuple[list[Row], Any]) -> None:
    tree = tree_of(*task)
    assert flagged(tree, step_flags(frame_of(task[0]))) == tree
