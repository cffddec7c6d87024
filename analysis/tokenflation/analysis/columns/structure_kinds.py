"""The columns of structure per task and per task kind, written once. Knows nothing of how they are computed."""

from dataclasses import dataclass
from typing import Literal

from tokenflation.analysis.columns.structure import SHAPE_COLUMNS, TIME_COLUMNS, WASTE_COLUMNS
from tokenflation.sdk.store.tables import Column, by_name

__all__ = ["KIND_COLUMNS", "KIND_RATIOS", "TASK_STRUCTURE_COLUMNS", "KindRatio"]

_OWN = (
    Column(
        "user_requests",
        "int",
        "calls of outermost agent runs that the user alone prompted, without a tool's result; NULL if none of them says who did",
    ),
    Column("steps", "int", "calls of all agent runs, failed ones too", required=True),
    Column("reasoning_steps", "int", "answers that hold reasoning", required=True),
    Column("reasoning_known", "int", "answers of which that is known", required=True),
    Column("tool_steps", "int", "answers that ask for a tool", required=True),
    Column("tool_calls", "int", "client tool calls that the answers ask for", required=True),
    Column("compared_steps", "int", "answers that ask for a tool with known arguments", required=True),
    Column("arguments_known", "int", "of them, whose arguments' hash is known", required=True),
    Column(
        "repeated_tool_calls",
        "int",
        "of them, asked for before in the same agent run with the same arguments",
        required=True,
    ),
    Column("reflections", "int", "steps that repeat a tool call of an earlier step", required=True),
    Column("loops", "int", "stretches in which a round of steps stands three times or more", required=True),
    Column("loop_steps", "int", "steps in loops beyond the first round of each", required=True),
    Column(
        "tool_rows", "int", "tool calls that the source names one by one, the provider's own included", required=True
    ),
    Column("server_tool_calls", "int", "of them, run by the provider itself", required=True),
    Column("executed_tool_calls", "int", "of the others, a result was sent back", required=True),
    Column("unanswered_tool_calls", "int", "of the others, no result was seen", required=True),
    Column("failed_tool_calls", "int", "the request that brought the result says that the tool failed", required=True),
    Column("tool_failure_known", "int", "of which that request could say so", required=True),
    Column("tool_result_bytes", "int", "bytes of the results, where known"),
    Column("tool_result_tokens", "int", "tokens of the results, in proportion to bytes"),
)

TASK_STRUCTURE_COLUMNS: dict[str, Column] = SHAPE_COLUMNS | TIME_COLUMNS | WASTE_COLUMNS | by_name(*_OWN)
"""The columns of one row per task on all of its structure, by name, in order."""


@dataclass(frozen=True, slots=True)
class KindRatio:
    """A ratio of sums over the tasks of a kind; its columns are `<name>`, `<name>_low` and `<name>_high`."""

    name: str
    unit: Literal["x", "fraction", "count"]
    numerators: tuple[str, ...]
    """Task columns that are added up above the line."""
    denominator: str
    """Task column below it; empty: the tasks."""
    meaning: str


KIND_RATIOS: tuple[KindRatio, ...] = (
    KindRatio(
        "fan_out_mean", "count", ("placed_runs",), "starting_steps", "agent runs started by an answer that starts any"
    ),
    KindRatio(
        "sub_agent_token_share", "fraction", ("sub_agent_tokens",), "tokens", "tokens inside sub-agents / all tokens"
    ),
    KindRatio(
        "multi_agent_overhead", "x", ("tokens",), "root_tokens", "all tokens / those of the outermost agent runs"
    ),
    KindRatio("recursion_factor", "x", ("calls",), "root_calls", "all calls / those of the outermost agent runs"),
    KindRatio("concurrency_mean", "count", ("call_ns",), "duration_ns", "calls in flight, mean over the tasks' time"),
    KindRatio("parallelism", "x", ("busy_ns",), "critical_path_ns", "busy time of calls and tools / critical path"),
    KindRatio("generation_share", "fraction", ("generation_ns",), "duration_ns", "time in which a call is in flight"),
    KindRatio("tool_time_share", "fraction", ("tool_ns",), "duration_ns", "time in which only tools run"),
    KindRatio("human_wait_share", "fraction", ("human_wait_ns",), "duration_ns", "time that the user takes"),
    KindRatio("rest_share", "fraction", ("rest_ns",), "duration_ns", "time that the program takes"),
    KindRatio(
        "unknown_share", "fraction", ("unknown_ns",), "duration_ns", "time in which a call of unknown end may run"
    ),
    KindRatio("tool_calls_per_call", "count", ("tool_calls",), "calls", "client tool calls asked for / calls"),
    KindRatio("tool_calls_per_request", "count", ("tool_calls",), "user_requests", "the same / requests of the user"),
    KindRatio("tool_calls_per_task", "count", ("tool_calls",), "", "the same / tasks"),
    KindRatio(
        "tool_error_rate", "fraction", ("failed_tool_calls",), "tool_failure_known", "failed / those that could say so"
    ),
    KindRatio(
        "repeated_tool_share",
        "fraction",
        ("repeated_tool_calls",),
        "arguments_known",
        "repeated / those of known arguments",
    ),
    KindRatio(
        "reflection_share",
        "fraction",
        ("reflections",),
        "compared_steps",
        "steps that repeat a tool call / steps with tools of known arguments",
    ),
    KindRatio(
        "reasoning_step_share",
        "fraction",
        ("reasoning_steps",),
        "reasoning_known",
        "steps with reasoning / those known",
    ),
    KindRatio(
        "failed_token_share", "fraction", ("failed_tokens",), "tokens", "tokens of failed calls / all; a lower bound"
    ),
    KindRatio(
        "retry_time_share",
        "fraction",
        ("retry_ns", "failed_ns"),
        "call_ns",
        "time of retries and failed calls / of all calls",
    ),
    KindRatio(
        "repeated_token_share",
        "fraction",
        ("repeated_tokens",),
        "tokens",
        "tokens of requests that were answered before / all",
    ),
)
"""The ratios of a task kind, in order."""

_KIND = (
    Column("task", "text", "kind of the task", required=True),
    Column("tasks", "int", "tasks of the kind", required=True),
    Column("calls", "int", "their calls, failed ones too", required=True),
    Column("calls_with_usage", "int", "of them, those that report input and output tokens", required=True),
    Column("calls_with_input", "int", "of them, those that report input tokens", required=True),
    Column("calls_with_output", "int", "of them, those that report output tokens", required=True),
    Column("tasks_with_tokens", "int", "tasks of which at least one call reports tokens", required=True),
    Column("tasks_with_duration", "int", "tasks whose end is known", required=True),
    Column("calls_without_end", "int", "calls whose end is not known; they count as no time", required=True),
    Column("agent_runs", "int", "agent runs with at least one call", required=True),
    Column("sub_agent_runs", "int", "of them, those inside another one", required=True),
    Column("unplaced_runs", "int", "of them, those of which nothing says which run started them", required=True),
    Column("depth_max", "int", "levels; the deepest call", required=True),
    Column("fan_out_max", "int", "agent runs started by one answer, at most", required=True),
    Column("concurrency_max", "int", "calls in flight at once in one task, at most", required=True),
    Column("tokens", "int", "tokens; input and output of all calls that report them; NULL if none does"),
    Column("duration_s", "float", "s; of all tasks whose end is known, added up"),
    *(
        Column(f"{part}_s", "float", f"s; part of duration_s: see `{part}_ns` of a task")
        for part in ("generation", "tool", "human_wait", "rest", "unknown")
    ),
    Column("critical_path_s_p50", "float", "s; median over tasks whose end is known"),
    Column("critical_path_s_p90", "float", "s; of 90 % of those tasks it is no longer"),
    *(
        Column(name, "int", TASK_STRUCTURE_COLUMNS[name].meaning, required=True)
        for name in (
            "tool_calls",
            "tool_rows",
            "server_tool_calls",
            "executed_tool_calls",
            "unanswered_tool_calls",
            "repeated_tool_calls",
            "failed_tool_calls",
            "tool_failure_known",
            "arguments_known",
            "reasoning_steps",
            "reasoning_known",
            "tool_steps",
            "compared_steps",
            "reflections",
            "loops",
            "loop_steps",
        )
    ),
    Column("tasks_with_loops", "int", "tasks with at least one loop", required=True),
    *(
        Column(name, "int", TASK_STRUCTURE_COLUMNS[name].meaning)
        for name in ("user_requests", "tool_result_bytes", "tool_result_tokens", "repeated_tokens")
    ),
    *(
        Column(name, "int", TASK_STRUCTURE_COLUMNS[name].meaning, required=True)
        for name in (
            "retries",
            "failed_calls",
            "failed_with_usage",
            "repeated_calls",
            "requests_known",
        )
    ),
    Column("failed_tokens", "int", "tokens that failed calls report; NULL where calls failed and none reports"),
    Column("retry_s", "float", "s; retries of calls that came to an answer, and failed calls, as far as known"),
)


def _ratio_columns(ratio: KindRatio) -> tuple[Column, ...]:
    ends = {"low": "lower end of its interval", "high": "upper end of its interval"}
    below = ratio.denominator or "tasks"
    of = f"{' + '.join(ratio.numerators)} / {below}, over the tasks that report both"
    return (
        Column(ratio.name, "float", f"{ratio.unit}; {ratio.meaning}: {of}"),
        *(Column(f"{ratio.name}_{end}", "float", f"{ratio.unit}; {text}") for end, text in ends.items()),
    )


KIND_COLUMNS: dict[str, Column] = by_name(*_KIND, *(one for ratio in KIND_RATIOS for one in _ratio_columns(ratio)))
"""The columns of one row per task kind on its structure, by name, in order."""
