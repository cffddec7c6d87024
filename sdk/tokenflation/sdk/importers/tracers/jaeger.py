"""Jaeger's JSON: what its page downloads and `/api/traces` answers, also by Grafana.

`{"data": [trace, ...]}`, a trace being its spans and, by the ids that the spans name, the processes that they ran in.
Times are in microseconds; a span's attributes are tags with a type, lists among them JSON in a text; the parent is a
reference `CHILD_OF`, in old releases `parentSpanID`. `/api/v3/traces` answers OTLP (`otlp`).

Sources: jaegertracing/jaeger, internal/uimodel/model.go; opentelemetry.io/docs/specs/otel/compatibility and
open-telemetry/opentelemetry-collector-contrib, pkg/translator/jaeger (what the tags are called).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tokenflation.sdk.importers.files.exported import records
from tokenflation.sdk.importers.files.fields import count, dicts, mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of

__all__ = ["FORMAT"]

_SAYS = (b'"traceID"', b'"spanID"', b'"operationName"', b'"startTime"')


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds Jaeger's traces."""
    return 0.9 if head.keys & {"data", "spans"} and all(name in head.start for name in _SAYS) else 0.0


def _spans(trace: Mapping[str, Any], where: str) -> Iterator[Node | Skipped]:
    if not isinstance(trace.get("spans"), list):
        yield Skipped(where, "no Jaeger trace", "it lacks its spans")
        return
    for span in dicts(trace, "spans"):
        process = mapping(trace, "processes", text(span, "processID") or "") or mapping(span, "process")
        yield _node(span, process, where)


def _node(span: Mapping[str, Any], process: Mapping[str, Any], where: str) -> Node | Skipped:
    attributes = _attributes(span, "tags")
    started_at_ns, duration_us = time_ns(span, "startTime"), count(span, "duration")
    known = started_at_ns is not None and duration_us is not None
    return node_of(
        trace_id=trace_id_of(span.get("traceID")),
        span_id=span_id_of(span.get("spanID")),
        parent_id=span_id_of(_parent(span)),
        name=text(span, "operationName") or "",
        attributes=attributes,
        started_at_ns=started_at_ns,
        ended_at_ns=(started_at_ns or 0) + (duration_us or 0) * 1000 if known else None,
        failed=attributes.get("otel.status_code") == "ERROR" or attributes.get("error") in (True, "true"),
        events=[
            (str(said.get("event") or ""), time_ns(log, "timestamp"), said)
            for log in dicts(span, "logs")
            if (said := _attributes(log, "fields"))
        ],
        library=str(attributes.get("otel.scope.name") or attributes.get("otel.library.name") or ""),
        resource={**_attributes(process, "tags"), "service.name": text(process, "serviceName") or ""},
        where=where,
    )


def _attributes(source: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {str(tag["key"]): tag.get("value") for tag in dicts(source, name) if tag.get("key")}


def _parent(span: Mapping[str, Any]) -> Any:
    references = [one for one in dicts(span, "references") if one.get("traceID") == span.get("traceID")]
    child_of = next((one for one in references if one.get("refType") == "CHILD_OF"), {})
    return child_of.get("spanID") or span.get("parentSpanID")


FORMAT = Format(
    name="jaeger",
    title="Jaeger traces",
    sniff=_sniff,
    read=reader("jaeger", lambda entry, context: records(entry, context, "data"), _spans),
)
