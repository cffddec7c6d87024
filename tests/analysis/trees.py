"""Trees of tasks made by hand and at random: the rows that a store would hold, and the trees made of them."""

from typing import Any

import pandas as pd
from hypothesis import strategies as st
from tests.analysis.conftest import ORIGIN_NS, SECOND_NS, Row, frame_of

from tokenflation.analysis.structure.trees import Node, trees

TOOL_COLUMNS = ("call_id", "tool_call_id", "name", "kind", "executed", "started_at_ns", "ended_at_ns", "agent_run_id")


def at(second: float) -> int:
    """Return a time as the store has it."""
    return ORIGIN_NS + round(second * SECOND_NS)


def call(call_id: str, run: str, step: int, second: float, **values: Any) -> dict[str, Any]:
    """Return one row of `calls` that takes a second."""
    times = {"started_at_ns": at(second), "ended_at_ns": at(second + 1), "duration_s": 1.0}
    tokens = {"input_tokens": 100, "output_tokens": 10}
    return {"call_id": call_id, "agent_run_id": run, "agent": run, "step": step, **times, **tokens} | values


def tool(call_id: str, tool_call_id: str, name: str = "search", **values: Any) -> dict[str, Any]:
    """Return one row of `tool_calls` whose result was sent back once."""
    given = {"call_id": call_id, "tool_call_id": tool_call_id, "name": name, "kind": "client", "executed": 1}
    return dict.fromkeys(TOOL_COLUMNS) | given | values


def tools_of(rows: list[dict[str, Any]]) -> pd.DataFrame:
    """Return rows of `tool_calls` as a frame."""
    return pd.DataFrame(rows, columns=list(TOOL_COLUMNS))


def tree_of(calls: list[Row], tools: list[dict[str, Any]] | None = None, spans: pd.DataFrame | None = None) -> Node:
    """Return the tree of the only task in the rows."""
    (found,) = trees(frame_of(calls), tools_of(tools or []), spans)
    return found


def research() -> tuple[list[Row], list[dict[str, Any]]]:
    """Return a planner that asks two readers at once, one of whom asks a checker, and answers."""
    calls = [
        call("p0", "planner", 0, 0, tool_calls=2, input_tokens=1_000, output_tokens=100),
        call("a0", "reader-a", 0, 1, depth=1, agent="reader", inside_tool_call_id="t1", input_tokens=500),
        call("b0", "reader-b", 0, 1.2, depth=1, agent="reader", inside_tool_call_id="t2", tool_calls=1),
        call("c0", "checker", 0, 2.5, depth=2, inside_tool_call_id="t3", input_tokens=50, output_tokens=5),
        call("b1", "reader-b", 1, 4, depth=1, agent="reader", inside_tool_call_id="t2", input_tokens=200),
        call("p1", "planner", 1, 6, input_tokens=1_500, output_tokens=200),
    ]
    tools = [
        tool("p0", "t1", "ask_reader", started_at_ns=at(1), ended_at_ns=at(6), agent_run_id="reader-a"),
        tool("p0", "t2", "ask_reader", started_at_ns=at(1), ended_at_ns=at(6), agent_run_id="reader-b"),
        tool("b0", "t3", "check", started_at_ns=at(2.2), ended_at_ns=at(4), agent_run_id="checker"),
    ]
    return calls, tools


@st.composite
def random_tasks(draw: st.DrawFn) -> tuple[list[Row], list[dict[str, Any]]]:
    """Return the rows of one task: agent runs inside tool calls of others to any depth, some places unknown."""
    calls: list[Row] = []
    tools: list[dict[str, Any]] = []
    counts = st.none() | st.integers(min_value=0, max_value=2**40)
    for number in range(draw(st.integers(min_value=1, max_value=8))):
        host = draw(st.sampled_from(calls)) if calls else None
        depth = int(host["depth"]) + 1 if host is not None and draw(st.booleans()) else 0
        run, how = f"run{number}", draw(st.sampled_from(("row", "id", "nothing")))
        tool_id = draw(st.sampled_from((f"t{number}", "same")))
        if (
            host is not None
            and depth
            and not any(one["tool_call_id"] == tool_id and one["call_id"] == host["call_id"] for one in tools)
        ):
            tools.append(tool(host["call_id"], tool_id, agent_run_id=run if how == "row" else None))
        for step in range(draw(st.integers(min_value=1, max_value=4))):
            calls.append(
                call(
                    f"{run}-{step}", run, step, draw(st.integers(0, 50)), depth=depth,
                    inside_tool_call_id=tool_id if depth and how == "id" else None,
                    status=draw(st.sampled_from(("ok", "ok", "error", "cut"))),
                    ended_at_ns=draw(st.none() | st.just(at(60))), tool_calls=draw(st.integers(0, 3)),
                    input_tokens=draw(counts), output_tokens=draw(counts), reasoning_tokens=draw(counts),
                )
            )  # fmt: skip
    return calls, tools
