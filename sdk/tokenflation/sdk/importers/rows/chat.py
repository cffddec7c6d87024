"""Reads what many logs share: usage, tool calls and tool results as OpenAI's chat and Responses APIs write them.

Source: platform.openai.com/docs/api-reference, chat/object and responses/object; litellm adds Anthropic's cache fields
beside (its `Usage`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from tokenflation.sdk.importers.files.fields import count, dicts, made_trace_id, mapping, size, text
from tokenflation.sdk.importers.rows.building import TaskRows

__all__ = ["add_asked", "add_messages", "digest", "finish_reasons", "results_of", "usage_columns"]


def usage_columns(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the token columns; cached tokens are part of `prompt_tokens`, or `input_tokens` in the Responses API."""
    details = mapping(usage, "prompt_tokens_details") or mapping(usage, "input_tokens_details")
    made = mapping(usage, "completion_tokens_details") or mapping(usage, "output_tokens_details")
    read = count(details, "cached_tokens")
    return {
        "input_tokens": count(usage, "prompt_tokens", "input_tokens"),
        "output_tokens": count(usage, "completion_tokens", "output_tokens"),
        "cache_read_tokens": read if read is not None else count(usage, "cache_read_input_tokens"),
        "cache_write_tokens": count(usage, "cache_creation_input_tokens"),
        "reasoning_tokens": count(made, "reasoning_tokens"),
    }


def finish_reasons(response: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why each choice of a response ended."""
    return tuple(found for one in dicts(response, "choices") if (found := text(one, "finish_reason")) is not None)


def add_asked(rows: TaskRows, call_id: str, message: Mapping[str, Any], results: Mapping[str, int | None]) -> None:
    """Add the tool calls of an assistant's message or a response, with the sizes of the results that came back."""
    items = [one for one in dicts(message, "output") if one.get("type") == "function_call"]
    for position, asked in enumerate([*dicts(message, "tool_calls"), *items]):
        tool_id = text(asked, "call_id", "id", "tool_call_id") or str(position)
        called = mapping(asked, "function") or asked
        made = rows.tool(
            call_id,
            tool_id,
            text(called, "name") or text(asked, "function") or "unknown",
            arguments_bytes=size(called.get("arguments")),
        )
        if tool_id in results:
            made |= {"executed": 1, "result_bytes": results[tool_id]}


def results_of(messages: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Return the bytes of each tool result in a history, by the id of its tool call."""
    found: dict[str, int | None] = {}
    for message in messages:
        if message.get("role") == "tool":
            for tool_id in _answered(message):
                found.setdefault(tool_id, size(message.get("content")))
        elif message.get("type") == "function_call_output" and (asked := text(message, "call_id")) is not None:
            found.setdefault(asked, size(message.get("output")))
    return found


def _answered(message: Mapping[str, Any]) -> list[str]:
    found = text(message, "tool_call_id")
    ids = message.get("tool_call_ids")  # SWE-agent names all that one observation answers
    return (
        [found] if found is not None else [one for one in ids if isinstance(one, str)] if isinstance(ids, list) else []
    )


def add_messages(
    rows: TaskRows, messages: Sequence[Mapping[str, Any]], *, model: str | None = None, provider: str = "unknown"
) -> None:
    """Add a call for each assistant's message of a history that tells no usage and no times.

    The place in the history stands for the time: its order is right, its distances mean nothing.
    """
    results = results_of(messages)
    for position, message in enumerate(messages):
        if message.get("role") != "assistant":
            continue
        call_id = rows.id_of("message", position)
        rows.call(
            rows.main, call_id, provider=provider, api="unknown", model=model, started_at_ns=position,
            prompted_by="tool" if position and messages[position - 1].get("role") == "tool" else "user",
        )  # fmt: skip
        add_asked(rows, call_id, message, results)


def digest(value: Any) -> str:
    """Return 32 hex digits that stand for a JSON value, however it was laid out."""
    return made_trace_id(msgspec.json.encode(value, order="deterministic").hex())
