"""What counts as a token, and how often: usage is set, never summed; subsets never add; None is not 0."""

from typing import Any

import pytest

from tokenflation.sdk.records import Usage


def _chat(usage: Any, **more: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": "yes"}
    return {"id": "c", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]} | {
        "usage": usage,
        **more,
    }


def test_cached_and_reasoning_tokens_are_parts_and_never_added(exchange: Any) -> None:
    usage = {
        "prompt_tokens": 200,
        "completion_tokens": 150,
        "total_tokens": 350,
        "prompt_tokens_details": {"cached_tokens": 64},
        "completion_tokens_details": {"reasoning_tokens": 100},
    }

    reading = exchange("openai.chat", _chat(usage))

    assert reading.usage == Usage(
        input_tokens=200, cache_read_tokens=64, output_tokens=150, reasoning_tokens=100, cache_write_tokens=None
    )
    assert (reading.usage_source, reading.usage_complete) == ("provider", True)


def test_anthropic_input_adds_cache_reads_and_writes_and_keeps_the_raw_count(exchange: Any) -> None:
    usage = {
        "input_tokens": 50,
        "cache_read_input_tokens": 1000,
        "cache_creation_input_tokens": 300,
        "output_tokens": 7,
    }

    reading = exchange("anthropic.messages", {"id": "msg", "model": "m", "content": [], "usage": usage})

    assert reading.usage == Usage(input_tokens=1350, cache_read_tokens=1000, cache_write_tokens=300, output_tokens=7)
    assert reading.extra["raw_input_tokens"] == 50


def test_the_output_of_message_delta_replaces_the_placeholder_of_message_start(
    exchange: Any, messages_stream: Any
) -> None:
    events = messages_stream({"input_tokens": 20, "output_tokens": 1}, {"output_tokens": 150})

    usage = exchange("anthropic.messages", events).usage

    assert (usage.input_tokens, usage.output_tokens) == (20, 150)


def test_message_delta_sets_input_and_cache_counts_instead_of_adding(exchange: Any, messages_stream: Any) -> None:
    start = {"input_tokens": 20, "cache_read_input_tokens": 5, "cache_creation_input_tokens": None, "output_tokens": 1}
    delta = {"input_tokens": 28, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 70, "output_tokens": 9}

    usage = exchange("anthropic.messages", messages_stream(start, delta)).usage

    assert usage == Usage(input_tokens=998, cache_read_tokens=900, cache_write_tokens=70, output_tokens=9)


def test_cache_counts_that_stand_only_in_message_delta_are_taken(exchange: Any, messages_stream: Any) -> None:
    events = messages_stream({"input_tokens": 20}, {"cache_read_input_tokens": 80, "output_tokens": 9})

    usage = exchange("anthropic.messages", events).usage

    assert (usage.input_tokens, usage.cache_read_tokens, usage.cache_write_tokens) == (100, 80, None)


def test_cumulative_usage_in_every_chunk_keeps_the_last(exchange: Any, chat_stream: Any) -> None:
    events = chat_stream([{"content": "a"}, {"content": "b"}])
    for count, event in enumerate(events[:3]):
        event["usage"] = {"prompt_tokens": 11, "completion_tokens": count + 1}

    usage = exchange("openai.chat", events).usage

    assert (usage.input_tokens, usage.output_tokens) == (11, 3)


def test_usage_is_found_inside_the_choice(exchange: Any, chat_stream: Any) -> None:
    events = chat_stream([{"content": "a"}])
    events[1]["choices"][0]["usage"] = {"prompt_tokens": 19, "completion_tokens": 13, "cached_tokens": 10}

    usage = exchange("openai.chat", events, host="api.moonshot.ai").usage

    assert usage == Usage(input_tokens=19, output_tokens=13, cache_read_tokens=10)


def test_usage_is_found_in_x_groq(exchange: Any, chat_stream: Any) -> None:
    events = chat_stream([{"content": "a"}])
    events[1]["x_groq"] = {"id": "req", "usage": {"prompt_tokens": 19, "completion_tokens": 13}}

    assert exchange("openai.chat", events).usage == Usage(input_tokens=19, output_tokens=13)


def test_deepseek_cache_hits_are_a_part_of_the_prompt(exchange: Any) -> None:
    usage = {"prompt_tokens": 90, "completion_tokens": 1, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 26}

    assert exchange("openai.chat", _chat(usage)).usage == Usage(input_tokens=90, cache_read_tokens=64, output_tokens=1)


def test_mistral_cache_reads_are_found_by_each_of_their_names(exchange: Any) -> None:
    for said in (
        {"prompt_tokens_details": {"cached_tokens": 64}, "prompt_token_details": None, "num_cached_tokens": None},
        {"prompt_tokens_details": None, "prompt_token_details": {"cached_tokens": 64}},
        {"num_cached_tokens": 64},
    ):
        usage = exchange("openai.chat", _chat({"prompt_tokens": 90, "completion_tokens": 1, **said})).usage

        assert usage == Usage(input_tokens=90, cache_read_tokens=64, output_tokens=1)


def test_reasoning_that_only_the_total_holds_is_output(exchange: Any) -> None:
    usage = {"prompt_tokens": 35, "completion_tokens": 12, "total_tokens": 109}

    google = exchange("openai.chat", _chat(usage), host="generativelanguage.googleapis.com").usage
    other = exchange("openai.chat", _chat(usage)).usage

    assert (google.output_tokens, google.reasoning_tokens) == (74, 62)
    assert (other.output_tokens, other.reasoning_tokens) == (12, None)


def test_audio_that_only_the_total_holds_is_input(exchange: Any) -> None:
    usage = {"prompt_audio_seconds": 203, "prompt_tokens": 4, "total_tokens": 3264, "completion_tokens": 635}

    assert exchange("openai.chat", _chat(usage)).usage == Usage(input_tokens=2629, output_tokens=635)


def _gemini(**usage: Any) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": "yes"}]}
    return {"candidates": [{"content": content, "finishReason": "STOP"}], "usageMetadata": usage}


def test_gemini_thoughts_are_output_beside_candidates(exchange: Any) -> None:
    body = _gemini(promptTokenCount=9, candidatesTokenCount=50, thoughtsTokenCount=100, toolUsePromptTokenCount=4)

    usage = exchange("google.generate_content", body).usage

    assert usage == Usage(input_tokens=13, output_tokens=150, reasoning_tokens=100)


def test_gemini_thoughts_are_output_where_the_prompt_is_not_counted(exchange: Any) -> None:
    usage = exchange("google.generate_content", _gemini(totalTokenCount=390, thoughtsTokenCount=94)).usage

    assert usage == Usage(output_tokens=94, reasoning_tokens=94)


def test_the_last_gemini_chunk_wins_as_a_whole(exchange: Any) -> None:
    events = [
        _gemini(promptTokenCount=9, candidatesTokenCount=21, cachedContentTokenCount=8),
        _gemini(promptTokenCount=9, candidatesTokenCount=None, thoughtsTokenCount=78),
        _gemini(trafficType="ON_DEMAND"),
    ]

    usage = exchange("google.generate_content", events).usage

    assert usage == Usage(input_tokens=9, output_tokens=78, reasoning_tokens=78)


def test_hidden_iterations_are_kept_apart_from_the_top_level_usage(exchange: Any) -> None:
    usage = {
        "input_tokens": 10,
        "output_tokens": 5,
        "iterations": [
            {"type": "compaction", "input_tokens": 700, "cache_read_input_tokens": 100, "output_tokens": 60},
            {"type": "message", "input_tokens": 10, "output_tokens": 5},
        ],
    }

    reading = exchange("anthropic.messages", {"id": "msg", "content": [], "usage": usage})

    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (10, 5)
    assert (reading.extra["billed_input_tokens"], reading.extra["billed_output_tokens"]) == (810, 65)
    assert (reading.extra["compaction_input_tokens"], reading.extra["compaction_output_tokens"]) == (800, 60)


def test_cache_writes_are_a_part_of_the_input(exchange: Any) -> None:
    usage = {
        "input_tokens": 500,
        "input_tokens_details": {"cached_tokens": 100, "cache_write_tokens": 300},
        "output_tokens": 3,
        "output_tokens_details": {"reasoning_tokens": 0},
    }

    reading = exchange("openai.responses", {"id": "resp", "status": "completed", "output": [], "usage": usage})

    assert reading.usage == Usage(
        input_tokens=500, cache_read_tokens=100, cache_write_tokens=300, output_tokens=3, reasoning_tokens=0
    )


def test_three_choices_are_one_call_with_three_finish_reasons(exchange: Any) -> None:
    body = _chat({"prompt_tokens": 5, "completion_tokens": 30})
    body["choices"] = [
        {"index": i, "message": {}, "finish_reason": r} for i, r in enumerate(["stop", "length", "stop"])
    ]

    reading = exchange("openai.chat", body)

    assert reading.finish_reasons == ("stop", "length", "stop")
    assert reading.usage.output_tokens == 30


def test_a_queued_background_response_has_no_usage_and_no_failure(exchange: Any) -> None:
    reading = exchange("openai.responses", {"id": "resp_1", "status": "queued", "output": [], "usage": None})

    assert (reading.status, reading.usage_source, reading.response_id) == ("ok", "absent", "resp_1")
    assert reading.finish_reasons == ("queued",)


def test_a_reported_zero_is_not_a_missing_count(exchange: Any) -> None:
    with_zero = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}}
    without = {"prompt_tokens": 5, "completion_tokens": 3, "prompt_tokens_details": None}

    assert exchange("openai.chat", _chat(with_zero)).usage.cache_read_tokens == 0
    assert exchange("openai.chat", _chat(without)).usage.cache_read_tokens is None


@pytest.mark.parametrize("value", [True, 12.0, "12", -1, 2**53 + 1, 10**30, [], {}])
def test_a_value_that_is_no_count_is_rejected_and_the_call_kept(exchange: Any, value: Any) -> None:
    reading = exchange("openai.chat", _chat({"prompt_tokens": value, "completion_tokens": 3}))

    assert reading.usage == Usage(output_tokens=3)
    assert (reading.status, reading.usage_source, reading.usage_complete) == ("ok", "partial", False)


def test_a_rejected_part_of_the_input_makes_the_input_unknown(exchange: Any) -> None:
    usage = {"input_tokens": 50, "cache_read_input_tokens": "1000", "output_tokens": 7}

    reading = exchange("anthropic.messages", {"id": "msg", "content": [], "usage": usage})

    assert reading.usage == Usage(output_tokens=7)


def test_a_sum_that_no_count_may_be_is_rejected_and_its_terms_kept(exchange: Any) -> None:
    usage = {"input_tokens": 10, "cache_read_input_tokens": 2**53, "output_tokens": 7}

    reading = exchange("anthropic.messages", {"id": "msg", "model": "m", "content": [], "usage": usage})

    assert reading.usage == Usage(input_tokens=None, cache_read_tokens=2**53, output_tokens=7)
    assert (reading.usage_source, reading.extra["raw_input_tokens"]) == ("partial", 10)


def test_what_only_some_providers_report_goes_to_extra(exchange: Any) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "cost": 0.00042, "prompt_tokens_details": {"audio_tokens": 2}}
    timings = {"prompt_n": 5, "prompt_ms": 12.5, "predicted_n": 3, "predicted_ms": 90.25}

    extra = exchange("openai.chat", _chat(usage, service_tier="flex", timings=timings)).extra

    assert extra == {"cost": 0.00042, "audio_input_tokens": 2, "service_tier": "flex", "timings": timings}


def test_gemini_modalities_go_to_extra(exchange: Any) -> None:
    details = [{"modality": "TEXT", "tokenCount": 5}, {"modality": "IMAGE", "tokenCount": 258}]

    reading = exchange(
        "google.generate_content", _gemini(promptTokenCount=263, promptTokensDetails=details, serviceTier="standard")
    )

    assert reading.extra == {"text_input_tokens": 5, "image_input_tokens": 258, "service_tier": "standard"}


def test_what_hosted_tools_used_stands_beside_the_models_own_usage(exchange: Any) -> None:
    usage = {
        "input_tokens": 100,
        "input_tokens_details": {
            "cached_tokens": 0,
            "cache_write_tokens": 64,
            "cache_write_tokens_details": {"ttl_30m_tokens": 48, "ttl_12h_tokens": 16},
        },
        "output_tokens": 7,
    }
    drawn = {"input_tokens": 30, "output_tokens": 4160, "total_tokens": 4190, "cached_tokens": 20}
    program = {"type": "program", "id": "prog_1", "call_id": "call_p", "code": "await search('x')"}
    call = {"type": "function_call", "id": "fc_1", "call_id": "call_f", "name": "search", "arguments": "{}"}
    helped = {"type": "multi_agent_call", "id": "m", "call_id": "call_m", "action": "spawn_agent", "arguments": "{}"}
    answer = {
        "id": "resp_1",
        "status": "completed",
        "output": [program, call, helped],
        "usage": usage,
        "tool_usage": {"image_gen": drawn, "web_search": {"num_requests": 2}},
    }

    reading = exchange("openai.responses", answer)

    assert reading.usage == Usage(input_tokens=100, cache_read_tokens=0, cache_write_tokens=64, output_tokens=7)
    assert [(one.tool_call_id, one.name, one.kind) for one in reading.tool_calls] == [
        ("call_p", "program", "server"),
        ("call_f", "search", "client"),
        ("call_m", "spawn_agent", "server"),
    ]
    assert reading.extra == {
        "cache_write_30m_tokens": 48,
        "cache_write_12h_tokens": 16,
        "web_search_requests": 2,
        "image_generation_input_tokens": 30,
        "image_generation_output_tokens": 4160,
        "image_generation_cache_read_tokens": 20,
    }
