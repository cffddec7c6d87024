"""Servers that people run themselves, by their own apis.

Ollama, HuggingFace's, LM Studio, llama.cpp, SGLang, vLLM, Triton and KoboldCpp. Part of `dialects`: data only.
"""

from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects.openai import CHAT
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Paths, Request, Result, Tool

__all__ = [
    "HUGGINGFACE",
    "HUGGINGFACE_EMBED",
    "KOBOLDCPP",
    "LLAMA_CPP",
    "LLAMA_CPP_EMBED",
    "LM_STUDIO",
    "OLLAMA_CHAT",
    "OLLAMA_EMBED",
    "OLLAMA_GENERATE",
    "SGLANG",
    "SGLANG_EMBED",
    "TRITON",
    "VLLM_POOLING",
]

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
    request=Request(
        proof=(frozenset({"model"}), frozenset({"prompt"})),
        previous=(("context",),),
        messages=("prompt",),
        system=("system",),
    ),
    answer=replace(_OLLAMA, kept=("context",)),
    common_path=True,
)
OLLAMA_EMBED: Final = Dialect(
    api="ollama.embed",
    compatible="ollama",
    request=Request(proof=(frozenset({"model"}), frozenset({"input", "prompt"})), sought=(("input",), ("prompt",))),
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
# `prefill` lists the tokens of the prompt. Its router (server.rs, `generate`) counts in headers, too, but for a stream.
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
        errors=(("error_type",), ("error",)),
        error_words=((), ("type",)),
        usage=(("details",),),
        headers=("x-prompt-tokens", "x-generated-tokens"),
        input=Count(terms=((("input_length",), ("x-prompt-tokens",)),)),
        output=Count(terms=((("generated_tokens",), ("x-generated-tokens",)),)),
    ),
    common_path=True,
)
# huggingface.github.io/text-embeddings-inference, all but `/predict`: arrays of numbers; a header counts (lib.rs,
# ResponseMetadata).
_COMPUTED = ("x-compute-tokens",)
HUGGINGFACE_EMBED: Final = Dialect(
    api="huggingface.embed",
    compatible="huggingface",
    request=Request(proof=(frozenset({"inputs", "texts"}),), sought=(("query",), ("inputs",))),
    answer=Answer(
        listed="answers",
        model=(),
        response_id=(),
        parts=(),
        finish=(),
        usage=(),
        headers=_COMPUTED,
        input=Count(terms=((_COMPUTED,),)),
        output=Count(terms=((),), zero_beside=(_COMPUTED,)),
    ),
    common_path=True,
)

# lmstudio.ai/docs/developer/rest/chat and /streaming-events: `stats` count the whole answer, tools that the server ran
# included; a stream ends with a `chat.end` that holds all of it as `result`.
LM_STUDIO: Final = Dialect(
    api="lm_studio.chat",
    compatible="lm_studio",
    request=Request(
        proof=(frozenset({"input"}), frozenset({"model"})),
        messages=("input",),
        system=("system_prompt",),
        tools=("integrations",),
    ),
    answer=Answer(
        envelopes=(("result",),),
        model=(("model_instance_id",),),
        response_id=(("response_id",),),
        parts=(("output",),),
        typed={
            "message": Part(content=(("content",),)),
            "reasoning": Part(channel="reasoning", content=(("content",),)),
            "tool_call": Part(tool=Tool(server=True, name=(("tool",),), arguments=(("arguments",),))),
        },
        finish=(),
        events={
            "message.delta": EventRule(channel="answer", content=("content",)),
            "reasoning.delta": EventRule(channel="reasoning", content=("content",)),
            "tool_call.start": EventRule(channel="other", content=("tool",)),
            "chat.end": EventRule(ends=True),
        },
        usage=(("result", "stats"), ("stats",)),
        input=Count(terms=((("input_tokens",),),)),
        output=Count(terms=((("total_output_tokens",),),)),
        reasoning=Count(terms=((("reasoning_output_tokens",),),)),
        usage_extra={"model_load_time": ("model_load_time_seconds",)},
    ),
    common_path=True,
)


# github.com/ggml-org/llama.cpp, tools/server (README, server-task.cpp): `tokens_evaluated` is the whole prompt, and
# `timings.cache_n` what of it was read from the cache; `tokens_cached` is what the slot holds in the end. Several
# prompts, and several completions of each, are answered by an array, or by one stream in which `index` numbers them.
LLAMA_CPP: Final = Dialect(
    api="llama_cpp.completion",
    compatible="llama_cpp",
    request=Request(
        proof=(frozenset({"prompt", "input_prefix", "input_suffix"}),),
        choices=(("n_cmpl",), ("n",)),
        prompts=("prompt",),
        messages=("prompt", "input_prefix"),
        alone=True,
        system=("input_extra",),
    ),
    answer=Answer(
        apart="index",
        model=(("model",),),
        response_id=(),
        parts=((),),
        keyed={"content": Part()},
        finish=(("stop_type",),),
        unfinished=frozenset({"none"}),
        ends_if=(("stop",),),
        usage=((),),
        input=Count(terms=((("tokens_evaluated",),),)),
        cache_read=Count(terms=((("timings", "cache_n"),),)),
        output=Count(terms=((("tokens_predicted",),),)),
        extra={"timings": ("timings",)},
    ),
    common_path=True,
)

# .../tools/server, `/embedding`: vectors alone, by the number of their input.
LLAMA_CPP_EMBED: Final = Dialect(
    api="llama_cpp.embed",
    compatible="llama_cpp",
    request=Request(proof=(frozenset({"content", "input"}),), sought=(("content",), ("input",))),
    answer=Answer(
        apart="index",
        model=(),
        response_id=(),
        parts=(),
        finish=(),
        mark=("embedding", 0),
        usage=((),),
        input=Count(terms=((("tokens_evaluated",),),)),
        output=Count(terms=((),), zero_beside=(("tokens_evaluated",),)),
    ),
    common_path=True,
    by_answer=True,
)

# docs.sglang.io/basic_usage/native_api, `/generate` (tokenizer_manager.py: `meta_info`); LMDeploy's answers so, too. A
# stream says all of its text again with each event. Several prompts, and several samples of each, are answered as
# llama.cpp does. What the server gave up has an `err_type`.
_META = ("meta_info",)
_ABORTED = (*_META, "finish_reason", "err_type")
_SGLANG_REQUEST = Request(
    proof=(frozenset({"text", "input_ids", "input_embeds", "prompt"}),),
    choices=(("sampling_params", "n"), ("sampling_params", 0, "n")),
    prompts=("text", "input_ids"),
    messages=("text", "prompt"),
)
_SGLANG_ASKED = Dialect(
    api="sglang.generate",
    compatible="sglang",
    request=replace(
        _SGLANG_REQUEST, proof=(*_SGLANG_REQUEST.proof, frozenset({"sampling_params", "input_ids", "max_tokens"}))
    ),
    answer=Answer(
        apart="index",
        model=(),
        response_id=((*_META, "id"),),
        parts=((),),
        keyed={"text": Part()},
        finish=((*_META, "finish_reason", "type"),),
        terminator=b"[DONE]",
        errors=(("error",), _ABORTED),
        error_words=((), ("type",), ("code",), ("status",)),
        usage=(_META,),
        input=Count(terms=((("prompt_tokens",),),)),
        cache_read=Count(terms=((("cached_tokens",),),)),
        output=Count(terms=((("completion_tokens",),),)),
        reasoning=Count(terms=((("reasoning_tokens",),),)),
    ),
    common_path=True,
)
# Many a program has a text made into another at such a path.
SGLANG: Final = (_SGLANG_ASKED, replace(_SGLANG_ASKED, request=_SGLANG_REQUEST, by_answer=True))
# .../native_api, `/encode` and `/classify`: they generate nothing.
_GENERATES_NOTHING = Answer(
    model=(), response_id=(), parts=(), finish=(), errors=(), usage=(_META,), input=Count(), output=Count()
)
SGLANG_EMBED: Final = Dialect(
    api="sglang.embed",
    compatible="sglang",
    request=_SGLANG_REQUEST,
    answer=replace(
        _GENERATES_NOTHING,
        apart="index",
        input=Count(terms=((("prompt_tokens",),),)),
        output=Count(terms=((("completion_tokens",),),), zero_beside=(("prompt_tokens",),)),
    ),
    common_path=True,
    by_answer=True,
)

# docs.vllm.ai/serving/openai_compatible_server: `/pooling`, `/classify`, `/score`; SGLang's `/v1/score`.
_READ: Paths = (("prompt_tokens",), ("total_tokens",))
VLLM_POOLING: Final = Dialect(
    api="vllm.pooling",
    compatible="vllm",
    request=Request(
        proof=(
            frozenset({"input", "messages", "prompt", "query", "queries", "text_1", "data_1"}),
            frozenset({"model"}),
        )
    ),
    answer=replace(
        _GENERATES_NOTHING,
        usage=(("usage",),),
        input=Count(terms=(_READ,)),
        output=Count(terms=((("completion_tokens",),),), zero_beside=_READ),
    ),
    common_path=True,
)

# docs.nvidia.com/deeplearning/triton-inference-server, "generate extension", and the vLLM backend's additional outputs:
# it counts only where the request asks for it, in a stream the tokens of each event by themselves.
_TRITON = Answer(
    model=(("model_name",),),
    response_id=(),
    parts=((),),
    keyed={"text_output": Part()},
    finish=(("finish_reason",),),
    ends_unmarked=True,
    usage=((),),
    input=Count(terms=((("num_input_tokens",),),)),
    output=Count(terms=((("num_output_tokens",),),)),
)
TRITON: Final = tuple(
    Dialect(
        api="triton.generate",
        compatible="triton",
        request=Request(
            proof=(frozenset({"text_input"}),), model_in_path=r"/models/([^/]+)/", messages=("text_input",)
        ),
        answer=answer,
        common_path=True,
    )
    for answer in (_TRITON, replace(_TRITON, output=Count()))
)

# github.com/LostRuins/koboldcpp, `/api/v1/generate`: one result; `/api/extra/generate/stream` has no counts.
_RESULT = ("results", 0)
_KOBOLDCPP = Answer(
    model=(),
    response_id=(),
    parts=(("results",),),
    keyed={"text": Part()},
    finish=((*_RESULT, "finish_reason"),),
    usage=(_RESULT,),
    input=Count(terms=((("prompt_tokens",),),)),
    output=Count(terms=((("completion_tokens",),),)),
)
KOBOLDCPP: Final = tuple(
    Dialect(
        api="koboldcpp.generate",
        compatible="koboldcpp",
        request=Request(proof=(frozenset({"prompt"}),), messages=("prompt",), system=("memory",)),
        answer=answer,
        common_path=True,
    )
    for answer in (
        _KOBOLDCPP,
        replace(
            _KOBOLDCPP,
            parts=((),),
            keyed={"token": Part()},
            finish=(("finish_reason",),),
            ends_with_finish=True,
            usage=(),
            input=Count(),
            output=Count(),
        ),
    )
)
