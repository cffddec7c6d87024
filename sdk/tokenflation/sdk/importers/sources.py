"""Finds the files to import and reads them line by line, compressed or not. Knows nothing of what a line means."""

import gzip
import io
import lzma
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tokenflation.sdk.errors import ImportSourceError

__all__ = ["SUFFIXES", "Document", "Source", "documents", "find_sources"]

_PACKED = (".xz", ".gz")
_PLAIN = (".json", ".jsonl")
SUFFIXES = (*_PLAIN, *(plain + packed for plain in _PLAIN for packed in _PACKED), *_PACKED)
"""Endings of the files that can be read; without .json or .jsonl before it, .xz and .gz hold lines."""


@dataclass(frozen=True, slots=True)
class Source:
    """One file to import."""

    path: Path
    task: str
    """Kind of its tasks unless the user says another: its name, or that of the folder it was found in."""
    bytes: int


@dataclass(frozen=True, slots=True)
class Document:
    """One JSON text of a file."""

    text: bytes
    line: int
    """Line of the file, unpacked, that it starts on."""
    read_bytes: int
    """Bytes of the file, as it lies on the disk, that were read to get here."""


def find_sources(paths: Iterable[Path]) -> list[Source]:
    """Return the files that the paths name, those of a folder in order of name.

    Raises:
        ImportSourceError: a path does not exist, has another ending, or is a folder without such files.
    """
    return [source for path in paths for source in _sources(path)]


def _sources(path: Path) -> list[Source]:
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
        if not inside:
            raise ImportSourceError(f"{path}: the folder holds no file that ends in {', '.join(SUFFIXES)}.")
        return [Source(file, path.resolve().name or "task", file.stat().st_size) for file in inside]
    if not path.exists():
        raise ImportSourceError(f"{path}: there is no such file. Check the path.")
    if not path.name.endswith(SUFFIXES):
        raise ImportSourceError(
            f"{path}: files with this ending cannot be imported; known are {', '.join(SUFFIXES)} (Weka session traces)."
        )
    return [Source(path, _stem(path.name) or "task", path.stat().st_size)]


def _stem(name: str) -> str:
    for endings in (_PACKED, _PLAIN):
        for ending in endings:
            name = name.removesuffix(ending)
    return name


def documents(source: Source) -> Iterator[Document]:
    """Yield the JSON documents of a file: its lines, or all of a .json file.

    Raises:
        ImportSourceError: the file cannot be read, cannot be unpacked, or is empty.
    """
    whole = _unpacked_name(source.path).endswith(".json")
    empty = True
    try:
        with source.path.open("rb") as raw, _unpacked(source.path, raw) as file:
            for number, text in [(1, file.read())] if whole else enumerate(file, start=1):
                if not text.strip():
                    continue
                empty = False
                yield Document(text, number, raw.tell())
    except (lzma.LZMAError, gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise ImportSourceError(
            f"{source.path} cannot be unpacked: {error}. Nothing was imported; get the file again."
        ) from error
    except OSError as error:
        raise ImportSourceError(f"{source.path} cannot be read: {error.strerror}. Nothing was imported.") from error
    if empty:
        raise ImportSourceError(f"{source.path} is empty: it holds no session. Nothing was imported.")


def _unpacked_name(path: Path) -> str:
    return path.name.removesuffix(".xz").removesuffix(".gz")


@contextmanager
def _unpacked(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    if path.name.endswith(".xz"):
        with lzma.open(raw) as unpacked:
            yield io.BufferedReader(unpacked, 1 << 16)
    elif path.name.endswith(".gz"):
        with gzip.open(raw) as packed:
            yield cast("BinaryIO", packed)
    else:
        yield raw
