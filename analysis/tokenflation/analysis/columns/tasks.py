"""The columns of tasks, of their shares and of their trees, written once. Knows nothing of how they are computed.

The columns of `calls` are the store's (`tokenflation.sdk.store.tables`); in `measures` stand the measures of one row
per task kind.
"""

from tokenflation.analysis.columns.measures import RATIOS
from tokenflation.sdk.store.tables import TABLES, Column, by_name

__all__ = [
    "CALL_COLUMNS",
    "DATED_FROM_NS",
    "SHARE_COLUMNS",
    "TASK_COLUMNS",
    "TREE_COLUMNS",
]

DATED_FROM_NS = 365 * 86_400 * 10**9
"""Calls of sources without dates count from 0: a time in the first year of unix time is no date."""

CALL_COLUMNS: dict[str, Column] = by_name(
    *(column for table in TABLES if table.name == "calls" for column in table.columns)
)
"""The columns of `calls` by name."""

TASK_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task; unique together with its kind", required=True),
    Column("started_at_ns", "int", "unix ns; start of its first call", required=True),
    Column(
        "duration_s",
        "float",
        "s; first start to last known end; NULL where a call of unknown end started no earlier, or not all calls have dates",
    ),
    Column("calls", "int", "calls, failed ones too", required=True),
    Column("failed_calls", "int", "calls whose status is not ok: error, cut or cancelled", required=True),
    Column("attempts", "int", "HTTP attempts of all calls", required=True),
    Column("reported_calls", "int", "calls with the final counts of input and output", required=True),
    Column("partial_calls", "int", "calls with one of the two counts, or those of a cut answer", required=True),
    Column("unreported_calls", "int", "calls with neither count", required=True),
    Column("calls_with_input", "int", "calls that report input tokens", required=True),
    Column("calls_with_output", "int", "calls that report output tokens", required=True),
    Column("calls_with_usage", "int", "calls that report input and output tokens", required=True),
    Column("calls_with_billed", "int", "calls that report input or output tokens", required=True),
    Column("calls_with_cache", "int", "calls that report input tokens and cache reads", required=True),
    Column("calls_with_cache_writes", "int", "of them, calls that report cache writes too", required=True),
    Column("calls_with_shared_prefix", "int", "calls whose shared blocks and input are known", required=True),
    Column(
        "calls_with_shared_blocks",
        "int",
        "calls whose shared blocks and blocks of the prompt are known",
        required=True,
    ),
    Column("calls_with_duration", "int", "all calls where `duration_s` is known, else 0", required=True),
    Column("calls_with_reasoning", "int", "calls that report output and reasoning tokens", required=True),
    Column("calls_with_parts", "int", "calls whose input is split into the five parts", required=True),
    Column("agent_runs", "int", "agent runs with at least one call", required=True),
    Column("sub_agent_runs", "int", "agent runs inside another one (depth > 0)", required=True),
    Column("sub_agent_calls", "int", "calls inside another agent run (depth > 0)", required=True),
    Column("depth", "int", "levels; the deepest call", required=True),
    Column("tool_calls", "int", "client tool calls that the answers ask for", required=True),
    Column("input_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
    Column("output_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
    Column("cache_read_tokens", "int", "tokens; part of cache_reported_input_tokens"),
    Column("cache_reported_input_tokens", "int", "tokens; input of the calls that report cache reads as well"),
    Column("cache_unreported_input_tokens", "int", "tokens; the rest of the input"),
    Column("cache_write_tokens", "int", "tokens; part of cache_reported_input_tokens; NULL if no call reports writes"),
    Column("fresh_tokens", "int", "tokens; the rest of cache_reported_input_tokens, neither read nor written"),
    Column("reasoning_tokens", "int", "tokens; part of reasoning_reported_output_tokens"),
    Column("reasoning_reported_output_tokens", "int", "tokens; output of the calls that report reasoning as well"),
    Column("visible_tokens", "int", "tokens; the rest of reasoning_reported_output_tokens"),
    Column("reasoning_unreported_output_tokens", "int", "tokens; the rest of the output"),
    Column("billed_tokens", "int", "tokens; input plus output, as far as they are reported"),
    Column("paired_input_tokens", "int", "tokens; input of the calls that report input and output"),
    Column("paired_output_tokens", "int", "tokens; output of the same calls"),
    Column("accumulated_tokens", "int", "tokens; input, plus output where reported, of the calls that report input"),
    Column("trajectory_tokens", "int", "tokens; the same of the longest call of each agent run, summed"),
    Column("prefix_blocks", "int", "blocks of the prompts whose shared blocks are known"),
    Column("shared_blocks", "int", "blocks; part of prefix_blocks: leading blocks an earlier call had too"),
    Column("shared_prefix_tokens", "int", "tokens; the shared blocks in tokens, at most the call's input"),
    Column("cached_tokens", "int", "tokens; cache reads as reported, else the shared prefix, per call"),
    Column("cached_by_provider_calls", "int", "calls whose cached tokens the provider reports", required=True),
    Column("cached_by_blocks_calls", "int", "calls whose cached tokens are their shared prefix", required=True),
    Column("cached_by_none_calls", "int", "calls with input whose cached tokens nobody knows", required=True),
    Column("peak_context_tokens", "int", "tokens; largest input of one call"),
    Column("system_tokens", "int", "tokens; part of the input: system prompt"),
    Column("tool_definition_tokens", "int", "tokens; part of the input: tool definitions"),
    Column("resent_tokens", "int", "tokens; part of the input: history that an earlier call sent or produced"),
    Column("tool_result_tokens", "int", "tokens; part of the input: tool results seen for the first time"),
    Column("new_tokens", "int", "tokens; part of the input: everything else"),
    Column("parts_input_tokens", "int", "tokens; the five parts: input of the calls that have them"),
    Column("overhead_tokens", "int", "tokens; system prompt and tool definitions"),
    *(Column(one.reads, "float", f"{one.unit}; {one.ratio[0]} / {one.ratio[1]}") for one in RATIOS if one.ratio),
)
"""The columns of one row per task, by name, in order."""

SHARE_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task; NULL = all"),
    Column("task_id", "text", "id of the task; NULL = all of the kind"),
    Column("part", "text", "name of the agent, model, or step from 0; NULL = not named"),
    Column("calls", "int", "calls", required=True),
    Column("reported_calls", "int", "calls with the final counts of input and output", required=True),
    Column("partial_calls", "int", "calls with one of the two counts, or those of a cut answer", required=True),
    Column("unreported_calls", "int", "calls with neither count", required=True),
    Column("calls_with_input", "int", "calls that report input tokens", required=True),
    Column("calls_with_output", "int", "calls that report output tokens", required=True),
    Column("input_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
    Column("cache_read_tokens", "int", "tokens; part of input_tokens, over the calls that report it"),
    Column("output_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
    Column("reasoning_tokens", "int", "tokens; part of output_tokens, over the calls that report it"),
    Column("billed_tokens", "int", "tokens; input plus output, as far as they are reported"),
    Column("calls_share", "float", "fraction; calls / those of all parts"),
    Column("input_tokens_share", "float", "fraction; input_tokens / those of all parts"),
    Column("output_tokens_share", "float", "fraction; output_tokens / those of all parts"),
    Column("billed_tokens_share", "float", "fraction; billed_tokens / those of all parts"),
)
"""The columns of one row per part of a split, by name, in order."""

TREE_COLUMNS: dict[str, Column] = by_name(
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
    Column("placed_by", "text", "what says where an agent run stands: root, tool_call, call, scope, depth or open"),
)
"""The columns of one row per node of a task's tree, by name, in order."""
