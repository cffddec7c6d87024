"""Puts the records of one Codex thread together into calls. `codex` says what the records mean."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tokenflation.sdk.importers.files.fields import count, made_id, mapping, size, text, time_ns
from tokenflation.sdk.importers.rows.building import Run, TaskRows, prompted_by
from tokenflation.sdk.importers.spans.by_counts import CODEX, call_id_of
from tokenflation.sdk.records import Attempt

__all__ = ["Thread"]

_AT_PROVIDER = ("web_search_call", "image_generation_call")
_ASKING = ("function_call", "custom_tool_call", "local_shell_call", "tool_search_call", *_AT_PROVIDER)
_COUNTS = (
    "input_tokens",
    "cached_input_tokens",
    "cache_write_input_tokens",
    "output_tokens",
    "reasoning_output_tokens",
)


@dataclass(slots=True)
class _Called:
    """One call."""

    usage: Mapping[str, Any]
    model: str | None
    started_at_ns: int
    ended_at_ns: int
    known: bool
    """Whether the start is known."""
    place: str
    """What tells it from the other calls of its thread."""
    prompted_by: str | None
    response_id: str | None = None
    older_place: str | None = None
    """Its place by the `token_count` that repeats its `token_usage_record`."""
    asked: list[Mapping[str, Any]] = field(default_factory=list)
    reasoning: int = 0
    compacted: bool = False
    failures: list[tuple[int, str]] = field(default_factory=list)
    error: str | None = None


class Thread:
    """Holds the calls of one thread; `records` are in order of time, each with its unix ns."""

    def __init__(self, records: Sequence[tuple[int, Mapping[str, Any]]], *, default_id: str) -> None:
        metas = [mapping(record, "payload") for _, record in records if record.get("type") == "session_meta"]
        self.meta: Mapping[str, Any] = metas[0] if metas else {}
        self.thread_id = text(self.meta, "id", "session_id") or default_id
        self.calls: list[_Called] = []
        self.copied = 0
        """Calls of the session that this one was forked from, left out."""
        self.unfinished = 0
        """Calls whose usage has not come: not counted, for the turn was broken off, or their numbers are to come."""
        self._results: dict[str, tuple[int, int | None, bool | None]] = {}
        self._said: dict[str, str] = {}
        self._where: dict[str, str] = {}
        self._spawned: dict[str, str] = {}
        """The tool call that started a thread, by the thread's id, where an event says so."""
        self._model: str | None = None
        self._totals: Mapping[str, Any] = {}
        self._recorded: _Called | None = None
        """The call that the last `token_usage_record` ended, until the `token_count` that repeats it."""
        self._clear()
        own_from_ns = self._own_from(records)
        copying = own_from_ns > 0
        for at_ns, record in records:
            if copying and at_ns >= own_from_ns:
                copying = False
                self._clear()  # what the parent was about to do is not this session's
            self._add(at_ns, record, copied=copying)
        self.unfinished += self._spoke_ns is not None

    def _own_from(self, records: Sequence[tuple[int, Mapping[str, Any]]]) -> int:
        """Return from when on the records are this session's own: of a fork, the first turn begun after it was made."""
        made_ns = time_ns(self.meta, "timestamp")
        if text(self.meta, "forked_from_id") is None or made_ns is None:
            return 0
        for at_ns, record in records:
            payload = mapping(record, "payload")
            if payload.get("type") == "task_started":
                started = payload.get("started_at")
                given = {"at": float(started) if isinstance(started, str) and started.isdigit() else started}
                begun_ns = time_ns(given, "at")
                if begun_ns is not None and begun_ns >= made_ns - made_ns % 10**9:
                    return at_ns
        return 0

    def _clear(self) -> None:
        self._heard_ns: int | None = None
        self._heard: set[str] = set()
        self._spoke_ns: int | None = None
        self._asked: list[Mapping[str, Any]] = []
        self._reasoning = 0
        self._compacted = False
        self._failures: list[tuple[int, str]] = []

    def _add(self, at_ns: int, record: Mapping[str, Any], *, copied: bool) -> None:
        payload, kind = mapping(record, "payload"), record.get("type")
        if kind == "turn_context":
            self._model = text(payload, "model") or self._model
        elif kind == "compacted":
            self._compacted = True
            self._heard_ns = self._heard_ns if self._heard_ns is not None else at_ns
        elif kind == "token_usage_record":
            self._add_record(at_ns, payload, copied=copied)
        elif kind == "response_item":
            self._add_item(at_ns, payload)
        elif kind == "event_msg":
            self._add_event(at_ns, payload, copied=copied)

    def _add_item(self, at_ns: int, item: Mapping[str, Any]) -> None:
        kind = str(item.get("type"))
        if kind == "message" and item.get("role") != "assistant":
            self._hear(at_ns, "user")
        elif kind == "agent_message":  # another agent's: the task that this one is given, or what its own ones answer
            self._hear(at_ns, "tool" if self.calls else "user")
        elif kind.endswith("_output"):
            self._hear(at_ns, "tool")
            if (asked := text(item, "call_id")) is not None:
                self._results.setdefault(asked, (at_ns, size(item.get("output")), _failed(item.get("output"))))
                self._said.setdefault(asked, str(item.get("output"))[:4000])
        else:
            self._spoke_ns = at_ns
            if kind == "reasoning":
                self._reasoning += 1
            elif kind in _ASKING:
                self._asked.append({**item, "_at_ns": at_ns})

    def _hear(self, at_ns: int, who: str) -> None:
        if self._spoke_ns is None:  # what comes while the model speaks is for the next call
            self._heard_ns = at_ns
        self._heard.add(who)

    def _add_event(self, at_ns: int, event: Mapping[str, Any], *, copied: bool) -> None:
        kind = event.get("type")
        if kind == "user_message":
            self._hear(at_ns, "user")
        elif kind in ("collab_agent_spawn_end", "item_completed"):
            self._add_spawned(event)
        elif kind == "turn_aborted":
            self.unfinished += self._spoke_ns is not None and not copied
            self._clear()
        elif kind == "stream_error":
            self._failures.append((at_ns, _error_of(event, "stream_error")))
        elif kind == "error":
            self._end_call({}, at_ns, copied=copied, error=_error_of(event, "error"))
        elif kind == "token_count" and (info := mapping(event, "info")):
            totals = mapping(info, "total_token_usage")
            last = mapping(info, "last_token_usage") or _grown(self._totals, totals)
            repeated = bool(totals) and all(
                totals.get(name) == self._totals.get(name) for name in ("total_tokens", *_COUNTS)
            )
            self._totals = totals or self._totals
            if self._recorded is not None and _same(self._recorded.usage, last):
                self._recorded.older_place, self._recorded = self._place(at_ns), None
            elif any(count(last, name) for name in _COUNTS) and not repeated:
                self._end_call(last, at_ns, copied=copied)

    def _add_spawned(self, event: Mapping[str, Any]) -> None:
        """Note which tool call started a thread."""
        item = mapping(event, "item")
        if item.get("type") == "SubAgentActivity" and item.get("kind") == "started":
            event = {"new_thread_id": item.get("agent_thread_id"), "call_id": item.get("id")}
        if (thread_id := text(event, "new_thread_id")) and (asked := text(event, "call_id")):
            self._spawned[thread_id] = asked

    def _add_record(self, at_ns: int, record: Mapping[str, Any], *, copied: bool) -> None:
        usage, response_id = mapping(record, "usage"), text(record, "response_id")
        self._totals = mapping(record, "thread_token_usage") or self._totals
        if any(count(usage, name) for name in _COUNTS):
            self._end_call(usage, at_ns, copied=copied, response_id=response_id)
            self._recorded = self.calls[-1] if self.calls and not copied else None

    def _place(self, at_ns: int) -> str:
        # The running total tells two calls of one thread apart, and is the same however the file is cut.
        return f"{count(self._totals, 'total_tokens')}/{at_ns}"

    def _end_call(
        self, usage: Mapping[str, Any], at_ns: int, *, copied: bool, error: str | None = None,
        response_id: str | None = None,
    ) -> None:  # fmt: skip
        if copied:
            self.copied += 1
        else:
            ended_at_ns = self._spoke_ns or at_ns
            started_at_ns = self._heard_ns if self._heard_ns is not None else ended_at_ns
            called = _Called(
                usage=usage,
                model=self._model,
                started_at_ns=min(started_at_ns, ended_at_ns),
                ended_at_ns=ended_at_ns,
                known=self._heard_ns is not None,
                place=self._place(at_ns) if response_id is None else response_id,
                response_id=response_id,
                prompted_by=prompted_by(self._heard),
                asked=self._asked,
                reasoning=self._reasoning,
                compacted=self._compacted,
                failures=self._failures,
                error=error,
            )
            self.calls.append(called)
        late = self._heard_ns is None and bool(self._heard)
        self._clear()
        if late:
            self._heard_ns, self._heard = at_ns, {"tool"}

    def asking(self, thread_id: str) -> tuple[str, str] | None:
        """Return the call and the tool call that started a thread: an event says so, or its result names the thread."""
        if (spawned := self._spawned.get(thread_id)) in self._where and spawned is not None:
            return self._where[spawned], spawned
        for asked, said in self._said.items():
            if thread_id in said and asked in self._where:
                return self._where[asked], asked
        return None

    def add_to(self, rows: TaskRows, run: Run) -> None:
        """Add the calls to a run."""
        for called, call_id in zip(self.calls, self._call_ids(), strict=True):
            given = {name: count(called.usage, name) for name in _COUNTS}
            rows.call(
                run,
                call_id,
                compacted=called.compacted,
                provider=text(self.meta, "model_provider") or "openai",
                api="openai.responses",
                model=called.model,
                response_id=called.response_id,
                status="ok" if called.error is None else "error",
                error_type=called.error,
                attempts=len(called.failures) + 1,
                started_at_ns=called.started_at_ns,
                ended_at_ns=called.ended_at_ns,
                duration_s=(called.ended_at_ns - called.started_at_ns) / 1e9 if called.known else None,
                input_tokens=given["input_tokens"],
                cache_read_tokens=given["cached_input_tokens"],
                cache_write_tokens=given["cache_write_input_tokens"],
                output_tokens=given["output_tokens"],
                reasoning_tokens=given["reasoning_output_tokens"],
                prompted_by=called.prompted_by,
                reasoning_blocks=called.reasoning,
            )
            self._add_attempts(rows, call_id, called)
            for position, item in enumerate(called.asked):
                self._add_tool(rows, call_id, item, position)

    def formerly(self) -> dict[str, tuple[str, ...]]:
        """Return the ids that calls have by their places, and where their `token_count` alone was read."""
        places = [(one.place, *([] if one.older_place is None else [one.older_place])) for one in self.calls]
        older = [tuple(made_id("codex", self.thread_id, place) for place in found) for found in places]
        return {new: old for new, old in zip(self._call_ids(), older, strict=True) if new != old[0]}

    def _call_ids(self) -> list[str]:
        """Return the calls' ids: by their counts, as telemetry has no other; of the same counts the first alone."""
        found: dict[str, str] = {}
        taken: set[str] = set()
        for called in self.calls:
            shared = call_id_of("codex", self.thread_id, [count(called.usage, name) for name in CODEX])
            if called.place not in found:
                own = made_id("codex", self.thread_id, called.place)
                found[called.place] = own if shared is None or shared in taken else shared
                taken.add(found[called.place])
        return [found[called.place] for called in self.calls]

    def _add_attempts(self, rows: TaskRows, call_id: str, called: _Called) -> None:
        if not called.failures and called.error is None:
            return
        sent_at_ns = called.started_at_ns
        for number, (at_ns, error) in enumerate([*called.failures, (called.ended_at_ns, called.error)]):
            ended_at_ns = max(at_ns, sent_at_ns)
            rows.attempt(
                Attempt(
                    call_id=call_id,
                    attempt=number,
                    status_code=None,
                    error_type=error,
                    started_at_ns=sent_at_ns,
                    ended_at_ns=ended_at_ns,
                )
            )
            sent_at_ns = ended_at_ns

    def _add_tool(self, rows: TaskRows, call_id: str, item: Mapping[str, Any], position: int) -> None:
        kind, asked = str(item.get("type")), text(item, "call_id", "id") or str(position)
        self._where.setdefault(asked, call_id)
        given = next((item[name] for name in ("arguments", "input", "action") if name in item), None)
        made = rows.tool(
            call_id,
            asked,
            text(item, "name") or kind.removesuffix("_call"),
            kind="server" if kind in _AT_PROVIDER else "client",
            arguments_bytes=size(given),
            started_at_ns=item["_at_ns"],
        )
        if asked in self._results:
            at_ns, bytes_, failed = self._results[asked]
            made |= {"executed": 1, "result_bytes": bytes_, "failed": failed, "ended_at_ns": max(at_ns, item["_at_ns"])}


def _same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(count(one, name) == count(other, name) for name in _COUNTS)


def _failed(output: Any) -> bool | None:
    """Return whether a tool's result says that it failed; older versions give an object with `success`."""
    success = output.get("success") if isinstance(output, Mapping) else None
    return None if not isinstance(success, bool) else not success


def _error_of(event: Mapping[str, Any], default: str) -> str:
    info = event.get("codex_error_info")
    if isinstance(info, Mapping) and info:
        info = next(iter(info))
    return info if isinstance(info, str) and info else default


def _grown(before: Mapping[str, Any], totals: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: max(now - (count(before, name) or 0), 0) for name in _COUNTS if (now := count(totals, name)) is not None
    }
