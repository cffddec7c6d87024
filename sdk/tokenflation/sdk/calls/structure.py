"""The structure columns of a row of `calls`, and the rows of recent calls that may still stand elsewhere. Bounded."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from tokenflation.sdk.lineage import Move, Placement
from tokenflation.sdk.lineage.histories import Run, weakest
from tokenflation.sdk.records import Call, Reading, Strength

__all__ = ["PlacedCalls", "structure_of"]

_MAX_CALLS = 2048
_MAX_HASH_BYTES = 8 * 1024 * 1024
_ROLES = {"user": b"u", "assistant": b"a", "tool": b"t"}


def structure_of(placement: Placement, reading: Reading, after: str | None) -> dict[str, Any]:
    """Return the columns that say where a call stands, and what offline lineage needs to find that again."""
    known = placement.continues
    kept = known.messages if known is not None and not placement.changed else 0
    if known is not None and reading.message_hashes[max(kept - 1, 0) : kept] != (known.end_hash,):
        kept = 0
    fresh = zip(reading.message_roles[kept:], reading.message_hashes[kept:], strict=True)
    columns: dict[str, Any] = {
        "trace_id": placement.trace_id,
        "parent_id": placement.parent_id,
        "task": placement.task,
        "task_id": placement.task_id,
        "agent": placement.agent,
        "agent_run_id": placement.agent_run_id,
        "depth": placement.depth,
        "step": placement.step,
        "continues_call_id": known.call_id if known else None,
        "branch": placement.branch,
        "continues_evidence": placement.continues_evidence,
        "inside_call_id": placement.inside_call_id,
        "inside_tool_call_id": placement.inside_tool_call_id,
        "inside_evidence": placement.inside_evidence,
        "structure_strength": placement.strength,
        "structure_source": placement.structure_source,
        "after_call_id": after,
        "previous_response_id": reading.previous_response_id,
        "conversation_id": reading.conversation_id,
        "instructions_hash": reading.instructions_hash or None,
        "kept_messages": kept,
        "history": b"".join(_ROLES.get(role, b"u") + hash_ for role, hash_ in fresh) or None,
        "answers": tuple([one.tool_call_id for one in reading.tool_results]),
        "prompted_by": _prompted_by(reading, placement.sent_messages),
        "reasoning_blocks": reading.reasoning_blocks,
    }
    run = placement.run
    if run.moved and placement.structure_source == "wire" and run.run_id == placement.agent_run_id:
        # Perhaps since the call was placed.
        columns |= _of_run(run, placement.strength, foreign=placement.parent_id is not None)
    return columns


class PlacedCalls:
    """Rows whose agent run may turn out to stand elsewhere; used by one thread at a time."""

    def __init__(self) -> None:
        self._calls: OrderedDict[str, Call] = OrderedDict()
        self._bytes = 0

    def keep(self, call: Call) -> None:
        """Remember a row that the wire placed, or a scope of the host; the newest of a call counts."""
        if call.structure_source not in ("wire", "scope"):
            return
        self._forget(call.call_id)
        self._calls[call.call_id] = call
        self._bytes += len(call.block_hashes or b"")
        while len(self._calls) > _MAX_CALLS or (self._bytes > _MAX_HASH_BYTES and len(self._calls) > 1):
            self._forget(next(iter(self._calls)))

    def moved(self, moves: Sequence[Move]) -> list[Call]:
        """Return the rows of the calls that stand elsewhere now, as far as they are remembered."""
        changed = []
        for move in moves:
            call = self._calls.get(move.call_id)
            if call is None or (call.structure_source == "scope" and move.evidence != "sought"):
                continue
            strength = move.strength if move.evidence == "sought" else call.structure_strength
            columns = _of_run(move.run, strength, foreign=call.parent_id is not None)
            columns["agent_run_id"] = move.run.run_id
            if self._is_in_own_tool(call, move):
                columns = {name: value for name, value in columns.items() if not name.startswith("inside_")}
            if move.step is not None:
                columns["step"] = move.step
            if move.continues_call_id is not None:
                columns |= {"continues_call_id": move.continues_call_id, "branch": move.branch}
                columns["continues_evidence"] = move.evidence
                columns["structure_strength"] = "strong" if move.evidence == "compaction" else "weak"
            elif move.evidence == "sought" and move.run.edge is None:
                columns["inside_evidence"] = move.evidence
            call = replace(call, **columns)
            self.keep(call)
            changed.append(call)
        return changed

    def _is_in_own_tool(self, call: Call, move: Move) -> bool:
        """Return whether a call is inside a tool call of its own agent run, as one is that only seeks something."""
        asked = self._calls.get(call.inside_call_id or "")
        return asked is not None and asked.agent_run_id == call.agent_run_id == move.run.run_id

    def _forget(self, call_id: str) -> None:
        gone = self._calls.pop(call_id, None)
        if gone is not None:
            self._bytes -= len(gone.block_hashes or b"")


def _of_run(run: Run, strength: Strength | None, *, foreign: bool) -> dict[str, Any]:
    """Return the columns that a call has by its run, the `strength` of its other edge or both being given.

    One in a `foreign` span stays in that span's trace.
    """
    host, edge = run.host, run.edge
    columns = {
        "task": run.task,
        "task_id": run.task_id,
        "agent": run.agent,
        "depth": run.depth,
        "inside_call_id": host.call_id if host is not None else None,
        "inside_tool_call_id": (host.tool_call_id or None) if host is not None else None,
        "inside_evidence": edge.evidence if edge is not None else None,
        "structure_strength": weakest(strength, edge.strength if edge is not None else None),
    }
    return columns if foreign else {**columns, "trace_id": run.trace_id}


def _prompted_by(reading: Reading, sent: int) -> str | None:
    """Return who has spoken since the last answer."""
    roles = set(reading.message_roles[sent:]) - {"assistant"}
    if not roles:
        return None
    return "both" if len(roles) > 1 else roles.pop()
