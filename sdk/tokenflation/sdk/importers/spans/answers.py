"""What a model's answer says, as providers' clients and LangChain write it down: id, end, tool calls, usage. Pure.

Shapes: an OpenAI chat completion or response, an Anthropic message, LangChain's `LLMResult`; exports keep them as a
call's output. Knows nothing of files.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from tokenflation.sdk.importers.spans.usage import Counted, from_provider
from tokenflation.sdk.records import ToolCall, Usage
from tokenflation.sdk.wire.values import at

__all__ = ["Said", "said_by"]

_MOST = 256
_TOOL_TYPES = frozenset({"tool_use", "function_call", "tool_call"})


class Said(Struct, frozen=True, kw_only=True):
    """What an answer says of itself."""

    response_id: str | None = None
    model: str | None = None
    finish_reasons: tuple[str, ...] = ()
    tools: tuple[ToolCall, ...] = ()
    counted: Counted = Counted(Usage())
    """Usage in the answer, if it has any."""


def said_by(answer: Any, *, provider: str = "") -> Said:
    """Return what an answer says; nothing, if it has none of the shapes known here."""
    if not isinstance(answer, Mapping):
        return Said()
    messages = list(_messages(answer))
    reasons = [reason for one in messages if (reason := _reason(one)) is not None]
    tools = [tool for one in messages for tool in _tools(one)]
    usage = next((found for path in _USAGE if isinstance(found := at(answer, path), dict)), None)
    if usage is None:
        usage = next(
            (found for one in messages for path in _OF_MESSAGE if isinstance(found := at(one, path), dict)), None
        )
    return Said(
        response_id=_text(answer.get("id")) or _text(at(dict(answer), ("llm_output", "id"))),
        model=_text(answer.get("model")) or _text(at(dict(answer), ("llm_output", "model_name"))),
        finish_reasons=tuple(reasons[:64]),
        tools=tuple(tools[:_MOST]),
        counted=from_provider(usage, provider=provider) if usage is not None else Counted(Usage()),
    )


_USAGE = (("usage_metadata",), ("usage",), ("llm_output", "token_usage"), ("llm_output", "usage"))
_OF_MESSAGE = (
    ("usage_metadata",), ("message", "usage_metadata"), ("message", "kwargs", "usage_metadata"), ("kwargs", "usage_metadata"),
)  # fmt: skip


def _messages(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the choices, generations or the one message that an answer is made of."""
    for key in ("choices", "messages", "generations", "output"):
        inside = answer.get(key)
        for one in inside if isinstance(inside, list) else (inside,):
            yield from (two for two in (one if isinstance(one, list) else [one]) if isinstance(two, dict))
    if isinstance(answer.get("message"), dict):
        yield dict(answer["message"])
    yield dict(answer)


def _reason(message: Mapping[str, Any]) -> str | None:
    own = dict(message)
    paths = (
        ("finish_reason",), ("stop_reason",), ("generation_info", "finish_reason"), ("response_metadata", "finish_reason"),
        ("message", "kwargs", "response_metadata", "finish_reason"),
    )  # fmt: skip
    return next((found[:80] for path in paths if (found := _text(at(own, path))) is not None), None)


def _tools(message: dict[str, Any]) -> Iterator[ToolCall]:
    own: list[Any] = [message] if message.get("type") in _TOOL_TYPES else []
    for path in (("message", "tool_calls"), ("tool_calls",), ("message", "kwargs", "tool_calls"), ("kwargs", "tool_calls"),
                 ("content",)):  # fmt: skip
        inside = at(message, path)
        if isinstance(inside, list):
            own += [one for one in inside if path != ("content",) or at(one, ("type",)) in _TOOL_TYPES]
    for one in own:
        if isinstance(one, dict):
            name = _text(one.get("name")) or _text(at(one, ("function", "name")))
            given = _text(one.get("call_id")) or _text(one.get("id"))
            if name and given:
                yield ToolCall(tool_call_id=given[:200], name=name[:200])


def _text(value: Any) -> str | None:
    return value[:200] if isinstance(value, str) and value else None
