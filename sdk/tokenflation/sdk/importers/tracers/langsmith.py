"""LangSmith runs: what `Client.list_runs` and the API give as JSON, and what bulk exports write as Parquet.

A record is one run with `id`, `trace_id`, `parent_run_id`, `run_type`; runs nested under `child_runs` are read too, and
lists under `runs` or `data`. `run_type` llm and embedding are model calls; prompt_tokens and the like on chains are
sums over the calls inside and never add. LangSmith gives 0 tokens for a call without usage: 0 of both, with no usage in
its outputs, is taken as not reported.

Source: docs.langchain.com/langsmith/run-data-format; langsmith 0.14, schemas.Run and `_internal/_usage.py`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tokenflation.sdk.importers.files.exported import columns_of, loaded, records
from tokenflation.sdk.importers.files.fields import count, mapping, number, text, time_ns
from tokenflation.sdk.importers.files.formats import Format, Head, Skipped
from tokenflation.sdk.importers.spans.answers import said_by
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.files import reader
from tokenflation.sdk.importers.spans.names import CallFacts, provider_named
from tokenflation.sdk.importers.spans.reading import role_in, span_id_of, trace_id_of
from tokenflation.sdk.importers.spans.usage import Counted, counted, from_provider, kinds_of, written
from tokenflation.sdk.records import Usage

__all__ = ["FORMAT"]

_OURS = frozenset({"run_type", "start_time"})
_CALLS = frozenset({"llm", "embedding"})
_ENVELOPES = ("runs", "data")
_MAX_RUNS = 1_000_000
_ERROR = re.compile(r"([A-Za-z_][\w.]{0,79})(?:\(|:|$)")


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds LangSmith runs."""
    names = columns_of(head)
    if not names >= _OURS:
        # In an envelope the first object's keys are the envelope's.
        return 0.8 if b'"run_type"' in head.start and b'"dotted_order"' in head.start else 0.0
    return 0.95 if names & {"dotted_order", "parent_run_id", "trace_id"} else 0.6


def _runs(record: Mapping[str, Any], where: str) -> Iterator[Node | Skipped]:
    """Yield a run and those nested in it."""
    waiting: list[Any] = [record]
    for _ in range(_MAX_RUNS):
        if not waiting:
            return
        run = waiting.pop()
        if not isinstance(run, Mapping):
            yield Skipped(where, "no LangSmith run", f"a {type(run).__name__} instead")
            continue
        inside = loaded(run.get("child_runs"))
        waiting += reversed(inside) if isinstance(inside, list) else []
        yield _node(run, where)


def _node(run: Mapping[str, Any], where: str) -> Node | Skipped:
    run_id, kind = run.get("id"), text(run, "run_type")
    started = time_ns(run, "start_time")
    span_id, trace_id = span_id_of(run_id), trace_id_of(run.get("trace_id") or run_id)
    if span_id is None or trace_id is None or kind is None:
        return Skipped(where, "no LangSmith run", "it lacks id or run_type")
    if started is None:
        return Skipped(where, "a run without a time", str(run_id)[:80])
    extra = loaded(run.get("extra"))
    metadata = loaded(mapping(extra, "metadata")) or mapping(run, "metadata")
    name = text(run, "name") or kind
    error = text(run, "error")
    failed = error is not None or text(run, "status") == "error"
    match = _ERROR.match(error or "")
    ended = time_ns(run, "end_time")
    return Node(
        trace_id=trace_id,
        span_id=span_id,
        parent_id=span_id_of(run.get("parent_run_id")),
        name=name[:200],
        library="langsmith",
        started_at_ns=started,
        ended_at_ns=None if ended is None else max(started, ended),
        status="error" if failed else "ok",
        error_type=(match[1].rpartition(".")[2] if match is not None else "error") if failed else None,
        role=None if kind in _CALLS else role_in(name, kind, metadata),
        call=_facts(run, mapping(extra), metadata, started) if kind in _CALLS else None,
        where=where,
        totals=kind not in _CALLS and bool(count(run, "total_tokens", "prompt_tokens")),
    )


def _facts(run: Mapping[str, Any], extra: Mapping[str, Any], metadata: Mapping[str, Any], started: int) -> CallFacts:
    provider = provider_named(metadata.get("ls_provider"))
    answer = said_by(loaded(run.get("outputs")), provider=provider)
    found = _usage(run, metadata, answer.counted)
    first = time_ns(run, "first_token_time")
    if first is None:
        first = next((time_ns(one, "time") for one in _events(run) if text(one, "name") == "new_token"), None)
    parameters = mapping(extra, "invocation_params") or mapping(metadata, "ls_invocation_params")
    kept: dict[str, Any] = dict(found.extra)
    for ours, theirs in (("cost", "total_cost"), ("input_cost", "prompt_cost"), ("output_cost", "completion_cost")):
        if (cost := _cost(run.get(theirs))) is not None:
            kept[ours] = cost
    if (session := text(metadata, "session_id", "thread_id", "conversation_id")) is not None:
        kept["session_id"] = session[:200]
    return CallFacts(
        provider=provider,
        api=f"{provider}.embeddings" if run.get("run_type") == "embedding" else "",
        model=text(metadata, "ls_model_name") or text(parameters, "model", "model_name") or answer.model,
        response_model=answer.model,
        response_id=answer.response_id,
        stream=first is not None,
        finish_reasons=answer.finish_reasons,
        usage=found.usage,
        ttft_s=None if first is None else max(0, first - started) / 1e9,
        tools=answer.tools,
        extra=kept,
    )


def _usage(run: Mapping[str, Any], metadata: Mapping[str, Any], in_answer: Counted) -> Counted:
    """Return the counts: the usage that the client noted, else the answer's, else LangSmith's own columns."""
    noted = loaded(metadata.get("usage_metadata"))
    found = from_provider(noted) if isinstance(noted, Mapping) else Counted(Usage())
    found = found.filled(in_answer)
    tokens = [count(run, name) for name in ("prompt_tokens", "completion_tokens", "total_tokens")]
    if any(tokens) or found.usage.input_tokens is not None:
        details = [_details(run.get(name)) for name in ("prompt_token_details", "completion_token_details")]
        cached = kinds_of(details[0], "cache_read"), written(details[0])
        columns = counted(tokens[0], *cached, tokens[1], kinds_of(details[1], "reasoning"), tokens[2])
        found = found.filled(columns) if any(tokens) else found
    return found


def _details(value: Any) -> Mapping[str, Any]:
    found = loaded(value)
    return mapping(found, "raw") or mapping(found)


def _events(run: Mapping[str, Any]) -> list[Any]:
    events = loaded(run.get("events"))
    return events if isinstance(events, list) else []


def _cost(value: Any) -> float | None:
    """Return a cost in US dollars; the API writes decimals as texts."""
    try:
        return number({"cost": float(value)}, "cost") if isinstance(value, str | int | float) else None
    except (ValueError, OverflowError):
        return None


FORMAT = Format(
    name="langsmith",
    title="LangSmith runs",
    sniff=_sniff,
    read=reader("langsmith", lambda entry, context: records(entry, context, *_ENVELOPES), _runs),
)
