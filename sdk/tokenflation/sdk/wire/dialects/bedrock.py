"""Amazon Bedrock's runtime: Converse, and InvokeModel with the bodies of each model family.

Part of `dialects`: data only.

docs.aws.amazon.com/bedrock/latest/APIReference: API_runtime_Converse, API_runtime_ConverseStream,
API_runtime_InvokeModel, API_runtime_TokenUsage; .../userguide/prompt-caching: "total input tokens = inputTokens +
cacheReadInputTokens + cacheWriteInputTokens".
"""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.anthropic import MESSAGES
from tokenflation.sdk.wire.dialects.cohere import CHAT_V1
from tokenflation.sdk.wire.dialects.openai import CHAT
from tokenflation.sdk.wire.dialects.openai_more import COMPLETIONS
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool

__all__ = ["CONVERSE", "INVOKE"]

_PROVIDER = "aws.bedrock"
_MODEL = r"/model/(.+)/(?:converse|invoke)"
# Recorded: with a guardrail a body comes back with its numbers as doubles, `"inputTextTokenCount": 28.0`.
# InvokeModel answers for every family with these headers, and ends every stream with an object of these metrics. They
# leave a cache out, as the bodies do.
_IN, _OUT, _READ, _WRITTEN = (
    f"x-amzn-bedrock-{name}-token-count" for name in ("input", "output", "cache-read-input", "cache-write-input")
)
_HEADERS = (_IN, _OUT, _READ, _WRITTEN)
_METRICS = "amazon-bedrock-invocationMetrics"

_READ_PATHS = (("cacheReadInputTokens",), ("cacheReadInputTokenCount",))
_WRITE_PATHS = (("cacheWriteInputTokens",), ("cacheWriteInputTokenCount",))
_CONVERSE_REQUEST = Request(
    proof=(frozenset({"messages", "prompt", "promptVariables"}),),
    model_in_path=_MODEL,
    messages=("messages",),
    system=("system",),
    tools=("toolConfig",),
    kinds={"assistant": "assistant"},
    results_by_key={"toolResult": Result(id=("toolUseId",), content=("content",), failed=("status",))},
)
_CONVERSE_ANSWER = Answer(
    model=(),
    response_id=(),
    parts=(("output", "message", "content"),),
    keyed={
        "text": Part(),
        "toolUse": Part(
            tool=Tool(
                id=(("toolUseId",),),
                server_if=(("type",), frozenset({"server_tool_use"})),
                arguments=(("input",),),
                appends=True,
            )
        ),
        "reasoningContent": Part(
            channel="reasoning", content=(("reasoningText", "text"), ("text",), ("redactedContent",))
        ),
        "citationsContent": Part(content=(("content", 0, "text"),)),
        "image": Part(channel="other"),
    },
    finish=(("stopReason",),),
    slot=("contentBlockIndex",),
    events={
        "contentBlockStart": EventRule(part=("start",)),
        "contentBlockDelta": EventRule(part=("delta",)),
        "metadata": EventRule(ends=True),
    },
    error_header="x-amzn-errortype",
    usage=(("usage",),),
    input=Count(terms=((("inputTokens",),), _READ_PATHS, _WRITE_PATHS)),
    cache_read=Count(terms=(_READ_PATHS,)),
    cache_write=Count(terms=(_WRITE_PATHS,)),
    output=Count(terms=((("outputTokens",),),)),
    total=("totalTokens",),
    usage_extra={"raw_input_tokens": ("inputTokens",)},
    split={"cacheDetails": "cache_write_{}_tokens"},  # .../APIReference/API_runtime_CacheDetail
    split_by=("ttl", "inputTokens"),
    extra={"service_tier": ("serviceTier", "type")},
)
CONVERSE: Final = Dialect(
    api="bedrock.converse", compatible=_PROVIDER, request=_CONVERSE_REQUEST, answer=_CONVERSE_ANSWER
)

# docs.aws.amazon.com/nova/latest/userguide/complete-request-schema and using-invoke-api: Converse's answer; a streamed
# event is wrapped in its name.
_NOVA = replace(
    _CONVERSE_ANSWER,
    blob="bytes",
    wrapped=True,
    finish=(("stopReason",), ("messageStop", "stopReason")),
    usage=(("usage",), ("metadata", "usage")),
    headers=_HEADERS,
    input=Count(terms=((("inputTokens",), (_IN,)), (*_READ_PATHS, (_READ,)), (*_WRITE_PATHS, (_WRITTEN,)))),
    cache_read=Count(terms=((*_READ_PATHS, (_READ,)),)),
    cache_write=Count(terms=((*_WRITE_PATHS, (_WRITTEN,)),)),
    output=Count(terms=((("outputTokens",), (_OUT,)),)),
)
# .../userguide/model-parameters-openai, -mistral-chat-completion, -deepseek, -jamba: OpenAI's bodies, no [DONE]; some
# without usage, some with `stop_reason`.
_OPENAI = {
    "blob": "bytes",
    "finish": (("finish_reason",), ("stop_reason",)),
    "ends_if": ((_METRICS,),),
    "error_header": "x-amzn-errortype",
    "usage": ((_METRICS,), *CHAT.answer.usage),
    "merge_usage": True,
    "shared_counts": frozenset({"inputTokenCount", "outputTokenCount"}),
    "headers": _HEADERS,
    "input": Count(terms=((("prompt_tokens",), ("inputTokenCount",), (_IN,)),)),
    "output": Count(terms=((("completion_tokens",), ("outputTokenCount",), (_OUT,)),)),
}
# .../userguide/model-parameters-titan-text, -meta, -mistral-text-completion, -claude (text completions),
# -cohere-command, -jurassic2; and embeddings by a model that the path does not name.
_TEXT = Answer(
    blob="bytes",
    doubles=True,
    model=(),
    response_id=(("id",),),
    parts=((), ("results",), ("outputs",), ("generations",), ("completions", 0, "data")),
    keyed={name: Part() for name in ("outputText", "generation", "completion", "text")},
    finish=(
        ("stop_reason",),
        ("completionReason",),
        ("finish_reason",),
        ("results", 0, "completionReason"),
        ("outputs", 0, "stop_reason"),
        ("generations", 0, "finish_reason"),
        ("completions", 0, "finishReason", "reason"),
    ),
    # What a guardrail blocks comes in one event without the metrics; before its last event Titan does not count.
    ends_if=((_METRICS,), ("totalOutputTextTokenCount",)),
    error_header="x-amzn-errortype",
    usage=((),),
    merge_usage=True,
    headers=_HEADERS,
    input=Count(
        terms=(((_IN,), (_METRICS, "inputTokenCount"), ("inputTextTokenCount",), ("prompt_token_count",)),),
    ),
    output=Count(
        terms=(
            (
                (_OUT,),
                (_METRICS, "outputTokenCount"),
                ("results", 0, "tokenCount"),
                ("totalOutputTextTokenCount",),
                ("generation_token_count",),
            ),
        ),
        zero_beside=(("inputTextTokenCount",),),
    ),
)

# .../userguide/model-parameters-titan-embed-text, -titan-embed-mm, -embed, -marengo, -rerank; Nova's embeddings-schema.
# What embeds or ranks has it in its name. Titan counts in the body and generates nothing; of others a header counts the
# input alone (recorded: Cohere's, Nova's), and an output that nobody reports stays empty.
_EMBED = Dialect(
    api="bedrock.embed",
    compatible=_PROVIDER,
    request=Request(proof=(), in_path="embed", model_in_path=_MODEL),
    answer=Answer(
        doubles=True,
        model=(),
        response_id=_TEXT.response_id,
        parts=(),
        finish=(),
        error_header=_TEXT.error_header,
        usage=((),),
        merge_usage=True,
        headers=_HEADERS,
        input=Count(terms=(((_IN,), ("inputTextTokenCount",)),)),
        output=Count(terms=(((_OUT,),),), zero_beside=(("inputTextTokenCount",),)),
    ),
)
_RERANK = replace(_EMBED, api="bedrock.rerank", request=replace(_EMBED.request, in_path="rerank"))


def _invoke(dialect: Dialect, *proof: str) -> Dialect:
    """Return a family's dialect as InvokeModel speaks it, with counts of its own; a request has a `proof` key."""
    request = replace(dialect.request, proof=(frozenset(proof),), model_in_path=_MODEL, counts_if=())
    return Dialect(
        api="bedrock.invoke", compatible=_PROVIDER, request=request, answer=replace(dialect.answer, doubles=True)
    )


INVOKE: Final = (
    _EMBED,
    _RERANK,
    # .../userguide/model-parameters-anthropic-claude-messages: the body of the Messages API.
    _invoke(
        replace(MESSAGES, answer=replace(MESSAGES.answer, blob="bytes", error_header="x-amzn-errortype")),
        "anthropic_version",
    ),
    _invoke(replace(CONVERSE, answer=_NOVA), "messages"),
    _invoke(replace(CHAT, answer=replace(CHAT.answer, **_OPENAI)), "messages"),
    _invoke(replace(COMPLETIONS, answer=replace(COMPLETIONS.answer, **_OPENAI)), "prompt"),
    # .../userguide/model-parameters-cohere-command-r-plus: Cohere's first chat api. A stream's end holds its `meta`,
    # too; Bedrock's own counts are those of Cohere's billed units, which leave out what Cohere adds to the prompt.
    _invoke(
        replace(
            CHAT_V1,
            answer=replace(
                CHAT_V1.answer,
                blob="bytes",
                ends_if=((_METRICS,),),
                usage=((_METRICS,), ("meta",), ("response", "meta")),
                merge_usage=True,
                headers=_HEADERS,
                input=Count(terms=((*CHAT_V1.answer.input.terms[0], ("inputTokenCount",), (_IN,)),)),
                output=Count(terms=((*CHAT_V1.answer.output.terms[0], ("outputTokenCount",), (_OUT,)),)),
            ),
        ),
        "message",
    ),
    Dialect(
        api="bedrock.invoke",
        compatible=_PROVIDER,
        request=Request(proof=(), model_in_path=_MODEL, messages=("prompt", "inputText"), kinds={}),
        answer=_TEXT,
    ),
)
