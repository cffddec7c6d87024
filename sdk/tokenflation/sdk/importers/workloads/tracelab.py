"""Reads TraceLab's normalised traces: one JSON line is one call of a Claude Code or Codex session.

Fields as in github.com/uw-syfi/TraceLab, `skills/coding-trace-normalize/SKILL.md` and
`example_sessions/derived/README.md`: `input_tokens_total` = `prefix_tokens` (read from the cache) +
`newly_append_tokens`; `reasoning_output_tokens` is part of `output_tokens`; texts are given by their characters only.
Its raw sessions are Claude Code's and Codex' own logs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, dicts, made_id, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import values
from tokenflation.sdk.importers.rows.building import TaskRows

__all__ = ["FORMAT"]

_KEYS = frozenset(("session_id", "round_id", "input_tokens_total", "prefix_tokens"))
_HEARD = ("user_message", "tool_result")
_KINDS = {
    "claude": ("claude-code", "anthropic", "anthropic.messages"),
    "codex": ("codex", "openai", "openai.responses"),
}


def _sniff(head: Head) -> float:
    return 0.97 if head.keys >= _KEYS or any(one.keys() >= _KEYS for one in head.objects) else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        rows: TaskRows | None = None
        for found in values(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, row = found
            session_id, round_id = text(row, "session_id"), text(row, "round_id")
            ended = [at for one in dicts(row, "timing_events") if (at := time_ns(one, "timestamp")) is not None]
            if session_id is None or round_id is None or not ended:
                yield Skipped(entry.place(line), "a call without its session, id or times")
                continue
            if rows is None or rows.session_id != session_id:
                if rows is not None:
                    yield Taken(rows.batch())
                kind = _KINDS.get(text(row, "provider") or "", ("tracelab", "unknown", "unknown"))[0]
                rows = TaskRows("tracelab", session_id, task=context.kind(kind))
            _add(rows, row, round_id)
        if rows is not None:
            yield Taken(rows.batch())


def _add(rows: TaskRows, row: Mapping[str, Any], round_id: str) -> None:
    events = dicts(row, "timing_events")
    heard = [
        at for one in events if text(one, "event_type") in _HEARD and (at := time_ns(one, "timestamp")) is not None
    ]
    said = [
        at for one in events if text(one, "event_type") not in _HEARD and (at := time_ns(one, "timestamp")) is not None
    ]
    spoken = {text(one, "event_type") for one in events}
    started_at_ns = max([at for at in heard if not said or at <= min(said)], default=min(heard + said))
    known = bool(heard) and bool(said) and max(said) >= started_at_ns
    _, provider, api = _KINDS.get(text(row, "provider") or "", ("", "unknown", "unknown"))
    call_id = made_id("tracelab", rows.session_id, round_id)
    step = count(row, "round_index")
    made = rows.call(
        rows.main,
        call_id,
        provider=provider,
        api=api,
        model=text(row, "model"),
        response_id=round_id,
        started_at_ns=started_at_ns,
        ended_at_ns=max(said) if said else None,
        duration_s=(max(said) - started_at_ns) / 1e9 if known else None,
        input_tokens=count(row, "input_tokens_total"),
        cache_read_tokens=count(row, "prefix_tokens"),
        cache_write_tokens=count(row, "claude_cache_creation_input_tokens"),
        output_tokens=count(row, "output_tokens"),
        reasoning_tokens=count(row, "reasoning_output_tokens"),
        prompted_by="both" if {*_HEARD} <= spoken else "user" if "user_message" in spoken else "tool",
    )
    if step is not None:
        made["step"] = step
    for position, tool in enumerate(dicts(row, "tools")):
        result_at_ns = time_ns(tool, "result_at")
        failed = tool.get("is_error")
        rows.tool(
            call_id,
            text(tool, "tool_call_id") or str(position),
            text(tool, "tool_name") or "unknown",
            started_at_ns=time_ns(tool, "emitted_at"),
            ended_at_ns=result_at_ns,
            executed=None if result_at_ns is None else 1,
            failed=failed if isinstance(failed, bool) else None,
        )


FORMAT = Format(name="tracelab", title="TraceLab trace", sniff=_sniff, read=_read)
