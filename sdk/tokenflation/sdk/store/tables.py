"""The store's tables as data: every column once, with its type, unit and meaning. Knows nothing of any database.

`schema.py` makes the SQLAlchemy tables from it and `write.py` the statements of the hot path, so neither can drift.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["BLOCK_TOKENS", "SCHEMA_VERSION", "TABLES", "Column", "Table", "by_name", "column_names"]

SCHEMA_VERSION = 2
BLOCK_TOKENS = 64
"""Size of a prefix block, in tokens."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: `kind` is what the database stores; `meaning` gives unit and sense."""

    name: str
    kind: Literal["text", "int", "float", "bytes"]
    meaning: str
    required: bool = False
    json: Literal["", "array", "object"] = ""
    """What the JSON in a text is."""
    least: int = 0
    most: int = 2**53
    """Of a whole number that is no time."""


def by_name(*columns: Column) -> dict[str, Column]:
    """Return the columns by their names, in order."""
    return {column.name: column for column in columns}


@dataclass(frozen=True, slots=True)
class Table:
    """One table; `key` names its primary-key columns, `indexes` the columns of each index."""

    name: str
    key: tuple[str, ...]
    columns: tuple[Column, ...]
    indexes: tuple[tuple[str, ...], ...] = ()


def column_names(table: Table) -> tuple[str, ...]:
    """Return the table's column names in order."""
    return tuple(column.name for column in table.columns)


_CALLS = Table(
    "calls",
    ("call_id",),
    (
        Column("call_id", "text", "span id of the call, 16 hex digits", required=True),
        Column("trace_id", "text", "trace id, 32 hex digits", required=True),
        Column("parent_id", "text", "span id of the enclosing scope or foreign span"),
        Column("task", "text", "kind of the task", required=True),
        Column("task_id", "text", "id of the task", required=True),
        Column("agent", "text", "name of the agent", required=True),
        Column("agent_run_id", "text", "id of the agent run", required=True),
        Column("depth", "int", "levels; agent runs this call is inside of, 0 for the outermost", required=True),
        Column("step", "int", "order of the call in its agent run, from 0", required=True),
        Column("continues_call_id", "text", "the call whose history this one extends"),
        Column("inside_tool_call_id", "text", "the unanswered tool call this call's agent run is inside of"),
        Column("structure_source", "text", "scope, span or wire: where the structure comes from", required=True),
        Column("provider", "text", "who served the call, as in gen_ai.provider.name", required=True),
        Column("api", "text", "openai.chat, openai.responses, anthropic.messages, ...", required=True),
        Column("model", "text", "model asked for"),
        Column("response_model", "text", "model that answered"),
        Column("response_id", "text", "the provider's id of the answer"),
        Column("stream", "int", "1 if the answer was streamed", required=True),
        Column(
            "status",
            "text",
            "ok, error, cut or cancelled; cut without a row in attempts: still under way, or its process died",
            required=True,
        ),
        Column("error_type", "text", "class of the failure; never a message"),
        Column("finish_reasons", "text", "JSON list, one per choice", required=True, json="array"),
        Column("attempts", "int", "HTTP attempts made", required=True),
        Column("started_at_ns", "int", "unix ns; the first attempt's send", required=True),
        Column("ended_at_ns", "int", "unix ns; last byte, or NULL where the source has no duration"),
        Column("duration_s", "float", "s; send to last byte of the last attempt"),
        Column("ttfc_s", "float", "s; send to first chunk of any kind; streams only"),
        Column("ttft_s", "float", "s; send to first generated content, reasoning counts; streams only"),
        Column("ttfo_s", "float", "s; send to first content that is not reasoning; streams only"),
        Column("input_tokens", "int", "tokens; cached ones included"),
        Column("cache_read_tokens", "int", "tokens; part of input_tokens"),
        Column("cache_write_tokens", "int", "tokens; part of input_tokens"),
        Column("output_tokens", "int", "tokens; reasoning included"),
        Column("reasoning_tokens", "int", "tokens; part of output_tokens"),
        Column("usage_source", "text", "provider, partial or absent", required=True),
        Column("usage_complete", "int", "1 if the usage is the call's final one", required=True),
        Column("tool_calls", "int", "client tool calls the answer asks for", required=True),
        Column("system_tokens", "int", "tokens; part of input_tokens: system prompt"),
        Column("tool_definition_tokens", "int", "tokens; part of input_tokens: tool definitions"),
        Column("resent_tokens", "int", "tokens; part of input_tokens: history that an earlier call sent or produced"),
        Column("tool_result_tokens", "int", "tokens; part of input_tokens: tool results seen for the first time"),
        Column("new_tokens", "int", "tokens; part of input_tokens: everything else"),
        Column(
            "split_method",
            "text",
            "how the five parts were found: bytes = estimated by content kind, learnt = with factors learnt from reported counts, tokenizer = counted with the vocabulary",
        ),
        Column("block_tokens", "int", "tokens per prefix block", required=True, least=1, most=2**31),
        Column(
            "block_hashes", "bytes", "keyed rolling hashes, 8 bytes each, ceil(input_tokens / block_tokens) of them"
        ),
        Column("prefix_blocks", "int", "blocks the source counted in the prompt, where it gives no hashes", most=2**31),
        Column("shared_blocks", "int", "leading blocks that an earlier call of the task had too", most=2**31),
        Column(
            "inside_call_id",
            "text",
            "the call that asked for it, by that tool call or, where that is NULL, in its text",
        ),
        Column("branch", "int", "how many other calls continue the same call before this one; more than 0 is a branch"),
        Column(
            "continues_evidence",
            "text",
            "response_id, conversation_id, history, tool_call_id, answer, words or compaction: what continues_call_id rests on",
        ),
        Column(
            "inside_evidence",
            "text",
            "flow_arguments, flow_result, context, open_tool_call or scope: what inside_call_id rests on; quoted, sought: what the task does",
        ),
        Column("structure_strength", "text", "exact, strong or weak: the weaker of the two edges; NULL without any"),
        Column(
            "after_call_id",
            "text",
            "the call that left before in the same thread or task, or where it was begun; empty = none, NULL = not noted",
        ),
        Column("previous_response_id", "text", "the answer that the request names as its history"),
        Column("conversation_id", "text", "the conversation that the provider keeps"),
        Column("instructions_hash", "bytes", "keyed hash of system prompt and tool definitions, 8 bytes"),
        Column("kept_messages", "int", "leading messages of the request that are all of those of continues_call_id"),
        Column("history", "bytes", "the messages after them: role (u, a or t) and keyed rolling hash, 9 bytes each"),
        Column(
            "answers",
            "text",
            "JSON list of the ids of the tool calls that the request brings results for",
            json="array",
        ),
        Column("prompted_by", "text", "user, tool or both: who has spoken since the last answer"),
        Column("reasoning_blocks", "int", "separate pieces of reasoning in the answer, hidden ones too"),
        Column(
            "extra", "text", "JSON object: what only some providers or sources report", required=True, json="object"
        ),
    ),
    indexes=(("task_id",), ("started_at_ns",)),
)

_ATTEMPTS = Table(
    "attempts",
    ("call_id", "attempt"),
    (
        Column("call_id", "text", "the call", required=True),
        Column("attempt", "int", "which try, from 0", required=True),
        Column("status_code", "int", "HTTP status; NULL when no answer came"),
        Column("error_type", "text", "class of the failure"),
        Column("started_at_ns", "int", "unix ns; asked for, before any wait for a free connection", required=True),
        Column("ended_at_ns", "int", "unix ns", required=True),
    ),
)

_TOOL_CALLS = Table(
    "tool_calls",
    ("call_id", "tool_call_id"),
    (
        Column("call_id", "text", "the call whose answer asks for it", required=True),
        Column("tool_call_id", "text", "the provider's id, or the position where there is none", required=True),
        Column("name", "text", "name of the tool", required=True),
        Column("kind", "text", "client or server", required=True),
        Column("arguments_bytes", "int", "bytes of the arguments"),
        Column("result_bytes", "int", "bytes of the result, once a later call brought it back"),
        Column("result_tokens", "int", "tokens of the result, in proportion to bytes"),
        Column("executed", "int", "times a result for it was sent back; NULL = not seen"),
        Column("started_at_ns", "int", "unix ns; end of the answer that asked for it"),
        Column("ended_at_ns", "int", "unix ns; start of the call that brought the result"),
        Column("agent_run_id", "text", "agent run of the sub-agent that it started"),
        Column(
            "arguments_hash",
            "bytes",
            "keyed hash of the canonical arguments, 8 bytes: equal where the same is asked again",
        ),
        Column(
            "failed",
            "int",
            "1 if the request that brought the result says that the tool failed, 0 if it does not; NULL = its api cannot say",
        ),
        Column("run_span_id", "text", "the tool run in spans that it is: then both times are the run's own"),
    ),
)

_SPANS = Table(
    "spans",
    ("span_id",),
    (
        Column("span_id", "text", "16 hex digits", required=True),
        Column("trace_id", "text", "32 hex digits", required=True),
        Column("parent_id", "text", "enclosing scope or foreign span"),
        Column("kind", "text", "task, agent or tool", required=True),
        Column("name", "text", "kind of the task, name of the agent or tool", required=True),
        Column("task_id", "text", "id of the task it belongs to"),
        Column("agent_run_id", "text", "agent run it is, or runs in"),
        Column("depth", "int", "levels; agent runs around it", required=True),
        Column("started_at_ns", "int", "unix ns", required=True),
        Column("ended_at_ns", "int", "unix ns", required=True),
        Column("status", "text", "ok or error", required=True),
        Column("error_type", "text", "class of the exception that left the scope"),
        Column("outcome", "int", "1 success, 0 failure, NULL not said", most=1),
        Column("score", "float", "as the user gave it"),
        Column("arguments_bytes", "int", "bytes of the arguments of a tool run that went through MCP"),
        Column("result_bytes", "int", "bytes of the content of its result"),
        Column("censored_by", "text", "the limit that cut the task short: its use is a lower bound; NULL = none did"),
    ),
    indexes=(("task_id",),),
)

_DROPS = Table(
    "drops",
    ("writer_id", "reason"),
    (
        Column("writer_id", "text", "one recorder process, random", required=True),
        Column("reason", "text", "queue_full, parser_error, body_too_large, ...", required=True),
        Column("count", "int", "records lost for it", required=True),
    ),
)

_TASK_NAMES = Table(
    "task_names",
    ("task",),
    (
        Column("task", "text", "kind of task, as recorded", required=True),
        Column("name", "text", "what the user calls it", required=True),
    ),
)

_META = Table(
    "meta",
    ("name",),
    (
        Column("name", "text", "schema_version, key_id, created_by", required=True),
        Column("value", "text", "its value", required=True),
    ),
)

TABLES: tuple[Table, ...] = (_CALLS, _ATTEMPTS, _TOOL_CALLS, _SPANS, _DROPS, _TASK_NAMES, _META)
