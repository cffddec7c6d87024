"""Bodies shaped as the providers document them, and one way to read them."""

import itertools
import json
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import httpx2
import pytest
from tests.stored import rows

from tokenflation.sdk import Instrumentation
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read

REQUESTS: dict[str, dict[str, Any]] = {
    "openai.chat": {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
    "openai.responses": {"model": "m", "input": "hi"},
    "anthropic.messages": {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    "google.generate_content": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
PATHS = {
    "openai.chat": "/v1/chat/completions",
    "openai.responses": "/v1/responses",
    "anthropic.messages": "/v1/messages?beta=true",
    "google.generate_content": "/v1beta/models/gemini-x:generateContent",
}

Exchange = Callable[..., Reading]
Sent = Callable[..., dict[str, Any]]


@pytest.fixture
def exchange() -> Exchange:
    """Read one answer: a dict is a JSON body, a list is a stream of one event per chunk, 1 ns apart."""

    def reading(api: str, answer: Any, *, request: dict[str, Any] | None = None, **view: Any) -> Reading:
        fields: dict[str, Any] = {"path": PATHS.get(api, ""), "host": "gateway.test", "status_code": 200, **view}
        body = json.dumps(REQUESTS[api] if request is None else request).encode()
        found = read(ExchangeBytes(api=api, request_body=body, chunks=_chunks(answer), **fields), key=b"key")
        assert found is not None
        return found

    return reading


def _chunks(answer: Any) -> list[tuple[int, bytes]]:
    if isinstance(answer, list):
        return [(at, event_bytes(event)) for at, event in enumerate(answer)]
    return [(0, answer if isinstance(answer, bytes) else json.dumps(answer).encode())]


def event_bytes(event: Any) -> bytes:
    if isinstance(event, bytes):
        return event
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


@pytest.fixture
def chat_stream() -> Callable[..., list[Any]]:
    """Make the events of a chat stream out of deltas, with a finish reason, extra events and the terminator."""

    def events(deltas: Iterable[dict[str, Any]], *more: Any, done: bool = True) -> list[Any]:
        chunks: list[Any] = [{"id": "c", "model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
        finish = {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
        return [*chunks, finish, *more, *(["[DONE]"] if done else [])]

    return events


@pytest.fixture
def messages_stream() -> Callable[..., list[Any]]:
    """Make the events of an Anthropic stream out of its two usage objects."""

    def events(start: dict[str, Any], delta: dict[str, Any]) -> list[Any]:
        return [
            {"type": "message_start", "message": {"id": "msg", "model": "m", "content": [], "usage": start}},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": delta},
            {"type": "message_stop"},
        ]

    return events


class Stream(list[Any]):
    """Events of a stream, where a list is an answer that is an array."""


@pytest.fixture
def sent(handle: Instrumentation) -> Sent:
    """Send a request with httpx, by either version of it, and return the row of its call; answers come cut anywhere."""
    libraries = itertools.cycle((httpx, httpx2))
    seen: set[str] = set()

    def row(url: str, asked: dict[str, Any], answer: Any, **headers: str) -> dict[str, Any]:
        library: Any = next(libraries)
        body = b"".join(map(event_bytes, answer)) if isinstance(answer, Stream) else json.dumps(answer).encode()
        pieces = (body[at : at + 23] for at in range(0, len(body), 23))
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        response = library.Response(200, headers={"content-type": "application/json", **said}, content=pieces)
        with library.Client(transport=library.MockTransport(lambda _: response)) as client:
            client.post(url, json=asked)
        assert handle.flush()
        new = [one for one in rows(handle.store) if one["call_id"] not in seen]
        seen.update(one["call_id"] for one in new)
        return {**new[0], "extra": json.loads(new[0]["extra"])} if new else {}

    return row


def tokens(row: dict[str, Any]) -> tuple[int | None, ...]:
    """Return the counts of a row: input, cache read, cache write, output, reasoning."""
    return tuple(row[f"{name}_tokens"] for name in ("input", "cache_read", "cache_write", "output", "reasoning"))
