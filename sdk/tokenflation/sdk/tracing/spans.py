"""Calls and scopes as OpenTelemetry spans, on a private TracerProvider or on the user's.

The spans are built on the worker thread from finished records, with explicit ids and times: the host's thread pays
nothing for them. The names of `gen_ai.*` attributes are our own constants, because the conventions still move.
Knows nothing of storage. Source: OpenTelemetry GenAI semantic conventions, schema 1.42 (development status).
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import asdict
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags

from tokenflation.sdk.records import Attempt, Call, SpanRecord, ToolRun
from tokenflation.sdk.tracing.bridge import ForeignCalls

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.util.types import AttributeValue

__all__ = [
    "ATTEMPTS",
    "CALL_ATTRIBUTES",
    "EXTRA",
    "SCOPE_NAME",
    "TOOL_CALLS",
    "SpanEmitter",
    "attributes_of_call",
    "attributes_of_scope",
    "context_of",
    "private_provider",
]

SCOPE_NAME = "tokenflation"
"""Instrumentation scope of our spans: how the bridge tells them from others'."""

# The conventions' names; there is none for what ranks or draws.
_OPERATIONS = {
    "embed": "embeddings",
    "embeddings": "embeddings",
    "generate_content": "generate_content",
    "complete": "text_completion",
    "completion": "text_completion",
    "completions": "text_completion",
    "generate": "text_completion",
    "pooling": "embeddings",
    "text_generation": "text_completion",
    "snowflake.complete": "chat",
}
"""An api, or the last word of one -> `gen_ai.operation.name`; of others it is `chat`."""
_SCOPE_OPERATIONS = {"task": "invoke_workflow", "agent": "invoke_agent", "tool": "execute_tool"}
_SCOPE_NAMES = {"task": "gen_ai.workflow.name", "agent": "gen_ai.agent.name", "tool": "gen_ai.tool.name"}

CALL_ATTRIBUTES = (
    ("provider", "gen_ai.provider.name"),
    ("model", "gen_ai.request.model"),
    ("response_model", "gen_ai.response.model"),
    ("response_id", "gen_ai.response.id"),
    ("finish_reasons", "gen_ai.response.finish_reasons"),
    ("input_tokens", "gen_ai.usage.input_tokens"),
    ("output_tokens", "gen_ai.usage.output_tokens"),
    ("cache_read_tokens", "gen_ai.usage.cache_read.input_tokens"),
    ("cache_write_tokens", "gen_ai.usage.cache_write.input_tokens"),
    ("reasoning_tokens", "gen_ai.usage.reasoning.output_tokens"),
    ("ttfc_s", "gen_ai.response.time_to_first_chunk"),
    ("error_type", "error.type"),
    ("api", "tokenflation.api"),
    ("task", "tokenflation.task.type"),
    ("task_id", "tokenflation.task.id"),
    ("agent", "gen_ai.agent.name"),
    ("agent_run_id", "tokenflation.agent.run_id"),
    ("depth", "tokenflation.agent.depth"),
    ("step", "tokenflation.turn.index"),
    ("attempts", "tokenflation.call.attempts"),
    ("duration_s", "tokenflation.call.duration"),
    ("ttft_s", "tokenflation.call.time_to_first_token"),
    ("ttfo_s", "tokenflation.call.time_to_first_output"),
    ("after_call_id", "tokenflation.call.after"),
    ("continues_call_id", "tokenflation.call.continues"),
    ("continues_evidence", "tokenflation.call.continues.evidence"),
    ("branch", "tokenflation.call.branch"),
    ("kept_messages", "tokenflation.call.kept_messages"),
    ("history", "tokenflation.call.history"),
    ("instructions_hash", "tokenflation.call.instructions_hash"),
    ("answers", "tokenflation.call.answers"),
    ("prompted_by", "tokenflation.call.prompted_by"),
    ("inside_call_id", "tokenflation.call.inside"),
    ("inside_tool_call_id", "tokenflation.call.inside.tool_call"),
    ("inside_evidence", "tokenflation.call.inside.evidence"),
    ("reasoning_blocks", "tokenflation.call.reasoning_blocks"),
    ("conversation_id", "gen_ai.conversation.id"),
    ("previous_response_id", "gen_ai.request.previous_response.id"),
    ("usage_source", "tokenflation.usage.source"),
    ("usage_complete", "tokenflation.usage.complete"),
    ("status", "tokenflation.call.status"),
    ("structure_source", "tokenflation.structure.source"),
    ("structure_strength", "tokenflation.structure.strength"),
    ("tool_calls", "tokenflation.tool.calls_requested"),
    ("system_tokens", "tokenflation.input.system_tokens"),
    ("tool_definition_tokens", "tokenflation.input.tool_definition_tokens"),
    ("resent_tokens", "tokenflation.input.resent_tokens"),
    ("tool_result_tokens", "tokenflation.input.tool_result_tokens"),
    ("new_tokens", "tokenflation.input.new_tokens"),
    ("split_method", "tokenflation.input.split.method"),
    ("shared_blocks", "tokenflation.prefix.common_blocks"),
)
"""Column of `calls` -> the attribute that says it, bytes in hex; all but `block_hashes`, eight bytes for 64 tokens."""
EXTRA = "tokenflation.call.extra"
"""The column `extra`, as JSON."""
ATTEMPTS = "tokenflation.rows.attempts"
TOOL_CALLS = "tokenflation.rows.tool_calls"
"""Rows of the two tables as JSON, what is None left out: of the call, and those of tool calls as they became since the
last span.
"""
_MAX_KEPT = 4096


def _operation(api: str) -> str:
    return _OPERATIONS.get(api) or _OPERATIONS.get(api.rpartition(".")[2], "chat")


def attributes_of_call(call: Call) -> dict[str, "AttributeValue"]:
    """Return a call's span attributes; what was not reported is left out, never 0."""
    found: dict[str, AttributeValue] = {"gen_ai.operation.name": _operation(call.api)}
    for field, name in CALL_ATTRIBUTES:
        value = getattr(call, field)
        if value is not None and value != ():
            found[name] = value.hex() if isinstance(value, bytes) else value
    if call.extra:
        found[EXTRA] = _json(call.extra)
    if call.stream:
        found["gen_ai.request.stream"] = True
        if "stream_end" in call.extra:
            found["tokenflation.stream.end"] = str(call.extra["stream_end"])
    if call.system_tokens is not None and call.tool_definition_tokens is not None:
        found["tokenflation.input.fixed_tokens"] = call.system_tokens + call.tool_definition_tokens
    if call.attempts > 1:
        found["http.request.resend_count"] = call.attempts - 1
    return found


def attributes_of_scope(scope: SpanRecord) -> dict[str, "AttributeValue"]:
    """Return a scope's span attributes; never token totals, which are the sum of the calls inside."""
    found: dict[str, AttributeValue] = {
        "gen_ai.operation.name": _SCOPE_OPERATIONS[scope.kind],
        _SCOPE_NAMES[scope.kind]: scope.name,
        "tokenflation.agent.depth": scope.depth,
    }
    optional = {
        "tokenflation.task.id": scope.task_id,
        "tokenflation.agent.run_id": scope.agent_run_id,
        "tokenflation.task.outcome": scope.outcome,
        "tokenflation.task.score": scope.score,
        "tokenflation.task.censored_by": scope.censored_by,
        "tokenflation.tool.arguments_bytes": scope.arguments_bytes,
        "tokenflation.tool.result_bytes": scope.result_bytes,
        "error.type": scope.error_type,
    }
    found.update({name: value for name, value in optional.items() if value is not None})
    return found


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _rows(rows: Iterable[Attempt | ToolRun]) -> str:
    given = [{key: value for key, value in asdict(row).items() if value is not None} for row in rows]
    return _json(given)


class _GivenIds:
    """An OpenTelemetry id generator that gives the ids it was handed; only the emitter's thread asks it."""

    def __init__(self) -> None:
        self.trace_id = 0
        self.span_id = 0

    def generate_trace_id(self) -> int:
        return self.trace_id

    def generate_span_id(self) -> int:
        return self.span_id

    def is_trace_id_random(self) -> bool:
        return True


class SpanEmitter:
    """Turns finished records into spans of one provider; used by one thread at a time."""

    def __init__(self, provider: "trace.TracerProvider", foreign_calls: ForeignCalls | None = None) -> None:
        self._ids = _GivenIds()
        self._foreign_calls = foreign_calls
        self._attempts: dict[str, list[Attempt]] = {}
        self._tool_runs: dict[tuple[str, str], ToolRun] = {}
        """What became of tool calls since the last span."""
        tracer: Any = provider.get_tracer(SCOPE_NAME)
        self._tracer = tracer
        # Each get_tracer() of the SDK makes a tracer that reads its own id generator: ours gives the ids that the store
        # has. A provider of another make keeps its ids; then the span carries ours as an attribute.
        self._ids_are_ours: bool = hasattr(self._tracer, "id_generator")
        if self._ids_are_ours:
            tracer.id_generator = self._ids

    def note(self, attempts: Iterable[Attempt] = (), tool_runs: Iterable[ToolRun] = ()) -> None:
        """Keep rows for the spans to come: an attempt's for its call's, a tool call's for the next."""
        for one in attempts:
            self._attempts.setdefault(one.call_id, []).append(one)
        for run in tool_runs:
            self._tool_runs[run.call_id, run.tool_call_id] = run
        for kept in (self._attempts, self._tool_runs):
            while len(kept) > _MAX_KEPT:
                del kept[next(iter(kept))]  # type: ignore[arg-type]  # a key of this one

    def call(self, call: Call) -> None:
        """Emit one call as a CLIENT span; inside a foreign span of the same call, as an INTERNAL one beneath it."""
        attributes = attributes_of_call(call)
        if attempts := self._attempts.pop(call.call_id, None):
            attributes[ATTEMPTS] = _rows(attempts)
        operation = _operation(call.api)
        name = f"{operation} {call.model}" if call.model else operation
        kind = SpanKind.CLIENT
        if self._foreign_calls is not None and self._foreign_calls.cover(call.trace_id, call.parent_id):
            # The provider has a span of this call already: a second one with these names would count it twice.
            attributes = {key.replace("gen_ai.", "tokenflation.", 1): value for key, value in attributes.items()}
            name, kind = f"tokenflation {name}", SpanKind.INTERNAL
        ended = call.ended_at_ns if call.ended_at_ns is not None else call.started_at_ns
        ids = (call.trace_id, call.call_id, call.parent_id)
        self._emit(name, kind, ids, attributes, call.started_at_ns, ended, call.status == "error")

    def scope(self, scope: SpanRecord) -> None:
        """Emit one scope as an INTERNAL span."""
        name = f"{_SCOPE_OPERATIONS[scope.kind]} {scope.name}"
        ids = (scope.trace_id, scope.span_id, scope.parent_id)
        times = (scope.started_at_ns, scope.ended_at_ns)
        self._emit(name, SpanKind.INTERNAL, ids, attributes_of_scope(scope), *times, scope.status == "error")

    def _emit(self, name: str, kind: SpanKind, ids: tuple[str, str, str | None],
              attributes: dict[str, "AttributeValue"], started_at_ns: int, ended_at_ns: int,
              failed: bool) -> None:  # fmt: skip
        trace_id, span_id, parent_id = ids
        self._ids.trace_id, self._ids.span_id = int(trace_id, 16), int(span_id, 16)
        if self._tool_runs:
            attributes[TOOL_CALLS] = _rows(self._tool_runs.values())
            self._tool_runs.clear()
        if not self._ids_are_ours:
            attributes["tokenflation.span.id"] = span_id
        # An empty context, so that what happens to be current on this thread is never the parent.
        parent = trace.set_span_in_context(_remote(trace_id, parent_id), otel_context.Context()) if parent_id else None
        span = self._tracer.start_span(
            name,
            context=parent if parent is not None else otel_context.Context(),
            kind=kind,
            attributes=attributes,
            start_time=started_at_ns,
        )
        if failed:
            span.set_status(Status(StatusCode.ERROR))
        span.end(end_time=max(ended_at_ns, started_at_ns))


def context_of(trace_id: str, span_id: str) -> "otel_context.Context":
    """Return the current OpenTelemetry context with this span as the current one."""
    return trace.set_span_in_context(_remote(trace_id, span_id))


def _remote(trace_id: str, span_id: str) -> NonRecordingSpan:
    flags = TraceFlags(TraceFlags.SAMPLED)
    return NonRecordingSpan(SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags))


def private_provider(exporters: Iterable[Any]) -> "TracerProvider":
    """Return a TracerProvider of our own, never registered globally: a global one would switch on other tracers."""
    from opentelemetry.sdk.trace import TracerProvider  # 0.1 s of import, paid only by who exports spans
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(shutdown_on_exit=False)
    for exporter in exporters:
        provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider
