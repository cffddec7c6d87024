"""Google's apis: generateContent, interactions, embeddings, Vertex predict. Part of `dialects`: data only."""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool

__all__ = ["CACHED_CONTENTS", "DECISIONS", "EMBED", "GENERATE_CONTENT", "INTERACTIONS", "PREDICT"]

_MODEL = r"/(?:models|tunedModels|endpoints)/([^/:]+):"

# ai.google.dev/api/generate-content: UsageMetadata ("promptTokenCount ... this is still the total effective prompt
# size meaning this includes the number of tokens in the cached content"; thoughts and tool-use prompt are apart),
# GenerateContentResponse, Part. Proto3 JSON leaves out fields that are zero.
GENERATE_CONTENT: Final = Dialect(
    api="google.generate_content",
    compatible="gemini_compatible",
    request=Request(
        proof=(frozenset({"contents"}),),
        model_in_path=_MODEL,
        messages=("contents",),
        alone=True,  # cloud.google.com/vertex-ai/generative-ai/docs/model-reference/inference: "contents": {"role", "parts"}
        system=("systemInstruction", "system_instruction"),
        content="parts",
        kinds={"model": "assistant"},
        results_by_key={
            "functionResponse": Result(id=("id",), content=("response",), failed=("response", "error")),
            "function_response": Result(id=("id",), content=("response",), failed=("response", "error")),
        },
    ),
    answer=Answer(
        model=(("modelVersion",),),
        response_id=(("responseId",),),
        choices=("candidates",),
        parts=(("content", "parts"),),
        keyed={
            "text": Part(),
            "functionCall": Part(tool=Tool(arguments=(("args",),))),
            "inlineData": Part(channel="other", content=(("data",),)),
            "fileData": Part(channel="other", content=(("fileUri",),)),
            "audioTranscription": Part(content=(("text",),)),
            "executableCode": Part(tool=Tool(server=True, named="code_execution", arguments=(("code",),))),
            "toolCall": Part(tool=Tool(server=True, name=(("toolType",),), named="tool", arguments=(("args",),))),
        },
        reasoning_flag="thought",
        finish=(("finishReason",),),
        blocked=("promptFeedback", "blockReason"),
        ends_with_finish=True,
        error_words=(("status",), ("code",)),
        usage=(("usageMetadata",),),
        input=Count(terms=((("promptTokenCount",),), (("toolUsePromptTokenCount",),))),
        cache_read=Count(terms=((("cachedContentTokenCount",),),)),
        output=Count(
            terms=((("candidatesTokenCount",),), (("thoughtsTokenCount",),)),
            zero_beside=(("promptTokenCount",), ("thoughtsTokenCount",)),
        ),
        reasoning=Count(terms=((("thoughtsTokenCount",),),)),
        total=("totalTokenCount",),
        split={
            "promptTokensDetails": "{}_input_tokens",
            "candidatesTokensDetails": "{}_output_tokens",
            "cacheTokensDetails": "{}_cache_read_tokens",
            "toolUsePromptTokensDetails": "{}_tool_use_input_tokens",
        },
        usage_extra={
            "tool_use_input_tokens": ("toolUsePromptTokenCount",),
            "traffic_type": ("trafficType",),
            "service_tier": ("serviceTier",),
        },
    ),
)

# ai.google.dev/api/interactions-api: Interaction, Usage, InteractionSseEvent. `total_tokens` is prompt, responses and
# "other internal tokens": thoughts and tool-use prompts stand beside output and input, as in generateContent. Before
# the steps an answer had `outputs` and its events were named `content.*`.
_RESULT = Result(id=("call_id",), content=("result",))
_SERVER_CALLS = (
    "code_execution_call",
    "file_search_call",
    "google_maps_call",
    "google_search_call",
    "mcp_server_tool_call",
    "processing_call",
    "retrieval_call",
    "tool_search_call",
    "url_context_call",
)
_MEDIA = {
    name: Part(channel="other", content=(("data",), ("uri",))) for name in ("image", "audio", "video", "document")
}
_INTERACTION_REQUEST = Request(
    # google-genai's `_interactions_continuation`: what reached a limit is gone on with by a token, without an input.
    proof=(frozenset({"input", "continuation_token", "previous_interaction_id"}), frozenset({"model", "agent"})),
    previous=(("previous_interaction_id",),),
    messages=("input",),
    alone=True,
    system=("system_instruction",),
    kinds={
        "model": "assistant",
        "model_output": "assistant",
        "thought": "assistant",
        "function_call": "assistant",
        **dict.fromkeys(_SERVER_CALLS, "assistant"),
        **{name.removesuffix("_call") + "_result": "assistant" for name in _SERVER_CALLS},
    },
    results_by_kind={"function_result": _RESULT},
    results_by_type={"function_result": _RESULT},
)
_INTERACTION = Answer(
    envelopes=(("interaction",),),
    event_key="event_type",
    model=(("model",), ("agent",)),
    response_id=(("id",),),
    parts=(("steps",), ("outputs",)),
    typed={
        "text": Part(content=(("text",),)),
        "model_output": Part(content=(("content",),)),
        "thought": Part(channel="reasoning", content=(("summary",), ("signature",))),
        "thought_summary": Part(channel="reasoning", content=(("content",),)),
        "thought_signature": Part(channel="reasoning", content=(("signature",),)),
        "arguments_delta": Part(channel="other", content=(("arguments",),)),
        "function_call": Part(tool=Tool(arguments=(("arguments",),))),
        **_MEDIA,
        **{
            name: Part(tool=Tool(server=True, named=name.removesuffix("_call"), arguments=(("arguments",),)))
            for name in _SERVER_CALLS
        },
    },
    finish=(("status",),),
    unfinished=frozenset({"queued", "in_progress"}),
    failed={"failed": "error", "cancelled": "cancelled"},
    events={
        "step.start": EventRule(part=("step",)),
        "step.delta": EventRule(part=("delta",), arguments=("delta", "arguments")),
        "content.start": EventRule(part=("content",)),
        "content.delta": EventRule(part=("delta",)),
        "interaction.completed": EventRule(ends=True),
        "interaction.complete": EventRule(ends=True),
    },
    terminator=b"[DONE]",
    errors=(("error",),),
    error_words=(("status",), ("code",)),
    usage=(("interaction", "usage"), ("usage",), ("metadata", "total_usage")),
    input=Count(terms=((("total_input_tokens",),), (("total_tool_use_tokens",),))),
    cache_read=Count(terms=((("total_cached_tokens",),),)),
    output=Count(
        terms=((("total_output_tokens",),), (("total_thought_tokens",), ("total_reasoning_tokens",))),
        zero_beside=(("total_input_tokens",),),
    ),
    reasoning=Count(terms=((("total_thought_tokens",), ("total_reasoning_tokens",)),)),
    total=("total_tokens",),
    # ai.google.dev/gemini-api/docs/interactions/quickstart: total_tokens 197, input 8, output 12, and no thoughts.
    reasoning_outside=frozenset({"gcp.gemini", "gcp.vertex_ai", "gemini_compatible"}),
    split={
        "input_tokens_by_modality": "{}_input_tokens",
        "output_tokens_by_modality": "{}_output_tokens",
        "cached_tokens_by_modality": "{}_cache_read_tokens",
        "tool_use_tokens_by_modality": "{}_tool_use_input_tokens",
    },
    split_by=("modality", "tokens"),
    usage_extra={
        "tool_use_input_tokens": ("total_tool_use_tokens",),
        "initial_input_tokens": ("initial_input_tokens",),  # of the first of its turns
    },
    extra={"service_tier": ("service_tier",)},
)
INTERACTIONS: Final = (
    Dialect(
        api="google.interactions", compatible="gemini_compatible", request=_INTERACTION_REQUEST, answer=_INTERACTION
    ),
    Dialect(
        api="google.interactions.retrieve",
        compatible="gemini_compatible",
        request=Request(proof=()),
        answer=_INTERACTION,
        fetches=True,
    ),
)

# google-genai's `CreateDecisionRequest` and `CreateDecisionResponse`: an interaction's usage, and neither id nor model.
DECISIONS: Final = Dialect(
    api="google.decisions",
    compatible="gemini_compatible",
    request=replace(
        _INTERACTION_REQUEST,
        proof=(frozenset({"input"}), frozenset({"questions"}), frozenset({"model"})),
        schemas=(("questions",),),
    ),
    answer=replace(_INTERACTION, envelopes=(), model=(), parts=(), finish=(), events={}, terminator=None, extra={}),
    common_path=True,
)

# ai.google.dev/api/embeddings: EmbedContentResponse; on Vertex AI also with statistics of each embedding.
_EMBEDDED = Answer(
    model=(),
    response_id=(),
    parts=(),
    finish=(),
    error_words=(("status",), ("code",)),
    usage=(("usageMetadata",),),
    input=Count(terms=((("promptTokenCount",), ("totalTokenCount",)),)),
    output=Count(terms=((("candidatesTokenCount",),),), zero_beside=(("promptTokenCount",), ("totalTokenCount",))),
    split={"promptTokensDetails": "{}_input_tokens", "promptTokenDetails": "{}_input_tokens"},
)
EMBED: Final = Dialect(
    api="google.embed",
    compatible="gemini_compatible",
    request=Request(
        proof=(frozenset({"content", "requests"}),), model_in_path=_MODEL, sought=(("content",), ("requests",))
    ),
    answer=_EMBEDDED,
)

# ai.google.dev/api/caching: CachedContent. What it holds is read by the model once, now, and generates nothing.
_CACHED = (("totalTokenCount",),)
CACHED_CONTENTS: Final = Dialect(
    api="google.cached_contents",
    compatible="gemini_compatible",
    request=Request(proof=(frozenset({"contents", "systemInstruction", "tools"}), frozenset({"model"}))),
    answer=replace(
        _EMBEDDED,
        response_id=(("name",),),
        model=(("model",),),
        input=Count(terms=(_CACHED,)),
        cache_write=Count(terms=(_CACHED,)),
        output=Count(terms=((("candidatesTokenCount",),),), zero_beside=_CACHED),
        split={},
    ),
)

# cloud.google.com/vertex-ai/generative-ai/docs/model-reference/text-embeddings-api: `statistics.token_count` of each
# prediction; .../model-reference/text (PaLM): `metadata.tokenMetadata`. Images have neither.
_TOKEN_METADATA = ("metadata", "tokenMetadata")
_PREDICT = Request(proof=(frozenset({"instances"}),), model_in_path=_MODEL)
_COUNTED = (("predictions", 0, "embeddings", "statistics", "token_count"),)
PREDICT: Final = (
    Dialect(
        api="google.predict",
        compatible="gemini_compatible",
        request=_PREDICT,
        answer=replace(
            _EMBEDDED,
            usage=((),),
            input=Count(each=("predictions",), terms=((("embeddings", "statistics", "token_count"),),)),
            output=Count(terms=((),), zero_beside=_COUNTED),
            split={},
        ),
    ),
    Dialect(
        api="google.predict",
        compatible="gemini_compatible",
        request=_PREDICT,
        answer=replace(
            _EMBEDDED,
            usage=(_TOKEN_METADATA,),
            input=Count(terms=((("inputTokenCount", "totalTokens"),),)),
            output=Count(terms=((("outputTokenCount", "totalTokens"),),)),
            split={},
        ),
    ),
)
