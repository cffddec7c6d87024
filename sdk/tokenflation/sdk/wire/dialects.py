"""The apis we read, as data. The only file that knows providers' field names; each mapping says where it comes from.

To add a dialect: describe it here, give its path to `recognise`, add its traps to the tests. Names in `extra`:
counts end in `_tokens`; `raw_*` are the provider's own fields where ours are sums of several.
"""

from collections.abc import Mapping
from typing import Final

from tokenflation.sdk.wire.dialects_openai import CHAT, RESPONSES
from tokenflation.sdk.wire.shapes import Answer, Count, Dialect, EventRule, Part, Request, Result, Tool

__all__ = ["DIALECTS"]

# platform.claude.com/docs/en/api/messages: "Total input tokens in a request is the summation of `input_tokens`,
# `cache_creation_input_tokens`, and `cache_read_input_tokens`". .../build-with-claude/streaming: usage of
# message_delta is cumulative; message_start carries a placeholder for the output.
_ANTHROPIC_INPUT = Count(
    terms=((("input_tokens",),), (("cache_read_input_tokens",),), (("cache_creation_input_tokens",),)),
)
_MESSAGES = Dialect(
    api="anthropic.messages",
    compatible="anthropic_compatible",
    request=Request(
        proof=(frozenset({"messages"}), frozenset({"max_tokens", "model", "anthropic_version"})),
        model_in_path=r"/models/([^/:]+):",
        messages=("messages",),
        system=("system",),
        kinds={"assistant": "assistant", "system": "system"},
        results_by_type={"tool_result": Result(id=("tool_use_id",), content=("content",))},
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
        },
        extra={"timings": "timings"},  # llama.cpp
    ),
)

# ai.google.dev/api/generate-content: UsageMetadata ("promptTokenCount ... this is still the total effective prompt
# size meaning this includes the number of tokens in the cached content"; thoughts and tool-use prompt are apart),
# GenerateContentResponse, Part. Proto3 JSON leaves out fields that are zero.
_GEMINI = Dialect(
    api="google.generate_content",
    compatible="gemini_compatible",
    request=Request(
        proof=(frozenset({"contents"}),),
        model_in_path=r"/(?:models|tunedModels|endpoints)/([^/:]+):",
        messages=("contents",),
        system=("systemInstruction", "system_instruction"),
        content="parts",
        kinds={"model": "assistant"},
        results_by_key={
            "functionResponse": Result(id=("id",), content=("response",)),
            "function_response": Result(id=("id",), content=("response",)),
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
            "inlineData": Part(content=(("data",),)),
            "fileData": Part(content=(("fileUri",),)),
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
            terms=((("candidatesTokenCount",),), (("thoughtsTokenCount",),)), zero_beside=("promptTokenCount",)
        ),
        reasoning=Count(terms=((("thoughtsTokenCount",),),)),
        total=("totalTokenCount",),
        modalities={
            "promptTokensDetails": "input_tokens",
            "candidatesTokensDetails": "output_tokens",
            "cacheTokensDetails": "cache_read_tokens",
        },
        usage_extra={
            "tool_use_input_tokens": ("toolUsePromptTokenCount",),
            "traffic_type": ("trafficType",),
            "service_tier": ("serviceTier",),
        },
    ),
)

DIALECTS: Final[Mapping[str, Dialect]] = {dialect.api: dialect for dialect in (CHAT, RESPONSES, _MESSAGES, _GEMINI)}
"""Every api that `read` understands, by its name."""
