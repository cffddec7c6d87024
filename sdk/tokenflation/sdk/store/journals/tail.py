"""The usage object of an answer, found in its last bytes: what must be safe before the worker had its turn.

It runs on the host's thread when a call ends, so it looks at a few kilobytes at most and parses nothing else. Numbers
alone leave it, under names that the dialects know: no text of an answer can. Knows nothing of files.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from tokenflation.sdk.wire.dialects import DIALECTS
from tokenflation.sdk.wire.shapes import Dialect
from tokenflation.sdk.wire.streams.encoding import decode_chunks

__all__ = ["Found", "dialects_of", "find_usage"]

_NEAR_BYTES = 1024
"""Where usage nearly always stands: so many bytes from the end, or from the beginning."""
_FAR_BYTES = 8192
_WHOLE_BYTES = 4096
"""An answer up to so long is read as a whole where its usage stands at its root: that costs less than a search."""
_MAX_TRIES = 4
_MAX_OBJECTS = 256
"""Inside of one usage object."""
_MAX_ENCODED_BYTES = 4 * 1024
"""A compressed answer that is larger would take the host's thread too long to unpack."""
_COUNTS = ("usage", "input", "cache_read", "cache_write", "output", "reasoning", "total", "input_outside_if",
           "iterations", "modalities")  # fmt: skip

Chunks = Sequence[tuple[int, bytes]]
Found = tuple[Any, Any]
"""The last usage object, and the first one where a dialect merges them; each as numbers by name, or None."""


def find_usage(api: str, chunks: Chunks, content_encoding: str) -> Found:
    """Return the usage object in the last bytes of an answer, and the one in its first bytes where both count.

    A guess with bounds: what stands further inside, or in an encoding that is slow to unpack, is not found. Never
    raises on any bytes.
    """
    if not chunks:
        return None, None
    if content_encoding and content_encoding != "identity":
        if sum(len(piece) for _, piece in chunks) > _MAX_ENCODED_BYTES:
            return None, None
        chunks = decode_chunks(chunks, content_encoding) or ()
        if not chunks:
            return None, None
    places = _places(api)
    if len(chunks) == 1:
        end = chunks[0][1]
        if len(end) <= _WHOLE_BYTES and places.decode_answer is not None and end.startswith(b"{"):
            try:
                usage = places.decode_answer(end).usage
            except (ValueError, RecursionError):
                usage = None  # several documents, or a value of another kind among the counts
            if usage is not None:
                return usage, None
        end = end[-_FAR_BYTES:]
    else:
        end = _end_of(chunks)
    last = _last(places, end)
    if last is not None and not places.merges:
        return last, None
    first = _first(places, chunks) if last is None or len(chunks) > 1 else None
    if last is None and places.whole:
        last = _numbers(places, end.rstrip().rpartition(b"\n")[2])
    return last, first


@lru_cache(maxsize=64)
def dialects_of(api: str) -> tuple[Dialect, ...]:
    """Return the dialects that a body of this api may be in, best first."""
    return DIALECTS.get(api, ())


class _Places(NamedTuple):
    """Where the usage of an api's answers stands, and how its numbers are kept."""

    needles: tuple[bytes, ...]
    """Names of the usage objects, in quotes."""
    merges: bool
    """First and last object count together."""
    whole: bool
    """The last document of a stream may be its own usage object."""
    known: frozenset[str]
    """Names of the numbers that some dialect reads."""
    decode: Callable[[bytes], Any]
    decode_answer: Callable[[bytes], Any] | None
    """Reads a whole answer for the one usage object at its root; None where it may have another name, or be deeper."""


@lru_cache(maxsize=64)
def _places(api: str) -> _Places:
    answers = [dialect.answer for dialect in dialects_of(api)]
    paths = [path for answer in answers for path in answer.usage]
    names = sorted({str(path[-1]) for path in paths if path})
    fields = (getattr(answer, name, None) for answer in answers for name in _COUNTS)
    known = frozenset[str]().union(*(set(_words(value)) for value in fields)) - {*names}
    usage = _numbers_under(known)
    at_root = {str(path[0]) for path in paths if len(path) == 1}
    return _Places(
        tuple(f'"{name}"'.encode() for name in names),
        any(answer.merge_usage for answer in answers),
        () in paths,
        known,
        msgspec.json.Decoder(usage).decode,
        _answer_decoder(usage, *at_root) if len(at_root) == 1 else None,
    )


def _end_of(chunks: Chunks) -> bytes:
    last = chunks[-1][1]
    if len(last) >= _NEAR_BYTES:
        return last[-_FAR_BYTES:]
    for pieces in (12, 64, 256):
        last = b"".join([piece for _, piece in chunks[-pieces:]])
        if len(last) >= _NEAR_BYTES or len(chunks) <= pieces:
            break
    return last[-_FAR_BYTES:]


def _start_of(chunks: Chunks) -> bytes:
    start = chunks[0][1][:_NEAR_BYTES]
    for _, piece in chunks[1:64]:
        if len(start) >= _NEAR_BYTES:
            break
        start += piece[:_NEAR_BYTES]
    return start


def _last(places: _Places, text: bytes) -> Any:
    for needle in places.needles:
        at, tries = text.rfind(needle), 0
        while at >= 0 and tries < _MAX_TRIES:
            found = _numbers(places, _object(text, at + len(needle)))
            if found is not None:
                return found
            at, tries = text.rfind(needle, 0, at), tries + 1
    return None


def _first(places: _Places, chunks: Chunks) -> Any:
    text = b""
    for needle in places.needles:
        text = text or _start_of(chunks)
        at = text.find(needle)
        if at >= 0:
            found = _numbers(places, _object(text, at + len(needle)))
            if found is not None:
                return found
    return None


def _object(text: bytes, at: int) -> bytes:
    """Return the object that follows a name, up to the brace that closes it; empty if none does."""
    begin = text.find(b"{", at, at + 8)
    if begin < 0 or text[at:begin].strip() != b":":
        return b""
    end = begin
    for closed in range(1, _MAX_OBJECTS):
        end = text.find(b"}", end) + 1
        if not end:
            return b""
        if text.count(b"{", begin, end) <= closed:
            return text[begin:end]
    return b""


def _numbers(places: _Places, data: bytes) -> Any:
    """Return the numbers in a usage object under the names that a dialect reads, or None if it is no object."""
    if not data:
        return None
    try:
        return places.decode(data)
    except (ValueError, RecursionError):
        pass
    try:  # a value of another kind stands among the counts
        found = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        return None
    return _counts(found, places.known, 3) if type(found) is dict else None


def _counts(found: Mapping[str, Any], known: frozenset[str], depth: int) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, value in found.items():
        if name not in known:
            continue
        if type(value) is int or type(value) is float:
            kept[name] = value
        elif type(value) is dict and depth:
            kept[name] = _counts(value, known, depth - 1)
    return kept


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        if value.isidentifier():
            yield value
    elif isinstance(value, Mapping):
        for key in value:
            yield from _words(key)
            yield "tokenCount"
    elif isinstance(value, msgspec.Struct):
        yield from _words(msgspec.structs.astuple(value))
    elif isinstance(value, tuple | list | frozenset | set):
        for one in value:
            yield from _words(one)


def _numbers_under(known: frozenset[str]) -> Any:
    """Return a type that keeps numbers under these names, three objects deep."""
    made: Any = None
    for name in ("Inner", "Middle", "Outer"):
        kinds: Any = int | float | None if made is None else int | float | made | list[made] | None
        made = msgspec.defstruct(name, [(word, kinds, None) for word in sorted(known)], omit_defaults=True, gc=False)
    return made


def _answer_decoder(usage: Any, name: str) -> Callable[[bytes], Any]:
    made = msgspec.defstruct("Answer", [("usage", usage | None, None)], rename={"usage": name}, gc=False)
    return msgspec.json.Decoder(made).decode
