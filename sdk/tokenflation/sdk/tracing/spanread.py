"""Reads spans of other tracing as evidence: which agent run, which tool and which task a request leaves from.

The spans of a provider are remembered while they are open. A request that leaves inside some of them stands in the
scopes that they stand for, as if the user had opened those; the user's own scopes win, and spans win over the wire.
What agents' and tools' spans say of tokens is never read. Knows nothing of exchanges, rows or threads.
"""

import functools
import logging
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.records import SpanRecord
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.scoping.scopes import Scope
from tokenflation.sdk.tracing.listening import Listener
from tokenflation.sdk.tracing.spanwords import Role, is_its_trace, role_of

__all__ = ["SpanProcessor", "SpanReader", "follow_global_provider"]

_OURS = "tokenflation"
"""Instrumentation scope of our own spans: what those say stands in the store already."""
_MAX_OPEN = 4096
_MAX_ENDED = 4096
_MAX_AROUND = 256
_log = logging.getLogger("tokenflation")


class _Seen:
    """One span: its place in the tree, and what it stands for, as far as that is known by now."""

    __slots__ = ("_known", "_role", "library", "parent_id", "scope", "span", "span_id", "started_at_ns", "trace_id")

    def __init__(self, span: Any) -> None:
        found, parent = span.get_span_context(), span.parent
        self.span = span
        self.span_id: int = found.span_id
        self.trace_id: int = found.trace_id
        self.parent_id: int = parent.span_id if parent is not None else 0
        self.library = _library_of(span)
        self.started_at_ns = now_ns()  # not the span's own: libraries set that from other clocks
        self.scope: Scope | None = None
        self._role: Role | None = None
        self._known = -1

    def role(self) -> Role | None:
        """Return what the span stands for; read again where it has more attributes than before."""
        span = self.span
        if span is not None:
            attributes = _attributes_of(span)
            if len(attributes) != self._known:
                self._known = len(attributes)
                self._role = role_of(span.name, attributes)
        return self._role

    def settle(self, span: Any) -> None:
        """Read the span for the last time, as it ended, and let go of it."""
        attributes = _attributes_of(span)
        if len(attributes) != self._known or self._role is not None:
            self._role = role_of(span.name, attributes)
        self.span = None


class SpanReader:
    """What is known of the spans around the work that is under way; bounded, the oldest is forgotten first.

    Host threads note and ask: each step is one operation on a dict.
    """

    def __init__(self, submit: Callable[[SpanRecord], object]) -> None:
        self._submit = submit
        self._open: OrderedDict[int, _Seen] = OrderedDict()
        self._ended: OrderedDict[int, _Seen] = OrderedDict()
        self._current: Callable[[], Any] | None = None

    def started(self, span: Any) -> None:
        """Remember a span that starts."""
        if _library_of(span) == _OURS:
            return
        seen = _Seen(span)
        self._open[seen.span_id] = seen
        if len(self._open) > _MAX_OPEN:
            self._open.popitem(last=False)
        if self._current is None:
            from opentelemetry import trace  # whoever made the span has imported it

            self._current = trace.get_current_span

    def ended(self, span: Any) -> None:
        """Hand on a span of an agent, a tool or a task as a row, and keep its place for what is still inside of it."""
        seen = self._open.pop(span.get_span_context().span_id, None)
        if seen is None:
            return
        seen.settle(span)
        self._ended[seen.span_id] = seen
        if len(self._ended) > _MAX_ENDED:
            self._ended.popitem(last=False)
        role = seen.role()
        if role is None:
            return
        # An agent or task that no request and no tool ran in is none, or was not known for one while it ran.
        if seen.scope is None and role.kind == "tool":
            around = scopes.current()
            self._within(seen, around if around is None or around.started_at_ns <= seen.started_at_ns else None)
        scope = seen.scope
        if scope is not None:
            if role.named:
                scope.name = role.name
            self._submit(_record(scope, span))
        elif role.kind == "tool":
            self._submit(_lone_tool(role, seen, span))

    def around(self, scope: Scope | None) -> Scope | None:
        """Return where the current work stands: in `scope`, the innermost of the user's, or in spans inside of it."""
        if self._current is None:
            return scope
        seen = self._find(self._current().get_span_context().span_id)
        return scope if seen is None else self._within(seen, scope)

    def _find(self, span_id: int) -> _Seen | None:
        return self._open.get(span_id) or self._ended.get(span_id)

    def _within(self, innermost: _Seen, scope: Scope | None) -> Scope | None:
        """Return the innermost scope that a span and those around it stand for, as far as they are inside `scope`."""
        since = scope.started_at_ns if scope is not None else 0
        path: list[tuple[_Seen, Role]] = []
        seen: _Seen | None = innermost
        for _ in range(_MAX_AROUND):
            if seen is None or seen.started_at_ns < since:
                break
            around = self._find(seen.parent_id) if seen.parent_id else None
            role = seen.role()
            if role is not None:
                if role.kind == "agent" and is_its_trace(seen.library) and _library_around(around) != seen.library:
                    role = Role("task", role.name, named=False)
                if role.kind != "chain" or around is None:
                    path.append((seen, role))
            seen = around
        path.reverse()
        agents = [role.name for _, role in path if role.kind == "agent"]
        before: tuple[_Seen, Role] | None = None
        for seen, role in path:
            made = self._scope_of(seen, role, before, scope, agents)
            if made is not None:
                scope, before = made, (seen, role)
        return scope

    def _scope_of(self, seen: _Seen, role: Role, before: tuple[_Seen, Role] | None, around: Scope | None,
                  agents: list[str]) -> Scope | None:  # fmt: skip
        """Return the scope that a span stands for inside of `around`, or None where it adds none."""
        if role.kind == "tool":
            if around is None:
                return None
        elif role.kind != "agent":
            # Tasks do not nest here: the outermost is the unit of demand, and a chain is one only around agents.
            if around is not None or (role.kind == "chain" and not agents):
                return None
        elif before is not None and before[1].kind == "agent" and _is_same_run(before[0], before[1], seen, role):
            return None
        name = agents[0] if agents and role.kind in ("task", "chain") and not role.named else role.name
        kind: Any = "task" if role.kind == "chain" else role.kind
        made = seen.scope
        if made is None or made.kind != kind or made.name != name or made.parent is not around:
            made = Scope(kind, name)
            made.place(around, format(seen.span_id, "016x"), format(seen.trace_id, "032x"))
            made.started_at_ns = seen.started_at_ns
            if kind == "agent" and not role.named:
                made.agent = None  # the prompt may name it
            made.source = "span" if kind != "tool" or around is None else around.source
            made.tool_call_id = role.tool_call_id
            seen.scope = made
        return made


class SpanProcessor(Listener):
    """What a provider calls when spans start and end; it hands them to the reader of the recorder that runs, if any."""

    def __init__(self, reader: Callable[[], SpanReader | None]) -> None:
        super().__init__()
        self._reader = reader

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002  (as a span processor is called)
        """Remember a span."""
        self._tell(SpanReader.started, span)

    def on_end(self, span: Any) -> None:
        """Read a span that ended."""
        self._tell(SpanReader.ended, span)

    def _tell(self, what: Callable[[SpanReader, Any], None], span: Any) -> None:
        reader = None if self._closed else self._reader()
        if reader is None:
            return
        try:
            what(reader, span)
        except Exception as error:  # a span that we cannot read must not cost the host its own
            _log.debug("tokenflation: a span could not be read", exc_info=True)
            let_through(error)


def follow_global_provider(processor: SpanProcessor) -> Callable[[], None]:
    """Read the spans of the process's TracerProvider, once it has one; return the function that stops it."""
    layers = Layers()

    def set_shell(original: Any) -> Any:
        @functools.wraps(original)
        def set_tracer_provider(provider: Any, *args: Any, **kwargs: Any) -> Any:
            done = original(provider, *args, **kwargs)
            look(sys.modules["opentelemetry.trace"])
            return done

        return set_tracer_provider

    def look(trace: Any) -> None:
        # get_tracer_provider() would make one where an environment variable names it.
        provider = getattr(trace, "_TRACER_PROVIDER", None)
        if layers.live and provider is not None and processor.watched is not provider:
            processor.watch(provider)

    def cover_api(trace: Any) -> None:
        layers.cover(trace, "set_tracer_provider", set_shell)
        look(trace)

    def undo() -> None:
        processor.close()
        layers.undo()

    layers.when_imported("opentelemetry.trace", cover_api)
    return undo


def _attributes_of(span: Any) -> Mapping[str, Any]:
    """Return a span's attributes, as the plain dict beneath if there is one: it is asked some ten times a request."""
    plain = getattr(getattr(span, "_attributes", None), "_dict", None)
    return plain if isinstance(plain, dict) else span.attributes or {}


def _library_of(span: Any) -> str:
    scope = getattr(span, "instrumentation_scope", None)
    return scope.name if scope is not None else ""


def _library_around(seen: _Seen | None) -> str | None:
    return seen.library if seen is not None else None


def _is_same_run(outer: _Seen, outer_role: Role, inner: _Seen, inner_role: Role) -> bool:
    """Return whether two libraries have a span each of one agent run."""
    return outer.library != inner.library and outer_role.name == inner_role.name


def _error_of(span: Any) -> str | None:
    """Return the class of the failure that a span ended with; never a message."""
    status = span.status
    if status is None or status.status_code.name != "ERROR":
        return None
    found = (span.attributes or {}).get("error.type")
    if isinstance(found, str) and found:
        return found
    for event in reversed(span.events):
        kind = (event.attributes or {}).get("exception.type")
        if isinstance(kind, str) and kind:
            return kind
    return "error"


def _record(scope: Scope, span: Any) -> SpanRecord:
    scope.error_type = _error_of(span)
    return replace(scope.record(), tool_call_id=scope.tool_call_id, foreign=True)


def _lone_tool(role: Role, seen: _Seen, span: Any) -> SpanRecord:
    """Return the row of a tool run that no agent's span is around: the wire says where it stands."""
    error_type = _error_of(span)
    return SpanRecord(
        span_id=format(seen.span_id, "016x"),
        trace_id=format(seen.trace_id, "032x"),
        parent_id=None,
        kind="tool",
        name=role.name,
        task_id=None,
        agent_run_id=None,
        depth=0,
        started_at_ns=seen.started_at_ns,
        ended_at_ns=now_ns(),
        status="ok" if error_type is None else "error",
        error_type=error_type,
        tool_call_id=role.tool_call_id,
        foreign=True,
    )
