"""The section on inflation: the factors against each baseline, what they are made of, and what the numbers rest on."""

import pandas as pd

from tokenflation.exporters.report.figures.inflation import drivers_figure, inflation_figure
from tokenflation.exporters.report.markup import REST, Section, chart, details, note, notes, table
from tokenflation.exporters.report.numbers import NOT_REPORTED, exact, share, times, with_unit
from tokenflation.sdk.words import many

__all__ = ["inflation_section"]

_SOURCES = {
    "provider": "as the provider reports",
    "blocks": "shared prefix blocks",
    "none": "not known: computed counts all input",
}
_MAX_KINDS = 8
"""Kinds that are drawn; tables hold four times as many."""
_TITLE = "Inflation against the baseline"


def inflation_section(factors: pd.DataFrame | None, missing: str) -> Section:
    """Return the inflation of each kind against each baseline; `missing` says in a sentence why there is none.

    `factors` is the frame of `tokenflation.analysis.comparison.inflation`, or None.
    """
    lede = "How many times the tokens of a direct answer, one call without an agent, a task of each kind takes."
    if factors is None or factors.empty:
        return Section(key="inflation", title=_TITLE, lede=lede, body=[note(missing, "empty")])
    body: list[str] = []
    names: list[str] = []
    for place, (name, rows) in enumerate(factors.groupby("baseline", sort=False)):
        intrinsic = rows["baseline_source"].iloc[0] == "intrinsic"
        names.append(f"{name} of the same task (intrinsic, not measured)" if intrinsic else str(name))
        body += _against(str(name), rows, intrinsic, f"-{place + 1}" if place else "")
    plural = "s here are" if len(names) > 1 else " here is"
    said = f"{lede} The baseline{plural} {' and '.join(names)}, at 1×. Factors are ratios of means over tasks."
    return Section(key="inflation", title=_TITLE, lede=said, body=[*body, _coverage(factors)])


def _against(baseline: str, rows: pd.DataFrame, intrinsic: bool, suffix: str) -> list[str]:
    """Return the charts and remarks against one baseline."""
    # Where no task reports output, all that is known is the factor of the input.
    compared = rows["inflation_billed"].fillna(rows["inflation_input"])
    others = rows.assign(compared=compared)[(rows["task"] != baseline) & compared.notna()]
    others = others.sort_values("compared", ascending=False, kind="stable").reset_index(drop=True)
    if others.empty:
        return [note(_only(baseline, intrinsic), "empty")]
    body = _charts(others, baseline, suffix)
    left = len(others) - _MAX_KINDS
    if left > 0:
        tables = f"; the tables hold the first {4 * _MAX_KINDS}" if len(others) > 4 * _MAX_KINDS else ""
        body.append(note(f"Not drawn, with smaller factors: {many(left, 'kind')}{tables}."))
    return [*body, notes("How to read it", _remarks(rows, others, intrinsic))]


def _only(baseline: str, intrinsic: bool) -> str:
    if intrinsic:
        return "No task reports usage, so there is nothing to compare."
    return (
        f"No kind but the baseline, {baseline}, reports usage. Record agent tasks of another kind into the same store."
    )


def _charts(others: pd.DataFrame, baseline: str, suffix: str) -> list[str]:
    shown, others = others.head(_MAX_KINDS), others.head(4 * _MAX_KINDS)
    factors = table(
        f"Times the tokens of {baseline}",
        ["task kind", "billed", "interval", "computed", "interval", "input", "output", "calls", "cached input: from"],
        [
            (
                row["task"],
                times(row["inflation_billed"]),
                _interval(row, "billed"),
                times(row["inflation_computed"]),
                _interval(row, "computed"),
                times(row["inflation_input"]),
                times(row["inflation_output"]),
                times(row["inflation_calls"]),
                " + ".join(_SOURCES[name] for name in str(row["cached_source"]).split("+")),
            )
            for row in others.to_dict("records")
        ],
    )
    drivers = table(
        "What the factors are made of; in a row, outer calls × work × sub-agents × re-sent × reasoning × failed = all",
        ["task kind", "outer calls", "work per call", "sub-agents", "re-sent", "reasoning", "failed calls", "all", "× cache"],
        [
            (
                row["task"],
                *(times(row[f"factor_{name}"]) for name in ("calls", "work_per_call", "recursion", "resend")),
                times(row["factor_reasoning"]) if row["calls_reasoning_reported"] else NOT_REPORTED,
                times(row["factor_retry"]),
                times(row["compared"]),
                times(row["factor_cache"]),
            )
            for row in others.to_dict("records")
        ],
    )  # fmt: skip
    what = "Billed and computed" if shown["inflation_billed"].notna().any() else "Input"
    label = f"Bars: {what.lower()} tokens of each task kind as a multiple of {baseline}, with intervals."
    why = "Waterfall on a logarithmic axis: the factors that multiply to the inflation of each task kind, one after the other."
    charts = [chart(f"inflation-factors{suffix}", f"Times {baseline}", label, inflation_figure(shown), factors)]
    figure = drivers_figure(shown)
    # Where every factor is 1 there is nothing to draw, and only the sum of nothing to explain.
    if len(figure.data) > 1:
        charts.append(chart(f"inflation-drivers{suffix}", "What it is made of", why, figure, drivers))
    return [f'<div class="charts">{"".join(charts)}</div>']


def _interval(row: dict[object, object], name: str) -> str:
    low, high = (times(row[f"inflation_{name}_{end}"]) for end in ("low", "high"))
    return "none" if NOT_REPORTED in (low, high) else f"{low} to {high}"


def _remarks(rows: pd.DataFrame, others: pd.DataFrame, intrinsic: bool) -> list[str]:
    first = rows.iloc[0]
    if intrinsic:
        remarks = [
            f"The baseline is intrinsic: {first['baseline']} of the same task, not a measured direct answer.",
            "A direct answer may take less or more. Record the same work answered once to measure it.",
        ]
    else:
        tasks = int(first["baseline_tasks"])
        verb = "task of the baseline reports" if tasks == 1 else "tasks of the baseline report"
        mean = with_unit(first["baseline_tokens_mean"], "tokens")
        remarks = [f"{exact(tasks)} {verb} usage: {mean} ({first['counted'].replace('+', ' + ')}), mean."]
    remarks += [
        "Billed tokens are input + output. Computed tokens leave out input that a prefix cache held.",
        "Outer calls are calls that ended well, outside sub-agents, per task, over the baseline's.",
        "Work is new input and visible output of calls that ended well; re-sent is what an earlier call had sent.",
    ]
    if (others["calls_reasoning_reported"] == 0).any():
        remarks.append("Where no call reports its reasoning, that is part of the visible output.")
    if (others["counted"] == "input").any():
        remarks.append(
            "Where no task reports output, only input is compared, and billed and computed are not reported."
        )
    if others["inflation_input_low"].notna().any():
        remarks.append("Whiskers are 90 % intervals, over whole tasks.")
    if others["inflation_input_low"].isna().any():
        remarks.append("Kinds without an interval have too few tasks on one side: record more of them.")
    silent = int(rows["tasks_without_usage"].sum())
    if silent:
        remarks.append(
            f"{exact(silent)} {'task reports no usage and is' if silent == 1 else 'tasks report no usage and are'} left out."
        )
    return remarks


def _coverage(factors: pd.DataFrame) -> str:
    rows = [
        (
            row["task"],
            f"{exact(row['tasks'] - row['tasks_without_usage'])} of {exact(row['tasks'])}",
            exact(row["calls"]),
            *(share(row[f"calls_{name}"] / row["calls"]) for name in ("reported", "partial", "unreported")),
        )
        for row in factors.drop_duplicates("task")
        .sort_values("calls", ascending=False, kind="stable")
        .to_dict("records")
    ]
    header = ["task kind", "tasks compared", "calls", "usage reported", "in part", "not reported"]
    rest = len(rows) - _MAX_KINDS
    if rest <= 1:
        return table("What it rests on", header, rows)
    caption = "What it rests on, kinds with most calls first"
    rows = rows[: 10 * _MAX_KINDS]
    return table(caption, header, rows[:_MAX_KINDS]) + details(
        f"{many(len(rows) - _MAX_KINDS, 'more kind')}",
        table(f"{caption}, the rest", header, rows[_MAX_KINDS:]),
        kind=REST,
    )
