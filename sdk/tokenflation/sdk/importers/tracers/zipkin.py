"""Zipkin's JSON, version 2: a list of spans, or of lists of them, as its api answers and exporters write it.

Times are in microseconds, all tags are texts, a failed span has the tag `error`. OpenTelemetry's exporters put its
attributes, those of its resource and the name of the instrumentation scope among the tags, and an event's attributes as
JSON behind its name.

Sources: zipkin.io/zipkin-api, zipkin2-api.yaml; opentelemetry.io/docs/specs/otel/trace/sdk_exporters/zipkin;
opentelemetry-exporter-zipkin-json 1.45.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import count, dicts, mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.reading import Event, node_of, span_id_of, trace_id_of
from tokenflation.sdk.wire.values import loads

__all__ = ["FORMAT"]


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds Zipkin's spans."""
    names = head.keys.union(*(one.keys() for one in head.objects[:1]))
    told = names >= {"timestamp", "duration"} or "localEndpoint" in names
    return 0.9 if told and names >= {"traceId", "id"} else 0.0


def _node(span: Mapping[str, Any], where: str) -> Node | Skipped:
    tags = mapping(span, "tags")
    started_at_ns, duration_us = time_ns(span, "timestamp"), count(span, "duration")
    known = started_at_ns is not None and duration_us is not None
    return node_of(
        trace_id=trace_id_of(span.get("traceId")),
        span_id=span_id_of(span.get("id")),
        parent_id=span_id_of(span.get("parentId")),
        name=text(span, "name") or "",
        attributes=tags,
        started_at_ns=started_at_ns,
        ended_at_ns=(started_at_ns or 0) + (duration_us or 0) * 1000 if known else None,
        failed=tags.get("otel.status_code") == "ERROR" or "error" in tags,
        events=[*_events(span)],
        library=str(tags.get("otel.scope.name") or tags.get("otel.library.name") or ""),
        resource={"service.name": tags.get("service.name") or text(mapping(span, "localEndpoint"), "serviceName")},
        where=where,
    )


def _events(span: Mapping[str, Any]) -> Iterator[Event]:
    for one in dicts(span, "annotations"):
        value = text(one, "value") or ""
        # `"name": {...}` by the specification, in braces of its own by OpenTelemetry's Python.
        told = loads((value if value[:1] == "{" else f"{{{value}}}").encode())
        title, said = next(iter(told.items())) if isinstance(told, dict) and len(told) == 1 else (value, {})
        yield str(title), time_ns(one, "timestamp"), said if isinstance(said, dict) else {}


FORMAT = Format(
    name="zipkin",
    title="Zipkin spans",
    sniff=_sniff,
    read=reader("zipkin", values, lambda record, where: [_node(record, where)]),
)
