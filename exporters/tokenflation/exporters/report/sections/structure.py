"""The sections on structure: agents, time and tools of each task kind, and contexts in numbers. Frames in, HTML out."""

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from tokenflation.exporters.report.markup import Section, chart, note, notes, table
from tokenflation.exporters.report.names import listed
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, exact, seconds, share, times
from tokenflation.exporters.report.theme import PALETTE, base_figure, end_labels, name_rows, plain
from tokenflation.sdk.words import many

__all__ = ["context_table", "structure_section", "time_figure"]

_MAX_KINDS = 16
_MAX_TOOLS = 20
_NONE = "none"
_UNITS = ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds"), (0.001, "milliseconds"))
_TIMES = (
    ("generation_s", "model calls", "blue"),
    ("tool_s", "tools", "green"),
    ("human_wait_s", "the user", "grey"),
    ("rest_s", "the program", "orange"),
    ("unknown_s", "not known", "sky"),
)


def structure_section(kinds: pd.DataFrame | None, tools: pd.DataFrame | None) -> Section:
    """Return agents, time, repetitions and tools per kind, of `structure.summary` and `tools.tools`."""
    lede = (
        "How tasks are made up: agent runs that start agent runs, what waits for what, what was asked for again. Ratios are "
        "ratios of sums over tasks; in brackets, 90 % intervals over whole tasks."
    )
    title = "Structure: agents, time and tools"
    if kinds is None or kinds.empty:
        return Section(key="structure", title=title, lede=lede, body=[note("There are no tasks.", "empty")])
    heavy = kinds.sort_values("calls", ascending=False, kind="stable").head(_MAX_KINDS)
    body = [notes("Mind", _alarms(heavy), "warning"), *_times(heavy), _agents(heavy), _repeats(heavy)]
    if len(kinds) > len(heavy):
        left = many(len(kinds) - len(heavy), "kind")
        body.append(note(f"Left out here, with fewer calls: {left}; `tokenflation structure DB` has them all."))
    if heavy["tasks_with_outcome"].sum():
        body.append(_success(heavy))
    if tools is not None and len(tools):
        body.append(_tools(tools))
    return Section(key="structure", title=title, lede=lede, body=body)


def _alarms(kinds: pd.DataFrame) -> list[str]:
    return [f"{row['task']}: {row['alarm']}" for row in kinds.to_dict("records") if pd.notna(row["alarm"])]


def time_figure(kinds: pd.DataFrame) -> Any:
    """Return stacked bars: where the time of a task of each kind goes, mean over the tasks whose end is known."""
    names = kinds["task"].tolist()
    tasks = kinds["tasks_with_duration"].astype("float64")
    totals = kinds["duration_s"].astype("float64") / tasks
    unit_s, unit = next((one for one in _UNITS if totals.max() >= one[0]), _UNITS[-1])
    figure = base_figure(86 + 38 * len(kinds), x=f"{unit} per task, mean", y="", barmode="stack", bargap=0.36)
    for column, label, colour in _TIMES:
        each = kinds[column].astype("float64").fillna(0) / tasks
        if not each.sum() > 0:
            continue
        figure.add_trace(
            go.Bar(
                orientation="h",
                name=label,
                x=(each / unit_s).tolist(),
                y=list(range(len(names))),
                marker={"color": PALETTE[colour].light},
                hovertemplate="%{customdata}<extra></extra>",
                customdata=[
                    f"{plain(name)}<br>{label}: {seconds(one)} per task, {share(part)}"
                    for name, one, part in zip(names, each, each / totals, strict=True)
                ],
            )
        )
    ends = (totals / unit_s).tolist()
    end_labels(figure, ends, list(range(len(names))), [seconds(one) for one in totals])
    name_rows(figure, names)
    return figure


def _times(kinds: pd.DataFrame) -> list[str]:
    timed = kinds[(kinds["tasks_with_duration"] > 0) & (kinds["duration_s"] > 0)].reset_index(drop=True)
    if timed.empty:
        return [note(f"Durations of tasks: {NOT_REPORTED}.", "empty")]
    data = table(
        "Where the time of a task goes",
        ["task kind", "model calls", "tools", "the user", "parallelism", "critical path p50", "p90", "tasks"],
        [
            (
                row["task"],
                *(share(row[name]) for name in ("generation_share", "tool_time_share", "human_wait_share")),
                times(row["parallelism"]),
                seconds(row["critical_path_s_p50"]),
                seconds(row["critical_path_s_p90"]),
                exact(row["tasks_with_duration"]),
            )
            for row in timed.to_dict("records")
        ],
    )
    label = "Stacked bars: mean seconds of a task of each kind in model calls, tools, with the user and in the program."
    remark = "The data of this chart have the critical path too: the longest chain of calls and tool runs that wait for one another."
    drawn = chart("structure-time", "Time per task", label, time_figure(timed), data, remark)
    silent = kinds.loc[~kinds["task"].isin(timed["task"]), "task"].tolist()
    left = [note(f"Without a bar, since no task of theirs has a duration: {listed(silent)}.")] if silent else []
    return [f'<div class="charts">{drawn}</div>', *left]


def _agents(kinds: pd.DataFrame) -> str:
    return table(
        "Agents",
        [
            "task kind",
            "tasks",
            "agent runs",
            "depth",
            "fan-out, mean",
            "most",
            "sub-agents' tokens",
            "overhead",
            "branching",
        ],
        [
            (
                row["task"],
                exact(row["tasks"]),
                exact(row["agent_runs"]),
                exact(row["depth_max"]),
                count(row["fan_out_mean"]) if row["fan_out_max"] else _NONE,
                exact(row["fan_out_max"]),
                share(row["sub_agent_token_share"]),
                times(row["multi_agent_overhead"]),
                f"{count(row['branching_factor'])}{_bracket(row, 'branching_factor')}",
            )
            for row in kinds.to_dict("records")
        ],
    )


def _bracket(row: dict[Any, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return "" if pd.isna(low) or pd.isna(high) else f" ({count(low)} to {count(high)})"


def _repeats(kinds: pd.DataFrame) -> str:
    return table(
        "Repetitions and failures",
        [
            "task kind",
            "tool calls per task",
            "tool errors",
            "repeated tool calls",
            "loops",
            "retries",
            "failed calls",
            "failed calls' tokens",
        ],
        [
            (
                row["task"],
                count(row["tool_calls_per_task"]),
                _rate(row["tool_error_rate"], row["tool_failure_known"]) if row["tool_calls"] else _NONE,
                _rate(row["repeated_tool_share"], row["arguments_known"]) if row["tool_calls"] else _NONE,
                exact(row["loops"]) if row["compared_steps"] else NOT_REPORTED if row["tool_calls"] else "0",
                exact(row["retries"]),
                exact(row["failed_calls"]),
                exact(row["failed_tokens"]),
            )
            for row in kinds.to_dict("records")
        ],
    )


def _rate(value: Any, known: Any) -> str:
    return f"{share(value)} of {exact(known)}" if known else NOT_REPORTED


def _success(kinds: pd.DataFrame) -> str:
    return table(
        "Success, where an outcome was recorded",
        ["task kind", "tasks", "with outcome", "successes", "rate", "tokens per success", "failure / success"],
        [
            (
                row["task"],
                *(exact(row[name]) for name in ("tasks", "tasks_with_outcome", "successes")),
                share(row["success_rate"]),
                f"{count(row['tokens_per_success'])}{_bracket(row, 'tokens_per_success')}"
                if row["successes"]
                else "no success",
                times(row["failure_over_success"])
                if pd.notna(row["failure_over_success"]) or 0 < row["successes"] < row["tasks_with_outcome"]
                else _NONE,
            )
            for row in kinds.to_dict("records")
            if row["tasks_with_outcome"]
        ],
    )


def _tools(tools: pd.DataFrame) -> str:
    shown = tools.sort_values("requested", ascending=False, kind="stable").head(_MAX_TOOLS)
    left = len(tools) - len(shown)
    caption = f"Tools{f', the {_MAX_TOOLS} asked for most of {len(tools)}' if left else ''}"
    several = tools["task"].nunique() > 1
    return table(
        caption,
        ["tool", *(["task kind"] if several else []), "asked for", "errors", "repeated", "time p50", "p90", "result tokens",
         "of all input"],
        [
            (
                row["tool"],
                *([row["task"]] if several else []),
                exact(row["requested"]),
                _rate(row["error_rate"], row["failure_known"]),
                f"{exact(row['repeated'])} of {exact(row['arguments_known'])}" if row["arguments_known"] else NOT_REPORTED,
                seconds(row["tool_s_p50"]),
                seconds(row["tool_s_p90"]),
                f"{exact(row['result_tokens'])} in {many(row['results_known'], 'result')}" if row["results_known"] else NOT_REPORTED,
                share(row["carried_input_share"]),
            )
            for row in shown.to_dict("records")
        ],
    )  # fmt: skip


def context_table(kinds: pd.DataFrame | None) -> list[str]:
    """Return how contexts grow in numbers, one row per kind and agent, of `growth.context_kinds`."""
    if kinds is None or kinds.empty:
        return []
    shown = kinds.sort_values("input_tokens", ascending=False, kind="stable").head(_MAX_KINDS)
    found = table(
        "Contexts in numbers",
        [
            "task kind / agent", "runs", "input / peak context", "sent again", "growth exponent", "cut down",
            "near the window", "calls",
        ],
        [
            (
                f"{row['task']} / {row['agent']}",
                exact(row["runs"]),
                f"{times(row['input_over_peak_context'])}{_bracket(row, 'input_over_peak_context')}",
                share(row["redundant_input_ratio"]),
                f"{count(row['growth_exponent'])}{_bracket(row, 'growth_exponent')}"
                if pd.notna(row["growth_exponent"])
                else "not known",
                f"{exact(row['compactions_explicit'])} + {exact(row['compactions_inferred'])}",
                f"{exact(row['calls_near_window'])} of {exact(row['calls_with_window'])}"
                if row["calls_with_window"]
                else "not known",
                f"{exact(row['calls'])} of {exact(row['steps'])}",
            )
            for row in shown.to_dict("records")
        ],
    )  # fmt: skip
    how = (
        "Input / peak context says how often a context was read. The growth exponent is 1 where input grows with the number "
        "of steps, 2 where it grows with its square; it takes ten runs of lengths that differ fourfold. Cut down: times that the record marks, and times inferred from a fall. Near the window: calls that fill 80 % of it or more."
    )
    left = len(kinds) - len(shown)
    more = (
        [note(f"Left out, with less input: {exact(left)} more; `tokenflation context DB` has them all.")]
        if left
        else []
    )
    return [found, *more, note(how)]
