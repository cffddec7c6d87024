"""OTLP traces and logs as protobuf: a request's body, or the messages that the collector's file exporter writes.

The exporter puts four bytes before each message, its length, the highest byte first (`format: proto`); OpenTelemetry's
own specification of files puts a varint there. ExportTraceServiceRequest and TracesData are the same on the wire: field
1 is ResourceSpans, its field 2 ScopeSpans, whose field 2 is Span; logs have the same levels, with LogRecord for Span.
These levels are taken apart here, so that of a message that is cut the whole spans are taken; what is inside a span
reads the library that OpenTelemetry's exporters use themselves (`opentelemetry-proto`, in the extra `otlp`). Logs are
those that coding agents make of their calls (`agent_events`).

Sources: opentelemetry-collector-contrib, exporter/fileexporter/README.md; opentelemetry-proto, trace/v1/trace.proto and
logs/v1/logs.proto; protobuf.dev/programming-guides/encoding.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from tokenflation.sdk.errors import MissingExtra
from tokenflation.sdk.importers.files.formats import Context, Format, Head, Skipped, Taken
from tokenflation.sdk.importers.spans.agent_events import names_agent
from tokenflation.sdk.importers.spans.rows import SpanPile
from tokenflation.sdk.importers.tracers.otlp import spans_of

if TYPE_CHECKING:
    from tokenflation.sdk.importers.files.entries import Entry

__all__ = ["FORMAT"]

_IDS = re.compile(rb"\x0a\x10.{16}\x12\x08.{8}", re.DOTALL)
"""How a span begins: its trace id and its id, field 1 of 16 bytes and field 2 of 8."""
_LOG_STARTS = (b"\x09", b"\x10", b"\x2a", b"\x59")
"""How a log record begins: its time (field 1, a number), severity (2), body (5) or when it was seen (11); a span: its
ids.
"""
_LOG = re.compile(rb"[\x09\x59].{7}[\x14-\x1f]", re.DOTALL)
"""Such a time between the years 2015 and 2041: its highest byte is the last."""
_LENGTH = 4
_FIRST = b"\x0a"
"""Tag of field 1, of ResourceSpans and of what is first in them."""
_Field = tuple[int, bytes, bool]
"""Number, content, and whether all of it is there."""


def _sniff(head: Head) -> float:
    """Return how sure it is that a file holds OTLP traces, or logs of a coding agent, as protobuf."""
    start = head.start
    if _framing(start) is None:
        return 0.0
    if _IDS.search(start):
        return 0.9
    return 0.85 if names_agent(start) and _LOG.search(start) else 0.0


def _read(entries: Sequence["Entry"], context: Context) -> Iterator[Taken | Skipped]:
    """Yield the tasks of the traces in files that belong together.

    Raises:
        MissingExtra: the protobuf library is not installed.
    """
    reader = _Reader()
    pile = SpanPile("otlp")
    for entry in entries:
        with entry.open() as file:
            content = file.read()
        for number, message, whole in _messages(content):
            where = f"{entry.shown}, message {number}"
            if not whole:
                yield Skipped(where, "a message that is cut short", f"{len(message)} bytes are there")
            for document in reader.documents(message):
                if isinstance(document, str):
                    yield Skipped(where, "no span", document)
                    continue
                for one in spans_of(document, where):
                    skipped = one if isinstance(one, Skipped) else pile.add(one)
                    if skipped is not None:
                        yield skipped
        context.progress(entry.bytes)
    yield from pile.tasks(context, entries[0].task)


FORMAT = Format(
    name="otlp-proto",
    title="OTLP protobuf",
    sniff=_sniff,
    read=_read,
    group=lambda head: str(PurePath(head.path).parent),
)


def _framing(content: bytes) -> str | None:
    """Return how a file tells its messages apart: not at all, by four bytes of length, or by a varint of it."""
    if content[:1] == _FIRST:
        return "one"
    if content[_LENGTH : _LENGTH + 1] == _FIRST and content[0] < 2:  # 32 MB at most: exporters write far smaller ones
        return "four bytes"
    _, at = _varint(content, 0)
    return "varint" if at < 6 and content[at : at + 1] == _FIRST else None


def _messages(content: bytes) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, bytes and wholeness of each message of a file."""
    framing = _framing(content)
    if framing == "one":
        yield 1, content, all(whole for _, _, whole in _fields(content))
        return
    at, number = 0, 0
    while at < len(content):
        number += 1
        if framing == "varint":
            length, at = _varint(content, at)
        else:
            length, at = int.from_bytes(content[at : at + _LENGTH], "big"), at + _LENGTH
        message = content[at : at + length]
        yield number, message, len(message) == length and at <= len(content)
        at += length


def _fields(content: bytes) -> Iterator[_Field]:
    """Yield the fields of a message that have a length (the others are left out); ends where it is no message."""
    at = 0
    while at < len(content):
        tag, at = _varint(content, at)
        kind = tag & 7
        if kind == 2:
            length, at = _varint(content, at)
            yield tag >> 3, content[at : at + length], at + length <= len(content)
            at += length
        elif kind == 0:
            _, at = _varint(content, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            yield 0, b"", False
            return


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(content) and shift < 64:
        value |= (content[at] & 0x7F) << shift
        at += 1
        if content[at - 1] < 0x80:
            return value, at
        shift += 7
    return value, len(content) + 1 if at >= len(content) else at


class _Reader:
    """Reads spans with the protobuf library, which only who has such files needs."""

    def __init__(self) -> None:
        try:
            from google.protobuf.json_format import MessageToDict  # type: ignore[import-untyped]
            from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
            from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
            from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
            from opentelemetry.proto.resource.v1.resource_pb2 import Resource
            from opentelemetry.proto.trace.v1.trace_pb2 import Span
        except ModuleNotFoundError:
            raise MissingExtra("Reading OTLP protobuf", "otlp") from None
        self._as_dict = MessageToDict
        self._broken = (DecodeError, ValueError, RecursionError)
        self._kinds: dict[str, Any] = {
            "resource": Resource,
            "scope": InstrumentationScope,
            "span": Span,
            "log": LogRecord,
        }

    def documents(self, message: bytes) -> Iterator[dict[str, Any] | str]:
        """Yield a message's spans and log records, by scope as in OTLP's JSON; a text says what is wrong with one."""
        for number, group, _ in _fields(message):
            if number != 1:
                continue
            inside = list(_fields(group))
            resource = self._read("resource", inside, 1)
            for number_inside, scope_spans, _ in inside:
                if number_inside != 2:
                    continue
                parts = list(_fields(scope_spans))
                scope = self._read("scope", parts, 1)
                found: dict[str, list[dict[str, Any]]] = {"span": [], "log": []}
                for field, content, whole in parts:
                    if field == 2 and whole:
                        kind = "log" if content[:1] in _LOG_STARTS else "span"
                        read = self._decode(kind, content)
                        if isinstance(read, str):
                            yield read
                        else:
                            found[kind].append(read)
                if found["log"]:
                    logs = {"scope": scope, "logRecords": found["log"]}
                    yield {"resourceLogs": [{"resource": resource, "scopeLogs": [logs]}]}
                if found["span"] or not found["log"]:
                    spans = {"scope": scope, "spans": found["span"]}
                    yield {"resourceSpans": [{"resource": resource, "scopeSpans": [spans]}]}

    def _read(self, kind: str, fields: Sequence[_Field], number: int) -> dict[str, Any]:
        content = next((content for field, content, whole in fields if field == number and whole), b"")
        found = self._decode(kind, content)
        return found if isinstance(found, dict) else {}

    def _decode(self, kind: str, content: bytes) -> dict[str, Any] | str:
        try:
            found: dict[str, Any] = self._as_dict(self._kinds[kind].FromString(content))
            return found
        except self._broken as error:
            return f"{type(error).__name__}: {error}"[:200]
