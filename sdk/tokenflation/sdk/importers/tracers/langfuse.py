"""Langfuse exports: observations and traces as the API gives them (JSON), the UI (JSON, CSV) and the blob storage.

An observation has `id`, `traceId`, `type`, `startTime` (API, UI) or the same in snake case (blob storage); the API's
trace has its `observations` inside, the UI's download of one trace has them beside `trace`; a trace by itself gives its
task's name. GENERATION and EMBEDDING are model calls. Kinds of
`usageDetails` stand beside each other (`input` leaves the cached tokens out) and add up to the input; `usage` and
`promptTokens` of older versions are totals. Token counts of other types of observation are not read.

Sources: langfuse.com/docs/api-and-data-platform/features/blob-storage-export-fields; langfuse/langfuse,
fern/apis/server/definition/commons.yml (Observation, TraceWithFullDetails) and worker, database-read-stream/types.ts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from tokenflation.sdk.importers.files.exported import columns_of, loaded, records
from tokenflation.sdk.importers.files.fields import mapping, number, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.spans.answers import said_by
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.names import CallFacts, provider_named
from tokenflation.sdk.importers.spans.reading import role_in, span_id_of, trace_id_of
from tokenflation.sdk.importers.spans.rows import SpanPile
from tokenflation.sdk.importers.spans.usage import Counted, counted, from_langfuse
from tokenflation.sdk.records import Usage

if TYPE_CHECKING:
    from tokenflation.sdk.importers.files.entries import Entry

__all__ = ["FORMAT"]

_OBSERVATIONS = (frozenset({"traceId", "type", "startTime"}), frozenset({"trace_id", "type", "start_time"}))
_MARKS = frozenset({"parentObservationId", "parent_observation_id", "completionStartTime", "completion_start_time",
                    "usageDetails", "usage_details", "promptTokens"})  # fmt: skip
_TRACE_MARKS = frozenset({"bookmarked", "public", "release", "sessionId", "session_id", "htmlPath"})
_CALLS = frozenset({"GENERATION", "EMBEDDING"})


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds Langfuse observations or traces."""
    names = columns_of(head)
    if any(names >= some for some in _OBSERVATIONS) and names & _MARKS:
        return 0.95
    if {"id", "timestamp"} <= names and len(names & _TRACE_MARKS) > 1:
        return 0.85
    if {"trace", "observations"} <= names:
        return 0.8
    inside = b'"traceId"' in head.start and b'"startTime"' in head.start and b'"type"' in head.start
    return 0.8 if inside and (b'"parentObservationId"' in head.start or b'"usageDetails"' in head.start) else 0.0


def _read(entries: Sequence["Entry"], context: Context) -> Iterator[Taken | Skipped]:
    """Yield the tasks of the traces in all files: exports of the storage have traces and observations apart."""
    pile, names = SpanPile(FORMAT.name), {}
    nodes: list[Node] = []
    for entry in entries:
        for found in records(entry, context, "data"):
            if isinstance(found, Skipped):
                yield found
                continue
            line, record = found
            inside = loaded(record.get("observations"))
            observed = [one for one in inside if isinstance(one, Mapping)] if isinstance(inside, list) else []
            trace = mapping(record, "trace") if "type" not in record else {}
            if trace or _is_trace(record):
                names[trace_id_of((trace or record).get("id"))] = text(trace or record, "name")
            else:
                observed = [record]
            for one in observed:
                node = _node(one, entry.place(line))
                if isinstance(node, Skipped):
                    yield node
                else:
                    nodes.append(node)
    for node in nodes:
        name = names.get(node.trace_id)
        skipped = pile.add(replace(node, given={"task": name[:200]}) if name and not node.given else node)
        if skipped is not None:
            yield skipped
    yield from pile.tasks(context, entries[0].task)


FORMAT = Format(name="langfuse", title="Langfuse", sniff=_sniff, read=_read, group=lambda _head: "")


def _is_trace(record: Mapping[str, Any]) -> bool:
    return "type" not in record and "traceId" not in record and "trace_id" not in record and "timestamp" in record


def _of(record: Mapping[str, Any], name: str) -> Any:
    """Return a field by its name in camel case, in snake case too."""
    if (value := record.get(name)) is not None:
        return value
    return record.get("".join(f"_{sign.lower()}" if sign.isupper() else sign for sign in name))


def _time(record: Mapping[str, Any], name: str) -> int | None:
    return time_ns({name: _of(record, name)}, name)


def _node(record: Mapping[str, Any], where: str) -> Node | Skipped:
    kind = (text(record, "type") or "").upper()
    span_id, trace_id = span_id_of(record.get("id")), trace_id_of(_of(record, "traceId"))
    started = _time(record, "startTime")
    if span_id is None or trace_id is None or not kind:
        return Skipped(where, "no Langfuse observation", "it lacks id, trace id or type")
    if started is None:
        return Skipped(where, "an observation without a time", str(record.get("id"))[:80])
    ended = _time(record, "endTime")
    failed = text(record, "level") == "ERROR"
    metadata = mapping(loaded(record.get("metadata")))
    scope = mapping(loaded(metadata.get("scope")))
    name = text(record, "name") or kind.lower()
    trace_name = _of(record, "traceName")
    return Node(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=span_id_of(_of(record, "parentObservationId")),
        name=name[:200],
        library=text(scope, "name") or "langfuse",
        started_at_ns=started,
        ended_at_ns=None if ended is None else max(started, ended),
        status="error" if failed else "ok",
        error_type="error" if failed else None,
        role=None if kind in _CALLS else role_in(name, kind, metadata),
        call=_facts(record, kind, metadata, started) if kind in _CALLS else None,
        where=where,
        given={"task": trace_name[:200]} if isinstance(trace_name, str) and trace_name else {},
    )


def _facts(record: Mapping[str, Any], kind: str, metadata: Mapping[str, Any], started: int) -> CallFacts:
    said = mapping(loaded(metadata.get("attributes")))
    provider = provider_named(said.get("gen_ai.provider.name"), said.get("gen_ai.system"), metadata.get("ls_provider"))
    model = next(
        (name for key in ("providedModelName", "model", "modelId") if isinstance(name := _of(record, key), str)), None
    )
    found = _usage(record, provider if provider != "unknown" or "gemini" not in (model or "") else "gcp.gemini")
    answer = said_by(loaded(record.get("output")))
    extra = dict(found.extra)
    costs = loaded(_of(record, "costDetails"))
    if isinstance(costs, Mapping) and (
        kept := {key: cost for key in costs if (cost := number(costs, key)) is not None}
    ):
        extra["costs"] = kept
    for ours, theirs in (("session_id", "sessionId"), ("user_id", "userId")):
        if isinstance(value := _of(record, theirs), str) and value:
            extra[ours] = value[:200]
    first = _time(record, "completionStartTime")
    return CallFacts(
        provider=provider,
        api=f"{provider}.embeddings" if kind == "EMBEDDING" else "",
        model=model,
        response_id=answer.response_id,
        stream=first is not None,
        finish_reasons=answer.finish_reasons,
        usage=found.usage,
        ttfc_s=None if first is None else max(0, first - started) / 1e9,
        tools=answer.tools,
        extra=extra,
    )


def _usage(record: Mapping[str, Any], provider: str) -> Counted:
    details = loaded(_of(record, "usageDetails"))
    if isinstance(details, Mapping) and details:
        return from_langfuse(details, provider=provider)
    # Before details: one object, or columns, in units that are tokens as a rule; 0 and 0 stood for not reported.
    older = mapping(loaded(record.get("usage")))
    if older.get("unit") not in (None, "TOKENS"):
        return Counted(Usage())
    # The record's own `input` and `output` are texts.
    tokens = [
        next((value for name in names if (value := record.get(name)) is not None), older.get(key))
        for key, names in (("input", ("promptTokens", "inputUsage")), ("output", ("completionTokens", "outputUsage")))
    ]
    tokens = [value if isinstance(value, int | float | str) else None for value in tokens]
    return (
        Counted(Usage())
        if not any(_positive(one) for one in tokens)
        else counted(tokens[0], None, None, tokens[1], None)
    )


def _positive(value: Any) -> bool:
    return counted(value, None, None, None, None).usage.input_tokens not in (None, 0)
