"""Reads GitHub Copilot CLI's session logs (`~/.copilot/session-state/*/events.jsonl`): one session is one task.

As versions 1.0.60 to 1.0.102 write them: lines with `type`, `data`, `id`, `timestamp`, in a sub-agent also `agentId`.

* `session.usage_record` is one call, sub-agents' too, written when it ends: its `duration` is that of the last try. The
  cache is part of `inputTokens`, reasoning of `outputTokens`. Before 1.0.102 there is none: then an
  `assistant.message` is a call, of which the log knows no more than `outputTokens`.
* `assistant.message` names the tools that its call (`apiCallId`) asks for; `tool.execution_*` what became of them.
* `subagent.started` names the tool call that a sub-agent runs in.
* A compaction's call goes on beside the others, and stands in `session.compaction_complete` alone; if it is applied,
  the next call continues by the summary.
* `session.error` with a status, and `abort`, end a call that was begun (`assistant.turn_start`) and has no usage.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.fields import count, dicts, made_id, mapping, number, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.files.reading import lines
from tokenflation.sdk.importers.rows.building import Run, TaskRows, prompted_by
from tokenflation.sdk.importers.spans.by_counts import answers_call_id
from tokenflation.sdk.importers.spans.names import provider_named

__all__ = ["FORMAT"]

_KINDS = ("session.", "assistant.", "user.", "tool.", "subagent.", "system.", "hook.")
_APIS = {"completions": "openai.chat", "responses": "openai.responses", "messages": "anthropic.messages"}


def _sniff(head: Head) -> float:
    if any(mapping(one, "data").get("producer") == "copilot-agent" for one in head.objects):
        return 0.98
    return 0.9 if any(_is_event(one) and "parentId" in one for one in head.objects) else 0.0


def _is_event(one: Mapping[str, Any]) -> bool:
    return (text(one, "type") or "").startswith(_KINDS) and isinstance(one.get("data"), dict) and "timestamp" in one


def _read(entries: Sequence[Entry], context: Context) -> Iterator[Taken | Skipped]:
    for entry in entries:
        reading: _Reading | None = None
        for found in lines(entry, context):
            if isinstance(found, Skipped):
                yield found
                continue
            line, event = found
            if text(event, "type") is None or not isinstance(event.get("data"), dict):
                yield Skipped(entry.place(line), "no record of a session")
                continue
            if reading is None:
                reading = _Reading(TaskRows("copilot-cli", _session_id(entry), task=context.kind("copilot-cli")))
            reading.add(event)
        if reading is not None:
            reading.rows.session({"version": reading.version})
            yield Taken(reading.rows.batch())


def _session_id(entry: Entry) -> str:
    """Return the session's id: its first line names it, and where that is damaged each usage of the main agent does."""
    first = ""
    for found in lines(entry, Context()):
        if isinstance(found, Skipped):
            continue
        event = found[1]
        data = mapping(event, "data")
        named = text(data, "sessionId") if event.get("type") == "session.start" else None
        if named is None and "agentId" not in event:
            named = text(mapping(data, "usage", "accounting"), "sourceSessionId")
        if named is not None:
            return named
        first = first or text(event, "id") or ""
    return first


class _Reading:
    """Holds what is known of one session while its events come in order."""

    def __init__(self, rows: TaskRows) -> None:
        self.rows = rows
        self.version: str | None = None
        self._runs: dict[str, Run] = {"": rows.main}
        self._begun: dict[str, int | None] = {}
        """When the turn began whose call has not come, by agent."""
        self._spoken: dict[str, set[str]] = {}
        self._compacted: set[str] = set()
        """Agents whose next call continues by a summary."""
        self._compactions: dict[str, int | None] = {}
        self._calls: dict[str, dict[str, Any]] = {}
        """By the id that the provider's answer had."""
        self._tools: dict[str, dict[str, Any]] = {}
        self._where: dict[str, Run] = {}
        """The run that a tool call is in."""

    def add(self, event: Mapping[str, Any]) -> None:
        """Take one line."""
        kind, data, at_ns = text(event, "type"), mapping(event, "data"), time_ns(event, "timestamp")
        agent = text(event, "agentId") or text(data, "parentToolCallId") or ""
        if kind == "session.start":
            self.version = text(data, "copilotVersion")
        elif kind == "user.message":
            self._spoken.setdefault(agent, set()).add("user")
        elif kind == "assistant.turn_start":
            self._begun[agent] = at_ns
        elif kind == "session.usage_record":
            self._add_usage(agent, mapping(data, "usage"), text(event, "id"), at_ns)
        elif kind == "assistant.message":
            self._add_message(agent, data, at_ns)
        elif kind == "tool.execution_start":
            self._tools.get(text(data, "toolCallId") or "", {}).update(started_at_ns=at_ns)
        elif kind == "tool.execution_complete":
            self._spoken.setdefault(agent, set()).add("tool")
            self._end_tool(data, at_ns)
        elif kind == "subagent.started":
            self._start_agent(agent, data)
        elif kind == "session.compaction_start":
            self._compactions[text(data, "compactionAttemptId") or ""] = at_ns
        elif kind == "session.compaction_complete":
            self._add_compaction(agent, data, text(event, "id"), at_ns)
        elif kind in ("session.error", "abort"):
            self._add_failure(agent, data, text(event, "id"), at_ns, aborted=kind == "abort")

    def _run(self, agent: str) -> Run:
        if agent not in self._runs:
            self._runs[agent] = self.rows.run(agent, "subagent", self.rows.main)
        return self._runs[agent]

    def _start_agent(self, agent: str, data: Mapping[str, Any]) -> None:
        tool_id = text(data, "toolCallId") or ""
        tool = self._tools.get(tool_id)
        if agent not in self._runs:
            self._runs[agent] = self.rows.run(
                agent, text(data, "agentName") or "subagent", self._where.get(tool_id, self.rows.main),
                inside_tool_call_id=tool_id if tool else None, inside_call_id=tool["call_id"] if tool else None,
            )  # fmt: skip
        if tool is not None:
            tool["agent_run_id"] = self._runs[agent].run_id

    def _add_usage(self, agent: str, usage: Mapping[str, Any], event_id: str | None, at_ns: int | None) -> None:
        accounting, answer_id = mapping(usage, "accounting"), text(usage, "apiCallId")
        source, sequence = text(accounting, "sourceSessionId"), count(accounting, "sequence")
        place = (self.rows.session_id, event_id) if source is None or sequence is None else (source, sequence)
        call_id = made_id("copilot-cli", *place)
        if answer_id is not None:
            session_id = source if source is not None and not agent else self.rows.session_id
            sides = (count(usage, "inputTokens"), count(usage, "outputTokens"))
            call_id = answers_call_id(session_id, answer_id, *sides)
        run, took_ms, first_ms = self._run(agent), number(usage, "duration"), number(usage, "timeToFirstTokenMs")
        made = self._call(
            agent, run, call_id, model=text(usage, "model"), took_ms=took_ms, ended_at_ns=at_ns,
            provider=_provider(usage), api=_APIS.get((text(usage, "apiEndpoint") or "").rpartition("/")[2], "unknown"),
            response_id=answer_id, ttft_s=None if first_ms is None else first_ms / 1000,
            finish_reasons=(reason,) if (reason := text(usage, "finishReason")) else (), **_tokens(usage),
        )  # fmt: skip
        if answer_id is not None:
            self._calls[answer_id] = made

    def _add_message(self, agent: str, data: Mapping[str, Any], at_ns: int | None) -> None:
        answer_id, run = text(data, "apiCallId"), self._run(agent)
        made = self._calls.get(answer_id or "")
        if made is None:
            call_id = made_id("copilot-cli", self.rows.session_id, answer_id or text(data, "messageId"))
            made = self._call(
                agent, run, call_id, model=text(data, "model"), took_ms=None, ended_at_ns=at_ns, provider="unknown",
                api="unknown", response_id=answer_id, output_tokens=count(data, "outputTokens"),
            )  # fmt: skip
        made["reasoning_blocks"] = int(text(data, "reasoningText", "reasoningOpaque") is not None)
        for position, asked in enumerate(dicts(data, "toolRequests")):
            tool_id = text(asked, "toolCallId") or str(position)
            self._where[tool_id] = run
            self._tools[tool_id] = self.rows.tool(
                made["call_id"], tool_id, text(asked, "name") or "unknown", arguments_bytes=size(asked.get("arguments"))
            )

    def _call(
        self, agent: str, run: Run, call_id: str, *, took_ms: float | None, ended_at_ns: int | None, **columns: Any
    ) -> dict[str, Any]:
        spoken, compacted = self._spoken.pop(agent, set()), agent in self._compacted
        self._compacted.discard(agent)
        begun_ns = self._begun.pop(agent, None)
        started_ns = begun_ns if took_ms is None or ended_at_ns is None else ended_at_ns - round(took_ms * 1e6)
        return self.rows.call(
            run, call_id, compacted=compacted, response_model=columns["model"], prompted_by=prompted_by(spoken),
            started_at_ns=started_ns if started_ns is not None else ended_at_ns, ended_at_ns=ended_at_ns,
            duration_s=None if took_ms is None else took_ms / 1000, **columns,
        )  # fmt: skip

    def _end_tool(self, data: Mapping[str, Any], at_ns: int | None) -> None:
        made = self._tools.get(text(data, "toolCallId") or "")
        if made is not None:
            result = mapping(data, "result") or mapping(data, "error")
            failed = data.get("success") is False
            made |= {"executed": 1, "failed": failed, "result_bytes": size(text(result, "content", "message"))}
            made["ended_at_ns"] = at_ns

    def _add_compaction(self, agent: str, data: Mapping[str, Any], event_id: str | None, at_ns: int | None) -> None:
        """Add the call that a summary took; the others do not continue from it unless the summary is applied."""
        usage, applied, run = mapping(data, "compactionTokensUsed"), data.get("success") is True, self._run(agent)
        if count(usage, "inputTokens") is not None:
            started_ns = self._compactions.pop(text(data, "compactionAttemptId") or "", None)
            took_ms, before = number(usage, "duration"), run.last_call_id
            ended_ns = at_ns if started_ns is None or took_ms is None else started_ns + round(took_ms * 1e6)
            model, requests = text(usage, "model"), count(usage, "requestCount")
            self.rows.call(
                run, made_id("copilot-cli", self.rows.session_id, event_id), model=model, response_model=model,
                provider=_provider(usage), api="unknown", started_at_ns=started_ns if started_ns is not None else at_ns,
                ended_at_ns=ended_ns, duration_s=None if took_ms is None else took_ms / 1000,
                extra={"requests": requests} if requests and requests > 1 else {}, **_tokens(usage),
            )  # fmt: skip
            if not applied:
                run.last_call_id = before
        if applied:
            self._compacted.add(agent)

    def _add_failure(
        self, agent: str, data: Mapping[str, Any], event_id: str | None, at_ns: int | None, *, aborted: bool
    ) -> None:
        status = count(data, "statusCode")
        if self._begun.get(agent) is None or (status is None and not aborted):
            return
        self._call(
            agent, self._run(agent), made_id("copilot-cli", self.rows.session_id, event_id), model=None, took_ms=None,
            ended_at_ns=at_ns, provider="unknown", api="unknown", status="cancelled" if aborted else "error",
            error_type=text(data, "reason") if aborted else f"http_{status}",
        )  # fmt: skip


def _provider(usage: Mapping[str, Any]) -> str:
    named = text(usage, "modelProvider")
    return provider_named(None if named == "other" else named, text(usage, "providerType"))


def _tokens(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "input_tokens": count(usage, "inputTokens"),
        "cache_read_tokens": count(usage, "cacheReadTokens"),
        "cache_write_tokens": count(usage, "cacheWriteTokens"),
        "output_tokens": count(usage, "outputTokens"),
        "reasoning_tokens": count(usage, "reasoningTokens"),
    }


FORMAT = Format(name="copilot-cli", title="Copilot CLI session log", sniff=_sniff, read=_read)
