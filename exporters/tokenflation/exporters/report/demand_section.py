"""The section on demand: what a fleet of these tasks asks for by hour, under which assumptions."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from tokenflation.exporters.report.demand_figures import demand_figure
from tokenflation.exporters.report.markup import Section, chart, note, notes, table
from tokenflation.exporters.report.numbers import NOT_REPORTED, count

__all__ = ["demand_section", "wide"]

_RESOURCES = (
    ("prefill_tokens_per_s", "Prefill", "Input that must be computed"),
    ("decode_tokens_per_s", "Decode", "Output that is generated"),
    ("concurrent_calls", "Concurrent calls", "Calls in flight at an instant"),
)
_STATISTICS = ("mean", "mean_low", "mean_high", "p50", "p95", "p99")
_SECONDS_PER_HOUR = 3600


def wide(demand: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Return one row per bucket: `hour` (from the start of the plan) and one column per statistic of the resource."""
    rows = demand[demand["resource"] == resource]
    table = rows.pivot_table(index="bucket_start", columns="statistic", values="value", sort=True)
    table = table.reindex(columns=[name for name in _STATISTICS if name in table.columns])
    return table.assign(hour=_hours(table.index)).reset_index(drop=True)


def _hours(starts: "pd.Index[Any]") -> "list[float]":
    if pd.api.types.is_datetime64_any_dtype(starts):
        return [(start - starts[0]) / pd.Timedelta(hours=1) for start in starts]
    return [float(start) / _SECONDS_PER_HOUR for start in starts]


def demand_section(
    demand: pd.DataFrame | None, missing: str, assumptions: Sequence[str] = (), warnings: Sequence[str] = ()
) -> Section:
    """Return the demand by hour with bands; `missing` says in a sentence why there is none.

    `demand` is the long table of `tokenflation.analysis.forecast`, or None.
    """
    lede = "What a fleet of these tasks asks of its models at each hour of a day."
    title = "Demand by hour"
    if demand is None or demand.empty:
        return Section(key="demand", title=title, lede=lede, body=[note(missing, "empty")])
    charts = [_chart(demand, *resource) for resource in _RESOURCES]
    body = [
        notes("Mind", warnings, "warning"),
        f'<div class="charts">{"".join(charts)}</div>',
        notes("Assumptions", assumptions),
    ]
    return Section(
        key="demand",
        title=title,
        lede=f"{lede} Bands are of the load at one instant of the hour, not of the day's peak; the interval of the mean "
        "says how far so few recorded tasks can be off.",
        body=body,
    )


def _chart(demand: pd.DataFrame, resource: str, title: str, what: str) -> str:
    rows = demand[demand["resource"] == resource]
    if rows.empty or rows["value"].notna().sum() == 0:
        return f"<div><h3>{title}</h3>{note(f'{what}: {NOT_REPORTED}. The recorded calls lack what it needs.', 'empty')}</div>"
    unit = str(rows["unit"].iloc[0])
    frame = wide(demand, resource)
    hourly = frame[(frame["hour"] % 1).abs() < 1e-9]
    statistics = [name for name in _STATISTICS if name in frame.columns]
    data = table(
        f"{title}, {unit}, at the start of each hour",
        ["hour", *(name.replace("_", " ") for name in statistics)],
        [(count(row["hour"]), *(count(row[name]) for name in statistics)) for row in hourly.to_dict("records")],
    )
    label = f"{what}, in {unit}, by hour: the mean with its interval, and bands from p50 to p95 and p95 to p99."
    return chart(f"demand-{resource.replace('_', '-')}", title, label, demand_figure(frame, title.lower(), unit), data)
