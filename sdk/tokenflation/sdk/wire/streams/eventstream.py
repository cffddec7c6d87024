"""Timed chunks of an AWS event stream -> timed events, however the chunks were cut. Knows nothing of any provider.

A message is: total length and length of the headers (4 bytes each, big-endian), a CRC-32 of those 8 bytes, the headers,
the payload, a CRC-32 of all before it. A header is: length of its name (1 byte), name, type of its value (1 byte),
value. Source: AWS SDK documentation, "Event stream encoding" (application/vnd.amazon.eventstream).
"""

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Final
from zlib import crc32

from tokenflation.sdk.wire.streams.sse import Event

__all__ = ["EXCEPTION", "aws_events"]

EXCEPTION: Final = b"exception:"
"""What the name of an event begins with that says the stream failed; the class of the failure follows."""

_PRELUDE = Struct(">III")
_LENGTH = Struct(">H")
_MAX_MESSAGE_BYTES = 32 * 1024 * 1024
_FIXED_BYTES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
_TEXT_TYPES = frozenset({6, 7})


def aws_events(chunks: Iterable[tuple[int, bytes]]) -> Iterator[Event]:
    """Yield the messages of a body as events: named by their type, timed when their last byte arrived.

    A message that is not what its checksums say ends the events: nothing after it can be told apart.
    """
    held = bytearray()
    for time_ns, chunk in chunks:
        held += chunk
        start = 0
        while len(held) - start >= 16:
            total, header_bytes, checksum = _PRELUDE.unpack_from(held, start)
            if not 16 + header_bytes <= total <= _MAX_MESSAGE_BYTES or crc32(held[start : start + 8]) != checksum:
                return
            if len(held) - start < total:
                break
            message = bytes(held[start : start + total])
            if crc32(message[:-4]) != int.from_bytes(message[-4:], "big"):
                return
            yield Event(time_ns, _name(message[12 : 12 + header_bytes]), message[12 + header_bytes : -4])
            start += total
        del held[:start]


def _name(headers: bytes) -> bytes:
    """Return the type of an event, or what kind of exception it is; empty where the headers do not say."""
    found = _headers(headers)
    if found.get(b":message-type") in (b"exception", b"error"):
        return EXCEPTION + (found.get(b":exception-type") or found.get(b":error-code") or b"error")
    return found.get(b":event-type", b"")


def _headers(data: bytes) -> dict[bytes, bytes]:
    """Return the headers that hold texts; what follows one that cannot be read is left out."""
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        name = data[at + 1 : at + 1 + data[at]]
        at += 1 + len(name)
        kind = data[at] if at < len(data) else -1
        at += 1
        if kind in _TEXT_TYPES and at + 2 <= len(data):
            (size,) = _LENGTH.unpack_from(data, at)
            found[name] = data[at + 2 : at + 2 + size]
            at += 2 + size
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        else:
            break
    return found
