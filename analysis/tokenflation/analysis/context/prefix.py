"""Which leading blocks of a prompt an earlier call had too, and since when: one pass for any number of caches.

What a block's last use was says it all: an infinite cache hits whatever was used before, one with a time to live what
was used within it, a least-recently-used cache of some bytes what fewer than so many other bytes were used since (its
stack distance; Mattson et al. 1970, "Evaluation techniques for storage hierarchies"). A rolling hash stands for the
whole prompt before it, so the blocks last used by one call are always the end of its prompt: the state is one place per
call and the work one step per piece of a prompt, never one per block. Does no I/O; `kvcache.py` asks the questions.

How a cache is imagined: it belongs to one provider and model, holds whole blocks only (docs.vllm.ai, "Automatic Prefix
Caching": "we only cache full blocks"), has a prompt from the start of its call on, and gives up the end of a prompt
before its beginning. Order is that of `started_at_ns`.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenflation.analysis.columns.context import REUSE_COLUMNS, SEGMENT_COLUMNS
from tokenflation.analysis.frames import from_arrays, prepared
from tokenflation.sdk.errors import FrameError

__all__ = ["has_hashes", "hashed_calls", "reuse_by_call", "reuse_segments"]

_HASH_BYTES = 8
_NEEDED = (
    "call_id", "task", "task_id", "agent", "agent_run_id", "step", "provider", "model", "response_model",
    "started_at_ns", "input_tokens", "cache_read_tokens", "block_tokens", "prompted_by", "block_hashes",
)  # fmt: skip
Ints = npt.NDArray[np.int64]


def reuse_segments(calls: pd.DataFrame, *, within_task: bool = False) -> pd.DataFrame:
    """Return one row per reused piece of a prompt, in order; columns and units as in `columns.context.SEGMENT_COLUMNS`.

    A piece is a run of leading blocks that the same earlier call used last. `within_task` sees only calls of the same
    task. `calls` needs its block hashes: `load(path, blocks=True)`.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
    """
    return _segments(hashed_calls(calls, "reuse_segments"), within_task)


def reuse_by_call(calls: pd.DataFrame) -> pd.DataFrame:
    """Return one row per call that has hashes, in order of start; columns as in `columns.context.REUSE_COLUMNS`.

    `ideal_tokens` is what an infinite cache would have had: `own_task_tokens` from the same task and
    `other_task_tokens`, what sharing the cache with other tasks adds. They sum to it exactly, as do
    `ideal_tokens - lost_tokens + unseen_tokens == cache_read_tokens` where the provider reports cache reads.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
    """
    rows = hashed_calls(calls, "reuse_by_call")
    ideal = _tokens_of(_segments(rows, within_task=False), len(rows))
    own = _tokens_of(_segments(rows, within_task=True), len(rows))
    read = np.ma.masked_array(
        rows["cache_read_tokens"].to_numpy(np.int64, na_value=0), rows["cache_read_tokens"].isna()
    )
    known: dict[str, object] = {name: rows[name].to_numpy() for name in REUSE_COLUMNS if name in rows}
    known |= {
        "cache_read_tokens": read,
        "ideal_tokens": ideal,
        "own_task_tokens": own,
        "other_task_tokens": ideal - own,
        "lost_tokens": np.ma.masked_array(np.maximum(ideal - read.data, 0), read.mask),
        "unseen_tokens": np.ma.masked_array(np.maximum(read.data - ideal, 0), read.mask),
    }
    known |= {name: _text(rows[name]) for name in ("prompted_by", "model")}
    return from_arrays(known, tuple(REUSE_COLUMNS.values()))


def _text(column: "pd.Series[str]") -> "np.ma.MaskedArray[tuple[int], np.dtype[np.object_]]":
    return np.ma.masked_array(column.to_numpy(object), column.isna())


def hashed_calls(calls: pd.DataFrame, caller: str, more: Sequence[str] = ()) -> pd.DataFrame:
    """Return the calls that have hashes and input, in order of start, with `model` the one that answered.

    `more` names columns besides those that the reuse of prefixes needs.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
    """
    if isinstance(calls, pd.DataFrame) and "block_hashes" not in calls.columns:
        raise FrameError(
            f"{caller}() needs the prefix hashes, and the frame was loaded without them. "
            "Load it with tokenflation.analysis.load(path, blocks=True)."
        )
    rows = prepared(calls, (*_NEEDED, *more), caller)
    rows = rows[rows["block_hashes"].notna() & rows["input_tokens"].notna()]
    if rows.empty:
        raise FrameError(
            f"{caller}() found no prefix hashes (calls: {len(calls):,}), so nothing is known of shared prefixes. "
            "Calls that tokenflation records have them, and so do traces that bring block ids."
        )
    rows = rows.sort_values("started_at_ns", kind="stable", ignore_index=True)
    return rows.assign(model=rows["response_model"].fillna(rows["model"]))


def has_hashes(calls: pd.DataFrame) -> bool:
    """Return whether any call has both prefix hashes and a count of its input: without, no ideal cache is known."""
    known = "block_hashes" in calls.columns
    return known and bool((calls["block_hashes"].notna() & calls["input_tokens"].notna()).any())


def _segments(rows: pd.DataFrame, within_task: bool) -> pd.DataFrame:
    keys = ["provider", "model", "block_tokens", *(["task", "task_id"] if within_task else [])]
    hashes = rows["block_hashes"].to_numpy()
    # Whole blocks only: the last hash of a prompt may stand for a part of one.
    full = np.minimum(
        np.fromiter((len(one) // _HASH_BYTES for one in hashes), np.int64, len(rows)),
        rows["input_tokens"].to_numpy(np.int64) // rows["block_tokens"].to_numpy(np.int64),
    )
    found: list[Ints] = []
    for places in rows.groupby(keys, sort=False, dropna=False).indices.values():
        at = np.sort(places)
        pieces = np.array(list(_pieces([hashes[i] for i in at], full[at].tolist())), np.int64).reshape(-1, 5)
        pieces[:, :2] = at[pieces[:, :2]]
        found.append(pieces)
    table = np.concatenate(found)
    table = table[np.lexsort((table[:, 2], table[:, 0]))]
    call, source, first, blocks, newer = table.T
    started = rows["started_at_ns"].to_numpy(np.int64)
    block_tokens = rows["block_tokens"].to_numpy(np.int64)[call]
    ids = rows["call_id"].to_numpy(object)
    values = {
        "call": call,
        "call_id": ids[call],
        "source_call_id": ids[source],
        "first_block": first,
        "blocks": blocks,
        "block_tokens": block_tokens,
        "tokens": blocks * block_tokens,
        "gap_s": (started[call] - started[source]) / 1e9,
        "newer_blocks": newer,
    }
    return from_arrays(values, tuple(SEGMENT_COLUMNS.values()))


def _tokens_of(segments: pd.DataFrame, calls: int) -> Ints:
    found = np.zeros(calls, np.int64)
    np.add.at(found, segments["call"].to_numpy(), segments["tokens"].to_numpy())
    return found


def _pieces(prompts: Sequence[bytes], full: Sequence[int]) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield (call, source, first block, blocks, newer blocks) for each reused piece; `full` whole blocks in a prompt.

    `newer` are the distinct blocks used after the piece's first one was: of later calls, and of this call before it.
    """
    owner: dict[bytes, int] = {}  # the first block that a call is the last user of -> the call
    counts = _Fenwick(len(prompts))
    for call, prompt in enumerate(prompts):
        size, at = full[call], 0
        while at < size:
            source = owner.get(prompt[at * _HASH_BYTES : (at + 1) * _HASH_BYTES])
            if source is None:
                break
            other, other_size = prompts[source], full[source]
            end = _common(prompt, other, at + 1, min(size, other_size))
            # What this call took over already left its owners' counts, and all of it is newer than this piece.
            yield call, source, at, end - at, counts.after(source) + at
            del owner[other[at * _HASH_BYTES : (at + 1) * _HASH_BYTES]]
            if end < other_size:
                owner[other[end * _HASH_BYTES : (end + 1) * _HASH_BYTES]] = source
            counts.add(source, at - end)
            at = end
        if size:
            owner[prompt[:_HASH_BYTES]] = call
            counts.add(call, size)


def _common(one: bytes, other: bytes, low: int, high: int) -> int:
    """Return how many leading blocks two prompts share, known to be from `low` to `high`."""
    middle = high  # the end first: most prompts extend the other whole
    while low < high:
        block = slice((middle - 1) * _HASH_BYTES, middle * _HASH_BYTES)
        if one[block] == other[block]:
            low = middle
        else:
            high = middle - 1
        middle = (low + high + 1) // 2
    return low


class _Fenwick:
    """Counts per call with fast sums of all later ones (Fenwick 1994, "A new data structure for cumulative tables")."""

    def __init__(self, size: int) -> None:
        self._sums = [0] * (size + 1)
        self._total = 0

    def add(self, place: int, count: int) -> None:
        self._total += count
        place += 1
        while place < len(self._sums):
            self._sums[place] += count
            place += place & -place

    def after(self, place: int) -> int:
        """Return the sum of the counts behind this place."""
        place, until = place + 1, 0
        while place:
            until += self._sums[place]
            place -= place & -place
        return self._total - until
