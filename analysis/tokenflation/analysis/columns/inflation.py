"""The columns of inflation, cost and the difference of two fleets, written once with their units and meanings.

Knows nothing of how they are computed. Costs are in the currency of the price table.
"""

from tokenflation.sdk.store.tables import Column, by_name

__all__ = ["COST_COLUMNS", "DIFF_COLUMNS", "FACTORS", "INFLATION_COLUMNS", "LEDGER_COLUMNS"]

FACTORS: dict[str, str] = {
    "calls": "calls outside sub-agents that ended well, per task",
    "work_per_call": "new input and visible output of such a call / the baseline's tokens",
    "recursion": "work of all calls / of those outside sub-agents",
    "resend": "work and re-sent context / work",
    "reasoning": "the same with reasoning / without",
    "retry": "tokens of all calls / of calls that ended well",
}
"""The factors that multiply to the inflation, in order (FORECAST model, section 2.2)."""


LEDGER_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task", required=True),
    Column("calls", "int", "calls, failed ones too", required=True),
    Column("root_calls", "int", "calls outside sub-agents (depth 0) that ended well (status ok)", required=True),
    Column("calls_with_input", "int", "calls that report input tokens", required=True),
    Column("calls_with_output", "int", "calls that report output tokens", required=True),
    Column("calls_reported", "int", "calls whose usage is reported in full", required=True),
    Column("calls_unreported", "int", "calls that report neither input nor output; the rest is partial", required=True),
    Column("input_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
    Column("output_tokens", "int", "tokens; sum over the calls that report it, NULL if none does"),
    Column("cached_tokens", "int", "tokens; part of input_tokens: cache reads as reported, else the shared prefix"),
    Column("root_new_tokens", "int", "tokens; input not sent before, of the calls in root_calls"),
    Column("root_visible_tokens", "int", "tokens; output without reasoning, of the calls in root_calls"),
    Column("new_tokens", "int", "tokens; input not sent before, of all calls that ended well"),
    Column("visible_tokens", "int", "tokens; output without reasoning, of all calls that ended well"),
    Column("resent_tokens", "int", "tokens; input that an earlier call had sent, of all calls that ended well"),
    Column("reasoning_tokens", "int", "tokens; reasoning of all calls that ended well; 0 where not reported"),
    Column(
        "first_input_tokens",
        "int",
        "tokens; input of the first request that ended well, outermost calls first, those that generate nothing last",
    ),
    Column("final_output_tokens", "int", "tokens; visible output of the last answer, outermost calls first"),
    Column("unpriced_calls", "int", "calls with usage whose model has no price", required=True),
    Column("cached_cost", "float", "currency; input read from the provider's cache"),
    Column("fresh_cost", "float", "currency; the rest of the input, cache writes included"),
    Column("written_cost", "float", "currency; part of fresh_cost: input written to the cache"),
    Column("output_cost", "float", "currency; output, reasoning included"),
    Column("reasoning_cost", "float", "currency; part of output_cost: reasoning"),
    Column("list_cost", "float", "currency; the same tokens without a cache, all input at its full price"),
    Column("first_cost", "float", "currency; first_input_tokens at the full price"),
    Column("final_cost", "float", "currency; final_output_tokens"),
    Column("cached_by_provider_calls", "int", "calls whose cached tokens the provider reports", required=True),
    Column("cached_by_blocks_calls", "int", "calls whose cached tokens are their shared prefix", required=True),
    Column("cached_by_none_calls", "int", "calls with input whose cached tokens nobody knows", required=True),
    Column("resent_by_blocks_calls", "int", "calls whose re-sent tokens are their shared prefix", required=True),
    Column(
        "resent_by_parts_calls",
        "int",
        "calls whose re-sent tokens are parts of the split input: history and, where it goes on, system prompt and tools",
        required=True,
    ),
    Column(
        "resent_by_provider_calls", "int", "calls whose re-sent tokens are their cache reads: at least", required=True
    ),
    Column(
        "resent_by_none_calls", "int", "calls with input whose re-sent tokens nobody knows; taken as 0", required=True
    ),
    Column("reasoning_reported_calls", "int", "calls that report reasoning tokens", required=True),
)
"""The columns of one row per task that says what its tokens are, by name, in order."""

_BOUNDED = {
    "input": "mean input tokens of a task / the same of the baseline",
    "output": "mean output tokens of a task / the same of the baseline",
    "billed": "mean of input + output, / the same of the baseline",
    "computed": "mean of input - cached + output, / the same of the baseline",
    "cost": "mean cost of a task / the same of the baseline; missing without prices",
    "calls": "calls per task / the same of the baseline",
}


def _bounded(name: str, meaning: str) -> list[Column]:
    return [
        Column(f"inflation_{name}", "float", f"x; {meaning}"),
        Column(f"inflation_{name}_low", "float", "x; lower end of its interval"),
        Column(f"inflation_{name}_high", "float", "x; upper end of its interval"),
    ]


INFLATION_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("baseline", "text", "kind it is compared with, or the name of the intrinsic baseline", required=True),
    Column(
        "baseline_source", "text", "measured (tasks of that kind) or intrinsic (parts of the same tasks)", required=True
    ),
    Column("tasks", "int", "tasks of the kind", required=True),
    Column("tasks_without_usage", "int", "of them, left out: what `counted` names is not reported", required=True),
    Column(
        "tasks_without_cost", "int", "of the others, left out of the cost: a call has no price; NULL without prices"
    ),
    Column("baseline_tasks", "int", "tasks of the baseline that are counted", required=True),
    Column("counted", "text", "input+output; or input, where no task of a side reports output", required=True),
    *(column for name, meaning in _BOUNDED.items() for column in _bounded(name, meaning)),
    Column("cached_source", "text", "provider, blocks or none; joined by + where calls differ", required=True),
    Column("baseline_cached_source", "text", "the same of the baseline", required=True),
    Column("resent_source", "text", "blocks, parts, provider or none; joined by + where calls differ", required=True),
    Column("billed_tokens_mean", "float", "tokens; mean of input + output of a task"),
    Column("computed_tokens_mean", "float", "tokens; mean of input - cached + output of a task"),
    Column("cost_mean", "float", "currency; mean cost of a task"),
    Column("calls_mean", "float", "calls per task"),
    Column("baseline_tokens_mean", "float", "tokens; mean of the baseline, in what is counted"),
    Column("baseline_cost_mean", "float", "currency; mean cost of the baseline"),
    *(Column(f"factor_{name}", "float", f"x; {meaning}") for name, meaning in FACTORS.items()),
    Column("factor_cache", "float", "x; share of tokens not cached / the baseline's: billed to computed"),
    Column("factor_price", "float", "x; cost of a billed token / the baseline's: billed to cost"),
    Column("driver_calls", "float", "x; calls per task / the same of the baseline"),
    Column("driver_input_reported", "float", "x; share of calls that report input / the same of the baseline"),
    Column("driver_input_per_call", "float", "x; input of a call that reports it / the same of the baseline"),
    Column("driver_output_reported", "float", "x; share of calls that report output / the same of the baseline"),
    Column("driver_output_per_call", "float", "x; output of a call that reports it / the same of the baseline"),
    Column("calls", "int", "calls of all tasks of the kind", required=True),
    Column("calls_reported", "int", "of them, usage reported in full", required=True),
    Column("calls_partial", "int", "of them, usage reported in part", required=True),
    Column("calls_unreported", "int", "of them, no usage reported", required=True),
    Column(
        "calls_reasoning_reported",
        "int",
        "of them, reasoning tokens reported; where it is 0, factor_reasoning is 1 and reasoning is part of the work",
        required=True,
    ),
)
"""The columns of one row per task kind and baseline, by name, in order."""

COST_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("tasks", "int", "tasks of the kind", required=True),
    Column(
        "tasks_without_cost", "int", "of them, left out: no usage, or a call whose model has no price", required=True
    ),
    Column("unpriced_calls", "int", "calls with usage whose model has no price", required=True),
    Column("currency", "text", "currency of the price table", required=True),
    Column("cost_mean", "float", "currency; mean cost of a task"),
    Column("cost_mean_low", "float", "currency; lower end of its interval"),
    Column("cost_mean_high", "float", "currency; upper end of its interval"),
    Column("cached_cost_mean", "float", "currency; part of it: prefix, input read from the provider's cache"),
    Column("fresh_cost_mean", "float", "currency; part of it: append, the rest of the input with cache writes"),
    Column("output_cost_mean", "float", "currency; part of it: output, reasoning included"),
    Column("written_cost_mean", "float", "currency; part of fresh_cost_mean: cache writes"),
    Column("reasoning_cost_mean", "float", "currency; part of output_cost_mean: reasoning"),
    Column("cached_cost_share", "float", "fraction of the cost, by sums"),
    Column("fresh_cost_share", "float", "fraction of the cost, by sums"),
    Column("output_cost_share", "float", "fraction of the cost, by sums"),
    Column("cache_saving_share", "float", "fraction; 1 - cost / what it would cost without a cache"),
)
"""The columns of one row per task kind with its cost, by name, in order."""

DIFF_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task; NULL = all kinds together"),
    Column("factor", "text", "what changed; `total` is the whole difference", required=True),
    Column("a", "float", "the factor before (A); of a kind's `total`, its part of a task of all kinds on average"),
    Column("b", "float", "the factor after (B)"),
    Column("unit", "text", "of a and b", required=True),
    Column("effect", "float", "tokens or currency; what the change of the factor adds to the total", required=True),
    Column("effect_low", "float", "the same; lower end of its interval"),
    Column("effect_high", "float", "the same; upper end of its interval"),
    Column("share", "float", "fraction of the whole difference, of the kind or of all; may be negative or above 1"),
)
"""The columns of one row per factor, of each kind and of all, of the difference of two fleets, by name, in order."""
