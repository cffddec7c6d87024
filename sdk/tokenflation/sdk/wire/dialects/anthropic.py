"""Anthropic's Messages API, wherever it is served. Part of `dialects`: data only."""

from typing import Final

from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool

__all__ = ["COMPLETE", "MESSAGES"]

# platform.claude.com/docs/en/api/messages: "Total input tokens in a request is the summation of `input_tokens`,
# `cache_creation_input_tokens`, and `cache_read_input_tokens`". .../build-with-claude/streaming: usage of
# message_delta is cumulative; message_start carries a placeholder for the output.
_ANTHROPIC_INPUT = Count(
    terms=((("input_tokens",),), (("cache_read_input_tokens",),), (("cache_creation_input_tokens",),)),
)
MESSAGES: Final = Dialect(
    api="anthropic.messages",
    compatible="anthropic_compatible",
    request=Request(
        proof=(frozenset({"messages"}), frozenset({"max_tokens", "model", "anthropic_version"})),
        model_in_path=r"/models/([^/:]+):",
        messages=("messages",),
        system=("system",),
        kinds={"assistant": "assistant", "system": "system"},
        results_by_type={"tool_result": Result(id=("tool_use_id",), content=("content",), failed=("is_error",))},
        previous=(("thread", "previous_message_id"),),  # the beta of threads: only new messages are sent
    ),
    answer=Answer(
        envelopes=(("message",),),
        model=(("model",),),
        response_id=(("id",),),
        parts=(("content",),),
        typed={
            "text": Part(content=(("text",),)),
            "text_delta": Part(content=(("text",),)),
            "thinking": Part(channel="reasoning", content=(("thinking",),)),
            "thinking_delta": Part(channel="reasoning", content=(("thinking",),)),
            "redacted_thinking": Part(channel="reasoning", content=(("data",),)),
            # anthropic's `BetaCompactionBlock`, whose text comes in one piece.
            "compaction": Part(channel="other", content=(("content",),)),
            "compaction_delta": Part(channel="other", content=(("content",),)),
            "tool_use": Part(tool=Tool(arguments=(("input",),))),
            "server_tool_use": Part(tool=Tool(server=True, arguments=(("input",),))),
            "mcp_tool_use": Part(tool=Tool(server=True, arguments=(("input",),))),
        },
        finish=(("stop_reason",), ("delta", "stop_reason")),
        events={
            "content_block_start": EventRule(part=("content_block",)),
            "content_block_delta": EventRule(part=("delta",), arguments=("delta", "partial_json")),
            "message_stop": EventRule(ends=True),
        },
        usage=(("message", "usage"), ("usage",)),
        merge_usage=True,
        placeholders={"message_start": frozenset({"output_tokens", "output_tokens_details"})},
        input=_ANTHROPIC_INPUT,
        cache_read=Count(terms=((("cache_read_input_tokens",),),)),
        cache_write=Count(terms=((("cache_creation_input_tokens",),),)),
        output=Count(terms=((("output_tokens",),),)),
        # .../build-with-claude/extended-thinking: part of output_tokens.
        reasoning=Count(terms=((("output_tokens_details", "thinking_tokens"),),)),
        # .../build-with-claude/compaction: the top-level counts leave compaction iterations out.
        iterations=("iterations",),
        usage_extra={
            "raw_input_tokens": ("input_tokens",),
            "cache_write_5m_tokens": ("cache_creation", "ephemeral_5m_input_tokens"),
            "cache_write_1h_tokens": ("cache_creation", "ephemeral_1h_input_tokens"),
            "web_search_requests": ("server_tool_use", "web_search_requests"),
            "web_fetch_requests": ("server_tool_use", "web_fetch_requests"),
            "service_tier": ("service_tier",),
            "inference_geo": ("inference_geo",),
            "speed": ("speed",),
        },
        extra={"timings": ("timings",)},  # llama.cpp
    ),
)

# platform.claude.com/docs/en/api/complete: text completions report no usage.
COMPLETE: Final = Dialect(
    api="anthropic.complete",
    compatible="anthropic_compatible",
    request=Request(proof=(frozenset({"prompt"}), frozenset({"max_tokens_to_sample"})), messages=("prompt",)),
    answer=Answer(
        model=(("model",),),
        response_id=(("id",),),
        parts=((),),
        keyed={"completion": Part()},
        finish=(("stop_reason",),),
        ends_with_finish=True,
        usage=(),
        input=Count(),
        output=Count(),
    ),
)
