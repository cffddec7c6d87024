"""What the spans of other tracing say they are: an agent run, a tool run, a task.

Pure: names and attributes in, a role out.

Several vocabularies, told apart by attributes alone, never by the library that made the span. No token count is read:
what a span around calls carries are totals of its children.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

__all__ = ["Role", "is_its_trace", "role_of"]

SpanKind = Literal["task", "agent", "tool", "chain"]

_MAX_NAME = 200


class Role(Struct, frozen=True, gc=False):
    """What a span stands for."""

    kind: SpanKind
    """`chain` is a step of any kind: a task, where it is the outermost span around an agent."""
    name: str
    named: bool = True
    """Whether the name says more than that it ran."""
    tool_call_id: str | None = None


# opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-agent-spans. `create_agent` makes an agent and runs none.
_OPERATIONS: Mapping[Any, SpanKind] = {"invoke_agent": "agent", "execute_tool": "tool", "invoke_workflow": "task"}
# arize-ai.github.io/openinference/spec/semantic_conventions
_OPENINFERENCE: Mapping[Any, SpanKind] = {"AGENT": "agent", "TOOL": "tool", "CHAIN": "chain"}
# github.com/traceloop/openllmetry: semantic_conventions_ai, TraceloopSpanKindValues. Its "task" is any function.
_TRACELOOP: Mapping[Any, SpanKind] = {"workflow": "task", "agent": "agent", "tool": "tool", "task": "chain"}
# mlflow.org/docs/latest/genai/concepts/span: SpanType; attributes are JSON.
_MLFLOW: Mapping[Any, SpanKind] = {
    '"AGENT"': "agent", '"TOOL"': "tool", '"CHAIN"': "chain", '"WORKFLOW"': "task",
    "AGENT": "agent", "TOOL": "tool", "CHAIN": "chain", "WORKFLOW": "task",
}  # fmt: skip

# ai-sdk.dev/docs/ai-sdk-core/telemetry: the spans of AI SDK 3 to 6, and of LegacyOpenTelemetry since. What is run is
# called by `functionId`; an object is generated as a text is.
_AI_SDK: Mapping[Any, SpanKind] = {
    "ai.generateText": "agent", "ai.streamText": "agent", "ai.generateObject": "agent", "ai.streamObject": "agent",
    "ai.toolCall": "tool",
}  # fmt: skip

_VOCABULARIES: tuple[tuple[str, Mapping[Any, SpanKind]], ...] = (
    ("traceloop.span.kind", _TRACELOOP),  # first: its workflows inside an agent's span say `invoke_agent` too
    ("gen_ai.operation.name", _OPERATIONS),
    ("openinference.span.kind", _OPENINFERENCE),
    ("mlflow.spanType", _MLFLOW),
    ("ai.operationId", _AI_SDK),
)
_NAMES: Mapping[SpanKind, tuple[str, ...]] = {
    "agent": (
        "gen_ai.agent.name",
        "agent.name",
        "agent_name",
        "traceloop.entity.name",
        "graph.node.id",
        "ai.telemetry.functionId",
    ),
    "tool": ("gen_ai.tool.name", "tool.name", "traceloop.entity.name", "mcp.tool.name", "ai.toolCall.name"),
    "task": ("gen_ai.workflow.name", "traceloop.entity.name", "traceloop.workflow.name"),
    "chain": ("traceloop.entity.name",),
}
_TOOL_CALL_IDS = ("gen_ai.tool.call.id", "tool_call.id", "tool.id", "ai.toolCall.id")
# Titles begin with the operation, or end with a word for what the span is.
_BEFORE = ("invoke_agent ", "execute_tool ", "invoke_workflow ", "running tool: ", "running tool ")
_AFTER = (".workflow", ".agent", ".tool", ".task", " run", ".kickoff", "._execute_core", ".arun", ".run")

# It gives the trace of a whole run the kind AGENT too, as its outermost span (on_trace_start of its processor).
_AGENTS_ARE_TRACES = {"openinference.instrumentation.openai_agents"}
# Titles that libraries give to every run.
_SAYS_NOTHING = {
    "Agent Workflow", "Agent workflow", "AgentExecutor", "AgentRunner", "LangGraph", "RunnableSequence",
    "ai.generateObject", "ai.generateText", "ai.streamObject", "ai.streamText", "anthropic.messages.tool_runner",
}  # fmt: skip
# mlflow 3.17, openai/_agent_tracer.py: the root of a run has the kind AGENT, and the agent's span is inside.
_RUNNERS = ("AgentRunner.run",)
_NUMBERED = re.compile(r"(?:Crew|Flow)_[0-9a-f]{8}-[0-9a-f-]{27}")
"""OpenInference calls a crew by its id, which is another one in each process."""


def is_its_trace(library: str, title: str = "") -> bool:
    """Return whether this library's outermost span of an agent is of the trace, and its agents are inside.

    Of spans whose library is not told (`openinference`) the title that openai-agents gives a trace says so.
    """
    return library in _AGENTS_ARE_TRACES or (library == "openinference" and title == "Agent workflow")


def role_of(title: str, attributes: Mapping[str, Any]) -> Role | None:
    """Return what a span of this title stands for, None where it is none of these (a model call, HTTP, a database)."""
    kind: SpanKind | None = None
    for attribute, kinds in _VOCABULARIES:
        value = attributes.get(attribute)
        if value is not None:
            kind = kinds.get(value)
            break
    else:
        kind = _kind_without(title, attributes)
    if kind is None:
        return None
    if kind == "agent" and title.startswith(_RUNNERS):
        kind = "chain"
    name = _first(attributes, _NAMES[kind]) or _bare(title) or kind
    named = name not in _SAYS_NOTHING and not _NUMBERED.fullmatch(name)
    return Role(kind, name[:_MAX_NAME], named, _first(attributes, _TOOL_CALL_IDS) if kind == "tool" else None)


def _kind_without(title: str, attributes: Mapping[str, Any]) -> SpanKind | None:
    """Return what pydantic-ai's spans are that have no operation yet: it names the agent, or the tool that runs.

    Source: pydantic_ai.models.instrumented, InstrumentationSettings versions 1 and 2.
    """
    if "agent_name" in attributes and (title == "agent run" or title.endswith(" run")):
        return "agent"
    if "gen_ai.tool.name" in attributes and title.startswith("running tool"):
        return "tool"
    return None


def _first(attributes: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _bare(title: str) -> str:
    """Return a span's title without the words that say what it is."""
    for word in _BEFORE:
        title = title.removeprefix(word)
    for word in _AFTER:
        title = title.removesuffix(word)
    return title.strip()
