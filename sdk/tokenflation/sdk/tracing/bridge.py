"""Recognises spans of other instrumentation that stand for the same model call, so that one call stays one.

Our row takes its trace and parent from such a span; the span of ours that goes into the same provider then carries no
`gen_ai.*` attribute, so that whoever counts calls or sums `gen_ai.usage.*` there finds each call once. Knows spans by
their attributes alone, never by the library that made them; reads none of their token counts: those are the wire's.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.tracing.listening import Listener

__all__ = ["ForeignCalls", "is_model_call"]

# opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans (inference, embeddings). `invoke_agent`, `execute_tool` and
# the like stand around calls: what they carry are totals of their children.
_OPERATIONS = frozenset({"chat", "completion", "embeddings", "generate_content", "text_completion"})
# arize-ai.github.io/openinference/spec/semantic_conventions: openinference.span.kind.
_KINDS = frozenset({"EMBEDDING", "LLM"})
# OpenLLMetry before it took over the conventions: llm.request.type.
_REQUEST_TYPES = frozenset({"chat", "completion", "embedding"})
# Its spans of agents and workflows name the model too: instrumentation of agno, openai-agents, crewai.
_AROUND = frozenset({"agent", "task", "tool", "workflow"})
_MAX_KEPT = 4096


def is_model_call(attributes: object) -> bool:
    """Return whether a span with these attributes stands for one model call, in any of three vocabularies."""
    if not isinstance(attributes, Mapping):
        return False
    if attributes.get("openinference.span.kind") in _KINDS:
        return True
    operation = attributes.get("gen_ai.operation.name")
    if operation is not None:
        return operation in _OPERATIONS
    if attributes.get("llm.request.type") in _REQUEST_TYPES:
        return True
    return "gen_ai.request.model" in attributes and attributes.get("traceloop.span.kind") not in _AROUND


class ForeignCalls(Listener):
    """The foreign spans of model calls seen so far, by trace id and span id; bounded, the oldest is forgotten first.

    A span processor too, because the current span may be a stand-in without attributes (a tracer without a provider
    makes those around each call). Host threads note, the recorder's thread asks: each is one operation on a dict.
    """

    def __init__(self) -> None:
        super().__init__()
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._open: dict[int, Any] = {}

    def close(self) -> None:
        """Look at no further span."""
        super().close()
        self._open.clear()

    def note(self, span: Any, span_id: int, ids: tuple[str, str]) -> None:
        """Remember this current span if it stands for a model call."""
        attributes = getattr(span, "attributes", None)
        if attributes is None:
            attributes = getattr(self._open.get(span_id), "attributes", None)
        if is_model_call(attributes):
            self._seen[ids] = None
            if len(self._seen) > _MAX_KEPT:
                self._seen.popitem(last=False)

    def cover(self, trace_id: str, parent_id: str | None) -> bool:
        """Return whether a call with this parent has a foreign span already."""
        return (trace_id, parent_id or "") in self._seen

    def on_start(self, span: Any, parent_context: Any = None) -> None:  # noqa: ARG002  (as a span processor is called)
        """Keep a span while it is open."""
        if not self._closed and len(self._open) < _MAX_KEPT:
            self._open[span.get_span_context().span_id] = span

    def on_end(self, span: Any) -> None:
        """Let go of a span that ended."""
        self._open.pop(span.get_span_context().span_id, None)
