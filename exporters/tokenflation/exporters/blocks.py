"""Gives every block of every prompt a small number: equal leading blocks get equal leading numbers. Does no I/O.

A rolling hash stands for the whole prompt up to its block's end, so a number per hash is prefix-stable by itself, and a
larger block is the hash at its last small block: regrouping 64 to 512 tokens loses nothing.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tokenflation.exporters.sessions import CallRow
from tokenflation.exporters.summary import Tally
from tokenflation.sdk.errors import ExportError

__all__ = ["BlockIds", "block_ratio"]

_MOST_TOKENS = 1_000_000_000
"""Input of one call above which a count is taken for a mistake: no model reads as much, and its block ids fill a
memory.
"""

Ids = npt.NDArray[np.int64]
_Keys = npt.NDArray[np.uint64]


def block_ratio(block_size: int, block_tokens: int) -> int:
    """Return how many of the store's blocks make one of the file's.

    Raises:
        ExportError: `block_size` is not a multiple of the store's block; hashes cannot be cut.
    """
    if block_size < block_tokens or block_size % block_tokens:
        raise ExportError(
            f"A block of {block_size} tokens cannot be made from the recorded blocks of {block_tokens} tokens. "
            f"Give a block size that is a multiple of {block_tokens}."
        )
    return block_size // block_tokens


def _keys(hashes: bytes) -> _Keys:
    return np.frombuffer(hashes, dtype="<u8", count=len(hashes) // 8)


def _common(one: _Keys, other: _Keys) -> int:
    """Return how many keys both begin with."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


@dataclass(frozen=True, slots=True)
class _Earlier:
    """A call of the session that was numbered before; `blocks` counts the store's blocks."""

    agent_run_id: str
    blocks: int
    ids: Ids


class BlockIds:
    """Numbers handed out so far, from 0; one per session (`local`: Weka) or per file (Mooncake). Not thread-safe."""

    def __init__(self, block_tokens: int, block_size: int, tally: Tally, *, local: bool = False) -> None:
        self._block_tokens = block_tokens
        self._local = local
        self._task = ""
        self._ratio = block_ratio(block_size, block_tokens)
        self._tally = tally
        self._next = 0
        self._by_key: dict[int, int] = {}
        self._earlier: list[_Earlier] = []
        self._last: dict[str, tuple[_Keys, Ids]] = {}

    def begin_session(self, task: str) -> None:
        """Forget the earlier calls; numbers made up from counts are shared within one task only."""
        self._task = task
        self._earlier.clear()
        self._last.clear()

    def ids(self, call: CallRow) -> Ids:
        """Return the call's `ceil(input_tokens / block_size)` numbers; call it in order of time within a session.

        Raises:
            ExportError: the call has more input tokens than any prompt can have.
        """
        if call.input_tokens > _MOST_TOKENS:
            raise ExportError(
                f"Call {call.call_id} has {call.input_tokens:,} input tokens, more than the {_MOST_TOKENS:,} that one call can "
                "have in a trace, which names every block of a prompt. Correct its count in the store, or choose other tasks "
                "(--task, --task-id; write() takes any part of the calls). Nothing was written."
            )
        blocks = -(-call.input_tokens // self._block_tokens)
        wanted = -(-blocks // self._ratio)
        known = self._next
        opening = self._opening_blocks(call, blocks)
        leading = self._hashed(call, blocks) if call.block_hashes is not None else self._shared(call, blocks)
        ids = np.concatenate((leading, np.arange(self._next, self._next + wanted - len(leading), dtype=np.int64)))
        self._next += wanted - len(leading)
        self._earlier.append(_Earlier(call.agent_run_id, blocks, ids))
        self._tally.blocks += wanted
        self._count_hidden(call, blocks, int(np.count_nonzero(leading < known)) * self._ratio, opening)
        return ids

    def _opening_blocks(self, call: CallRow, blocks: int) -> int:
        """Return how many blocks a run's first call has in common with that of the last run of its name and kind.

        That is what tasks share: a system prompt and tools. Only the last opening of each name is kept, for memory.
        """
        if call.block_hashes is None or call.agent_run_id in self._last:
            return 0
        before = self._tally.openings.get((self._task, call.agent), b"")
        self._tally.openings[self._task, call.agent] = call.block_hashes
        return min(_common(_keys(before), _keys(call.block_hashes)), blocks)

    def _count_hidden(self, call: CallRow, blocks: int, shown: int, opening: int) -> None:
        """Count the shared blocks that the file does not show: inside a larger block, or with other tasks' calls."""
        within = min(call.shared_blocks or 0, blocks)
        hidden = (within if self._local else max(within, opening)) - shown
        if hidden > 0 and self._ratio > 1:
            self._tally.hidden_calls += 1
            self._tally.hidden_tokens += min(hidden * self._block_tokens, call.input_tokens)
        between = opening - max(within, shown) if self._local else 0
        if between > 0:
            self._tally.between_calls += 1
            self._tally.between_tokens += min(between * self._block_tokens, call.input_tokens)

    def _hashed(self, call: CallRow, blocks: int) -> Ids:
        """Return the numbers that the hashes settle; where the last ones are missing, only those of full groups."""
        keys = _keys(call.block_hashes or b"")
        self._tally.padded += len(keys) < blocks
        self._tally.trimmed += len(keys) > blocks
        keys = keys[:blocks]
        ends = keys[self._ratio - 1 :: self._ratio]
        if len(keys) == blocks and blocks % self._ratio:
            ends = np.append(ends, keys[-1])
        return self._numbered(call.agent_run_id, ends)

    def _numbered(self, run: str, keys: _Keys) -> Ids:
        """Return one number per key; what the run's last call had in common is copied, not looked up."""
        before, numbers = self._last.get(run, (keys[:0], np.empty(0, dtype=np.int64)))
        common = _common(before, keys)
        rest = np.fromiter((self._number(key) for key in keys[common:].tolist()), dtype=np.int64)
        ids = np.concatenate((numbers[:common], rest))
        self._last[run] = (keys, ids)
        return ids

    def _number(self, key: int) -> int:
        number = self._by_key.get(key)
        if number is None:
            number = self._by_key[key] = self._next
            self._next += 1
        return number

    def _shared(self, call: CallRow, blocks: int) -> Ids:
        """Return the leading numbers of an earlier call, as many as the recorded shared blocks fill.

        Where they are not known, what the provider read from its cache stands for them: an earlier prompt had it too.
        The newest call of the same agent run that is long enough comes first, then the newest of any. What follows is
        new, so the longest prefix shared with any earlier call is exactly the recorded one.
        """
        if call.shared_blocks is not None:
            self._tally.synthesised += 1
            shared = min(call.shared_blocks, blocks)
        elif call.cache_read_tokens is not None:
            self._tally.cache_reads += 1
            shared = min(call.cache_read_tokens // self._block_tokens, blocks)
        else:
            self._tally.unshared += 1
            shared = 0
        if shared <= 0:
            return np.empty(0, dtype=np.int64)
        long_enough = [one for one in self._earlier if one.blocks >= shared]
        same_run = [one for one in long_enough if one.agent_run_id == call.agent_run_id]
        if not long_enough:
            self._tally.short_shared += 1
            longest = max(self._earlier, key=lambda one: one.blocks, default=None)
            # Its last group may be a partial one, which only a shared end could have in common: left out.
            return longest.ids[: longest.blocks // self._ratio] if longest else np.empty(0, dtype=np.int64)
        return (same_run or long_enough)[-1].ids[: shared // self._ratio]
