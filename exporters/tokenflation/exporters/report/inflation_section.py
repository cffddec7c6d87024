"""The section on inflation: the factors against a direct answer, their drivers, and what is missing where there are none."""

import pandas as pd

from tokenflation.exporters.report.inflation_figures import drivers_figure, inflation_figure
from tokenflation.exporters.report.markup import Section, chart, note, notes, table
from tokenflation.exporters.report.numbers import NOT_REPORTED, exact, times, with_unit

__all__ = ["inflation_section"]

_SOURCES = {
    "provider": "as the provider reports",
    "blocks": "shared prefix blocks",
    "none": "not known: computed counts all input",
}


def inflation_section(factors: pd.DataFrame | None, missing: str) -> Section:
    """Return the inflation of each kind against the baseline; `missing` says in a sentence why there is none.

    `factors` is the frame of `tokenflation.analysis.inflation`, or None.
    """
    lede = "How many times the tokens of a direct answer, one call without an agent, a task of each kind takes."
    if factors is None or factors.empty:
        return Section(
            key="inflation", title="Inflation against the baseline", lede=lede, body=[note(missing, "empty")]
        )
    baseline = str(factors["baseline"].iloc[0])
    others = factors[(factors["task"] != baseline) & factors["inflation_billed"].notna()]
    others = others.sort_values("inflation_billed", ascending=False, kind="stable").reset_index(drop=True)
    body = _charts(others, baseline) if len(others) else [note(_only(baseline), "empty")]
    return Section(
        key="inflation",
        title="Inflation against the baseline",
        lede=f"{lede} The baseline here is {baseline}, at 1×. Factors are ratios of means over tasks.",
        body=[*body, notes("How to read it", _remarks(factors, others))],
    )


def _only(baseline: str) -> str:
    return (
        f"No kind but the baseline, {baseline}, reports usage. Record agent tasks of another kind into the same store."
    )


def _charts(others: pd.DataFrame, baseline: str) -> list[str]:
    factors = table(
        f"Times the tokens of {baseline}",
        ["task kind", "billed", "interval", "computed", "interval", "input", "output", "cached input: from"],
        [
            (
                row["task"],
                times(row["inflation_billed"]),
                _interval(row, "billed"),
                times(row["inflation_computed"]),
                _interval(row, "computed"),
                times(row["inflation_input"]),
                times(row["inflation_output"]),
                " + ".join(_SOURCES[name] for name in str(row["cached_source"]).split("+")),
            )
            for row in others.to_dict("records")
        ],
    )
    drivers = table(
        "What the factors are made of; in a row, calls × input per call × calls reporting = input",
        ["task kind", "calls per task", "input per call", "calls reporting input", "input", "output per call"],
        [
            (
                row["task"],
                times(row["driver_calls"]),
                times(row["driver_input_per_call"]),
                times(row["driver_input_reported"]),
                times(row["inflation_input"]),
                times(row["driver_output_per_call"]),
            )
            for row in others.to_dict("records")
        ],
    )
    label = f"Bars: billed and computed tokens of each task kind as a multiple of {baseline}, with intervals."
    why = "Bars on a logarithmic axis: calls per task and input per call, which multiply to the inflation of input."
    return [
        '<div class="charts">',
        chart("inflation-factors", "Billed and computed tokens", label, inflation_figure(others), factors),
        chart("inflation-drivers", "What multiplies the input", why, drivers_figure(others), drivers),
        "</div>",
    ]


def _interval(row: dict[object, object], name: str) -> str:
    low, high = (times(row[f"inflation_{name}_{end}"]) for end in ("low", "high"))
    return "none" if NOT_REPORTED in (low, high) else f"{low} to {high}"


def _remarks(factors: pd.DataFrame, others: pd.DataFrame) -> list[str]:
    base = factors[factors["task"] == factors["baseline"]].iloc[0]
    billed, computed = (with_unit(base[f"{name}_tokens_mean"], "tokens") for name in ("billed", "computed"))
    remarks = [
        f"{exact(base['baseline_tasks'])} tasks of the baseline report usage: {billed} billed, {computed} computed, mean.",
        "Billed tokens are input + output. Computed tokens leave out input that a prefix cache held.",
    ]
    if others["inflation_billed_low"].notna().any():
        remarks.append("Whiskers are 90 % intervals, by resampling whole tasks.")
    if others["inflation_billed_low"].isna().any():
        remarks.append("Kinds without an interval have too few tasks on one side: record more of them.")
    silent = int(factors["tasks_without_usage"].sum())
    if silent:
        remarks.append(f"{exact(silent)} tasks report no usage and are left out.")
    return remarks
