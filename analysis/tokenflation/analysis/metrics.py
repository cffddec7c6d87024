"""The metrics of an inference profile, and the page that says of each what it is and where it stands (`metrics_page`).

Definitions and units are those of the column tables; here stands only which columns make up a metric. Knows no numbers.
"""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tokenflation.analysis.columns import MEASURES, SHARE_COLUMNS
from tokenflation.analysis.columns.context import (
    APPEND_COLUMNS,
    BYTES_COLUMNS,
    CACHE_COLUMNS,
    CONTEXT_KIND_COLUMNS,
    CONTEXT_RUN_COLUMNS,
    CONTEXT_STEP_COLUMNS,
    TTL_COLUMNS,
)
from tokenflation.analysis.columns.inflation import COST_COLUMNS, INFLATION_COLUMNS
from tokenflation.analysis.columns.structure import CURVE_COLUMNS, SPREAD_COLUMNS, SUCCESS_COLUMNS, TOOL_COLUMNS
from tokenflation.analysis.columns.structure_kinds import KIND_COLUMNS, TASK_STRUCTURE_COLUMNS
from tokenflation.analysis.fleet.paths import RESOURCES
from tokenflation.analysis.predictability import PREDICTABILITY_COLUMNS
from tokenflation.sdk.store.tables import Column

__all__ = ["METRICS", "PLACES", "Metric", "Place", "metrics_page"]


@dataclass(frozen=True, slots=True)
class Place:
    """A table in which numbers of a metric stand."""

    function: str
    """Its function in `tokenflation.analysis`, with the module where it is not exported there."""
    command: str
    """What prints it; empty where no command does."""
    columns: Mapping[str, tuple[str, str]]
    """Unit and definition of each column."""
    per: str
    """What a row is of."""


_UNITS = ("tokens per step", "fraction by tokens", "fraction", "tokens", "bytes", "currency", "levels", "ns", "s", "x")


def _of_columns(columns: Mapping[str, Column]) -> dict[str, tuple[str, str]]:
    return {name: _unit(column) for name, column in columns.items()}


def _unit(column: Column) -> tuple[str, str]:
    first, _, rest = column.meaning.partition("; ")
    if rest and first in _UNITS:
        return first, rest
    word = first.split(" ")[0]
    named = word if word in _UNITS else {"int": "count", "float": "number"}.get(column.kind, column.kind)
    return named, column.meaning


PLACES: Mapping[str, Place] = MappingProxyType(
    {
        "profile": Place(
            "profile",
            "tokenflation profile DB",
            {one.name: (one.unit, one.meaning) for one in MEASURES},
            "task kind, all; task, run, step, call: `measured`",
        ),
        "shares": Place(
            "shares", "tokenflation profile DB --by agent", _of_columns(SHARE_COLUMNS), "part of a kind, a task, all"
        ),
        "inflation": Place("inflation", "tokenflation inflation DB", _of_columns(INFLATION_COLUMNS), "task kind"),
        "costs": Place("costs", "tokenflation inflation DB --prices FILE", _of_columns(COST_COLUMNS), "task kind"),
        "steps": Place(
            "context.steps.context_steps",
            "tokenflation context DB --table steps",
            _of_columns(CONTEXT_STEP_COLUMNS),
            "call",
        ),
        "runs": Place(
            "context.growth.context_runs",
            "tokenflation context DB --table runs",
            _of_columns(CONTEXT_RUN_COLUMNS),
            "agent run",
        ),
        "contexts": Place(
            "context_kinds", "tokenflation context DB", _of_columns(CONTEXT_KIND_COLUMNS), "agent of a task kind"
        ),
        "append": Place(
            "context.steps.append_summary",
            "tokenflation context DB --table append",
            _of_columns(APPEND_COLUMNS),
            "provider and what prompted",
        ),
        "cache": Place(
            "cache_summary",
            "tokenflation cache DB",
            _of_columns(CACHE_COLUMNS),
            "provider, model, kind, agent or trigger",
        ),
        "ttl": Place(
            "context.kvcache.hits_by_ttl",
            "tokenflation cache DB --table ttl",
            _of_columns(TTL_COLUMNS),
            "provider, model, kind or agent",
        ),
        "bytes": Place(
            "context.kvcache.hits_by_bytes", "tokenflation cache DB --table bytes", _of_columns(BYTES_COLUMNS), "model"
        ),
        "task": Place(
            "structure_tasks",
            "tokenflation structure DB --per task --json",
            _of_columns(TASK_STRUCTURE_COLUMNS),
            "task",
        ),
        "kind": Place("structure_kinds", "tokenflation structure DB", _of_columns(KIND_COLUMNS), "task kind"),
        "tools": Place(
            "structure.tools.tools",
            "tokenflation structure DB --per tool --json",
            _of_columns(TOOL_COLUMNS),
            "tool of a task kind",
        ),
        "success": Place("success", "tokenflation structure DB", _of_columns(SUCCESS_COLUMNS), "task kind"),
        "curve": Place(
            "structure.success.success_curve",
            "tokenflation structure DB --per curve --json",
            _of_columns(CURVE_COLUMNS),
            "budget of a task kind",
        ),
        "spread": Place(
            "structure.spread.spread", "tokenflation structure DB", _of_columns(SPREAD_COLUMNS), "task kind"
        ),
        "predictability": Place(
            "predictability.predictability",
            "tokenflation structure DB --per predictability --json",
            _of_columns(PREDICTABILITY_COLUMNS),
            "task kind, all",
        ),
        "forecast": Place(
            "forecast",
            "tokenflation forecast DB --tasks-per-day N",
            {
                name: (unit, f"resource `{name}` by bucket: the load of the planned fleet")
                for name, unit in RESOURCES.items()
            },
            "bucket of the fleet",
        ),
    }
)
"""The tables by the name that `METRICS` gives them."""

_PROVIDER = "the provider's usage"
_RECORD = "the recorded structure of calls"
_SPLIT = "the recorder's split of each input"
_BLOCKS = "the provider's usage, and prefix blocks of the recorder"
_CLOCK = "the recorder's clock"
_FORECAST = "own: FORECAST model"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric: the columns that make it up, by table, and what works it by hand."""

    number: int
    name: str
    columns: Mapping[str, str]
    """Names of columns, separated by spaces, by the key of `PLACES`."""
    source: str
    tests: tuple[str, ...] = ()
    """File below `tests/analysis` (without `test_` and `.py`) and test (without `test_`), separated by a colon."""
    missing: str = ""
    """What is not there yet; empty where nothing is known to be missing."""
    note: str = ""


METRICS: tuple[Metric, ...] = (
    Metric(1, "Tokens by kind", {"profile": "input_tokens cache_read_tokens cache_write_tokens fresh_tokens output_tokens reasoning_tokens"},
           _PROVIDER, ("measures:tokens_by_kind_of_a_task_worked_by_hand",)),
    Metric(2, "Inflation", {"inflation": "inflation_billed inflation_computed inflation_cost inflation_input inflation_output factor_cache factor_price"},
           f"{_FORECAST}, sections 2.1 and 2.2", ("baselines:the_six_factors_are_as_worked_by_hand", "inflation:factors_are_ratios_of_means_and_not_means_of_ratios",
           "costs:inflation_of_cost_is_the_ratio_of_mean_costs"), note="One row per kind and baseline; the factors multiply to the inflation."),
    Metric(3, "Calls per task", {"profile": "calls", "inflation": "calls_mean inflation_calls driver_calls"}, _RECORD,
           ("profile:statistics_are_over_tasks_and_sums_over_all_of_them", "difference:twice_the_calls_of_the_same_size_is_all_due_to_calls")),
    Metric(4, "Token shares by kind", {"profile": "cache_read_of_billed cache_write_of_billed fresh_of_billed cache_unreported_input_of_billed visible_of_billed reasoning_of_billed reasoning_unreported_output_of_billed"},
           _PROVIDER, ("measures:shares_of_billed_tokens_worked_by_hand",)),
    Metric(5, "Shares by agent, tool and step", {"shares": "calls_share input_tokens_share output_tokens_share billed_tokens_share", "tools": "result_tokens carried_tokens carried_input_share"},
           _PROVIDER, ("measures:shares_by_agent_worked_by_hand", "measures:shares_by_step_stand_in_order_of_number", "tools:each_tool_is_counted_with_its_failures_sizes_and_times",
           "tools:what_later_calls_carry_of_a_tools_results_is_its_share_of_the_input"),
           note="`--by agent`, `model` or `step`; a tool has the tokens of its results, an estimate in proportion to bytes, and what they take in all later calls."),
    Metric(6, "Re-send factor", {"profile": "input_over_peak_context", "runs": "input_over_peak_context input_over_distinct", "contexts": "input_over_peak_context input_over_distinct"},
           f"{_FORECAST}, section 2.1", ("growth:re_send_factors_are_worked_out_from_growth",)),
    Metric(7, "Redundant-input ratio", {"contexts": "redundant_input_ratio resent_input_tokens resent_known_input_tokens"}, _BLOCKS,
           ("context:falls_of_the_context_are_told_apart_and_what_was_cut_is_not_re_sent",)),
    Metric(8, "Accumulated over trajectory length", {"profile": "accumulated_over_trajectory"}, _PROVIDER,
           ("measures:accumulated_over_trajectory_counts_each_agent_runs_longest_call_once",)),
    Metric(9, "Prefix, append, adjusted append", {"steps": "prefix_tokens append_tokens adjusted_append_tokens", "append": "prefix_tokens append_tokens adjusted_append_tokens"},
           f"TraceLab's terms; {_BLOCKS}", ("context:append_adjusted_append_and_fresh_are_worked_out_from_neighbours",)),
    Metric(10, "Prefill amplification", {"append": "prefill_amplification amplified_append_tokens fresh_tokens"}, f"TraceLab's terms; {_BLOCKS}",
           ("context:prefill_amplification_is_a_ratio_of_sums_by_trigger",)),
    Metric(11, "Cache hit rate", {"profile": "cache_hit_rate cache_hit_rate_blocks", "cache": "realised_hit_rate ideal_hit_rate own_task_hit_rate lost_share", "append": "cache_efficiency missed_tokens beyond_tokens", "ttl": "hit_rate", "bytes": "hit_rate share_of_ideal"},
           _BLOCKS, ("kvcache:the_hit_rate_weighs_by_tokens_and_its_coverage_stands_beside_it", "kvcache:triggers_and_providers_are_told_apart_and_what_is_not_recorded_is_a_group_of_its_own",
           "kvcache:a_time_to_live_counts_from_the_last_use", "context:what_was_sent_again_and_not_read_from_the_cache_was_missed"), note="By trigger: `tokenflation cache DB --table triggers`."),
    Metric(12, "Context growth", {"runs": "growth_per_step growth_exponent growth_exponent_fit", "contexts": "growth_per_step run_growth_exponent growth_exponent"},
           f"{_FORECAST}, section 2.1", ("growth:the_exponent_of_linear_growth_is_that_of_the_closed_form", "growth:the_fitted_exponent_is_the_slope_in_logarithms")),
    Metric(13, "Compactions", {"runs": "compactions_explicit compactions_inferred reductions"}, "marks in the record, else falls of the context",
           ("context:falls_of_the_context_are_told_apart_and_what_was_cut_is_not_re_sent", "context:marks_say_that_a_history_was_cut_down_however_long_it_is")),
    Metric(14, "Input : output", {"profile": "input_output_ratio"}, _PROVIDER, ("measures:input_to_output_is_of_the_calls_that_report_both",)),
    Metric(15, "Reasoning share", {"profile": "reasoning_share reasoning_unreported_share"}, _PROVIDER,
           ("measures:reasoning_share_is_of_what_reports_it_and_the_rest_stands_apart",)),
    Metric(16, "Fan-out, concurrency, depth, sub-agents", {"profile": "depth", "kind": "fan_out_mean fan_out_max concurrency_mean concurrency_max depth_max sub_agent_token_share"},
           f"{_RECORD}; {_CLOCK}", ("shape:a_planner_with_two_readers_one_of_whom_asks_a_checker", "timing:calls_and_tools_at_once_count_each_instant_once")),
    Metric(17, "Multi-agent overhead", {"kind": "multi_agent_overhead", "inflation": "inflation_billed"}, _RECORD,
           ("shape:a_planner_with_two_readers_one_of_whom_asks_a_checker", "inflation:factors_are_ratios_of_means_and_not_means_of_ratios"),
           note="What the other agents add to the outermost. Against the same work done by one agent: record that as a kind of its own and give it to `--baseline`."),
    Metric(18, "Tool calls and their errors", {"kind": "tool_calls_per_call tool_calls_per_request tool_calls_per_task tool_error_rate", "tools": "error_rate"},
           _RECORD, ("tools:each_tool_is_counted_with_its_failures_sizes_and_times", "structure_tasks:a_kind_has_ratios_of_sums_and_never_means_of_ratios")),
    Metric(19, "Observation share", {"profile": "observation_share"}, _SPLIT, ("measures:observation_share_and_fixed_overhead_are_of_the_input_that_is_split",)),
    Metric(20, "Fixed overhead", {"profile": "fixed_overhead_share system_tokens tool_definition_tokens"}, _SPLIT,
           ("measures:observation_share_and_fixed_overhead_are_of_the_input_that_is_split",)),
    Metric(21, "Retry waste", {"kind": "failed_token_share retry_time_share repeated_token_share retries failed_tokens repeated_tokens"}, f"{_RECORD}; {_CLOCK}",
           ("waste:retries_failed_and_repeated_calls_are_kept_apart",)),
    Metric(22, "Tokens and cost per success", {"success": "tokens_per_success cost_per_success failure_over_success"}, "outcomes that the user or a scope gives",
           ("success:failures_are_paid_for_by_successes", "success:cost_is_over_the_tasks_that_have_one")),
    Metric(23, "Area under success against budget", {"success": "success_area", "curve": "success_share"}, "outcomes that the user or a scope gives",
           ("success:the_area_is_that_under_the_curve", "success:the_curve_rises_at_each_success_up_to_the_largest_task")),
    Metric(24, "Run-to-run spread", {"spread": "max_over_min tokens_cv p90_over_p50"}, _PROVIDER, ("spread:of_five_tasks_one_of_which_reports_nothing",),
           note="Between the tasks of a kind: between runs of one request where a kind is one request."),
    Metric(25, "Latency split and critical path", {"kind": "generation_share tool_time_share human_wait_share rest_share unknown_share critical_path_s_p50 parallelism"}, _CLOCK,
           ("timing:an_answer_a_tool_an_answer_and_a_user_are_told_apart", "shape:four_sub_agents_at_once_are_one_link_of_the_chain")),
    Metric(26, "Cost split", {"costs": "cost_mean cached_cost_share fresh_cost_share output_cost_share cache_saving_share"}, "the user's own prices",
           ("costs:a_task_is_split_by_cached_prefix_fresh_input_and_output",)),
    Metric(27, "GPU-seconds and energy per task", {}, "", missing="Needs a model of a device's time and power by input, cache and output; none is in yet."),
    Metric(28, "Predictability", {"predictability": "explained_share log_sd typical_factor"}, "analysis of variance of log(tokens), the kind as the factor",
           ("predictability:two_kinds_of_two_tasks_worked_by_hand",)),
    Metric(29, "Fleet rates", {"forecast": " ".join(RESOURCES)}, f"{_FORECAST}, section 1", ("forecast:littles_law_holds_to_rounding", "forecast:tokens_per_second_are_the_rate_times_tokens_per_task")),
    Metric(30, "Coverage", {"profile": "reported_share partial_share unreported_share", "inflation": "calls_reported calls_partial calls_unreported"}, _PROVIDER,
           ("measures:coverage_says_how_many_calls_a_number_rests_on",), note="Each measure of the profile has `<measure>_coverage` besides: the share of calls that it can speak of."),
)  # fmt: skip
"""The thirty metrics in order."""

_HEAD = """# Metrics

What an inference profile says, where each number stands, and the test that works it by hand. A ratio is a ratio of sums
over tasks, never a mean of ratios; what nobody reports is missing, never 0. In `profile` a measure has the columns
`<measure>_mean`, `_p10`, `_p50`, `_p90`, `_p99`, `_coverage`, and where adding up makes sense `_sum`; with intervals the
columns `_low` and `_high` beside a ratio, its 90 % interval (`statistics.ratios`), which holds less often where
`effective_tasks` is below 3: few tasks then have most of the tokens. Of one task, agent run, step or call (`measured`, `tokenflation profile DB --per run
--json`) a measure is one column by its own name, beside the `calls_with_...` that it rests on. Functions are in `tokenflation.analysis`, tests in `tests/analysis`.

Made by `python -m tokenflation.analysis.metrics > docs/metrics.md` out of the tables of columns; a test keeps both in step.
"""


def metrics_page() -> str:
    """Return the page as Markdown: of each metric its columns with unit, definition and place, source and tests."""
    return "\n".join([_HEAD, *(line for metric in METRICS for line in _lines(metric))])


def _lines(metric: Metric) -> Iterator[str]:
    yield f"## {metric.number}. {metric.name}\n"
    if metric.columns:
        yield "| column | unit | definition | of each | function | command |"
        yield "|---|---|---|---|---|---|"
        for key, names in metric.columns.items():
            place = PLACES[key]
            command = f"`{place.command}`" if place.command else "none"
            for name in names.split():
                unit, meaning = place.columns[name]
                yield f"| `{name}` | {unit} | {meaning.replace('|', chr(92) + '|')} | {place.per} | `{place.function}` | {command} |"
        yield ""
    if metric.note:
        yield f"{metric.note}\n"
    if metric.source:
        yield f"Source: {metric.source}.\n"
    if metric.tests:
        listed = (one.split(":") for one in metric.tests)
        yield f"Worked by hand: {', '.join(f'`test_{file}.py::test_{name}`' for file, name in listed)}.\n"
    if metric.missing:
        yield f"Not there yet: {metric.missing}\n"


if __name__ == "__main__":
    sys.stdout.write(metrics_page())
