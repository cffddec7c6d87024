"""The shape of each task: who started whom, how wide, how deep, and what waits for what. Pure; knows of no display.

The critical path is the longest chain of calls and tool runs that waits for one another, in seconds of their own. Two
of them wait for one another where they stand in one agent run and the later one starts when the earlier one is over; a
sub-agent run counts there as one piece, from its first start to its last end, as long as its own longest chain.
Outermost agent runs of a task are taken likewise. So the chain holds no instant twice, and is never longer than the
task. It leaves out the gaps in between: the user's time and the program's.

What cannot be told: whether two pieces that happen one after the other have to. Parallelism is then a lower bound.
Sources: metrics 16, 17 and 25 of the inference profile. No definition of multi-agent overhead is settled; this one is
the recursion factor of the inflation identity (all work / work of the outermost runs), in billed tokens.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import pandas as pd

from tokenflation.analysis.columns.structure import SHAPE_COLUMNS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.plain import plain_rows
from tokenflation.analysis.structure.trees import Node, Totals, added, trees, walk

__all__ = ["shape"]


class _Piece(NamedTuple):
    """Something that takes its place in a chain: `weight_ns` of it are busy, never more than its length."""

    start_ns: int
    end_ns: int
    weight_ns: int


def shape(
    calls: pd.DataFrame, tool_calls: pd.DataFrame | None = None, spans: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return one row per task, in order of start: its agent runs and critical path; columns as in `SHAPE_COLUMNS`.

    The frames are those that `structure.trees` takes. Fan-out counts the agent runs that one answer started, as far as
    their place is known (`unplaced_runs` counts the others). A call without a known end counts as no time.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    times = prepared(calls, ("call_id", "started_at_ns", "ended_at_ns"), "shape")
    lengths = {
        call_id: None if end is None else max(0, end - start)
        for call_id, start, end in plain_rows(times, ("call_id", "started_at_ns", "ended_at_ns"))
    }
    rows = (_row(task, lengths) for task in trees(calls, tool_calls, spans))
    return from_records(rows, SHAPE_COLUMNS)


def _row(task: Node, lengths: Mapping[str, int | None]) -> dict[str, Any]:
    nodes = list(walk(task))
    runs = [node for _, node, _ in nodes if node.kind == "agent"]
    sub_runs = [run for run in runs if run.depth > 0]
    fan_outs = _fan_outs(nodes)
    root, sub = added([run.own for run in runs if not run.depth]), added([run.own for run in sub_runs])
    steps = [node for _, node, _ in nodes if node.kind == "step"]
    reports = _reports(root) or _reports(sub)
    own_ns = {id(node): _own_length(node, lengths) for _, node, _ in nodes}
    busy_ns, path_ns = sum(own_ns.values()), _critical_path([node for _, node, _ in nodes], own_ns)
    tokens = root.tokens + sub.tokens if reports else None
    # Calls of which none reports took some: their part is not 0, and the other is not all that there was.
    root_tokens, sub_tokens = (
        part.tokens if reports and (_reports(part) or not part.calls) else None for part in (root, sub)
    )
    return {
        "task": task.name,
        "task_id": task.id,
        "calls": task.total.calls,
        "calls_with_usage": sum(step.own.calls_with_input * step.own.calls_with_output for step in steps),
        "calls_with_input": task.total.calls_with_input,
        "calls_with_output": task.total.calls_with_output,
        "agent_runs": len(runs),
        "sub_agent_runs": len(sub_runs),
        "unplaced_runs": sum(run.placed_by == "open" for run in runs),
        "depth": max(step.depth for step in steps),
        "placed_runs": fan_outs.total(),
        "starting_steps": len(fan_outs),
        "fan_out_max": max(fan_outs.values(), default=0),
        "fan_out_mean": fan_outs.total() / len(fan_outs) if fan_outs else None,
        "tokens": tokens,
        "root_tokens": root_tokens,
        "sub_agent_tokens": sub_tokens,
        "sub_agent_token_share": sub_tokens / tokens if tokens and sub_tokens is not None else None,
        "root_calls": root.calls,
        "multi_agent_overhead": tokens / root_tokens if tokens and root_tokens else None,
        "busy_ns": busy_ns,
        "critical_path_ns": path_ns,
        "parallelism": busy_ns / path_ns if path_ns else None,
        "calls_without_end": sum(lengths[step.id] is None for step in steps),
    }


def _reports(total: Totals) -> bool:
    return total.input_tokens is not None or total.output_tokens is not None


def _fan_outs(nodes: Iterable[tuple[int, Node, Node | None]]) -> Counter[str]:
    """Return by step how many agent runs it started, of the steps that started any."""
    found: Counter[str] = Counter()
    for _, node, around in nodes:
        step = node if node.kind == "step" else around if node.kind == "tool" else None
        started = sum(child.kind == "agent" for child in node.children)
        if step is not None and started:
            found[step.id] += started
    return found


def _own_length(node: Node, lengths: Mapping[str, int | None]) -> int:
    """Return how long a call or a tool run takes by itself, in ns; 0 where the end is not known, and of other nodes.

    A tool call with a sub-agent inside has none: the sub-agent's time counts. One at the provider is part of its call.
    """
    if node.kind == "step":
        return lengths[node.id] or 0
    if node.kind != "tool" or node.children or node.server or node.started_at_ns is None or node.ended_at_ns is None:
        return 0
    return max(0, node.ended_at_ns - node.started_at_ns)


def _critical_path(nodes: list[Node], own_ns: Mapping[int, int]) -> int:
    """Return the longest chain in ns. Inner agent runs come first: a store may nest deeper than Python recurses."""
    pieces: dict[int, list[_Piece]] = {}
    for node in reversed(nodes):
        inner = [piece for child in node.children for piece in pieces.pop(id(child), ())]
        length = own_ns[id(node)]
        if length and node.started_at_ns is not None:
            inner.append(_Piece(node.started_at_ns, node.started_at_ns + length, length))
        elif node.kind == "agent" and inner:
            start, end = min(piece.start_ns for piece in inner), max(piece.end_ns for piece in inner)
            inner = [_Piece(start, end, _longest_chain(inner))]
        pieces[id(node)] = inner
    return _longest_chain(pieces[id(nodes[0])])


def _longest_chain(pieces: Iterable[_Piece]) -> int:
    """Return the most weight of pieces of which none starts before the one before it is over (interval scheduling)."""
    ends: list[int] = []
    best = [0]
    for piece in sorted(pieces, key=lambda piece: (piece.end_ns, piece.start_ns)):
        value = best[bisect_right(ends, piece.start_ns)] + piece.weight_ns
        ends.append(piece.end_ns)
        best.append(max(best[-1], value))
    return best[-1]
