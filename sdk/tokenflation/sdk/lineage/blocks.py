"""Which leading blocks of a prompt an earlier call of the task had, and where a system prompt's blocks are cut.

Bounded.
"""

from collections.abc import Iterable
from itertools import chain
from struct import iter_unpack

from tokenflation.sdk.lineage.histories import Recent
from tokenflation.sdk.tokens.prefix import shared_blocks

__all__ = ["TaskBlocks"]

_MAX_BLOCKS = 2_000_000


class TaskBlocks:
    """The blocks that each recent task has sent."""

    def __init__(self) -> None:
        self._tasks: Recent[str, set[bytes]] = Recent()
        self._first_split: Recent[bytes, int] = Recent()
        self._count = 0

    def first_tokens(self, instructions_hash: bytes, estimate: int) -> int:
        """Return the tokens of a system prompt with its tools: what was estimated first, ever after.

        Frozen on first sight, so that all histories with these instructions cut their first blocks at the same bytes.
        """
        if instructions_hash not in self._first_split:
            self._first_split.put(instructions_hash, estimate)
        return self._first_split[instructions_hash]

    def shared(self, task_id: str, hashes: bytes) -> int:
        """Return how many leading blocks an earlier call of the task had, and note this call's blocks."""
        known = self._tasks.get(task_id)
        if known is None:
            known = set()
        self._tasks.put(task_id, known)
        count = shared_blocks(hashes, known) if known else 0
        size = len(known)
        known.update(_blocks(memoryview(hashes)[count * 8 :]))
        self._count += len(known) - size
        while self._count > _MAX_BLOCKS and len(self._tasks) > 1:
            self._count -= len(self._tasks.popitem(last=False)[1])
        if self._count > _MAX_BLOCKS:  # one task that never ends: it begins anew with the newest prompt
            known.clear()
            known.update(_blocks(hashes))
            self._count = len(known)
        return count


def _blocks(hashes: bytes | memoryview) -> Iterable[bytes]:
    return chain.from_iterable(iter_unpack("8s", hashes))
