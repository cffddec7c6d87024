"""Servers that people run themselves: Ollama, and HuggingFace's text-generation-inference.

Part of `dialects`: data only.
"""

from typing import Final

from tokenflation.sdk.wire.dialects_openai import CHAT
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, Part, Request, Result, Tool

__all__ = ["HUGGINGFACE", "OLLAMA_CHAT", "OLLAMA_EMBED", "OLLAMA_GENERATE"]

# docs.ollama.com/api (generate, chat, usage): counts stand in the answer itself; a stream is one JSON object a line,
# the last with `done`. Old versions leave prompt_eval_count out where the prompt is cached; newer ones count all of it,
# and in prompt_eval_cached_count what of it was read from the cache.
_OLLAMA = Answer(
    model=(("model",),),
    response_id=(),
    parts=((), ("message",)),
    keyed={
        "response": Part(),
        "content": Part(),
        "thinking": Part(channel="reasoning"),
        "tool_calls": Part(tool=Tool(name=(("function", "name"),), arguments=(("function", "arguments"),))),
        "image": Part(),
    },
    finish=(("done_reason",),),
    ends_if=(("done",),),
    usage=((),),
    input=Count(terms=((("prompt_eval_count",),),)),
    cache_read=Count(terms=((("prompt_eval_cached_count",),),)),
    output=Count(terms=((("eval_count",),),)),
    usage_extra={
        "total_duration_ns": ("total_duration",),
        "load_duration_ns": ("load_duration",),
        "prompt_eval_duration_ns": ("prompt_eval_duration",),
        "eval_duration_ns": ("eval_duration",),
    },
)
OLLAMA_CHAT: Final = Dialect(
    api="ollama.chat",
    compatible="ollama",
    request=Request(
        proof=(frozenset({"messages"}), frozenset({"model"})),
        messages=("messages",),
        kinds=CHAT.request.kinds,
        results_by_kind={"tool": Result(id=("tool_call_id", "tool_name"), content=("content",))},
    ),
    answer=_OLLAMA,
    common_path=True,
)
OLLAMA_GENERATE: Final = Dialect(
    api="ollama.generate",
    compatible="ollama",
    request=Request(proof=(frozenset({"model"}), frozenset({"prompt"})), messages=("prompt",), system=("system",)),
    answer=_OLLAMA,
    common_path=True,
)
OLLAMA_EMBED: Final = Dialect(
    api="ollama.embed",
    compatible="ollama",
    request=Request(proof=(frozenset({"model"}), frozenset({"input", "prompt"}))),
    answer=Answer(
        model=(("model",),),
        response_id=(),
        parts=(),
        finish=(),
        usage=((),),
        input=Count(terms=((("prompt_eval_count",),),)),
        output=Count(terms=((("eval_count",),),), zero_beside=(("prompt_eval_count",),)),
    ),
)

# huggingface.github.io/text-generation-inference (openapi): `details` come if asked for, in a stream with its end;
# `prefill` lists the tokens of the prompt.
HUGGINGFACE: Final = Dialect(
    api="huggingface.generate",
    compatible="huggingface",
    request=Request(proof=(frozenset({"inputs"}),), messages=("inputs",)),
    answer=Answer(
        model=(),
        response_id=(),
        parts=((), ("token",)),
        keyed={"generated_text": Part(), "text": Part()},
        finish=(("details", "finish_reason"),),
        ends_if=(("details",), ("generated_text",)),
        error_words=(("error_type",), ("type",)),
        usage=(("details",),),
        input=Count(terms=((("input_length",),),)),
        output=Count(terms=((("generated_tokens",),),)),
    ),
    common_path=True,
)
