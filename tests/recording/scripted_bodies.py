"""Bodies of answers, as providers document them, for `scripted.py`: short, with known usage."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["CHAT_USAGE", "USAGE", "Event", "chat", "chat_chunk", "chat_stream", "encode", "messages_stream", "response"]

Event = Mapping[str, Any] | str
"""Data of one server-sent event, its `type` is its name; a text goes out as it is."""

CHAT_USAGE = {
    "prompt_tokens": 200,
    "completion_tokens": 150,
    "total_tokens": 350,
    "prompt_tokens_details": {"cached_tokens": 64},
    "completion_tokens_details": {"reasoning_tokens": 100},
}
USAGE = {
    "input_tokens": 200,
    "input_tokens_details": {"cached_tokens": 64},
    "output_tokens": 150,
    "output_tokens_details": {"reasoning_tokens": 100},
    "total_tokens": 350,
}
"""Of the Responses API."""


def encode(event: Event) -> bytes:
    """Return one server-sent event."""
    if isinstance(event, str):
        return f"data: {event}\n\n".encode()
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event)}\n\n".encode()


def chat(text: str = "yes") -> dict[str, Any]:
    """Return a whole chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": CHAT_USAGE}


def chat_chunk(delta: Mapping[str, Any], finish: str | None = None) -> dict[str, Any]:
    """Return one chunk of a streamed chat completion."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}


def chat_stream(*deltas: Mapping[str, Any]) -> list[Event]:
    """Return a whole streamed chat completion with usage: the role alone, the deltas, the end."""
    usage = {**chat_chunk({}), "choices": [], "usage": CHAT_USAGE}
    opening: Mapping[str, Any] = {"role": "assistant", "content": ""}
    return [*(chat_chunk(delta) for delta in (opening, *deltas)), chat_chunk({}, "stop"), usage, "[DONE]"]


def messages_stream() -> list[Event]:
    """Return a whole streamed answer of Anthropic's Messages API: 200 tokens in (64 cached), 150 out."""
    usage = {"input_tokens": 136, "cache_read_input_tokens": 64, "cache_creation_input_tokens": 0, "output_tokens": 1}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": usage}
    delta = {"stop_reason": "end_turn", "stop_sequence": None}
    return [
        {"type": "message_start", "message": {**message, "stop_reason": None, "stop_sequence": None}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "yes"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 150}},
        {"type": "message_stop"},
    ]


def response(status: str, *, response_id: str = "resp_a", output: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a response object of the Responses API; only a completed one has usage."""
    head = {"id": response_id, "object": "response", "created_at": 1, "model": "m", "background": True}
    rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "metadata": {}}
    usage = USAGE if status == "completed" else None
    return {**head, **rest, "status": status, "output": list(output), "usage": usage}
