"""From the body of an answer, and its headers, to facts in one dialect: as one document, an array, or events.

Pure and total. Knows nothing of how an exchange ended.
"""

from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from tokenflation.sdk.wire.extract import document_reader
from tokenflation.sdk.wire.facts import Facts
from tokenflation.sdk.wire.repeats import Repeats
from tokenflation.sdk.wire.shapes import Answer
from tokenflation.sdk.wire.streams.eventstream import EXCEPTION, aws_events
from tokenflation.sdk.wire.streams.sse import block_event, json_events, sse_blocks, sse_events
from tokenflation.sdk.wire.values import loads, word
from tokenflation.sdk.wire.view import ExchangeBytes

__all__ = ["SPACE", "facts_of", "note_headers", "opening"]

SPACE = b" \t\r\n\xef\xbb\xbf"
"""What may stand before a body's first sign: blanks, or a byte order mark."""
_BATCH = 1024
"""Events of a stream that are held at once."""


def facts_of(rules: Answer, chunks: Sequence[tuple[int, bytes]], array_streams: bool) -> tuple[Facts, bool]:
    """Return the facts of an answer and whether it was streamed; the first byte tells JSON from events."""
    facts = Facts()
    begin = opening(chunks)
    if not begin:
        return facts, False
    if rules.listed is not None or (rules.apart is not None and begin == b"["):
        _add_array(facts, rules, loads(b"".join([chunk for _, chunk in chunks])) if begin == b"[" else None)
        return facts, False
    if begin == b"\0":  # the length of a message, four bytes of which the first is 0
        take = _event_reader(facts, rules)
        for event in aws_events(chunks):
            take(*event)
        return facts, True
    if begin not in (b"{", b"["):
        _add_sse(facts, rules, chunks)
        return facts, begin != b"<"  # a page of HTML
    if begin == b"{":
        document = loads(chunks[0][1] if len(chunks) == 1 else b"".join([chunk for _, chunk in chunks]))
        if type(document) is dict:
            document_reader(rules)(facts, document, "", 0)
            facts.ended = True
            return facts, False
    take = _event_reader(facts, rules)
    repeats = Repeats(facts, rules, lambda time_ns, data: take(time_ns, b"", data))
    for event in json_events(chunks):
        repeats.event(event.time_ns, event.data)
    repeats.finish()
    if begin == b"[" and not array_streams:
        facts.ended = facts.ended or loads(b"".join([chunk for _, chunk in chunks])) is not None
        return facts, False
    return facts, array_streams or facts.documents > 1


def _add_array(facts: Facts, rules: Answer, entries: Any) -> None:
    """Take in an array whose entries answer one request together."""
    if type(entries) is not list:
        return
    if rules.listed is not None:
        document_reader(rules)(facts, {rules.listed: entries}, "", 0)
    for number, entry in enumerate(entries if rules.listed is None else ()):
        if rules.apart is not None and type(entry) is dict:
            document_reader(rules)(facts, {**entry, rules.apart: number}, "", 0)
    facts.ended = True


def opening(chunks: Iterable[tuple[int, bytes]]) -> bytes:
    """Return the first byte that is not space; empty if there is none."""
    for _, chunk in chunks:
        if start := chunk.lstrip(SPACE):
            return start[:1]
    return b""


def _add_sse(facts: Facts, rules: Answer, chunks: Sequence[tuple[int, bytes]]) -> None:
    take = _event_reader(facts, rules)
    blocks = sse_blocks(chunks)
    if blocks is None:
        for event in sse_events(chunks):
            take(*event)
        return

    def take_block(time_ns: int, block: bytes) -> None:
        event = block_event(block)
        if event is not None:
            take(time_ns, *event)

    repeats = Repeats(facts, rules, take_block)
    some = iter(blocks)
    while batch := list(islice(some, _BATCH)):
        repeats.events(batch)
    repeats.finish()


def _event_reader(facts: Facts, rules: Answer) -> Callable[[int, bytes, bytes], None]:
    """Return the function that takes in an event of a stream: when it came, its name, its data."""
    add, terminator, blob = document_reader(rules), rules.terminator, rules.blob

    def take(time_ns: int, name: bytes, data: bytes) -> None:
        if terminator is not None:
            if facts.terminated:
                return
            if data.strip() == terminator:
                facts.ended = facts.terminated = True
                return
        document = loads(data)
        if type(document) is not dict:
            for line in data.split(b"\n") if b"\n" in data else ():  # some servers leave out the blank lines
                take(time_ns, name, line)
            return
        if blob is not None:
            document = _unwrapped(document, blob)
        if name.startswith(EXCEPTION):
            facts.error = word(name[len(EXCEPTION) :].decode("utf-8", "replace")) or "error"
        add(facts, document, name.decode("utf-8", "replace") if name else "", time_ns)

    return take


def _unwrapped(document: dict[str, Any], key: str) -> dict[str, Any]:
    """Return the document that stands in base64 under `key`, or the document itself."""
    blob = document.get(key)
    if type(blob) is not str:
        return document
    try:
        inner = loads(b64decode(blob))
    except ValueError:
        return document
    return inner if type(inner) is dict else document


def note_headers(facts: Facts, rules: Answer, view: ExchangeBytes) -> None:
    """Take in what the headers of the answer say: counts, and the class of a failure."""
    for name in rules.headers:
        value = view.response_headers.get(name)
        if type(value) is str and value.isascii() and value.isdecimal() and len(value) <= 16:
            facts.usage = {**facts.usage, name: int(value)}
    if rules.error_header is not None and (view.status_code or 0) >= 400:
        value = view.response_headers.get(rules.error_header)
        if type(value) is str and facts.error is None:
            facts.error = word(value.partition(":")[0])  # AWS appends the address of its documentation
