"""Spans as OpenTelemetry's Python SDK prints them: `ConsoleSpanExporter`, to standard output or to a file.

Objects one after another, each laid out over lines, or one a line; ids are hex behind 0x, times ISO 8601, and which
instrumentation made a span is not printed. Records of logs and metrics, which print beside them, hold no calls.

Source: opentelemetry-sdk 1.45, trace/__init__.py (`ReadableSpan.to_json`).
"""

from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import dicts, mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.files.reading import blocks
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of

__all__ = ["FORMAT"]

_FIRST = frozenset({"name", "context", "kind", "parent_id", "start_time"})
_OTHERS = ({"resource_metrics"}, {"body", "severity_number"})


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds printed spans."""
    spans = any(one.keys() >= _FIRST for one in head.objects) or head.keys >= _FIRST
    return 0.9 if spans and b'"SpanKind.' in head.start else 0.0


def _node(record: Mapping[str, Any], where: str) -> Node | Skipped | None:
    if any(one <= record.keys() for one in _OTHERS):
        return None
    context = mapping(record, "context")
    return node_of(
        trace_id=trace_id_of(context.get("trace_id")),
        span_id=span_id_of(context.get("span_id")),
        parent_id=span_id_of(record.get("parent_id")),
        name=text(record, "name") or "",
        attributes={name: value for name, value in mapping(record, "attributes").items() if value is not None},
        started_at_ns=time_ns(record, "start_time"),
        ended_at_ns=time_ns(record, "end_time"),
        failed=mapping(record, "status").get("status_code") == "ERROR",
        events=[
            (text(one, "name") or "", time_ns(one, "timestamp"), mapping(one, "attributes"))
            for one in dicts(record, "events")
        ],
        resource=mapping(mapping(record, "resource"), "attributes"),
        where=where,
    )


FORMAT = Format(
    name="otel-python",
    title="OpenTelemetry Python console spans",
    sniff=_sniff,
    read=reader("otel-python", blocks, lambda record, where: [_node(record, where)]),
)
