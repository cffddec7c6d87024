"""Cohere: chat of both versions, generate, embed and rerank; and Writer and Reka, at the same paths.

Part of `dialects`: data only.

docs.cohere.com/reference/chat, /reference/chat-stream, /v1/reference/chat, /v1/reference/generate, /reference/embed,
/reference/rerank. `tokens` is what the model processed, `billed_units` leaves out what Cohere adds to the prompt. Their
schema has every count as a `double`.
"""

from collections.abc import Mapping
from typing import Final, Literal

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.openai import CHAT
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Tool

__all__ = [
    "BEDROCK_RERANK",
    "CHAT_V1",
    "CHAT_V2",
    "EMBED",
    "GENERATE",
    "PARSE",
    "REKA",
    "RERANK",
    "SUMMARIZE",
    "WRITER",
    "WRITER_COMPLETIONS",
]

_PROVIDER = "cohere_compatible"
# Images stand outside: {"billed_units": {"input_tokens": 267}, "tokens": {"input_tokens": 34, "image_tokens": 259}} is
# a prompt of 34 tokens, of which 8 are billed, beside an image of 259.
_INPUT = Count(terms=((("tokens", "input_tokens"), ("billed_units", "input_tokens")), (("tokens", "image_tokens"),)))
_OUTPUT = Count(terms=((("tokens", "output_tokens"), ("billed_units", "output_tokens")),))
_REASONING = Count(terms=((("tokens", "reasoning_tokens"),),))
_CACHED = Count(terms=((("cached_tokens",), ("tokens", "cached_tokens")),))
_BILLED = {
    "billed_units_input_tokens": ("billed_units", "input_tokens"),
    "billed_units_output_tokens": ("billed_units", "output_tokens"),
    "billed_units_image_tokens": ("billed_units", "image_tokens"),
    "search_units": ("billed_units", "search_units"),
    "classifications": ("billed_units", "classifications"),
    "pages": ("billed_units", "pages"),
}
_FAILED: Final[Mapping[str, Literal["error"]]] = {
    "ERROR": "error",
    "ERROR_TOXIC": "error",
    "ERROR_LIMIT": "error",
    "TIMEOUT": "error",
}

CHAT_V2: Final = Dialect(
    api="cohere.chat",
    compatible=_PROVIDER,
    request=replace(CHAT.request, proof=(frozenset({"messages"}),), model_in_path="", counts_if=()),
    answer=Answer(
        model=(),
        response_id=(("id",),),
        parts=(("message",), ("message", "content")),
        keyed={
            "text": Part(),
            "thinking": Part(channel="reasoning"),
            "tool_plan": Part(channel="reasoning"),
            "tool_calls": Part(tool=CHAT.answer.keyed["tool_calls"].tool),
        },
        finish=(("finish_reason",), ("delta", "finish_reason")),
        failed=_FAILED,
        events={
            "content-start": EventRule(part=("delta", "message", "content")),
            "content-delta": EventRule(part=("delta", "message", "content")),
            "tool-plan-delta": EventRule(part=("delta", "message")),
            "tool-call-start": EventRule(part=("delta", "message")),
            "tool-call-delta": EventRule(part=("delta", "message")),
            "message-end": EventRule(ends=True),
        },
        terminator=b"[DONE]",
        # Recorded: a stream's end says `INVALID_TOOL_GENERATION` beside the sentence.
        errors=(("error",), ("delta", "error_type"), ("delta", "error")),
        error_words=((), ("type",), ("code",), ("status",)),
        usage=(("delta", "usage"), ("usage",)),
        doubles=True,
        input=_INPUT,
        cache_read=_CACHED,
        output=_OUTPUT,
        reasoning=_REASONING,
        usage_extra={**_BILLED, "image_input_tokens": ("tokens", "image_tokens")},
    ),
)
CHAT_V1: Final = Dialect(
    api="cohere.chat",
    compatible=_PROVIDER,
    request=Request(
        proof=(frozenset({"message"}),),
        messages=("message",),
        system=("preamble", "chat_history", "documents", "tool_results"),
        kinds={},
    ),
    answer=Answer(
        # A stream says all again at its end; its other events bring content alone.
        only_if=("event_type", frozenset({None, "stream-end"})),
        event_key="event_type",
        model=(),
        response_id=(("response_id",), ("response", "response_id"), ("generation_id",)),
        parts=((), ("response",)),
        keyed={
            "text": Part(),
            "tool_calls": Part(tool=Tool(arguments=(("parameters",),))),
        },
        finish=(("finish_reason",), ("response", "finish_reason")),
        failed=_FAILED,
        events={
            "text-generation": EventRule(channel="answer", content=("text",)),
            "search-queries-generation": EventRule(channel="other", content=("search_queries",)),
            "tool-calls-chunk": EventRule(channel="answer", content=("tool_call_delta",)),
            "tool-calls-generation": EventRule(channel="answer", content=("tool_calls",)),
            "stream-end": EventRule(ends=True),
        },
        usage=(("response", "meta"), ("meta",)),
        doubles=True,
        input=_INPUT,
        cache_read=_CACHED,
        output=_OUTPUT,
        usage_extra=_BILLED,
    ),
)
GENERATE: Final = Dialect(
    api="cohere.generate",
    compatible=_PROVIDER,
    request=Request(proof=(frozenset({"prompt"}),), messages=("prompt",)),
    answer=Answer(
        model=(),
        response_id=(("id",), ("response", "id")),
        parts=((), ("generations",)),
        keyed={"text": Part()},
        finish=(
            ("generations", 0, "finish_reason"),
            ("response", "generations", 0, "finish_reason"),
            ("finish_reason",),
        ),
        failed=_FAILED,
        ends_if=(("is_finished",),),
        usage=(("response", "meta"), ("meta",)),
        doubles=True,
        input=_INPUT,
        output=_OUTPUT,
        usage_extra=_BILLED,
    ),
    common_path=True,
)
# docs.cohere.com/v1/reference/summarize; cohere's `ParseResponse`. Many programs summarize and parse at such paths:
# neither an id nor a summary makes an answer Cohere's.
SUMMARIZE: Final = Dialect(
    api="cohere.summarize",
    compatible=_PROVIDER,
    request=Request(proof=(frozenset({"text"}), frozenset({"model"})), messages=("text",)),
    answer=replace(GENERATE.answer, response_id=(), parts=(), keyed={}, ends_if=(), usage=(("meta",),)),
    common_path=True,
)
PARSE: Final = Dialect(
    api="cohere.parse",
    compatible=_PROVIDER,
    request=Request(proof=(frozenset({"document"}), frozenset({"model"}))),
    answer=SUMMARIZE.answer,
    common_path=True,
)
_META = Answer(
    # docs.voyageai.com/reference/reranker-api, docs.together.ai/reference/rerank and jina.ai/reranker name it.
    model=(("model",),),
    response_id=(("id",),),
    parts=(),
    finish=(),
    # api.voyageai.com and api.jina.ai rerank with a `usage` of total_tokens on the same path.
    usage=(("meta",), ("usage",)),
    merge_usage=True,
    doubles=True,
    input=Count(
        terms=(
            (
                ("tokens", "input_tokens"),
                ("billed_units", "input_tokens"),
                ("billed_units", "image_tokens"),
                ("prompt_tokens",),
                ("total_tokens",),
            ),
        )
    ),
    output=Count(
        terms=((("tokens", "output_tokens"), ("billed_units", "output_tokens")),),
        zero_beside=(
            ("tokens", "input_tokens"),
            ("billed_units", "input_tokens"),
            ("billed_units", "image_tokens"),
            ("prompt_tokens",),
            ("total_tokens",),
        ),
    ),
    # pinecone's `RerankUsage`; openrouter.ai/docs/use-cases/usage-accounting, USD
    usage_extra={**_BILLED, "rerank_units": ("rerank_units",), "cost": ("cost",)},
)
EMBED: Final = Dialect(
    api="cohere.embed",
    compatible=_PROVIDER,
    request=Request(proof=(frozenset({"texts", "images", "inputs"}),), sought=(("texts",), ("inputs",))),
    answer=_META,
)
RERANK: Final = Dialect(
    api="cohere.rerank",
    compatible=_PROVIDER,
    request=Request(proof=(frozenset({"query"}), frozenset({"documents", "texts", "passages"})), sought=(("query",),)),
    answer=_META,
)
# docs.aws.amazon.com/bedrock/latest/APIReference/API_agent-runtime_Rerank: of whichever model, without counts.
BEDROCK_RERANK: Final = Dialect(
    api="bedrock.rerank",
    compatible="aws.bedrock",
    request=Request(proof=(frozenset({"queries"}), frozenset({"sources"})), sought=(("queries", 0, "textQuery"),)),
    answer=replace(_META, model=(), usage=(), error_header="x-amzn-errortype"),
)
# dev.writer.com/api-reference/completion-api/chat-completion: OpenAI's bodies at a path that Cohere uses too.
# writer-sdk's `ChatCompletionUsage` has its cached tokens in `prompt_token_details`.
WRITER: Final = replace(
    CHAT,
    api="writer.chat",
    compatible="writer",
    answer=replace(
        CHAT.answer,
        cache_read=Count(
            terms=((("prompt_token_details", "cached_tokens"), ("prompt_tokens_details", "cached_tokens")),)
        ),
    ),
)
# docs.reka.ai/api-reference/chat/create; reka-api's `ChatResponse` and `ChunkChatResponse`: `responses`, whose text a
# stream says again with each event.
_REKA = ("responses", 0)
REKA: Final = Dialect(
    api="reka.chat",
    compatible="reka",
    request=Request(
        proof=(frozenset({"messages"}),),
        messages=("messages",),
        kinds={"assistant": "assistant", "tool_output": "tool"},
    ),
    answer=Answer(
        model=(("model",),),
        response_id=(("id",),),
        parts=((*_REKA, "message"), (*_REKA, "chunk")),
        keyed={
            "content": Part(),
            "tool_calls": Part(tool=Tool(arguments=(("parameters",),))),
        },
        finish=((*_REKA, "finish_reason"),),
        ends_with_finish=True,
        usage=(("usage",),),
        input=Count(terms=((("input_tokens",),),)),
        output=Count(terms=((("output_tokens",),),)),
        reasoning=Count(terms=((("reasoning_tokens",),),)),
    ),
    common_path=True,
)
# dev.writer.com/api-reference/completion-api/text-generation: a stream of `{"value"}` without usage, reason or end.
WRITER_COMPLETIONS: Final = Dialect(
    api="openai.completions",
    compatible="writer",
    request=Request(proof=(frozenset({"prompt"}),), messages=("prompt",)),
    answer=Answer(
        model=(("model",),),
        response_id=(),
        parts=((),),
        keyed={"value": Part()},
        finish=(),
        ends_unmarked=True,
        usage=(),
        input=Count(),
        output=Count(),
    ),
)
