"""Which span of the user's tracing a call or a scope stands in, and our scopes as the current span inside of it.

Imports OpenTelemetry only when it is asked. Knows nothing of recorders.
"""

from typing import TYPE_CHECKING

from tokenflation.sdk.scoping import scopes

if TYPE_CHECKING:
    from tokenflation.sdk.tracing.bridge import ForeignCalls

__all__ = ["current_span", "nest_in_user_spans"]

_OPENED = "tokenflation-scope"
"""Key of OpenTelemetry's context: the scope that it was made for, and the context around that one."""


def current_span(foreign_calls: "ForeignCalls | None" = None) -> tuple[str, str] | None:
    """Return trace id and span id of the user's current span, if it is none of our scopes.

    `foreign_calls` is told of it: it may be another instrumentation's span of the call that leaves now.
    """
    from opentelemetry import trace

    _leave_dead_scopes()
    span = trace.get_current_span()
    found = span.get_span_context()
    if not found.is_valid:
        return None
    scope = scopes.current()
    span_id = format(found.span_id, "016x")
    if scope is not None and scope.span_id == span_id:
        return None
    ids = (format(found.trace_id, "032x"), span_id)
    if foreign_calls is not None:
        foreign_calls.note(span, found.span_id, ids)
    return ids


def nest_in_user_spans(scope: scopes.Scope, opened: bool) -> None:
    """Make a scope the current span while it is open, so that the user's own spans stand inside it."""
    from opentelemetry import context

    from tokenflation.sdk.tracing.spans import context_of

    if opened:
        around = current_span()
        if around is not None:
            scope.trace_id, scope.parent_id = around
        before = context.get_current()
        within = context.set_value(_OPENED, (scope, before), context_of(scope.trace_id, scope.span_id))
        context.attach(within)
        scope.foreign = (before, within)
    elif isinstance(scope.foreign, tuple):
        before, within = scope.foreign
        # Closed in another context than it was opened in: nothing is attached here, so nothing is to be undone.
        if context.get_current() is within:
            context.attach(before)
        scope.foreign = None


def _leave_dead_scopes() -> None:
    """Make current again what was around a scope that this context opened and another one closed."""
    from opentelemetry import context, trace

    here = context.get_current()
    before = here
    while isinstance(opened := context.get_value(_OPENED, before), tuple):
        scope, around = opened
        own = trace.get_current_span(before).get_span_context().span_id == int(scope.span_id, 16)
        if scope.ended_at_ns is None or not own:
            break
        before = around
    if before is not here:
        context.attach(before)
