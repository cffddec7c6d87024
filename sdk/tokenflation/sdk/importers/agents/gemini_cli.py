"""Reads Gemini CLI's recorded chats (`~/.gemini/tmp/*/chats/`): one session, with its sub-agents, is one task.

As github.com/google-gemini/gemini-cli writes them (`packages/core/src/services/chatRecordingService.ts` and
`chatRecordingTypes.ts`): older versions one JSON document with `messages`; newer ones JSON Lines, a line for the
session and one for each message, which is written again whenever it changes (the last counts), `$set` for what changes
of the session, `$rewindTo` when the user goes back. Tools' results may come as messages of the user. A message of type
`gemini` is one call. Of its `tokens`, `cached` is part of `input`; `thoughts` stand outside `output` and `tool` outside
`input`, as in Gemini's own usage. The messages that a rewind took back were paid for all the same: they stay. A
message's time is when it was recorded: no durations are known.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, dicts, mapping, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document, values
from tokenflation.sdk.importers.rows.building import Run, TaskRows
from tokenflation.sdk.importers.spans.by_counts import GEMINI, call_id_of

__all__ = ["FORMAT"]

_SESSION_ID = re.compile(rb'"sessionId"\s*:\s*"([^"\\]+)"')
_KNOWN = frozenset(("id", "sessionId", "messages"))
_SUB_AGENT = re.compile(rb'"kind"\s*:\s*"subagent"')


def _sniff(head: Head) -> float:
    if {"sessionId", "projectHash"} <= head.keys or any(
        {"sessionId", "projectHash"} <= one.keys() for one in head.objects
    ):
        return 0.95
    return 0.6 if any(one.get("type") == "gemini" and "content" in one for one in head.objects) else 0.0


def _group(head: Head) -> str:
    if _SUB_AGENT.search(head.start):
        return PurePath(head.path).parent.name  # a sub-agent's file lies in a folder named after the session
    found = _SESSION_ID.search(head.start)
    return found[1].decode("utf-8", "replace") if found else head.path


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    chats: list[tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]] = []
    for entry in entries:
        about: dict[str, Any] = {}
        messages: dict[str, Mapping[str, Any]] = {}
        # A tool that keeps what it copies under a name of its own may have named a document `.jsonl`.
        for found in document(entry) if entry.name.endswith(".json") else values(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, record = found
            if not any(name in _KNOWN or name.startswith("$") for name in record):
                yield Skipped(entry.place(line), "no record of a session")
                continue
            about |= {**record, **mapping(record, "$set")} if "id" not in record else {}
            for message in [record] if "id" in record else dicts({**record, **mapping(record, "$set")}, "messages"):
                message_id = text(message, "id")
                if message_id is None or time_ns(message, "timestamp") is None:
                    yield Skipped(entry.place(line), "a message without its id or time")
                else:
                    messages[message_id] = message
        chats.append((about, messages))
    yield _rows(chats, context.kind("gemini-cli"), entries[0].task)


def _rows(chats: list[tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]], task: str, default_id: str) -> Taken:
    mains = [chat for chat in chats if chat[0].get("kind") != "subagent"]
    named = [found for about, _ in mains or chats if (found := text(about, "sessionId"))]
    rows = TaskRows("gemini-cli", named[0] if named else default_id, task=task)
    asked: dict[str, tuple[str, str, str]] = {}
    formerly: dict[str, Sequence[str]] = {}
    merged: dict[str, Mapping[str, Any]] = {}
    for _, messages in mains:
        merged |= messages
    _add(rows, rows.main, merged, asked, formerly)
    for about, messages in chats:
        if about.get("kind") != "subagent":
            continue
        agent = text(about, "sessionId") or "subagent"
        call_id, tool_id, name = asked.get(agent, ("", "", "subagent"))
        run = rows.run(
            agent, name, rows.main, inside_tool_call_id=tool_id or None, inside_call_id=call_id or None,
        )  # fmt: skip
        if tool_id:
            rows.tool(call_id, tool_id, name)["agent_run_id"] = run.run_id
        _add(rows, run, messages, asked, formerly)
    return Taken(rows.batch(), formerly)


def _add(
    rows: TaskRows, run: Run, messages: Mapping[str, Mapping[str, Any]], asked: dict[str, tuple[str, str, str]],
    formerly: dict[str, Sequence[str]],
) -> None:  # fmt: skip
    """Add the calls of one chat; note in `asked` which tool call started which agent, in `formerly` their older ids."""
    before = ""
    for message in sorted(messages.values(), key=lambda one: time_ns(one, "timestamp") or 0):
        if message.get("type") != "gemini":
            if message.get("type") == "user":
                results = any("functionResponse" in part for part in dicts(message, "content"))
                before = "tool" if results else "user"
            continue
        own = rows.id_of(run.run_id, text(message, "id"))
        counts = [count(mapping(message, "tokens"), name) for name in GEMINI]
        shared = call_id_of("gemini-cli", rows.session_id, counts)
        call_id = own if shared is None or shared in formerly else shared
        if call_id is shared:
            formerly[call_id] = (own,)
        model = text(message, "model")
        rows.call(
            run,
            call_id,
            provider="gcp.gemini",
            api="google.generate_content",
            model=model,
            response_model=model,
            started_at_ns=time_ns(message, "timestamp"),
            prompted_by=before or None,
            reasoning_blocks=len(dicts(message, "thoughts")),
            **_tokens(mapping(message, "tokens")),
        )
        before = ""
        for position, tool in enumerate(dicts(message, "toolCalls")):
            tool_id, name = text(tool, "id") or str(position), text(tool, "name") or "unknown"
            status, before = text(tool, "status"), "tool"
            done = status in ("success", "error")
            rows.tool(
                call_id,
                tool_id,
                name,
                arguments_bytes=size(tool.get("args")),
                result_bytes=size(tool.get("result")) if done else None,
                executed=1 if done else None,
                failed=status == "error" if done else None,
            )
            if (agent := text(tool, "agentId")) is not None:
                asked[agent] = (call_id, tool_id, text(mapping(tool, "args"), "agent_name") or name)


def _tokens(tokens: Mapping[str, Any]) -> dict[str, Any]:
    given, made = count(tokens, "input"), count(tokens, "output")
    thoughts = count(tokens, "thoughts")
    return {
        "input_tokens": None if given is None else given + (count(tokens, "tool") or 0),
        "cache_read_tokens": count(tokens, "cached"),
        "output_tokens": None if made is None else made + (thoughts or 0),
        "reasoning_tokens": thoughts,
    }


FORMAT = Format(name="gemini-cli", title="Gemini CLI chat", sniff=_sniff, read=_read, group=_group)
