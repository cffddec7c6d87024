"""Clouds with bodies of their own: Cloudflare, Oracle, SAP, DeepInfra, Baidu, Tencent, fal.ai.

And the applications that Alibaba serves. Part of `dialects`: data only.
"""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.openai import CHAT, RESPONSES
from tokenflation.sdk.wire.dialects.openai_more import EMBEDDINGS
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, Part, Request, Result, Tool

__all__ = [
    "BAIDU",
    "CLOUDFLARE",
    "DASHSCOPE_APPLICATION",
    "DEEPINFRA",
    "FAL",
    "OCI_CHAT",
    "OCI_EMBED",
    "OCI_OTHERS",
    "SAP",
    "SAP_EMBED",
    "TENCENT",
    "TENCENT_EMBED",
]

_CHOICE = ("choices", 0)

# developers.cloudflare.com/api/resources/ai/methods/run: what a model answers stands under `result`, but in a stream.
# Its own shape is `{response, tool_calls, usage}`, whose counts are doubles by its client's types; newer models answer
# with a chat completion or a response of OpenAI's. Of several choices the first is read.
_CLOUDFLARE_ANSWER = replace(
    CHAT.answer,
    envelopes=(("result",), ("response",)),
    choices=None,
    parts=((), (*_CHOICE, "message"), (*_CHOICE, "delta"), ("output",)),
    keyed={"response": Part(), **CHAT.answer.keyed},
    typed={**CHAT.answer.typed, **RESPONSES.answer.typed},
    finish=((*_CHOICE, "finish_reason"), ("status",)),
    finish_detail=RESPONSES.answer.finish_detail,
    unfinished=RESPONSES.answer.unfinished,
    failed=RESPONSES.answer.failed,
    slot=RESPONSES.answer.slot,
    events=RESPONSES.answer.events,
    errors=(("error",), ("errors", 0)),
    usage=(("result", "usage"), ("response", "usage"), ("usage",)),
    doubles=True,
    input=Count(terms=((("prompt_tokens",), ("input_tokens",)),)),
    cache_read=Count(terms=((("prompt_tokens_details", "cached_tokens"), ("input_tokens_details", "cached_tokens")),)),
    cache_write=Count(),
    output=Count(terms=((("completion_tokens",), ("output_tokens",)),)),
    reasoning=Count(
        terms=((("completion_tokens_details", "reasoning_tokens"), ("output_tokens_details", "reasoning_tokens")),)
    ),
    reasoning_outside=frozenset(),
    reasoning_outside_models=(),
    reasoning_beside=("", ()),
    reasoning_apart=None,
    input_outside_if=None,
    usage_extra={},
    extra={},
)
_CLOUDFLARE_INPUTS = frozenset(
    {
        *("messages", "prompt", "input", "inputs", "text", "input_text", "query", "queries", "contexts", "documents"),
        *("image", "images", "audio", "requests"),
    }
)
CLOUDFLARE: Final = Dialect(
    api="cloudflare.run",
    compatible="cloudflare",
    request=replace(
        CHAT.request,
        # What a batch is asked for (`request_id`), as often as somebody looks, is no request of its own.
        proof=(_CLOUDFLARE_INPUTS,),
        model_in_path=r"/(?:ai/run|workers-ai)/(.+)",
        messages=("messages", "prompt", "input", "text"),
        counts_if=(),
    ),
    answer=_CLOUDFLARE_ANSWER,
)

# docs.oracle.com/en-us/iaas/api/#/en/generative-ai-inference/20231130/ChatResult (Usage, ChatChoice,
# CohereChatResponse, CohereChatResponseV2): `chatResponse` holds choices, of which the first is read, or an answer of
# Cohere's. An event of a stream is a choice, or Cohere's event, by itself; the counts come with
# `streamOptions.isIncludeUsage` in one more event, or in the last. The completion may be left out where reasoning took
# all of it; the total has it.
_OCI = ("chatResponse",)
_OCI_CHOICE = (*_OCI, "choices", 0)
_OCI_FAILURES = {"errors": (("error",), ("code",)), "error_words": ((), ("code",), ("type",), ("status",))}
_OCI_CALL = Tool(
    name=(("function", "name"), ("name",)),
    arguments=(("function", "arguments"), ("arguments",), ("parameters",)),
    appends=True,
)
OCI_CHAT: Final = Dialect(
    api="oci.chat",
    compatible="oci",
    request=Request(
        proof=(frozenset({"chatRequest"}),),
        within=(("chatRequest",),),
        model=(("servingMode", "modelId"), ("servingMode", "endpointId")),
        choices=(("numGenerations",),),
        counts_if=("streamOptions", "isIncludeUsage"),
        messages=("messages", "message"),
        system=("preambleOverride", "chatHistory", "documents", "toolResults"),
        schemas=(("responseFormat", "jsonSchema"), ("responseFormat", "schema")),
        kinds={"SYSTEM": "system", "DEVELOPER": "system", "ASSISTANT": "assistant", "TOOL": "tool"},
        results_by_kind={"TOOL": Result(id=("toolCallId",), content=("content",))},
    ),
    answer=Answer(
        model=(("modelId",),),
        response_id=((*_OCI, "id"), ("id",)),
        parts=((*_OCI_CHOICE, "message"), (*_OCI, "message"), _OCI, ("message",), ()),
        keyed={
            "reasoningContent": Part(channel="reasoning"),
            "content": Part(),
            "text": Part(),
            "toolCalls": Part(tool=_OCI_CALL),
        },
        typed={
            "TEXT": Part(content=(("text",),)),
            "THINKING": Part(channel="reasoning", content=(("thinking",),)),
        },
        finish=((*_OCI_CHOICE, "finishReason"), (*_OCI, "finishReason"), ("finishReason",)),
        failed={"ERROR": "error", "ERROR_TOXIC": "error", "ERROR_LIMIT": "error", "USER_CANCEL": "cancelled"},
        ends_with_finish=True,
        **_OCI_FAILURES,  # type: ignore[arg-type]
        usage=((*_OCI_CHOICE, "usage"), (*_OCI, "usage"), ("usage",)),
        input=Count(terms=((("promptTokens",),),)),
        cache_read=Count(terms=((("promptTokensDetails", "cachedTokens"),),)),
        output=Count(terms=((("completionTokens",),),), zero_beside=(("completionTokensDetails", "reasoningTokens"),)),
        reasoning=Count(terms=((("completionTokensDetails", "reasoningTokens"),),)),
        total=("totalTokens",),
        reasoning_outside=frozenset({"oci"}),
        usage_extra={
            "accepted_prediction_tokens": ("completionTokensDetails", "acceptedPredictionTokens"),
            "rejected_prediction_tokens": ("completionTokensDetails", "rejectedPredictionTokens"),
        },
        extra={"service_tier": (*_OCI, "serviceTier")},
    ),
)
# .../20231130/EmbedTextResult: `usage` as in the chat; RerankTextResult, GenerateTextResult and SummarizeTextResult
# have no counts.
OCI_EMBED: Final = Dialect(
    api="oci.embed",
    compatible="oci",
    request=Request(
        proof=(frozenset({"inputs", "embedContents"}),), model=OCI_CHAT.request.model, sought=(("inputs",),)
    ),
    answer=Answer(
        model=(("modelId",),),
        response_id=(("id",),),
        parts=(),
        finish=(),
        **_OCI_FAILURES,  # type: ignore[arg-type]
        usage=(("usage",),),
        input=Count(terms=((("promptTokens",), ("totalTokens",)),)),
        output=Count(terms=((("completionTokens",),),), zero_beside=(("promptTokens",), ("totalTokens",))),
    ),
)
OCI_OTHERS: Final = Dialect(
    api="oci.others",
    compatible="oci",
    request=Request(
        proof=(frozenset({"servingMode"}), frozenset({"documents", "inferenceRequest", "input"})),
        model=OCI_CHAT.request.model,
    ),
    answer=replace(OCI_EMBED.answer, usage=()),
)

# github.com/SAP/ai-sdk-js, orchestration: CompletionPostResponse of both versions and of their streams; a chat
# completion of OpenAI's under `final_result`, in the first version under `orchestration_result`. What its modules
# brought stands beside it and adds nothing. Of several configurations, to fall back to, the first is read.
_MODULE = ("config", "modules", "prompt_templating")
_FIRST_MODULE = ("config", "modules", 0, "prompt_templating")
_MODULES_V1 = ("orchestration_config", "module_configurations")
_RESULTS = (("final_result",), ("orchestration_result",))
SAP: Final = Dialect(
    api="sap.orchestration",
    compatible="sap",
    request=replace(
        CHAT.request,
        proof=(frozenset({"config", "orchestration_config"}),),
        within=((*_MODULE, "prompt"), (*_FIRST_MODULE, "prompt"), (*_MODULES_V1, "templating_module_config")),
        model=(
            (*_MODULE, "model", "name"),
            (*_FIRST_MODULE, "model", "name"),
            (*_MODULES_V1, "llm_module_config", "model_name"),
        ),
        model_in_path="",
        counts_if=(),
        messages=("template",),
        system=("messages_history",),
        schemas=(("response_format", "json_schema"),),
    ),
    answer=replace(CHAT.answer, envelopes=_RESULTS, usage=tuple((*path, "usage") for path in _RESULTS)),
    common_path=True,
)
SAP_EMBED: Final = Dialect(
    api="sap.embeddings",
    compatible="sap",
    request=Request(
        proof=(frozenset({"config"}), frozenset({"input"})),
        model=(("config", "modules", "embeddings", "model", "name"),),
    ),
    answer=replace(EMBEDDINGS.answer, envelopes=_RESULTS, usage=(("final_result", "usage"),)),
    common_path=True,
)

# docs.deepinfra.com/apis/deepinfra-native: `inference_status` counts, also of embeddings, which generate nothing. So do
# rerankers, which are asked `queries` of `documents` (deepinfra.com/Qwen/Qwen3-Reranker-8B/api).
DEEPINFRA: Final = Dialect(
    api="deepinfra.inference",
    compatible="deepinfra",
    request=Request(
        proof=(frozenset({"input", "inputs", "queries"}),),
        model_in_path=r"/v1/inference/(.+)",
        messages=("input", "inputs"),
    ),
    answer=Answer(
        model=(),
        response_id=(),
        parts=(("results",), (), ("token",)),
        keyed={"generated_text": Part(), "text": Part()},
        finish=(),
        ends_if=(("generated_text",), ("inference_status",)),
        usage=((), ("inference_status",)),
        merge_usage=True,
        input=Count(terms=((("input_tokens",), ("num_input_tokens",), ("tokens_input",)),)),
        output=Count(terms=((("tokens_generated",), ("num_output_tokens",)),), zero_beside=(("input_tokens",),)),
        usage_extra={"cost": ("cost",), "runtime_ms": ("runtime_ms",)},
    ),
    common_path=True,
)

# cloud.baidu.com/doc/qianfan, "wenxinworkshop" (before its OpenAI-compatible second version): `result`, and in a stream
# `is_end`; failures are told by an `error_msg`.
_BAIDU_MODEL = r"/wenxinworkshop/[^/]+/(.+)"
BAIDU: Final = (
    Dialect(
        api="baidu.wenxin",
        compatible="baidu",
        request=Request(
            proof=(frozenset({"messages", "prompt"}),),
            model_in_path=_BAIDU_MODEL,
            messages=("messages", "prompt"),
            system=("system",),
            tools=("functions",),
            kinds={"assistant": "assistant", "function": "tool"},
            results_by_kind={"function": Result(id=("name",), content=("content",))},
        ),
        answer=Answer(
            model=(),
            response_id=(("id",),),
            parts=((),),
            keyed={"result": Part(), "function_call": Part(tool=Tool(arguments=(("arguments",),)))},
            finish=(("finish_reason",),),
            ends_if=(("is_end",),),
            errors=(("error_msg",), ("error",)),
            usage=(("usage",),),
            input=Count(terms=((("prompt_tokens",),),)),
            output=Count(terms=((("completion_tokens",),),)),
            total=("total_tokens",),
        ),
    ),
    replace(EMBEDDINGS, request=replace(EMBEDDINGS.request, model_in_path=_BAIDU_MODEL)),
)

# cloud.tencent.com/document/api/1729, ChatCompletions and GetEmbedding: all names begin with capitals, and what is no
# stream stands under `Response`.
_TENCENT = ("Response",)
_TENCENT_ERRORS = {"errors": ((*_TENCENT, "Error"), ("ErrorMsg",)), "error_words": (("Code",),)}
TENCENT: Final = Dialect(
    api="tencent.chat",
    compatible="tencent_cloud",
    request=Request(
        proof=(frozenset({"Messages"}), frozenset({"Model"})),
        model=(("Model",),),
        messages=("Messages",),
        tools=("Tools",),
        content="Content",
    ),
    answer=Answer(
        envelopes=(_TENCENT,),
        model=(),
        response_id=(("Id",),),
        parts=(("Choices", 0, "Message"), ("Choices", 0, "Delta")),
        keyed={
            "ReasoningContent": Part(channel="reasoning"),
            "Content": Part(),
            "ToolCalls": Part(
                tool=Tool(
                    id=(("Id",),),
                    name=(("Function", "Name"),),
                    arguments=(("Function", "Arguments"),),
                    appends=True,
                )
            ),
        },
        finish=(("Choices", 0, "FinishReason"),),
        ends_with_finish=True,
        **_TENCENT_ERRORS,  # type: ignore[arg-type]
        usage=((*_TENCENT, "Usage"), ("Usage",)),
        input=Count(terms=((("PromptTokens",),),)),
        output=Count(terms=((("CompletionTokens",),),)),
        total=("TotalTokens",),
    ),
    common_path=True,
)
TENCENT_EMBED: Final = Dialect(
    api="tencent.embed",
    compatible="tencent_cloud",
    request=Request(proof=(frozenset({"Input", "InputList"}),), sought=(("Input",), ("InputList",))),
    answer=Answer(
        model=(),
        response_id=(),
        parts=(),
        finish=(),
        **_TENCENT_ERRORS,  # type: ignore[arg-type]
        usage=((*_TENCENT, "Usage"),),
        input=Count(terms=((("PromptTokens",),),)),
        output=Count(terms=((("CompletionTokens",),),), zero_beside=(("PromptTokens",),)),
    ),
    common_path=True,
)

# help.aliyun.com/zh/model-studio/call-single-agent-application, and dashscope's `ApplicationUsage`: each model that the
# application asked has its tokens; the call has their sum.
DASHSCOPE_APPLICATION: Final = Dialect(
    api="dashscope.application",
    compatible="alibaba_cloud",
    request=Request(
        proof=(frozenset({"input"}),),
        within=(("input",),),
        conversation=(("session_id",),),
        messages=("messages", "prompt"),
    ),
    answer=Answer(
        model=(("usage", "models", 0, "model_id"),),
        response_id=(("request_id",),),
        parts=(("output",),),
        keyed={"text": Part()},
        finish=(("output", "finish_reason"),),
        unfinished=frozenset({"null"}),
        ends_with_finish=True,
        errors=(("code",), ("error",)),
        error_words=((), ("code",), ("type",)),
        usage=(("usage",),),
        input=Count(each=("models",), terms=((("input_tokens",),),)),
        output=Count(each=("models",), terms=((("output_tokens",),),)),
    ),
    common_path=True,
)

# fal.ai/models/openrouter/router/api, asked at fal.run: one text in and out; the events of a stream are undocumented.
FAL: Final = Dialect(
    api="fal.router",
    compatible="fal_ai",
    request=Request(
        proof=(frozenset({"prompt"}), frozenset({"model"})), messages=("prompt",), system=("system_prompt",)
    ),
    answer=Answer(
        model=(),
        response_id=(),
        parts=((),),
        keyed={"reasoning": Part(channel="reasoning"), "output": Part()},
        finish=(),
        ends_unmarked=True,
        usage=(("usage",),),
        input=Count(terms=((("prompt_tokens",),),)),
        output=Count(terms=((("completion_tokens",),),)),
        total=("total_tokens",),
        usage_extra={"cost": ("cost",)},  # USD
    ),
    common_path=True,
)
