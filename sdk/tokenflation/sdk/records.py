"""The records that travel through the recorder: plain, frozen, without behaviour. Knows nothing of HTTP or storage.

They are msgspec's structs: a call makes several of them, and as dataclasses they were a tenth of what a call costs.

Rules that hold everywhere: totals include their parts (`cache_read_tokens <= input_tokens`, `reasoning_tokens <=
output_tokens`); `None` means "not reported", `0` means "reported as zero"; times are unix nanoseconds.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct

__all__ = [
    "Attempt",
    "Call",
    "Reading",
    "SpanRecord",
    "ToolCall",
    "ToolResult",
    "ToolRun",
    "Usage",
]

Status = Literal["ok", "error", "cut", "cancelled"]
UsageSource = Literal["provider", "partial", "absent"]
StructureSource = Literal["scope", "span", "wire"]
Strength = Literal["exact", "strong", "weak"]
"""`exact`: ids or equal hashes say so; `strong`: the same text on both sides; `weak`: nothing speaks against it."""


class Usage(Struct, frozen=True, kw_only=True, gc=False):
    """Token counts of one call, as the provider reported them."""

    input_tokens: int | None = None
    """Prompt tokens, cached ones included."""
    cache_read_tokens: int | None = None
    """Part of `input_tokens` read from the provider's prefix cache."""
    cache_write_tokens: int | None = None
    """Part of `input_tokens` written to the provider's prefix cache."""
    output_tokens: int | None = None
    """Generated tokens, reasoning included."""
    reasoning_tokens: int | None = None
    """Part of `output_tokens` spent before the answer."""


class ToolCall(Struct, frozen=True, kw_only=True, gc=False):
    """One tool call that an answer asks for."""

    tool_call_id: str
    name: str
    kind: Literal["client", "server"] = "client"
    """Who runs it: the agent (client) or the provider (server)."""
    arguments_bytes: int | None = None
    arguments_hash: bytes = b""
    """Keyed hash of the canonical arguments: equal where the same is asked again."""
    said: tuple[str, ...] = ()
    """Texts among the arguments; live only until lineage has looked for them in other prompts."""

    def __repr__(self) -> str:
        """Return what may stand in a log: never the arguments."""
        return f"ToolCall(name={self.name!r}, kind={self.kind!r})"


class ToolResult(Struct, frozen=True, kw_only=True, gc=False):
    """One tool result that a request brings back to the model."""

    tool_call_id: str
    result_bytes: int
    failed: bool | None = None
    """Whether the request says that the tool failed; None where its api cannot say so."""
    said: tuple[str, ...] = ()
    """Texts of the result; live only until lineage has looked for them in other answers."""

    def __repr__(self) -> str:
        """Return what may stand in a log: never the result."""
        return f"ToolResult(result_bytes={self.result_bytes!r}, failed={self.failed!r})"


class Reading(Struct, frozen=True, kw_only=True, gc=False):
    """What the bytes of one HTTP exchange with a model endpoint say; the result of `wire.read`."""

    api: str
    provider: str
    model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    stream: bool = False
    status: Status = "ok"
    error_type: str | None = None
    """A class of failure such as `rate_limit_error` or `http_503`; never the provider's message."""
    finish_reasons: tuple[str, ...] = ()
    usage: Usage = Usage()
    usage_source: UsageSource = "absent"
    usage_complete: bool = False
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    first_chunk_ns: int | None = None
    first_token_ns: int | None = None
    """First generated content of any channel, reasoning counts; streamed answers only."""
    first_answer_ns: int | None = None
    """First content that is not reasoning; streamed answers only."""
    previous_response_id: str | None = None
    conversation_id: str | None = None
    """The provider's id of the conversation that the request belongs to, where the provider keeps the history."""
    reasoning_blocks: int = 0
    """Separate pieces of reasoning in the answer, hidden ones too."""
    answer: str = ""
    """The beginning of the answer's text; lives only in memory, as `prompt` does."""
    answer_said: tuple[str, ...] = ()
    """The longer texts in an answer that is made of fields, as JSON is; likewise."""
    sought: tuple[str, ...] | None = None
    """The text that is to be embedded or ranked by, if it is one; None where the call generates. Likewise."""
    forced_tool: str | None = None
    """Name of the one tool that the answer must call: an answer in a tool's clothes."""
    kept_as: str | None = None
    """What stands for all up to this answer in a request that goes on from it, where that is not `response_id`."""
    fetched: bool = False
    """The exchange only fetched (or cancelled) the answer `response_id` of an earlier request: it generated nothing."""
    instructions_hash: bytes = b""
    """Keyed hash of the system prompt and the tool definitions together: two calls of one agent share it."""
    system_bytes: int = 0
    tool_definition_bytes: int = 0
    message_hashes: tuple[bytes, ...] = ()
    """Rolling keyed hash after each message of the request, 8 bytes each; equal hashes mean equal histories so far."""
    message_bytes: tuple[int, ...] = ()
    """Size of each message in the canonical prompt, same length as `message_hashes`."""
    message_roles: tuple[str, ...] = ()
    """Role of each message: user, assistant, tool; same length as `message_hashes`."""
    prompt: bytes = b""
    """The canonical prompt (system, tools, messages in order); lives only until its blocks are hashed."""
    extra: Mapping[str, Any] = {}

    @property
    def answered(self) -> Mapping[str, ToolResult]:
        """Results, by tool call, that came while the answer that asks for them went on: in a turn of a live session."""
        if self.conversation_id is None or not self.tool_results:
            return {}
        asked = {one.tool_call_id for one in self.tool_calls}
        return {one.tool_call_id: one for one in self.tool_results if one.tool_call_id in asked}

    def __repr__(self) -> str:
        """Return what may stand in a log: never the prompt."""
        return f"Reading(api={self.api!r}, model={self.model!r}, status={self.status!r}, usage={self.usage!r})"


class Attempt(Struct, frozen=True, kw_only=True, gc=False):
    """One HTTP attempt of a call."""

    call_id: str
    attempt: int
    status_code: int | None = None
    error_type: str | None = None
    started_at_ns: int
    ended_at_ns: int


class ToolRun(Struct, frozen=True, kw_only=True, gc=False):
    """One row of the table `tool_calls`: what an answer asked for, and what became of it."""

    call_id: str
    tool_call_id: str
    name: str
    kind: Literal["client", "server"] = "client"
    arguments_bytes: int | None = None
    result_bytes: int | None = None
    result_tokens: int | None = None
    executed: int | None = None
    started_at_ns: int | None = None
    ended_at_ns: int | None = None
    agent_run_id: str | None = None
    run_span_id: str | None = None
    arguments_hash: bytes | None = None
    failed: bool | None = None


class SpanRecord(Struct, frozen=True, kw_only=True, gc=False):
    """One task, agent or tool scope."""

    span_id: str
    trace_id: str
    parent_id: str | None
    kind: Literal["task", "agent", "tool"]
    name: str
    task_id: str | None
    agent_run_id: str | None
    depth: int
    started_at_ns: int
    ended_at_ns: int
    status: Literal["ok", "error"]
    error_type: str | None = None
    outcome: bool | None = None
    score: float | None = None
    censored_by: str | None = None
    arguments_bytes: int | None = None
    result_bytes: int | None = None
    tool_call_id: str | None = None
    """The tool call that a tool ran for, where that is known; lives only until it has been joined."""
    arguments_hash: bytes | None = None
    """As the tool call's that it is a run of, if it is of one; lives only until it has been joined."""
    foreign: bool = False
    """Other tracing has a span of it already; not stored."""


class Call(Struct, frozen=True, kw_only=True, gc=False):
    """One model call: one row of the table `calls`; the columns' units and meanings stand in `store/tables.py`."""

    call_id: str
    trace_id: str
    parent_id: str | None = None
    task: str
    task_id: str
    agent: str
    agent_run_id: str
    depth: int = 0
    step: int = 0
    continues_call_id: str | None = None
    inside_tool_call_id: str | None = None
    structure_source: StructureSource = "wire"
    branch: int | None = None
    continues_evidence: str | None = None
    inside_call_id: str | None = None
    inside_evidence: str | None = None
    structure_strength: Strength | None = None
    after_call_id: str | None = None
    previous_response_id: str | None = None
    conversation_id: str | None = None
    instructions_hash: bytes | None = None
    kept_messages: int | None = None
    history: bytes | None = None
    answers: tuple[str, ...] = ()
    prompted_by: str | None = None
    reasoning_blocks: int | None = None
    provider: str
    api: str
    model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    stream: bool = False
    status: Status = "ok"
    error_type: str | None = None
    finish_reasons: tuple[str, ...] = ()
    attempts: int = 1
    started_at_ns: int
    ended_at_ns: int | None = None
    duration_s: float | None = None
    ttfc_s: float | None = None
    ttft_s: float | None = None
    ttfo_s: float | None = None
    input_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    output_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: UsageSource = "absent"
    usage_complete: bool = False
    tool_calls: int = 0
    system_tokens: int | None = None
    tool_definition_tokens: int | None = None
    resent_tokens: int | None = None
    tool_result_tokens: int | None = None
    new_tokens: int | None = None
    split_method: str | None = None
    block_tokens: int = 64
    block_hashes: bytes | None = None
    prefix_blocks: int | None = None
    shared_blocks: int | None = None
    extra: Mapping[str, Any] = {}
