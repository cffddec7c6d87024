"""OpenAI's two apis and what the many servers that copy them do differently. Part of `dialects`: data only."""

from typing import Final

from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool
from tokenflation.sdk.wire.values import Path

__all__ = ["CHAT", "RESPONSES", "SVG_USAGE"]

# platform.openai.com/docs/api-reference/chat (object, streaming): usage, prompt_tokens_details,
# completion_tokens_details; with stream_options.include_usage one more chunk, with empty choices, before [DONE].
_CHAT_REQUEST = Request(
    proof=(frozenset({"messages"}),),
    model=(("model",), ("model_id",)),  # the second: watsonx
    model_in_path=r"/deployments/([^/]+)/",  # Azure
    counts_if=("stream_options", "include_usage"),
    messages=("messages",),
    tools=("tools", "functions"),
    schemas=(("response_format", "json_schema"),),
    kinds={
        "system": "system",
        "developer": "system",
        "assistant": "assistant",
        "tool": "tool",
        "function": "tool",
    },
    results_by_kind={
        "tool": Result(id=("tool_call_id",), content=("content",)),
        "function": Result(id=("tool_call_id",), content=("content",)),
    },
)
_CHAT_CALL = Tool(
    name=(("function", "name"), ("custom", "name"), ("name",)),
    arguments=(("function", "arguments"), ("custom", "input"), ("arguments",)),
    appends=True,
)
_CHAT_ANSWER = Answer(
    model=(("model",),),
    response_id=(("id",),),
    choices=("choices",),
    parts=(("message",), ("delta",)),
    keyed={
        "content": Part(),
        "refusal": Part(),
        "reasoning_content": Part(channel="reasoning"),  # DeepSeek, vLLM, Moonshot, llama.cpp
        "reasoning": Part(channel="reasoning"),  # OpenRouter, Groq
        # openrouter's `ReasoningDetailUnion`, litellm's `thinking_blocks`; hidden reasoning has nothing else.
        "reasoning_details": Part(channel="reasoning", content=(("text",), ("summary",), ("data",))),
        "thinking_blocks": Part(channel="reasoning", content=(("thinking",), ("data",))),
        # vercel.com/docs/ai-gateway, "Image Generation with Chat Completions API"; OpenRouter's and litellm's so, too.
        "images": Part(channel="other", content=(("image_url", "url"),)),
        "audio": Part(content=(("data",), ("transcript",))),
        "tool_calls": Part(tool=_CHAT_CALL),
        "function_call": Part(tool=_CHAT_CALL),  # before November 2023
        "executed_tools": Part(  # console.groq.com/docs/compound
            tool=Tool(server=True, name=(("name",), ("type",)), arguments=(("arguments",),))
        ),
    },
    typed={  # docs.mistral.ai/capabilities/reasoning: content is a list of chunks
        "text": Part(content=(("text",),)),
        "thinking": Part(channel="reasoning", content=(("thinking",),)),
    },
    finish=(("finish_reason",),),
    terminator=b"[DONE]",
    # openrouter.ai/docs/api-reference/errors: inside the choice; console.groq.com/docs/errors: in x_groq.
    errors=(("error",), ("choices", 0, "error"), ("x_groq", "error")),
    # llama.cpp's server gives several choices the usage, and the `timings`, of the first; in a stream, of each.
    counts_one="timings",
    # platform.moonshot.ai: usage of a stream stands in the choice; console.groq.com: in x_groq of the last chunk.
    usage=(("choices", 0, "usage"), ("x_groq", "usage"), ("usage",)),
    # developers.sber.ru/docs/ru/gigachat/guides/counting-tokens: what is read from the cache stands outside the prompt.
    input=Count(terms=((("prompt_tokens",),), (("precached_prompt_tokens",),))),
    cache_read=Count(
        terms=(
            (
                ("prompt_tokens_details", "cached_tokens"),
                ("prompt_cache_hit_tokens",),  # api-docs.deepseek.com/guides/kv_cache
                ("cached_tokens",),  # Moonshot
                ("num_cached_tokens",),  # Mistral: `UsageInfo` in docs.mistral.ai/openapi.yaml, three names in all
                ("prompt_token_details", "cached_tokens"),
                ("cache_read_input_tokens",),  # Databricks
                ("precached_prompt_tokens",),  # GigaChat
            ),
        )
    ),
    # docs.litellm.ai/docs/completion/prompt_caching: "cache_creation_input_tokens: number of tokens that were written
    # to cache", beside prompt_tokens that hold all; Vercel's gateway and Databricks say so, too, and Alibaba's
    # (alibabacloud.com/help/en/model-studio/context-cache) in the details.
    cache_write=Count(
        terms=(
            (
                ("prompt_tokens_details", "cache_write_tokens"),
                ("cache_creation_input_tokens",),
                ("prompt_tokens_details", "cache_creation_input_tokens"),
            ),
        )
    ),
    output=Count(terms=((("completion_tokens",),),)),
    # SGLang and api.githubcopilot.com count it beside the details, which lack it, and within the completion.
    reasoning=Count(terms=((("completion_tokens_details", "reasoning_tokens"), ("reasoning_tokens",)),)),
    # docs.perplexity.ai: a deep research has `reasoning_tokens` that stand in no total and are billed by themselves.
    reasoning_apart=(("reasoning_tokens",), ("num_search_queries",)),
    total=("total_tokens",),
    # Gemini's OpenAI-compatible endpoint and docs.x.ai/docs/guides/reasoning: total_tokens has the reasoning,
    # completion_tokens has not.
    reasoning_outside=frozenset({"gcp.gemini", "gcp.vertex_ai", "x_ai"}),
    reasoning_outside_models=("gemini-", "grok-", "google/gemini-", "xai/grok-"),
    # ai-gateway.vercel.sh takes Gemini's candidates for the completion and totals without the thoughts, but bills them:
    # $0.0002833 for gemini-2.5-flash is 61 x $0.30/M + (10 + 96) x $2.50/M, said as 61, 10, 71 in total, 96 reasoning.
    reasoning_beside=("vercel", ("gemini-", "google/gemini-")),
    # docs.mistral.ai/capabilities/audio: 203 s of audio with prompt_tokens 4, completion_tokens 635, total_tokens 3264.
    input_outside_if=("prompt_audio_seconds",),
    usage_extra={
        "prompt_audio_seconds": ("prompt_audio_seconds",),
        "cost": ("cost",),  # openrouter.ai/docs/use-cases/usage-accounting, USD
        "cost_in_usd_ticks": ("cost_in_usd_ticks",),  # xAI
        "num_sources_used": ("num_sources_used",),  # xAI
        "service_tier": ("service_tier",),  # Mistral
        "text_input_tokens": ("prompt_tokens_details", "text_tokens"),
        "audio_input_tokens": ("prompt_tokens_details", "audio_tokens"),
        "image_input_tokens": ("prompt_tokens_details", "image_tokens"),
        "video_input_tokens": ("prompt_tokens_details", "video_tokens"),
        "text_output_tokens": ("completion_tokens_details", "text_tokens"),
        "audio_output_tokens": ("completion_tokens_details", "audio_tokens"),
        "image_output_tokens": ("completion_tokens_details", "image_tokens"),
        "accepted_prediction_tokens": ("completion_tokens_details", "accepted_prediction_tokens"),
        "rejected_prediction_tokens": ("completion_tokens_details", "rejected_prediction_tokens"),
        "raw_reasoning_tokens": ("reasoning_tokens",),
        "citation_tokens": ("citation_tokens",),
        "num_search_queries": ("num_search_queries",),
        "web_search_requests": ("server_tool_use_details", "web_search_requests"),  # OpenRouter
        "queue_time": ("queue_time",),  # Groq, seconds
        "prompt_time": ("prompt_time",),
        "completion_time": ("completion_time",),
    },
    extra={
        "service_tier": ("service_tier",),
        "system_fingerprint": ("system_fingerprint",),
        "timings": ("timings",),  # llama.cpp
    },
)
CHAT: Final = Dialect(api="openai.chat", compatible="openai_compatible", request=_CHAT_REQUEST, answer=_CHAT_ANSWER)

# docs.x.ai/developers/tools/x-search, and the items in @ai-sdk/xai's `xai-responses-api.ts`: xAI runs them itself. What
# stands within a search of X comes as custom calls, which are a client's own elsewhere.
_ONLY_XAI = ("x_search_call", "code_execution_call", "view_image_call", "view_x_video_call")
_WITHIN_X_SEARCH = frozenset(
    {"x_keyword_search", "x_semantic_search", "x_thread_fetch", "x_user_search", "view_image", "view_x_video"}
)
# platform.openai.com/docs/api-reference/responses (object) and /responses-streaming (events).
_OUTPUT = Result(id=("call_id", "id"), content=("output",))
_RESPONSES_REQUEST = Request(
    proof=(
        frozenset({"input", "previous_response_id", "conversation", "prompt"}),
        # learn.microsoft.com/azure/foundry/agents: an agent kept there brings its model, as does a preset of
        # Perplexity's (docs.perplexity.ai/docs/agent-api).
        frozenset({"model", "models", "preset", "prompt", "agent", "agent_reference"}),
    ),
    model_in_path=r"/deployments/([^/]+)/",
    messages=("input",),
    system=("instructions",),
    schemas=(("text", "format", "schema"),),
    kinds={
        "system": "system",
        "developer": "system",
        "assistant": "assistant",
        "reasoning": "assistant",
        "compaction": "assistant",
        "function_call": "assistant",
        "custom_tool_call": "assistant",
        "computer_call": "assistant",
        "local_shell_call": "assistant",
        "shell_call": "assistant",
        "apply_patch_call": "assistant",
        "tool_search_call": "assistant",
        "web_search_call": "assistant",
        "file_search_call": "assistant",
        "code_interpreter_call": "assistant",
        "image_generation_call": "assistant",
        "mcp_list_tools": "assistant",
        "mcp_call": "assistant",
        "mcp_approval_request": "assistant",
        "multi_agent_call": "assistant",
        "multi_agent_call_output": "assistant",
        "agent_message": "assistant",
        "program": "assistant",
        "program_output": "assistant",
        "additional_tools": "system",
        **dict.fromkeys(_ONLY_XAI, "assistant"),
    },
    results_by_kind={
        "function_call_output": _OUTPUT,
        "custom_tool_call_output": _OUTPUT,
        "computer_call_output": _OUTPUT,
        "local_shell_call_output": _OUTPUT,
        "shell_call_output": _OUTPUT,
        "apply_patch_call_output": _OUTPUT,
        "tool_search_output": Result(id=("call_id", "id"), content=("tools",)),
    },
)
_CALL_IDS = (("call_id",), ("id",))


def _client(named: str, *arguments: str, server_if: tuple[Path, frozenset[str]] | None = None) -> Part:
    keys = tuple((key,) for key in arguments)
    return Part(tool=Tool(id=_CALL_IDS, named=named, arguments=keys, server_if=server_if))


def _server(named: str, *arguments: str) -> Part:
    return Part(tool=Tool(server=True, named=named, arguments=tuple((key,) for key in arguments)))


# perplexityai's `ResponsesUsage`, which does not say whether `input_tokens` has them: the total tells.
_PERPLEXITY_READ = ("input_tokens_details", "cache_read_input_tokens")
SVG_USAGE: Final = {
    "svg_input_tokens": ("svg_usage", "input_tokens"),
    "svg_output_tokens": ("svg_usage", "output_tokens"),
    "svg_reasoning_tokens": ("svg_usage", "reasoning_tokens"),
}
_ANSWER_DELTA = EventRule(channel="answer", content=("delta",))
_REASONING_DELTA = EventRule(channel="reasoning", content=("delta",))
_REASONING_DONE = EventRule(channel="reasoning", content=("text",))
_THOUGHT = EventRule(channel="reasoning", content=("thought",))
_OTHER_DELTA = EventRule(channel="other", content=("delta",))


def _done(key: str) -> EventRule:
    return EventRule(channel="other", content=(key,))


_RESPONSES_ANSWER = Answer(
    envelopes=(("response",),),
    model=(("model",),),
    response_id=(("id",),),
    parts=(("output",),),
    typed={
        "message": Part(content=(("content", 0, "text"), ("content", 0, "refusal"))),
        "reasoning": Part(channel="reasoning", content=(("summary", 0, "text"), ("content", 0, "text"))),
        "function_call": _client("function", "arguments"),
        "custom_tool_call": _client("custom", "input", server_if=(("name",), _WITHIN_X_SEARCH)),
        "computer_call": _client("computer", "actions", "action"),
        "local_shell_call": _client("local_shell", "action"),
        # openai's `ResponseFunctionShellToolCall`: in a container the provider runs it, and answers beside it.
        "shell_call": _client(
            "shell", "action", server_if=(("environment", "type"), frozenset({"container_reference"}))
        ),
        "apply_patch_call": _client("apply_patch", "operation"),
        "tool_search_call": Part(
            tool=Tool(
                server_if=(("execution",), frozenset({"server"})),
                id=_CALL_IDS,
                named="tool_search",
                lasting=("id",),  # its call_id is another one in the event that completes it
                arguments=(("arguments",),),
            )
        ),
        "web_search_call": _server("web_search", "action"),
        "file_search_call": _server("file_search", "queries"),
        "code_interpreter_call": _server("code_interpreter", "code"),
        # openai's `ImageGenerationCallSvgUsage`: who writes a picture as SVG counts apart from who draws one.
        "image_generation_call": Part(tool=Tool(server=True, named="image_generation", counts=SVG_USAGE)),
        "mcp_call": _server("mcp", "arguments"),
        **{name: _server(name.removesuffix("_call"), "arguments") for name in _ONLY_XAI},
        "multi_agent_call": Part(  # openai's `BetaResponseOutputItem`
            tool=Tool(server=True, id=_CALL_IDS, name=(("action",),), arguments=(("arguments",),))
        ),
        "compaction": Part(channel="other", content=(("encrypted_content",),)),
        # openai's `ResponseOutputItem`: JavaScript that the server runs; it may ask for calls of the others.
        "program": Part(tool=Tool(server=True, id=_CALL_IDS, named="program", arguments=(("code",),))),
    },
    finish=(("status",),),
    finish_detail=("incomplete_details", "reason"),
    unfinished=frozenset({"queued", "in_progress"}),
    failed={"failed": "error", "cancelled": "cancelled"},
    slot=("output_index",),
    events={
        "response.output_item.added": EventRule(part=("item",)),
        "response.output_item.done": EventRule(part=("item",)),
        "response.output_text.delta": _ANSWER_DELTA,
        "response.refusal.delta": _ANSWER_DELTA,
        "response.audio.delta": _OTHER_DELTA,
        "response.audio.transcript.delta": _ANSWER_DELTA,
        "response.function_call_arguments.delta": _OTHER_DELTA,
        "response.custom_tool_call_input.delta": _OTHER_DELTA,
        "response.mcp_call_arguments.delta": _OTHER_DELTA,
        "response.code_interpreter_call_code.delta": _OTHER_DELTA,
        "response.shell_call_command.delta": _OTHER_DELTA,
        "response.apply_patch_call_operation_diff.delta": _OTHER_DELTA,
        "response.image_generation_call.partial_image": _done("partial_image_b64"),
        "response.reasoning_text.delta": _REASONING_DELTA,
        "response.reasoning_summary_text.delta": _REASONING_DELTA,
        # Some servers send a text, or arguments, in one piece.
        "response.output_text.done": EventRule(channel="answer", content=("text",)),
        "response.refusal.done": EventRule(channel="answer", content=("refusal",)),
        "response.function_call_arguments.done": _done("arguments"),
        "response.custom_tool_call_input.done": _done("input"),
        "response.mcp_call_arguments.done": _done("arguments"),
        "response.code_interpreter_call_code.done": _done("code"),
        "response.shell_call_command.done": _done("command"),
        "response.apply_patch_call_operation_diff.done": _done("diff"),
        "response.reasoning_text.done": _REASONING_DONE,
        "response.reasoning_summary_text.done": _REASONING_DONE,
        # perplexityai's `ResponseStreamChunk`.
        "response.reasoning.started": _THOUGHT,
        "response.reasoning.search_queries": EventRule(channel="reasoning", content=("queries",)),
        "response.reasoning.fetch_url_queries": EventRule(channel="reasoning", content=("urls",)),
        "response.reasoning.stopped": _THOUGHT,
        "response.completed": EventRule(ends=True),
        "response.incomplete": EventRule(ends=True),
        "response.failed": EventRule(ends=True),
        "response.cancelled": EventRule(ends=True),
    },
    errors=(("error",), ("response", "error")),
    error_words=(("type",), ("code",)),
    usage=(("response", "usage"), ("usage",)),
    input=Count(terms=((("input_tokens",),),)),
    cache_read=Count(terms=((("input_tokens_details", "cached_tokens"), _PERPLEXITY_READ),)),
    cache_write=Count(
        terms=(
            (
                ("input_tokens_details", "cache_write_tokens"),
                ("input_tokens_details", "cache_creation_input_tokens"),
            ),
        )
    ),
    output=Count(terms=((("output_tokens",),),)),
    reasoning=Count(terms=((("output_tokens_details", "reasoning_tokens"),),)),
    total=("total_tokens",),
    input_outside_if=_PERPLEXITY_READ,
    usage_extra={
        "cost": ("cost",),
        "cost_in_usd_ticks": ("cost_in_usd_ticks",),
        "num_sources_used": ("num_sources_used",),  # xAI
        "num_server_side_tools_used": ("num_server_side_tools_used",),
        "web_search_requests": ("server_tool_use_details", "web_search_requests"),  # OpenRouter
        # openai's `ResponseUsage`: written with 30-minute, and with 12-hour retention.
        "cache_write_30m_tokens": ("input_tokens_details", "cache_write_tokens_details", "ttl_30m_tokens"),
        "cache_write_12h_tokens": ("input_tokens_details", "cache_write_tokens_details", "ttl_12h_tokens"),
    },
    extra={
        "service_tier": ("service_tier",),
        "timings": ("timings",),
        # openai's `ToolUsage`: "reported by hosted tools, separate from base model `usage`".
        "web_search_requests": ("tool_usage", "web_search", "num_requests"),
        "image_generation_input_tokens": ("tool_usage", "image_gen", "input_tokens"),
        "image_generation_output_tokens": ("tool_usage", "image_gen", "output_tokens"),
        "image_generation_cache_read_tokens": ("tool_usage", "image_gen", "cached_tokens"),
    },
)
RESPONSES: Final = Dialect(
    api="openai.responses", compatible="openai_compatible", request=_RESPONSES_REQUEST, answer=_RESPONSES_ANSWER
)
