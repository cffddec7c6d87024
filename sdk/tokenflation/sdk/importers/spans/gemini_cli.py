"""Reads the spans that Gemini CLI itself makes, whose operations are of no convention. Pure; knows no file.

`llm_call` is a model call, `tool_call` a tool run, `agent_call` a sub-agent's run. A prompt's span (`user_prompt`) is
there in interactive use alone, and each call of a run without a terminal would be a trace of its own: what spans and
events say of one session is read as one trace. A call's span counts the answer without its thoughts and no cached
input; that output is left out, for the call's event has all counts.

Source: google-gemini/gemini-cli, packages/core/src/telemetry/{trace,constants}.ts and core/loggingContentGenerator.ts.
"""

from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import made_trace_id, text
from tokenflation.sdk.tracing.spanwords import Role

__all__ = ["ITS_EVENTS", "ITS_SCOPE", "its_attributes", "its_prompt_id", "its_role", "its_trace_id"]

ITS_SCOPE = "gemini-cli"
"""Name of its tracer, its logger and its service."""
ITS_EVENTS = "gemini_cli"
"""What its events' names begin with; stands for its logger, to tell their calls from its spans'."""
_OPERATION = "gen_ai.operation.name"
_SAYS = {"llm_call": "chat", "tool_call": "execute_tool", "agent_call": "invoke_agent"}
"""Its operations in the conventions' words."""
_AROUND = frozenset({"user_prompt", "system_prompt", "schedule_tool_calls"})


def its_attributes(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of one of its spans in the conventions' words."""
    found = dict(attributes)
    operation = _SAYS.get(str(found.get(_OPERATION)))
    if operation is None:
        return found
    found[_OPERATION] = operation
    if operation == "chat":
        found.setdefault("gen_ai.provider.name", "gcp.gemini")
        found.pop("gen_ai.usage.output_tokens", None)
    elif operation == "execute_tool" and "gen_ai.tool.call_id" in found:
        found.setdefault("gen_ai.tool.call.id", found["gen_ai.tool.call_id"])
    elif found.get("gen_ai.agent.name") == ITS_SCOPE:  # which it writes over the sub-agent's own name
        found["gen_ai.agent.name"] = "subagent"
    return found


def its_role(attributes: Mapping[str, Any]) -> Role | None:
    """Return what a span around calls and tool runs is, None for any other."""
    operation = attributes.get(_OPERATION)
    return Role("chain", str(operation), named=False) if operation in _AROUND else None


def its_prompt_id(library: str, attributes: Mapping[str, Any]) -> str | None:
    """Return what a call's span and its event both name: the user's prompt and how many turns came before."""
    named = attributes.get("gen_ai.prompt.name") if library in (ITS_SCOPE, ITS_EVENTS) else None
    return named if isinstance(named, str) and named else None


def its_trace_id(attributes: Mapping[str, Any]) -> str | None:
    """Return the trace that stands for a span's session, None if it names none."""
    session = text(attributes, "gen_ai.conversation.id", "session.id")
    return None if session is None else made_trace_id("gemini-cli", session)
