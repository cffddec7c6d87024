"""Flags steps that repeat themselves, per agent run: repeated tool calls, reflections and loops. Pure; draws nothing.

* A tool call is repeated if the same agent run asked for the same tool with the same arguments before.
* A reflection is a step that repeats a tool call of an earlier step.
* A loop is a stretch of steps in which a round of 1 to 8 steps stands three times or more in a row; two steps are equal
  if they ask for the same tools with the same arguments. Failed calls in between have no answer and are passed over.

What cannot be told: whether a repetition is waste. To poll, or to read a file again after it changed, looks the same.
Arguments are compared by hash, so a tool call without one is never flagged (`arguments_known` counts those with one).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd

from tokenflation.analysis.columns.structure import FLAG_COLUMNS, RUN_COLUMNS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.plain import plain_records, plain_rows
from tokenflation.analysis.structure.trees import Loop, Node, walk

__all__ = ["flagged", "run_flags", "step_flags"]

_TOOLS = ("call_id", "kind", "name", "arguments_hash")
# An answer of these has a block or an item for each piece of reasoning, hidden ones too (Anthropic, "Extended
# thinking"; OpenAI, "Reasoning models"; AWS, "Converse": `reasoningContent`). Elsewhere an answer without one may hold
# some unseen.
_SHOWN_BY = frozenset({"anthropic.messages", "bedrock.converse", "openai.responses"})
_MOST_PERIOD = 8
_LEAST_TIMES = 3

_Asked = tuple[str, bytes | None]
"""A tool call as it is compared: its name and the hash of its arguments."""


class _Call(NamedTuple):
    task: str
    task_id: str
    agent: str
    agent_run_id: str
    depth: int
    call_id: str
    step: int
    status: str
    attempts: int
    started_at_ns: int
    reasoning_tokens: int | None
    reasoning_blocks: int | None
    tool_calls: int
    api: str


class _Step(NamedTuple):
    call: _Call
    asked: tuple[_Asked, ...]


class _Loop(NamedTuple):
    """Positions in a sequence: the first, how long a round is, how many rounds there are."""

    first: int
    period: int
    times: int


def run_flags(calls: pd.DataFrame, tool_calls: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per agent run, in order of start: steps, reasoning and repetitions; columns as in `RUN_COLUMNS`.

    `calls` as `analysis.load` returns it, `tool_calls` the store's table of that name, which may hold more than these.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    return from_records(map(_row, _runs(calls, tool_calls, "run_flags")), RUN_COLUMNS)


def step_flags(calls: pd.DataFrame, tool_calls: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per reflection and per loop, by agent run and step; columns as in `FLAG_COLUMNS`.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    nothing = dict.fromkeys(FLAG_COLUMNS)
    found = (nothing | flag for steps in _runs(calls, tool_calls, "step_flags") for flag in _flags(steps))
    return from_records(found, FLAG_COLUMNS)


def flagged(node: Node, flags: pd.DataFrame) -> Node:
    """Return the tree with the reflections and loops that `step_flags` found for it."""
    repeats: dict[str, int] = {}
    loops: dict[str, list[Loop]] = defaultdict(list)
    names = ("flag", "call_id", "agent_run_id", "repeats_step", "step", "last_step", "times", "tools")
    for flag, call_id, run_id, before, step, last, times, tools in plain_rows(flags, names):
        if flag == "loop":
            loops[run_id].append(Loop(first_step=step, last_step=last, times=times, tools=tools))
        else:
            repeats[call_id] = before
    # Inner nodes come before the nodes around them, without recursion: a store may nest deeper than Python.
    done: dict[int, Node] = {}
    for _, one, _around in reversed(list(walk(node))):
        children = tuple(done.pop(id(child)) for child in one.children)
        own_loops = tuple(loops.get(one.id, ())) if one.kind == "agent" else ()
        before = repeats.get(one.id) if one.kind == "step" else None
        done[id(one)] = replace(one, children=children, loops=own_loops, repeats_step=before)
    return done[id(node)]


def _runs(calls: pd.DataFrame, tool_calls: pd.DataFrame | None, caller: str) -> list[list[_Step]]:
    asked: dict[str, list[_Asked]] = defaultdict(list)
    for call_id, kind, name, arguments in plain_rows(tool_calls, _TOOLS):
        if kind == "client":
            asked[call_id].append((name, None if arguments is None else bytes(arguments)))
    runs: dict[tuple[str, str, str], list[_Step]] = defaultdict(list)
    for call in plain_records(prepared(calls, _Call._fields, caller), _Call):
        step = _Step(call, tuple(asked.get(call.call_id, ())))
        runs[call.task, call.task_id, call.agent_run_id].append(step)
    for steps in runs.values():
        steps.sort(key=lambda step: (step.call.step, step.call.started_at_ns))
    return sorted(runs.values(), key=lambda steps: (steps[0].call.started_at_ns, steps[0].call.agent_run_id))


def _says_reasoning(call: _Call) -> bool:
    """Return whether it is known if an answer reasons: it shows some, or its tokens, or its api shows all."""
    if call.reasoning_tokens is not None or call.reasoning_blocks:
        return True
    return call.reasoning_blocks is not None and call.api in _SHOWN_BY and call.status == "ok"


def _row(steps: list[_Step]) -> dict[str, Any]:
    first, calls = steps[0].call, [step.call for step in steps]
    asked = [one for step in steps for one in step.asked]
    known = Counter(one for one in asked if one[1] is not None)
    loops = _loops([_signature(step) for step in _answered(steps)])
    blocks = [call.reasoning_blocks for call in calls if call.reasoning_blocks is not None]
    tokens = [call.reasoning_tokens for call in calls if call.reasoning_tokens is not None]
    reasons = [call for call in calls if call.reasoning_blocks or call.reasoning_tokens]
    says = [call for call in calls if _says_reasoning(call)]
    return {
        **{name: getattr(first, name) for name in ("task", "task_id", "agent", "agent_run_id", "depth")},
        "steps": len(steps),
        "failed_steps": sum(call.status != "ok" for call in calls),
        "retries": sum(max(0, call.attempts - 1) for call in calls),
        "reasoning_steps": len(reasons),
        "reasoning_known": len(says),
        "reasoning_blocks": sum(blocks) if blocks else None,
        "reasoning_tokens": sum(tokens) if tokens else None,
        "tool_steps": sum(bool(step.call.tool_calls or step.asked) for step in steps),
        "tool_calls": sum(max(step.call.tool_calls, len(step.asked)) for step in steps),
        "arguments_known": known.total(),
        "compared_steps": sum(any(one[1] is not None for one in step.asked) for step in steps),
        "repeated_tool_calls": known.total() - len(known),
        "reflections": sum(1 for _ in _reflections(steps)),
        "loops": len(loops),
        "loop_steps": sum(loop.period * (loop.times - 1) for loop in loops),
        "loop_times": max((loop.times for loop in loops), default=0),
    }


def _flags(steps: list[_Step]) -> Iterator[dict[str, Any]]:
    found = [_place(step) | {"flag": "reflection", **rest} for step, rest in _reflections(steps)]
    answered = _answered(steps)
    for loop in _loops([_signature(step) for step in answered]):
        members = answered[loop.first : loop.first + loop.period * loop.times]
        names = [name for step in members[: loop.period] for name, _ in step.asked]
        values: dict[str, Any] = {"flag": "loop", "tools": ", ".join(dict.fromkeys(names))}
        values |= {"period": loop.period, "times": loop.times, "last_step": members[-1].call.step}
        found.append(_place(members[0]) | values)
    yield from sorted(found, key=lambda values: (values["step"], values["flag"]))


def _place(step: _Step) -> dict[str, Any]:
    return {name: getattr(step.call, name) for name in ("task", "task_id", "agent_run_id", "call_id", "step")}


def _reflections(steps: Sequence[_Step]) -> Iterator[tuple[_Step, dict[str, Any]]]:
    """Yield each step that repeats a tool call of an earlier one, with what it repeats."""
    last: dict[_Asked, int] = {}
    for step in steps:
        again = [one for one in step.asked if one in last]
        if again:
            names = ", ".join(dict.fromkeys(name for name, _ in again))
            yield step, {"tools": names, "repeats_step": max(last[one] for one in again)}
        last |= {one: step.call.step for one in step.asked if one[1] is not None}


def _answered(steps: Sequence[_Step]) -> list[_Step]:
    return [step for step in steps if step.call.status == "ok" or step.asked]


def _signature(step: _Step) -> tuple[_Asked, ...] | None:
    """Return what makes two steps equal; None where a step asks for nothing, or for what is not wholly known."""
    if not step.asked or len(step.asked) < step.call.tool_calls or any(one[1] is None for one in step.asked):
        return None
    return tuple(sorted(step.asked))


def _loops(signatures: Sequence[tuple[_Asked, ...] | None]) -> list[_Loop]:
    """Return the loops in order of place, none of which share a step; the shortest round counts."""
    found: list[_Loop] = []
    taken = [False] * len(signatures)
    for period in range(1, _MOST_PERIOD + 1):
        first = 0
        for place in range(period, len(signatures) + 1):
            if place < len(signatures) and _equal(signatures, taken, place, period):
                continue
            times = (place - first) // period
            if times >= _LEAST_TIMES:
                found.append(_Loop(first, period, times))
                taken[first : first + period * times] = [True] * (period * times)
            first = place - period + 1
    return sorted(found)


def _equal(signatures: Sequence[object], taken: Sequence[bool], place: int, period: int) -> bool:
    before = place - period
    return (
        signatures[place] is not None
        and signatures[place] == signatures[before]
        and not (taken[place] or taken[before])
    )
