"""OTLP traces as JSON: what the collector's file exporter and OpenTelemetry's own write, or one request's body.

A line (or a file) is an ExportTraceServiceRequest or a TracesData: `resourceSpans` > `scopeSpans` > `spans`, in lower
camel case, ids in hex, 64-bit numbers as texts. Files of one folder are read together, as exporters rotate them in the
middle of traces. Read too: `resource_spans` and base64 ids (protobuf's own JSON), `instrumentationLibrarySpans` (before
OTLP 0.15), and what Tempo and Jaeger answer, where these stand in `trace` or `result`, or are called `batches`. Lines
with `resourceMetrics` hold no spans, those with `resourceLogs` what coding agents log of their calls (`agent_events`).

Sources: opentelemetry.io/docs/specs/otel/protocol/file-exporter and /docs/specs/otlp, "JSON Protobuf Encoding";
grafana.com/docs/tempo/latest/api_docs, "Query" and "Query V2"; jaegertracing.io/docs, `/api/v3/traces`.
"""

from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from tokenflation.sdk.importers.files.fields import mapping
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.importers.spans.agent_events import are_events, events_of
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.otlp_values import attributes, either, first, time_ns_of
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of

__all__ = ["FORMAT", "spans_of"]

_KEYS = ("resourceSpans", "resource_spans")
_BATCHES = "batches"
_AROUND = ("trace", "result")
_INSIDE = (b'"resourceSpans"', b'"scopeSpans"', b'"instrumentationLibrarySpans"')
_OTHERS = ("resourceMetrics", "resource_metrics", "resourceLogs", "resource_logs", "resourceProfiles")
_FAILED = (2, "2", "STATUS_CODE_ERROR")


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds OTLP traces."""
    if any(isinstance(one.get(key), list) for one in head.objects for key in _KEYS):
        return 0.95
    if any(key in head.keys for key in _KEYS):
        return 0.9
    if not head.keys.isdisjoint((*_AROUND, _BATCHES)) and any(name in head.start for name in _INSIDE):
        return 0.9
    return 0.85 if are_events(head) else 0.0


def spans_of(document: Mapping[str, Any], where: str) -> Iterator[Node | Skipped]:
    """Yield the spans of one request."""
    document = next((document[name] for name in _AROUND if isinstance(document.get(name), Mapping)), document)
    groups = next((document[key] for key in (*_KEYS, _BATCHES) if key in document), None)
    yield from events_of(document, where)
    if not isinstance(groups, list):
        if not any(key in document for key in _OTHERS):
            yield Skipped(where, "no OTLP traces", f"an object with {', '.join(list(document)[:4]) or 'nothing in it'}")
        return
    for group in groups:
        if not isinstance(group, Mapping):
            yield Skipped(where, "no OTLP traces", "an entry of resourceSpans is no object")
            continue
        resource = attributes(mapping(group.get("resource")).get("attributes"))
        for scope_spans in first(group, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
            scope = mapping(scope_spans).get("scope") or mapping(scope_spans).get("instrumentationLibrary")
            library = str(mapping(scope).get("name") or "")
            for span in first(mapping(scope_spans), "spans"):
                yield _node(span, library, resource, where)


def _node(span: Any, library: str, resource: Mapping[str, Any], where: str) -> Node | Skipped:
    if not isinstance(span, Mapping):
        return Skipped(where, "no span", f"a {type(span).__name__} instead")
    status = mapping(span.get("status"))
    events = [
        (str(event.get("name", "")), time_ns_of(either(event, "timeUnixNano", "time_unix_nano")), attributes(event.get("attributes")))
        for event in first(span, "events")
        if isinstance(event, Mapping)
    ]  # fmt: skip
    return node_of(
        trace_id=trace_id_of(either(span, "traceId", "trace_id")),
        span_id=span_id_of(either(span, "spanId", "span_id")),
        parent_id=span_id_of(either(span, "parentSpanId", "parent_span_id")),
        name=str(span.get("name") or ""),
        attributes=attributes(span.get("attributes")),
        started_at_ns=time_ns_of(either(span, "startTimeUnixNano", "start_time_unix_nano")),
        ended_at_ns=time_ns_of(either(span, "endTimeUnixNano", "end_time_unix_nano")),
        failed=status.get("code") in _FAILED,
        events=events,
        library=library,
        resource=resource,
        where=where,
    )


FORMAT = Format(
    name="otlp",
    title="OTLP JSON",
    sniff=_sniff,
    read=reader("otlp", values, spans_of),
    group=lambda head: str(PurePath(head.path).parent),
)
