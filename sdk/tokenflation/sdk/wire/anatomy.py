"""The anatomy of a prompt: who said how much, and keyed hashes that tell equal histories without holding any text.

The canonical prompt is what we hash and measure, not what the model sees: system prompt, tool definitions, messages in
order, each in its canonical form, so that a request which extends another has a prompt that starts with the other's.
Linear in the bytes.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Any, TypedDict

from tokenflation.sdk.records import ToolResult
from tokenflation.sdk.wire.canonical import canonical, clean, size_of, text_bytes
from tokenflation.sdk.wire.shapes import Request, Result
from tokenflation.sdk.wire.strings import SHORTEST_SAID, strings
from tokenflation.sdk.wire.values import at, dumps, text

__all__ = ["Anatomy", "anatomy", "answer_named", "block_state", "roll_blocks", "split"]

_HASH_BYTES = 8

_Found = tuple[str | None, int, bool | None, tuple[str, ...]]
"""Of a tool result: its id, its bytes, whether it says that the tool failed, and its texts."""


class Anatomy(TypedDict):
    """The fields of a `Reading` that describe its prompt."""

    instructions_hash: bytes
    system_bytes: int
    tool_definition_bytes: int
    message_hashes: tuple[bytes, ...]
    message_bytes: tuple[int, ...]
    message_roles: tuple[str, ...]
    prompt: bytes
    tool_results: tuple[ToolResult, ...]


def anatomy(request: Mapping[str, Any], shape: Request, *, key: bytes) -> Anatomy:
    """Return the anatomy of a request body; hashes are BLAKE2b with `key`, 8 bytes.

    `instructions_hash` covers the leading system messages and the tools; `message_hashes` roll over the messages alone.
    A system message in mid-conversation stays where it is and counts as the user's: hoisting it would change the
    beginning of a prompt that the model has seen before.
    """
    messages = _messages(request, shape)
    kinds = [_kind(message, shape) for message in messages]
    leading = 0
    for kind in kinds:
        if shape.kinds.get(kind or "") != "system":
            break
        leading += 1
    system = b"".join(_system(request, shape, messages[:leading]))
    tools = b"".join([dumps(clean(value)) for value in _definitions(request, shape)])
    if leading:
        messages, kinds = messages[leading:], kinds[leading:]
    pieces = [canonical(message, shape.content) for message in messages]
    roles = tuple([_role(message, kind, shape) for message, kind in zip(messages, kinds, strict=True)])
    return Anatomy(
        instructions_hash=_digest(key, system, tools),
        system_bytes=len(system),
        tool_definition_bytes=len(tools),
        message_hashes=_rolling(pieces, key),
        message_bytes=tuple(map(len, pieces)),
        message_roles=roles,
        prompt=b"".join((system, tools, *pieces)),
        tool_results=_trailing(messages, kinds, roles, shape),
    )


def answer_named(value: Any, key: bytes) -> str | None:
    """Return the name of an answer that a request goes on from: its id, or a keyed hash of the token ids it gave."""
    return _rolling((dumps(value),), key)[0].hex() if type(value) is list and value else text(value)


def split(total_tokens: int, sizes: Sequence[int]) -> list[int]:
    """Return `total_tokens` divided in proportion to `sizes`, in whole tokens that sum to it exactly.

    Largest remainder (Hamilton); equal remainders go to the earlier part. If all sizes are zero the last part gets
    everything; without parts the result is empty.

    Raises:
        ValueError: the total or a size is negative.
    """
    if total_tokens < 0 or min(sizes, default=0) < 0:
        raise ValueError(f"split() needs a total and sizes of at least 0, got {total_tokens} and {list(sizes)}.")
    whole = sum(sizes)
    if whole == 0:
        return [0] * (len(sizes) - 1) + [total_tokens] if sizes else []
    shares = [total_tokens * size // whole for size in sizes]
    left = total_tokens - sum(shares)
    if left:
        remainders = [total_tokens * size % whole for size in sizes]
        for part in sorted(range(len(sizes)), key=remainders.__getitem__, reverse=True)[:left]:
            shares[part] += 1
    return shares


def block_state(key: bytes) -> Any:
    """Return the state of a rolling hash before the first block."""
    return _keyed(key, b"tf.block").copy()


def roll_blocks(state: Any, prompt: bytes, boundaries: Sequence[int], start: int = 0) -> bytes:
    """Return one rolling keyed hash of 8 bytes for each block from byte `start` on, joined.

    `boundaries` are the byte ends of the blocks; none lies before `start` or the one before it, and one past the end of
    the prompt means its end. `state` has all before `start`, and is left behind the last block. So a block's hash
    covers the prompt from its start, and equal hashes mean equal prefixes.
    """
    update, copy = state.update, state.copy
    hashes = []
    for begin, end in zip((start, *boundaries), boundaries, strict=False):
        update(prompt[begin:end])
        hashes.append(copy().digest())
    return b"".join(hashes)


@lru_cache(maxsize=64)
def _keyed(key: bytes, person: bytes) -> Any:
    """Return the state of a hash that has its key already, to be copied: that costs a third of making one."""
    return blake2b(digest_size=_HASH_BYTES, key=key, person=person)


def _messages(request: Mapping[str, Any], shape: Request) -> list[Any]:
    for name in shape.messages:
        found = request.get(name)
        if type(found) is list:
            return found
        if type(found) is str:
            return [{"role": "user", shape.content: found}]
        if type(found) is dict and shape.alone:
            return [found]
    return []


def _kind(message: Any, shape: Request) -> str | None:
    """Return the word that says what a message is: its type where the dialect knows it, else its role."""
    if type(message) is not dict:
        return None
    kind = message.get("type")
    if type(kind) is str and (kind in shape.kinds or kind in shape.results_by_kind):
        return kind
    role = message.get("role")
    return role if type(role) is str else None


def _role(message: Any, kind: str | None, shape: Request) -> str:
    """Return who speaks: user, assistant or tool; a message that holds a tool result is the tool's."""
    if kind in shape.results_by_kind:
        return "tool"
    role = shape.kinds.get(kind or "", "user")
    # What an assistant message holds is a result of the provider's own tools.
    if role != "assistant" and _holds_result(message, shape):
        return "tool"
    return "user" if role == "system" else role


def _holds_result(message: Any, shape: Request) -> bool:
    if not (shape.results_by_type or shape.results_by_key) or type(message) is not dict:
        return False
    parts = message.get(shape.content)
    if type(parts) is not list:
        return False
    for part in parts:
        if type(part) is dict:
            type_ = part.get("type")
            if (type(type_) is str and type_ in shape.results_by_type) or not shape.results_by_key.keys().isdisjoint(
                part
            ):
                return True
    return False


def _system(request: Mapping[str, Any], shape: Request, leading: list[Any]) -> list[bytes]:
    found = [request[name] for name in shape.system if request.get(name)]
    return [text_bytes(clean(entry)) for entry in found] + [canonical(message, shape.content) for message in leading]


def _definitions(request: Mapping[str, Any], shape: Request) -> list[Any]:
    """Return the tool definitions and the schema that the answer must have."""
    found = [request[name] for name in shape.tools if request.get(name)]
    for path in shape.schemas:
        if path[0] in request and (schema := at(request, path)):
            found.append(schema)
    return found


def _digest(key: bytes, *parts: bytes) -> bytes:
    state = _keyed(key, b"tf.instructions").copy()
    for part in parts:
        state.update(len(part).to_bytes(8, "big") + part)
    digest: bytes = state.digest()
    return digest


def _rolling(pieces: Sequence[bytes], key: bytes) -> tuple[bytes, ...]:
    state = _keyed(key, b"tf.message").copy()
    hashes = []
    for piece in pieces:
        state.update(len(piece).to_bytes(8, "big"))
        state.update(piece)
        hashes.append(state.copy().digest())
    return tuple(hashes)


def _results(message: Any, kind: str | None, shape: Request) -> list[_Found]:
    """Return the tool results in a message of a tool's."""
    rule = shape.results_by_kind.get(kind or "")
    if rule is not None:
        return [_result(message, rule)]
    parts = message.get(shape.content)
    if type(parts) is not list or not (shape.results_by_type or shape.results_by_key):
        return []
    found = []
    for part in parts:
        if type(part) is not dict:
            continue
        type_ = part.get("type")
        rule = shape.results_by_type.get(type_) if type(type_) is str else None
        if rule is not None:
            found.append(_result(part, rule))
        found += [_result(part[name], rule) for name, rule in shape.results_by_key.items() if name in part]
    return found


def _result(value: Any, rule: Result) -> _Found:
    if type(value) is not dict:
        return None, 0, None, ()
    found = next((text(value.get(name)) for name in rule.id if text(value.get(name))), None)
    content = next((value[name] for name in rule.content if value.get(name) is not None), "")
    return found, size_of(content), _failed(value, rule), strings(content, SHORTEST_SAID)


def _failed(value: dict[str, Any], rule: Result) -> bool | None:
    if not rule.failed:
        return None
    said = at(value, rule.failed)
    return said is True or said == "error" or (rule.failed[-1] == "error" and said is not None)


def _trailing(
    messages: Sequence[Any], kinds: Sequence[str | None], roles: Sequence[str], shape: Request
) -> tuple[ToolResult, ...]:
    """Return the results after the last assistant message; one without an id gets its position, as its call did."""
    if "tool" not in roles:
        return ()
    start = next((i + 1 for i in range(len(roles) - 1, -1, -1) if roles[i] == "assistant"), 0)
    found = [
        result
        for message, kind, role in zip(messages[start:], kinds[start:], roles[start:], strict=True)
        if role == "tool"
        for result in _results(message, kind, shape)
    ]
    return tuple(
        [
            ToolResult(tool_call_id=id_ or str(position), result_bytes=size, failed=failed, said=said)
            for position, (id_, size, failed, said) in enumerate(found)
        ]
    )
