"""Platforms with bodies of their own: Meta's Llama API, YandexGPT, Clova Studio, Dify, Pinecone's assistants.

And MiniMax's embeddings. Part of `dialects`: data only.
"""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.openai import CHAT
from tokenflation.sdk.wire.dialects.openai_more import EMBEDDINGS
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Tool

__all__ = ["CLOVA", "DIFY", "LLAMA", "MINIMAX_EMBED", "NVIDIA_VISION", "PINECONE", "YANDEX", "YANDEX_EMBED"]

_CALLS = Part(tool=Tool(name=(("function", "name"),), arguments=(("function", "arguments"),), appends=True))
_COUNTED = {
    "input": Count(terms=((("prompt_tokens",),),)),
    "output": Count(terms=((("completion_tokens",),),)),
    "total": ("total_tokens",),
}

# llama-api-client's `CreateChatCompletionResponse` and `CreateChatCompletionResponseStreamChunk`: counts are metrics by
# their names (`num_prompt_tokens`), doubles by its types; those of a stream come in one more event. At its other paths
# the host answers as OpenAI does.
LLAMA: Final = Dialect(
    api="llama.chat",
    compatible="meta",
    request=replace(CHAT.request, counts_if=(), model_in_path=""),
    answer=Answer(
        envelopes=(("event",),),
        model=(),
        response_id=(("id",),),
        parts=(("completion_message",), ("delta",)),
        keyed={"content": Part(), "tool_calls": _CALLS},
        typed={"text": Part(content=(("text",),)), "tool_call": _CALLS},
        finish=(("stop_reason",), ("completion_message", "stop_reason")),
        usage=(("event", "metrics"), ("metrics",)),
        usage_listed=("metric", "value"),
        doubles=True,
        input=Count(terms=((("num_prompt_tokens",),),)),
        output=Count(terms=((("num_completion_tokens",),),)),
        total=("num_total_tokens",),
    ),
)

# github.com/yandex-cloud/cloudapi, ai/foundation_models/v1 (text_common.proto, text_generation_service.proto and
# embedding): its JSON writes an int64 as a text. Each line of a stream says all of the text again.
_MODEL_URI = (("modelUri",),)
YANDEX: Final = Dialect(
    api="yandex.completion",
    compatible="yandex_cloud",
    request=Request(
        proof=(frozenset({"modelUri"}), frozenset({"messages"})),
        model=_MODEL_URI,
        messages=("messages",),
        content="text",
        kinds={"system": "system", "assistant": "assistant"},
        schemas=(("jsonSchema", "schema"),),
    ),
    answer=Answer(
        envelopes=(("result",),),
        model=(),
        response_id=(),
        choices=("alternatives",),
        parts=(("message",), ("message", "toolCallList", "toolCalls")),
        keyed={"text": Part(), "functionCall": Part(tool=Tool(arguments=(("arguments",),)))},
        finish=(("status",),),
        unfinished=frozenset({"ALTERNATIVE_STATUS_UNSPECIFIED", "ALTERNATIVE_STATUS_PARTIAL"}),
        ends_with_finish=True,
        usage=(("result", "usage"), ("usage",)),
        doubles=True,
        input=Count(terms=((("inputTextTokens",),),)),
        output=Count(terms=((("completionTokens",),),)),
        reasoning=Count(terms=((("completionTokensDetails", "reasoningTokens"),),)),
        total=("totalTokens",),
    ),
    common_path=True,
)
_YANDEX_READ = (("numTokens",),)
YANDEX_EMBED: Final = Dialect(
    api="yandex.embed",
    compatible="yandex_cloud",
    request=Request(proof=(frozenset({"modelUri"}), frozenset({"text"})), model=_MODEL_URI),
    answer=Answer(
        model=(),
        response_id=(),
        parts=(),
        finish=(),
        usage=((),),
        doubles=True,
        input=Count(terms=(_YANDEX_READ,)),
        output=Count(terms=((),), zero_beside=_YANDEX_READ),
    ),
)

# api.ncloud-docs.com/docs/clovastudio-chatcompletionsv3 and, of the first version, /clovastudio-chatcompletions: under
# `result` stands what is no stream. A stream's last event says all of the message again.
CLOVA: Final = Dialect(
    api="clova.chat",
    compatible="naver_cloud",
    request=replace(CHAT.request, counts_if=(), model_in_path=r"/chat-completions/([^/]+)"),
    answer=Answer(
        envelopes=(("result",),),
        model=(),
        response_id=(),
        parts=(("message",),),
        keyed={"thinkingContent": Part(channel="reasoning"), "content": Part(), "toolCalls": _CALLS},
        typed={"text": Part(content=(("text",),))},
        finish=(("finishReason",), ("stopReason",)),
        ends_with_finish=True,
        usage=((), ("result",), ("usage",), ("result", "usage")),
        input=Count(terms=((("promptTokens",), ("inputLength",)),)),
        output=Count(terms=((("completionTokens",), ("outputLength",)),)),
        total=("totalTokens",),
    ),
    common_path=True,
)

# github.com/langgenius/dify, web/app/components/develop/template: of an app of chat, agent or completion. Its usage is
# that of the models that the app asked.
DIFY: Final = Dialect(
    api="dify.chat",
    compatible="dify",
    request=Request(proof=(frozenset({"inputs", "query"}), frozenset({"user"})), messages=("query",)),
    answer=Answer(
        event_key="event",
        model=(),
        response_id=(("message_id",),),
        parts=((),),
        keyed={"answer": Part()},
        finish=(),
        events={"message_end": EventRule(ends=True)},
        usage=(("metadata", "usage"),),
        **_COUNTED,  # type: ignore[arg-type]
    ),
    common_path=True,
)

# pinecone's `ChatResponse`, `ChatUsage` and the chunks of its `assistant/streaming.py`.
PINECONE: Final = Dialect(
    api="pinecone.chat",
    compatible="pinecone",
    request=replace(CHAT.request, counts_if=(), model_in_path=""),
    answer=Answer(
        model=(("model",),),
        response_id=(("id",),),
        parts=(("message",), ("delta",)),
        keyed={"content": Part()},
        finish=(("finish_reason",),),
        events={"message_end": EventRule(ends=True)},
        usage=(("usage",),),
        **_COUNTED,  # type: ignore[arg-type]
    ),
    common_path=True,
)

# langchain-community's `MiniMaxEmbeddings`: vectors without counts; a failure has a status of its own.
MINIMAX_EMBED: Final = Dialect(
    api="openai.embeddings",
    compatible="minimax",
    request=Request(proof=(frozenset({"texts"}), frozenset({"model"}), frozenset({"type"}))),
    answer=replace(EMBEDDINGS.answer, mark=("vectors", 0)),
    common_path=True,
)

# langchain-nvidia-ai-endpoints, `_statics.py`: OpenAI's chat at a path that names the model.
NVIDIA_VISION: Final = replace(
    CHAT,
    api="openai.chat",
    compatible="nvidia",
    request=replace(CHAT.request, model_in_path=r"/v1/vlm/(.+)"),
    common_path=True,
)
