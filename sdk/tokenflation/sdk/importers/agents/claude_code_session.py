"""Collects the records of one Claude Code session, in any order and however often they repeat. Makes no rows.

`claude_code` says what the records mean.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tokenflation.sdk.importers.files.fields import count, dicts, mapping, number, size, text, time_ns

__all__ = ["MAIN", "Answer", "Failure", "Node", "Result", "Session", "ToolUse"]

MAIN = ""
"""Key of the main agent run; sub-agents' runs have their agent's id, or the id of their chain's first record."""
_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_WINDOWS = ("ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens")
_THOUGHT = ("thinking_tokens",)


@dataclass(slots=True)
class ToolUse:
    """A tool call in an answer."""

    name: str
    at_ns: int
    server: bool
    arguments_bytes: int | None
    prompt: str | None
    agent_type: str | None


@dataclass(slots=True)
class Answer:
    """One call, put together from its lines."""

    message_id: str
    run: str
    first_at_ns: int
    last_at_ns: int
    place: int
    """Which of the session's lines was its first."""
    lines: set[str] = field(default_factory=set)
    """Ids of its lines."""
    parents: list[str] = field(default_factory=list)
    model: str | None = None
    request_id: str | None = None
    stop_reason: str | None = None
    service_tier: str | None = None
    counts: dict[str, int] = field(default_factory=dict)
    iterations: list[Mapping[str, Any]] = field(default_factory=list)
    """Usage of the model's turns inside the call; the provider's compactions and advisors are in no other count."""
    tools: dict[str, ToolUse] = field(default_factory=dict)
    thinking: int = 0
    error: str | None = None
    """Class of the failure, if it is no answer but says that there is none."""


@dataclass(slots=True)
class Result:
    """What came back for a tool call."""

    at_ns: int
    result_bytes: int | None
    failed: bool
    agent: Mapping[str, Any]
    """What the tool that ran a sub-agent says of it."""


@dataclass(slots=True)
class Failure:
    """A failed attempt."""

    uuid: str
    run: str
    at_ns: int
    retry_in_s: float
    status_code: int | None
    error_type: str


@dataclass(slots=True)
class Node:
    """A record's place in the chain of records."""

    parent: str | None
    kind: str
    """answer, user, tool, failure, compaction or other."""
    at_ns: int
    run: str
    of: str = ""
    """The call that an answer's line belongs to."""
    detail: Mapping[str, Any] = field(default_factory=dict)


class Session:
    """Holds what is known of one session; `add` takes one record."""

    def __init__(self) -> None:
        self.session_id: str | None = None
        self.version: str | None = None
        self.answers: dict[str, Answer] = {}
        self.results: dict[str, Result] = {}
        self.failures: dict[str, Failure] = {}
        self.nodes: dict[str, Node] = {}
        self.started_by: dict[str, str] = {}
        """The tool call that started a sub-agent, by the agent's id."""
        self.prompts: dict[str, str] = {}
        """What a sub-agent was asked, by its run's key."""
        self.agent_types: dict[str, str] = {}
        """What kind of agent a sub-agent is, by its run's key, where a file beside its log says so."""
        self.seen_at_ns = 0
        self._line = 0
        self._file_agent: str | None = None

    def begin_file(self, name: str) -> None:
        """Say that the records to come are of this file."""
        self._file_agent = name[6:].removesuffix(".jsonl") if name.startswith("agent-") else None

    def add_about(self, name: str, about: Mapping[str, Any]) -> None:
        """Take what the file of this name says of the sub-agent whose log lies beside it."""
        agent = name.removeprefix("agent-").removesuffix(".meta.json")
        if (kind := text(about, "agentType")) is not None:
            self.agent_types.setdefault(agent, kind)
        if (asked := text(about, "toolUseId")) is not None:
            self.started_by.setdefault(agent, asked)

    def add(self, record: Mapping[str, Any]) -> str | None:
        """Take one record; return what it is if it cannot be used, None if all is well."""
        self._line += 1
        self.session_id = self.session_id or text(record, "sessionId")
        self.version = self.version or text(record, "version")
        kind = record.get("type")
        if kind == "progress":
            return self._add_progress(record)
        if kind not in ("assistant", "user", "system", "attachment"):
            return None if isinstance(kind, str) else "no record of a session"
        run = MAIN
        if record.get("isSidechain") is True:
            run = text(record, "agentId") or self._file_agent or self._chain(record)
        return self._add_message(record, record, run)

    def _chain(self, record: Mapping[str, Any]) -> str:
        """Return the key of a side chain whose records do not name their agent: the one of the record before."""
        before = self.nodes.get(text(record, "parentUuid") or "")
        return before.run if before is not None and before.run else text(record, "uuid") or "side"

    def _add_progress(self, record: Mapping[str, Any]) -> str | None:
        data = mapping(record, "data")
        if data.get("type") != "agent_progress":
            self._node(record, "other", self._time(record), MAIN)
            return None
        agent, asked = text(data, "agentId"), text(record, "parentToolUseID")
        self._node(record, "other", self._time(record), MAIN)
        if agent is None:
            return "a sub-agent's record without its agent"
        if asked is not None:
            self.started_by.setdefault(agent, asked)
        inner = mapping(data, "message")
        return self._add_message(inner, {"requestId": inner.get("requestId"), "type": inner.get("type")}, agent)

    def _add_message(self, record: Mapping[str, Any], outer: Mapping[str, Any], run: str) -> str | None:
        at_ns, kind = self._time(record), record.get("type")
        if kind == "assistant":
            return self._add_answer(record, at_ns, run)
        if kind == "user":
            return self._add_user(record, at_ns, run)
        if outer.get("subtype") == "api_error":
            self._add_failure(record, at_ns, run)
        elif outer.get("subtype") == "compact_boundary":
            self._node(record, "compaction", at_ns, run, detail=mapping(record, "compactMetadata"))
        else:
            self._node(record, "other", at_ns, run)
        return None

    def _time(self, record: Mapping[str, Any]) -> int:
        found = time_ns(record, "timestamp")
        if found is not None:
            self.seen_at_ns = found
        return self.seen_at_ns

    def _node(
        self, record: Mapping[str, Any], kind: str, at_ns: int, run: str, of: str = "",
        detail: Mapping[str, Any] | None = None,
    ) -> None:  # fmt: skip
        uuid = text(record, "uuid")
        if uuid is not None:
            parent = text(record, "parentUuid") or text(record, "logicalParentUuid")
            self.nodes.setdefault(uuid, Node(parent, kind, at_ns, run, of, detail or {}))

    def _add_answer(self, record: Mapping[str, Any], at_ns: int, run: str) -> str | None:
        message = mapping(record, "message")
        key = text(message, "id") or text(record, "requestId") or text(record, "uuid")
        if not message or key is None:
            self._node(record, "other", at_ns, run)
            return "an answer without its message" if not message else "an answer without an id"
        failed = record.get("isApiErrorMessage") is True
        if message.get("model") == "<synthetic>" and not failed:
            self._node(record, "other", at_ns, run)
            return None
        answer = self.answers.get(key)
        if answer is None:
            answer = self.answers[key] = Answer(key, run, at_ns, at_ns, self._line)
        answer.run = answer.run or run  # what a sub-agent's own file or line says is surer than the main one's
        uuid = text(record, "uuid") or f"{at_ns}"
        answer.lines.add(uuid)
        self._node(record, "answer", at_ns, run, key)
        if (parent := text(record, "parentUuid")) is not None:
            answer.parents.append(parent)
        answer.first_at_ns, answer.last_at_ns = min(answer.first_at_ns, at_ns), max(answer.last_at_ns, at_ns)
        answer.request_id = answer.request_id or text(record, "requestId")
        if failed:
            answer.error = text(record, "error") or "api_error"
        _fill(answer, message, at_ns)
        return None

    def _add_user(self, record: Mapping[str, Any], at_ns: int, run: str) -> str | None:
        message = mapping(record, "message")
        content = message.get("content")
        results = [block for block in dicts(message, "content") if block.get("type") == "tool_result"]
        about = mapping(record, "toolUseResult")
        for block in results:
            asked = text(block, "tool_use_id")
            if asked is None:
                continue
            agent = about if "agentId" in about or "totalTokens" in about else {}
            bytes_ = size(block.get("content")) if "content" in block else None
            self.results.setdefault(asked, Result(at_ns, bytes_, block.get("is_error") is True, agent))
            if (agent_id := text(agent, "agentId")) is not None:
                self.started_by.setdefault(agent_id, asked)
        if run != MAIN and not results and run not in self.prompts:
            self.prompts[run] = _said(content)
        kind = "tool" if results else "other" if record.get("isMeta") is True else "user"
        self._node(record, kind, at_ns, run)
        return None if message else "a user's record without its message"

    def _add_failure(self, record: Mapping[str, Any], at_ns: int, run: str) -> None:
        uuid, error = text(record, "uuid") or f"failure-{at_ns}", mapping(record, "error")
        status = count(error, "status")
        named = text(mapping(error, "error", "error"), "type") or text(mapping(error, "error"), "type")
        found = named if named not in (None, "error") else f"http_{status}" if status else "connection_error"
        retry_s = (number(record, "retryInMs") or 0.0) / 1000
        self.failures.setdefault(uuid, Failure(uuid, run, at_ns, max(retry_s, 0.0), status, str(found)))
        self._node({**record, "uuid": uuid}, "failure", at_ns, run)


def _fill(answer: Answer, message: Mapping[str, Any], at_ns: int) -> None:
    usage = mapping(message, "usage")
    answer.model = answer.model or text(message, "model")
    answer.stop_reason = answer.stop_reason or text(message, "stop_reason")
    answer.service_tier = answer.service_tier or text(usage, "service_tier")
    parts = (mapping(usage, "cache_creation"), _WINDOWS), (mapping(usage, "output_tokens_details"), _THOUGHT)
    for source, names in ((usage, _COUNTS), *parts):
        for name in names:
            found = count(source, name)
            if found is not None:
                answer.counts[name] = max(found, answer.counts.get(name, 0))
    answer.iterations = max(dicts(usage, "iterations"), answer.iterations, key=len)
    for block in dicts(message, "content"):
        kind = block.get("type")
        if kind in ("thinking", "redacted_thinking"):
            answer.thinking += 1
        elif kind in ("tool_use", "server_tool_use") and (tool_id := text(block, "id")) is not None:
            asked = mapping(block, "input")
            bytes_ = size(block["input"]) if "input" in block else None
            name, agent_type = text(block, "name") or "unknown", text(asked, "subagent_type")
            use = ToolUse(name, at_ns, kind == "server_tool_use", bytes_, text(asked, "prompt"), agent_type)
            answer.tools.setdefault(tool_id, use)


def _said(content: Any) -> str:
    if isinstance(content, str):
        return content
    return "\n".join(text(block, "text") or "" for block in dicts({"content": content}, "content"))
