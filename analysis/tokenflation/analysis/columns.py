"""Every column that the analysis makes, written once with its unit and meaning. Knows nothing of how they are computed.

The columns of `calls` are the store's (`tokenflation.sdk.store.tables`); here stand those of one row per task and the
measures of one row per task kind.
"""

from dataclasses import dataclass
from typing import Literal

from tokenflation.sdk.store.tables import TABLES, Column

__all__ = [
    "CALL_COLUMNS",
    "INFLATION_COLUMNS",
    "MEASURES",
    "QUANTILES",
    "STATISTICS",
    "TASK_COLUMNS",
    "TREE_COLUMNS",
    "Measure",
]

CALL_COLUMNS: dict[str, Column] = {
    column.name: column for table in TABLES if table.name == "calls" for column in table.columns
}
"""The columns of `calls` by name."""

TASK_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("task", "text", "kind of the task", required=True),
        Column("task_id", "text", "id of the task; unique together with its kind", required=True),
        Column("started_at_ns", "int", "unix ns; start of its first call", required=True),
        Column("duration_s", "float", "s; first start to last end; NULL where the last call to start has no known end"),
        Column("calls", "int", "calls, failed ones too", required=True),
        Column("failed_calls", "int", "calls whose status is not ok: error, cut or cancelled", required=True),
        Column("attempts", "int", "HTTP attempts of all calls", required=True),
        Column("calls_with_input", "int", "calls that report input tokens", required=True),
        Column("calls_with_output", "int", "calls that report output tokens", required=True),
        Column("calls_with_usage", "int", "calls that report input and output tokens", required=True),
        Column("agent_runs", "int", "agent runs with at least one call", required=True),
        Column("sub_agent_runs", "int", "agent runs inside another one (depth > 0)", required=True),
        Column("sub_agent_calls", "int", "calls inside another agent run (depth > 0)", required=True),
        Column("depth", "int", "levels; the deepest call", required=True),
        Column("tool_calls", "int", "client tool calls that the answers ask for", required=True),
        Column("input_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
        Column("output_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
        Column("cache_read_tokens", "int", "tokens; part of cache_reported_input_tokens"),
        Column("cache_reported_input_tokens", "int", "tokens; input of the calls that report cache reads as well"),
        Column("cache_write_tokens", "int", "tokens; sum over the calls that report it"),
        Column("reasoning_tokens", "int", "tokens; part of reasoning_reported_output_tokens"),
        Column("reasoning_reported_output_tokens", "int", "tokens; output of the calls that report reasoning as well"),
        Column("prefix_blocks", "int", "blocks of the prompts whose shared blocks are known"),
        Column("shared_blocks", "int", "blocks; part of prefix_blocks: leading blocks an earlier call had too"),
        Column("shared_prefix_tokens", "int", "tokens; the shared blocks in tokens, at most the call's input"),
        Column("cached_tokens", "int", "tokens; cache reads as reported, else the shared prefix, per call"),
        Column("cached_by_provider_calls", "int", "calls whose cached tokens the provider reports", required=True),
        Column("cached_by_blocks_calls", "int", "calls whose cached tokens are their shared prefix", required=True),
        Column("cached_by_none_calls", "int", "calls with input whose cached tokens nobody knows", required=True),
        Column("peak_context_tokens", "int", "tokens; largest input of one call"),
        Column("isl", "float", "tokens; mean input of the calls that report it"),
        Column("osl", "float", "tokens; mean output of the calls that report it"),
        Column("input_over_peak_context", "float", "x; input_tokens / peak_context_tokens"),
        Column("cache_hit_rate", "float", "fraction by tokens; cache_read_tokens / cache_reported_input_tokens"),
        Column("cache_hit_rate_blocks", "float", "fraction by blocks; shared_blocks / prefix_blocks"),
        Column("reasoning_share", "float", "fraction; reasoning_tokens / reasoning_reported_output_tokens"),
        Column("system_tokens", "int", "tokens; part of the input: system prompt"),
        Column("tool_definition_tokens", "int", "tokens; part of the input: tool definitions"),
        Column("resent_tokens", "int", "tokens; part of the input: history that an earlier call sent or produced"),
        Column("tool_result_tokens", "int", "tokens; part of the input: tool results seen for the first time"),
        Column("new_tokens", "int", "tokens; part of the input: everything else"),
        Column("calls_with_parts", "int", "calls whose input is split into the five parts", required=True),
    )
}
"""The columns of one row per task, by name, in order."""

QUANTILES: dict[str, float] = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}
"""Quantiles of a profile; between two samples they are interpolated linearly (SQL's percentile_cont, NumPy's default)."""

STATISTICS: tuple[str, ...] = ("mean", *QUANTILES, "sum")
"""Statistics of a profile, in order; a ratio has no sum."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a profile; its columns are `<name>_<statistic>`."""

    name: str
    unit: Literal["count", "tokens", "x", "fraction", "s"]
    label: str
    """What tables call it."""
    column: str = ""
    """Column of the tasks that it reads; its name where empty."""
    ratio: tuple[str, str] | None = None
    """Task columns it is the ratio of: then `_mean` is the ratio of their sums, so that a big task weighs what it costs."""
    over_calls: bool = False
    """Its quantiles are over all calls of the kind, not over its tasks."""
    total: bool = True
    """It has a `_sum`: adding it up over tasks means something."""


MEASURES: tuple[Measure, ...] = (
    Measure("calls", "count", "calls"),
    Measure("failed_calls", "count", "failed calls"),
    Measure("attempts", "count", "HTTP attempts"),
    Measure("calls_with_usage", "count", "calls with usage"),
    Measure("tool_calls", "count", "tool calls"),
    Measure("agent_runs", "count", "agent runs"),
    Measure("sub_agent_runs", "count", "sub-agent runs"),
    Measure("sub_agent_calls", "count", "sub-agent calls"),
    Measure("depth", "count", "depth", total=False),
    Measure("input_tokens", "tokens", "input tokens"),
    Measure("output_tokens", "tokens", "output tokens"),
    Measure("peak_context_tokens", "tokens", "peak context", total=False),
    Measure("input_over_peak_context", "x", "input / peak context", ratio=("input_tokens", "peak_context_tokens")),
    Measure("isl", "tokens", "input of a call (ISL)", ratio=("input_tokens", "calls_with_input"), over_calls=True),
    Measure("osl", "tokens", "output of a call (OSL)", ratio=("output_tokens", "calls_with_output"), over_calls=True),
    Measure("task_isl", "tokens", "mean ISL of a task", "isl", ("input_tokens", "calls_with_input")),
    Measure("task_osl", "tokens", "mean OSL of a task", "osl", ("output_tokens", "calls_with_output")),
    Measure("cache_read_tokens", "tokens", "cache reads"),
    Measure(
        "cache_hit_rate", "fraction", "cache hits by tokens", ratio=("cache_read_tokens", "cache_reported_input_tokens")
    ),
    Measure("shared_prefix_tokens", "tokens", "shared prefix"),
    Measure("cache_hit_rate_blocks", "fraction", "cache hits by blocks", ratio=("shared_blocks", "prefix_blocks")),
    Measure("reasoning_tokens", "tokens", "reasoning tokens"),
    Measure(
        "reasoning_share", "fraction", "reasoning share", ratio=("reasoning_tokens", "reasoning_reported_output_tokens")
    ),
    Measure("system_tokens", "tokens", "input: system prompt"),
    Measure("tool_definition_tokens", "tokens", "input: tool definitions"),
    Measure("resent_tokens", "tokens", "input: re-sent history"),
    Measure("tool_result_tokens", "tokens", "input: tool results"),
    Measure("new_tokens", "tokens", "input: new"),
    Measure("duration_s", "s", "duration"),
)
"""The measures of a profile, in the order in which they are shown."""

INFLATION_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("task", "text", "kind of the task", required=True),
        Column("baseline", "text", "kind it is compared with", required=True),
        Column("tasks", "int", "tasks of the kind", required=True),
        Column("tasks_without_usage", "int", "of them, left out: no call reports input, or none output", required=True),
        Column("baseline_tasks", "int", "tasks of the baseline with usage", required=True),
        Column("inflation_input", "float", "x; mean input tokens of a task / the same of the baseline"),
        Column("inflation_input_low", "float", "x; lower end of its interval"),
        Column("inflation_input_high", "float", "x; upper end of its interval"),
        Column("inflation_output", "float", "x; mean output tokens of a task / the same of the baseline"),
        Column("inflation_output_low", "float", "x; lower end of its interval"),
        Column("inflation_output_high", "float", "x; upper end of its interval"),
        Column("inflation_billed", "float", "x; mean of input + output, / the same of the baseline"),
        Column("inflation_billed_low", "float", "x; lower end of its interval"),
        Column("inflation_billed_high", "float", "x; upper end of its interval"),
        Column("inflation_computed", "float", "x; mean of input - cached + output, / the same of the baseline"),
        Column("inflation_computed_low", "float", "x; lower end of its interval"),
        Column("inflation_computed_high", "float", "x; upper end of its interval"),
        Column("cached_source", "text", "provider, blocks or none; joined by + where calls differ", required=True),
        Column("baseline_cached_source", "text", "the same of the baseline", required=True),
        Column("billed_tokens_mean", "float", "tokens; mean of input + output of a task with usage"),
        Column("computed_tokens_mean", "float", "tokens; mean of input - cached + output of a task with usage"),
        Column("driver_calls", "float", "x; calls per task / the same of the baseline"),
        Column("driver_input_reported", "float", "x; share of calls that report input / the same of the baseline"),
        Column("driver_input_per_call", "float", "x; input of a call that reports it / the same of the baseline"),
        Column("driver_output_reported", "float", "x; share of calls that report output / the same of the baseline"),
        Column("driver_output_per_call", "float", "x; output of a call that reports it / the same of the baseline"),
    )
}
"""The columns of one row per task kind against a baseline, by name, in order."""

TREE_COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("level", "int", "levels below the task, which is 0", required=True),
        Column("kind", "text", "task, agent, step, tool, or more: several that are shown as one", required=True),
        Column("name", "text", "kind of the task, name of the agent or tool; empty for a step", required=True),
        Column("id", "text", "id of the task, agent run, call or tool call", required=True),
        Column("parent_id", "text", "id of the node around it"),
        Column("task_id", "text", "id of the task", required=True),
        Column("depth", "int", "levels; agent runs it is inside of", required=True),
        Column("step", "int", "place in the agent run, from 0; of steps alone"),
        Column("status", "text", "ok, error, cut or cancelled; of steps alone"),
        Column("error_type", "text", "class of the failure; of steps alone"),
        Column("model", "text", "model that answered, else the one asked for; of steps alone"),
        Column("started_at_ns", "int", "unix ns; a tool call starts when the answer that asks for it ends"),
        Column("ended_at_ns", "int", "unix ns; NULL where it is not known"),
        Column("duration_s", "float", "s; start to end, what is inside of it included"),
        Column("calls", "int", "calls in it and below", required=True),
        Column("own_calls", "int", "of them its own: of a step one, of an agent run those of its steps", required=True),
        Column("failed_calls", "int", "calls in it and below whose status is not ok", required=True),
        Column("calls_with_input", "int", "calls in it and below that report input tokens", required=True),
        Column("calls_with_output", "int", "calls in it and below that report output tokens", required=True),
        Column("tool_calls", "int", "client tool calls asked for in it and below", required=True),
        Column("input_tokens", "int", "tokens; sum over the calls in it and below that report it, NULL if none does"),
        Column("own_input_tokens", "int", "tokens; the same over its own calls"),
        Column("cache_read_tokens", "int", "tokens; part of input_tokens, over the calls that report it"),
        Column("output_tokens", "int", "tokens; sum over the calls in it and below that report it, NULL if none does"),
        Column("own_output_tokens", "int", "tokens; the same over its own calls"),
        Column("reasoning_tokens", "int", "tokens; part of output_tokens, over the calls that report it"),
        Column("results", "int", "times a result of the tool call was sent back; NULL = none was seen"),
        Column("result_tokens", "int", "tokens of the tool's result, in proportion to bytes"),
        Column("placed_by", "text", "what says where an agent run stands: root, tool_call, scope, depth or open"),
    )
}
"""The columns of one row per node of a task's tree, by name, in order."""
