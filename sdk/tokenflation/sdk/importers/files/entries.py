"""One file of an import: where it lies, what it is called, and its bytes unpacked. Knows nothing of what they mean."""

import gzip
import io
import lzma
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers.files.zstandard import zstandard

__all__ = ["PACKED", "Entry"]

PACKED = (".xz", ".gz", ".zst")
"""Endings of files that are unpacked as they are read."""
_BOM = b"\xef\xbb\xbf"
_XZ, _GZIP, _ZSTD = b"\xfd7zXZ\x00", b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_MAGIC = {".xz": _XZ, ".gz": _GZIP, ".zst": _ZSTD}


@dataclass(frozen=True, slots=True)
class Entry:
    """One file to import, on the disk or out of an archive."""

    path: Path
    """Where its bytes lie."""
    shown: str
    """Its path for messages; that of a member stands behind its archive's."""
    task: str
    """Kind of its tasks unless the source or the user says another: its name, or that of the folder it was found in."""
    bytes: int
    """Size on the disk."""
    alone: bool = False
    """The user named this very file: then it is worth a message that it cannot be read."""

    @property
    def name(self) -> str:
        """The file's name, without .xz, .gz and .zst."""
        return _unpacked_name(Path(self.shown).name)

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Yield the unpacked bytes, without a byte order mark.

        Raises:
            ImportSourceError: it is packed in a way that cannot be unpacked here.
            OSError, EOFError, lzma.LZMAError, zlib.error: it cannot be read, or its packing is damaged.
        """
        with self.path.open("rb") as raw, _unpacked(raw, self.shown) as file:
            yield file

    def place(self, line: int) -> str:
        """Return path and line for a message."""
        return f"{self.shown}:{line}"


def _unpacked_name(name: str) -> str:
    return name[: name.rfind(".")] if name.endswith(PACKED) else name


@contextmanager
def _unpacked(raw: BinaryIO, shown: str) -> Iterator[BinaryIO]:
    """Yield the bytes unpacked, by what they begin with rather than by the file's name."""
    start = raw.read(6)
    raw.seek(0)
    packing = Path(shown).suffix
    if packing in _MAGIC and not start.startswith(_MAGIC[packing]) and start:
        raise ImportSourceError(f"{shown} cannot be unpacked: it does not begin as a {packing} file does.")
    if start == _XZ:
        with lzma.open(raw) as unpacked:
            yield _without_mark(io.BufferedReader(cast("Any", unpacked), 1 << 16))
    elif start.startswith(_GZIP):
        with gzip.open(raw) as packed:
            yield _without_mark(io.BufferedReader(cast("Any", packed), 1 << 16))
    elif start.startswith(_ZSTD):
        with zstandard(raw, shown) as plain:
            yield _without_mark(plain)
    else:
        yield _without_mark(raw)


def _without_mark(file: BinaryIO) -> BinaryIO:
    if file.read(len(_BOM)) != _BOM:
        file.seek(0)
    return file
