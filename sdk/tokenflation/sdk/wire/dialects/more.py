"""Mistral's conversations, IBM watsonx's text generation, Alibaba's DashScope, Snowflake, Replicate, Sber's GigaChat.

And Aleph Alpha's completions. Part of `dialects`: data only.
"""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.openai import CHAT
from tokenflation.sdk.wire.dialects.openai_more import EMBEDDINGS
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool

__all__ = [
    "ALEPH_ALPHA",
    "ALEPH_ALPHA_EMBED",
    "DASHSCOPE",
    "DASHSCOPE_EMBED",
    "GIGACHAT",
    "MISTRAL_CONVERSATIONS",
    "REPLICATE",
    "SNOWFLAKE",
    "SNOWFLAKE_EMBED",
    "WATSONX",
    "WATSONX_READ",
]

# docs.mistral.ai/api, "Conversations" (ConversationResponse, ConversationUsageInfo, the events of a stream): the model
# reads what the provider's connectors bring, and `total_tokens` is prompt, completion and connector tokens.
_FUNCTION = Tool(id=(("tool_call_id",), ("id",)), arguments=(("arguments",),), appends=True)
MISTRAL_CONVERSATIONS: Final = Dialect(
    api="mistral.conversations",
    compatible="mistral_ai",
    request=Request(
        # mistralai's `ConversationAppendRequest` may bring confirmations alone, its restart an entry.
        proof=(frozenset({"inputs", "tool_confirmations", "from_entry_id"}),),
        messages=("inputs",),
        system=("instructions",),
        kinds={"assistant": "assistant", "message.output": "assistant", "function.call": "assistant"},
        results_by_kind={"function.result": Result(id=("tool_call_id",), content=("result",))},
        previous_in_path=r"/conversations/([^/]+)",  # to append to one, or to start it anew
    ),
    answer=Answer(
        model=(("model",), ("outputs", 0, "model")),
        response_id=(("conversation_id",),),
        parts=(("outputs",),),
        keyed={"content": Part()},  # a text, or chunks with types of their own
        typed={
            "text": Part(content=(("text",),)),
            "thinking": Part(channel="reasoning", content=(("thinking",),)),
            "function.call": Part(tool=_FUNCTION),
            "function.call.delta": Part(tool=_FUNCTION),
            "tool.execution": Part(tool=Tool(server=True, arguments=(("arguments",),))),
            "tool.execution.started": Part(tool=Tool(server=True, arguments=(("arguments",),))),
        },
        finish=(),
        slot=("output_index",),
        events={
            "message.output.delta": EventRule(part=()),
            "function.call.delta": EventRule(part=()),
            "tool.execution.started": EventRule(part=()),
            "conversation.response.done": EventRule(ends=True),
        },
        error_events=frozenset({"conversation.response.error"}),
        usage=(("usage",),),
        input=Count(terms=((("prompt_tokens",),), (("connector_tokens",),))),
        output=Count(terms=((("completion_tokens",),),)),
        usage_extra={
            "raw_input_tokens": ("prompt_tokens",),
            "connector_input_tokens": ("connector_tokens",),
            "connectors": ("connectors",),
        },
    ),
    common_path=True,
)

# cloud.ibm.com/apidocs/watsonx-ai, "Infer text" and its event stream: counts stand in each result, in a stream that of
# the input in the first alone and that of the output so far.
_COUNTED = ("results", 0)
_WATSONX_MODEL = (("model_id",),)
WATSONX: Final = Dialect(
    api="ibm.text_generation",
    compatible="ibm.watsonx.ai",
    request=Request(proof=(frozenset({"input"}),), model=_WATSONX_MODEL, messages=("input",)),
    answer=Answer(
        model=_WATSONX_MODEL,
        response_id=(),
        parts=(("results",),),
        keyed={"generated_text": Part()},
        finish=((*_COUNTED, "stop_reason"),),
        unfinished=frozenset({"not_finished"}),
        ends_with_finish=True,
        error_words=(("code",), ("type",)),
        usage=(_COUNTED,),
        merge_usage=True,
        said_once=frozenset({"input_token_count"}),
        input=Count(terms=((("input_token_count",),),)),
        output=Count(terms=((("generated_token_count",),),)),
    ),
    common_path=True,
)

# cloud.ibm.com/apidocs/watsonx-ai, "Generate embeddings" and "Generate rerank": they generate nothing.
_WATSONX_READ = (("input_token_count",),)
WATSONX_READ: Final = Dialect(
    api="ibm.text_read",
    compatible="ibm.watsonx.ai",
    request=Request(proof=(frozenset({"inputs"}),), model=_WATSONX_MODEL, sought=(("query",), ("inputs",))),
    answer=Answer(
        model=_WATSONX_MODEL,
        response_id=(),
        parts=(),
        finish=(),
        error_words=WATSONX.answer.error_words,
        usage=((),),
        input=Count(terms=(_WATSONX_READ,)),
        output=Count(terms=((),), zero_beside=_WATSONX_READ),
    ),
    common_path=True,
)

# alibabacloud.com/help/en/model-studio/qwen-api-via-dashscope: `output` holds choices, or with `result_format: text`
# the text itself; a reason that is the word "null" is none yet, and the event with another one is the last. Failures
# are told by a `code` beside the message. Of several choices the first is read.
_CHOICE = ("output", "choices", 0)
_FAILURES = (("code",), ("error",))
_FAILURE_WORDS = ((), ("code",), ("type",))
_DASHSCOPE_REQUEST = Request(proof=(frozenset({"input"}), frozenset({"model"})), within=(("input",), ("parameters",)))
DASHSCOPE: Final = Dialect(
    api="dashscope.generation",
    compatible="alibaba_cloud",
    request=replace(
        _DASHSCOPE_REQUEST,
        messages=("messages", "prompt"),
        kinds=CHAT.request.kinds,
        results_by_kind=CHAT.request.results_by_kind,
    ),
    answer=Answer(
        model=(),
        response_id=(("request_id",),),
        parts=((*_CHOICE, "message"), ("output",)),
        keyed={
            "content": Part(content=(("text",), ())),
            "text": Part(),
            "reasoning_content": Part(channel="reasoning"),
            "tool_calls": CHAT.answer.keyed["tool_calls"],
        },
        finish=((*_CHOICE, "finish_reason"), ("output", "finish_reason")),
        unfinished=frozenset({"null"}),
        ends_with_finish=True,
        errors=_FAILURES,
        error_words=_FAILURE_WORDS,
        usage=(("usage",),),
        input=Count(terms=((("input_tokens",),),)),
        cache_read=Count(terms=((("prompt_tokens_details", "cached_tokens"),),)),
        cache_write=Count(terms=((("prompt_tokens_details", "cache_creation_input_tokens"),),)),
        output=Count(terms=((("output_tokens",),),)),
        reasoning=Count(terms=((("output_tokens_details", "reasoning_tokens"),),)),
        total=("total_tokens",),
        usage_extra={
            "image_input_tokens": ("input_tokens_details", "image_tokens"),
            "audio_input_tokens": ("input_tokens_details", "audio_tokens"),
            "video_input_tokens": ("input_tokens_details", "video_tokens"),
        },
    ),
)
# .../help/en/model-studio/text-embedding-synchronous-api, .../multimodal-embedding-api-reference and
# .../text-rerank-api: they generate nothing.
_DASHSCOPE_READ = (("input_tokens",), ("total_tokens",))
DASHSCOPE_EMBED: Final = Dialect(
    api="dashscope.embed",
    compatible="alibaba_cloud",
    request=replace(_DASHSCOPE_REQUEST, sought=(("query",), ("texts",))),
    answer=Answer(
        model=(),
        response_id=(("request_id",),),
        parts=(),
        finish=(),
        errors=_FAILURES,
        error_words=_FAILURE_WORDS,
        usage=(("usage",),),
        input=Count(terms=(_DASHSCOPE_READ,)),
        output=Count(terms=((("output_tokens",),),), zero_beside=_DASHSCOPE_READ),
        usage_extra={"image_input_tokens": ("image_tokens",)},
    ),
)

# docs.snowflake.com/en/user-guide/snowflake-cortex/cortex-rest-api, `inference:complete`: OpenAI's chat but for the
# tools and the end. A stream says neither why nor that it ended (snowflake-ml-python's `_complete.py` fails at anything
# but JSON); its last event has the counts, the others an empty `usage`.
SNOWFLAKE: Final = Dialect(
    api="snowflake.complete",
    compatible="snowflake",
    request=replace(CHAT.request, counts_if=()),
    answer=replace(
        CHAT.answer,
        parts=(*CHAT.answer.parts, ("message", "content_list")),
        typed={
            "tool_use": Part(
                tool=Tool(
                    id=(("tool_use", "tool_use_id"), ("tool_use_id",)),
                    name=(("tool_use", "name"), ("name",)),
                    arguments=(("tool_use", "input"), ("input",)),
                    appends=True,
                )
            )
        },
        terminator=None,
        ends_unmarked=True,
    ),
)
# docs.snowflake.com/en/developer-guide/snowflake-rest-api/reference/cortex-embed: `text` in, OpenAI's embeddings out.
SNOWFLAKE_EMBED: Final = Dialect(
    api="snowflake.embed",
    compatible="snowflake",
    request=Request(proof=(frozenset({"text"}), frozenset({"model"})), sought=(("text",),)),
    answer=EMBEDDINGS.answer,
)

# replicate.com/docs/reference/http#predictions.create and .get: a prediction is often answered before it is made.
# Language models have counts in `metrics`, others only times.
_PREDICTION = Answer(
    only_if=("status", frozenset({"starting", "processing", "succeeded", "failed", "canceled", "aborted"})),
    model=(("model",),),
    response_id=(("id",),),
    parts=(),
    finish=(("status",),),
    unfinished=frozenset({"starting", "processing"}),
    failed={"failed": "error", "aborted": "error", "canceled": "cancelled"},
    usage=(("metrics",),),
    input=Count(terms=((("input_token_count",),),)),
    output=Count(terms=((("output_token_count",),),)),
    usage_extra={"predict_time": ("predict_time",)},
)
REPLICATE: Final = (
    Dialect(
        api="replicate.predictions",
        compatible="replicate",
        request=Request(
            proof=(frozenset({"input"}),),
            model_in_path=r"/models/([^/]+/[^/]+)/predictions",
            within=(("input",),),
            messages=("prompt",),
            system=("system_prompt",),
        ),
        answer=_PREDICTION,
        common_path=True,
    ),
    Dialect(
        api="replicate.predictions.retrieve",
        compatible="replicate",
        request=Request(proof=()),
        answer=_PREDICTION,
        fetches=True,
    ),
)

# developers.sber.ru/docs/ru/gigachat/api, the second version of its chat: parts in messages, and no choices.
_MESSAGE = ("messages", 0)
GIGACHAT: Final = Dialect(
    api="gigachat.chat",
    compatible="gigachat",
    request=Request(
        proof=(frozenset({"messages"}),),
        messages=("messages",),
        schemas=(("model_options", "response_format", "schema"),),
        conversation=(("storage", "thread_id"),),
        forced=(("tool_config", "function_name"),),
        kinds=CHAT.request.kinds,
        results_by_key={"function_result": Result(id=("id",), content=("result",))},
    ),
    answer=Answer(
        model=(("model",),),
        response_id=((*_MESSAGE, "message_id"),),
        parts=(_MESSAGE, (*_MESSAGE, "content")),
        keyed={
            "text": Part(),
            "files": Part(content=(("id",),)),
            "function_call": Part(tool=Tool(arguments=(("arguments",),))),
        },
        finish=(("finish_reason",), (*_MESSAGE, "finish_reason")),
        events={"response.message.done": EventRule(ends=True)},
        usage=(("usage",),),
        input=Count(terms=((("input_tokens",),),)),
        cache_read=Count(terms=((("input_tokens_details", "cached_tokens"),),)),
        output=Count(terms=((("output_tokens",),),)),
        total=("total_tokens",),
    ),
)

# github.com/Aleph-Alpha/aleph-alpha-client, completion.py and embedding.py: `model_version` is no model's name. Both
# counts are of all completions together; a stream has them in its `completion_summary`.
_ALEPH_ALPHA_READ = (("num_tokens_prompt_total",),)
ALEPH_ALPHA: Final = Dialect(
    api="aleph_alpha.complete",
    compatible="aleph_alpha",
    request=Request(proof=(frozenset({"prompt"}), frozenset({"maximum_tokens"})), messages=("prompt",)),
    answer=Answer(
        model=(),
        response_id=(),
        parts=(("completions",), ()),
        keyed={"completion": Part()},
        finish=(("completions", 0, "finish_reason"), ("finish_reason",)),
        terminator=b"[DONE]",
        usage=((),),
        merge_usage=True,
        input=Count(terms=(_ALEPH_ALPHA_READ,)),
        output=Count(terms=((("num_tokens_generated",),),)),
    ),
    common_path=True,
)
ALEPH_ALPHA_EMBED: Final = Dialect(
    api="aleph_alpha.embed",
    compatible="aleph_alpha",
    request=Request(proof=(frozenset({"prompt", "prompts", "input"}),)),
    answer=Answer(
        model=(),
        response_id=(),
        parts=(),
        finish=(),
        usage=((),),
        input=Count(terms=(_ALEPH_ALPHA_READ,)),
        output=Count(terms=((),), zero_beside=_ALEPH_ALPHA_READ),
    ),
    common_path=True,
)
