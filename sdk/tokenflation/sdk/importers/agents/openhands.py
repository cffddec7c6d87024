"""Reads OpenHands' completion logs (`log_completions`): one file is one call, the files of a folder make conversations.

A file has `messages`, `response` (as OpenAI's chat API answers, written by litellm), `cost`, `timestamp` (unix s, when
the answer was there) and `latency_sec` (github.com/OpenHands/software-agent-sdk,
`openhands/sdk/llm/utils/telemetry.py`). A call whose messages begin with all of an earlier call's is that
conversation's next; any other begins a task.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import dicts, made_id, mapping, number, seconds, seconds_ns, text
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import document
from tokenflation.sdk.importers.rows.building import TaskRows
from tokenflation.sdk.importers.rows.chat import add_asked, digest, finish_reasons, results_of, usage_columns

__all__ = ["FORMAT"]

_NAME = re.compile(r"-\d{10}(\.\d+)?\.json$")


def _sniff(head: Head) -> float:
    if {"messages", "response"} <= head.keys:
        return 0.8
    return 0.75 if "messages" in head.keys and _NAME.search(head.name) else 0.0


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    logs: list[tuple[float, dict[str, Any]]] = []
    for entry in entries:
        for found in document(entry):
            if isinstance(found, Skipped):
                yield found
                continue
            line, log = found
            if not mapping(log, "response"):
                yield Skipped(entry.place(line), "a call without its response")
                continue
            ended_s = number(log, "timestamp") or number(mapping(log, "response"), "created") or 0.0
            logs.append((ended_s, _light(log)))
    logs.sort(key=lambda one: one[0])
    for conversation in _conversations([log for _, log in logs]):
        yield Taken(_rows(conversation, context.kind("openhands")).batch())


def _light(log: dict[str, Any]) -> dict[str, Any]:
    """Return what is needed of a log: of each message its digest stays, not its text."""
    messages = dicts(log, "messages")
    kept = {
        name: log.get(name) for name in ("response", "cost", "timestamp", "latency_sec", "llm_path", "backing_model")
    }
    roles = [message.get("role") for message in messages]
    return kept | {"digests": [digest(one) for one in messages], "results": results_of(messages), "roles": roles}


def _conversations(logs: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    found: list[list[dict[str, Any]]] = []
    for log in logs:
        for conversation in reversed(found):
            before = conversation[-1]["digests"]
            if before and len(before) < len(log["digests"]) and log["digests"][: len(before)] == before:
                conversation.append(log)
                break
        else:
            found.append([log])
    return found


def _rows(logs: list[dict[str, Any]], task: str) -> TaskRows:
    first = mapping(logs[0], "response")
    session_id = text(first, "id") or digest(logs[0])
    rows = TaskRows("openhands", session_id, task=task)
    results: dict[str, int | None] = {}
    for log in logs:
        results |= log["results"]
    for log in logs:
        response = mapping(log, "response")
        call_id = made_id("openhands", text(response, "id") or digest(log))
        ended_s = number(log, "timestamp") or number(response, "created")
        latency_s = seconds(log, "latency_sec")
        model = text(response, "model")
        cost = number(log, "cost")
        rows.call(
            rows.main,
            call_id,
            extra={} if cost is None else {"cost": cost},
            provider=model.split("/")[0] if model and "/" in model else "unknown",
            api="openai.chat",
            model=text(log, "backing_model") or model,
            response_model=model,
            response_id=text(response, "id"),
            finish_reasons=finish_reasons(response),
            started_at_ns=seconds_ns(ended_s - (latency_s or 0.0)) if ended_s else None,
            ended_at_ns=seconds_ns(ended_s) if ended_s else None,
            duration_s=latency_s,
            prompted_by="tool" if log["roles"][-1:] == ["tool"] else "user",
            **usage_columns(mapping(response, "usage")),
        )
        for choice in dicts(response, "choices"):
            add_asked(rows, call_id, mapping(choice, "message"), results)
    return rows


def _group(head: Head) -> str:
    return str(PurePath(head.path).parent)


FORMAT = Format(name="openhands", title="OpenHands completion log", sniff=_sniff, read=_read, group=_group)
