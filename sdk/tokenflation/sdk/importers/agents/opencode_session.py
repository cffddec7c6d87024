"""Puts opencode's messages into rows, wherever they were stored: a session with its sub-agents is one task.

* A step of an assistant's message (`step-start` to `step-finish`) is one call; each has a message of its own by now.
* `tokens` leave the cache out of `input`. Older versions have the reasoning in `output`, newer ones beside it: `total`
  tells which. Before there was a `total` it was in it, but for Google's models, whose api counts it apart.
* A message without `step-finish` whose `error` says why is a call that failed; one without either is not finished, and
  not counted. Tries that failed before an answer came leave no trace but the time: a call starts when its message was
  made, before the first try, and ends with the last that it said. Its tools go on within the message.
* The message with `summary` is the call of a compaction; the next one continues by what it said.
* A session made by a tool names its parent, and that tool's `metadata.sessionId` names the session. A fork is a session
  of its own that begins with copies of another's messages: those older than it are not its own.
* The call that finds a session's title is not stored.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tokenflation.sdk.importers.files.fields import count, made_id, mapping, size, text, time_ns
from tokenflation.sdk.importers.files.formats import Skipped
from tokenflation.sdk.importers.rows.building import Run, TaskRows, prompted_by
from tokenflation.sdk.importers.spans.names import provider_named

__all__ = ["Message", "Session", "Tree", "rows_of"]

_PROVIDERS = {"google": "gcp.gemini", "amazon-bedrock": "aws.bedrock"}


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what is said of it, and its parts in order."""

    info: Mapping[str, Any]
    parts: Iterable[Mapping[str, Any] | Skipped]


@dataclass(frozen=True, slots=True)
class Session:
    """One session: what is said of it, and its messages in order."""

    info: Mapping[str, Any]
    messages: Iterable[Message | Skipped]


Tree = Iterator[Session]
"""A session and those inside it, each behind the one that it is inside of."""


def rows_of(tree: Tree, task: str, skip: Callable[[Skipped], None]) -> TaskRows | None:
    """Return the rows of a session with its sub-agents, None where there is none; `skip` is told what was left out."""
    reading: _Reading | None = None
    for session in tree:
        session_id = text(session.info, "id")
        if session_id is None:
            continue
        if reading is None:
            reading = _Reading(TaskRows("opencode", text(session.info, "parentID") or session_id, task=task), skip)
        reading.add(session, session_id)
    if reading is not None:
        reading.close()
    return None if reading is None else reading.rows


class _Reading:
    """Holds what is known of one task while its sessions come in order."""

    def __init__(self, rows: TaskRows, skip: Callable[[Skipped], None]) -> None:
        self.rows = rows
        self._skip = skip
        self._runs: dict[str, Run] = {rows.session_id: rows.main}
        self._asked: dict[str, tuple[str, str]] = {}
        """The call and the tool call that a session stands in."""
        self._version: str | None = None
        self._copied = self._unfinished = 0

    def add(self, session: Session, session_id: str) -> None:
        """Add the calls of one session."""
        self._version = self._version or text(session.info, "version")
        made_ns = time_ns(mapping(session.info, "time"), "created") or 0
        spoken: set[str] = set()
        compacted = False
        for message in session.messages:
            if isinstance(message, Skipped):
                self._skip(message)
            elif message.info.get("role") != "assistant":
                spoken |= {"user"} if self._is_users(message) else set()
            elif 0 < (_created_ns(message.info) or 0) < made_ns:
                self._copied += 1
                spoken = set()
            else:
                run = self._run(session.info, session_id, message.info)
                for call_id, step in self._steps_of(session_id, message):
                    self._add_call(run, call_id, message.info, step, spoken, compacted=compacted)
                    spoken, compacted = ({"tool"} if step.tools else set()), False
                compacted = compacted or message.info.get("summary") is True

    def close(self) -> None:
        """Note what is true of all."""
        told = {"calls_of_the_parent": self._copied or None, "unfinished_calls": self._unfinished or None}
        self.rows.session({"version": self._version, **told})

    def _is_users(self, message: Message) -> bool:
        """Return whether a user's message has something of the user's own: opencode writes some by itself."""
        found = False
        for part in message.parts:
            if isinstance(part, Skipped):
                self._skip(part)
            else:
                found = found or (part.get("type") != "compaction" and part.get("synthetic") is not True)
        return found

    def _run(self, session: Mapping[str, Any], session_id: str, message: Mapping[str, Any]) -> Run:
        if session_id not in self._runs:
            call_id, tool_id = self._asked.get(session_id, (None, None))
            run = self.rows.run(
                session_id, text(message, "agent", "mode") or "subagent",
                self._runs.get(text(session, "parentID") or "", self.rows.main),
                inside_tool_call_id=tool_id, inside_call_id=call_id,
            )  # fmt: skip
            if call_id is not None and tool_id is not None:
                self.rows.tool(call_id, tool_id, "task")["agent_run_id"] = run.run_id
            self._runs[session_id] = run
        return self._runs[session_id]

    def _steps_of(self, session_id: str, message: Message) -> Iterator[tuple[str, "_Step"]]:
        """Yield the id and the step of each call of a message."""
        message_id, finished = text(message.info, "id"), 0
        step = _Step(_created_ns(message.info))
        for part in message.parts:
            if isinstance(part, Skipped):
                self._skip(part)
            elif part.get("type") == "step-finish":
                yield made_id("opencode", session_id, message_id, finished), step.ended(part)
                finished += 1
                step = _Step(step.said_ns or step.started_ns)
            else:
                step.take(part)
        failed = bool(mapping(message.info, "error")) and (step.tries > 0 or not finished)
        if failed or (not finished and any(_counts(message.info))):
            yield made_id("opencode", session_id, message_id, finished), step.ended(message.info)
        elif not finished:
            self._unfinished += 1

    def _add_call(
        self, run: Run, call_id: str, message: Mapping[str, Any], step: "_Step", spoken: set[str], *, compacted: bool
    ) -> None:
        provider, model = text(message, "providerID"), text(message, "modelID")
        error = mapping(step.finish, "error")
        ended_ns = step.said_ns or time_ns(mapping(step.finish, "time"), "completed")
        if ended_ns is not None and step.started_ns is not None:
            ended_ns = max(ended_ns, step.started_ns)
        self.rows.call(
            run,
            call_id,
            compacted=compacted,
            provider=_PROVIDERS.get(provider or "") or provider_named(provider),
            api="unknown",
            model=model,
            response_model=model,
            status="ok" if not error else "cancelled" if error.get("name") == "MessageAbortedError" else "error",
            error_type=_error_type(error),
            finish_reasons=(reason,) if (reason := text(step.finish, "reason", "finish")) else (),
            attempts=max(step.tries, 1),
            started_at_ns=step.started_ns,
            ended_at_ns=ended_ns,
            duration_s=(ended_ns - step.started_ns) / 1e9 if ended_ns and step.started_ns else None,
            prompted_by=prompted_by(spoken),
            reasoning_blocks=step.reasoning,
            **_tokens(step.finish, apart=(provider or "").startswith("google")),
        )
        for position, tool in enumerate(step.tools):
            self._add_tool(call_id, tool, position)

    def _add_tool(self, call_id: str, tool: Mapping[str, Any], position: int) -> None:
        state, tool_id = mapping(tool, "state"), text(tool, "callID") or str(position)
        status, times = text(state, "status"), mapping(state, "time")
        done = status in ("completed", "error")
        at_provider = mapping(tool, "metadata").get("providerExecuted") is True
        self.rows.tool(
            call_id, tool_id, text(tool, "tool") or "unknown", kind="server" if at_provider else "client",
            arguments_bytes=size(state.get("input")),
            result_bytes=size(state.get("output" if status == "completed" else "error")) if done else None,
            executed=1 if done else None, failed=status == "error" if done else None,
            started_at_ns=time_ns(times, "start"), ended_at_ns=time_ns(times, "end"),
        )  # fmt: skip
        inner = text(mapping(state, "metadata"), "sessionId")
        if inner is not None:
            self._asked.setdefault(inner, (call_id, tool_id))


class _Step:
    """Holds the parts of one answer."""

    def __init__(self, started_ns: int | None) -> None:
        self.started_ns = started_ns
        self.said_ns: int | None = None
        self.tries = self.reasoning = 0
        self.tools: list[Mapping[str, Any]] = []
        self.finish: Mapping[str, Any] = {}

    def take(self, part: Mapping[str, Any]) -> None:
        """Take a part; of a tool its start counts, for the answer is not held up by what it runs."""
        kind, at_ns = part.get("type"), None
        if kind == "step-start":
            self.tries, self.reasoning, self.said_ns = self.tries + 1, 0, None
        elif kind in ("text", "reasoning"):
            self.reasoning += kind == "reasoning"
            at_ns = time_ns(mapping(part, "time"), "end", "start")
        elif kind == "tool":
            self.tools.append(part)
            at_ns = time_ns(mapping(part, "state", "time"), "start")
        if at_ns is not None:
            self.said_ns = max(self.said_ns or 0, at_ns)

    def ended(self, finish: Mapping[str, Any]) -> "_Step":
        """Note what says how it ended."""
        self.finish = finish
        return self


def _created_ns(message: Mapping[str, Any]) -> int | None:
    return time_ns(mapping(message, "time"), "created")


def _error_type(error: Mapping[str, Any]) -> str | None:
    status = count(mapping(error, "data"), "statusCode")
    return f"http_{status}" if status is not None else text(error, "name")


def _counts(said: Mapping[str, Any]) -> list[int | None]:
    """Return input, cache read, cache write, output and reasoning as they stand there."""
    tokens = mapping(said, "tokens")
    cache = mapping(tokens, "cache")
    return [
        count(tokens, "input"), count(cache, "read"), count(cache, "write"), count(tokens, "output"),
        count(tokens, "reasoning"),
    ]  # fmt: skip


def _tokens(said: Mapping[str, Any], *, apart: bool) -> dict[str, Any]:
    """Return the token columns of a step or message; `apart`: without a total, reasoning stands beside the output.

    Where nothing was reported, opencode writes zeros all over.
    """
    given, read, written, made, thought = _counts(said)
    if not any((given, read, written, made, thought)):
        return {}
    total = count(mapping(said, "tokens"), "total")
    put_in = None if given is None else given + (read or 0) + (written or 0)
    if made is not None and put_in is not None and (apart if total is None else total != put_in + made):
        made += thought or 0
    return {
        "input_tokens": put_in,
        "cache_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": made,
        "reasoning_tokens": thought,
    }
