"""Unpacks Zstandard, which Python has from 3.14 on and a package before: files, and members of zip archives.

Knows nothing of what is in them.
"""

import copy
import importlib
import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

from tokenflation.sdk.errors import ImportSourceError

__all__ = ["unzipped", "zstandard"]

_IN_ZIP = 93  # APPNOTE.TXT of the zip format, section 4.4.5


class _Readable(io.RawIOBase):
    """The unpacked bytes; damage is an EOFError, as of the other packings: Zstandard's own error is of a package."""

    def __init__(self, unpacked: Any, error: type[Exception]) -> None:
        self._unpacked = unpacked
        self._error = error

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return int(self._unpacked.seek(offset, whence))

    def tell(self) -> int:
        return int(self._unpacked.tell())

    def readinto(self, buffer: Any) -> int:
        try:
            return int(self._unpacked.readinto(buffer))
        except self._error as error:
            raise EOFError(str(error)) from error


@contextmanager
def zstandard(packed: BinaryIO, shown: str) -> Iterator[BinaryIO]:
    """Yield the unpacked bytes; reading them raises EOFError where they are damaged.

    Raises:
        ImportSourceError: nothing here can unpack them.
    """
    for name in ("compression.zstd", "backports.zstd"):
        try:
            package = importlib.import_module(name)
        except ModuleNotFoundError:
            continue
        with package.open(packed) as unpacked:
            yield io.BufferedReader(_Readable(unpacked, package.ZstdError), 1 << 16)
        return
    raise ImportSourceError(
        f"{shown} is packed with Zstandard, which this Python cannot unpack: pip install backports.zstd, or unpack it."
    )


@contextmanager
def unzipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, shown: str) -> Iterator[BinaryIO]:
    """Yield the bytes of a member; raises what `ZipFile.open` and `zstandard` do."""
    if info.compress_type != _IN_ZIP:
        with archive.open(info) as member:
            yield cast("BinaryIO", member)
        return
    raw = copy.copy(info)  # as it lies there: the packed bytes, which have no checksum of their own
    raw.compress_type, raw.file_size = zipfile.ZIP_STORED, info.compress_size
    del raw.CRC
    with archive.open(raw) as packed, zstandard(cast("BinaryIO", packed), shown) as member:
        yield member
