"""`read` is total: whatever the bytes, it gives a reading or None."""

import gzip
import json
import random
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.wire.frames import frame

from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import RESPONSE_HEADERS, ExchangeBytes, read
from tokenflation.sdk.wire.dialects import DIALECTS

APIS = ("openai.chat", "openai.responses", "anthropic.messages", "google.generate_content")
TEMPLATES: dict[str, list[dict[str, Any]]] = {
    "openai.chat": [
        {
            "id": "c",
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "delta": {
                        "content": "a",
                        "reasoning_content": "b",
                        "tool_calls": [{"index": 0, "id": "i", "function": {"name": "n", "arguments": "{}"}}],
                    },
                    "message": {"content": [{"type": "text", "text": "a"}], "function_call": {"name": "n"}},
                    "finish_reason": "stop",
                    "usage": {"prompt_tokens": 1},
                }
            ],
            "usage": {
                "prompt_tokens": 5,
                "completion_tokens": 3,
                "total_tokens": 9,
                "prompt_tokens_details": {"cached_tokens": 1},
            },
            "x_groq": {"usage": {"prompt_tokens": 1}},
            "timings": {"prompt_n": 1},
            "error": None,
        }
    ],
    "openai.responses": [
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "function_call", "call_id": "c"}},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "x"},
        {
            "type": "response.completed",
            "response": {
                "id": "r",
                "status": "incomplete",
                "incomplete_details": {"reason": "max_output_tokens"},
                "output": [{"type": "message", "content": [{"type": "output_text", "text": "x"}]}],
                "usage": {"input_tokens": 5, "output_tokens": 3, "input_tokens_details": {"cached_tokens": 1}},
            },
        },
    ],
    "anthropic.messages": [
        {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5, "output_tokens": 1}}},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": "t", "input": {}}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{"}},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn"},
            "usage": {"output_tokens": 9, "iterations": [{"type": "compaction", "input_tokens": 1}]},
        },
        {"type": "message_stop"},
    ],
    "google.generate_content": [
        {
            "candidates": [
                {
                    "index": 0,
                    "content": {"parts": [{"text": "a", "thought": True}, {"functionCall": {"name": "f", "args": {}}}]},
                    "finishReason": "STOP",
                }
            ],
            "promptFeedback": {"blockReason": "SAFETY"},
            "usageMetadata": {
                "promptTokenCount": 5,
                "candidatesTokenCount": 2,
                "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
            },
        }
    ],
}
REQUEST: dict[str, Any] = {
    "model": "m",
    "max_tokens": 1,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
    "instructions": "s",
    "systemInstruction": {"parts": [{"text": "s"}]},
    "tools": [{"type": "function", "function": {"name": "f"}, "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {"role": "system", "content": "s"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "c", "function": {"name": "f"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [{"type": "text"}]}]},
    ],
    "input": [
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "r"},
    ],
    "contents": [
        {"role": "model", "parts": [{"functionCall": {"name": "f"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "id": "i", "response": {"r": 1}}}]},
    ],
}
JUNK: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 2**53 + 1, 2**70, 1.5, float("nan"), float("inf"), "", "x", "12", "\ud800", "\0", "é",
    "A" * 2000, "data:image/png;base64," + "QUJD" * 500, [], [None], [[]], [7], ["x"], {}, {"type": 7}, {"type": "text"},
    {"index": 10**20}, {"": {}},
)  # fmt: skip
SEEDS = st.integers(0, 2**32)


def _mutated(value: Any, rng: random.Random, rate: float) -> Any:
    """Return a copy in which each place may have become junk, been lost, renamed or said twice."""
    if rng.random() < rate:
        return rng.choice(JUNK)
    if isinstance(value, dict):
        pairs = [(key, _mutated(entry, rng, rate)) for key, entry in value.items() if rng.random() > rate / 2]
        if pairs and rng.random() < rate:
            pairs.append((rng.choice(pairs)[0], rng.choice(pairs)[1]))
        return dict(pairs)
    if isinstance(value, list):
        return [_mutated(entry, rng, rate) for entry in value for _ in range(1 + (rng.random() < rate))]
    return value


def _read(api: str, request: bytes, chunks: list[bytes], **view: Any) -> Reading | None:
    path = "/v1beta/models/m:streamGenerateContent" if view.pop("array", False) else "/v1/x"
    exchange = ExchangeBytes(
        api=api,
        path=path,
        request_body=request,
        status_code=200,
        chunks=[(at, chunk) for at, chunk in enumerate(chunks)],
        **view,
    )
    return read(exchange, key=b"k")


@given(st.sampled_from(APIS), SEEDS)
def test_a_mutated_answer_is_read_whole_and_streamed(api: str, seed: int) -> None:
    rng = random.Random(seed)
    documents = [_mutated(document, rng, 0.15) for document in TEMPLATES[api]]
    bodies = [json.dumps(document).encode() for document in documents]
    events = b"".join(b"data: " + body + b"\n\n" for body in bodies)
    request = json.dumps(REQUEST).encode()

    for chunks in ([events[: rng.randrange(len(events))]], [events, b"data: [DONE]"], bodies[-1:], [b"[", *bodies]):
        reading = _read(api, request, chunks, array=chunks[0] == b"[")
        assert reading is not None
        assert _is_sound(reading)


_COUNTS = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 9, "cached_tokens": 7, "reasoning_tokens": 8}
_CALL = {"id": "i", "toolUseId": "i", "function": {"name": "n", "arguments": "{}"}, "name": "n", "input": {"q": 1}}
_ELSEWHERE: list[dict[str, Any]] = [
    {"delta": {"text": "a", "toolUse": _CALL, "reasoningContent": {"text": "b"}}, "contentBlockIndex": 0, "p": "x"},
    {"stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 3, "cacheReadInputTokens": 9}},
    {"output": {"message": {"content": [{"text": "a"}, {"toolUse": _CALL}]}}, "messageStop": {"stopReason": "x"}},
    {"metadata": {"usage": {"inputTokens": 5}}, "amazon-bedrock-invocationMetrics": {"inputTokenCount": 5}},
    {"results": [{"tokenCount": 3, "outputText": "a", "completionReason": "x"}], "inputTextTokenCount": 5, "id": 7},
    {"generation": "a", "prompt_token_count": 5, "generation_token_count": 3, "stop_reason": "stop"},
    {"generations": [{"text": "a", "finish_reason": "x"}], "meta": {"billed_units": _COUNTS, "tokens": _COUNTS}},
    {"type": "message-end", "delta": {"finish_reason": "x", "usage": {"tokens": _COUNTS, "cached_tokens": 7}}},
    {"event_type": "stream-end", "response": {"text": "a", "tool_calls": [_CALL], "meta": {"tokens": _COUNTS}}},
    {"message": {"content": "a", "thinking": "b", "tool_calls": [_CALL]}, "done": True, "eval_count": 3},
    {"model": "m", "response": "a", "done_reason": "stop", "prompt_eval_count": 5, "total_duration": 1},
    {"object": "thread.run", "status": "completed", "id": "r", "usage": {"prompt_tokens": 5, "completion_tokens": 3}},
    {"predictions": [{"embeddings": {"statistics": {"token_count": 5}}}], "metadata": {"tokenMetadata": {}}},
    {"interaction": {"id": "i", "status": "completed", "steps": [{"type": "thought", "summary": [1]}]}},
    {"event_type": "step.delta", "index": 0, "delta": {"type": "arguments_delta", "arguments": "{}"}},
    {"usage": {"total_input_tokens": 5, "total_output_tokens": 3, "total_thought_tokens": 9, "total_tokens": 99}},
    {"type": "response.done", "response": {"id": "r", "status": "completed", "usage": _COUNTS}},
    {"details": {"generated_tokens": 3, "finish_reason": "x"}, "generated_text": "a", "usage": _COUNTS},
    {"bytes": "eyJhIjoxfQ==", "data": [{"url": "x"}], "text": "a", "usage": {"total_tokens": 5, **_COUNTS}},
]
_EVERY = [*_ELSEWHERE, *(document for documents in TEMPLATES.values() for document in documents)]
_REQUESTS: tuple[dict[str, Any], ...] = (
    REQUEST,
    {"prompt": "x", "model": "m", "suffix": "y"},
    {"message": "x", "inputText": "x", "texts": ["x"], "query": "x", "documents": ["x"], "inputs": "x"},
    {"anthropic_version": "x", "messages": [], "assistant_id": "a", "instances": [{}], "requests": []},
    {"session": {"instructions": "s", "tools": []}, "items": [{"type": "message"}]},
)


@example("bedrock.invoke", 1820013026)  # an event whose type is an object
@given(st.sampled_from(sorted(DIALECTS)), SEEDS)
def test_mutated_answers_of_any_api_are_sound_for_every_api(api: str, seed: int) -> None:
    rng = random.Random(seed)
    documents = [_mutated(rng.choice(_EVERY), rng, 0.1) for _ in range(4)]
    bodies = [json.dumps(document).encode() for document in documents]
    request = json.dumps(_mutated(rng.choice(_REQUESTS), rng, 0.05)).encode()
    names = ("chunk", "metadata", "messageStop", "contentBlockDelta", "contentBlockStart", "")
    headers = {name: rng.choice(("5", "", "x", "9" * 30)) for name in RESPONSE_HEADERS}
    frames = [frame(body, event_type=rng.choice(names)) for body in bodies]
    events = [b"data: " + body + b"\n\n" for body in bodies]

    for chunks in (bodies[:1], bodies, frames, [*frames, b"\0\0\0"], events, [b"".join(events)]):
        for asked in (request, b""):
            reading = _read(api, asked, chunks, response_headers=headers, method=rng.choice(("POST", "GET")))
            assert reading is None or _is_sound(reading)


@given(st.sampled_from(APIS), SEEDS)
def test_a_mutated_request_is_measured(api: str, seed: int) -> None:
    rng = random.Random(seed)
    request = {key: _mutated(value, rng, 0.1) for key, value in REQUEST.items()}

    reading = _read(api, json.dumps(request).encode(), [])

    if reading is not None:
        parts = reading.system_bytes + reading.tool_definition_bytes + sum(reading.message_bytes)
        assert parts == len(reading.prompt)
        assert len(reading.message_hashes) == len(reading.message_roles) == len(reading.message_bytes)
        assert set(reading.message_roles) <= {"user", "assistant", "tool"}


def _is_sound(reading: Reading) -> bool:
    """Return whether every value is what its field promises, so that nothing breaks downstream."""
    usage = reading.usage
    counts = [getattr(usage, name) for name in usage.__struct_fields__]
    for part, total in (
        (usage.cache_read_tokens, usage.input_tokens),
        (usage.cache_write_tokens, usage.input_tokens),
        (usage.reasoning_tokens, usage.output_tokens),
    ):
        assert part is None or total is None or part <= total
    texts = [reading.model, reading.response_model, reading.response_id, reading.error_type, *reading.finish_reasons]
    texts += [field for call in reading.tool_calls for field in (call.tool_call_id, call.name)]
    json.dumps(reading.extra, allow_nan=False)
    return all(count is None or (type(count) is int and count >= 0) for count in counts) and all(
        text is None or (type(text) is str and "\0" not in text and text.encode("utf-8") is not None) for text in texts
    )


@given(st.sampled_from(APIS), st.lists(st.binary(max_size=60), max_size=6), st.sampled_from(["", "gzip", "br", "x"]))
def test_any_bytes_in_place_of_an_answer_are_read(api: str, chunks: list[bytes], encoding: str) -> None:
    request = json.dumps({"model": "m", "max_tokens": 1, "messages": [], "input": "x", "contents": []}).encode()

    reading = _read(api, request, chunks, content_encoding=encoding)

    assert reading is not None
    assert reading.usage_source == "absent"


@given(st.sampled_from(APIS), st.binary(max_size=80))
def test_any_bytes_in_place_of_a_request_are_read(api: str, body: bytes) -> None:
    for request in (body, gzip.compress(body), b"\x1f\x8b" + body):
        reading = _read(api, request, [])
        assert reading is None or reading.api == api


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("depth", [50, 500, 900, 2_000, 100_000])
def test_deep_nesting_is_read(api: str, depth: int) -> None:
    deep = "[" * depth + "]" * depth
    request = f'{{"model":"m","max_tokens":1,"input":[{deep}],"messages":[{deep}],"contents":[{deep}],"tools":{deep}}}'
    answer = f'{{"id":"x","usage":{deep},"choices":{deep},"output":{deep},"candidates":{deep},"content":{deep}}}'

    _read(api, request.encode(), [answer.encode()])
    _read(api, request.encode(), [b"data: " + answer.encode() + b"\n\n"])
    _read(api, b'{"model":"m","max_tokens":1,"input":[],"messages":[],"contents":[]}', [b'{"a":' * depth])


@pytest.mark.parametrize("answer", [b"null", b"[]", b"[null]", b'"x"', b"7", b"{}", b"", b" ", b"\xff\xfe", b"NaN"])
@pytest.mark.parametrize("api", APIS)
def test_an_answer_of_the_wrong_kind_has_no_usage(api: str, answer: bytes) -> None:
    request = b'{"model":"m","max_tokens":1,"messages":[],"input":"x","contents":[]}'

    reading = _read(api, request, [answer])

    assert reading is not None
    assert reading.usage_source == "absent"
