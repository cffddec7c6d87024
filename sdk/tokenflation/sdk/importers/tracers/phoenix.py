"""Spans out of Arize Phoenix: the client's `get_spans` as JSON, and its spans dataframe as JSON Lines, CSV or Parquet.

JSON has `context`, `parent_id`, `span_kind`, `start_time` and `attributes` (nested or with dotted names); the dataframe
has `context.span_id`, `context.trace_id` and a column for each attribute, `attributes.llm.token_count.prompt` for one.
The attributes are OpenInference's. Which instrumentation made a span is not exported.

Source: arize-phoenix-client 3.5, `__generated__/v1` (Span) and resources/spans; Arize-ai/phoenix, trace/dsl/query.py.
"""

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from tokenflation.sdk.importers.files.exported import columns_of, loaded, records
from tokenflation.sdk.importers.files.fields import mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.spans.attributes import flat
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of

__all__ = ["FORMAT"]

_FRAME = frozenset({"context.span_id", "context.trace_id", "start_time"})
_OBJECT = frozenset({"context", "span_kind", "start_time", "attributes"})
_PREFIX = "attributes."


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds Phoenix spans."""
    names = columns_of(head)
    if names >= _FRAME or names >= _OBJECT:
        return 0.95
    return (
        0.8 if b'"span_kind"' in head.start and b'"context"' in head.start and b'"status_code"' in head.start else 0.0
    )


def _node(record: Mapping[str, Any], where: str) -> Node | Skipped:
    context = mapping(record, "context")
    attributes = flat(loaded(record.get("attributes")))
    attributes |= {key[len(_PREFIX) :]: loaded(value) for key, value in record.items() if key.startswith(_PREFIX)}
    attributes = flat({key: value for key, value in attributes.items() if value is not None})
    kind = text(record, "span_kind")
    if kind is not None and kind != "UNKNOWN":
        attributes.setdefault("openinference.span.kind", kind.upper())
    events = loaded(record.get("events"))
    return node_of(
        trace_id=trace_id_of(record.get("context.trace_id") or context.get("trace_id")),
        span_id=span_id_of(record.get("context.span_id") or context.get("span_id")),
        parent_id=span_id_of(record.get("parent_id")),
        name=text(record, "name") or "",
        attributes=attributes,
        started_at_ns=time_ns(record, "start_time"),
        ended_at_ns=time_ns(record, "end_time"),
        failed=text(record, "status_code") == "ERROR",
        events=[
            (text(one, "name") or "", time_ns(one, "timestamp"), flat(mapping(one, "attributes")))
            for one in (events if isinstance(events, list) else ())
            if isinstance(one, Mapping)
        ],
        where=where,
    )


FORMAT = Format(
    name="phoenix",
    title="Phoenix spans",
    sniff=_sniff,
    read=reader(
        "phoenix",
        lambda entry, context: records(entry, context, "data", "spans"),
        lambda record, where: [_node(record, where)],
    ),
    group=lambda head: str(PurePath(head.path).parent),
)
