"""Looks at how a file of JSON begins: the objects among its lines, the keys of its first object.

A first line may be longer than any memory (a picture, a damaged record): it is gone past piece by piece, each once, and
what stands behind it tells the format. Knows no format and nothing of what an object means.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, BinaryIO

import msgspec

__all__ = ["TOKEN", "are_lines", "decoded", "first_keys", "line_objects", "objects_behind", "opening", "pieces"]

_STRING = rb'[^"\\]*+(?:\\.[^"\\]*+)*+("|\\?\Z)'
# A string that is cut off reaches to the end, and nothing is tried twice: a beginning full of `\\"` must not take for
# ever.
TOKEN = re.compile(rb'"' + _STRING + rb"|[\[\]{},:]", re.DOTALL)
"""A string or a sign of JSON; the group is the end of a string, `"` unless the text ends before it does."""
_END = re.compile(_STRING, re.DOTALL)
_PIECE = 1 << 20
_OPENING = 1 << 16
_LONGEST_KEY = 1 << 10
_LONGEST_LINE = 1 << 24
_MOST_OBJECTS = 20
_MOST_LINES = 1000
_decode = msgspec.json.Decoder().decode


def decoded(text: bytes) -> Any:
    """Return the value, or the exception that says why there is none; NaN and Infinity, as Python writes them, are."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        return _with_nan(text, error) if b"NaN" in text or b"Infinity" in text else error


def _with_nan(text: bytes, error: Exception) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return error


def pieces(file: BinaryIO, most: int) -> Iterator[bytes]:
    """Yield what is left of a file, so many bytes at most."""
    while most > 0 and (piece := file.read(min(_PIECE, most))):
        most -= len(piece)
        yield piece


def opening(file: BinaryIO) -> bytes:
    """Return some of a file's first bytes without blank ones in front; behind a longer first line, some more."""
    start = file.read(_OPENING).lstrip()
    while not start and (piece := file.read(_OPENING)):
        start = piece.lstrip()
    if b"\n" in start or not start:
        return start
    start += _rest_of_line(file, _LONGEST_KEY)
    return start + file.read(_OPENING)


def _rest_of_line(file: BinaryIO, kept: int) -> bytes:
    """Return the last bytes of the line in hand, its end among them, and go past it."""
    last = b""
    while piece := file.readline(_PIECE):
        last = (last + piece)[-kept:]
        if piece.endswith(b"\n"):
            break
    return last


def are_lines(start: bytes) -> bool:
    """Return whether objects of one line stand behind the first line: then it is JSON Lines, whatever the first is.

    The first line of a log that was cut at its beginning is any end of a record. In a document that is laid out over
    lines, objects are set in or end with a comma, but for the last element of an array.
    """
    rows = start.split(b"\n")[1:41]
    behind = [line.rstrip() for line in (rows[:-1] if len(rows) > 1 else rows)]
    whole = [line for line in behind if line[:1] == b"{" and isinstance(found := decoded(line), dict) and found]
    return len(whole) > sum(line.endswith(b",") or line == b"]" for line in behind)


def line_objects(start: bytes, *, whole: bool) -> tuple[Mapping[str, Any], ...]:
    """Return the JSON objects that are lines of a file's beginning, at most 20; `whole`: it is the whole file."""
    rows = start.split(b"\n")
    return _objects(rows if whole else rows[:-1])


def objects_behind(file: BinaryIO) -> tuple[Mapping[str, Any], ...]:
    """Return the first JSON objects behind the line in hand that are lines, at most 20; those over 16 MB are passed."""
    _rest_of_line(file, 1)
    return _objects(_shorter_lines(file))


def _shorter_lines(file: BinaryIO) -> Iterator[bytes]:
    for _ in range(_MOST_LINES):
        line = file.readline(_LONGEST_LINE)
        if not line:
            return
        if len(line) == _LONGEST_LINE and not line.endswith(b"\n"):
            _rest_of_line(file, 1)
        else:
            yield line


def _objects(rows: Iterable[bytes]) -> tuple[Mapping[str, Any], ...]:
    found: list[Mapping[str, Any]] = []
    for line in rows:
        if line.lstrip()[:1] == b"{" and isinstance(value := decoded(line), dict):
            found.append(value)
        if len(found) == _MOST_OBJECTS:
            break
    return tuple(found)


def first_keys(parts: Iterable[bytes]) -> frozenset[str]:
    """Return the keys of the first object of a text that comes in parts, as far as it goes; a long key is cut."""
    keys: set[str] = set()
    depth, inside, last = 0, None, b""
    for token, text in _tokens(parts):
        if token in b"[{":
            depth += 1
            if token == b"{" and inside is None:
                inside = depth
        elif token in b"]}":
            if depth == inside:
                break
            depth -= 1
        elif token == b":" and depth == inside:
            keys.add(last.decode("utf-8", "replace"))
        last = text
    return frozenset(keys)


def _tokens(parts: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield the sign of each token, `\"` for a string, and a string's beginning."""
    text, cut, over = b"", False, b""
    for part in parts:
        piece, at = over + part, 0
        over = b""
        if cut:
            rest = _END.match(piece)
            if rest is None or rest[1] != b'"':
                over = b"" if rest is None else rest[1]
                text += piece[: min(len(piece) - len(over), _LONGEST_KEY - len(text))]
                continue
            text, at, cut = text + piece[: min(rest.start(1), _LONGEST_KEY - len(text))], rest.end(), False
            yield b'"', text
        for token in TOKEN.finditer(piece, at):
            sign = token[0][:1]
            if sign != b'"':
                yield sign, b""
                continue
            text = piece[token.start() + 1 : min(token.start(1), token.start() + 1 + _LONGEST_KEY)]
            if token[1] == b'"':
                yield sign, text
            else:
                cut, over = True, token[1]
