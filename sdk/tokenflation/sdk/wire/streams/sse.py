"""Timed chunks of a streamed body -> timed events, however the chunks were cut. Knows nothing of any provider.

Two framings: server-sent events (WHATWG HTML, "Server-sent events", section 9.2.6) and a sequence of JSON objects, bare
(NDJSON) or inside one array (Gemini without `alt=sse`). Both are linear in the bytes.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat
from operator import itemgetter, sub
from typing import NamedTuple

__all__ = ["Event", "block_event", "json_events", "sse_blocks", "sse_events"]

_bytes_of = itemgetter(1)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_MAX_JOINED = 1024
"""Chunks that are looked at as one text; of more the copy might be large."""


class Event(NamedTuple):
    """One event of a stream."""

    time_ns: int
    """When the chunk that completed it arrived; unix ns."""
    name: bytes
    """The `event:` field; empty where there is none."""
    data: bytes
    """The `data:` lines, joined by newlines."""


def _timed_lines(chunks: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Yield each line without its end (LF, CR or CRLF) and the time its end arrived; a last open line comes too."""
    open_line: list[bytes] = []
    after_cr = False
    last_ns = 0
    for time_ns, arrived in chunks:
        chunk = arrived
        if after_cr and chunk[:1] == b"\n":  # the LF of a CRLF that was cut in two
            chunk = chunk[1:]
        if not chunk:
            after_cr = after_cr and not arrived
            continue
        last_ns = time_ns
        after_cr = chunk.endswith(b"\r")
        if b"\n" not in chunk and b"\r" not in chunk:
            open_line.append(chunk)
            continue
        lines = chunk.splitlines()
        lines[0] = b"".join(open_line) + lines[0]
        open_line = []
        if not chunk.endswith((b"\n", b"\r")):
            open_line.append(lines.pop())
        for line in lines:
            yield time_ns, line
    if open_line:
        yield last_ns, b"".join(open_line)


def sse_events(chunks: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    """Yield the server-sent events of a body.

    The standard throws away an event whose blank line never came; we pass it on, because some servers end a body
    right after `data: [DONE]` and a half event is recognised by its half JSON anyway.
    """
    name = b""
    data: list[bytes] = []
    time_ns = 0
    start = True
    for time_ns, arrived in _timed_lines(chunks):
        line = arrived
        if start:
            line = line.removeprefix(_BYTE_ORDER_MARK)
            start = False
        if not line:
            if data:
                yield Event(time_ns, name, data[0] if len(data) == 1 else b"\n".join(data))
                data = []
            name = b""
            continue
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
        elif field == b"event":
            name = value[1:] if value[:1] == b" " else value
    if data:
        yield Event(time_ns, name, b"\n".join(data))


def sse_blocks(chunks: Sequence[tuple[int, bytes]]) -> Iterable[tuple[int, bytes]] | None:
    """Yield the text of each server-sent event, perhaps with its blank line, and when it came; linear in the bytes.

    None for a body with CR in it, which `sse_events` reads.
    """
    if len(chunks) <= _MAX_JOINED:
        pieces = list(map(_bytes_of, chunks))
        body = b"".join(pieces)
        if b"\r" in body:
            return None
        # One event in each chunk, as most servers send them: no need to look at each.
        if not body.startswith(_BYTE_ORDER_MARK) and _are_events(pieces, body):
            return chunks
        return _blocks(chunks)
    for _, chunk in chunks:
        if b"\r" in chunk:
            return None
    return _blocks(chunks)


def _are_events(pieces: list[bytes], body: bytes) -> bool:
    """Return whether each piece of a body is one event and its blank line."""
    if not all(map(bytes.endswith, pieces, repeat(b"\n\n"))):
        return False
    # Events of one line: the first line end of each is that of its pair. To find is ten times quicker than to count.
    if {*map(sub, map(len, pieces), map(bytes.find, pieces, repeat(b"\n")))} == {2}:
        return True
    return body.count(b"\n\n") == len(pieces) and b"\n\n\n" not in body


def _blocks(chunks: Sequence[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    held: list[bytes] = []
    last_ns = 0
    first = True
    for time_ns, chunk in chunks:
        if not chunk:
            continue
        last_ns = time_ns
        if not held and not first and 0 <= chunk.find(b"\n\n") == len(chunk) - 2:  # one whole event: the usual case
            yield time_ns, chunk[:-2]
            continue
        if b"\n\n" not in chunk and not (held and chunk[:1] == b"\n" and held[-1][-1:] == b"\n"):
            held.append(chunk)
            continue
        *blocks, rest = (b"".join((*held, chunk)) if held else chunk).split(b"\n\n")
        held = [rest] if rest else []
        if first:
            blocks[0] = blocks[0].removeprefix(_BYTE_ORDER_MARK)
            first = False
        for block in blocks:
            yield time_ns, block
    if held:
        text = b"".join(held)
        yield last_ns, text.removeprefix(_BYTE_ORDER_MARK) if first else text


def block_event(block: bytes) -> tuple[bytes, bytes] | None:
    """Return name and data of the event whose text this is, None if it has no data."""
    text = block.removesuffix(b"\n\n")
    if text.startswith(b"data: ") and b"\n" not in text:
        return b"", text[6:]
    name = b""
    data: list[bytes] = []
    for line in text.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"data":
            data.append(value[1:] if value[:1] == b" " else value)
        elif field == b"event":
            name = value[1:] if value[:1] == b" " else value
    return (name, b"\n".join(data)) if data else None


_STRUCTURE = re.compile(rb'["{}]')
_STRING_REST = re.compile(rb'[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)


def json_events(chunks: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    """Yield each outermost JSON object of a body as an event without a name; what stands between them is skipped.

    Only objects are framed: brackets and commas of an enclosing array, and newlines between objects, do not matter.
    """
    depth = 0
    in_string = escaped = False
    held: list[bytes] = []  # the pieces of the object that is open
    for time_ns, chunk in chunks:
        begin = position = 0
        while position < len(chunk):
            if in_string:
                position, in_string, escaped = _skip_string(chunk, position, escaped)
                continue
            match = _STRUCTURE.search(chunk, position)
            if match is None:
                break
            position = match.end()
            mark = match.group()
            if mark == b'"':
                in_string = depth > 0
            elif mark == b"{":
                if depth == 0:
                    begin = match.start()
                depth += 1
            elif depth > 0:
                depth -= 1
                if depth == 0:
                    held.append(chunk[begin:position])
                    yield Event(time_ns, b"", b"".join(held))
                    held = []
        if depth > 0:
            held.append(chunk[begin:])


def _skip_string(chunk: bytes, position: int, escaped: bool) -> tuple[int, bool, bool]:
    """Return where a string goes on being skipped: new position, still inside it, next byte is escaped."""
    if escaped:
        position += 1
    match = _STRING_REST.match(chunk, position)
    if match is not None:
        return match.end(), False, False
    rest = chunk[position:]
    backslashes = len(rest) - len(rest.rstrip(b"\\"))
    return len(chunk), True, backslashes % 2 == 1
