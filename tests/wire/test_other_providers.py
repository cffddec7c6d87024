"""Cohere, Writer, Ollama, Google and Mistral beside their chat, with bodies as their documentation shows them."""

import json
from typing import Any

import pytest

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire import ExchangeBytes, read

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
HF = {"inputs": "hi", "parameters": {"details": True}}


def _lines(*documents: dict[str, Any]) -> list[bytes]:
    return [json.dumps(document).encode() + b"\n" for document in documents]


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


def test_cohere_counts_reasoning_within_the_output_and_images_beside_the_prompt(exchange: Any) -> None:
    usage = {
        "billed_units": {"input_tokens": 267, "output_tokens": 66},
        "tokens": {"input_tokens": 34, "output_tokens": 70, "reasoning_tokens": 9, "image_tokens": 259},
    }

    reading = exchange("cohere.chat", {"finish_reason": "COMPLETE", "usage": usage}, request=ASKED, path="/v2/chat")

    assert reading.usage == Usage(input_tokens=293, output_tokens=70, reasoning_tokens=9)
    assert reading.extra["image_input_tokens"] == 259


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


@pytest.mark.parametrize(
    ("said", "tokens"), [(71.0, 71), (71, 71), (0.0, 0), (71.5, None), (-1.0, None), (1e300, None)]
)
def test_cohere_counts_in_doubles_of_which_the_whole_ones_are_counts(
    exchange: Any, said: float, tokens: int | None
) -> None:
    message = {"role": "assistant", "content": [{"type": "text", "text": "yes"}]}
    usage = {"billed_units": {"input_tokens": 5.0}, "tokens": {"input_tokens": said, "output_tokens": 18.0}}

    reading = exchange(
        "cohere.chat", {"id": "c", "finish_reason": "COMPLETE", "message": message, "usage": usage}, request=ASKED
    )

    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (tokens, 18)
    assert reading.extra == {"billed_units_input_tokens": 5}


def test_a_cohere_stream_that_fails_names_why_at_its_end(exchange: Any) -> None:
    failed = {"finish_reason": "ERROR", "usage": {}, "error": "no", "error_type": "INVALID_TOOL_GENERATION"}
    events = [{"type": "message-start", "id": "c"}, {"type": "message-end", "delta": failed}]

    reading = exchange("cohere.chat", events, request=ASKED, path="/v2/chat")
    unnamed = exchange("cohere.chat", {"error": "no"}, request=ASKED, path="/v2/chat")

    assert (reading.status, reading.error_type) == ("error", "INVALID_TOOL_GENERATION")
    assert (unnamed.status, unnamed.error_type) == ("error", "error")


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


@pytest.mark.parametrize(("host", "provider"), [("api.cohere.com", "cohere"), ("localhost:8000", "cohere_compatible")])
def test_a_rerank_of_a_server_that_copies_cohere_is_not_said_to_be_coheres(
    exchange: Any, host: str, provider: str
) -> None:
    asked = {"model": "m", "query": "q", "documents": ["d"]}

    assert exchange("cohere.rerank", {"results": []}, request=asked, host=host).provider == provider


def test_a_rerank_names_its_model_where_the_provider_does(exchange: Any) -> None:
    asked = {"model": "rerank-x", "query": "q", "documents": ["a", "b"]}
    answer = {"model": "rerank-x-lite", "results": [{"index": 1}], "usage": {"total_tokens": 17}}

    reading = exchange("cohere.rerank", answer, request=asked, path="/v1/rerank")

    assert (reading.model, reading.response_model) == ("rerank-x", "rerank-x-lite")
    assert reading.usage == Usage(input_tokens=17, output_tokens=0)


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
    assert reading.extra == {"tool_use_input_tokens": 20, "text_input_tokens": 7}


def test_an_interaction_without_thoughts_in_its_usage_has_them_in_its_total(exchange: Any) -> None:
    usage = {"total_tokens": 197, "total_input_tokens": 8, "total_output_tokens": 12}

    reading = exchange(
        "google.interactions", {"id": "i", "status": "completed", "usage": usage}, request={**ASKED, "input": "x"}
    )

    assert (reading.usage.output_tokens, reading.usage.reasoning_tokens) == (189, 177)


@pytest.mark.parametrize(
    ("api", "request_body"),
    [
        ("google.interactions", {"model": "g", "input": {"type": "text", "text": "hi"}}),
        ("google.generate_content", {"contents": {"role": "user", "parts": {"text": "hi"}}}),
    ],
)
def test_google_takes_one_message_without_a_list(exchange: Any, api: str, request_body: dict[str, Any]) -> None:
    reading = exchange(api, {}, request=request_body)

    assert (reading.api, reading.message_roles) == (api, ("user",))


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


def test_an_inference_endpoint_is_read_by_what_it_serves(exchange: Any) -> None:
    counts = {"prompt_tokens": 8, "total_tokens": 8}
    embedded = exchange("invocations", {"data": [], "usage": counts}, request={"input": ["hi"]})
    generated = exchange("invocations", [{"generated_text": "yes", "details": {"generated_tokens": 2}}], request=HF)
    asked = json.dumps({"inputs": [[0.1, 0.2]]}).encode()
    other = ExchangeBytes(api="invocations", request_body=asked, status_code=200, chunks=[(0, b'{"predictions": [1]}')])

    assert (embedded.api, embedded.usage) == ("openai.embeddings", Usage(input_tokens=8, output_tokens=0))
    assert (generated.api, generated.usage.output_tokens) == ("huggingface.generate", 2)
    assert read(other, key=b"key") is None


def test_a_model_of_the_hub_answers_with_a_list(exchange: Any) -> None:
    answer = b'[{"generated_text": "hi there"}]'

    reading = exchange("huggingface.generate", answer, request=HF, path="/models/gpt2")

    assert (reading.status, reading.stream, reading.answer) == ("ok", False, "hi there")
    assert reading.usage_source == "absent"


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


def test_what_is_appended_to_a_conversation_goes_on_from_what_the_provider_keeps(exchange: Any) -> None:
    usage = {"prompt_tokens": 188, "completion_tokens": 55, "total_tokens": 243}
    answer = {"conversation_id": "c", "outputs": [{"type": "message.output", "content": "yes"}], "usage": usage}

    first, second, anew = (
        exchange("mistral.conversations", answer, request={"inputs": "hi"}, path=f"/v1/conversations{rest}")
        for rest in ("", "/c", "/c/restart")
    )

    assert (first.response_id, first.previous_response_id) == ("c", None)
    assert (second.previous_response_id, anew.previous_response_id) == ("c", "c")
