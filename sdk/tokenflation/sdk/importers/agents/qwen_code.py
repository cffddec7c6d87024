"""Reads Qwen Code's recorded chats (`~/.qwen/projects/*/chats/*.jsonl`): one session, with its sub-agents, is one task.

As version 0.15 writes them: lines laid out like Claude Code's, with Gemini's parts in them.

* A `system` line of subtype `ui_telemetry` whose event is `api_response` is one call, sub-agents' too, with its tokens
  and how long it took, retries in it; its `timestamp` is its end. Thoughts are part of the output where the total is no
  more than input and output, as OpenAI counts, and stand outside where Gemini's api was asked.
* `subagent_name` and `prompt_id` (`SESSION#NAME-RANDOM#STEP`) tell the runs of sub-agents, whose messages are not in
  the log. A run stands in the first tool call of the main run's last answer that starts agents and is still open.
* `chat_compression`: the main run's next call continues by a summary; the call that made it stands before.
* `assistant` lines name the tools that the main run's call before them asks for, `tool_result` lines what came back.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, dicts, mapping, number, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import lines
from tokenflation.sdk.importers.rows.building import Run, TaskRows

__all__ = ["FORMAT"]

_STARTING = ("agent", "task")


def _sniff(head: Head) -> float:
    return 0.98 if any(_is_line(one) for one in head.objects) else 0.0


def _is_line(one: Mapping[str, Any]) -> bool:
    told = one.get("subtype") == "ui_telemetry" or isinstance(mapping(one, "message").get("parts"), list)
    return told and "sessionId" in one and "parentUuid" in one


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        reading: _Reading | None = None
        for found in lines(entry, context):
            if isinstance(found, Skipped):
                yield found
            elif (session_id := text(found[1], "sessionId")) is None or text(found[1], "type") is None:
                yield Skipped(entry.place(found[0]), "no record of a session")
            else:
                reading = reading or _Reading(TaskRows("qwen-code", session_id, task=context.kind("qwen-code")))
                reading.add(found[1])
        if reading is not None:
            yield Taken(reading.rows.batch())


class _Reading:
    """Holds what is known of one session while its lines come in order."""

    def __init__(self, rows: TaskRows) -> None:
        self.rows = rows
        self._before: str | None = None
        self._runs: dict[str, Run] = {}
        self._open: dict[str, dict[str, Any]] = {}
        """Tool calls of the main run without a result."""
        self._where: dict[str, str] = {}
        """The sub-agents' calls, by the id of their response."""
        self._results = 0
        self._compacted = False

    def add(self, record: Mapping[str, Any]) -> None:
        """Take one line."""
        kind, parts = record.get("type"), dicts(mapping(record, "message"), "parts")
        at_ns = time_ns(record, "timestamp")
        if kind == "user":
            self._before = "user"
        elif kind == "assistant" and self.rows.main.last_call_id is not None:
            self._add_asked(self.rows.main.last_call_id, parts, at_ns)
        elif kind == "tool_result":
            self._before = "tool"
            for part in parts:
                self._add_result(record, mapping(part, "functionResponse"), at_ns)
        elif record.get("subtype") == "chat_compression":
            self._compacted = True
        elif record.get("subtype") == "ui_telemetry":
            event = mapping(record, "systemPayload", "uiEvent")
            name = (text(event, "event.name") or "").rpartition(".")[2]
            if name == "api_response":
                self._add_call(event)
            elif name == "tool_call" and (call_id := self._where.get(text(event, "response_id") or "")) is not None:
                self._results += 1
                self.rows.tool(
                    call_id, str(self._results), text(event, "function_name") or "unknown", executed=1,
                    arguments_bytes=size(event.get("function_args")), result_bytes=count(event, "content_length"),
                    failed=event.get("success") is False,
                )  # fmt: skip

    def _add_call(self, event: Mapping[str, Any]) -> None:
        run, response_id = self._run(event), text(event, "response_id")
        call_id = self.rows.id_of("call", run.run_id, response_id or run.calls)
        took_ms, ended_at_ns = number(event, "duration_ms"), time_ns(event, "event.timestamp")
        started_at_ns = None if ended_at_ns is None else max(ended_at_ns - round((took_ms or 0.0) * 1e6), 0)
        main = run is self.rows.main
        compacted = main and self._compacted
        self.rows.call(
            run,
            call_id,
            compacted=compacted,
            provider="unknown",
            api="openai.chat" if event.get("auth_type") == "openai" else "unknown",
            model=text(event, "model"),
            response_model=text(event, "model"),
            response_id=response_id,
            started_at_ns=started_at_ns,
            ended_at_ns=ended_at_ns,
            duration_s=None if took_ms is None else took_ms / 1000,
            prompted_by=self._before if main else "tool" if run.calls else "user",
            **_tokens(event),
        )
        if main:
            self._before, self._open, self._compacted = None, {}, False
        elif response_id is not None:
            self._where[response_id] = call_id

    def _run(self, event: Mapping[str, Any]) -> Run:
        name = text(event, "subagent_name")
        if name is None:
            return self.rows.main
        key = (text(event, "prompt_id") or name).rpartition("#")[0] or name
        if key not in self._runs:
            starting = (one for one in self._open.values() if one["name"] in _STARTING and "agent_run_id" not in one)
            tool = next(starting, None)
            self._runs[key] = self.rows.run(
                key, name, self.rows.main, inside_tool_call_id=tool["tool_call_id"] if tool else None,
                inside_call_id=tool["call_id"] if tool else None,
            )  # fmt: skip
            if tool is not None:
                tool["agent_run_id"] = self._runs[key].run_id
        return self._runs[key]

    def _add_asked(self, call_id: str, parts: Sequence[Mapping[str, Any]], at_ns: int | None) -> None:
        for position, part in enumerate(parts):
            if asked := mapping(part, "functionCall"):
                tool_id = text(asked, "id") or str(position)
                self._open[tool_id] = self.rows.tool(
                    call_id, tool_id, text(asked, "name") or "unknown", arguments_bytes=size(asked.get("args")),
                    started_at_ns=at_ns,
                )  # fmt: skip

    def _add_result(self, record: Mapping[str, Any], result: Mapping[str, Any], at_ns: int | None) -> None:
        made = self._open.pop(text(result, "id") or "", None)
        if made is not None:
            failed = text(mapping(record, "toolCallResult"), "status") == "error"
            made |= {
                "executed": 1,
                "failed": failed,
                "result_bytes": size(result.get("response")),
                "ended_at_ns": at_ns,
            }


def _tokens(event: Mapping[str, Any]) -> dict[str, Any]:
    given, made = count(event, "input_token_count"), count(event, "output_token_count")
    thoughts, total = count(event, "thoughts_token_count"), count(event, "total_token_count")
    if None not in (given, made) and thoughts and total == (given or 0) + (made or 0) + thoughts:
        made = (made or 0) + thoughts
    return {
        "input_tokens": given,
        "cache_read_tokens": count(event, "cached_content_token_count"),
        "output_tokens": made,
        "reasoning_tokens": thoughts,
    }


FORMAT = Format(name="qwen-code", title="Qwen Code chat", sniff=_sniff, read=_read)
