"""Joins the runs of tools that were seen as they ran to the tool calls asked for.

A tool call as the wire shows it lasts from the answer that asks for it to the request that brings its result; where the
run itself was seen (a scope, a call through an MCP client), its own times take their place. Joined where one unanswered
tool call of that name stands open in the same agent run or task; of several, the one with the run's arguments, and none
where they do not tell. Equal ones of one answer are taken in turn. Frameworks offer a server's tools to the model under
longer names (`mcp__files__read`, `files_read` for `read`): those count for runs through a client where no tool call has
the name itself. Knows nothing of MCP.
"""

import re
from collections import OrderedDict
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from tokenflation.sdk.records import Call, SpanRecord, ToolRun
from tokenflation.sdk.scoping import scopes

__all__ = ["ToolSpans"]

_MAX_KEPT = 4096
_NOT_IN_NAMES = re.compile(r"[^0-9A-Za-z_-]")
"""What providers allow in no tool's name: platform.openai.com/docs/api-reference/chat/create, `tools.function.name`."""
_BETWEEN = ("_", "-")
"""What stands between a server's name and its tool's."""

_Key = tuple[str, str]
"""Id of the call that asks, id of the tool call."""


class _Open(Struct):
    """A tool call that was asked for, and where."""

    run: ToolRun
    call: Call
    span: SpanRecord | None = None
    """The run of it that was seen, as it came."""


class ToolSpans:
    """The tool calls asked for last, and the runs seen of them; bounded, used by one thread at a time."""

    def __init__(self) -> None:
        self._open: OrderedDict[_Key, _Open] = OrderedDict()

    def seen(self, call: Call, runs: Sequence[ToolRun]) -> list[ToolRun]:
        """Note the rows that a call adds or changes; return them, with the times of the runs that were seen."""
        return [self._noted(call, run) for run in runs]

    def place(self, span: SpanRecord) -> tuple[SpanRecord, list[ToolRun]]:
        """Return a finished run where it stands, with the tool call that it is a run of, if that is sure."""
        fits = [one for one in self._open.values() if _is_named(one, span)]
        fits = fits or self._fitting(span)
        if not fits and span.foreign and span.task_id is not None:
            # Spans of other tracing may show fewer agents than there are.
            fits = self._fitting(replace(span, agent_run_id=None))
        if len(fits) > 1 and span.arguments_hash is not None:
            fits = [one for one in fits if one.run.arguments_hash == span.arguments_hash]
            if len({one.call.call_id for one in fits}) == 1:
                del fits[1:]  # one answer asked for the same several times: a run is as good as the other
        if len(fits) != 1:
            return (span if span.trace_id else replace(span, trace_id=scopes.new_trace_id())), []
        (one,) = fits
        one.span = span
        one.run = _timed(one.run, span)
        return _placed(span, one.call), [one.run]

    def _fitting(self, span: SpanRecord) -> list[_Open]:
        by_name = [one for one in self._open.values() if one.run.name == span.name and _fits(one, span)]
        if by_name or not _has_sizes(span):
            return by_name
        return [one for one in self._open.values() if _ends_alike(one.run.name, span.name) and _fits(one, span)]

    def moved(self, calls: Sequence[Call]) -> list[SpanRecord]:
        """Note that calls stand elsewhere than was known; return the runs that therefore do."""
        again = []
        for call in calls:
            for one in self._open.values():
                if one.call.call_id == call.call_id:
                    one.call = call
                    if one.span is not None and one.span.task_id is None:
                        again.append(_placed(one.span, call))
        return again

    def _noted(self, call: Call, run: ToolRun) -> ToolRun:
        key = (run.call_id, run.tool_call_id)
        one = self._open.get(key)
        if one is None:
            if run.call_id != call.call_id or run.kind != "client":
                return run
            self._open[key] = _Open(run, call)
            if len(self._open) > _MAX_KEPT:
                self._open.popitem(last=False)
            return run
        one.run = run if one.span is None else _timed(run, one.span)
        return one.run


def _timed(run: ToolRun, span: SpanRecord) -> ToolRun:
    return replace(run, started_at_ns=span.started_at_ns, ended_at_ns=span.ended_at_ns, run_span_id=span.span_id)


def _placed(span: SpanRecord, call: Call) -> SpanRecord:
    """Return a run where the call stands that asked for it, unless a scope of the user's says where it stands."""
    if span.task_id is not None and not span.foreign:
        return span
    place = {"task_id": call.task_id, "agent_run_id": call.agent_run_id, "depth": call.depth}
    return replace(span, trace_id=span.trace_id or call.trace_id, **place)


def _is_named(one: _Open, span: SpanRecord) -> bool:
    """Return whether a run says itself that it is of this tool call."""
    return one.run.tool_call_id == span.tool_call_id and one.span is None and one.run.name == span.name


def _has_sizes(span: SpanRecord) -> bool:
    """Return whether a run went through a client of tool servers; a scope of a like name may be part of another."""
    return span.arguments_bytes is not None or span.result_bytes is not None


def _ends_alike(asked: str, ran: str) -> bool:
    """Return whether the model may ask by one name for a tool that its server knows by the other."""
    shown = _NOT_IN_NAMES.sub("_", ran)
    return asked == shown or (bool(shown) and asked.endswith(shown) and asked[: -len(shown)].endswith(_BETWEEN))


def _fits(one: _Open, span: SpanRecord) -> bool:
    run, call = one.run, one.call
    if one.span is not None or run.executed is not None:
        return False
    if (run.started_at_ns or 0) > span.started_at_ns:
        return False
    if span.task_id is None:
        return call.structure_source != "scope"
    return call.agent_run_id == span.agent_run_id if span.agent_run_id is not None else call.task_id == span.task_id
