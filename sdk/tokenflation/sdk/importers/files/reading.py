"""Reads JSON from files that may be cut, damaged or mixed: what is good is yielded, what is not is named with its line.

Four shapes: JSON Lines (`lines`), one document (`document`), either (`values`: the lines, the elements of an array, or
the one object), or objects one after another that are laid out over lines (`blocks`). Knows nothing of what an object
means.
"""

import json
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers.files.beginnings import TOKEN, are_lines, decoded, opening
from tokenflation.sdk.importers.files.entries import Entry
from tokenflation.sdk.importers.files.formats import Context, Skipped

__all__ = ["UNREADABLE", "blocks", "document", "lines", "unreadable", "values"]

UNREADABLE = (ImportSourceError, OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError, zipfile.BadZipFile)
"""What opening or reading an entry may raise."""

_LONGEST_LINE = 1 << 28
_DECODER = json.JSONDecoder()


def unreadable(shown: str, error: BaseException) -> Skipped:
    """Return the file of this path as left out, because of one of `UNREADABLE`."""
    if isinstance(error, ImportSourceError):
        return Skipped(shown, "not unpackable", str(error), "file")
    if isinstance(error, OSError) and error.errno is not None:
        return Skipped(shown, "not readable", error.strerror or str(error), "file")
    return Skipped(shown, "damaged", f"it cannot be unpacked to its end: {error}", "file")


def lines(entry: Entry, context: Context) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield line number and object of each line, or objects; what is no JSON object is named. Blank lines mean nothing.

    What cannot be unpacked or read to its end is named behind what could be read.
    """
    try:
        with entry.open() as file:
            read = 0
            for number, (line, bytes_) in enumerate(_lines_of(file), start=1):
                read += bytes_
                if not number % 256:
                    context.progress(read)
                if bytes_ > _LONGEST_LINE:
                    yield Skipped(entry.place(number), "a line longer than 256 MB", f"it has {bytes_:,} bytes")
                    continue
                if not line.strip():
                    continue
                found = decoded(line)
                if isinstance(found, dict):
                    yield number, found
                    continue
                whole, rest = _run_together(line) if isinstance(found, ValueError) else ([], line)
                yield from ((number, one) for one in whole)
                if rest:
                    yield _skipped(entry, number, decoded(rest))
    except UNREADABLE as error:
        yield unreadable(entry.shown, error)


def _run_together(line: bytes) -> tuple[list[dict[str, Any]], bytes]:
    """Return the objects that a line begins with, and what is behind them: two programs may append to a log at once."""
    text = line.decode("utf-8", "surrogateescape").strip()
    whole: list[dict[str, Any]] = []
    at = 0
    while text.startswith("{", at):
        try:
            _, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError):
            break
        found = decoded(text[at:end].encode("utf-8", "surrogateescape"))
        if not isinstance(found, dict):
            break
        whole.append(found)
        at = end
        while text[at : at + 1].isspace():
            at += 1
    return whole, text[at:].encode("utf-8", "surrogateescape")


def blocks(entry: Entry, context: Context) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield first line and object of each object of a file in which they stand one after another, laid out over lines.

    `JSON.stringify(value, null, 2)` gives a first and a last line that are one brace and nothing else, and sets in what
    is between: of an object that is cut the next one's first line tells. An object of one line is one too; damage as in
    `lines`.
    """
    held: list[bytes] = []
    begun = read = 0
    try:
        with entry.open() as file:
            for number, (line, bytes_) in enumerate(_lines_of(file), start=1):
                read += bytes_
                if not number % 4096:
                    context.progress(read)
                bare = line.rstrip()
                if held and line[:1] == b"{":
                    yield Skipped(entry.place(begun), "not JSON", "the object is cut short")
                    held = []
                if held or bare == b"{":
                    begun = begun if held else number
                    held.append(line)
                    if bare == b"}":
                        yield _block(entry, begun, b"".join(held))
                        held = []
                elif bare:
                    yield _block(entry, number, line)
    except UNREADABLE as error:
        yield unreadable(entry.shown, error)
    if held:
        yield Skipped(entry.place(begun), "not JSON", "the object is cut short")


def _block(entry: Entry, line: int, text: bytes) -> tuple[int, dict[str, Any]] | Skipped:
    found = decoded(text)
    return (line, found) if isinstance(found, dict) else _skipped(entry, line, found)


def _lines_of(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Yield each line, of one that is too long a beginning, and how many bytes it has."""
    while line := file.readline(_LONGEST_LINE + 1):
        bytes_ = len(line)
        if bytes_ > _LONGEST_LINE:
            last = line[-1:]
            while last != b"\n" and (piece := file.readline(1 << 20)):
                bytes_ += len(piece)
                last = piece[-1:]
        yield line, bytes_


def values(entry: Entry, context: Context) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield line and object of a file that is JSON Lines, an array of objects, or one object; damage as in `lines`.

    An array or a single object is held in memory whole; of a damaged array the good elements are yielded.
    """
    try:
        with entry.open() as file:
            start = opening(file)
    except UNREADABLE as error:
        yield unreadable(entry.shown, error)
        return
    if are_lines(start):
        yield from lines(entry, context)
    elif start[:1] == b"[":
        text, damage = _whole(entry)
        yield from _elements(entry, text)
        if damage is not None:
            yield damage
    elif _spread(start):
        yield from document(entry)
    else:
        yield from lines(entry, context)


def _whole(entry: Entry) -> tuple[bytes, Skipped | None]:
    """Return all bytes that can be read, and what is wrong with the rest."""
    pieces = []
    try:
        with entry.open() as file:
            while piece := file.read(1 << 20):
                pieces.append(piece)
    except UNREADABLE as error:
        return b"".join(pieces), unreadable(entry.shown, error)
    return b"".join(pieces), None


def _spread(start: bytes) -> bool:
    """Return whether one object is laid out over lines: then its first line is no JSON by itself."""
    first, _, rest = start[:4096].partition(b"\n")
    return bool(rest.strip()) and first.strip() != b"" and isinstance(decoded(first), Exception) and len(first) < 4000


def _elements(entry: Entry, text: bytes) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    line, last = 1, 0
    for start, end in _spans_of_elements(text):
        line += text.count(b"\n", last, start)
        last = start
        found = decoded(text[start:end])
        for one in found if isinstance(found, list) and found else [found]:  # a list of traces, each a list of spans
            yield (line, one) if isinstance(one, dict) else _skipped(entry, line, one)


def _spans_of_elements(text: bytes) -> Iterator[tuple[int, int]]:
    """Yield start and end of each element of the array that a text begins with; the last may be cut."""
    depth, start = 0, None
    for token in TOKEN.finditer(text):
        sign = token[0]
        if sign in (b"[", b"{"):
            depth += 1
            if depth == 1:
                start = token.end()
        elif sign in (b"]", b"}"):
            depth -= 1
        if start is not None and (depth == 0 or (depth == 1 and sign == b",")):
            if text[start : token.start()].strip():
                yield start + _blank(text, start), token.start()
            start = token.end()
            if depth == 0:
                return
    if start is not None and text[start:].strip():
        yield start + _blank(text, start), len(text)


def _blank(text: bytes, start: int) -> int:
    position = start
    while position < len(text) and text[position] in b" \t\r\n":
        position += 1
    return position - start


def document(entry: Entry) -> Iterator[tuple[int, dict[str, Any]] | Skipped]:
    """Yield line 1 and the object that a file is, or what is wrong with it in its place.

    An object that is cut short is named before it comes, closed where its last whole value ends.
    """
    text, damage = _whole(entry)
    found = decoded(text)
    if isinstance(found, dict):
        yield 1, found
    elif not isinstance(found, Exception):
        yield _skipped(entry, 1, found)
    elif (closed := _closed(text)) is not None and isinstance(saved := decoded(closed), dict):
        yield Skipped(entry.place(text.count(b"\n") + 1), "cut off", "what came before it was taken")
        yield 1, saved
    else:
        yield damage or _skipped(entry, _line_of(found, text), found)


def _closed(text: bytes) -> bytes | None:
    """Return the document with what is cut off at its end left out and all that is open closed."""
    stack: list[bytes] = []
    good: int | None = None
    for token in TOKEN.finditer(text):
        sign = token[0]
        if sign in (b"[", b"{"):
            stack.append(b"]" if sign == b"[" else b"}")
            good = token.end()
        elif sign in (b"]", b"}"):
            if not stack or stack.pop() != sign:
                return None
            good = token.end()
        elif sign == b",":
            good = token.start()
    if not stack or good is None:
        return None
    return text[:good] + b"".join(reversed(stack))  # whatever opens or closes is good: what is open now was open there


def _skipped(entry: Entry, line: int, found: Any) -> Skipped:
    if isinstance(found, RecursionError):
        return Skipped(entry.place(line), "nested too deeply")
    if isinstance(found, Exception):
        return Skipped(entry.place(line), "not JSON", str(found))
    return Skipped(entry.place(line), "no JSON object", f"a {type(found).__name__} instead")


_BYTE = re.compile(r"\(byte (\d+)\)")


def _line_of(error: Exception, text: bytes) -> int:
    at = _BYTE.search(str(error))
    return 1 + text.count(b"\n", 0, int(at[1]) if at else 0)
