"""Where the time of a task goes: generation, tools, waiting for the user, the program itself. Pure; draws no trees.

Each instant of a task counts once, as the first of these that holds: a call is in flight (generation); a tool runs; a
call of unknown end may still run (unknown); a tool runs that holds a sub-agent (rest). What is left is a gap that a
call ends, and that call says what it was: time of tools where it brings results that no row of `tool_calls` has times
for, waiting for the user where it goes on with a history of an outermost agent run by a new message of theirs and
nothing else, and the program's own time (rest) otherwise. Integers
of nanoseconds, so that the five parts add up to the duration exactly.

What cannot be told: whether a "user" is a person or a program; how much of a tool's time is waiting for a person who
must allow it; and, where the tool run is known by the wire alone, how much of it is the framework's own time, as it
lasts from the end of the answer that asks for it to the start of the call that brings its result. A source that does
not say who prompted a call (`prompted_by`) is read by the answer before it: one that asked for a tool is followed by
that tool's result, one that did not by the user.
Source: metric 25 of the inference profile; concurrency is Little's law, mean = sum of durations / duration.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import pandas as pd

from tokenflation.analysis.columns.structure import TIME_COLUMNS
from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.plain import plain_records

__all__ = ["timing"]

Part = Literal["generation", "tool", "human_wait", "rest", "unknown"]
_PARTS: tuple[Part, ...] = ("generation", "tool", "human_wait", "rest", "unknown")
_SHARES: dict[str, Part] = {
    "generation_share": "generation",
    "tool_time_share": "tool",
    "human_wait_share": "human_wait",
}
# Of what is open at once, the first counts.
_IN_FLIGHT, _TOOL, _UNKNOWN, _HOLDING = 0, 1, 2, 3
_OPEN_PARTS: tuple[Part, ...] = ("generation", "tool", "unknown", "rest")


class _Call(NamedTuple):
    task: str
    task_id: str
    call_id: str
    agent_run_id: str
    depth: int
    step: int
    status: str
    started_at_ns: int
    ended_at_ns: int | None
    tool_calls: int
    prompted_by: str | None
    inside_call_id: str | None
    inside_tool_call_id: str | None
    continues_call_id: str | None
    history: bytes | None


class _Tool(NamedTuple):
    call_id: str
    tool_call_id: str
    kind: str
    started_at_ns: int | None
    ended_at_ns: int | None
    agent_run_id: str | None


class _Change(NamedTuple):
    """At this time so many more of one kind are open."""

    at_ns: int
    kind: int
    more: int


def timing(calls: pd.DataFrame, tool_calls: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per task, in order of start: its duration in five parts; columns as in `TIME_COLUMNS`.

    `calls` as `analysis.load` returns it, `tool_calls` the store's table of that name, which may hold more than these
    tasks. A tool call that holds a sub-agent is no tool time: the time of what is inside counts. All parts are missing
    where the duration is.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    by_task: dict[tuple[str, str], list[_Call]] = defaultdict(list)
    for call in plain_records(prepared(calls, _Call._fields, "timing"), _Call):
        by_task[call.task, call.task_id].append(call)
    tools: dict[str, list[_Tool]] = defaultdict(list)
    for tool in plain_records(tool_calls, _Tool):
        if tool.kind == "client":
            tools[tool.call_id].append(tool)
    groups = [sorted(group, key=lambda call: (call.started_at_ns, call.step)) for group in by_task.values()]
    groups.sort(key=lambda group: (group[0].started_at_ns, group[0].task, group[0].task_id))
    return from_records((_row(group, tools) for group in groups), TIME_COLUMNS)


def _row(calls: list[_Call], tools: dict[str, list[_Tool]]) -> dict[str, Any]:
    start, end = calls[0].started_at_ns, _end(calls)
    changes = [change for call in calls for change in _open(_IN_FLIGHT, call.started_at_ns, call.ended_at_ns)]
    concurrency = _most(changes)
    with_sub_agent = {(call.inside_call_id, call.inside_tool_call_id) for call in calls}
    timed = set()
    for tool in (one for call in calls for one in tools.get(call.call_id, ())):
        holds = tool.agent_run_id is not None or (tool.call_id, tool.tool_call_id) in with_sub_agent
        changes += _open(_HOLDING if holds else _TOOL, tool.started_at_ns, tool.ended_at_ns)
        if tool.started_at_ns is not None and tool.ended_at_ns is not None:
            timed.add(tool.call_id)
    ends = [max(call.started_at_ns, call.ended_at_ns) for call in calls if call.ended_at_ns is not None]
    call_ns = sum(_length(call) for call in calls)
    values: dict[str, Any] = dict.fromkeys(TIME_COLUMNS) | {
        "task": calls[0].task,
        "task_id": calls[0].task_id,
        "call_ns": call_ns,
        "calls_without_end": len(calls) - len(ends),
        "concurrency_max": max(concurrency, int(bool(ends))),
    }
    if end is not None:
        changes += _perhaps_open(calls, end)
        parts = _swept(changes, start, end, _gap_parts(calls, timed))
        duration = end - start
        values |= {"duration_ns": duration} | {f"{part}_ns": parts[part] for part in _PARTS}
        if duration:
            values["concurrency_mean"] = call_ns / duration
            values |= {name: parts[part] / duration for name, part in _SHARES.items()}
    return values


def _end(calls: Sequence[_Call]) -> int | None:
    """Return the last end, as `reduce.tasks` does.

    None where a call without one started after all others ended, or some calls have dates and others none.
    """
    end = max((call.started_at_ns + _length(call) for call in calls if call.ended_at_ns is not None), default=None)
    endless = max((call.started_at_ns for call in calls if call.ended_at_ns is None), default=None)
    if end is None or (endless is not None and endless >= end):
        return None
    return None if calls[0].started_at_ns < DATED_FROM_NS <= end else end


def _length(call: _Call) -> int:
    return 0 if call.ended_at_ns is None else max(0, call.ended_at_ns - call.started_at_ns)


def _open(kind: int, start: int | None, end: int | None) -> tuple[_Change, ...]:
    if start is None or end is None or end <= start:
        return ()
    return _Change(start, kind, 1), _Change(end, kind, -1)


def _most(changes: Iterable[_Change]) -> int:
    """Return how many are open at once, at most; one that ends when another starts does not meet it."""
    most = now = 0
    for change in sorted(changes, key=lambda change: (change.at_ns, change.more)):
        now += change.more
        most = max(most, now)
    return most


def _perhaps_open(calls: Sequence[_Call], end: int) -> list[_Change]:
    """Return the times in which a call of unknown end may run: until a later one starts, as `reduce.tasks` takes it."""
    starts = sorted({call.started_at_ns for call in calls})
    later = dict(zip(starts, [*starts[1:], end], strict=True))
    endless = [call for call in calls if call.ended_at_ns is None]
    return [one for call in endless for one in _open(_UNKNOWN, call.started_at_ns, later[call.started_at_ns])]


def _gap_parts(calls: Sequence[_Call], timed: set[str]) -> dict[int, Part]:
    """Return by time of start what a gap was that a call ended then; where several end it, the first says it."""
    parts: dict[int, Part] = {}
    last: dict[str, _Call] = {}
    for call in calls:
        parts.setdefault(call.started_at_ns, _gap_part(call, last.get(call.agent_run_id), timed))
        last[call.agent_run_id] = call
    return parts


def _gap_part(call: _Call, before: _Call | None, timed: set[str]) -> Part:
    if before is None or before.status != "ok":
        # What begins, or begins again after a failure, was begun by the program.
        return "rest"
    by_user = call.prompted_by == "user" if call.prompted_by is not None else not before.tool_calls
    if by_user and call.history is not None and call.continues_call_id is None:
        # A new history in the midst of an agent run: the program's own prompt, not an answer to what was said before.
        return "rest"
    if by_user:
        return "human_wait" if call.depth == 0 else "rest"
    # Where tool runs have times of their own, what is left beside them is not theirs.
    return "rest" if before.call_id in timed else "tool"


def _swept(changes: Iterable[_Change], start: int, end: int, gap_parts: Mapping[int, Part]) -> dict[Part, int]:
    """Return the nanoseconds of each part; every instant between the two times falls into exactly one."""
    parts: dict[Part, int] = dict.fromkeys(_PARTS, 0)
    open_now = [0] * len(_OPEN_PARTS)
    at = start
    for change in [*sorted(changes), _Change(end, _IN_FLIGHT, 0)]:
        until = min(max(change.at_ns, start), end)
        if until > at:
            kind = next((kind for kind, count in enumerate(open_now) if count), None)
            parts[gap_parts.get(until, "rest") if kind is None else _OPEN_PARTS[kind]] += until - at
            at = until
        open_now[change.kind] += change.more
    return parts
