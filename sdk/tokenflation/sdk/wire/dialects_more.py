"""Mistral's conversations, and IBM watsonx's text generation. Part of `dialects`: data only."""

from typing import Final

from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool

__all__ = ["MISTRAL_CONVERSATIONS", "WATSONX"]

# docs.mistral.ai/api, "Conversations" (ConversationResponse, ConversationUsageInfo, the events of a stream): the model
# reads what the provider's connectors bring, and `total_tokens` is prompt, completion and connector tokens.
_FUNCTION = Tool(id=(("tool_call_id",), ("id",)), arguments=(("arguments",),), appends=True)
MISTRAL_CONVERSATIONS: Final = Dialect(
    api="mistral.conversations",
    compatible="mistral_ai",
    request=Request(
        proof=(frozenset({"inputs"}),),
        messages=("inputs",),
        system=("instructions",),
        kinds={"assistant": "assistant", "message.output": "assistant", "function.call": "assistant"},
        results_by_kind={"function.result": Result(id=("tool_call_id",), content=("result",))},
    ),
    answer=Answer(
        model=(("model",), ("outputs", 0, "model")),
        response_id=(("conversation_id",),),
        parts=(("outputs",),),
        typed={
            "message.output": Part(content=(("content",),)),
            "function.call": Part(tool=_FUNCTION),
            "function.call.delta": Part(tool=_FUNCTION),
            "tool.execution": Part(tool=Tool(server=True, arguments=(("arguments",),))),
            "tool.execution.started": Part(tool=Tool(server=True, arguments=(("arguments",),))),
        },
        finish=(),
        slot=("output_index",),
        events={
            "message.output.delta": EventRule(channel="answer", content=("content",)),
            "function.call.delta": EventRule(part=()),
            "tool.execution.started": EventRule(part=()),
            "conversation.response.done": EventRule(ends=True),
        },
        error_events=frozenset({"conversation.response.error"}),
        usage=(("usage",),),
        input=Count(terms=((("prompt_tokens",),), (("connector_tokens",),))),
        output=Count(terms=((("completion_tokens",),),)),
        usage_extra={"raw_input_tokens": ("prompt_tokens",), "connector_input_tokens": ("connector_tokens",)},
    ),
    common_path=True,
)

# cloud.ibm.com/apidocs/watsonx-ai, "Infer text" and its event stream: counts stand in each result.
_COUNTED = ("results", 0)
WATSONX: Final = Dialect(
    api="ibm.text_generation",
    compatible="ibm.watsonx.ai",
    request=Request(proof=(frozenset({"input"}),), messages=("input",)),
    answer=Answer(
        model=(("model_id",),),
        response_id=(),
        parts=(("results",),),
        keyed={"generated_text": Part()},
        finish=((*_COUNTED, "stop_reason"),),
        unfinished=frozenset({"not_finished"}),
        ends_with_finish=True,
        error_words=(("code",), ("type",)),
        usage=(_COUNTED,),
        merge_usage=True,
        input=Count(terms=((("input_token_count",),),)),
        output=Count(terms=((("generated_token_count",),),)),
    ),
    common_path=True,
)
