"""Finds again, from the rows of a store, what each call continues and is inside of: by the rules that placed it.

What rests on texts (`answer`, `compaction`, `flow_arguments`, `flow_result`, `quoted`), on scopes or on spans cannot be
found without them, as the store holds no text: there the recorded edge stands. Knows nothing of databases.
"""

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from tokenflation.sdk.lineage.continuing import Histories
from tokenflation.sdk.lineage.histories import Edge, History, Host, NewCall, Run
from tokenflation.sdk.lineage.hosting import Hosts
from tokenflation.sdk.records import Call, Reading, ToolCall, ToolResult, ToolRun

__all__ = ["Rebuilt", "rebuild"]

_BY_HASHES = frozenset({"response_id", "conversation_id", "history", "tool_call_id", None})
_BY_PLACE = frozenset({"context", "open_tool_call", None})
_ROLES = {117: "user", 97: "assistant", 116: "tool"}
_ENTRY_BYTES = 9


class Rebuilt(Struct, frozen=True):
    """Where a call stands, found anew."""

    continues_call_id: str | None
    inside_call_id: str | None
    inside_tool_call_id: str | None


def rebuild(calls: Iterable[Call], tool_runs: Iterable[ToolRun]) -> dict[str, Rebuilt]:
    """Return the place of each call by its id; calls without a history (imported, killed) keep the recorded one."""
    asked: dict[str, list[ToolRun]] = {}
    for one in tool_runs:
        asked.setdefault(one.call_id, []).append(one)
    return _Rebuilding(asked).all(sorted(calls, key=lambda call: (call.ended_at_ns or call.started_at_ns, call.step)))


def _new(call: Call, reading: Reading, scope_run: str | None) -> NewCall:
    return NewCall(reading, scope_run, call.started_at_ns, call.after_call_id)


def _begun(call: Call, run_id: str) -> Run:
    return Run(
        run_id=run_id,
        agent=call.agent,
        task=call.task,
        task_id=call.task_id,
        trace_id=call.trace_id,
        depth=call.depth,
        started_at_ns=call.started_at_ns,
    )


class _Rebuilding:
    def __init__(self, asked: Mapping[str, Sequence[ToolRun]]) -> None:
        self._asked = asked
        self._histories = Histories()
        self._hosts = Hosts()
        self._runs: dict[str, Run] = {}
        self._known: dict[str, History] = {}
        self._messages: dict[str, tuple[tuple[str, ...], tuple[bytes, ...]]] = {}

    def all(self, calls: Sequence[Call]) -> dict[str, Rebuilt]:
        return {call.call_id: self._one(call) for call in calls}

    def _one(self, call: Call) -> Rebuilt:
        reading = self._reading(call)
        scope_run = None if call.structure_source == "wire" else call.agent_run_id
        before = self._known.get(call.continues_call_id or "")
        if call.continues_evidence in _BY_HASHES and reading.message_hashes:
            found = self._histories.find(_new(call, reading, scope_run))
            before = found.history if found is not None else None
        if before is not None:
            before.continued += 1
            self._hosts.note_results(before, reading)
        run = self._runs.get(call.agent_run_id)
        if run is None:
            run = self._runs[call.agent_run_id] = self._run(call, reading, scope_run, before)
        history = History(
            call_id=call.call_id,
            run=run,
            instructions_hash=reading.instructions_hash,
            messages=len(reading.message_hashes),
            end_hash=reading.message_hashes[-1] if reading.message_hashes else b"",
            ended_at_ns=call.ended_at_ns or call.started_at_ns,
            open_tool_calls=self._hosts.open_calls(reading),
            failed=call.status == "error",
        )
        if call.continues_evidence == "flow_result" and not call.tool_definition_tokens:
            history.beside = before
        self._known[call.call_id] = history
        if not history.failed:
            if history.beside is None or history.beside.waits:
                run.note_newest(history)
            self._hosts.remember(history)
        self._histories.remember(history, reading)
        host = run.host
        return Rebuilt(
            before.call_id if before is not None else None,
            host.call_id if host is not None else None,
            (host.tool_call_id or None) if host is not None else None,
        )

    def _run(self, call: Call, reading: Reading, scope_run: str | None, before: History | None) -> Run:
        host = None
        if call.inside_evidence in _BY_PLACE and call.structure_source == "wire":
            found = self._hosts.find(_new(call, reading, scope_run))
            host = before.run.host if before is not None else found
        elif call.inside_call_id is not None:
            asked = self._known.get(call.inside_call_id)
            around = asked.run if asked is not None else _begun(call, "unknown")
            host = Host(call.inside_call_id, call.inside_tool_call_id or "", around, Edge("flow_arguments", "strong"))
        run = _begun(call, call.agent_run_id)
        run.host, run.scope_run_id, run.instructions_hash = host, scope_run, reading.instructions_hash
        return run

    def _reading(self, call: Call) -> Reading:
        roles, hashes = self._messages.get(call.continues_call_id or "", ((), ()))
        kept, blob = call.kept_messages or 0, call.history or b""
        places = range(0, len(blob), _ENTRY_BYTES)
        roles = roles[:kept] + tuple([_ROLES.get(blob[at], "user") for at in places])
        hashes = hashes[:kept] + tuple([blob[at + 1 : at + _ENTRY_BYTES] for at in places])
        self._messages[call.call_id] = roles, hashes
        return Reading(
            api=call.api,
            provider=call.provider,
            response_id=call.response_id,
            previous_response_id=call.previous_response_id,
            conversation_id=call.conversation_id,
            forced_tool=call.extra.get("forced_tool"),
            instructions_hash=call.instructions_hash or b"",
            message_roles=roles,
            message_hashes=hashes,
            message_bytes=(0,) * len(hashes),
            tool_calls=tuple(
                [
                    ToolCall(tool_call_id=one.tool_call_id, name=one.name, kind=one.kind)
                    for one in self._asked.get(call.call_id, ())
                ]
            ),
            tool_results=tuple([ToolResult(tool_call_id=id_, result_bytes=0) for id_ in call.answers]),
        )
