"""OpenAI's smaller apis, with bodies shaped as their documentation shows them."""

import json
from typing import Any

import pytest

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire import ExchangeBytes, read


def test_completions_count_like_chat_with_one_reason_per_choice(exchange: Any) -> None:
    answer = {
        "id": "cmpl",
        "model": "m-1",
        "choices": [
            {"index": 0, "text": "a", "finish_reason": "length"},
            {"index": 1, "text": "b", "finish_reason": "stop"},
        ],
        "usage": {"prompt_tokens": 23, "completion_tokens": 273, "total_tokens": 296},
    }

    reading = exchange("openai.completions", answer, request={"model": "m", "prompt": ["x", "y"]})

    assert reading.usage == Usage(input_tokens=23, output_tokens=273)
    assert reading.finish_reasons == ("length", "stop")


def test_fill_in_the_middle_streams_as_chat_does(exchange: Any, chat_stream: Any) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 4, "completion_tokens": 2}}

    reading = exchange(
        "openai.completions", chat_stream([{"content": "x"}], usage), request={"prompt": "def f", "suffix": "return"}
    )

    assert (reading.usage.output_tokens, reading.usage_complete, reading.first_answer_ns) == (2, True, 0)


def test_a_stream_that_nothing_ends_is_whole_once_it_is_read(exchange: Any) -> None:
    events = [b'data: {"value": "Sure"}\n\n', b'data: {"value": "!"}\n\n']

    read_to_end = exchange("openai.completions", events, request={"prompt": "hi"}, end="read")
    left = exchange("openai.completions", events, request={"prompt": "hi"}, end="closed")

    assert (read_to_end.status, read_to_end.usage_source, read_to_end.finish_reasons) == ("ok", "absent", ())
    assert left.status == "cut"


@pytest.mark.parametrize(
    "usage",
    [{"prompt_tokens": 8, "total_tokens": 8}, {"total_tokens": 8}, {"prompt_tokens": 8, "completion_tokens": 0}],
)
def test_embeddings_generate_nothing(exchange: Any, usage: dict[str, int]) -> None:
    answer = {"object": "list", "data": [{"embedding": [0.1]}], "model": "m-1", "usage": usage}

    reading = exchange("openai.embeddings", answer, request={"model": "m", "input": "hi"})

    assert reading.usage == Usage(input_tokens=8, output_tokens=0)
    assert (reading.usage_source, reading.message_hashes) == ("provider", ())


def test_an_embedding_without_usage_has_no_zero(exchange: Any) -> None:
    reading = exchange("openai.embeddings", {"data": []}, request={"model": "m", "input": "hi"})

    assert (reading.usage, reading.usage_source) == (Usage(), "absent")


def test_images_are_counted_where_the_model_counts_them(exchange: Any) -> None:
    usage = {
        "input_tokens": 50,
        "output_tokens": 1056,
        "total_tokens": 1106,
        "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
    }

    counted = exchange("openai.images", {"created": 1, "data": [], "usage": usage}, request={"prompt": "a cat"})
    uncounted = exchange("openai.images", {"created": 1, "data": [{"url": "x"}]}, request={"prompt": "a cat"})

    assert counted.usage == Usage(input_tokens=50, output_tokens=1056)
    assert counted.extra["image_input_tokens"] == 40
    assert (uncounted.status, uncounted.usage_source) == ("ok", "absent")


@pytest.mark.parametrize(
    ("code", "status", "error_type"), [(200, "ok", None), (503, "error", "http_503"), (400, "error", "http_400")]
)
def test_a_transcription_that_is_a_text_alone_is_a_call_without_counts(
    code: int, status: str, error_type: str | None
) -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="response_format"\r\n\r\nsrt\r\n--x--'
    view = ExchangeBytes(
        api="openai.transcriptions",
        request_body=form,
        status_code=code,
        content_type="text/plain; charset=utf-8",
        chunks=[(1, b"1\n00:00:00,000 --> 00:00:02,000\nHello\n\n\n")],
    )

    reading = read(view, key=b"k")

    assert reading is not None
    assert (reading.status, reading.error_type, reading.stream) == (status, error_type, False)
    assert (reading.usage_source, reading.finish_reasons) == ("absent", () if code == 200 else ("error",))


def test_a_transcription_is_a_form_judged_by_its_answer() -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\ngpt-4o-transcribe\r\n--x--'
    usage = {"type": "tokens", "input_tokens": 14, "output_tokens": 45, "total_tokens": 59}
    answer = {"text": "hello", "usage": usage}
    view = ExchangeBytes(
        api="openai.transcriptions", request_body=form, status_code=200, chunks=[(1, json.dumps(answer).encode())]
    )

    reading = read(view, key=b"k")

    assert reading is not None
    assert reading.usage == Usage(input_tokens=14, output_tokens=45)


def test_speech_is_a_call_whose_sound_is_not_looked_at(exchange: Any) -> None:
    asked = {"model": "tts-1", "input": "hi", "voice": "ash"}
    done = {"type": "speech.audio.done", "usage": {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}}

    sound = exchange("openai.speech", b"data: {not json", request=asked, content_type="audio/mpeg")
    events = exchange("openai.speech", [{"type": "speech.audio.delta", "audio": "AAAA"}, done], request=asked)

    assert (sound.status, sound.stream, sound.usage_source, sound.model) == ("ok", False, "absent", "tts-1")
    assert events.usage == Usage(input_tokens=14, output_tokens=101)
    assert (events.first_answer_ns, events.usage_complete) == (0, True)


def test_a_run_is_counted_by_its_own_usage_not_by_that_of_its_steps(exchange: Any) -> None:
    run = {"id": "run_1", "object": "thread.run", "model": "m-1", "usage": None}
    usage = {"prompt_tokens": 381, "completion_tokens": 88, "total_tokens": 469}
    step = {"id": "step_1", "object": "thread.run.step", "status": "completed", "usage": {**usage, "prompt_tokens": 1}}

    def event(name: str, document: Any) -> bytes:
        return f"event: {name}\ndata: {json.dumps(document)}\n\n".encode()

    events = [
        event("thread.run.created", {**run, "status": "queued"}),
        event("thread.message.delta", {"object": "thread.message.delta", "delta": {"content": [{"index": 0}]}}),
        event("thread.run.step.completed", step),
        event("thread.run.completed", {**run, "status": "completed", "usage": usage}),
        b"event: done\ndata: [DONE]\n\n",
    ]

    reading = exchange("openai.assistants.run", events, request={"assistant_id": "a", "stream": True})

    assert reading.usage == Usage(input_tokens=381, output_tokens=88)
    assert (reading.response_id, reading.finish_reasons, reading.first_answer_ns) == ("run_1", ("completed",), 1)
    assert (reading.usage_complete, reading.fetched) == (True, False)


def test_a_fetched_answer_says_so_and_carries_its_usage() -> None:
    usage = {"input_tokens": 15, "output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 0}}
    stored = json.dumps({"id": "resp_1", "object": "response", "status": "completed", "usage": usage}).encode()
    view = ExchangeBytes(
        api="openai.responses.retrieve",
        method="GET",
        path="/v1/responses/resp_1",
        status_code=200,
        chunks=[(1, stored)],
    )

    reading = read(view, key=b"k")

    assert reading is not None
    assert (reading.fetched, reading.response_id, reading.finish_reasons) == (True, "resp_1", ("completed",))
    assert reading.usage == Usage(input_tokens=15, output_tokens=9, reasoning_tokens=0)


def test_a_foreign_get_at_such_a_path_is_no_answer() -> None:
    view = ExchangeBytes(
        api="openai.responses.retrieve",
        method="GET",
        path="/survey/responses/7",
        status_code=200,
        chunks=[(1, b'{"q": 1}')],
    )

    assert read(view, key=b"k") is None


REALTIME = [
    {"type": "session.updated", "session": {"model": "gpt-realtime", "instructions": "be brief"}},
    {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}},
    {"type": "response.output_audio.delta", "delta": "AAAA"},
    {
        "type": "response.done",
        "response": {
            "id": "resp_1",
            "status": "completed",
            "output": [{"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"}],
            "usage": {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {
                    "text_tokens": 119,
                    "audio_tokens": 13,
                    "cached_tokens": 64,
                    "cached_tokens_details": {"image_tokens": 0, "text_tokens": 64},
                },
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            },
        },
    },
]


@pytest.mark.parametrize("body", [None, {"session": {"instructions": "be brief"}, "items": [{"type": "message"}]}])
@pytest.mark.parametrize("status", [200, 101])
def test_a_realtime_response_is_read_from_the_messages_of_its_socket(body: Any, status: int) -> None:
    view = ExchangeBytes(
        api="openai.realtime",
        method="GET",
        host="api.openai.com",
        path="/v1/realtime?model=gpt-realtime",
        request_body=None if body is None else json.dumps(body).encode(),
        status_code=status,
        chunks=[(at, json.dumps(message).encode()) for at, message in enumerate(REALTIME)],
    )

    reading = read(view, key=b"k")

    assert reading is not None
    assert reading.usage == Usage(input_tokens=132, cache_read_tokens=64, output_tokens=121)
    assert (reading.extra["text_cache_read_tokens"], reading.extra["image_cache_read_tokens"]) == (64, 0)
    assert (reading.response_model, reading.response_id, reading.finish_reasons) == (
        "gpt-realtime",
        "resp_1",
        ("completed",),
    )
    assert (reading.stream, reading.status, reading.first_answer_ns) == (True, "ok", 2)
    assert [call.tool_call_id for call in reading.tool_calls] == ["c1"]
    assert (reading.system_bytes > 0) is (body is not None)


def test_a_body_cut_by_our_own_limit_is_not_taken_for_a_failure_nor_for_complete(
    exchange: Any, chat_stream: Any
) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}
    early = chat_stream([{"content": "x"}], usage, done=False)

    plain = exchange("openai.chat", b'{"id": "c", "choices": [{"mess', truncated=True, end="read")
    stream = exchange("openai.chat", early, truncated=True, end="read")

    assert (plain.status, plain.usage_source, plain.usage_complete) == ("ok", "absent", False)
    assert (stream.status, stream.usage.input_tokens, stream.usage_complete) == ("ok", 3, False)
    assert plain.extra == {"truncated": True}


def test_a_part_above_its_total_is_cut_to_it_and_kept_in_extra(exchange: Any) -> None:
    usage = {
        "prompt_tokens": 43,
        "completion_tokens": 10,
        "prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 44},
        "completion_tokens_details": {"reasoning_tokens": 11},
    }

    reading = exchange("openai.chat", {"id": "c", "choices": [], "usage": usage})

    assert reading.usage == Usage(
        input_tokens=43, cache_read_tokens=43, cache_write_tokens=43, output_tokens=10, reasoning_tokens=10
    )
    assert reading.extra["raw_reasoning_tokens"] == 11
    assert (reading.extra["raw_cache_read_tokens"], reading.extra["raw_cache_write_tokens"]) == (50, 44)


def test_what_drew_a_picture_as_svg_is_counted_beside_the_usage(exchange: Any) -> None:
    drawn = {"model": "m-svg", "input_tokens": 40, "output_tokens": 900, "reasoning_tokens": 5, "total_tokens": 940}
    answer = {"data": [], "usage": {"input_tokens": 12, "output_tokens": 272}, "svg_usage": drawn}

    reading = exchange("openai.images", answer, request={"model": "m", "prompt": "a cat"})

    assert reading.usage == Usage(input_tokens=12, output_tokens=272)
    assert reading.extra == {"svg_input_tokens": 40, "svg_output_tokens": 900, "svg_reasoning_tokens": 5}


def test_decisions_are_counted_and_other_programs_decisions_are_not_ours(exchange: Any) -> None:
    usage = {
        "input_tokens": 90,
        "input_tokens_details": {"cached_tokens": 64, "cache_write_tokens": 0},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 93,
    }
    asked = {"model": "m", "input": "a review", "questions": [{"type": "predicate", "question": "Is it kind?"}]}
    answer = {"answers": [{"type": "predicate", "probability": 0.9}], "model": "m-1", "usage": usage}

    reading = exchange("openai.decisions", answer, request=asked)

    assert reading.usage == Usage(
        input_tokens=90, cache_read_tokens=64, cache_write_tokens=0, output_tokens=3, reasoning_tokens=0
    )
    assert (reading.response_model, reading.message_roles, reading.status) == ("m-1", ("user",), "ok")
    other = json.dumps({"input": "x", "questions": [1]}).encode()
    assert read(ExchangeBytes(api="openai.decisions", request_body=other, chunks=[(0, b"{}")]), key=b"k") is None
