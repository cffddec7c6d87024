"""Every column of the structure frames, written once with its unit and meaning. Knows nothing of how they are computed."""

from collections.abc import Iterable

from tokenflation.sdk.store.tables import Column

__all__ = [
    "SHAPE_COLUMNS",
    "TIME_COLUMNS",
]


def _named(columns: Iterable[Column]) -> dict[str, Column]:
    return {column.name: column for column in columns}


_TASK = (
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task; unique together with its kind", required=True),
)

TIME_COLUMNS = _named(
    (
        *_TASK,
        Column("duration_ns", "int", "ns; first start to last end; NULL where the last call to start has no known end"),
        Column("generation_ns", "int", "ns; a call is in flight: queue, network and retries included"),
        Column("tool_ns", "int", "ns; no call is in flight, and a tool runs or its result is awaited"),
        Column("human_wait_ns", "int", "ns; none of both, and what ends it is a new message of the user"),
        Column("rest_ns", "int", "ns; none of these: the program's own time"),
        Column("unknown_ns", "int", "ns; after the start of a call whose end is not known, until a later call starts"),
        Column("call_ns", "int", "ns; durations of all calls added up, those in parallel each", required=True),
        Column("calls_without_end", "int", "calls whose end is not known", required=True),
        Column("concurrency_max", "int", "calls in flight at once, at most; of calls with a known end", required=True),
        Column("concurrency_mean", "float", "calls in flight, mean over the duration; call_ns / duration_ns"),
        Column("generation_share", "float", "fraction; generation_ns / duration_ns"),
        Column("tool_time_share", "float", "fraction; tool_ns / duration_ns"),
        Column("human_wait_share", "float", "fraction; human_wait_ns / duration_ns"),
    )
)
"""The columns of one row per task on where its time goes, by name, in order; the five parts add up to the duration."""

SHAPE_COLUMNS = _named(
    (
        *_TASK,
        Column("calls", "int", "calls, failed ones too", required=True),
        Column("calls_with_usage", "int", "calls that report input and output tokens", required=True),
        Column("agent_runs", "int", "agent runs with at least one call", required=True),
        Column("sub_agent_runs", "int", "agent runs inside another one (depth > 0)", required=True),
        Column("unplaced_runs", "int", "sub-agent runs of which nothing says which run started them", required=True),
        Column("depth", "int", "levels; the deepest call", required=True),
        Column("starting_steps", "int", "answers that started at least one sub-agent run", required=True),
        Column("fan_out_max", "int", "agent runs started by one answer, at most", required=True),
        Column("fan_out_mean", "float", "agent runs started by an answer that started any; their number / answers"),
        Column("tokens", "int", "tokens; input and output of all calls that report them; NULL if none does"),
        Column("root_tokens", "int", "tokens; part of them: calls of the outermost agent runs (depth 0)"),
        Column("sub_agent_tokens", "int", "tokens; the other part: calls inside another agent run (depth > 0)"),
        Column("sub_agent_token_share", "float", "fraction; sub_agent_tokens / tokens"),
        Column("root_calls", "int", "calls of the outermost agent runs", required=True),
        Column("multi_agent_overhead", "float", "x; tokens / root_tokens"),
        Column("busy_ns", "int", "ns; durations of all calls and of tool runs without a sub-agent", required=True),
        Column("critical_path_ns", "int", "ns; the longest chain of them that waits for one another", required=True),
        Column("parallelism", "float", "x; busy_ns / critical_path_ns"),
        Column("calls_without_end", "int", "calls whose end is not known; they count as no time", required=True),
    )
)
"""The columns of one row per task on its agent runs and its critical path, by name, in order."""
