"""One request and answer of each api, plain and streamed, in the shapes that the providers' references document."""

import json
from typing import Any

__all__ = ["SAMPLES"]

Sample = tuple[str, str, Any, Any]
"""Method, path, request body (JSON), answer (JSON, or the text of an event stream)."""


def _events(*documents: Any, named: bool = False, done: bool = False) -> str:
    lines = [
        (f"event: {one['type']}\n" if named else "") + f"data: {json.dumps(one, separators=(',', ':'))}\n\n"
        for one in documents
    ]
    return "".join(lines) + ("data: [DONE]\n\n" if done else "")


_TOOL = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}
_CHAT = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be terse."},
        {"role": "user", "content": [{"type": "text", "text": "Where?"}]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "Paris"},
    ],
    "tools": [_TOOL],
}
_CHAT_USAGE = {
    "prompt_tokens": 200,
    "completion_tokens": 150,
    "total_tokens": 350,
    "prompt_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 10, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 100, "accepted_prediction_tokens": 0},
}
_CHAT_ANSWER = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m-1",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "Here.",
                "tool_calls": [
                    {"id": "c2", "type": "function", "function": {"name": "look", "arguments": '{"q":"x"}'}}
                ],
            },
        }
    ],
    "usage": _CHAT_USAGE,
}


def _chunk(delta: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "model": "m-1",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        **more,
    }


_CHAT_STREAM = _events(
    _chunk({"role": "assistant", "content": ""}),
    _chunk({"reasoning_content": "hm"}),
    _chunk({"content": "He"}),
    _chunk({"tool_calls": [{"index": 0, "id": "c2", "function": {"name": "look", "arguments": ""}}]}),
    _chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"q"'}}]}),
    _chunk({}, "tool_calls"),
    {"id": "chatcmpl-1", "model": "m-1", "choices": [], "usage": _CHAT_USAGE},
    done=True,
)
_RESPONSES = {
    "model": "m",
    "instructions": "Be terse.",
    "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Where?"}]},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "Paris"},
    ],
    "tools": [{"type": "function", "name": "look", "parameters": {"type": "object"}}],
}
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "m-1",
    "previous_response_id": None,
    "output": [
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "id": "fc_1", "call_id": "c2", "name": "look", "arguments": "{}"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Here."}]},
    ],
    "usage": {
        "input_tokens": 200,
        "input_tokens_details": {"cached_tokens": 64},
        "output_tokens": 150,
        "output_tokens_details": {"reasoning_tokens": 100},
        "total_tokens": 350,
    },
}
_RESPONSES_STREAM = _events(
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress", "output": [], "usage": None}},
    {"type": "response.output_item.added", "output_index": 0, "item": _RESPONSE["output"][1]},
    {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "{"},
    {"type": "response.output_text.delta", "output_index": 1, "content_index": 0, "delta": "He"},
    {"type": "response.completed", "response": _RESPONSE},
    named=True,
)
_MESSAGES = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "Be terse.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "user", "content": "Where?"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Paris"}]},
    ],
    "tools": [{"name": "look", "input_schema": {"type": "object"}}],
}
_MESSAGES_USAGE = {
    "input_tokens": 50,
    "cache_read_input_tokens": 1000,
    "cache_creation_input_tokens": 300,
    "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 0},
    "output_tokens": 150,
    "output_tokens_details": {"thinking_tokens": 90},
    "iterations": [
        {"type": "compaction", "input_tokens": 9, "output_tokens": 3},
        {"type": "message", "input_tokens": 50},
    ],
}
_MESSAGE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m-1",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
        {"type": "tool_use", "id": "t2", "name": "look", "input": {"q": "x"}},
    ],
    "stop_reason": "tool_use",
    "usage": _MESSAGES_USAGE,
}
_MESSAGES_STREAM = _events(
    {
        "type": "message_start",
        "message": {**_MESSAGE, "content": [], "usage": {"input_tokens": 50, "output_tokens": 1}},
    },
    {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t2", "name": "look"}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"q"'}},
    {"type": "content_block_stop", "index": 0},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": _MESSAGES_USAGE},
    {"type": "message_stop"},
    named=True,
)
_GEMINI = {
    "systemInstruction": {"parts": [{"text": "Be terse."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "Where?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look", "args": {}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look", "response": {"r": "Paris"}}}]},
    ],
    "tools": [{"functionDeclarations": [{"name": "look"}]}],
}
_GEMINI_ANSWER = {
    "candidates": [
        {
            "content": {
                "role": "model",
                "parts": [{"text": "hm", "thought": True}, {"functionCall": {"name": "look", "args": {"q": "x"}}}],
            },
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 200,
        "cachedContentTokenCount": 64,
        "candidatesTokenCount": 50,
        "thoughtsTokenCount": 100,
        "toolUsePromptTokenCount": 7,
        "totalTokenCount": 357,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 200}],
    },
    "modelVersion": "m-1",
    "responseId": "r1",
}
_CONVERSE_ANSWER = {
    "output": {
        "message": {
            "role": "assistant",
            "content": [{"text": "Here."}, {"toolUse": {"toolUseId": "t1", "name": "look", "input": {}}}],
        }
    },
    "stopReason": "tool_use",
    "usage": {"inputTokens": 50, "outputTokens": 150, "totalTokens": 200, "cacheReadInputTokens": 1000},
    "metrics": {"latencyMs": 9},
}
_COHERE_USAGE = {
    "billed_units": {"input_tokens": 40, "output_tokens": 10},
    "tokens": {"input_tokens": 200, "output_tokens": 15},
    "cached_tokens": 16,
}

_LLAMA = {
    "content": "Here.",
    "stop": True,
    "model": "m",
    "tokens_predicted": 51,
    "tokens_evaluated": 5,
    "stop_type": "eos",
    "timings": {"cache_n": 4, "prompt_n": 1},
}
_SGLANG = {
    "text": "Here.",
    "meta_info": {
        "id": "r",
        "finish_reason": {"type": "stop"},
        "prompt_tokens": 7,
        "completion_tokens": 8,
        "cached_tokens": 1,
        "reasoning_tokens": 3,
    },
}
_OCI_CHOICE = {
    "index": 0,
    "finishReason": "stop",
    "message": {
        "role": "ASSISTANT",
        "content": [{"type": "TEXT", "text": "Here."}],
        "toolCalls": [{"id": "c", "type": "FUNCTION", "name": "look", "arguments": "{}"}],
    },
}
_OCI_USAGE = {
    "promptTokens": 50,
    "completionTokens": 20,
    "totalTokens": 70,
    "completionTokensDetails": {"reasoningTokens": 5},
    "promptTokensDetails": {"cachedTokens": 10},
}
SAMPLES: tuple[Sample, ...] = (
    ("POST", "/v1/chat/completions", _CHAT, _CHAT_ANSWER),
    ("POST", "/v1/chat/completions", {**_CHAT, "stream": True}, _CHAT_STREAM),
    ("POST", "/v1/chat/completions", _CHAT, {"error": {"message": "no", "type": "rate_limit_error", "code": "x"}}),
    ("POST", "/v1/responses", _RESPONSES, _RESPONSE),
    ("POST", "/v1/responses", {**_RESPONSES, "stream": True}, _RESPONSES_STREAM),
    ("GET", "/v1/responses/resp_1", None, _RESPONSE),
    ("POST", "/v1/messages", _MESSAGES, _MESSAGE),
    ("POST", "/v1/messages", {**_MESSAGES, "stream": True}, _MESSAGES_STREAM),
    ("POST", "/v1beta/models/m:generateContent", _GEMINI, _GEMINI_ANSWER),
    ("POST", "/v1beta/models/m:streamGenerateContent", _GEMINI, _events(_GEMINI_ANSWER, _GEMINI_ANSWER)),
    ("POST", "/v1beta/models/m:streamGenerateContent", _GEMINI, [_GEMINI_ANSWER, _GEMINI_ANSWER]),
    (
        "POST",
        "/v1/completions",
        {"model": "m", "prompt": "Where?"},
        {
            "id": "cmpl-1",
            "model": "m-1",
            "choices": [{"text": "Here.", "index": 0, "finish_reason": "stop"}],
            "usage": _CHAT_USAGE,
        },
    ),
    (
        "POST",
        "/v1/embeddings",
        {"model": "m", "input": ["a", "b"]},
        {"model": "m-1", "data": [{"embedding": [0.1]}], "usage": {"prompt_tokens": 8, "total_tokens": 8}},
    ),
    (
        "POST",
        "/model/m/converse",
        {
            "system": [{"text": "Be terse."}],
            "messages": [{"role": "user", "content": [{"text": "Where?"}]}],
            "toolConfig": {"tools": [{"toolSpec": {"name": "look", "inputSchema": {"json": {}}}}]},
        },
        _CONVERSE_ANSWER,
    ),
    ("POST", "/model/anthropic.claude-x/invoke", {**_MESSAGES, "anthropic_version": "bedrock-2023-05-31"}, _MESSAGE),
    (
        "POST",
        "/v2/chat",
        {"model": "m", "messages": [{"role": "user", "content": "Where?"}]},
        {
            "id": "1",
            "finish_reason": "COMPLETE",
            "message": {"role": "assistant", "content": [{"type": "text", "text": "Here."}]},
            "usage": _COHERE_USAGE,
        },
    ),
    (
        "POST",
        "/v2/chat",
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Where?"}]},
        _events(
            {"type": "message-start", "id": "1"},
            {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "He"}}}},
            {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": _COHERE_USAGE}},
            named=True,
        ),
    ),
    (
        "POST",
        "/v1/chat",
        {"model": "m", "message": "Where?", "chat_history": []},
        {"text": "Here.", "generation_id": "g", "finish_reason": "COMPLETE", "meta": _COHERE_USAGE},
    ),
    (
        "POST",
        "/api/chat",
        {"model": "m", "messages": [{"role": "user", "content": "Where?"}], "stream": False},
        {
            "model": "m",
            "message": {"role": "assistant", "content": "Here.", "thinking": "hm"},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 20,
            "eval_count": 15,
        },
    ),
    (
        "POST",
        "/api/generate",
        {"model": "m", "prompt": "Where?"},
        '{"model":"m","response":"He","done":false}\n{"model":"m","response":"","done":true,"prompt_eval_count":20,"eval_count":5}\n',
    ),
    ("POST", "/completion", {"prompt": ["Where?", "When?"]}, [_LLAMA, _LLAMA]),
    ("POST", "/generate", {"text": ["Where?", "When?"], "sampling_params": {}}, [_SGLANG, _SGLANG]),
    ("POST", "/generate", {"text": "Where?", "stream": True}, _events(_SGLANG, _SGLANG, done=True)),
    (
        "POST",
        "/completion",
        {"prompt": ["Where?", "When?"], "stream": True},
        _events({**_LLAMA, "index": 1, "stop": False}, _LLAMA, {**_LLAMA, "index": 1}),
    ),
    (
        "POST",
        "/client/v4/accounts/a/ai/run/@cf/meta/llama",
        _CHAT,
        {"result": {"response": "Here.", "tool_calls": [{"name": "look", "arguments": {}}], "usage": _CHAT_USAGE}},
    ),
    (
        "POST",
        "/20231130/actions/chat",
        {"servingMode": {"modelId": "m"}, "chatRequest": {"messages": [{"role": "USER", "content": []}]}},
        {"modelId": "m", "chatResponse": {"choices": [_OCI_CHOICE], "usage": _OCI_USAGE}},
    ),
    (
        "POST",
        "/v1/inference/o/m",
        {"input": "Where?"},
        {"results": [{"generated_text": "Here."}], "inference_status": {"tokens_generated": 5, "tokens_input": 7}},
    ),
    (
        "POST",
        "/api/v1/apps/x/completion",
        {"input": {"prompt": "Where?"}},
        {
            "output": {"text": "Here."},
            "usage": {"models": [{"model_id": "m", "input_tokens": 3, "output_tokens": 2}] * 2},
        },
    ),
)
