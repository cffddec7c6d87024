"""Files of log records and spans of OpenTelemetry's JavaScript SDK as they are, as Gemini CLI's `telemetry.log` does.

With `telemetry.outfile` (`--telemetry-outfile`) Gemini CLI writes each record by `JSON.stringify(record, null, 2)`:
objects one after another, with the SDK's own fields and not OTLP's. Times are pairs of seconds and nanoseconds,
attributes plain objects. Records of metrics hold no calls. What stands on one line each is read too, and what GitHub
Copilot CLI writes so (`COPILOT_OTEL_FILE_EXPORTER_PATH`): a span's ids stand beside its name there.

Sources: google-gemini/gemini-cli, packages/core/src/telemetry/file-exporters.ts; open-telemetry/opentelemetry-js,
sdk-trace-base/src/Span.ts and sdk-logs/src/LogRecordImpl.ts, versions 1 and 2; Copilot CLI 1.0.102's files.
"""

from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import mapping, text
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.files.reading import blocks
from tokenflation.sdk.importers.spans.agent_events import event_of
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.otlp_values import either, first
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of

__all__ = ["FORMAT"]

_SCOPES = frozenset({"instrumentationScope", "instrumentationLibrary"})
_CONTEXTS = ("_spanContext", "spanContext")
_COPILOTS_SPAN = frozenset({"traceId", "spanId", "startTime", "instrumentationScope"})
_COPILOTS_METRIC = frozenset({"dataPoints", "instrumentationScope"})
_ERROR = 2
_NS = 10**9


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds the SDK's records."""
    if any(_is_one(frozenset(one)) for one in (*head.objects, head.keys)):
        return 0.9
    metrics = head.keys >= {"resource", "scopeMetrics"}
    return 0.6 if metrics and (b'"hrTime"' in head.start or b'"_spanContext"' in head.start) else 0.0


def _is_one(keys: frozenset[str]) -> bool:
    """Return whether an object with these keys, or more, is a log record or span; long ones show their first."""
    if keys >= _COPILOTS_SPAN or keys >= _COPILOTS_METRIC:
        return True
    return "_spanContext" in keys or ("hrTime" in keys and not keys.isdisjoint({*_SCOPES, "hrTimeObserved"}))


def _node(record: Mapping[str, Any], where: str) -> Node | Skipped | None:
    """Return the span or call that a record is, None for a log record of no call and for metrics."""
    said = {name: value for name, value in mapping(record.get("attributes")).items() if value is not None}
    library = str(mapping(either(record, *_SCOPES)).get("name") or "")
    inside = mapping(either(record, *_CONTEXTS)) or record
    resource = _resource(mapping(record.get("resource")))
    if "hrTime" in record:
        return event_of(
            said,
            titles=(text(record, "_body", "body"), text(record, "_eventName", "eventName")),
            times_ns=[_time_ns(record.get("hrTime")), _time_ns(record.get("hrTimeObserved"))],
            inside=(inside.get("traceId"), inside.get("spanId")),
            library=library,
            resource=resource,
            where=where,
        )
    if "startTime" in record:
        return _span(record, said, inside, library, resource, where)
    is_metric = "scopeMetrics" in record or record.keys() >= _COPILOTS_METRIC
    return None if is_metric else Skipped(where, "no record of OpenTelemetry", ", ".join([*record][:4]))


def _span(
    record: Mapping[str, Any], said: Mapping[str, Any], inside: Mapping[str, Any], library: str, resource: Mapping[str, Any],
    where: str,
) -> Node | Skipped:  # fmt: skip
    events = [mapping(event) for event in first(record, "events")]
    return node_of(
        trace_id=trace_id_of(inside.get("traceId")),
        span_id=span_id_of(inside.get("spanId")),
        parent_id=span_id_of(
            mapping(record.get("parentSpanContext")).get("spanId") or record.get("parentSpanId")  # versions 2 and 1
        ),
        name=str(record.get("name") or ""),
        attributes=said,
        started_at_ns=_time_ns(record.get("startTime")),
        ended_at_ns=_time_ns(record.get("endTime")),
        failed=mapping(record.get("status")).get("code") == _ERROR,
        events=[
            (str(one.get("name", "")), _time_ns(one.get("time")), mapping(one.get("attributes"))) for one in events
        ],
        library=library,
        resource=resource,
        where=where,
    )


def _resource(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource's attributes: pairs in version 2 of the SDK, an object in version 1."""
    pairs = resource.get("_rawAttributes")
    if isinstance(pairs, list):
        return {str(one[0]): one[1] for one in pairs if isinstance(one, list) and len(one) == 2}
    return next(
        (dict(mapping(resource[name])) for name in ("_attributes", "attributes") if mapping(resource.get(name))), {}
    )


def _time_ns(value: Any) -> int | None:
    """Return a time of seconds and nanoseconds as unix ns."""
    if not isinstance(value, list) or len(value) != 2:
        return None
    if not all(isinstance(one, int) and not isinstance(one, bool) for one in value):
        return None
    found: int = value[0] * _NS + value[1]
    return found if 0 < found < 4 * 10**18 else None


FORMAT = Format(
    name="otel-js",
    title="OpenTelemetry JavaScript records",
    sniff=_sniff,
    read=reader("otel-js", blocks, lambda record, where: [_node(record, where)]),
)
