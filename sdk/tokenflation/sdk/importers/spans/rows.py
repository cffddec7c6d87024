"""Turns the spans of traces into rows: tasks, agent runs, steps, model calls and tool calls. Pure; reads no attributes.

What is taken how:

* One trace is one task, unless spans in it say that they are tasks: then each of these is. Its kind is what its span
  is called, else the name of the first agent inside no tool run, of the outermost span, of the service, of the file.
* A task's tokens are those of its model calls (`calls`), never of spans around them.
* Calls in no agent's span are of one run of the task, `main`; steps number the calls of a run in order of start.
* A tool run belongs to the call of the same agent run that started last before it, and to the tool call of its id
  there, or else of its name. Of calls without recorded answers only those tool calls are known that were run.
* `structure_source` is `span`. Nothing is known of the prompt's parts and of its blocks.
* Our own spans say themselves what their rows hold (`own`).
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace

from tokenflation.sdk.importers.files.fields import made_id
from tokenflation.sdk.importers.files.formats import Context, Skipped, Taken
from tokenflation.sdk.importers.spans import own
from tokenflation.sdk.importers.spans.calls import Node, ancestors, one_each
from tokenflation.sdk.importers.spans.names import CallFacts
from tokenflation.sdk.importers.spans.tree import Place, places, with_failures
from tokenflation.sdk.records import Call, SpanRecord, ToolRun
from tokenflation.sdk.store.write import Batch

__all__ = ["SpanPile"]

_UNNAMED = re.compile(r"\W+")
_HAYSTACKS = (
    "Haystack's own spans, of which none is a model call with its tokens: record the pipeline with `tokenflation run`, "
    "or instrument its model client for OpenTelemetry"
)
_ASKS_FOR_TOOLS = frozenset({"tool_calls", "tool-calls", "tool_call", "tool_use", "function_call"})


class SpanPile:
    """Gathers the spans of files that belong together, each once, and gives their tasks."""

    def __init__(self, format_name: str) -> None:
        self._format = format_name
        self._traces: defaultdict[str, dict[str, Node]] = defaultdict(dict)
        self._told: defaultdict[str, dict[str, ToolRun]] = defaultdict(dict)
        """Rows of tool calls that spans carry, by the ids of the calls that asked and their own."""

    def add(self, node: Node) -> Skipped | None:
        """Take a span; return what to report if it is there already."""
        spans = self._traces[node.trace_id]
        if node.span_id in spans:
            return Skipped(node.where, "a span that the files hold more than once", node.span_id)
        spans[node.span_id] = node
        for run in node.rows.tool_runs if node.rows is not None else ():
            told = self._told[run.call_id]
            told[run.tool_call_id] = own.newer(told.get(run.tool_call_id), run)
        return None

    def tasks(self, context: Context, default_kind: str) -> Iterator[Taken | Skipped]:
        """Yield the rows of each task, in order of the traces' first calls; traces without calls are counted."""
        calls: defaultdict[str, list[Node]] = defaultdict(list)
        for node in one_each(self._traces):
            calls[node.trace_id].append(node)
        for trace_id in sorted(self._traces, key=lambda one: (_first(calls.get(one)), one)):
            spans = with_failures(self._traces[trace_id])
            if trace_id in calls:
                named = default_kind.removesuffix(".csv").removesuffix(".parquet")
                yield from _Trace(spans, calls[trace_id], self._told, self._format).tasks(context, named)
            elif any(node.call is not None for node in spans.values()):
                continue  # its calls are in the traces of their other spans
            elif lost := next((node for node in spans.values() if node.totals), None):
                reason = "without model calls, its token counts are on spans around them"
                yield Skipped(lost.where, reason, f"trace {trace_id}", "session")
            elif its := next((node for node in spans.values() if node.name.startswith("haystack.")), None):
                yield Skipped(its.where, _HAYSTACKS, f"trace {trace_id}", "session")
            else:
                yield Taken(Batch())


def _first(calls: Sequence[Node] | None) -> int:
    return min((node.started_at_ns for node in calls), default=0) if calls else 0


class _Seat(Struct, frozen=True):
    """Which task and agent run a call is of."""

    task_key: str
    """Span id of the task's span, or empty for the trace itself."""
    agent: str
    run_id: str
    depth: int


class _Trace:
    """One trace, while its rows are made."""

    def __init__(
        self,
        spans: Mapping[str, Node],
        calls: Sequence[Node],
        told: Mapping[str, Mapping[str, ToolRun]],
        format_name: str,
    ) -> None:
        self._spans = spans
        self._told = told
        self._calls = sorted(calls, key=lambda node: (node.started_at_ns, node.ended_at_ns or 0, node.span_id))
        self._format = format_name
        self._places = places(spans)
        self._trace_id = next(iter(spans.values())).trace_id
        self._seats = {node.span_id: self._seat(self._places[node.span_id], node.given) for node in self._calls}
        self._tools = self._tool_runs()
        ids = {node.given["call_id"]: node.span_id for node in reversed(self._calls) if "call_id" in node.given}
        self._given = {span_id: call_id for call_id, span_id in ids.items()}
        """Ids of calls that sources give, by those of their spans; each is given once."""

    def tasks(self, context: Context, default_kind: str) -> Iterator[Taken]:
        """Yield the rows of each task of the trace."""
        steps = self._steps()
        by_task: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self._calls:
            by_task[self._seats[node.span_id].task_key].append(node)
        for key, calls in by_task.items():
            kind, task_id = self._kind(key, calls, context, default_kind), self._task_id(key)
            rows = [self._row(node, kind, task_id, steps[node.span_id]) for node in calls]
            ids = {node.span_id for node in calls}
            runs = [
                run for call_id in ids for run in (*self._tools.rows[call_id], *self._told.get(call_id, {}).values())
            ]
            runs.sort(key=lambda run: (run.started_at_ns or 0, run.call_id, run.tool_call_id))
            tries = [one for node in calls if node.rows is not None for one in node.rows.attempts]
            spans = self._span_rows(key, kind, task_id)
            batch = self._as_given(Batch(calls=rows, attempts=tries, tool_runs=runs, spans=spans))
            yield Taken(batch, {self._given[one]: (one,) for one in ids if one in self._given})

    def _as_given(self, batch: Batch) -> Batch:
        """Return the rows with the ids of calls that sources give instead of their spans'."""
        given = self._given
        if not given:
            return batch
        return Batch(
            attempts=batch.attempts,
            calls=[
                replace(
                    call,
                    call_id=given.get(call.call_id, call.call_id),
                    inside_call_id=given.get(call.inside_call_id or "", call.inside_call_id),
                )
                for call in batch.calls
            ],
            tool_runs=[replace(run, call_id=given.get(run.call_id, run.call_id)) for run in batch.tool_runs],
            spans=batch.spans,
        )

    def _seat(self, place: Place, given: Mapping[str, Any] = {}) -> _Seat:
        # By the span alone, so that a file that lacks the spans around it gives the same ids.
        key = place.task.span_id if place.task is not None and place.task.parent_id is not None else ""
        if given.get("task_id"):
            key = f"={given['task_id']}"
        if given.get("agent_run_id"):
            return _Seat(
                key, str(given.get("agent") or "main"), str(given["agent_run_id"]), int(given.get("depth") or 0)
            )
        if place.run is not None:
            return _Seat(key, place.run.name, place.run.run_id, place.run.depth)
        return _Seat(key, "main", made_id("spans", self._trace_id, key, "main"), 0)

    def _task_id(self, key: str) -> str:
        return key[1:] if key[:1] == "=" else key or self._trace_id

    def _kind(self, key: str, calls: Sequence[Node], context: Context, default_kind: str) -> str:
        """Return what kind of task it is: by its span, else by its first agent, outermost span, service or file."""
        given = next((node.given["task"] for node in calls if node.given.get("task")), None)
        if given:
            return context.kind(str(given))
        around = [self._places[node.span_id] for node in calls]
        name = next((place.task_name for place in around if place.task_name), "")
        if not name:
            outermost = [_outermost(place) for place in around]
            name = next((run.name for run in outermost if run is not None and run.tool is None), "")
        if not name and not key:
            tops = [([*ancestors(node, self._spans)] or [node])[-1] for node in calls]
            name = next((top.name for top in tops if top.call is None and _outer_says(top, self._places)), "")
        name = name or next((node.service for node in calls if node.service), "")
        return context.kind(name[:200] or default_kind)

    def _steps(self) -> dict[str, int]:
        counts: defaultdict[str, int] = defaultdict(int)
        steps = {}
        for node in self._calls:
            run_id = self._seats[node.span_id].run_id
            given = node.given.get("step")
            steps[node.span_id] = given if isinstance(given, int) else counts[run_id]
            counts[run_id] += 1
        return steps

    def _row(self, node: Node, kind: str, task_id: str, step: int) -> Call:
        facts, seat = node.call or CallFacts(), self._seats[node.span_id]
        tool, usage = self._around(node), facts.usage
        host = self._tools.hosts.get(tool.span_id) if tool is not None else None
        known = (usage.input_tokens is not None) + (usage.output_tokens is not None)
        ended = node.ended_at_ns
        asked = max(len(facts.tools), self._tools.ran.get(node.span_id, 0))
        made = Call(
            call_id=node.span_id,
            trace_id=node.trace_id,
            parent_id=node.parent_id,
            task=kind,
            task_id=task_id,
            agent=seat.agent,
            agent_run_id=seat.run_id,
            depth=seat.depth,
            step=step,
            inside_call_id=host.call_id if host is not None else None,
            inside_tool_call_id=host.tool_call_id if host is not None else None,
            inside_evidence="span" if host is not None else None,
            structure_source=node.given.get("structure_source", "span"),
            structure_strength="exact" if host is not None else None,
            previous_response_id=facts.previous_response_id,
            conversation_id=facts.conversation_id,
            provider=facts.provider,
            api=str(node.given.get("api") or facts.api or self._format),
            model=facts.model,
            response_model=facts.response_model,
            response_id=facts.response_id,
            stream=facts.stream,
            status=node.given.get("status", node.status),
            error_type=node.error_type,
            finish_reasons=facts.finish_reasons,
            attempts=facts.attempts,
            started_at_ns=node.started_at_ns,
            ended_at_ns=ended,
            duration_s=None if ended is None else max(0, ended - node.started_at_ns) / 1e9,
            ttfc_s=facts.ttfc_s,
            ttft_s=facts.ttft_s,
            input_tokens=usage.input_tokens,
            cache_read_tokens=usage.cache_read_tokens,
            cache_write_tokens=usage.cache_write_tokens,
            output_tokens=usage.output_tokens,
            reasoning_tokens=usage.reasoning_tokens,
            usage_source="provider" if known == 2 else "partial" if known else "absent",
            usage_complete=known == 2,
            tool_calls=asked or int(not _ASKS_FOR_TOOLS.isdisjoint(facts.finish_reasons)),
            extra=facts.extra,
        )
        return own.as_recorded(made, node.given) if node.ours else made

    def _around(self, node: Node) -> Node | None:
        """Return the tool run that a call's agent run is inside of; a run that calls name has no span of its own."""
        place = self._places[node.span_id]
        if place.run is None and "agent_run_id" in node.given:
            return place.tool
        return place.run.tool if place.run is not None else None

    def _tool_runs(self) -> "_Tools":
        tools = _Tools(self._calls)
        before: defaultdict[str, list[Node]] = defaultdict(list)
        for node in self._calls:
            if node.ours:
                continue  # which tool runs are its own, its rows say
            before[self._seats[node.span_id].run_id].append(node)
        runs = [(node, place) for node, place in self._counting("tool")]
        runs.sort(key=lambda pair: (pair[0].started_at_ns, pair[0].span_id))
        inner = {
            run.tool.span_id: run.run_id
            for place in self._places.values()
            if (run := place.run) is not None and run.tool is not None
        }
        inner |= {tool.span_id: self._seats[one.span_id].run_id for one in self._calls if (tool := self._around(one))}
        for node, place in runs:
            run_id = self._seat(place, node.given).run_id
            asking = [one for one in before[run_id] if one.started_at_ns <= node.started_at_ns]
            tools.add(node, asking, inner.get(node.span_id))
        return tools

    def _counting(self, kind: str) -> Iterator[tuple[Node, Place]]:
        """Yield the spans that are tasks, agent runs or tool runs of the trace."""
        for span_id, place in self._places.items():
            if place.counts and place.last is not None and _kind_of(place) == kind:
                yield self._spans[span_id], place

    def _span_rows(self, key: str, kind: str, task_id: str) -> list[SpanRecord]:
        rows = []
        kinds: tuple[Literal["task", "agent", "tool"], ...] = ("task", "agent", "tool")
        for what in kinds:
            for node, place in self._counting(what):
                seat = self._seat(place, node.given)
                if seat.task_key != key:
                    continue
                ended = node.ended_at_ns if node.ended_at_ns is not None else node.started_at_ns
                run_id = node.given.get("agent_run_id") or (place.run.run_id if place.run is not None else None)
                role_name = node.role.name if node.role is not None else node.name
                rows.append(
                    SpanRecord(
                        span_id=node.span_id,
                        trace_id=node.trace_id,
                        parent_id=node.parent_id,
                        kind=what,
                        name=kind if what == "task" else role_name,
                        task_id=task_id,
                        agent_run_id=run_id,
                        depth=seat.depth,
                        started_at_ns=node.started_at_ns,
                        ended_at_ns=max(ended, node.started_at_ns),
                        status="ok" if node.status == "ok" else "error",
                        error_type=node.error_type,
                        outcome=node.given.get("outcome"),
                        score=node.given.get("score"),
                        censored_by=node.given.get("censored_by"),
                        arguments_bytes=node.given.get("arguments_bytes"),
                        result_bytes=node.given.get("result_bytes"),
                    )
                )
        return rows


def _outermost(place: Place) -> Any:
    run = place.run
    while run is not None and run.outer is not None:
        run = run.outer
    return run


def _outer_says(top: Node, found: Mapping[str, Place]) -> bool:
    """Return whether the outermost span's title says what the task is: a chain that every run is called does not."""
    return bool(top.name) and (top.role is None or top.role.named) and top.span_id in found


def _kind_of(place: Place) -> str:
    if place.tool is not None:
        return "tool"
    return "agent" if place.run is not None else "task"


def _alike(asked: str, ran: str) -> bool:
    """Return whether two names are of one tool: CrewAI's `Delegate work to coworker` is asked for with underscores."""
    return asked == ran or _UNNAMED.sub("_", asked).casefold() == _UNNAMED.sub("_", ran).casefold()


class _Tools:
    """The tool calls that answers asked for, joined with the tool runs."""

    def __init__(self, calls: Sequence[Node]) -> None:
        self.rows: dict[str, list[ToolRun]] = {}
        self.hosts: dict[str, ToolRun] = {}
        """Span id of a tool run -> its tool call."""
        self.ran: defaultdict[str, int] = defaultdict(int)
        for node in calls:
            asked = node.call.tools if node.call is not None and not node.ours else ()
            self.rows[node.span_id] = [
                ToolRun(call_id=node.span_id, tool_call_id=one.tool_call_id, name=one.name, kind=one.kind)
                for one in asked
            ]

    def add(self, node: Node, asking: Sequence[Node], sub_agent_run_id: str | None) -> None:
        """Join a tool run with the call that asked for it, of those of its agent run that began before."""
        if not asking or node.role is None:
            return
        at = self._asked(node, asking)
        call_id, place = at if at is not None else (asking[-1].span_id, -1)
        rows = self.rows[call_id]
        known = rows[place] if place >= 0 else None
        made = ToolRun(
            call_id=call_id,
            tool_call_id=known.tool_call_id if known is not None else self._free(node, rows),
            name=known.name if known is not None else node.role.name,
            executed=1,
            started_at_ns=node.started_at_ns,
            ended_at_ns=node.ended_at_ns,
            agent_run_id=sub_agent_run_id,
            run_span_id=node.span_id,
            failed=node.status == "error",
        )
        if known is not None:
            rows[place] = made
        else:
            rows.append(made)
        self.hosts[node.span_id] = made
        self.ran[call_id] += 1

    def _asked(self, node: Node, asking: Sequence[Node]) -> tuple[str, int] | None:
        """Return the call and the position among its tool calls: by id in any call before, else by name in the last."""
        role = node.role
        wanted = role.tool_call_id if role is not None else None
        if wanted is not None:
            for call in reversed(asking):
                for position, row in enumerate(self.rows[call.span_id]):
                    if row.tool_call_id == wanted and row.executed is None:
                        return call.span_id, position
        for position, row in enumerate(self.rows[asking[-1].span_id]):
            if role is not None and wanted is None and _alike(row.name, role.name) and row.executed is None:
                return asking[-1].span_id, position
        return None

    def _free(self, node: Node, rows: Sequence[ToolRun]) -> str:
        """Return an id for a tool call that no recorded answer asks for: the span's own word, if it is free."""
        wanted = node.role.tool_call_id if node.role is not None else None
        return wanted if wanted and all(row.tool_call_id != wanted for row in rows) else node.span_id
