"""What the test provider answers, in four dialects: pure functions of a request. Knows nothing of sockets."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

__all__ = [
    "DEFAULT_TEXT",
    "DEFAULT_USAGE",
    "DIALECTS",
    "Dialect",
    "Event",
    "Received",
    "anthropic_messages",
    "openai_chat",
    "words_of",
]

DEFAULT_TEXT = "The answer is 42, naïvely – 答えは四十二。"
DEFAULT_USAGE = {"input": 200, "cached": 64, "written": 0, "output": 150, "reasoning": 100}

Event = tuple[str | None, Any] | bytes
"""Name (None for events without one) and data of one server-sent event; data of type str goes out as it is.

Bytes are a piece of a body of another kind, such as a line of JSON.
"""


@dataclass
class Received:
    """One request that arrived, and what was answered."""

    method: str
    path: str
    headers: dict[str, str]
    """By lower-case name."""
    raw: bytes
    body: dict[str, Any]
    markers: list[tuple[str, str]]
    status: int = 0
    usage: dict[str, int] | None = None
    """Totals of the answer, as in `DEFAULT_USAGE`; None for errors and answers without usage."""
    stream_type: str = "text/event-stream; charset=utf-8"
    """Content type of a streamed answer."""

    def marker(self, name: str, default: str = "") -> str:
        """Return the value of the last marker of this name."""
        return next((value for key, value in reversed(self.markers) if key == name), default)

    @property
    def tools(self) -> list[str]:
        """Names of the tools to ask for."""
        return [value for key, value in self.markers if key == "tool"]

    @property
    def text(self) -> str:
        return self.marker("say", "" if self.tools else DEFAULT_TEXT)

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream")) or re.search(":streamGen|-stream$", self.path) is not None


def words_of(text: str) -> Iterator[str]:
    """Return the words of a text with the spaces before them, as streams bring them."""
    return iter(re.findall(r"\s*\S+\s*$|\s*\S+", text))


def openai_chat(request: Received) -> tuple[dict[str, Any], list[Event]]:
    head = {"id": "chatcmpl-1", "created": 1_760_000_000, "system_fingerprint": "fp"}
    head["model"] = request.body.get("model")
    usage = None
    if (u := request.usage) is not None:
        usage = {
            "prompt_tokens": u["input"],
            "completion_tokens": u["output"],
            "total_tokens": u["input"] + u["output"],
            "prompt_tokens_details": {"cached_tokens": u["cached"]},
            "completion_tokens_details": {"reasoning_tokens": u["reasoning"]},
        }
    calls = [
        {"index": i, "id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": '{"query": "x"}'}}
        for i, name in enumerate(request.tools)
    ]
    reason = "tool_calls" if calls else "stop"
    message: dict[str, Any] = {"role": "assistant", "content": request.text or None}
    if calls:
        message["tool_calls"] = [{key: value for key, value in call.items() if key != "index"} for call in calls]
    choice = {"index": 0, "message": message, "finish_reason": reason}
    whole = {**head, "object": "chat.completion", "choices": [choice]} | ({"usage": usage} if usage else {})
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    deltas += [{"content": word} for word in words_of(request.text)] + [{"tool_calls": [call]} for call in calls]
    chunk = {**head, "object": "chat.completion.chunk"}
    ends = [(delta, None) for delta in deltas] + [({}, reason)]
    events: list[Event] = [
        (None, {**chunk, "choices": [{"index": 0, "delta": delta, "finish_reason": end}]}) for delta, end in ends
    ]
    if usage and (request.body.get("stream_options") or {}).get("include_usage"):
        events.append((None, {**chunk, "choices": [], "usage": usage}))
    elif request.stream:
        request.usage = None
    return whole, [*events, (None, "[DONE]")]


def _openai_responses(request: Received) -> tuple[dict[str, Any], list[Event]]:
    usage = None
    if (u := request.usage) is not None:
        usage = {
            "input_tokens": u["input"],
            "input_tokens_details": {"cached_tokens": u["cached"], "cache_write_tokens": u["written"]},
            "output_tokens": u["output"],
            "output_tokens_details": {"reasoning_tokens": u["reasoning"]},
            "total_tokens": u["input"] + u["output"],
        }
    text = {"type": "output_text", "text": request.text, "annotations": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [text]}
    output: list[dict[str, Any]] = [message] if request.text else []
    output += [
        {"id": f"fc_{i}", "type": "function_call", "call_id": f"call_{i}", "name": name, "arguments": '{"query": "x"}'}
        for i, name in enumerate(request.tools)
    ]
    base = {"id": "resp_1", "object": "response", "created_at": 1_760_000_000, "model": request.body.get("model")}
    base |= {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "metadata": {}}
    done = {**base, "status": "completed", "output": output, "usage": usage}
    data: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**base, "status": "in_progress", "output": [], "usage": None}}
    ]
    for index, item in enumerate(output):
        at = {"output_index": index, "item_id": item["id"]}
        part_at = {**at, "content_index": 0}
        if item["type"] == "message":
            data.append({"type": "response.output_item.added", "output_index": index, "item": {**item, "content": []}})
            data.append({"type": "response.content_part.added", **part_at, "part": {**text, "text": ""}})
            delta_at = {"type": "response.output_text.delta", **part_at, "logprobs": []}
            data += [{**delta_at, "delta": word} for word in words_of(request.text)]
            data.append({"type": "response.output_text.done", **part_at, "text": request.text, "logprobs": []})
            data.append({"type": "response.content_part.done", **part_at, "part": text})
        else:
            empty = {**item, "arguments": ""}
            data.append({"type": "response.output_item.added", "output_index": index, "item": empty})
            arguments = {"arguments": item["arguments"]}
            data.append({"type": "response.function_call_arguments.delta", **at, "delta": item["arguments"]})
            data.append({"type": "response.function_call_arguments.done", **at, **arguments, "name": item["name"]})
        data.append({"type": "response.output_item.done", "output_index": index, "item": item})
    data.append({"type": "response.completed", "response": done})
    return done, [(entry["type"], {**entry, "sequence_number": number}) for number, entry in enumerate(data)]


def anthropic_messages(request: Received) -> tuple[dict[str, Any], list[Event]]:
    u = request.usage
    prompt = u and {
        "input_tokens": u["input"] - u["cached"] - u["written"],
        "cache_read_input_tokens": u["cached"],
        "cache_creation_input_tokens": u["written"],
    }
    content: list[dict[str, Any]] = [{"type": "text", "text": request.text}] if request.text else []
    content += [
        {"type": "tool_use", "id": f"toolu_{i}", "name": name, "input": {"query": "x"}}
        for i, name in enumerate(request.tools)
    ]
    reason = "tool_use" if request.tools else "end_turn"
    base = {"id": "msg_1", "type": "message", "role": "assistant", "model": request.body.get("model")}
    whole = {**base, "content": content, "stop_reason": reason, "stop_sequence": None}
    start = {**base, "content": [], "stop_reason": None, "stop_sequence": None}
    delta = {"stop_reason": reason, "stop_sequence": None}
    end: dict[str, Any] = {"type": "message_delta", "delta": delta, "usage": {}}
    if u and prompt:
        whole["usage"] = {**prompt, "output_tokens": u["output"]}
        start["usage"] = {**prompt, "output_tokens": 1}  # the placeholder that the real API sends
        end["usage"] = {"output_tokens": u["output"]}
    data: list[dict[str, Any]] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(content):
        empty = {**block, "text": ""} if block["type"] == "text" else {**block, "input": {}}
        data.append({"type": "content_block_start", "index": index, "content_block": empty})
        deltas = [{"type": "text_delta", "text": word} for word in words_of(block.get("text", ""))]
        deltas = deltas or [{"type": "input_json_delta", "partial_json": part} for part in ('{"query"', ': "x"}')]
        data += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        data.append({"type": "content_block_stop", "index": index})
    return whole, [(str(entry["type"]), entry) for entry in [*data, end, {"type": "message_stop"}]]


def _google(request: Received) -> tuple[dict[str, Any], list[Event]]:
    usage = {}
    if (u := request.usage) is not None:
        counts = {
            "promptTokenCount": u["input"],
            "cachedContentTokenCount": u["cached"],
            "candidatesTokenCount": u["output"] - u["reasoning"],
            "thoughtsTokenCount": u["reasoning"],
            "totalTokenCount": u["input"] + u["output"],
        }
        usage = {"usageMetadata": counts}
    parts: list[dict[str, Any]] = [{"text": request.text}] if request.text else []
    parts += [{"functionCall": {"name": name, "args": {"query": "x"}}} for name in request.tools]
    model = request.path.rpartition("/")[2].partition(":")[0]
    base = {"responseId": "resp_1", "modelVersion": model}

    def answer(some: list[dict[str, Any]], reason: str | None) -> dict[str, Any]:
        candidate: dict[str, Any] = {"content": {"role": "model", "parts": some}, "index": 0}
        return {**base, "candidates": [candidate | ({"finishReason": reason} if reason else {})], **usage}

    words = [{"text": word} for word in words_of(request.text)]
    last = answer(parts[1 if words else 0 :] or [{"text": ""}], "STOP")  # the real one's last chunk has an empty text
    chunks = [*(answer([part], None) for part in words), last]
    return answer(parts, "STOP"), [(None, chunk) for chunk in chunks]


# What answers a request: returns the whole answer, and the events it is streamed as.
Dialect = Callable[[Received], tuple[dict[str, Any], list[Event]]]
DIALECTS: dict[str, Dialect] = {
    "/chat/completions": openai_chat,
    "/responses": _openai_responses,
    "/v1/messages": anthropic_messages,
    "enerateContent": _google,
}
