"""Bodies shaped as the providers document them, and one way to read them."""

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest

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
