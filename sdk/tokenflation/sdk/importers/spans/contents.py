"""What the recorded content of a model call says: how the answer ended, its id and tool calls, the question. Pure.

Contents are `gen_ai.input.messages` and `gen_ai.output.messages` of OpenTelemetry, the flattened names of OpenInference
and OpenLLMetry, and whole answers as OpenInference and LangSmith keep them.
"""

import re
from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.spans.answers import Said, said_by
from tokenflation.sdk.importers.spans.attributes import parsed, said
from tokenflation.sdk.records import ToolCall

__all__ = ["answer_in_full", "finish_reasons", "id_in_answer", "question", "tools_asked"]

_MAX_TOOLS = 256
_MAX_ANSWER = 2**22
_FINISH = (
    "gen_ai.response.finish_reasons", "llm.finish_reason", "ai.response.finishReason", "gen_ai.response.finish_reason",
    "anthropic.message.stop_reason", "stop_reason",
)  # fmt: skip


_ENUM = "FinishReason."
"""Semantic Kernel writes a member of an enumeration as `str` does: `FinishReason.TOOL_CALLS`."""


def finish_reasons(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return why the answer ended, as the span says or as its recorded messages do."""
    for name in _FINISH:
        value = attributes.get(name)
        if isinstance(value, str) and value[:1] == "[":
            value = parsed(value)
        if isinstance(value, str) and value:
            return (_reason(value),)
        if isinstance(value, list | tuple) and value:
            return tuple(_reason(str(one)) for one in value[:64])
    reasons = [message.get("finish_reason") for message in _messages(attributes, "gen_ai.output.messages")]
    return tuple(reason[:80] for reason in reasons[:64] if isinstance(reason, str) and reason)


def _reason(value: str) -> str:
    return value.removeprefix(_ENUM).lower()[:80] if value.startswith(_ENUM) else value[:80]


def _messages(attributes: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = parsed(attributes.get(name))
    return [one for one in found if isinstance(one, Mapping)] if isinstance(found, list) else []


def tools_asked(attributes: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    """Return the tool calls in the recorded answer: `gen_ai.output.messages`, or the flattened names of others."""
    found: dict[str, str] = {}
    for message in _messages(attributes, "gen_ai.output.messages"):
        for part in _parts(message):
            if part.get("type") == "tool_call":
                found.setdefault(str(part.get("id") or f"#{len(found)}"), str(part.get("name") or "tool"))
    if not found:
        found = _flattened_tools(attributes) or _ai_sdk_tools(attributes)
    return tuple(ToolCall(tool_call_id=key[:200], name=name[:200]) for key, name in list(found.items())[:_MAX_TOOLS])


def _ai_sdk_tools(attributes: Mapping[str, Any]) -> dict[str, str]:
    asked = parsed(attributes.get("ai.response.toolCalls"))
    return {str(one.get("toolCallId") or f"#{at}"): str(one.get("toolName") or "tool")
            for at, one in enumerate(asked if isinstance(asked, list) else ()) if isinstance(one, Mapping)}  # fmt: skip


def id_in_answer(attributes: Mapping[str, Any]) -> str | None:
    """Return the id in the whole answer that OpenInference records; its conventions have no name for it alone."""
    whole = attributes.get("output.value") if "openinference.span.kind" in attributes else None
    if isinstance(whole, str) and whole[:1] == "{" and len(whole) < _MAX_ANSWER:
        answer = parsed(whole)
        if isinstance(answer, Mapping) and _ANSWERS.intersection(answer):
            return said(answer, ("id",)) or said(answer.get("llm_output") or {}, ("id",))
    return None


def answer_in_full(attributes: Mapping[str, Any], provider: str) -> Said:
    """Return what the answer says that LangSmith keeps whole; its spans name input and output tokens alone.

    Source: langsmith 0.15, `_internal/otel/_otel_exporter.py`: the details of usage are Python's `str` of a dict there.
    """
    if "langsmith.span.kind" not in attributes:
        return Said()
    whole = attributes.get("gen_ai.completion")
    answer = parsed(whole) if isinstance(whole, str) and len(whole) < _MAX_ANSWER else None
    return said_by(answer, provider=provider)


_ANSWERS = frozenset({"choices", "output", "content", "candidates", "generations"})


def _parts(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts = message.get("parts")
    return [part for part in parts if isinstance(part, Mapping)] if isinstance(parts, list) else []


def question(attributes: Mapping[str, Any]) -> str | None:
    """Return the text of the last message that a request sends, where it was recorded: it tells requests apart."""
    messages = _messages(attributes, "gen_ai.input.messages")
    if messages:
        texts = [part.get("content") for part in _parts(messages[-1])]
        return "\n".join(text for text in texts if isinstance(text, str)) or None
    asked = {int(match[1][:9]): value for name, value in attributes.items() if (match := _ASKED.fullmatch(name))}
    last = asked[max(asked)] if asked else None
    return last if isinstance(last, str) else None


_ASKED = re.compile(r"(?:llm\.input_messages|gen_ai\.prompt)\.(\d+)\.(?:message\.)?content")

# OpenInference: llm.output_messages.0.message.tool_calls.0.tool_call.id; OpenLLMetry before 0.50:
# gen_ai.completion.0.tool_calls.0.id
_FLATTENED = re.compile(
    r"(?:llm\.output_messages|gen_ai\.completion)\.(\d+)\.(?:message\.)?tool_calls\.(\d+)\.(?:tool_call\.)?(id|(?:function\.)?name)"
)


def _flattened_tools(attributes: Mapping[str, Any]) -> dict[str, str]:
    slots: dict[tuple[int, int], dict[str, str]] = {}
    for name, value in attributes.items():
        if name[:1] in "lg" and (match := _FLATTENED.fullmatch(name)) and isinstance(value, str):
            slot = slots.setdefault((int(match[1][:9]), int(match[2][:9])), {})
            slot["id" if match[3] == "id" else "name"] = value
    return {slot.get("id") or f"#{at}": slot.get("name", "tool") for at, (_, slot) in enumerate(sorted(slots.items()))}
