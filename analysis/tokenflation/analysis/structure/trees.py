"""The tree of a task out of its rows: task > agent run > step > tool call > sub-agent run. Pure; knows of no display.

Tokens stand at the steps alone, one call each. A node's own tokens are those of its own calls (of an agent run, those
of its steps); its total adds what is below. Totals are sums over calls, never over scopes: the own tokens of all agent
runs sum to the task's, and so do those of all steps.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, NamedTuple

import pandas as pd

from tokenflation.analysis.columns import TREE_COLUMNS
from tokenflation.analysis.columns.structure import TREE_FLAG_COLUMNS
from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.plain import plain_records, plain_rows

__all__ = ["NOTHING", "Loop", "Node", "Totals", "added", "times_of", "tree_rows", "trees", "walk"]

Kind = Literal["task", "agent", "step", "tool", "more"]
PlacedBy = Literal["root", "tool_call", "call", "scope", "depth", "open"]

_SPANS = ("span_id", "parent_id", "kind", "agent_run_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Sums over calls; a sum of tokens is None where no call reports any, and leaves out the calls that do not."""

    calls: int = 0
    failed_calls: int = 0
    calls_with_input: int = 0
    calls_with_output: int = 0
    tool_calls: int = 0
    """Client tool calls asked for."""
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None

    @property
    def tokens(self) -> int:
        """Input and output tokens together, as far as they are reported."""
        return (self.input_tokens or 0) + (self.output_tokens or 0)


NOTHING = Totals()
"""The sum over no call."""
_TOTALS = tuple(field.name for field in fields(Totals))


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """A stretch of an agent run in which a round of steps stands several times in a row."""

    first_step: int
    last_step: int
    times: int
    tools: str
    """Names of the tools of one round, joined by commas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One task, agent run, step or tool call, with what is inside of it in order of time."""

    kind: Kind
    id: str
    name: str
    depth: int
    own: Totals
    """Over its own calls: one of a step, those of its steps of an agent run, none of a task or tool call."""
    total: Totals
    """Over all calls in it and below."""
    started_at_ns: int | None
    ended_at_ns: int | None
    children: tuple["Node", ...] = ()
    step: int | None = None
    status: str | None = None
    error_type: str | None = None
    model: str | None = None
    server: bool = False
    """A tool call that the provider runs itself."""
    results: int | None = None
    """Times a result of the tool call was sent back; None: none was seen."""
    result_tokens: int | None = None
    placed_by: PlacedBy | None = None
    """What says where an agent run stands; `open` where nothing does, and it stands at the task."""
    repeats_step: int | None = None
    """Of a step: the last one before it in its agent run that asked for a tool call which it repeats."""
    loops: tuple[Loop, ...] = ()
    """Of an agent run."""
    members: tuple["Node", ...] = ()
    """The nodes that a node of kind `more` stands for."""

    @property
    def loop_times(self) -> int | None:
        """Rounds of an agent run's longest loop."""
        return max((loop.times for loop in self.loops), default=None)

    @property
    def duration_s(self) -> float | None:
        """Start to end, in seconds; 0 where the source's clock was set back meanwhile."""
        if self.started_at_ns is None or self.ended_at_ns is None:
            return None
        return max(0, self.ended_at_ns - self.started_at_ns) / 1e9


class _Call(NamedTuple):
    call_id: str
    task: str
    task_id: str
    agent: str
    agent_run_id: str
    depth: int
    step: int
    inside_call_id: str | None
    inside_tool_call_id: str | None
    status: str
    error_type: str | None
    model: str | None
    response_model: str | None
    started_at_ns: int
    ended_at_ns: int | None
    input_tokens: int | None
    cache_read_tokens: int | None
    output_tokens: int | None
    reasoning_tokens: int | None
    tool_calls: int


class _Tool(NamedTuple):
    call_id: str
    tool_call_id: str
    name: str
    kind: str
    executed: int | None
    result_tokens: int | None
    started_at_ns: int | None
    ended_at_ns: int | None
    agent_run_id: str | None


class _Place(NamedTuple):
    """Where an agent run stands: in a tool call, in a step, or (no call) at the task."""

    call_id: str | None
    tool_call_id: str | None
    placed_by: PlacedBy


def trees(
    calls: pd.DataFrame, tool_calls: pd.DataFrame | None = None, spans: pd.DataFrame | None = None
) -> Iterator[Node]:
    """Yield the tree of each task, in order of start.

    `calls` has one row per call as `analysis.load` returns it; `tool_calls` and `spans` are the tables of the store of
    that name, which may hold more than these tasks. An agent run stands inside the tool call that a row names, else in
    the step that asked for it in its text, else in that at which its scope was opened, else in the only agent run one
    level up that had begun; else its place is open and it stands at the task.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    by_task: dict[tuple[str, str], list[_Call]] = defaultdict(list)
    for call in plain_records(prepared(calls, _Call._fields, "trees"), _Call):
        by_task[call.task, call.task_id].append(call)
    tools: dict[str, list[_Tool]] = defaultdict(list)
    for tool in plain_records(tool_calls, _Tool):
        tools[tool.call_id].append(tool)
    scopes = {row[0]: row for row in plain_rows(spans, _SPANS)}
    for group in sorted(by_task.values(), key=lambda group: min(call.started_at_ns for call in group)):
        yield _tree(group, tools, scopes)


def walk(node: Node) -> Iterator[tuple[int, Node, Node | None]]:
    """Yield each node as (levels below `node`, the node, the node around it), outer ones first, in order of time."""
    waiting: list[tuple[int, Node, Node | None]] = [(0, node, None)]
    while waiting:
        level, one, around = waiting.pop()
        yield level, one, around
        waiting += [(level + 1, child, one) for child in reversed(one.children)]


def added(parts: Sequence[Totals]) -> Totals:
    """Return the sum; what no part reports stays not reported."""
    parts = [part for part in parts if part is not NOTHING]
    if len(parts) < 2:  # most tool calls and steps: nothing, or only themselves
        return parts[0] if parts else NOTHING
    sums: dict[str, int | None] = {}
    for name in _TOTALS:
        known = [value for part in parts if (value := getattr(part, name)) is not None]
        sums[name] = sum(known) if known else getattr(NOTHING, name)
    return Totals(**sums)  # type: ignore[arg-type]  # counts are never None: NOTHING has 0


def tree_rows(node: Node) -> pd.DataFrame:
    """Return one row per node, outer ones first; columns as in `TREE_COLUMNS` and `TREE_FLAG_COLUMNS`."""
    columns, rows = TREE_COLUMNS | TREE_FLAG_COLUMNS, []
    for level, one, around in walk(node):
        values: dict[str, Any] = {name: getattr(one.total, name) for name in _TOTALS}
        values |= {f"own_{name}": getattr(one.own, name) for name in ("calls", "input_tokens", "output_tokens")}
        values |= {"level": level, "parent_id": around.id if around else None, "task_id": node.id}
        rows.append({name: values[name] if name in values else getattr(one, name) for name in columns})
    return from_records(rows, columns)


def _tree(calls: list[_Call], tools: dict[str, list[_Tool]], scopes: dict[str, tuple[Any, ...]]) -> Node:
    runs: dict[str, list[_Call]] = defaultdict(list)
    for call in sorted(calls, key=lambda call: (call.step, call.started_at_ns)):
        runs[call.agent_run_id].append(call)
    places = _places(runs, {call.call_id: tools.get(call.call_id, []) for call in calls}, scopes)
    inside: dict[tuple[str | None, str | None], list[Node]] = defaultdict(list)
    # An agent run stands in one of lower depth (`_places` sees to it), so the deepest are complete first.
    for run_id, own in sorted(runs.items(), key=lambda item: -item[1][0].depth):
        place = places[run_id]
        steps = tuple(_step(call, tools.get(call.call_id, []), inside) for call in own)
        inside[place.call_id, place.tool_call_id].append(_run(own, steps, place))
    children = _in_time(inside[None, None])
    start, end = times_of(children)
    return Node(
        kind="task",
        id=calls[0].task_id,
        name=calls[0].task,
        depth=0,
        own=NOTHING,
        total=added([child.total for child in children]),
        started_at_ns=start,
        ended_at_ns=end,
        children=children,
    )


def _run(calls: list[_Call], steps: tuple[Node, ...], place: _Place) -> Node:
    start, end = times_of(steps)
    return Node(
        kind="agent",
        id=calls[0].agent_run_id,
        name=calls[0].agent,
        depth=calls[0].depth,
        own=added([step.own for step in steps]),
        total=added([step.total for step in steps]),
        started_at_ns=start,
        ended_at_ns=end,
        children=steps,
        placed_by=place.placed_by,
    )


def _step(call: _Call, tools: list[_Tool], inside: dict[tuple[str | None, str | None], list[Node]]) -> Node:
    # Taken out, so that rows given twice cannot place a sub-agent twice.
    tool_nodes = [_tool(one, call.depth, _in_time(inside.pop((call.call_id, one.tool_call_id), []))) for one in tools]
    children = _in_time([*tool_nodes, *inside.pop((call.call_id, None), [])])
    own = Totals(
        calls=1,
        failed_calls=int(call.status != "ok"),
        calls_with_input=int(call.input_tokens is not None),
        calls_with_output=int(call.output_tokens is not None),
        tool_calls=call.tool_calls,
        input_tokens=call.input_tokens,
        cache_read_tokens=call.cache_read_tokens,
        output_tokens=call.output_tokens,
        reasoning_tokens=call.reasoning_tokens,
    )
    ends = [call.ended_at_ns, *(child.ended_at_ns for child in children if child.total.calls)]
    known = [end for end in ends if end is not None]
    return Node(
        kind="step",
        id=call.call_id,
        name="",
        depth=call.depth,
        own=own,
        total=added([own, *(child.total for child in children)]),
        started_at_ns=call.started_at_ns,
        ended_at_ns=max(known) if len(known) == len(ends) else None,
        children=children,
        step=call.step,
        status=call.status,
        error_type=call.error_type,
        model=call.response_model or call.model,
    )


def _tool(tool: _Tool, depth: int, sub_agents: tuple[Node, ...]) -> Node:
    start, end = times_of(sub_agents)
    return Node(
        kind="tool",
        id=tool.tool_call_id,
        name=tool.name,
        depth=depth,
        own=NOTHING,
        total=added([one.total for one in sub_agents]),
        started_at_ns=tool.started_at_ns if tool.started_at_ns is not None else start,
        ended_at_ns=tool.ended_at_ns if tool.ended_at_ns is not None else end,
        children=sub_agents,
        server=tool.kind == "server",
        results=tool.executed,
        result_tokens=tool.result_tokens,
    )


def _in_time(nodes: Sequence[Node]) -> tuple[Node, ...]:
    # What has no time keeps its place after what has; sorting is stable.
    return tuple(sorted(nodes, key=lambda node: (node.started_at_ns is None, node.started_at_ns or 0)))


def times_of(nodes: Sequence[Node]) -> tuple[int | None, int | None]:
    """Return the first start and the last end; no end where something that started after it has none known.

    Nor where the first has no date and the last has one.
    """
    starts = [node.started_at_ns for node in nodes if node.started_at_ns is not None]
    end = max((node.ended_at_ns for node in nodes if node.ended_at_ns is not None), default=None)
    endless = max((node.started_at_ns or 0 for node in nodes if node.ended_at_ns is None), default=None)
    start = min(starts, default=None)
    if end is None or (endless is not None and endless >= end):
        return start, None
    return start, None if start is not None and start < DATED_FROM_NS <= end else end


def _places(
    runs: dict[str, list[_Call]], tools: dict[str, list[_Tool]], scopes: dict[str, tuple[Any, ...]]
) -> dict[str, _Place]:
    asked_in = {call_id: run_id for run_id, own in runs.items() for call_id in (call.call_id for call in own)}
    by_run: dict[str, list[_Tool]] = defaultdict(list)
    by_id: dict[str, list[_Tool]] = defaultdict(list)
    for tool in (one for own in tools.values() for one in own):
        if tool.agent_run_id is not None:
            by_run[tool.agent_run_id].append(tool)
        by_id[tool.tool_call_id].append(tool)
    found: dict[str, _Place] = {}
    for run_id, own in runs.items():
        depth, start = own[0].depth, min(call.started_at_ns for call in own)
        named = [
            tool
            for id_ in {call.inside_tool_call_id for call in own if call.inside_tool_call_id}
            for tool in by_id[id_]
        ]
        fitting = [tool for tool in by_run[run_id] or named if runs[asked_in[tool.call_id]][0].depth < depth]
        # Ids of tool calls need not be unique: the last that was asked for before the run began.
        fitting = [tool for tool in fitting if (tool.started_at_ns or 0) <= start] or fitting
        asking = {id_ for id_ in {call.inside_call_id for call in own} if id_ in asked_in}
        asking = {id_ for id_ in asking if runs[asked_in[id_]][0].depth < depth}
        if fitting:
            tool = max(fitting, key=lambda tool: tool.started_at_ns or 0)
            found[run_id] = _Place(tool.call_id, tool.tool_call_id, "tool_call")
        elif depth == 0:
            found[run_id] = _Place(None, None, "root")
        elif len(asking) == 1 and not named:
            found[run_id] = _Place(asking.pop(), None, "call")
        else:
            found[run_id] = _by_scope(run_id, start, runs, scopes) or _by_depth(run_id, start, runs)
    return found


def _by_scope(
    run_id: str, start_ns: int, runs: dict[str, list[_Call]], scopes: dict[str, tuple[Any, ...]]
) -> _Place | None:
    """Return the step of the next agent run around this one's scope; None where the scopes do not say."""
    at, seen = scopes.get(run_id), {run_id}
    while at is not None and at[1] is not None and at[1] not in seen:
        seen.add(at[1])
        at = scopes.get(at[1])
        if at is None:
            return None
        _, _, kind, outer = at
        if kind == "task":
            return _Place(None, None, "scope")
        if outer != run_id and outer in runs and runs[outer][0].depth < runs[run_id][0].depth:
            return _Place(_step_at(runs[outer], start_ns), None, "scope")
    return None


def _by_depth(run_id: str, start_ns: int, runs: dict[str, list[_Call]]) -> _Place:
    depth = runs[run_id][0].depth
    above = [own for own in runs.values() if own[0].depth == depth - 1 and own[0].started_at_ns <= start_ns]
    if len(above) != 1:
        return _Place(None, None, "open")
    return _Place(_step_at(above[0], start_ns), None, "depth")


def _step_at(calls: list[_Call], start_ns: int) -> str:
    """Return the last of the calls that had begun; the first where none had."""
    begun = [call for call in calls if call.started_at_ns <= start_ns]
    return max(begun, key=lambda call: call.started_at_ns).call_id if begun else calls[0].call_id
