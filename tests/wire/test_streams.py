"""Streams: when what arrived, whether they came to their end, and what a failure is called."""

import json
from typing import Any

import pytest

from tokenflation.sdk.records import Reading, Usage
from tokenflation.sdk.wire import ExchangeBytes, read


def test_a_stream_without_usage_is_recorded_as_absent(exchange: Any, chat_stream: Any) -> None:
    reading = exchange("openai.chat", chat_stream([{"content": "a"}]))

    assert (reading.status, reading.stream, reading.finish_reasons) == ("ok", True, ("stop",))
    assert (reading.usage, reading.usage_source, reading.usage_complete) == (Usage(), "absent", False)


@pytest.mark.parametrize("end", ["closed", "dropped", "read"])
def test_a_stream_left_early_is_cut_and_drops_the_placeholder_output(
    exchange: Any, messages_stream: Any, end: str
) -> None:
    events = messages_stream({"input_tokens": 20, "output_tokens": 1}, {"output_tokens": 150})[:3]

    reading = exchange("anthropic.messages", events, end=end)

    assert (reading.status, reading.finish_reasons, reading.error_type) == ("cut", ("error",), None)
    assert reading.usage == Usage(input_tokens=20)
    assert (reading.usage_source, reading.usage_complete) == ("partial", False)


def test_a_stream_closed_after_its_terminator_is_whole(exchange: Any, chat_stream: Any) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}

    reading = exchange("openai.chat", chat_stream([{"content": "a"}], usage), end="closed")

    assert (reading.status, reading.usage_source, reading.usage_complete) == ("ok", "provider", True)


def test_a_terminator_without_a_last_newline_counts(exchange: Any, chat_stream: Any) -> None:
    events = [*chat_stream([{"content": "a"}], done=False), b"data: [DONE]"]

    assert exchange("openai.chat", events).status == "ok"


def test_a_truncated_stream_is_cut_with_error_for_the_open_choice(exchange: Any, chat_stream: Any) -> None:
    events = chat_stream([{"content": "a"}, {"content": "b"}])[:2]

    reading = exchange("openai.chat", [*events, b'data: {"id":"c","choices":[{"in'])

    assert (reading.status, reading.finish_reasons, reading.usage_complete) == ("cut", ("error",), False)


def test_the_status_inside_a_refusal_is_no_reason_why_an_answer_ended(exchange: Any) -> None:
    refusal = {"error": {"message": "no", "type": "invalid_request_error"}, "status": 401}

    reading = exchange("openai.responses", refusal, status_code=401)

    assert (reading.finish_reasons, reading.error_type) == (("error",), "invalid_request_error")


_CHAT_COUNTS = {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
_ASKS = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
_ASKS_FOR_COUNTS = {**_ASKS, "stream_options": {"include_usage": True}}


@pytest.mark.parametrize("end", ["closed", "dropped", "cancelled", "read"])
@pytest.mark.parametrize("api", ["openai.chat", "anthropic.messages"])
def test_a_stream_with_its_last_reason_and_counts_is_whole_without_its_terminator(
    exchange: Any, chat_stream: Any, messages_stream: Any, api: str, end: str
) -> None:
    events = [*chat_stream([{"content": "a"}], _CHAT_COUNTS, done=False)]
    if api == "anthropic.messages":
        events = messages_stream({"input_tokens": 1, "output_tokens": 1}, {"output_tokens": 2})[:-1]

    reading = exchange(api, events, end=end)

    assert (reading.status, reading.usage_source, reading.usage_complete) == ("ok", "provider", True)
    assert (reading.usage, reading.error_type) == (Usage(input_tokens=1, output_tokens=2), None)
    assert reading.finish_reasons in (("stop",), ("end_turn",))


def test_a_stream_that_fails_before_its_terminator_is_not_whole(exchange: Any, messages_stream: Any) -> None:
    events = messages_stream({"input_tokens": 1, "output_tokens": 1}, {"output_tokens": 2})[:-1]

    reading = exchange("anthropic.messages", events, end="failed")

    assert (reading.status, reading.usage_complete) == ("error", False)


@pytest.mark.parametrize(
    ("request_body", "end", "status"),
    [(_ASKS, "closed", "ok"), (_ASKS_FOR_COUNTS, "closed", "cut"), (_ASKS, "read", "cut")],
)
def test_a_stream_with_its_last_reason_lost_its_counts_if_it_had_asked_for_them_or_ended_by_itself(
    exchange: Any, chat_stream: Any, request_body: dict[str, Any], end: str, status: str
) -> None:
    events = chat_stream([{"content": "a"}], done=False)

    reading = exchange("openai.chat", events, request=request_body, end=end)

    assert (reading.status, reading.finish_reasons, reading.usage_source) == (status, ("stop",), "absent")
    assert not reading.usage_complete


def test_a_stream_left_before_all_choices_have_ended_is_cut(exchange: Any, chat_stream: Any) -> None:
    other = {"choices": [{"index": 1, "delta": {"content": "b"}, "finish_reason": "stop"}]}

    readings = [
        exchange(
            "openai.chat", chat_stream([{"content": "a"}], *more, done=False), request={**_ASKS, "n": 2}, end="closed"
        )
        for more in ((), (other,))
    ]

    assert [(one.status, one.finish_reasons) for one in readings] == [("cut", ("stop",)), ("ok", ("stop", "stop"))]


def test_counts_that_came_before_the_last_reason_are_not_the_last(exchange: Any, chat_stream: Any) -> None:
    counted = {"choices": [{"index": 0, "delta": {"content": "a"}}], "usage": _CHAT_COUNTS["usage"]}
    events = [counted, counted, *chat_stream([{"content": "a"}], done=False)]

    reading = exchange("openai.chat", events, request=_ASKS, end="closed")

    assert (reading.status, reading.usage_source) == ("cut", "partial")


def read_chat(pieces: list[bytes]) -> Reading:
    path = "/v1/chat/completions"
    found = read(ExchangeBytes(api="openai.chat", path=path, status_code=200, chunks=list(enumerate(pieces))), key=b"k")
    assert found is not None
    return found


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
@pytest.mark.parametrize("words", [2, 40])
def test_nothing_that_follows_the_terminator_counts(chat_stream: Any, newline: bytes, words: int) -> None:
    events = chat_stream([{"content": "a"}] * words, {"choices": [], "usage": {"prompt_tokens": 7}})
    usage = {"prompt_tokens": 99, "completion_tokens": 5}
    late = [{"choices": [{"index": 0, "delta": {"content": "b"}}], "usage": usage}] * words
    texts = [one if isinstance(one, str) else json.dumps(one) for one in (*events, *late)]
    pieces = [b"data: " + text.encode() + newline * 2 for text in texts]

    expected = read_chat(pieces[: len(events)])

    assert (expected.status, expected.usage) == ("ok", Usage(input_tokens=7))
    assert read_chat(pieces) == expected
    assert read_chat([b"".join(pieces)]).usage == expected.usage


def test_a_gemini_stream_without_a_finish_reason_is_cut(exchange: Any) -> None:
    chunk = {
        "candidates": [{"content": {"parts": [{"text": "a"}]}}],
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
    }

    reading = exchange("google.generate_content", [chunk, chunk])

    assert (reading.status, reading.usage) == ("cut", Usage(input_tokens=4))


@pytest.mark.parametrize(
    ("api", "event", "error_type"),
    [
        (
            "anthropic.messages",
            {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
            "overloaded_error",
        ),
        ("openai.chat", {"error": {"message": "m", "type": "server_error", "code": None}}, "server_error"),
        ("openai.chat", {"choices": [], "error": {"code": 502, "message": "m"}}, "http_502"),
        ("openai.responses", {"type": "error", "code": "rate_limit_exceeded", "message": "m"}, "rate_limit_exceeded"),
        ("google.generate_content", {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}, "UNAVAILABLE"),
        ("openai.chat", {"error": "a sentence about the prompt"}, "error"),
    ],
)
def test_an_error_object_inside_a_200_stream_is_an_error(
    exchange: Any, api: str, event: dict[str, Any], error_type: str
) -> None:
    reading = exchange(api, [event])

    assert (reading.status, reading.error_type, reading.finish_reasons) == ("error", error_type, ("error",))


@pytest.mark.parametrize(
    ("kind", "status", "finish"),
    [
        ("response.incomplete", "ok", ("incomplete:max_output_tokens",)),
        ("response.failed", "error", ("error",)),
        ("response.completed", "ok", ("completed",)),
    ],
)
def test_usage_of_incomplete_and_failed_responses_is_recorded(
    exchange: Any, kind: str, status: str, finish: tuple[str, ...]
) -> None:
    state = kind.removeprefix("response.")
    response = {"id": "resp", "model": "m", "status": state, "usage": {"input_tokens": 8, "output_tokens": 4}}
    if state == "incomplete":
        response["incomplete_details"] = {"reason": "max_output_tokens"}
    if state == "failed":
        response["error"] = {"code": "server_error", "message": "m"}
    created = {"type": "response.created", "response": {"id": "resp", "status": "in_progress", "usage": None}}

    reading = exchange("openai.responses", [created, {"type": kind, "response": response}])

    assert (reading.status, reading.finish_reasons) == (status, finish)
    assert reading.usage == Usage(input_tokens=8, output_tokens=4)
    assert reading.usage_complete


def test_the_first_token_is_the_first_of_any_channel(exchange: Any, chat_stream: Any) -> None:
    deltas = [
        {"role": "assistant", "content": ""},
        {"reasoning_content": "hm"},
        {"reasoning_content": "so"},
        {"content": "yes"},
    ]

    reading = exchange("openai.chat", chat_stream(deltas))

    assert (reading.first_chunk_ns, reading.first_token_ns, reading.first_answer_ns) == (0, 1, 3)


def test_a_tool_call_is_an_answer(exchange: Any, chat_stream: Any) -> None:
    call = {"index": 0, "id": "call_1", "function": {"name": "find", "arguments": ""}}

    reading = exchange("openai.chat", chat_stream([{"role": "assistant", "content": None}, {"tool_calls": [call]}]))

    assert (reading.first_token_ns, reading.first_answer_ns) == (1, 1)


def test_anthropic_thinking_comes_before_the_answer(exchange: Any) -> None:
    events = [
        {"type": "message_start", "message": {"id": "msg", "usage": {"input_tokens": 1}}},
        {"type": "ping"},
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "x"}},
        {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "yes"}},
    ]

    reading = exchange("anthropic.messages", events)

    assert (reading.first_chunk_ns, reading.first_token_ns, reading.first_answer_ns) == (0, 3, 6)


def test_responses_reasoning_comes_before_the_answer(exchange: Any) -> None:
    events = [
        {"type": "response.created", "response": {"id": "resp"}},
        {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning", "summary": []}},
        {"type": "response.reasoning_summary_text.delta", "output_index": 0, "delta": "hm"},
        {"type": "response.output_text.delta", "output_index": 1, "delta": "yes"},
    ]

    reading = exchange("openai.responses", events)

    assert (reading.first_token_ns, reading.first_answer_ns) == (2, 3)


def test_gemini_thoughts_come_before_the_answer(exchange: Any) -> None:
    events = [
        {"candidates": [{"content": {"parts": [{"text": "hm", "thought": True}]}}]},
        {"candidates": [{"content": {"parts": [{"text": "yes"}]}, "finishReason": "STOP"}]},
    ]

    reading = exchange("google.generate_content", events)

    assert (reading.status, reading.first_token_ns, reading.first_answer_ns) == ("ok", 0, 1)


def test_a_body_that_is_not_streamed_has_no_first_token(exchange: Any) -> None:
    body = {"id": "c", "choices": [{"message": {"content": "yes"}, "finish_reason": "stop"}]}

    reading = exchange("openai.chat", body)

    assert (reading.stream, reading.first_chunk_ns, reading.first_token_ns) == (False, None, None)


def test_a_gemini_array_is_a_stream_of_its_elements(exchange: Any) -> None:
    pieces = [
        b'[{"candidates": [{"content": {"parts": [{"te',
        b'xt": "a } \\" { b"}]}}]}\r\n',
        b',{"candidates": [{"content": {"parts": [{"text": "c"}]}, "finishReason": "STOP"}],',
        b' "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}\n]',
    ]

    reading = exchange("google.generate_content", pieces, path="/v1beta/models/gemini-x:streamGenerateContent")

    assert (reading.stream, reading.status, reading.model) == (True, "ok", "gemini-x")
    assert (reading.first_chunk_ns, reading.first_token_ns) == (0, 1)
    assert reading.usage == Usage(input_tokens=3, output_tokens=2)


@pytest.mark.parametrize(
    ("view", "status", "error_type"),
    [
        ({"status_code": 503}, "error", "http_503"),
        ({"status_code": 307}, "error", "http_307"),
        ({"status_code": 200}, "error", "empty_body"),
        ({"status_code": None, "end": "failed", "error_type": "ConnectTimeout"}, "error", "ConnectTimeout"),
        ({"status_code": None, "end": "cancelled", "error_type": "CancelledError"}, "cancelled", "CancelledError"),
        ({"status_code": 200, "end": "closed"}, "cut", None),
    ],
)
def test_an_answer_without_a_body_says_what_went_wrong(
    exchange: Any, view: dict[str, Any], status: str, error_type: str | None
) -> None:
    reading = exchange("openai.chat", b"", **view)

    assert (reading.status, reading.error_type, reading.usage_source) == (status, error_type, "absent")


def test_an_http_error_is_named_by_the_provider_or_by_its_status(exchange: Any) -> None:
    named = exchange("openai.chat", {"error": {"type": "tokens", "code": "rate_limit_exceeded"}}, status_code=429)
    page = exchange("openai.chat", b"<html>502</html>", status_code=502)
    words = exchange("openai.chat", b"upstream connect error", status_code=503)

    assert (named.status, named.error_type) == ("error", "tokens")
    assert (page.status, page.error_type, page.stream) == ("error", "http_502", False)
    assert (words.status, words.error_type, words.stream) == ("error", "http_503", False)


def test_a_page_of_a_proxy_in_place_of_an_answer_is_no_stream(exchange: Any) -> None:
    page = exchange("openai.chat", b"<html>Log in</html>")

    assert (page.status, page.error_type, page.stream) == ("error", "invalid_body", False)


@pytest.mark.parametrize(
    "body",
    [
        {"base_resp": {"status_code": 1004, "status_msg": "login fail"}},  # platform.minimax.io
        {"code": 500, "msg": "no", "success": False},
        {"detail": "no"},
    ],
)
@pytest.mark.parametrize("api", ["openai.chat", "openai.responses", "anthropic.messages", "google.generate_content"])
def test_a_failure_with_status_200_in_words_of_its_own_is_no_answer(exchange: Any, api: str, body: Any) -> None:
    reading = exchange(api, body)

    assert (reading.status, reading.error_type, reading.finish_reasons) == ("error", "invalid_body", ("error",))


def test_an_answer_with_nothing_in_it_is_one(exchange: Any) -> None:
    empty = exchange("openai.chat", {"id": "c", "model": "m", "choices": []})
    silent = exchange("openai.chat", {"choices": [{"message": {"content": ""}, "finish_reason": None}]})

    assert (empty.status, silent.status) == ("ok", "ok")


def test_a_refusal_that_comes_as_an_array_is_no_stream(exchange: Any) -> None:
    body = b'[{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}]'

    reading = exchange("google.generate_content", body, status_code=429, path="/v1/models/g:streamGenerateContent")

    assert (reading.status, reading.error_type, reading.stream) == ("error", "RESOURCE_EXHAUSTED", False)


def test_events_without_blank_lines_between_them_are_read_line_by_line(exchange: Any, chat_stream: Any) -> None:
    events = [json.dumps(event) for event in chat_stream([{"content": "a"}], {"usage": {"prompt_tokens": 3}})[:-1]]

    reading = exchange("openai.chat", "".join(f"data: {event}\n" for event in [*events, "[DONE]"]).encode())

    assert (reading.status, reading.finish_reasons, reading.usage) == ("ok", ("stop",), Usage(input_tokens=3))


def test_a_stream_cancelled_or_broken_midway_keeps_what_it_said(exchange: Any, chat_stream: Any) -> None:
    events = chat_stream([{"content": "a"}])[:1]

    cancelled = exchange("openai.chat", events, end="cancelled", error_type="CancelledError")
    broken = exchange("openai.chat", events, end="failed", error_type="ReadError")

    assert (cancelled.status, cancelled.error_type, cancelled.response_id) == ("cancelled", "CancelledError", "c")
    assert (broken.status, broken.error_type, broken.finish_reasons) == ("error", "ReadError", ("error",))


def test_no_message_of_the_provider_is_ever_an_error_type() -> None:
    marker = "MARKER my secret prompt"
    for error in ({"type": marker, "code": marker, "message": marker}, marker, {"message": marker}):
        body = (
            b'{"error": %s}' % str(error).replace("'", '"').encode() if isinstance(error, dict) else b'{"error":"%s"}'
        )
        view = ExchangeBytes(api="openai.chat", request_body=b'{"messages":[]}', status_code=400, chunks=[(1, body)])
        reading = read(view, key=b"k")
        assert reading is not None
        assert reading.error_type == "http_400"
        assert marker not in repr(reading)


def test_a_stream_of_more_choices_than_may_be_asked_for_is_read(exchange: Any) -> None:
    choices = [{"index": index, "delta": {"content": "a"}, "finish_reason": "stop"} for index in range(300)]
    last = {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "length"}]}
    counts = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 300}}

    reading = exchange("openai.chat", [{"id": "c", "choices": [one]} for one in choices] + [last, counts, "[DONE]"])

    assert reading.finish_reasons == ("length", *["stop"] * 299)
    assert (reading.usage.output_tokens, reading.usage_complete) == (300, True)
