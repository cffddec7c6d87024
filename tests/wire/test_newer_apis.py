"""Decisions, kept contents, predictions, speech and the like, with bodies shaped as their clients' types say."""

import json
from typing import Any

import pytest
from tests.matrix.server import event_stream_message

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire import ExchangeBytes, read, recognise

QUESTIONS = {"q": {"type": "noul", "instructions": "Is it kind?"}}
ANSWERS = {"q": {"type": "noul", "noul": 0.3}}


def test_googles_decisions_have_an_interactions_usage(exchange: Any) -> None:
    asked = {"model": "models/gemini-x", "input": "a review", "questions": QUESTIONS}
    usage = {"total_input_tokens": 12, "total_cached_tokens": 4, "total_output_tokens": 3, "total_tokens": 15}
    reading = exchange("openai.decisions", {"answers": ANSWERS, "usage": usage}, request=asked)
    assert reading.usage == Usage(input_tokens=12, cache_read_tokens=4, output_tokens=3)
    assert (reading.api, reading.model, reading.status) == ("google.decisions", "models/gemini-x", "ok")
    assert reading.usage_complete


def test_decisions_on_a_state_are_counted(exchange: Any) -> None:
    asked = {"model": "m", "state": "a review", "questions": QUESTIONS}
    answer = {"model": "m", "answers": ANSWERS, "usage": {"input_tokens": 12, "output_tokens": 3}}
    reading = exchange("openai.decisions", answer, request=asked)
    assert (reading.api, reading.usage) == ("openai.decisions", Usage(input_tokens=12, output_tokens=3))


def test_contents_that_are_kept_are_read_once_and_generate_nothing(exchange: Any) -> None:
    asked = {"model": "models/gemini-x", "contents": [{"role": "user", "parts": [{"text": "a book"}]}]}
    answer = {"name": "cachedContents/1", "model": "models/gemini-x", "usageMetadata": {"totalTokenCount": 4096}}
    reading = exchange("google.cached_contents", answer, request=asked)
    assert reading.usage == Usage(input_tokens=4096, cache_write_tokens=4096, output_tokens=0)
    assert (reading.response_id, reading.usage_source) == ("cachedContents/1", "provider")


def test_ollama_counts_a_whole_prompt_and_what_of_it_was_cached(exchange: Any) -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    counts = {"prompt_eval_count": 11, "prompt_eval_cached_count": 8, "eval_count": 18}
    answer = {"model": "m", "message": {"role": "assistant", "content": "yes"}, "done": True, "done_reason": "stop"}
    reading = exchange("ollama.chat", {**answer, **counts}, request=asked)
    assert reading.usage == Usage(input_tokens=11, cache_read_tokens=8, output_tokens=18)


def test_the_token_ids_of_an_answer_of_ollamas_name_it_to_the_request_that_goes_on_from_it(exchange: Any) -> None:
    done = {"model": "m", "response": "yes", "done": True, "done_reason": "stop", "prompt_eval_count": 3}
    asked = {"model": "m", "prompt": "hi"}
    first = exchange(
        "ollama.generate", [{"model": "m", "response": "yes"}, done | {"context": [7, 8, 9]}], request=asked
    )
    then, other = (exchange("ollama.generate", done, request=asked | {"context": ids}) for ids in ([7, 8, 9], [7, 8]))
    assert (first.previous_response_id, first.response_id, then.kept_as) == (None, None, None)
    assert then.previous_response_id == first.kept_as != other.previous_response_id
    keyless = exchange("ollama.generate", done | {"context": []}, request=asked | {"context": []})
    assert (keyless.previous_response_id, keyless.kept_as) == (None, None)


def test_mistrals_speech_needs_no_voice_and_ends_with_chats_counts(exchange: Any) -> None:
    events = [
        {"type": "speech.audio.delta", "audio_data": "AA=="},
        {"type": "speech.audio.done", "usage": {"prompt_tokens": 4, "completion_tokens": 9, "total_tokens": 13}},
    ]
    reading = exchange("openai.speech", events, request={"model": "voxtral", "input": "hi", "stream": True})
    assert (reading.usage, reading.status) == (Usage(input_tokens=4, output_tokens=9), "ok")


@pytest.mark.parametrize(
    ("api", "asked", "answer"),
    [
        ("cohere.summarize", {"model": "m", "text": "a book"}, {"id": "s", "summary": "short"}),
        ("cohere.parse", {"model": "m", "document": {}}, {"id": "p", "pages": [], "finish_reason": "COMPLETE"}),
    ],
)
def test_cohere_counts_in_meta(exchange: Any, api: str, asked: dict[str, Any], answer: dict[str, Any]) -> None:
    meta = {"billed_units": {"input_tokens": 11.0, "output_tokens": 4.0}}
    assert exchange(api, {**answer, "meta": meta}, request=asked).usage == Usage(input_tokens=11, output_tokens=4)


def test_bedrocks_rerank_is_a_call_without_counts(exchange: Any) -> None:
    asked = {"queries": [{"type": "TEXT"}], "sources": [], "rerankingConfiguration": {}}
    reading = exchange("cohere.rerank", {"results": [{"index": 0, "relevanceScore": 0.5}]}, request=asked)
    assert (reading.api, reading.status, reading.usage_source) == ("bedrock.rerank", "ok", "absent")


def test_a_prediction_of_a_language_model_counts_in_its_metrics(exchange: Any) -> None:
    metrics = {"input_token_count": 30, "output_token_count": 40, "predict_time": 1.5}
    answer = {"id": "p", "model": "o/m", "status": "succeeded", "output": ["a", "b"], "error": None, "metrics": metrics}
    asked = {"input": {"prompt": "hi", "system_prompt": "be kind"}}
    reading = exchange("replicate.predictions", answer, request=asked, path="/v1/models/o/m/predictions")
    assert reading.usage == Usage(input_tokens=30, output_tokens=40)
    assert (reading.model, reading.response_id, reading.finish_reasons) == ("o/m", "p", ("succeeded",))
    assert reading.extra["predict_time"] == 1.5
    assert reading.system_bytes > 0


def _read(api: str, asked: Any, answer: bytes) -> Any:
    view = ExchangeBytes(api=api, request_body=json.dumps(asked).encode(), status_code=200, chunks=[(1, answer)])
    return read(view, key=b"k")


def test_predictions_of_other_programs_are_none() -> None:
    for answer in ({"id": 7}, {"predictions": [1]}, {"id": "x", "status": "new"}, {"id": "x", "score": 0.2}):
        assert _read("replicate.predictions", {"input": {"a": 1}}, json.dumps(answer).encode()) is None


@pytest.mark.parametrize("asked", [{"text": "a book"}, {"text": "a book", "model": "m"}])
def test_summaries_of_other_programs_are_no_calls(asked: dict[str, Any]) -> None:
    assert _read("cohere.summarize", asked, b'{"id": "s", "summary": "short", "meta": {"words": 1}}') is None


@pytest.mark.parametrize("asked", [{"prompt": "hi"}, {"messages": [{"role": "user", "content": "hi"}]}])
def test_an_agents_own_server_is_no_model(asked: dict[str, Any]) -> None:
    assert _read("invocations", asked, b'{"result": "hello"}') is None


def test_a_stream_of_sagemakers_is_read_through_its_pieces() -> None:
    chunks = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "yes"}, "finish_reason": None}]},
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"id": "c", "choices": [], "usage": {"prompt_tokens": 8, "completion_tokens": 3, "total_tokens": 11}},
    ]
    body = b"".join(f"data: {json.dumps(chunk)}\n\n".encode() for chunk in chunks) + b"data: [DONE]\n\n"
    headers = {":event-type": "PayloadPart", ":message-type": "event"}
    pieces = [body[at : at + 50] for at in range(0, len(body), 50)]
    asked = {"messages": [{"role": "user", "content": "hi"}], "stream": True, "stream_options": {"include_usage": True}}
    reading = _read("invocations", asked, b"".join(event_stream_message(headers, piece) for piece in pieces))
    assert (reading.api, reading.usage, reading.status) == ("openai.chat", Usage(input_tokens=8, output_tokens=3), "ok")
    assert (reading.stream, reading.answer, reading.usage_complete) == (True, "yes", True)


def test_a_request_to_an_agents_own_endpoint_names_neither_model_nor_agent(exchange: Any) -> None:
    path = "/api/projects/p/agents/a/endpoint/protocols/openai/responses?api-version=v1"
    api = recognise("POST", path)
    answer = {"id": "resp_1", "status": "completed", "model": "gpt-x", "output": [], "usage": {"input_tokens": 9}}
    reading = exchange(api, answer, request={"input": "hi"}, path=path)
    assert (reading.api, reading.response_model, reading.usage.input_tokens) == ("openai.responses", "gpt-x", 9)
    assert recognise("POST", "/v1/responses") == "openai.responses"


@pytest.mark.parametrize(
    ("api", "asked", "usage", "extra"),
    [
        ("openai.transcriptions", {"file": "x"}, {"type": "duration", "seconds": 2.5}, {"audio_input_seconds": 2.5}),
        ("openai.transcriptions", {"input_audio": {}}, {"cost": 6e-4, "seconds": 6}, {"cost": 6e-4, "audio_input_seconds": 6}),
        ("openai.images", {"prompt": "x"}, {"cost_in_usd_ticks": 700000000}, {"cost_in_usd_ticks": 700000000}),
        ("openai.chat", {"messages": []}, {"server_tool_use_details": {"web_search_requests": 2}}, {"web_search_requests": 2}),
        ("openai.responses", {"model": "m", "input": "hi"}, {"server_tool_use_details": {"web_search_requests": 2}},
         {"web_search_requests": 2}),
        ("openai.embeddings", {"input": "x"}, {"prompt_tokens_details": {"image_tokens": 7}}, {"image_input_tokens": 7}),
        ("google.interactions", {"model": "m", "input": "hi"}, {"initial_input_tokens": 5}, {"initial_input_tokens": 5}),
        ("cohere.rerank", {"query": "q", "documents": []}, {"billed_units": {"pages": 3}}, {"pages": 3}),
    ],
)  # fmt: skip
def test_what_a_usage_object_says_beside_the_counts_is_kept(
    exchange: Any, api: str, asked: Any, usage: dict[str, Any], extra: dict[str, Any]
) -> None:
    alone = usage.keys() & {"seconds", "cost_in_usd_ticks"}
    counts = {} if alone else {"prompt_tokens": 9, "input_tokens": 9, "total_input_tokens": 9}
    reading = exchange(api, {"id": "r", "text": "hi", "usage": {**usage, **counts}}, request=asked)
    assert extra.items() <= reading.extra.items()


def test_pictures_write_to_a_cache_and_writers_cached_tokens_have_a_name_of_their_own(exchange: Any) -> None:
    counts = {"prompt_tokens": 30, "completion_tokens": 4}
    picture = {"data": [], "usage": {**counts, "prompt_tokens_details": {"cache_write_tokens": 11}}}
    assert exchange("openai.images", picture, request={"prompt": "a cat"}).usage.cache_write_tokens == 11
    choice = {"index": 0, "message": {"role": "assistant", "content": "yes"}, "finish_reason": "stop"}
    said = {"id": "c", "choices": [choice], "usage": {**counts, "prompt_token_details": {"cached_tokens": 20}}}
    asked = {"model": "palmyra-x5", "messages": [{"role": "user", "content": "hi"}]}
    reading = exchange("cohere.v1", said, request=asked, host="api.writer.com")
    assert (reading.api, reading.usage.cache_read_tokens) == ("writer.chat", 20)


def test_what_agents_tell_each_other_is_no_users_word(exchange: Any) -> None:
    told = [{"type": "agent_message", "content": [{"type": "encrypted_content", "text": "x"}]}, {"type": "message"}]
    reading = exchange("openai.responses", {"id": "r"}, request={"model": "m", "input": told})
    assert reading.message_roles == ("assistant", "user")


def test_an_interaction_that_goes_on_by_a_token_sends_no_input_and_counts_by_itself(exchange: Any) -> None:
    asked = {"model": "gemini-x", "previous_interaction_id": "int_1", "continuation_token": "t"}
    usage = {"total_input_tokens": 20, "total_output_tokens": 5, "total_tokens": 25}
    answer = {"id": "int_2", "status": "requires_continuation", "model": "gemini-x", "steps": [], "usage": usage}
    reading = exchange("google.interactions", answer, request=asked)
    assert (reading.usage, reading.status) == (Usage(input_tokens=20, output_tokens=5), "ok")
    assert (reading.previous_response_id, reading.finish_reasons) == ("int_1", ("requires_continuation",))


@pytest.mark.parametrize("asked", [{"tool_confirmations": [{"tool_call_id": "t"}]}, {"from_entry_id": "e"}])
def test_a_conversation_goes_on_without_a_word_of_the_users(exchange: Any, asked: dict[str, Any]) -> None:
    said = [{"type": "message.output", "id": "m", "model": "mistral-x", "content": "done"}]
    answer = {"conversation_id": "conv_1", "outputs": said, "usage": {"prompt_tokens": 40, "completion_tokens": 6}}
    reading = exchange("mistral.conversations", answer, request=asked, path="/v1/conversations/conv_1")
    assert (reading.usage, reading.previous_response_id) == (Usage(input_tokens=40, output_tokens=6), "conv_1")


@pytest.mark.parametrize("asked", [{}, {"requestMetadata": {"team": "a"}}])
def test_a_prompt_that_bedrock_keeps_needs_nothing_of_the_request(exchange: Any, asked: dict[str, Any]) -> None:
    said = {"message": {"role": "assistant", "content": [{"text": "hi"}]}}
    answer = {"output": said, "stopReason": "end_turn", "usage": {"inputTokens": 10, "outputTokens": 2}}
    path = "/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Aprompt%2FP%3A1/converse"
    reading = exchange("bedrock.converse", answer, request=asked, path=path)
    assert (reading.usage, reading.model) == (
        Usage(input_tokens=10, output_tokens=2),
        "arn:aws:bedrock:us-east-1:1:prompt/P:1",
    )
    assert _read("bedrock.converse", asked, b'{"answer": "hi"}') is None
