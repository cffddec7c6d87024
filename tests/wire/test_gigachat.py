"""Sber's GigaChat, whose first chat api is nearly OpenAI's, with bodies of the shapes that it was seen to send."""

import json
from typing import Any

import pytest

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire import recognise

HOST = "gigachat.devices.sberbank.ru"
SECOND = {"host": HOST, "path": "/api/v2/chat/completions"}
ASKED = {"model": "m", "messages": [{"role": "user", "content": [{"text": "hi"}]}]}
COUNTED = {
    "input_tokens": 40,
    "input_tokens_details": {"prompt_tokens": 40, "cached_tokens": 30},
    "output_tokens": 8,
    "total_tokens": 48,
}


@pytest.mark.parametrize("cached", [0, 12])
def test_a_prompt_leaves_out_what_gigachat_read_from_its_cache(exchange: Any, cached: int) -> None:
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 17, "completion_tokens": 3, "total_tokens": 20, "precached_prompt_tokens": cached}

    reading = exchange("openai.chat", {"model": "G:1", "choices": [choice], "usage": usage}, host=HOST)

    assert reading.provider == "gigachat"
    assert reading.usage == Usage(input_tokens=17 + cached, cache_read_tokens=cached, output_tokens=3)


def test_embeddings_may_each_have_a_usage_of_their_own(exchange: Any) -> None:
    data = [
        {"object": "embedding", "embedding": [0.5], "index": at, "usage": {"prompt_tokens": n}}
        for at, n in [(0, 7), (1, 5)]
    ]

    reading = exchange(
        recognise("POST", "/api/v1/embeddings"),
        {"model": "E", "data": data},
        request={"model": "E", "input": ["a", "b"]},
        host=HOST,
    )

    assert (reading.api, reading.response_model, reading.usage_source) == ("openai.embeddings", "E", "provider")
    assert reading.usage == Usage(input_tokens=12, output_tokens=0)


def test_the_second_chat_answers_with_parts_of_messages(exchange: Any) -> None:
    call = {"function_call": {"name": "f", "arguments": {"q": 1}}}
    messages = [{"role": "assistant", "tools_state_id": "s", "content": [{"text": "so"}, call]}]
    answer = {"model": "G:2", "messages": messages, "finish_reason": "function_call", "usage": COUNTED}

    reading = exchange("gigachat.chat", answer, request=ASKED, **SECOND)

    assert recognise("POST", SECOND["path"]) == reading.api == "gigachat.chat"
    assert (reading.provider, reading.response_model, reading.finish_reasons) == ("gigachat", "G:2", ("function_call",))
    assert reading.usage == Usage(input_tokens=40, cache_read_tokens=30, output_tokens=8)
    assert [(call.name, call.kind, call.arguments_bytes) for call in reading.tool_calls] == [("f", "client", 7)]


def _event(name: str, **document: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'model': 'G:2', **document})}\n\n".encode()


def test_a_stream_of_the_second_chat_is_whole_once_its_message_is_done(exchange: Any) -> None:
    delta = {"messages": [{"role": "assistant", "content": [{"text": "yes"}]}]}
    events = [
        _event("response.message.delta", **delta),
        _event("response.message.done", finish_reason="stop", usage=COUNTED),
    ]

    whole = exchange("gigachat.chat", events, request={**ASKED, "stream": True}, **SECOND)
    cut = exchange("gigachat.chat", events[:1], request={**ASKED, "stream": True}, **SECOND)

    assert (whole.status, whole.finish_reasons, whole.answer, whole.usage_complete) == ("ok", ("stop",), "yes", True)
    assert whole.usage == Usage(input_tokens=40, cache_read_tokens=30, output_tokens=8)
    assert (cut.status, cut.usage_source) == ("cut", "absent")


def test_an_answer_like_openais_is_read_at_the_path_of_the_second_chat(exchange: Any) -> None:
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
    answer = {"choices": [choice], "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}

    reading = exchange("gigachat.chat", answer, request=ASKED, path=SECOND["path"])

    assert (reading.api, reading.usage) == ("openai.chat", Usage(input_tokens=7, output_tokens=3))
