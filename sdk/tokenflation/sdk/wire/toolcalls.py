"""The tool calls of an answer: taken in piece by piece, and told when it is whole. Knows no provider's field names."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from tokenflation.sdk.records import ToolCall
from tokenflation.sdk.wire.facts import CallKey, Facts, SeenCall
from tokenflation.sdk.wire.shapes import Tool
from tokenflation.sdk.wire.strings import SHORTEST_SAID, strings
from tokenflation.sdk.wire.values import at, count_of, dumps, first, loads, text

__all__ = ["add_call_counts", "append_arguments", "call_in", "digest_of", "note_call", "tool_calls"]

_NO_KEY: CallKey = (-1, "")


def note_call(facts: Facts, tool: Tool, value: dict[str, Any], slot: tuple[int, int]) -> bool:
    """Take in a tool call or a piece of one; return whether it was one at all.

    A piece without id and name goes on with the call in its slot. A new id, or a name without an id, begins a call:
    several servers put all calls into slot 0, and some answer with an object of empty strings where there is no call.
    """
    facts.noted_calls += 1
    call_id = text(first(value, tool.id)) or ""
    name = text(first(value, tool.name)) or ""
    lasting = text(at(value, tool.lasting)) if tool.lasting else None
    call = _open_call(facts, call_id, name, slot)
    if call is None and lasting is not None:
        call = next((known for known in facts.calls.values() if known.lasting == lasting), None)
        if call is not None:
            call.tool_call_id = call_id or call.tool_call_id
    if call is None:
        if not (call_id or name or tool.named):
            return False
        call = SeenCall(call_id, name or tool.named, _runs_there(tool, value), lasting=lasting)
        _begin(facts, call, slot)
    call.name = call.name or name
    call.document = facts.documents
    call.slot = slot
    _note_contents(call, tool, value)
    return True


def _runs_there(tool: Tool, value: dict[str, Any]) -> bool:
    """Return whether the provider runs this call itself."""
    if tool.server_if is None:
        return tool.server
    said = at(value, tool.server_if[0])
    return type(said) is str and said in tool.server_if[1]


def _open_call(facts: Facts, call_id: str, name: str, slot: tuple[int, int]) -> SeenCall | None:
    """Return the call that this piece belongs to, or None if it begins one."""
    if call_id:
        call = facts.calls.get((slot[0], call_id))
        # The same id twice in one document is a careless server's second call, not the same call.
        return None if call is not None and call.document == facts.documents and call.slot != slot else call
    call = call_in(facts, slot)
    if call is None or not name:
        return call
    return call if call.tool_call_id and call.name == name else None


def call_in(facts: Facts, slot: tuple[int, int]) -> SeenCall | None:
    """Return the call that stands at a place in the stream."""
    return facts.calls.get(facts.slots.get(slot, _NO_KEY))


def _begin(facts: Facts, call: SeenCall, slot: tuple[int, int]) -> None:
    key: CallKey = (slot[0], call.tool_call_id or f"#{len(facts.calls)}")
    if key in facts.calls:
        key = (slot[0], f"{call.tool_call_id}#{len(facts.calls)}")
    facts.calls[key] = call
    facts.slots[slot] = key


def _note_contents(call: SeenCall, tool: Tool, value: dict[str, Any]) -> None:
    """Take in the counts and arguments that a piece brings."""
    for said, path in tool.counts.items():
        count = count_of(at(value, path))
        if count is not None:
            call.counts[said] = count
    arguments = first(value, tool.arguments)
    if tool.appends and type(arguments) is str:
        append_arguments(call, arguments)
    elif arguments is not None:
        call.arguments_bytes = _size(arguments)
        call.arguments = arguments
        call.streamed.clear()


def append_arguments(call: SeenCall, piece: str) -> None:
    """Add a streamed piece of a call's arguments."""
    size = _size(piece)
    call.arguments_bytes = (call.arguments_bytes or 0) + size if call.pieces else size
    call.pieces = True
    call.streamed.append(piece)


def _size(value: Any) -> int:
    """Return the bytes of a text, or of a value as JSON."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode("utf-8", "replace"))
    return len(dumps(value))


def add_call_counts(extra: dict[str, Any], facts: Facts, named: Iterable[str]) -> None:
    """Add to `extra` the tokens that tool calls took beside the answer's: the sums over all calls, by name.

    Of several answers that are counted apart, what stands there by these names is of the last alone: it is taken out.
    """
    for name in named if len(facts.apart) > 1 else ():
        extra.pop(name, None)
    for call in facts.calls.values():
        for name, count in call.counts.items():
            extra[name] = extra.get(name, 0) + count


def tool_calls(facts: Facts, key: bytes) -> tuple[ToolCall, ...]:
    """Return the tool calls that the answer asks for, in order; `key` keys the hashes of their arguments.

    A call without an id gets its position; a repeated id gets its position after it, so that ids tell calls apart.
    """
    found: dict[str, ToolCall] = {}
    for position, call in enumerate(facts.calls.values()):
        tool_call_id = call.tool_call_id or str(position)
        if tool_call_id in found:
            tool_call_id = f"{tool_call_id}#{position}"
        arguments = _arguments(call)
        found[tool_call_id] = ToolCall(
            tool_call_id=tool_call_id,
            name=call.name,
            kind="server" if call.server else "client",
            arguments_bytes=call.arguments_bytes,
            arguments_hash=digest_of(dumps(arguments), key),
            said=strings(arguments, SHORTEST_SAID),
        )
    return tuple(found.values())


def _arguments(call: SeenCall) -> Any:
    """Return the arguments of a tool call as a value: clients write the same ones in many ways."""
    given = "".join(call.streamed) if call.streamed else call.arguments
    if type(given) is not str:
        return given
    read = loads(given.encode("utf-8", "surrogatepass"))
    return given if read is None else read


def digest_of(arguments: bytes, key: bytes) -> bytes:
    """Return the hash of a tool call's arguments, which are canonical JSON: 8 bytes, keyed."""
    return blake2b(arguments, digest_size=8, key=key, person=b"tf.arguments").digest()
