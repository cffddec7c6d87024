"""Reads what coding agents log of their model calls by OpenTelemetry: Claude Code, Codex and Gemini CLI. Knows no file.

An event of the log is one call, with a session's id; events of one session are one task, or belong to the trace that
they were logged in. A span of the same call, by the answer's id, is the same call. Events of anything else are passed
over.

* `claude_code.api_request`: counts as Anthropic's, the input without its cached part; the output is final. `api_error`
  is a call that failed. Source: code.claude.com/docs/en/monitoring-usage, "Events".
* `codex.sse_event` of kind `response.completed`: cached and reasoning tokens are inside. It writes two of each answer:
  that its stream ended, which says nothing of the call, and its counts. Source: openai/codex, codex-rs/otel.
* `gemini_cli.api_response`: thoughts stand outside the output, tool prompts outside the input; one session is one task.
  `api_error` is a call that failed. Source: google-gemini/gemini-cli, docs/cli/telemetry.md and telemetry/types.ts.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.fields import made_id, made_trace_id, mapping, seconds, seconds_ns, text, time_ns
from tokenflation.sdk.importers.files.formats import Head, Skipped
from tokenflation.sdk.importers.spans.calls import Node
from tokenflation.sdk.importers.spans.gemini_cli import ITS_EVENTS
from tokenflation.sdk.importers.spans.otlp_values import attributes, either, first, time_ns_of
from tokenflation.sdk.importers.spans.reading import node_of, span_id_of, trace_id_of

__all__ = ["are_events", "event_of", "events_of", "names_agent"]

_LOGS = ("resourceLogs", "resource_logs")
_AGENTS = (b"claude_code.", b"codex.", b"gemini_cli.")
_MOST = 2**53
_SESSIONS = ("session.id", "conversation.id", "prompt.id", "prompt_id")
_CLAUDES = frozenset({"claude_code.api_request", "claude_code.api_error", "api_request", "api_error"})


def names_agent(start: bytes) -> bool:
    """Return whether a file's beginning names an event of a coding agent."""
    return any(agent in start for agent in _AGENTS)


def are_events(head: Head) -> bool:
    """Return whether a file's beginning holds logs of a coding agent."""
    logs = any(key in head.keys or any(key in one for one in head.objects) for key in _LOGS)
    return logs and names_agent(head.start)


def events_of(document: Mapping[str, Any], where: str) -> Iterator[Node | Skipped]:
    """Yield a call for each event of one request that tells of one."""
    for group in first(document, *_LOGS):
        resource = attributes(mapping(mapping(group).get("resource")).get("attributes"))
        for scope_logs in first(mapping(group), "scopeLogs", "scope_logs"):
            library = str(mapping(mapping(scope_logs).get("scope")).get("name") or "")
            for one in first(mapping(scope_logs), "logRecords", "log_records"):
                record = mapping(one)
                found = event_of(
                    attributes(record.get("attributes")),
                    titles=(text(mapping(record.get("body")), "stringValue"), text(record, "eventName")),
                    times_ns=[
                        time_ns_of(either(record, *names))
                        for names in (
                            ("timeUnixNano", "time_unix_nano"),
                            ("observedTimeUnixNano", "observed_time_unix_nano"),
                        )
                    ],
                    inside=(either(record, "traceId", "trace_id"), either(record, "spanId", "span_id")),
                    library=library,
                    resource=resource,
                    where=where,
                )
                if found is not None:
                    yield found


def event_of(
    said: Mapping[str, Any], *, titles: Sequence[str | None], times_ns: Sequence[int | None], inside: tuple[Any, Any],
    library: str, resource: Mapping[str, Any], where: str,
) -> Node | Skipped | None:  # fmt: skip
    """Return the call that a log record with these attributes tells of, None if it is of none.

    `titles` are what else may be the event's name: the record's body is a sentence in some agents' logs. `times_ns` are
    when it was emitted and seen, `inside` the ids of the trace and span that it was logged in.
    """
    names = [one for one in (text(said, "event.name"), *titles) if one]
    name, facts = next(((one, found) for one in names if (found := _facts(one, said)) is not None), ("", None))
    if facts is None:
        return None
    name = next((one for one in names if one.endswith(f".{name}")), name)
    gemini = name.startswith(f"{ITS_EVENTS}.")
    session, said_ns = text(said, *_SESSIONS), time_ns(said, "event.timestamp")
    # Gemini CLI emits late what happens before its telemetry is up: only the event itself says when it was.
    order = [said_ns, *times_ns] if gemini else [times_ns[0], said_ns, *times_ns[1:]]
    ended_ns = next((one for one in order if one), None)
    if session is None or ended_ns is None:
        return Skipped(where, "a call's event without its session or time", name)
    # Its spans of one session are of one trace to us, see `gemini_cli_spans`.
    trace_id = made_trace_id("gemini-cli", session) if gemini else trace_id_of(inside[0])
    spent_s = seconds({"s": _float(said.get("duration_ms"))}, "s")
    return node_of(
        trace_id=trace_id or made_trace_id("agent-events", session),
        span_id=made_id("agent-events", session, *_place(said, ended_ns, gemini)),
        parent_id=span_id_of(inside[1]) if trace_id is not None else None,
        name=name,
        attributes={**said, **facts},
        started_at_ns=ended_ns - seconds_ns((spent_s or 0.0) / 1000),
        ended_at_ns=ended_ns if spent_s is not None else None,
        failed=name.endswith("error"),
        library=ITS_EVENTS if gemini else library or name.partition(".")[0],
        resource=resource,
        where=where,
    )


def _place(said: Mapping[str, Any], ended_ns: int, gemini: bool) -> tuple[object, ...]:
    """Return what tells a call from the others of its session; calls of sub-agents may end in the same millisecond."""
    if gemini:
        return ended_ns, said.get("prompt_id"), said.get("total_token_count")
    return (text(said, "request_id") or f"{ended_ns}/{said.get('event.sequence')}",)


def _facts(name: str, said: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the attributes that a span of the call would have, None if the event is of no call."""
    model = text(said, "model", "model_name")
    asked = {} if model is None else {"gen_ai.request.model": model}
    if name in _CLAUDES:
        return {"span.type": "llm_request", "gen_ai.provider.name": "anthropic", **asked}
    if name == "codex.sse_event" and said.get("event.kind") == "response.completed" and "input_token_count" in said:
        counts = {
            "gen_ai.usage.input_tokens": said.get("input_token_count"),
            "gen_ai.usage.cache_read.input_tokens": said.get("cached_token_count"),
            "gen_ai.usage.output_tokens": said.get("output_token_count"),
            "gen_ai.usage.reasoning.output_tokens": said.get("reasoning_token_count"),
        }
        return {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", **asked, **_told(counts)}
    if name in ("gemini_cli.api_response", "gemini_cli.api_error"):
        inputs = [said.get(one) for one in ("input_token_count", "tool_token_count")]
        outputs = [said.get(one) for one in ("output_token_count", "thoughts_token_count")]
        counts = {
            "gen_ai.usage.input_tokens": _sum(inputs),
            "gen_ai.usage.cache_read.input_tokens": said.get("cached_content_token_count"),
            "gen_ai.usage.output_tokens": _sum(outputs),
            "gen_ai.usage.reasoning.output_tokens": outputs[1],
            "gen_ai.response.finish_reasons": said.get("finish_reasons"),
            "gen_ai.prompt.name": said.get("prompt_id"),
        }
        return {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "gcp.gemini", **asked, **_told(counts)}
    return None


def _told(counts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in counts.items() if value is not None}


def _sum(values: list[Any]) -> int | None:
    """Return the first value with the others added, None if it is no number; numbers may come as texts."""
    found = [int(number) for value in values if (number := _float(value)) is not None and number >= 0]
    return sum(found) if found and _float(values[0]) is not None else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < _MOST else None
