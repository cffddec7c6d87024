"""Gateways and servers that copy OpenAI's apis and leave something out, with bodies shaped as they were seen."""

from typing import Any

import pytest

from tokenflation.sdk.records import Usage

ASKED = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
COUNTED = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def _answer(model: str, **usage: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
    return {"id": "c", "model": model, "choices": [choice], "usage": usage}


@pytest.mark.parametrize("thoughts", [2, 96])
def test_vercels_gateway_leaves_geminis_thoughts_out_of_completion_and_total(exchange: Any, thoughts: int) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": thoughts}}
    answer = _answer("google/gemini-x", prompt_tokens=61, completion_tokens=10, total_tokens=71, **details)

    reading = exchange("openai.chat", answer, host="ai-gateway.vercel.sh")

    assert reading.provider == "vercel"
    assert reading.usage == Usage(input_tokens=61, output_tokens=10 + thoughts, reasoning_tokens=thoughts)


def test_vercels_gateway_counts_the_reasoning_of_other_models_within_the_completion(exchange: Any) -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 64}}
    answer = _answer("openai/gpt-x", prompt_tokens=9, completion_tokens=93, total_tokens=102, **details)

    reading = exchange("openai.chat", answer, host="ai-gateway.vercel.sh")

    assert reading.usage == Usage(input_tokens=9, output_tokens=93, reasoning_tokens=64)


def test_a_gateway_names_claudes_cache_as_claude_does_beside_a_prompt_that_holds_it(exchange: Any) -> None:
    cache = {"cache_creation_input_tokens": 40, "cache_read_input_tokens": 50}

    reading = exchange("openai.chat", _answer("claude-x", prompt_tokens=100, completion_tokens=3, **cache))

    assert reading.usage == Usage(input_tokens=100, cache_read_tokens=50, cache_write_tokens=40, output_tokens=3)


@pytest.mark.parametrize("details", [{}, {"completion_tokens_details": {"accepted_prediction_tokens": 0}}])
def test_a_server_may_count_its_reasoning_beside_the_details_of_the_completion_that_holds_it(
    exchange: Any, details: dict[str, Any]
) -> None:
    answer = _answer("qwen-x", prompt_tokens=24, completion_tokens=89, total_tokens=113, reasoning_tokens=61, **details)

    assert exchange("openai.chat", answer).usage == Usage(input_tokens=24, output_tokens=89, reasoning_tokens=61)


def test_llama_cpps_usage_of_several_choices_is_that_of_one_and_said_to_be_partial(
    exchange: Any, chat_stream: Any
) -> None:
    answer = {**_answer("gemma", **COUNTED), "timings": {"prompt_n": 7, "predicted_n": 3}}
    several = {**answer, "choices": [{**answer["choices"][0], "index": at} for at in range(2)]}

    assert exchange("openai.chat", answer).usage_source == "provider"
    assert exchange("openai.chat", {**several, "timings": None}).usage_source == "provider"
    for said in (
        several,
        chat_stream([], {**several, "choices": [{"index": 1, "delta": {}, "finish_reason": "stop"}]}),
    ):
        reading = exchange("openai.chat", said)
        assert (reading.status, reading.usage_source, reading.usage_complete) == ("ok", "partial", False)


def test_reasoning_that_perplexity_bills_beside_the_completion_is_no_part_of_it(exchange: Any) -> None:
    searched = {"reasoning_tokens": 95, "num_search_queries": 30, "citation_tokens": 20}

    reading = exchange("openai.chat", _answer("sonar-x", **COUNTED, **searched))

    assert reading.usage == Usage(input_tokens=7, output_tokens=3)
    assert reading.extra == {"raw_reasoning_tokens": 95, "num_search_queries": 30, "citation_tokens": 20}


@pytest.mark.parametrize("host", ["api.perplexity.ai", "router.huggingface.co", "localhost:8080"])
@pytest.mark.parametrize("end", ["read", "closed"])
def test_a_chat_stream_without_done_is_whole_once_its_reason_and_its_counts_have_come(
    exchange: Any, host: str, end: str
) -> None:
    last = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": COUNTED}
    events = [{"choices": [{"index": 0, "delta": {"content": "yes"}}]}, last]

    reading = exchange("openai.chat", events, host=host, end=end)

    assert (reading.status, reading.usage_source, reading.usage_complete) == ("ok", "provider", True)


@pytest.mark.parametrize("lost", ["reason", "usage"])
def test_a_stream_without_its_terminator_needs_both_reason_and_counts(exchange: Any, lost: str) -> None:
    last = {
        "choices": [{"index": 0, "delta": {}, "finish_reason": None if lost == "reason" else "stop"}],
        "usage": None if lost == "usage" else COUNTED,
    }

    assert exchange("openai.chat", [last], host="api.perplexity.ai", end="read").status == "cut"


@pytest.mark.parametrize("request_body", [ASKED, {"variables": {"city": "x"}, "stream": False}])
def test_a_chat_is_read_at_the_path_of_completions(exchange: Any, request_body: dict[str, Any]) -> None:
    reading = exchange(
        "openai.completions", _answer("m-1", **COUNTED), request=request_body, path="/v1/prompts/pp-1/completions"
    )

    assert (reading.api, reading.response_model, reading.finish_reasons) == ("openai.chat", "m-1", ("stop",))
    assert reading.usage == Usage(input_tokens=7, output_tokens=3)


def test_images_of_openrouter_count_as_its_chat_does(exchange: Any) -> None:
    usage = {**COUNTED, "cost": 0.03, "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": 3}}
    answer = {"created": 0, "data": [{"b64_json": "aGk="}], "usage": usage}

    reading = exchange("openai.images", answer, request={"model": "m", "prompt": "a cat"}, path="/api/v1/images")

    assert reading.usage == Usage(input_tokens=7, output_tokens=3, reasoning_tokens=0)
    assert reading.extra["cost"] == 0.03
