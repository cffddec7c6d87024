"""Encoded bodies read as plain ones; what nobody can decode is said to be unread."""

import gzip
import importlib
import json
import random
import sys
import zlib
from typing import Any

import pytest

from tokenflation.sdk.wire.streams.encoding import decode_chunks

BODY = {
    "id": "c",
    "model": "m",
    "choices": [{"index": 0, "message": {"content": "x" * 500}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 3},
}


def _raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(data) + stream.flush()


@pytest.mark.parametrize(
    ("encoding", "encode"),
    [("gzip", gzip.compress), ("deflate", zlib.compress), ("deflate", _raw_deflate), ("GZIP, identity", gzip.compress)],
)
def test_an_encoded_body_reads_as_the_plain_one(exchange: Any, encoding: str, encode: Any) -> None:
    data = encode(json.dumps(BODY).encode())
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]

    assert exchange("openai.chat", pieces, content_encoding=encoding) == exchange("openai.chat", BODY)


def _encoders() -> dict[str, tuple[str, Any]]:
    def brotli(data: bytes) -> Any:
        return importlib.import_module("brotli").compress(data)

    def brotlicffi(data: bytes) -> Any:
        return importlib.import_module("brotlicffi").compress(data)

    def zstd(data: bytes) -> Any:
        return importlib.import_module("backports.zstd").compress(data)

    def zstandard(data: bytes) -> Any:
        return importlib.import_module("zstandard").compress(data)

    return {"brotli": ("br", brotli), "brotlicffi": ("br", brotlicffi)} | {
        "backports.zstd": ("zstd", zstd),
        "zstandard": ("zstd", zstandard),
    }


@pytest.mark.parametrize("package", _encoders())
def test_whatever_package_a_client_decodes_with_reads_the_body_here_too(
    exchange: Any, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    pytest.importorskip(package)
    encoding, encode = _encoders()[package]
    for other in _encoders().keys() - {package}:
        monkeypatch.setitem(sys.modules, other, None)
    data = encode(json.dumps(BODY).encode())
    pieces = [data[at : at + 7] for at in range(0, len(data), 7)]

    assert exchange("openai.chat", pieces, content_encoding=encoding) == exchange("openai.chat", BODY)


@pytest.mark.parametrize(
    ("package", "encoding", "encode"),
    [
        ("gzip", "gzip", gzip.compress),
        *((package, *_encoders()[package]) for package in ("backports.zstd", "zstandard")),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_body_of_several_streams_is_read_to_the_end_of_the_last(
    package: str, encoding: str, encode: Any, size: int
) -> None:
    pytest.importorskip(package)
    data = encode(b"data: a\n\n") + encode(b"data: b\n\n") + b"\0\0"
    chunks = [(at, data[at : at + size]) for at in range(0, len(data), size)]

    assert b"".join(piece for _, piece in decode_chunks(chunks, encoding) or ()) == b"data: a\n\ndata: b\n\n"


def test_very_many_streams_in_one_chunk_are_all_read() -> None:
    members = [gzip.compress(str(number).encode(), mtime=0) for number in range(5000)]

    decoded = decode_chunks([(1, b"".join(members))], "gzip")

    assert decoded == [(1, "".join(map(str, range(5000))).encode())]


def test_a_compressed_stream_keeps_its_times() -> None:
    stream = zlib.compressobj(wbits=31)
    chunks = []
    for time_ns, text in ((10, b"data: a\n\n"), (20, b"data: b\n\n")):
        chunks.append((time_ns, stream.compress(text) + stream.flush(zlib.Z_SYNC_FLUSH)))

    assert decode_chunks(chunks, "gzip") == [(10, b"data: a\n\n"), (20, b"data: b\n\n")]


def test_a_body_in_an_unknown_encoding_leaves_the_usage_absent(exchange: Any) -> None:
    reading = exchange("openai.chat", b"\x00\x01", content_encoding="rot13")

    assert (reading.status, reading.usage_source) == ("ok", "absent")
    assert reading.extra == {"unread_encoding": "rot13"}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "zstd"])
def test_a_damaged_body_never_raises(exchange: Any, encoding: str) -> None:
    noise = random.Random(7).randbytes(300)

    assert exchange("openai.chat", noise, content_encoding=encoding).usage_source == "absent"


def test_a_compressed_request_is_read(exchange: Any) -> None:
    from tokenflation.sdk.wire import ExchangeBytes, read

    asked = gzip.compress(b'{"model":"m","messages":[{"role":"user","content":"hi"}]}')

    reading = read(ExchangeBytes(api="openai.chat", request_body=asked, status_code=500), key=b"k")

    assert reading is not None
    assert (reading.model, len(reading.message_hashes)) == ("m", 1)
