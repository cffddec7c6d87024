"""Prefix blocks of a prompt: where each 64-token block ends in bytes, so that a history that grows keeps its blocks.

A provider tells how many tokens a whole prompt has, never where the tokens lie. Within one history we know that for
several lengths: each earlier call gave (bytes, tokens). Between such anchors we go linearly; a longer prompt adds
anchors behind the old ones, so the blocks it shares with an earlier call end at the same bytes and hash the same.
A call that extends another takes its hashes over instead of hashing the shared prompt again.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire.anatomy import block_state, roll_blocks

__all__ = ["BlockHasher", "block_ends", "extend_anchors", "shared_blocks"]

_MAX_KEPT_BYTES = 4 * 1024 * 1024
_MAX_KEPT = 1024

Anchor = tuple[int, int]


def extend_anchors(anchors: Sequence[Anchor], prompt_bytes: int, input_tokens: int) -> tuple[Anchor, ...]:
    """Return the anchors `(bytes, tokens)` that lie before this prompt's end, and its end as the last one.

    An anchor that contradicts the total (more tokens than the whole prompt has) is left out: the total is the truth.
    `anchors` are in order, as a call before this one left them.
    """
    if anchors and anchors[0][0] > 0 and anchors[-1][0] < prompt_bytes and anchors[-1][1] <= input_tokens:
        return (*anchors, (prompt_bytes, input_tokens))
    kept: list[Anchor] = []
    for anchor in anchors:
        last = kept[-1] if kept else (0, 0)
        if last[0] < anchor[0] < prompt_bytes and last[1] <= anchor[1] <= input_tokens:
            kept.append(anchor)
    kept.append((prompt_bytes, input_tokens))
    return tuple(kept)


def block_ends(anchors: Sequence[Anchor], block_tokens: int, behind: Anchor = (0, 0)) -> list[int]:
    """Return the byte at which each block ends: `ceil(tokens / block_tokens)` of them, the last at the prompt's end.

    Bytes behind a full block that brought no token are in no block: a full block never changes once it is full. Those
    full at the anchor `behind`, before the others, are left out.
    """
    ends: list[int] = []
    place, tokens = behind
    for next_place, next_tokens in anchors:
        more_bytes, more_tokens = next_place - place, next_tokens - tokens
        first = block_tokens - tokens % block_tokens  # from this anchor to the next end of a block
        ends += [place + more_bytes * after // more_tokens for after in range(first, more_tokens + 1, block_tokens)]
        place, tokens = next_place, next_tokens
    if tokens % block_tokens:
        ends.append(place)
    return ends


def shared_blocks(hashes: bytes, seen: set[bytes]) -> int:
    """Return how many leading blocks (8-byte rolling hashes) are in `seen`.

    A rolling hash stands for the whole prompt up to it, so the last one seen settles all before it.
    """
    count = len(hashes) // 8
    low, high = 0, count
    while low < high:
        middle = (low + high + 1) // 2
        if hashes[(middle - 1) * 8 : middle * 8] in seen:
            low = middle
        else:
            high = middle - 1
    return low


class _Hashed(Struct, frozen=True):
    """The full blocks of a call, and the state of the hash behind them."""

    instructions_hash: bytes
    messages: int
    last_hash: bytes
    anchors: tuple[Anchor, ...]
    end: int
    """Byte of the prompt at which the full blocks end."""
    hashes: bytes
    state: Any


class BlockHasher:
    """Hashes the blocks of calls; remembers those of recent ones, 4 MB at most. Used by one thread at a time."""

    def __init__(self, key: bytes, block_tokens: int) -> None:
        self._key = key
        self._block_tokens = block_tokens
        self._recent: OrderedDict[str, _Hashed] = OrderedDict()
        self._kept_bytes = 0

    def hashes(self, reading: Reading, anchors: tuple[Anchor, ...], call_id: str, continues: str | None) -> bytes:
        """Return the rolling hashes of a call's blocks, 8 bytes each, as `roll_blocks` gives them for the whole prompt.

        `continues` is the call that it may extend; taken over is only what has the same instructions, messages and
        anchors.
        """
        before = self._recent.get(continues or "")
        if before is not None and _extends(reading, anchors, before):
            known = len(before.anchors)
            ends = block_ends(anchors[known:], self._block_tokens, anchors[known - 1])
            hashes, start, state = before.hashes, before.end, before.state.copy()
        else:
            ends = block_ends(anchors, self._block_tokens)
            hashes, start, state = b"", 0, block_state(self._key)
        full = anchors[-1][1] // self._block_tokens if anchors else 0
        fresh = full - len(hashes) // 8
        hashes += roll_blocks(state, reading.prompt, ends[:fresh], start)
        if full:
            start = ends[fresh - 1] if fresh else start
            if reading.message_hashes:
                self._keep(call_id, reading, anchors, start, hashes, state.copy())
        return hashes + roll_blocks(state, reading.prompt, ends[fresh:], start)

    def _keep(self, call_id: str, reading: Reading, anchors: tuple[Anchor, ...], end: int, hashes: bytes,
              state: Any) -> None:  # fmt: skip
        before = self._recent.pop(call_id, None)
        self._kept_bytes += len(hashes) - (len(before.hashes) if before is not None else 0)
        messages = reading.message_hashes
        self._recent[call_id] = _Hashed(
            reading.instructions_hash, len(messages), messages[-1], anchors, end, hashes, state
        )
        while self._kept_bytes > _MAX_KEPT_BYTES or len(self._recent) > _MAX_KEPT:
            self._kept_bytes -= len(self._recent.popitem(last=False)[1].hashes)


def _extends(reading: Reading, anchors: tuple[Anchor, ...], before: _Hashed) -> bool:
    return (
        reading.instructions_hash == before.instructions_hash
        and reading.message_hashes[before.messages - 1 : before.messages] == (before.last_hash,)
        and anchors[: len(before.anchors)] == before.anchors
    )
