"""Timed chunks of a long stream, kept compressed: read again and again as if they were a list. Pure.

A stream of model events is so repetitive that it packs to a tenth. Knows nothing of what the bytes say.
"""

import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain, islice
from typing import overload

__all__ = ["PackedChunks"]

Chunk = tuple[int, bytes]
_FAST = 1
"""zlib's level: a tenth of a second for 10 MB, and little more left than by the slow ones."""


class PackedChunks(Sequence[Chunk]):
    """Chunks in order of arrival: the first compressed, those in `rest` as they came. One thread adds, any may read."""

    def __init__(self, packs: "tuple[_Pack, ...]" = (), rest: Sequence[Chunk] = ()) -> None:
        self._packs = packs
        self._rest = rest
        self._ends = list(accumulate(len(pack) for pack in packs))

    @property
    def packed_bytes(self) -> int:
        """Bytes that the compressed chunks take up."""
        return sum(pack.packed_bytes for pack in self._packs)

    def followed_by(self, chunks: Sequence[Chunk]) -> "PackedChunks":
        """Return these chunks and then others, which are not packed."""
        return PackedChunks(self._packs, chunks)

    def packed_with(self, chunks: Sequence[Chunk]) -> "PackedChunks":
        """Return these packed chunks and then others, packed too."""
        return PackedChunks((*self._packs, _Pack(chunks)))

    def __len__(self) -> int:
        return (self._ends[-1] if self._ends else 0) + len(self._rest)

    def __iter__(self) -> Iterator[Chunk]:
        return chain(chain.from_iterable(self._packs), self._rest)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> list[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | list[Chunk]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"there is no chunk {index}: there are {len(self)}.")
        pack = bisect_right(self._ends, position)
        before = self._ends[pack - 1] if pack else 0
        if pack == len(self._packs):
            return self._rest[position - before]
        return next(islice(iter(self._packs[pack]), position - before, None))


class _Pack:
    """Some chunks in one compressed piece."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._times = array("q", [time_ns for time_ns, _ in chunks])
        self._sizes = array("q", [len(chunk) for _, chunk in chunks])
        self._data = zlib.compress(b"".join([chunk for _, chunk in chunks]), _FAST)

    @property
    def packed_bytes(self) -> int:
        return len(self._data) + 16 * len(self._times)

    def __len__(self) -> int:
        return len(self._times)

    def __iter__(self) -> Iterator[Chunk]:
        data = zlib.decompress(self._data)
        at = 0
        for time_ns, size in zip(self._times, self._sizes, strict=True):
            yield time_ns, data[at : at + size]
            at += size
