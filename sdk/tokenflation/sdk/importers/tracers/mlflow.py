"""MLflow traces: `Trace.to_json()`, lists, `search_traces()` as JSON Lines, CSV, Parquet, `traces.json` artifacts.

A trace is `{"info": ..., "data": {"spans": [...]}}`; a table has it as JSON in the column `trace`, or its spans in
`spans`. Spans carry ids in base64 (schema 3) or hex with `0x` (schema 2) and attributes each as JSON. A call's counts
are its span's `mlflow.chat.tokenUsage`, whose input has the cached tokens inside; what that leaves out (reasoning) is
taken from the recorded answer. `mlflow.trace.tokenUsage` is the trace's sum and never adds.

Source: mlflow 3.17, entities/span.py and trace.py, tracing/constant.py.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from tokenflation.sdk.importers.files.exported import columns_of, loaded, records
from tokenflation.sdk.importers.files.fields import dicts, mapping, text, time_ns
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.spans.answers import said_by
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.names import error_class
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of
from tokenflation.sdk.importers.spans.usage import Counted

__all__ = ["FORMAT"]

_TABLE = frozenset({"trace_id", "spans", "trace_metadata"})
_OLD_TABLE = frozenset({"request_id", "spans", "request_metadata"})


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds MLflow traces."""
    names = columns_of(head)
    if b"mlflow." not in head.start:
        return 0.0
    if names >= {"info", "data"} or names >= _TABLE or names >= _OLD_TABLE or names >= {"trace_id", "trace"}:
        return 0.95
    return 0.9 if "spans" in names or b'"mlflow.traceRequestId"' in head.start else 0.0


def _spans(record: Mapping[str, Any], where: str) -> Iterator[Node | Skipped]:
    whole = loaded(record.get("trace"))
    trace = whole if isinstance(whole, Mapping) else record
    data = loaded(trace.get("data"))
    spans = loaded(data.get("spans")) if isinstance(data, Mapping) else loaded(trace.get("spans"))
    if not isinstance(spans, list):
        yield Skipped(where, "no MLflow trace", "it lacks its spans")
        return
    for span in spans:
        yield _node(span, where) if isinstance(span, Mapping) else Skipped(where, "no span", f"a {type(span).__name__}")


def _node(span: Mapping[str, Any], where: str) -> Node | Skipped:
    old = mapping(span, "context")
    attributes = mapping(loaded(span.get("attributes")))
    code = text(mapping(span, "status"), "code") or text(span, "status_code") or ""
    events = dicts({"events": loaded(span.get("events"))}, "events")
    node = node_of(
        trace_id=trace_id_of(span.get("trace_id") or old.get("trace_id")),
        span_id=span_id_of(span.get("span_id") or old.get("span_id")),
        parent_id=span_id_of(span.get("parent_span_id") or span.get("parent_id")),
        name=text(span, "name") or "",
        attributes=attributes,
        started_at_ns=time_ns(span, "start_time_unix_nano", "start_time_ns", "start_time"),
        ended_at_ns=time_ns(span, "end_time_unix_nano", "end_time_ns", "end_time"),
        failed=code.endswith("ERROR"),
        events=[(text(one, "name") or "", time_ns(one, "time_unix_nano", "timestamp"), mapping(one, "attributes")) for one in events],
        where=where,
    )  # fmt: skip
    return _with_answer(node, attributes) if isinstance(node, Node) else node


def _with_answer(node: Node, attributes: Mapping[str, Any]) -> Node:
    """Return a span, a call's with what only its recorded answer says."""
    facts = node.call
    outputs = attributes.get("mlflow.spanOutputs")
    if facts is None:
        return node
    answer = said_by(loaded(outputs), provider=facts.provider)
    found = Counted(facts.usage, facts.extra).filled(answer.counted)
    return replace(
        node,
        library="mlflow",
        error_type=error_class(node.error_type),
        call=replace(
            facts,
            response_model=facts.response_model or answer.model,
            response_id=facts.response_id or answer.response_id,
            finish_reasons=facts.finish_reasons or answer.finish_reasons,
            tools=facts.tools or answer.tools,
            usage=found.usage,
            extra=dict(found.extra),
        ),
    )


FORMAT = Format(
    name="mlflow",
    title="MLflow traces",
    sniff=_sniff,
    read=reader("mlflow", lambda entry, context: records(entry, context, "traces"), _spans),
)
