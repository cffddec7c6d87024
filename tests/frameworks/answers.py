"""One answer of the scripted model in each dialect, whole and as the events of a stream. Knows nothing of plans.

The shapes are those of `tests/provider_answers.py`, with ids of their own, any arguments, and no pieces.
"""

import json
from dataclasses import dataclass
from typing import Any

from tests.providers import Event

__all__ = ["Answer", "Asked", "chat", "gemini", "messages", "responses"]

Rendered = tuple[dict[str, Any], list[Event]]


@dataclass(frozen=True)
class Asked:
    """One tool call as it leaves: the framework's name of the tool, and arguments that fit its schema."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What the model says."""

    response_id: str
    model: str
    text: str
    asked: tuple[Asked, ...]
    input_tokens: int
    output_tokens: int


def chat(answer: Answer) -> Rendered:
    """OpenAI's chat completions."""
    head = {"id": answer.response_id, "created": 1_760_000_000, "model": answer.model}
    total = answer.input_tokens + answer.output_tokens
    usage = {"prompt_tokens": answer.input_tokens, "completion_tokens": answer.output_tokens, "total_tokens": total}
    calls = [
        {"id": one.tool_call_id, "type": "function",
         "function": {"name": one.name, "arguments": json.dumps(one.arguments)}}
        for one in answer.asked
    ]  # fmt: skip
    message: dict[str, Any] = {"role": "assistant", "content": answer.text or None}
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": answer.text or None}]
    if calls:
        message["tool_calls"] = calls
        deltas += [{"tool_calls": [{"index": index, **call}]} for index, call in enumerate(calls)]
    reason = "tool_calls" if calls else "stop"
    choice = {"index": 0, "message": message, "finish_reason": reason}
    chunk = {**head, "object": "chat.completion.chunk"}
    events: list[Event] = [
        (None, {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]})
        for delta, end in [*((delta, None) for delta in deltas), ({}, reason)]
    ]
    end: list[Event] = [(None, {**chunk, "choices": [], "usage": usage}), (None, "[DONE]")]
    return {**head, "object": "chat.completion", "choices": [choice], "usage": usage}, [*events, *end]


def responses(answer: Answer) -> Rendered:
    """OpenAI's Responses."""
    usage = {
        "input_tokens": answer.input_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": answer.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": answer.input_tokens + answer.output_tokens,
    }
    text = {"type": "output_text", "text": answer.text, "annotations": []}
    head = {"type": "message", "role": "assistant", "status": "completed"}
    output: list[dict[str, Any]] = [{"id": f"msg_{answer.response_id}", **head, "content": [text]}]
    output = (output if answer.text else []) + [
        {"id": f"fc_{one.tool_call_id}", "type": "function_call", "status": "completed", "call_id": one.tool_call_id,
         "name": one.name, "arguments": json.dumps(one.arguments)}
        for one in answer.asked
    ]  # fmt: skip
    base = {"id": answer.response_id, "object": "response", "created_at": 1_760_000_000, "model": answer.model}
    base |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "metadata": {}}
    done = {**base, "status": "completed", "output": output, "usage": usage}
    started = {**base, "status": "in_progress", "output": [], "usage": None}
    data: list[dict[str, Any]] = [{"type": "response.created", "response": started}]
    for index, item in enumerate(output):
        at = {"output_index": index, "item_id": item["id"]}
        empty: dict[str, Any] = {"content": []} if item["type"] == "message" else {"arguments": ""}
        begun = {**item, **empty, "status": "in_progress"}
        data.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        data += _said(at, text) if item["type"] == "message" else _called(at, item)
        data.append({"type": "response.output_item.done", "output_index": index, "item": item})
    data.append({"type": "response.completed", "response": done})
    return done, [(entry["type"], {**entry, "sequence_number": number}) for number, entry in enumerate(data)]


def _said(at: dict[str, Any], text: dict[str, Any]) -> list[dict[str, Any]]:
    at = {**at, "content_index": 0}
    return [
        {"type": "response.content_part.added", **at, "part": {**text, "text": ""}},
        {"type": "response.output_text.delta", **at, "delta": text["text"], "logprobs": []},
        {"type": "response.output_text.done", **at, "text": text["text"], "logprobs": []},
        {"type": "response.content_part.done", **at, "part": text},
    ]


def _called(at: dict[str, Any], item: dict[str, Any]) -> list[dict[str, Any]]:
    """Return how a function call's arguments come: a client that streams may read them here alone."""
    kind = "response.function_call_arguments"
    return [
        {"type": f"{kind}.delta", **at, "delta": item["arguments"]},
        {"type": f"{kind}.done", **at, "name": item["name"], "arguments": item["arguments"]},
    ]


def messages(answer: Answer) -> Rendered:
    """Anthropic's Messages."""
    content: list[dict[str, Any]] = [{"type": "text", "text": answer.text}] if answer.text else []
    content += [
        {"type": "tool_use", "id": one.tool_call_id, "name": one.name, "input": one.arguments} for one in answer.asked
    ]
    reason = {"stop_reason": "tool_use" if answer.asked else "end_turn", "stop_sequence": None}
    base = {"id": answer.response_id, "type": "message", "role": "assistant", "model": answer.model}
    usage = {"input_tokens": answer.input_tokens, "output_tokens": answer.output_tokens}
    start = {**base, "content": [], "stop_reason": None, "stop_sequence": None, "usage": {**usage, "output_tokens": 1}}
    data: list[dict[str, Any]] = [{"type": "message_start", "message": start}]
    for index, block in enumerate(content):
        is_text = block["type"] == "text"
        empty = {**block, "text": ""} if is_text else {**block, "input": {}}
        delta = {"type": "text_delta", "text": answer.text}
        if not is_text:
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        data.append({"type": "content_block_start", "index": index, "content_block": empty})
        data.append({"type": "content_block_delta", "index": index, "delta": delta})
        data.append({"type": "content_block_stop", "index": index})
    data.append({"type": "message_delta", "delta": reason, "usage": {"output_tokens": answer.output_tokens}})
    events: list[Event] = [(str(entry["type"]), entry) for entry in [*data, {"type": "message_stop"}]]
    return {**base, "content": content, **reason, "usage": usage}, events


def gemini(answer: Answer) -> Rendered:
    """Google's generateContent; its tool calls have no ids."""
    parts: list[dict[str, Any]] = [{"text": answer.text}] if answer.text else []
    parts += [{"functionCall": {"name": one.name, "args": one.arguments}} for one in answer.asked]
    counts = {
        "promptTokenCount": answer.input_tokens,
        "candidatesTokenCount": answer.output_tokens,
        "totalTokenCount": answer.input_tokens + answer.output_tokens,
    }
    candidate = {"content": {"role": "model", "parts": parts}, "index": 0, "finishReason": "STOP"}
    whole = {"responseId": answer.response_id, "modelVersion": answer.model, "candidates": [candidate]}
    return {**whole, "usageMetadata": counts}, [(None, {**whole, "usageMetadata": counts})]
