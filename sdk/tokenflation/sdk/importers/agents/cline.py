"""Reads the sessions of Cline's command (`~/.cline/data/sessions/*/*.messages.json`): one session is one task.

As version 3.0.65 writes them: one document a session with `messages`, and one beside it for each sub-agent
(`agent_*.messages.json`), whose `sessionId` begins with its parent's and `__`.

* An assistant's message with `metrics` is one call. The cache is part of `inputTokens` whatever the provider; nothing
  is said of reasoning. One without `metrics` is a call that failed. Tries before an answer came are not in the log.
* `ts` is when a message was whole: a call ends with its own, and starts with that of the message before.
* A sub-agent stands in the first `spawn_agent` that no other one stands in.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, dicts, made_id, mapping, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document
from tokenflation.sdk.importers.rows.building import Run, TaskRows
from tokenflation.sdk.importers.spans.names import provider_named

__all__ = ["FORMAT"]

_MESSAGES = frozenset(("agent", "sessionId", "updated_at", "messages"))
_ABOUT = frozenset(("session_id", "messages_path"))
_SESSION_ID = re.compile(rb'"session(?:Id|_id)"\s*:\s*"([^"\\]+?)(?:__[^"\\]*)?"')
_STARTING = "spawn_agent"


def _sniff(head: Head) -> float:
    return 0.95 if head.keys >= _MESSAGES or head.keys >= _ABOUT else 0.0


def _group(head: Head) -> str:
    found = _SESSION_ID.search(head.start)
    return head.path if found is None else found[1].decode("utf-8", "replace")


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    sessions: list[Mapping[str, Any]] = []
    for entry in entries:
        cut = False
        for found in document(entry):
            if isinstance(found, Skipped):
                yield found
                cut = True
            elif text(found[1], "sessionId") is not None:
                messages = dicts(found[1], "messages")  # of one that is cut off the counts of the last may be missing
                sessions.append({**found[1], "messages": messages[:-1] if cut else messages})
    sessions.sort(key=lambda one: ("__" in str(one["sessionId"]), _first_ns(one)))
    if not sessions:
        yield Skipped(entries[0].shown, "without its messages", what="session")
        return
    rows = TaskRows("cline", str(sessions[0]["sessionId"]).partition("__")[0], task=context.kind("cline"))
    starting: list[dict[str, Any]] = []
    for session in sessions:
        run = rows.main
        if "__" in str(session["sessionId"]):
            tool = starting.pop(0) if starting else None
            run = rows.run(
                session["sessionId"], text(session, "agent") or "subagent", rows.main,
                inside_tool_call_id=tool["tool_call_id"] if tool else None,
                inside_call_id=tool["call_id"] if tool else None,
            )  # fmt: skip
            if tool is not None:
                tool["agent_run_id"] = run.run_id
        _add(rows, run, session, starting)
    rows.session({"version": text(mapping(sessions[0], "origin"), "version")})
    yield Taken(rows.batch())


def _first_ns(session: Mapping[str, Any]) -> int:
    return min((time_ns(one, "ts") or 0 for one in dicts(session, "messages")), default=0)


def _add(rows: TaskRows, run: Run, session: Mapping[str, Any], starting: list[dict[str, Any]]) -> None:
    """Add the calls of one agent; note in `starting` the tool calls that start others."""
    asked: dict[str, dict[str, Any]] = {}
    before_ns, spoken = None, ""
    for position, message in enumerate(dicts(session, "messages")):
        at_ns, blocks = time_ns(message, "ts"), dicts(message, "content")
        if message.get("role") != "assistant":
            results = [one for one in blocks if one.get("type") == "tool_result"]
            spoken = "tool" if results else "user"
            for result in results:
                _end_tool(asked.get(text(result, "tool_use_id") or ""), result, at_ns)
        else:
            call_id = made_id("cline", session["sessionId"], text(message, "id") or position)
            _add_call(rows, run, call_id, message, before_ns, spoken)
            for place, block in enumerate(one for one in blocks if one.get("type") == "tool_use"):
                tool_id, name = text(block, "id") or str(place), text(block, "name") or "unknown"
                asked[tool_id] = rows.tool(
                    call_id, tool_id, name, arguments_bytes=size(block.get("input")), started_at_ns=at_ns
                )
                if name == _STARTING:
                    starting.append(asked[tool_id])
            spoken = ""
        before_ns = at_ns


def _add_call(
    rows: TaskRows, run: Run, call_id: str, message: Mapping[str, Any], before_ns: int | None, spoken: str
) -> None:
    metrics, asked = mapping(message, "metrics"), mapping(message, "modelInfo")
    at_ns, model = time_ns(message, "ts"), text(asked, "id")
    known = before_ns is not None and at_ns is not None and before_ns <= at_ns
    rows.call(
        run,
        call_id,
        provider=provider_named(text(asked, "provider")),
        api="unknown",
        model=model,
        response_model=model,
        status="ok" if metrics else "error",
        started_at_ns=before_ns if known else at_ns,
        ended_at_ns=at_ns,
        duration_s=(at_ns - before_ns) / 1e9 if known and at_ns is not None and before_ns is not None else None,
        prompted_by=spoken or None,
        reasoning_blocks=sum(one.get("type") == "thinking" for one in dicts(message, "content")),
        input_tokens=count(metrics, "inputTokens"),
        cache_read_tokens=count(metrics, "cacheReadTokens"),
        cache_write_tokens=count(metrics, "cacheWriteTokens"),
        output_tokens=count(metrics, "outputTokens"),
    )


def _end_tool(made: dict[str, Any] | None, result: Mapping[str, Any], at_ns: int | None) -> None:
    if made is None:
        return
    told = [one["success"] for one in dicts(result, "content") if isinstance(one.get("success"), bool)]
    failed = False in told if told else result.get("is_error") is True
    made |= {"executed": 1, "failed": failed, "result_bytes": size(result.get("content")), "ended_at_ns": at_ns}


FORMAT = Format(name="cline", title="session of Cline's command", sniff=_sniff, read=_read, group=_group)
