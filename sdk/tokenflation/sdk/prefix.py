"""Prefix blocks of a prompt: where each 64-token block ends in bytes, so that a history that grows keeps its blocks.

A provider tells how many tokens a whole prompt has, never where the tokens lie. Within one history we know that for
several lengths: each earlier call gave (bytes, tokens). Between such anchors we go linearly; a longer prompt adds
anchors behind the old ones, so the blocks it shares with an earlier call end at the same bytes and hash the same.
Pure; knows nothing of calls.
"""

from collections.abc import Sequence

__all__ = ["block_ends", "extend_anchors", "shared_blocks"]

Anchor = tuple[int, int]


def extend_anchors(anchors: Sequence[Anchor], prompt_bytes: int, input_tokens: int) -> tuple[Anchor, ...]:
    """Return the anchors `(bytes, tokens)` that lie before this prompt's end, and its end as the last one.

    An anchor that contradicts the total (more tokens than the whole prompt has) is left out: the total is the truth.
    """
    kept: list[Anchor] = []
    for anchor in anchors:
        last = kept[-1] if kept else (0, 0)
        if last[0] < anchor[0] < prompt_bytes and last[1] <= anchor[1] <= input_tokens:
            kept.append(anchor)
    kept.append((prompt_bytes, input_tokens))
    return tuple(kept)


def block_ends(anchors: Sequence[Anchor], block_tokens: int) -> list[int]:
    """Return the byte at which each block ends: `ceil(tokens / block_tokens)` of them, the last at the prompt's end."""
    if not anchors:
        return []
    ends: list[int] = []
    place = tokens = 0
    for next_place, next_tokens in anchors:
        more_bytes, more_tokens = next_place - place, next_tokens - tokens
        first = block_tokens - tokens % block_tokens  # from this anchor to the next end of a block
        ends += [place + more_bytes * after // more_tokens for after in range(first, more_tokens + 1, block_tokens)]
        place, tokens = next_place, next_tokens
    if tokens % block_tokens:
        ends.append(place)
    elif ends:
        ends[-1] = place  # bytes after the last anchor that brought no token
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
