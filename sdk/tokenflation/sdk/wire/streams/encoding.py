"""Content encodings of a body: gzip and deflate always, br and zstd where a package for them is installed.

A client asks for br or zstd only if it can read them itself: the packages it may do that with are those tried here.

Chunk by chunk, so that each piece keeps its time of arrival. Knows nothing of what the bytes say.
"""

import importlib
import zlib
from collections.abc import Callable, Sequence
from typing import Any, Final

__all__ = ["MAX_DECODED_BYTES", "decode_body", "decode_chunks"]

MAX_DECODED_BYTES: Final = 256 * 1024 * 1024
"""A body that unpacks to more is cut there: a few kilobytes of gzip can hold gigabytes of zeros."""

_PIECE_BYTES = 16 * 1024

Chunks = Sequence[tuple[int, bytes]]
_Decoder = tuple[Callable[[bytes], bytes], type[Exception]]


def decode_chunks(chunks: Chunks, content_encoding: str) -> Chunks | None:
    """Return the chunks decoded, with their times; what was readable before a fault stays.

    None means that nobody here can read the encoding: br or zstd without a package for it, or an unknown one.
    """
    if not content_encoding:
        return chunks
    names = [name.strip().lower() for name in content_encoding.split(",")]
    for name in reversed([name for name in names if name and name != "identity"]):
        decoder = _decoder(name)
        if decoder is None:
            return None
        chunks = _apply(chunks, *decoder)
    return chunks


def decode_body(body: bytes) -> bytes:
    """Return a request body, unpacked if a client compressed it."""
    if body[:2] != b"\x1f\x8b":
        return body
    return b"".join(piece for _, piece in decode_chunks([(0, body)], "gzip") or ())


def _apply(chunks: Chunks, step: Callable[[bytes], bytes], fault: type[Exception]) -> Chunks:
    decoded: list[tuple[int, bytes]] = []
    size = 0
    for time_ns, chunk in chunks:
        try:
            piece = step(chunk)
        except fault:
            break
        size += len(piece)
        if size > MAX_DECODED_BYTES:
            break
        if piece:
            decoded.append((time_ns, piece))
    return decoded


def _decoder(name: str) -> _Decoder | None:
    if name in ("gzip", "x-gzip"):
        return _members(lambda: zlib.decompressobj(wbits=31), zlib.error, MAX_DECODED_BYTES), zlib.error
    if name == "deflate":
        return _deflate(), zlib.error
    if name == "br":
        package = _optional("brotli") or _optional("brotlicffi")
        return (package.Decompressor().process, package.error) if package is not None else None
    if name == "zstd":
        return _zstd()
    return None


def _zstd() -> _Decoder | None:
    package = _optional("compression.zstd") or _optional("backports.zstd")  # the first is there from Python 3.14 on
    if package is not None:
        return _members(package.ZstdDecompressor, package.ZstdError, MAX_DECODED_BYTES), package.ZstdError
    package = _optional("zstandard")
    if package is None:
        return None
    return _members(lambda: package.ZstdDecompressor().decompressobj(), package.ZstdError), package.ZstdError


def _members(make: Callable[[], Any], fault: type[Exception], *limit: int) -> Callable[[bytes], bytes]:
    """Return a step that begins a new stream where one ends, as a body may hold several, one after the other.

    A stream makes at most `limit` bytes of one piece. What follows an end and is no stream is left alone.
    """
    stream = make()

    def step(chunk: bytes) -> bytes:
        nonlocal stream
        decoded: list[bytes] = []
        size = 0
        # At each end of a stream zlib copies what is left: of a long chunk of tiny streams that would be very much.
        for start in range(0, len(chunk), _PIECE_BYTES):
            left = chunk[start : start + _PIECE_BYTES]
            while left and size <= MAX_DECODED_BYTES:
                if stream.eof:
                    stream = make()
                try:
                    decoded.append(stream.decompress(left, *limit))
                except fault:
                    if not decoded:
                        raise
                    return b"".join(decoded)
                size += len(decoded[-1])
                left = stream.unused_data if stream.eof else b""
        return b"".join(decoded)

    return step


def _deflate() -> Callable[[bytes], bytes]:
    """Return a step for `deflate`, which some servers send with a zlib header and some without."""
    streams: list[Any] = []

    def step(chunk: bytes) -> bytes:
        if not streams:
            if not chunk:
                return b""
            wrapped = chunk[0] & 0x0F == 8 and (len(chunk) < 2 or (chunk[0] * 256 + chunk[1]) % 31 == 0)
            streams.append(zlib.decompressobj(wbits=15 if wrapped else -15))
        return bytes(streams[0].decompress(chunk, MAX_DECODED_BYTES))

    return step


def _optional(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
