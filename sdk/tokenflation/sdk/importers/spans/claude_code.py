"""Reads the spans that Claude Code itself makes, whose counts and names are of no convention. Pure; knows no trace.

`claude_code.interaction` is one prompt of the user, with its calls (`claude_code.llm_request`) and tool runs
(`claude_code.tool`) inside. Token counts have bare names and mean what the API's mean: the input leaves the cache out.
A call or a tool run of a sub-agent names its agent, and that agent's own where there is one;
the main thread's name none.

Source: code.claude.com/docs/en/monitoring-usage, "Traces".
"""

from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import count, made_id, seconds, text
from tokenflation.sdk.importers.spans.usage import Counted, from_provider
from tokenflation.sdk.tracing.spanwords import Role

__all__ = [
    "ITS_CALL", "ITS_EXECUTION", "answers_id", "call_id_of", "counts", "given_by", "in_full", "is_its_call",
    "its_role", "ttft_s",
]  # fmt: skip

ITS_CALL = "claude_code.llm_request"
"""Name of its span of a model call; not all versions say so in an attribute."""
ITS_EXECUTION = "claude_code.tool.execution"
"""Name of its span inside that of a tool run, which alone says that the tool failed."""
_COUNTS = {
    "input_tokens": "input_tokens",
    "output_tokens": "output_tokens",
    "cache_read_tokens": "cache_read_input_tokens",
    "cache_creation_tokens": "cache_creation_input_tokens",
}
"""Its names, and the API's."""


def in_full(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of its span of a call with what only some versions say."""
    model = {"gen_ai.request.model": attributes["model"]} if "model" in attributes else {}
    tries = count(attributes, "attempt")
    resent = {} if tries is None else {"http.request.resend_count": tries - 1}
    return {"span.type": "llm_request", "gen_ai.system": "anthropic", **model, **resent, **attributes}


def is_its_call(attributes: Mapping[str, Any]) -> bool:
    """Return whether a span with these attributes is one that it makes of a model call."""
    return attributes.get("span.type") == "llm_request" and not any("gen_ai.usage." in name for name in attributes)


def counts(attributes: Mapping[str, Any]) -> Counted:
    """Return the token counts of a call, the cached ones inside the input."""
    return from_provider({theirs: attributes[name] for name, theirs in _COUNTS.items() if name in attributes})


def ttft_s(attributes: Mapping[str, Any]) -> float | None:
    """Return a call's time to the first token in seconds, where it says it."""
    found = seconds(attributes, "ttft_ms") if is_its_call(attributes) else None
    return None if found is None else found / 1000


def answers_id(attributes: Mapping[str, Any]) -> str | None:
    """Return the id of a call's request, which its span and its event have both."""
    return text(attributes, "request_id") if is_its_call(attributes) else None


def call_id_of(request_id: str) -> str:
    """Return the id of the call of a request: its event, its span and its line in the session's log have one."""
    return made_id("claude-code-request", request_id)


def its_role(title: str, attributes: Mapping[str, Any]) -> Role | None:
    """Return what a span of this title is, if it is a prompt's or a tool's."""
    if title == "claude_code.interaction":
        return Role("task", title, named=False)
    if title != "claude_code.tool":
        return None
    tool_call_id = text(attributes, "gen_ai.tool.call.id", "tool_use_id")
    return Role("tool", text(attributes, "tool_name") or "unknown", True, tool_call_id)


def given_by(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the structure columns that a call or tool run names: its id, and its sub-agent's id, name and depth.

    The id is of the call's request, so that its event and its span have one id, whichever is imported first.
    """
    its_call = is_its_call(attributes)
    said = attributes if its_call or attributes.get("span.type") == "tool" else {}
    request, agent = text(said, "request_id") if its_call else None, text(said, "agent_id")
    found: dict[str, Any] = {} if request is None else {"call_id": call_id_of(request)}
    if agent is not None:
        depth = 1 if text(said, "parent_agent_id") is None else 2
        found |= {"agent_run_id": agent, "agent": _agents_name(said), "depth": depth}
    return found


def _agents_name(said: Mapping[str, Any]) -> str:
    """Return what a sub-agent is called: its events name it, its spans only where it is one that all have."""
    _, of_all, name = (text(said, "query_source_safe") or "").partition("agent.builtin.")
    return text(said, "agent.name", "agent_type") or (name if of_all and name else "subagent")
