"""The model server of the matrix: that of `tests/providers.py`, with the apis that only the matrix needs.

It adds Bedrock's Converse and InvokeModel (JSON and AWS event streams), Cohere's Chat v1 and v2, Ollama's chat and
generate, embeddings, and what Groq and Mistral do differently from OpenAI. Markers and usage are those of `Provider`.
Paths below `/groq` and `/mistral` speak those two's dialects.
"""

import json
import struct
import threading
import zlib
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.provider_answers import anthropic_messages, openai_chat, words_of
from tests.providers import Event, Provider, Received

__all__ = ["Models", "event_stream_message"]


@dataclass
class Models(Provider):
    """A provider that speaks every api of the matrix."""

    def __post_init__(self) -> None:
        self.more_dialects = {
            "/groq/openai/v1/chat/completions": _groq,
            "/mistral/v1/chat/completions": _mistral,
            "/converse": _converse,
            "/invoke": _invoke,
            "/v2/chat": _cohere_v2,
            "/v1/chat": _cohere_v1,
            "/api/chat": _ollama_chat,
            "/api/generate": _ollama_generate,
            "/mistral/v1/embeddings": _mistral_embeddings,
            "/embeddings": _embeddings,
            "/api/embed": _ollama_embed,
        }
        # The longer path decides: OpenAI's `/v1/chat/completions` is not Cohere's `/v1/chat`.
        self.more_dialects = {"/v1/chat/completions": openai_chat, **self.more_dialects}
        self.more_dialects = dict(sorted(self.more_dialects.items(), key=lambda item: -len(item[0])))

    def forget(self) -> None:
        """Start anew: no request was seen, and `[[hold:1]]` holds again."""
        self.release()
        self._gate = threading.Event()
        self.requests.clear()
        self._seen.clear()

    def refusal(self, request: Received, status: int) -> tuple[dict[str, Any], dict[str, str]]:
        """Return body and headers of an error as the api of this path sends it."""
        text = "refused as asked"
        if request.path.startswith("/model/"):
            kind = {429: "ThrottlingException", 400: "ValidationException"}.get(status, "InternalServerException")
            return {"message": text}, {"x-amzn-errortype": kind}
        if request.path.startswith("/api/"):
            return {"error": text}, {}
        if request.path.startswith("/mistral"):
            error = {"object": "error", "message": text, "type": "rate_limit_error", "code": str(status)}
            return error, {"retry-after-ms": "1"}
        if request.path.endswith("/chat"):
            return {"message": text}, {}
        return super().refusal(request, status)


def _groq(request: Received) -> tuple[dict[str, Any], list[Event]]:
    # console.groq.com/docs/api-reference: the last chunk of a stream has its usage in x_groq, whether asked or not.
    return _ending_in_usage(request, lambda usage: {"x_groq": {"id": "req_1", "usage": usage}})


def _mistral(request: Received) -> tuple[dict[str, Any], list[Event]]:
    # docs.mistral.ai/api: usage stands in the chunk that has the finish reason.
    return _ending_in_usage(request, lambda usage: {"usage": usage})


def _ending_in_usage(
    request: Received, field: Callable[[dict[str, int]], dict[str, Any]]
) -> tuple[dict[str, Any], list[Event]]:
    """Answer as OpenAI does, but with a stream's usage in the chunk that has the finish reason."""
    request.body["stream_options"] = {"include_usage": True}
    whole, events = openai_chat(request)
    chunks = [event[1] for event in events if isinstance(event, tuple) and isinstance(event[1], dict)]
    chunks = [chunk for chunk in chunks if chunk["choices"]]
    if "usage" in whole:
        chunks[-1] |= field(whole["usage"])
    return whole, [*((None, chunk) for chunk in chunks), (None, "[DONE]")]


def _embeddings(request: Received) -> tuple[dict[str, Any], list[Event]]:
    count = request.usage["input"] if request.usage else 0
    request.usage = {"input": count, "output": 0}
    vector = {"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": [vector], "model": request.body.get("model"), "usage": usage}, []


def _mistral_embeddings(request: Received) -> tuple[dict[str, Any], list[Event]]:
    whole, _ = _embeddings(request)
    return whole | {"id": "emb_1", "usage": {**whole["usage"], "completion_tokens": 0}}, []


# Cohere. docs.cohere.com/reference/chat: `tokens` is what the model processed, `billed_units` what is paid for.


def _cohere_usage(request: Received) -> dict[str, Any]:
    if request.usage is None:
        return {}
    counts = {"input_tokens": request.usage["input"], "output_tokens": request.usage["output"]}
    billed = {"input_tokens": 7, "output_tokens": request.usage["output"]}
    return {"billed_units": billed, "tokens": counts, "cached_tokens": request.usage["cached"]}


def _cohere_v2(request: Received) -> tuple[dict[str, Any], list[Event]]:
    calls = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": '{"query": "x"}'}}
        for i, name in enumerate(request.tools)
    ]
    reason = "TOOL_CALL" if calls else "COMPLETE"
    content = [{"type": "text", "text": request.text}] if request.text else []
    message: dict[str, Any] = {"role": "assistant", "content": content} | ({"tool_calls": calls} if calls else {})
    usage = _cohere_usage(request)
    whole = {"id": "co_1", "message": message, "finish_reason": reason, "usage": usage}
    data: list[dict[str, Any]] = [
        {"type": "message-start", "id": "co_1", "delta": {"message": {"role": "assistant", "content": []}}}
    ]
    if request.text:
        start = {"content": {"type": "text", "text": ""}}
        data.append({"type": "content-start", "index": 0, "delta": {"message": start}})
        data += [
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": word}}}}
            for word in words_of(request.text)
        ]
        data.append({"type": "content-end", "index": 0})
    for index, call in enumerate(calls):
        empty = {**call, "function": {"name": request.tools[index], "arguments": ""}}
        piece = {"function": {"arguments": '{"query": "x"}'}}
        data.append({"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": empty}}})
        data.append({"type": "tool-call-delta", "index": index, "delta": {"message": {"tool_calls": piece}}})
        data.append({"type": "tool-call-end", "index": index})
    data.append({"type": "message-end", "id": "co_1", "delta": {"finish_reason": reason, "usage": usage}})
    return whole, [*((entry["type"], entry) for entry in data), (None, "[DONE]")]


def _cohere_v1(request: Received) -> tuple[dict[str, Any], list[Event]]:
    calls = [{"name": name, "parameters": {"query": "x"}} for name in request.tools]
    whole: dict[str, Any] = {"response_id": "r_1", "generation_id": "g_1", "text": request.text, "chat_history": []}
    whole |= {"finish_reason": "COMPLETE", "meta": {"api_version": {"version": "1"}, **_cohere_usage(request)}}
    if calls:
        whole["tool_calls"] = calls
    data: list[dict[str, Any]] = [{"is_finished": False, "event_type": "stream-start", "generation_id": "g_1"}]
    data += [{"is_finished": False, "event_type": "text-generation", "text": word} for word in words_of(request.text)]
    if calls:
        data.append({"is_finished": False, "event_type": "tool-calls-generation", "tool_calls": calls})
    data.append(
        {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": whole},
    )
    request.stream_type = "application/stream+json"
    return whole, [_line(entry) for entry in data]


# Ollama. docs.ollama.com/api/chat: lines of JSON; counts stand in the line with `done`.


def _ollama(
    request: Received, pieces: list[dict[str, Any]], whole: dict[str, Any]
) -> tuple[dict[str, Any], list[Event]]:
    head = {"model": request.body.get("model"), "created_at": "2025-01-01T00:00:00Z"}
    end: dict[str, Any] = {"done": True, "done_reason": "stop", "total_duration": 5_000_000, "load_duration": 1_000}
    if request.usage is not None:
        request.usage = {"input": request.usage["input"], "output": request.usage["output"]}
        end |= {"prompt_eval_count": request.usage["input"], "eval_count": request.usage["output"]}
    request.stream_type = "application/x-ndjson"
    lines = [{**head, **piece, "done": False} for piece in pieces[:-1]] + [{**head, **pieces[-1], **end}]
    return {**head, **whole, **end}, [_line(entry) for entry in lines]


def _ollama_chat(request: Received) -> tuple[dict[str, Any], list[Event]]:
    calls = [{"function": {"name": name, "arguments": {"query": "x"}}} for name in request.tools]
    message: dict[str, Any] = {"role": "assistant", "content": request.text}
    whole = {"message": message | ({"tool_calls": calls} if calls else {})}
    pieces = [{"message": {"role": "assistant", "content": word}} for word in words_of(request.text)]
    pieces += [{"message": {"role": "assistant", "content": "", "tool_calls": [call]}} for call in calls]
    return _ollama(request, [*pieces, {"message": {"role": "assistant", "content": ""}}], whole)


def _ollama_generate(request: Received) -> tuple[dict[str, Any], list[Event]]:
    pieces = [{"response": word} for word in words_of(request.text)]
    return _ollama(request, [*pieces, {"response": "", "context": [1, 2]}], {"response": request.text, "context": [1]})


def _ollama_embed(request: Received) -> tuple[dict[str, Any], list[Event]]:
    count = request.usage["input"] if request.usage else 0
    request.usage = {"input": count, "output": 0}
    return {"model": request.body.get("model"), "embeddings": [[0.25, -0.5]], "prompt_eval_count": count}, []


# Bedrock. docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html, ..._ConverseStream.html,
# ..._InvokeModelWithResponseStream.html; framing: smithy.io/2.0/aws/amazon-eventstream.html.


def event_stream_message(headers: dict[str, str], payload: bytes) -> bytes:
    """Return one message of an AWS event stream: lengths, checksums, string headers, payload."""
    packed = b"".join(
        struct.pack("!B", len(name)) + name.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for name, value in headers.items()
    )
    prelude = struct.pack("!II", 16 + len(packed) + len(payload), len(packed))
    body = prelude + struct.pack("!I", zlib.crc32(prelude)) + packed + payload
    return body + struct.pack("!I", zlib.crc32(body))


def _bedrock_event(name: str, payload: dict[str, Any]) -> bytes:
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return event_stream_message(headers, json.dumps(payload).encode())


def _converse(request: Received) -> tuple[dict[str, Any], list[Event]]:
    usage: dict[str, Any] = {}
    if (u := request.usage) is not None:
        counts = {
            "inputTokens": u["input"] - u["cached"] - u["written"],
            "outputTokens": u["output"],
            "totalTokens": u["input"] + u["output"],
            "cacheReadInputTokens": u["cached"],
            "cacheWriteInputTokens": u["written"],
        }
        usage = {"usage": counts}
    content: list[dict[str, Any]] = [{"text": request.text}] if request.text else []
    content += [
        {"toolUse": {"toolUseId": f"tooluse_{i}", "name": name, "input": {"query": "x"}}}
        for i, name in enumerate(request.tools)
    ]
    reason = "tool_use" if request.tools else "end_turn"
    metrics = {"metrics": {"latencyMs": 5}}
    whole = {"output": {"message": {"role": "assistant", "content": content}}, "stopReason": reason, **usage, **metrics}
    events: list[Event] = [_bedrock_event("messageStart", {"role": "assistant"})]
    for index, block in enumerate(content):
        deltas: list[dict[str, Any]] = [{"text": word} for word in words_of(block.get("text", ""))]
        if call := block.get("toolUse"):
            start = {"start": {"toolUse": {"toolUseId": call["toolUseId"], "name": call["name"]}}}
            events.append(_bedrock_event("contentBlockStart", {**start, "contentBlockIndex": index}))
            deltas = [{"toolUse": {"input": part}} for part in ('{"query"', ': "x"}')]
        events += [
            _bedrock_event("contentBlockDelta", {"delta": delta, "contentBlockIndex": index}) for delta in deltas
        ]
        events.append(_bedrock_event("contentBlockStop", {"contentBlockIndex": index}))
    events.append(_bedrock_event("messageStop", {"stopReason": reason}))
    request.stream_type = "application/vnd.amazon.eventstream"
    return whole, [*events, _bedrock_event("metadata", {**usage, **metrics})]


def _invoke(request: Received) -> tuple[dict[str, Any], list[Event]]:
    whole, events = anthropic_messages(request)
    request.stream_type = "application/vnd.amazon.eventstream"
    data = [json.dumps(event[1]).encode() for event in events if isinstance(event, tuple)]
    return whole, [_bedrock_event("chunk", {"bytes": b64encode(piece).decode()}) for piece in data]


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, ensure_ascii=False).encode() + b"\n"
