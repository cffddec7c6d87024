"""Amazon Bedrock's runtime, with bodies shaped as its documentation shows them."""

from typing import Any
from urllib.parse import unquote

import pytest
from tests.wire.frames import chunk, frame

from tokenflation.sdk.records import Usage

MODEL = "us.anthropic.claude-x-v1:0"
ASKED = {"messages": [{"role": "user", "content": [{"text": "hi"}]}], "system": [{"text": "be brief"}]}
METRICS = {"inputTokenCount": 10, "outputTokenCount": 60, "invocationLatency": 5, "firstByteLatency": 2}
INVOKE = f"/model/{MODEL}/invoke"
STREAM = f"/model/{MODEL}/invoke-with-response-stream"


def test_converse_input_adds_cache_reads_and_writes(exchange: Any) -> None:
    usage = {
        "inputTokens": 3,
        "outputTokens": 20,
        "totalTokens": 1233,
        "cacheReadInputTokens": 1000,
        "cacheReadInputTokenCount": 1000,
        "cacheWriteInputTokens": 210,
    }
    content = [
        {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "s"}}},
        {"text": "yes"},
        {"toolUse": {"toolUseId": "t1", "name": "search", "input": {"q": "x"}}},
        {"toolUse": {"toolUseId": "t2", "name": "nova_grounding", "type": "server_tool_use", "input": {}}},
    ]
    answer = {"output": {"message": {"content": content}}, "stopReason": "tool_use", "usage": usage}

    reading = exchange("bedrock.converse", answer, request=ASKED, path=f"/model/{MODEL}/converse")

    assert reading.usage == Usage(input_tokens=1213, cache_read_tokens=1000, cache_write_tokens=210, output_tokens=20)
    assert (reading.provider, reading.model, reading.finish_reasons) == ("aws.bedrock", MODEL, ("tool_use",))
    assert [(call.tool_call_id, call.kind) for call in reading.tool_calls] == [("t1", "client"), ("t2", "server")]
    assert reading.usage_complete


def _converse_stream() -> list[bytes]:
    return [
        frame({"role": "assistant"}, event_type="messageStart"),
        frame({"contentBlockIndex": 0, "delta": {"reasoningContent": {"text": "hm"}}}, event_type="contentBlockDelta"),
        frame({"contentBlockIndex": 1, "delta": {"text": "yes"}}, event_type="contentBlockDelta"),
        frame(
            {"contentBlockIndex": 2, "start": {"toolUse": {"toolUseId": "t", "name": "f"}}},
            event_type="contentBlockStart",
        ),
        frame({"contentBlockIndex": 2, "delta": {"toolUse": {"input": '{"q":'}}}, event_type="contentBlockDelta"),
        frame({"contentBlockIndex": 2, "delta": {"toolUse": {"input": '"x"}'}}}, event_type="contentBlockDelta"),
        frame({"stopReason": "tool_use"}, event_type="messageStop"),
        frame({"usage": {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}}, event_type="metadata"),
    ]


def test_a_converse_stream_is_timed_and_counted(exchange: Any) -> None:
    reading = exchange("bedrock.converse", _converse_stream(), request=ASKED, path=f"/model/{MODEL}/converse-stream")

    assert reading.usage == Usage(input_tokens=9, output_tokens=4)
    assert (reading.first_chunk_ns, reading.first_token_ns, reading.first_answer_ns) == (0, 1, 2)
    assert [(call.name, call.arguments_bytes) for call in reading.tool_calls] == [("f", 9)]
    assert (reading.stream, reading.status, reading.finish_reasons) == (True, "ok", ("tool_use",))


def test_a_converse_stream_without_its_metadata_is_cut(exchange: Any) -> None:
    reading = exchange("bedrock.converse", _converse_stream()[:-1], request=ASKED, path="/model/m/converse-stream")

    assert (reading.status, reading.usage_source, reading.usage_complete) == ("cut", "absent", False)


def test_an_exception_inside_a_stream_is_an_error(exchange: Any) -> None:
    broken = frame({"message": "no"}, message_type="exception", exception_type="modelStreamErrorException")

    reading = exchange("bedrock.converse", [*_converse_stream()[:3], broken], request=ASKED)

    assert (reading.status, reading.error_type) == ("error", "modelStreamErrorException")
    assert reading.finish_reasons == ("error",)


def test_a_refusal_is_named_by_its_header(exchange: Any) -> None:
    headers = {"x-amzn-errortype": "ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/"}

    reading = exchange("bedrock.converse", {"message": "no"}, request=ASKED, status_code=400, response_headers=headers)

    assert (reading.status, reading.error_type) == ("error", "ValidationException")


def test_claude_on_invoke_model_counts_its_body_not_the_header_that_leaves_the_cache_out(exchange: Any) -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 9511, "cache_creation_input_tokens": 0, "output_tokens": 7}
    answer = {"id": "msg", "model": "claude-x", "content": [], "stop_reason": "end_turn", "usage": usage}
    headers = {"x-amzn-bedrock-input-token-count": "3", "x-amzn-bedrock-output-token-count": "7"}
    asked = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []}

    reading = exchange("bedrock.invoke", answer, request=asked, path=INVOKE, response_headers=headers)

    assert (reading.usage.input_tokens, reading.usage.cache_read_tokens) == (9514, 9511)
    assert reading.api == "bedrock.invoke"


def test_claude_streams_inside_an_event_stream(exchange: Any, messages_stream: Any) -> None:
    events = messages_stream({"input_tokens": 20, "output_tokens": 1}, {"output_tokens": 150})
    events[-1]["amazon-bedrock-invocationMetrics"] = METRICS
    asked = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []}

    reading = exchange("bedrock.invoke", [chunk(event) for event in events], request=asked, path=STREAM)

    assert reading.usage == Usage(input_tokens=20, output_tokens=150)
    assert (reading.stream, reading.usage_complete, reading.first_answer_ns) == (True, True, 2)


FAMILIES = {
    "titan": (
        {"inputText": "hi"},
        {"inputTextTokenCount": 10, "results": [{"tokenCount": 60, "outputText": "yes", "completionReason": "FINISH"}]},
        "FINISH",
    ),
    "llama": (
        {"prompt": "hi", "max_gen_len": 9},
        {"generation": "yes", "prompt_token_count": 10, "generation_token_count": 60, "stop_reason": "stop"},
        "stop",
    ),
    "nova": (
        {"messages": ASKED["messages"], "schemaVersion": "messages-v1"},
        {
            "output": {"message": {"content": [{"text": "yes"}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": 10, "outputTokens": 60, "totalTokens": 70},
        },
        "end_turn",
    ),
    "gpt-oss, deepseek, mistral, qwen, jamba": (
        {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
        {
            "id": "c",
            "model": "m",
            "choices": [{"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 10, "completion_tokens": 60, "total_tokens": 70},
        },
        "stop",
    ),
}


@pytest.mark.parametrize(("asked", "answer", "finish"), FAMILIES.values(), ids=FAMILIES)
def test_each_family_of_invoke_model_is_read_by_its_own_body(
    exchange: Any, asked: dict[str, Any], answer: dict[str, Any], finish: str
) -> None:
    reading = exchange("bedrock.invoke", answer, request=asked, path="/model/m/invoke")

    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (10, 60)
    assert (reading.finish_reasons, reading.usage_complete, reading.model) == ((finish,), True, "m")


COUNTLESS = {
    "mistral": ({"prompt": "hi"}, {"outputs": [{"text": "yes", "stop_reason": "stop"}]}, "stop"),
    "claude 2": ({"prompt": "hi", "max_tokens_to_sample": 9}, {"completion": "yes", "stop_reason": "stop"}, "stop"),
    "jurassic": (
        {"prompt": "hi", "maxTokens": 9},
        {"id": 7, "completions": [{"data": {"text": "yes"}, "finishReason": {"reason": "endoftext"}}]},
        "endoftext",
    ),
    "command": (
        {"prompt": "hi", "max_tokens": 9},
        {"id": "i", "generations": [{"text": "yes", "finish_reason": "COMPLETE"}]},
        "COMPLETE",
    ),
    "command r": ({"message": "hi"}, {"response_id": "i", "text": "yes", "finish_reason": "COMPLETE"}, "COMPLETE"),
    "deepseek": ({"prompt": "hi"}, {"choices": [{"text": "yes", "stop_reason": "length"}]}, "length"),
    "mistral chat": (
        {"messages": [{"role": "user", "content": "hi"}]},
        {"choices": [{"index": 0, "message": {"content": "yes"}, "stop_reason": "stop"}]},
        "stop",
    ),
}


@pytest.mark.parametrize(("asked", "answer", "finish"), COUNTLESS.values(), ids=COUNTLESS)
def test_a_family_whose_body_has_no_counts_is_counted_by_the_headers(
    exchange: Any, asked: dict[str, Any], answer: dict[str, Any], finish: str
) -> None:
    headers = {"x-amzn-bedrock-input-token-count": "10", "x-amzn-bedrock-output-token-count": "60"}

    reading = exchange("bedrock.invoke", answer, request=asked, path="/model/m/invoke", response_headers=headers)

    assert reading.usage == Usage(input_tokens=10, output_tokens=60)
    assert reading.finish_reasons == (finish,)


@pytest.mark.parametrize("value", ["", "ten", "-1", "1e3", "9" * 40, "٣"])
def test_a_header_that_is_no_count_is_left_out(exchange: Any, value: str) -> None:
    headers = {"x-amzn-bedrock-input-token-count": value}

    reading = exchange("bedrock.invoke", {"completion": "x"}, request={"prompt": "hi"}, response_headers=headers)

    assert reading.usage.input_tokens is None
    assert reading.usage_source == "absent"


STREAMS = {
    "titan": (
        {"inputText": "hi"},
        [{"outputText": "yes", "index": 0, "totalOutputTextTokenCount": 60, "completionReason": "FINISH"}],
    ),
    "llama": (
        {"prompt": "hi"},
        [
            {"generation": "y", "prompt_token_count": 10, "generation_token_count": 1, "stop_reason": None},
            {"generation": "", "prompt_token_count": None, "generation_token_count": 60, "stop_reason": "FINISH"},
        ],
    ),
    "mistral": ({"prompt": "hi"}, [{"outputs": [{"text": "yes", "stop_reason": "FINISH"}]}]),
    "command r": (
        {"message": "hi"},
        [
            {"is_finished": False, "event_type": "text-generation", "text": "yes"},
            {"is_finished": True, "event_type": "stream-end", "finish_reason": "FINISH", "response": {"text": "yes"}},
        ],
    ),
    "openai": (
        {"messages": [{"role": "user", "content": "hi"}]},
        [
            {"id": "c", "choices": [{"index": 0, "delta": {"content": "yes"}}]},
            {
                "id": "c",
                "choices": [{"index": 0, "delta": {}, "finish_reason": "FINISH"}],
                "usage": {"prompt_tokens": 10, "completion_tokens": 60},
            },
        ],
    ),
    "openai without usage": (
        {"messages": [{"role": "user", "content": "hi"}]},
        [
            {"id": "c", "choices": [{"index": 0, "delta": {"content": "yes"}}]},
            {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "FINISH"}]},
        ],
    ),
    "deepseek": ({"prompt": "hi"}, [{"choices": [{"index": 0, "text": "yes", "stop_reason": "FINISH"}]}]),
    "nova": (
        ASKED,
        [
            {"messageStart": {"role": "assistant"}},
            {"contentBlockDelta": {"delta": {"text": "yes"}, "contentBlockIndex": 0}},
            {"messageStop": {"stopReason": "FINISH"}},
            {"metadata": {"usage": {"inputTokens": 10, "outputTokens": 60}}},
        ],
    ),
}


@pytest.mark.parametrize(("asked", "documents"), STREAMS.values(), ids=STREAMS)
def test_each_family_streams_its_own_documents_and_ends_with_metrics(
    exchange: Any, asked: dict[str, Any], documents: list[dict[str, Any]]
) -> None:
    last = {**documents[-1], "amazon-bedrock-invocationMetrics": METRICS}

    reading = exchange("bedrock.invoke", [*map(chunk, documents[:-1]), chunk(last)], request=asked, path=STREAM)
    cut = exchange("bedrock.invoke", [*map(chunk, documents[:-1])], request=asked, path=STREAM)

    assert (reading.usage.input_tokens, reading.usage.output_tokens) == (10, 60)
    assert (reading.status, reading.finish_reasons, reading.usage_complete) == ("ok", ("FINISH",), True)
    assert reading.first_answer_ns is not None
    assert not cut.usage_complete


def test_coheres_own_counts_come_before_the_billed_ones_of_bedrock(exchange: Any) -> None:
    meta = {"billed_units": {"input_tokens": 7, "output_tokens": 7}, "tokens": {"input_tokens": 73, "output_tokens": 8}}
    end = {"event_type": "stream-end", "finish_reason": "COMPLETE", "response": {"response_id": "r", "meta": meta}}
    stream = [
        chunk({"event_type": "text-generation", "text": "yes"}),
        chunk({**end, "amazon-bedrock-invocationMetrics": {**METRICS, "inputTokenCount": 7, "outputTokenCount": 7}}),
    ]

    reading = exchange("bedrock.invoke", stream, request={"message": "hi"}, path=STREAM)

    assert (reading.usage, reading.usage_complete) == (Usage(input_tokens=73, output_tokens=8), True)
    assert reading.extra["billed_units_input_tokens"] == 7


def test_an_answer_in_another_dialect_than_the_request_is_read(exchange: Any) -> None:
    answer = {
        "output": {"message": {"content": [{"text": "yes"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 8, "outputTokens": 10},
    }

    reading = exchange("bedrock.invoke", answer, request={"inputText": "hi"}, path=INVOKE)

    assert (reading.usage, reading.finish_reasons) == (Usage(input_tokens=8, output_tokens=10), ("end_turn",))


def test_an_embedding_generates_nothing(exchange: Any) -> None:
    reading = exchange(
        "bedrock.invoke", {"embedding": [0.1], "inputTextTokenCount": 3}, request={"inputText": "hi"}, path=INVOKE
    )

    assert reading.usage == Usage(input_tokens=3, output_tokens=0)


@pytest.mark.parametrize(
    ("model", "asked", "answer"),
    [
        ("cohere.embed-english-v3", {"texts": ["hi"]}, {"embeddings": [[0.1]], "response_type": "embeddings_floats"}),
        ("us.cohere.embed-v4%3A0", {"inputs": []}, {"id": "e", "embeddings": {"float": [[0.1]]}}),
        ("amazon.nova-2-multimodal-embeddings-v1%3A0", {"taskType": "SINGLE_EMBEDDING"}, {"embeddings": [{}]}),
        ("cohere.rerank-v3-5%3A0", {"query": "q", "documents": ["d"]}, {"results": [{"relevance_score": 0.1}]}),
    ],
)
def test_what_embeds_or_ranks_is_named_so_and_a_header_counts_its_input(
    exchange: Any, model: str, asked: dict[str, Any], answer: dict[str, Any]
) -> None:
    headers = {"x-amzn-bedrock-input-token-count": "4"}

    reading = exchange("bedrock.invoke", answer, request=asked, path=f"/model/{model}/invoke", response_headers=headers)

    assert (reading.api, reading.model) == (f"bedrock.{'rerank' if 'rank' in model else 'embed'}", unquote(model))
    assert (reading.usage, reading.usage_source) == (Usage(input_tokens=4), "partial")


def test_what_titan_embeds_is_no_conversation(exchange: Any) -> None:
    path, answer = "/model/amazon.titan-embed-text-v2%3A0/invoke", {"embedding": [0.1], "inputTextTokenCount": 3}

    reading = exchange("bedrock.invoke", answer, request={"inputText": "hi"}, path=path)

    assert (reading.api, reading.prompt, reading.message_roles) == ("bedrock.embed", b"", ())
    assert (reading.usage, reading.usage_source) == (Usage(input_tokens=3, output_tokens=0), "provider")


def test_a_guardrail_writes_the_counts_of_a_body_as_doubles(exchange: Any) -> None:
    usage = {"input_tokens": 28.0, "cache_read_input_tokens": 9.0, "output_tokens": 197.0}
    answer = {"id": "msg", "model": "m", "content": [], "stop_reason": "end_turn", "usage": usage}
    asked = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []}

    claude = exchange("bedrock.invoke", answer, request=asked, path=INVOKE)
    titan = exchange(
        "bedrock.invoke",
        {
            "inputTextTokenCount": 28.0,
            "results": [{"tokenCount": 197.0, "outputText": "x", "completionReason": "FINISH"}],
        },
        request={"inputText": "hi"},
        path=INVOKE,
    )

    assert claude.usage == Usage(input_tokens=37, cache_read_tokens=9, output_tokens=197)
    assert titan.usage == Usage(input_tokens=28, output_tokens=197)


def test_a_titan_stream_that_a_guardrail_blocked_is_whole_without_the_metrics(exchange: Any) -> None:
    said = {"outputText": "Blocked", "index": 0.0, "amazon-bedrock-guardrailAction": "INTERVENED"}
    counts = {"totalOutputTextTokenCount": 3.0, "inputTextTokenCount": 6.0}
    asked = {"inputText": "hi"}

    blocked = exchange("bedrock.invoke", [chunk({**said, **counts})], request=asked, end="read")
    broken = exchange("bedrock.invoke", [chunk({**said, "inputTextTokenCount": 6.0})], request=asked, end="read")

    assert (blocked.status, blocked.usage_complete) == ("ok", True)
    assert blocked.usage == Usage(input_tokens=6, output_tokens=3)
    assert (broken.status, broken.usage_complete) == ("cut", False)


def test_converse_says_how_long_what_was_written_to_the_cache_is_kept(exchange: Any) -> None:
    details = [{"ttl": "5m", "inputTokens": 200}, {"ttl": "1h", "inputTokens": 10}]
    usage = {"inputTokens": 3, "outputTokens": 4, "cacheWriteInputTokens": 210, "cacheDetails": details}
    answer = {"output": {"message": {"content": []}}, "stopReason": "end_turn", "usage": usage}

    reading = exchange(
        "bedrock.converse",
        answer | {"serviceTier": {"type": "flex"}},
        request=ASKED,
        path=f"/model/{MODEL}/converse",
    )

    assert (reading.usage.input_tokens, reading.usage.cache_write_tokens) == (213, 210)
    assert reading.extra == {
        "raw_input_tokens": 3,
        "cache_write_5m_tokens": 200,
        "cache_write_1h_tokens": 10,
        "service_tier": "flex",
    }
