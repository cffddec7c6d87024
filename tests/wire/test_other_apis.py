"""Apis beside the four great ones, with bodies shaped as their documentation shows them."""

import json
from typing import Any

import pytest

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire import ExchangeBytes, read

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def _lines(*documents: dict[str, Any]) -> list[bytes]:
    return [json.dumps(document).encode() + b"\n" for document in documents]


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


def test_cohere_counts_what_the_model_processed_and_keeps_what_is_billed(exchange: Any) -> None:
    answer = {
        "id": "c",
        "message": {
            "content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "yes"}],
            "tool_plan": "search",
            "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": '{"q": 1}'}}],
        },
        "finish_reason": "TOOL_CALL",
        "usage": {
            "billed_units": {"input_tokens": 41, "output_tokens": 25},
            "tokens": {"input_tokens": 1441, "output_tokens": 54},
            "cached_tokens": 144,
        },
    }

    reading = exchange("cohere.chat", answer, request=ASKED, path="/v2/chat")

    assert reading.usage == Usage(input_tokens=1441, cache_read_tokens=144, output_tokens=54)
    assert reading.extra == {"billed_units_input_tokens": 41, "billed_units_output_tokens": 25}
    assert [(call.tool_call_id, call.name, call.arguments_bytes) for call in reading.tool_calls] == [("t", "f", 8)]


def test_a_cohere_stream_is_read_event_by_event(exchange: Any) -> None:
    def delta(message: dict[str, Any], kind: str = "content-delta", **more: Any) -> dict[str, Any]:
        return {"type": kind, "index": 0, "delta": {"message": message}, **more}

    start = {"id": "t", "type": "function", "function": {"name": "f", "arguments": ""}}
    events = [
        {"type": "message-start", "id": "c", "delta": {"message": {"role": "assistant"}}},
        delta({"tool_plan": "I will"}, "tool-plan-delta"),
        delta({"content": {"thinking": "hm"}}),
        delta({"content": {"text": "yes"}}),
        delta({"tool_calls": start}, "tool-call-start"),
        delta({"tool_calls": {"function": {"arguments": '{"q"'}}}, "tool-call-delta"),
        delta({"tool_calls": {"function": {"arguments": ": 1}"}}}, "tool-call-delta"),
        {
            "type": "message-end",
            "delta": {"finish_reason": "TOOL_CALL", "usage": {"tokens": {"input_tokens": 9, "output_tokens": 5}}},
        },
    ]

    reading = exchange("cohere.chat", events, request=ASKED, path="/v2/chat")

    assert reading.usage == Usage(input_tokens=9, output_tokens=5)
    assert (reading.first_token_ns, reading.first_answer_ns, reading.finish_reasons) == (1, 3, ("TOOL_CALL",))
    assert [(call.tool_call_id, call.arguments_bytes) for call in reading.tool_calls] == [("t", 8)]


def test_a_stream_of_coheres_first_api_says_all_again_at_its_end(exchange: Any) -> None:
    calls = [{"name": "f", "parameters": {"q": 1}}, {"name": "f", "parameters": {"q": 2}}]
    meta = {"tokens": {"input_tokens": 69, "output_tokens": 9}, "billed_units": {"input_tokens": 7, "output_tokens": 9}}
    end = {"response_id": "r", "text": "yes", "tool_calls": calls, "meta": meta}
    lines = _lines(
        {"is_finished": False, "event_type": "stream-start", "generation_id": "g"},
        {"is_finished": False, "event_type": "text-generation", "text": "yes"},
        {"is_finished": False, "event_type": "tool-calls-generation", "tool_calls": calls},
        {"is_finished": True, "event_type": "stream-end", "finish_reason": "COMPLETE", "response": end},
    )

    reading = exchange("cohere.v1", lines, request={"message": "hi", "stream": True}, path="/v1/chat")

    assert (reading.api, reading.response_id, reading.usage_complete) == ("cohere.chat", "r", True)
    assert (reading.usage.input_tokens, len(reading.tool_calls), reading.first_answer_ns) == (69, 2, 1)


def test_writer_shares_coheres_path_and_is_told_by_its_answer(exchange: Any) -> None:
    answer = {"id": "c", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "yes"}}]}

    reading = exchange("cohere.v1", answer, request=ASKED, path="/v1/chat", host="api.writer.com")

    assert (reading.api, reading.provider, reading.finish_reasons) == ("writer.chat", "writer", ("stop",))


def test_rerank_is_counted_where_it_is_counted_in_tokens(exchange: Any) -> None:
    asked = {"model": "m", "query": "q", "documents": ["d"]}

    voyage = exchange("cohere.rerank", {"data": [], "usage": {"total_tokens": 26}}, request=asked, path="/v1/rerank")
    cohere = exchange("cohere.rerank", {"id": "r", "meta": {"billed_units": {"search_units": 1}}}, request=asked)

    assert voyage.usage == Usage(input_tokens=26, output_tokens=0)
    assert (cohere.usage_source, cohere.extra) == ("absent", {"search_units": 1})


def test_ollama_counts_stand_in_its_last_line(exchange: Any) -> None:
    lines = _lines(
        {"model": "m", "message": {"role": "assistant", "thinking": "hm"}, "done": False},
        {"model": "m", "message": {"role": "assistant", "content": "yes"}, "done": False},
        {"model": "m", "message": {"tool_calls": [{"function": {"name": "f", "arguments": {"q": 1}}}]}, "done": False},
        {"model": "m", "message": {"content": ""}, "done": True, "done_reason": "stop", "eval_count": 63}
        | {"prompt_eval_count": 17, "total_duration": 5},
    )

    reading = exchange("ollama.chat", lines, request=ASKED, path="/api/chat")

    assert reading.usage == Usage(input_tokens=17, output_tokens=63)
    assert (reading.first_token_ns, reading.first_answer_ns, reading.usage_complete) == (0, 1, True)
    assert [call.name for call in reading.tool_calls] == ["f"]


def test_a_cached_prompt_that_ollama_does_not_count_is_unknown_not_zero(exchange: Any) -> None:
    answer = {"model": "m", "message": {"content": "yes"}, "done": True, "done_reason": "stop", "eval_count": 79}

    reading = exchange("ollama.chat", answer, request=ASKED, path="/api/chat")

    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (None, 79)
    assert (reading.usage_source, reading.usage_complete) == ("partial", False)


@pytest.mark.parametrize("answer", [{"reply": "hello"}, [1, 2], {"ok": True}, b"<html>", b""])
def test_an_application_with_a_chat_of_its_own_is_no_model(answer: Any) -> None:
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    view = ExchangeBytes(
        api="ollama.chat",
        path="/api/chat",
        request_body=json.dumps(ASKED).encode(),
        status_code=200,
        chunks=[(1, body)],
    )

    assert read(view, key=b"k") is None


def test_an_interaction_adds_thoughts_to_its_output_and_tool_use_to_its_input(exchange: Any) -> None:
    usage = {
        "total_tokens": 69,
        "total_input_tokens": 7,
        "total_cached_tokens": 2,
        "total_output_tokens": 20,
        "total_thought_tokens": 22,
        "total_tool_use_tokens": 20,
        "input_tokens_by_modality": [{"modality": "text", "tokens": 7}],
    }
    steps = [
        {"type": "thought", "signature": "s", "summary": []},
        {"type": "google_search_call", "id": "s1", "arguments": {"queries": ["q"]}},
        {"type": "function_call", "id": "f1", "name": "f", "arguments": {"q": 1}},
    ]
    answer = {"id": "i1", "model": "gemini-x", "status": "requires_action", "steps": steps, "usage": usage}
    asked = {"model": "gemini-x", "input": "hi", "previous_interaction_id": "i0"}

    reading = exchange("google.interactions", answer, request=asked, host="generativelanguage.googleapis.com")

    assert reading.usage == Usage(input_tokens=27, cache_read_tokens=2, output_tokens=42, reasoning_tokens=22)
    assert (reading.previous_response_id, reading.finish_reasons) == ("i0", ("requires_action",))
    assert [(call.name, call.kind) for call in reading.tool_calls] == [("google_search", "server"), ("f", "client")]


def test_an_interaction_without_thoughts_in_its_usage_has_them_in_its_total(exchange: Any) -> None:
    usage = {"total_tokens": 197, "total_input_tokens": 8, "total_output_tokens": 12}

    reading = exchange(
        "google.interactions", {"id": "i", "status": "completed", "usage": usage}, request={**ASKED, "input": "x"}
    )

    assert (reading.usage.output_tokens, reading.usage.reasoning_tokens) == (189, 177)


def test_an_interaction_streams_steps(exchange: Any) -> None:
    def event(kind: str, **more: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'event_type': kind, **more})}\n\n".encode()

    events = [
        event("interaction.created", interaction={"id": "i1", "status": "in_progress"}),
        event("step.start", index=0, step={"type": "thought"}),
        event("step.delta", index=0, delta={"type": "thought_summary", "content": {"type": "text", "text": "hm"}}),
        event("step.start", index=1, step={"type": "model_output"}),
        event("step.delta", index=1, delta={"type": "text", "text": "yes"}),
        event("step.start", index=2, step={"type": "function_call", "id": "f1", "name": "f", "arguments": {}}),
        event("step.delta", index=2, delta={"type": "arguments_delta", "arguments": '{"q": 1}'}),
        event(
            "interaction.completed",
            interaction={
                "id": "i1",
                "status": "completed",
                "usage": {"total_tokens": 6, "total_input_tokens": 4, "total_output_tokens": 2},
            },
        ),
        b"event: done\ndata: [DONE]\n\n",
    ]

    reading = exchange("google.interactions", events, request={"model": "g", "input": "hi", "stream": True})

    assert reading.usage == Usage(input_tokens=4, output_tokens=2)
    assert (reading.first_token_ns, reading.first_answer_ns) == (2, 4)
    assert [(call.tool_call_id, call.arguments_bytes) for call in reading.tool_calls] == [("f1", 8)]
    assert (reading.finish_reasons, reading.usage_complete, reading.response_id) == (("completed",), True, "i1")


def test_vertex_predictions_are_summed(exchange: Any) -> None:
    answer = {"predictions": [{"embeddings": {"statistics": {"token_count": n}, "values": []}} for n in (12, 10)]}

    reading = exchange(
        "google.predict", answer, request={"instances": [{"content": "x"}]}, path="/publishers/google/models/e:predict"
    )

    assert reading.usage == Usage(input_tokens=22, output_tokens=0)
    assert reading.model == "e"


def test_palm_predictions_count_in_their_metadata(exchange: Any) -> None:
    counts = {"inputTokenCount": {"totalTokens": 5}, "outputTokenCount": {"totalTokens": 7}}
    answer = {"predictions": [{"content": "yes"}], "metadata": {"tokenMetadata": counts}}

    reading = exchange("google.predict", answer, request={"instances": [{"prompt": "x"}]})

    assert reading.usage == Usage(input_tokens=5, output_tokens=7)


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
                "input_token_details": {"text_tokens": 119, "audio_tokens": 13, "cached_tokens": 64},
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
    assert (reading.response_model, reading.response_id, reading.finish_reasons) == (
        "gpt-realtime",
        "resp_1",
        ("completed",),
    )
    assert (reading.stream, reading.status, reading.first_answer_ns) == (True, "ok", 2)
    assert [call.tool_call_id for call in reading.tool_calls] == ["c1"]
    assert (reading.system_bytes > 0) is (body is not None)


def test_a_conversation_counts_what_connectors_brought_as_input(exchange: Any) -> None:
    usage = {"prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 7355, "connector_tokens": 7112}
    outputs = [
        {"type": "message.output", "content": "yes"},
        {"type": "function.call", "tool_call_id": "t", "name": "f"},
    ]

    reading = exchange(
        "mistral.conversations", {"conversation_id": "c", "outputs": outputs, "usage": usage}, request={"inputs": "hi"}
    )

    assert reading.usage == Usage(input_tokens=7300, output_tokens=55)
    assert [call.tool_call_id for call in reading.tool_calls] == ["t"]


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
