"""Every column of the structure frames, written once with its unit and meaning.

Knows nothing of how they are computed.
"""

from tokenflation.sdk.store.tables import Column, by_name

__all__ = [
    "BRANCHING_COLUMNS",
    "CURVE_COLUMNS",
    "FAILURE_COLUMNS",
    "FLAG_COLUMNS",
    "OUTCOME_COLUMNS",
    "RUN_COLUMNS",
    "SHAPE_COLUMNS",
    "SPREAD_COLUMNS",
    "SUCCESS_COLUMNS",
    "TIME_COLUMNS",
    "TOOL_COLUMNS",
    "TREE_FLAG_COLUMNS",
    "WASTE_COLUMNS",
]


_TASK = (
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task; unique together with its kind", required=True),
)

TIME_COLUMNS = by_name(
    *_TASK,
    Column(
        "duration_ns",
        "int",
        "ns; first start to last known end; NULL where a call of unknown end started no earlier, or not all calls have dates",
    ),
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
"""The columns of one row per task on where its time goes, by name, in order; the five parts add up to the duration."""

SHAPE_COLUMNS = by_name(
    *_TASK,
    Column("calls", "int", "calls, failed ones too", required=True),
    Column("calls_with_usage", "int", "calls that report input and output tokens", required=True),
    Column("calls_with_input", "int", "calls that report input tokens", required=True),
    Column("calls_with_output", "int", "calls that report output tokens", required=True),
    Column("agent_runs", "int", "agent runs with at least one call", required=True),
    Column("sub_agent_runs", "int", "agent runs inside another one (depth > 0)", required=True),
    Column("unplaced_runs", "int", "sub-agent runs of which nothing says which run started them", required=True),
    Column("depth", "int", "levels; the deepest call", required=True),
    Column("placed_runs", "int", "sub-agent runs of which the answer that started them is known", required=True),
    Column("starting_steps", "int", "answers that started at least one sub-agent run", required=True),
    Column("fan_out_max", "int", "agent runs started by one answer, at most", required=True),
    Column("fan_out_mean", "float", "agent runs started by an answer that started any; their number / answers"),
    Column("tokens", "int", "tokens; input and output of all calls that report them; NULL if none does"),
    Column(
        "root_tokens",
        "int",
        "tokens; part of them: calls of the outermost agent runs (depth 0); NULL if none reports",
    ),
    Column(
        "sub_agent_tokens",
        "int",
        "tokens; the other part: calls inside another agent run (depth > 0); NULL if none of them reports",
    ),
    Column("sub_agent_token_share", "float", "fraction; sub_agent_tokens / tokens"),
    Column("root_calls", "int", "calls of the outermost agent runs", required=True),
    Column("multi_agent_overhead", "float", "x; tokens / root_tokens"),
    Column("busy_ns", "int", "ns; durations of all calls and of tool runs without a sub-agent", required=True),
    Column("critical_path_ns", "int", "ns; the longest chain of them that waits for one another", required=True),
    Column("parallelism", "float", "x; busy_ns / critical_path_ns"),
    Column("calls_without_end", "int", "calls whose end is not known; they count as no time", required=True),
)
"""The columns of one row per task on its agent runs and its critical path, by name, in order."""

TOOL_COLUMNS = by_name(
    _TASK[0],
    Column("tool", "text", "name of the tool", required=True),
    Column("tasks", "int", "tasks that asked for it", required=True),
    Column("requested", "int", "times the model asked for it; the provider's own runs of it included", required=True),
    Column("server_side", "int", "of them, run by the provider itself", required=True),
    Column("executed", "int", "of those that are not, a result was sent back at least once", required=True),
    Column("unanswered", "int", "of those that are not, no result was seen", required=True),
    Column("repeated", "int", "asked for before in the same agent run with the same arguments", required=True),
    Column(
        "arguments_known", "int", "of which the arguments' hash is known, so that a repetition shows", required=True
    ),
    Column("failed", "int", "the request that brought the result says that the tool failed", required=True),
    Column("failure_known", "int", "of which that request could say so", required=True),
    Column("error_rate", "float", "fraction; failed / failure_known"),
    Column("sub_agent_runs", "int", "agent runs that it started", required=True),
    Column("arguments_bytes", "int", "bytes of the arguments, where known"),
    Column("result_bytes", "int", "bytes of the results, where known"),
    Column("result_tokens", "int", "tokens of the results, in proportion to bytes"),
    Column("results_known", "int", "results whose tokens are known", required=True),
    Column("carried_tokens", "int", "tokens of the results in all calls that read them, up to the next compaction"),
    Column("carried_input_share", "float", "fraction; carried_tokens / the input tokens of the task kind"),
    Column("tool_s", "float", "s; from request to result, added up; runs at once each"),
    Column("timed", "int", "of which both times are known", required=True),
    Column(
        "timed_by_run", "int", "of them, times of the tool run itself; else from answer to next call", required=True
    ),
    Column("tool_s_p50", "float", "s; median"),
    Column("tool_s_p90", "float", "s; 90 % of them take no longer"),
)
"""The columns of one row per task kind and tool, by name, in order."""

RUN_COLUMNS = by_name(
    *_TASK,
    Column("agent", "text", "name of the agent", required=True),
    Column("agent_run_id", "text", "id of the agent run", required=True),
    Column("depth", "int", "levels; agent runs around it", required=True),
    Column("steps", "int", "calls of the run, failed ones too", required=True),
    Column("failed_steps", "int", "of them, whose status is not ok", required=True),
    Column("retries", "int", "HTTP attempts beyond the first of each call", required=True),
    Column("reasoning_steps", "int", "answers that hold reasoning, by blocks or by tokens", required=True),
    Column("reasoning_known", "int", "answers of which that is known", required=True),
    Column("reasoning_blocks", "int", "separate pieces of reasoning; NULL if no answer says"),
    Column("reasoning_tokens", "int", "tokens; NULL if no answer says"),
    Column("tool_steps", "int", "answers that ask for a tool", required=True),
    Column("tool_calls", "int", "client tool calls that they ask for", required=True),
    Column("arguments_known", "int", "of them, whose arguments' hash is known", required=True),
    Column("compared_steps", "int", "answers that ask for a tool with known arguments", required=True),
    Column(
        "repeated_tool_calls", "int", "of them, asked for before in this run with the same arguments", required=True
    ),
    Column("reflections", "int", "steps that repeat a tool call of an earlier step", required=True),
    Column(
        "loops",
        "int",
        "stretches in which the same step, or few steps in turn, stand three times or more",
        required=True,
    ),
    Column("loop_steps", "int", "steps in loops beyond the first round of each", required=True),
    Column("loop_times", "int", "rounds of the longest loop; 0 without any", required=True),
)
"""The columns of one row per agent run on its reasoning, reflections and loops, by name, in order."""

FLAG_COLUMNS = by_name(
    *_TASK,
    Column("agent_run_id", "text", "id of the agent run", required=True),
    Column("call_id", "text", "the step; of a loop its first one", required=True),
    Column("step", "int", "its place in the agent run, from 0", required=True),
    Column("flag", "text", "reflection or loop", required=True),
    Column("tools", "text", "names of the tools that are asked for again, joined by commas", required=True),
    Column("repeats_step", "int", "of a reflection: the last step before that asked for one of them"),
    Column("period", "int", "of a loop: steps of one round"),
    Column("times", "int", "of a loop: rounds"),
    Column("last_step", "int", "of a loop: its last step"),
)
"""The columns of one row per flagged step, by name, in order."""

BRANCHING_COLUMNS = by_name(
    _TASK[0],
    Column("tasks", "int", "tasks of the kind", required=True),
    Column("agent_runs", "int", "their agent runs", required=True),
    Column("sub_agent_runs", "int", "of them, those inside another one", required=True),
    Column("deepest", "int", "levels; depth of the deepest agent run of the kind", required=True),
    Column("parents", "int", "agent runs above that level: those that could be seen to start others", required=True),
    Column("branching_factor", "float", "sub-agent runs per such agent run; sub_agent_runs / parents"),
    Column("branching_factor_low", "float", "lower end of its interval"),
    Column("branching_factor_high", "float", "upper end of its interval"),
    Column("alarm", "text", "what it means that the upper end, or the factor itself, reaches 1; NULL = it does not"),
)
"""The columns of one row per task kind on how agents start agents, by name, in order."""

WASTE_COLUMNS = by_name(
    *_TASK,
    Column("calls", "int", "calls, failed ones too", required=True),
    Column("tokens", "int", "tokens; input and output of all calls that report them; NULL if none does"),
    Column("retries", "int", "HTTP attempts beyond the first of each call", required=True),
    Column("retry_ns", "int", "ns; from the first to the last attempt of calls that came to an answer, where known"),
    Column(
        "retry_ns_known",
        "int",
        "calls with several attempts that came to an answer, of which that is known",
        required=True,
    ),
    Column("failed_calls", "int", "calls whose status is not ok: error, cut or cancelled", required=True),
    Column("failed_with_usage", "int", "of them, those that report tokens all the same", required=True),
    Column(
        "failed_tokens",
        "int",
        "tokens of those; NULL where calls failed and none reports; others may be billed too",
    ),
    Column("failed_ns", "int", "ns; durations of failed calls, retries and waiting in between included", required=True),
    Column("failed_without_end", "int", "failed calls whose end is not known", required=True),
    Column(
        "repeated_calls",
        "int",
        "calls that ask exactly what an answered call of the task asked before",
        required=True,
    ),
    Column("repeated_tokens", "int", "tokens of those calls, as far as they report them; NULL if no request is known"),
    Column("requests_known", "int", "calls of which it is known what they ask, by hash", required=True),
)
"""The columns of one row per task on what was retried, failed or asked twice, by name, in order."""

OUTCOME_COLUMNS = by_name(
    *_TASK,
    Column("calls", "int", "calls, failed ones too", required=True),
    Column("calls_with_usage", "int", "calls that report input and output tokens", required=True),
    Column("tokens", "int", "tokens; input and output of all calls that report them; NULL if none does"),
    Column("outcome", "int", "1 success, 0 failure, NULL not said"),
    Column("score", "float", "as the user gave it"),
    Column("censored_by", "text", "the limit that cut it short"),
    Column("failed_by", "text", "what says that it failed: outcome, scope, last call; NULL = nothing does"),
    Column("error_type", "text", "class of the failure of the scope or the last call"),
)
"""The columns of one row per task on how it ended, by name, in order."""

FAILURE_COLUMNS = OUTCOME_COLUMNS | by_name(
    Column("share_of_kind", "float", "fraction; its tokens / those of all tasks of its kind")
)
"""The columns of one row per task that failed, by name, in order."""

SUCCESS_COLUMNS = by_name(
    _TASK[0],
    Column("tasks", "int", "tasks of the kind", required=True),
    Column("tasks_with_outcome", "int", "of them, those whose success or failure was said", required=True),
    Column("successes", "int", "of them, successes", required=True),
    Column("success_rate", "float", "fraction; successes / tasks_with_outcome"),
    Column("success_rate_low", "float", "fraction; lower end of its interval"),
    Column("success_rate_high", "float", "fraction; upper end of its interval"),
    Column(
        "counted",
        "int",
        "of tasks_with_outcome, those that report tokens; what follows is over these",
        required=True,
    ),
    Column("tokens_per_success", "float", "tokens; of successes and failures together, / successes"),
    Column("tokens_per_success_low", "float", "tokens; lower end of its interval"),
    Column("tokens_per_success_high", "float", "tokens; upper end of its interval"),
    Column("tokens_of_success", "float", "tokens; mean of a success"),
    Column("tokens_of_failure", "float", "tokens; mean of a failure"),
    Column("failure_over_success", "float", "x; tokens_of_failure / tokens_of_success"),
    Column("failure_over_success_low", "float", "x; lower end of its interval"),
    Column("failure_over_success_high", "float", "x; upper end of its interval"),
    Column("priced", "int", "counted tasks with a cost", required=True),
    Column("cost_per_success", "float", "currency of the prices; cost of priced tasks / their successes"),
    Column("budget_tokens", "int", "tokens; the most that a counted task used"),
    Column("success_area", "float", "fraction; mean over all budgets up to that one of the share solved within it"),
    Column("success_area_low", "float", "fraction; lower end of its interval"),
    Column("success_area_high", "float", "fraction; upper end of its interval"),
)
"""The columns of one row per task kind on what success takes, by name, in order."""

CURVE_COLUMNS = by_name(
    _TASK[0],
    Column("budget_tokens", "int", "tokens that a task may use", required=True),
    Column("counted", "int", "tasks with an outcome and tokens", required=True),
    Column("solved", "int", "of them, successes that used no more than that", required=True),
    Column("success_share", "float", "fraction; solved / counted", required=True),
)
"""The columns of one row per task kind and budget at which the share changes, by name, in order."""

SPREAD_COLUMNS = by_name(
    _TASK[0],
    Column("tasks", "int", "tasks of the kind", required=True),
    Column("counted", "int", "of them, those that report tokens; what follows is over these", required=True),
    Column(
        "partly_reported",
        "int",
        "of them, those with calls that report none: their tokens are a lower bound",
        required=True,
    ),
    Column("tokens_min", "int", "tokens of the smallest"),
    Column("tokens_max", "int", "tokens of the largest"),
    Column("max_over_min", "float", "x; tokens_max / tokens_min"),
    Column("tokens_cv", "float", "x; standard deviation (n - 1) / mean"),
    Column("tokens_p50", "float", "tokens; median"),
    Column("tokens_p90", "float", "tokens; 90 % of the tasks use no more"),
    Column("p90_over_p50", "float", "x; tokens_p90 / tokens_p50"),
)
"""The columns of one row per task kind on how far its tasks differ, by name, in order."""

TREE_FLAG_COLUMNS = by_name(
    Column("repeats_step", "int", "of a step: the last one before it that asked for a tool call which it repeats"),
    Column("loop_times", "int", "of an agent run: rounds of its longest loop; NULL without any"),
)
"""The columns that flags add to one row per node of a task's tree, by name, in order."""
