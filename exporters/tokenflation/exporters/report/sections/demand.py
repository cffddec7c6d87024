"""The section on demand: what a fleet of these tasks asks for by hour, under which assumptions."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tokenflation.analysis.fleet.buckets import by_bucket
from tokenflation.exporters.report.figures.demand import demand_figure
from tokenflation.exporters.report.markup import Section, chart, definitions, note, notes, table
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, exact

__all__ = ["demand_section", "wide"]

_RESOURCES = (
    ("prefill_tokens_per_s", "Prefill", "Input that must be computed", "what the cache holds is left out"),
    ("decode_tokens_per_s", "Decode", "Output that is generated", "reasoning included"),
    ("concurrent_calls", "Calls in flight", "Calls at an instant", "of all models"),
)
_DAY = (
    ("tasks", "Tasks per day"),
    ("calls", "Calls per day"),
    ("input_tokens", "Input tokens per day"),
    ("prefill_tokens", "Of them to compute"),
    ("output_tokens", "Output tokens per day"),
)
_MAX_KINDS = 6
_STATISTICS = ("mean", "mean_low", "mean_high", "p50", "p95", "p99")
_SECONDS_PER_HOUR = 3600


def wide(demand: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Return a row per bucket of a resource: `start_h`, `hour` (its middle, of known load), each statistic."""
    table = by_bucket(demand, resource)
    table = table.reindex(columns=[name for name in _STATISTICS if name in table.columns])
    start = table.index.to_numpy(dtype=float) / _SECONDS_PER_HOUR
    width = start[1] - start[0] if len(start) > 1 else 1.0
    return table.assign(start_h=start, hour=start + width / 2).reset_index(drop=True)


def demand_section(demand: pd.DataFrame | None, missing: str, remarks: Sequence[str] = ()) -> Section:
    """Return the demand by hour with bands; `missing` says in a sentence why there is none.

    `demand` is the long table of `tokenflation.analysis.fleet.forecast`, or None; its manifest gives volumes,
    assumptions and warnings, to which `remarks` add what the caller assumed.
    """
    lede = (
        "What a fleet of these tasks asks of its models at each hour of a day. How many tasks a day, and when, is given and "
        "not recorded; `--plan FILE` takes yours."
    )
    title = "Demand by hour"
    if demand is None or demand.empty:
        return Section(key="demand", title=title, lede=lede, body=[note(missing, "empty")])
    manifest = demand.attrs.get("manifest", {})
    demand = pd.DataFrame(demand)  # without the manifest, which pandas copies, each kind of it, at every step
    charts = [_chart(demand, *resource) for resource in _RESOURCES]
    body = [
        notes("Mind", manifest.get("warnings", []), "warning"),
        definitions(_totals(demand)),
        f'<div class="charts">{"".join(charts)}</div>',
        notes("Assumptions", [*_volumes(manifest), *remarks, *manifest.get("assumptions", [])]),
    ]
    return Section(key="demand", title=title, lede=f"{lede} {_reading(demand, manifest)}", body=body)


def _reading(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> str:
    told = "Bands are of the load at one instant, not of the day's peak."
    if _below_bands(demand):
        told += " The mean is that of the recorded runs; where they are few, bands allow for larger ones too, and may lie above it."
    if "mean_low" not in set(demand["statistic"]):
        return told
    level = f"{100 * manifest.get('level', 0.9):g}\N{NO-BREAK SPACE}%"
    return f"{told} The {level} interval of the mean says how far so few recorded tasks can be off; bands include it."


def _below_bands(demand: pd.DataFrame) -> bool:
    """Return whether the mean of a resource lies below the median of its load nearly all day."""
    for resource, *_ in _RESOURCES:
        frame = wide(demand, resource)
        if {"mean", "p50"} <= set(frame.columns) and (frame["mean"] < 0.98 * frame["p50"]).mean() > 0.9:
            return True
    return False


def _volumes(manifest: Mapping[str, Any]) -> list[str]:
    """Return how many tasks of which kind the plan holds, and on how many recorded ones they rest."""
    kinds = manifest.get("kinds", [])
    if not kinds:
        return []
    named = [
        f"{kind['task']} {count(kind['tasks_per_day'])} ({exact(kind['runs'])} recorded)" for kind in kinds[:_MAX_KINDS]
    ]
    more = f" and {len(kinds) - _MAX_KINDS} more kinds" if len(kinds) > _MAX_KINDS else ""
    return [f"Tasks a day: {', '.join(named)}{more}."]


def _totals(demand: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the day's totals as facts, with their intervals."""
    totals = demand[demand["bucket_start"] < 0].pivot_table(index="resource", columns="statistic", values="value")
    facts = []
    for resource, name in _DAY:
        if resource in totals.index:
            row = totals.loc[resource]
            low, high = count(row.get("mean_low")), count(row.get("mean_high"))
            known = NOT_REPORTED not in (low, high) and low != high
            facts.append((name, count(row["mean"]), f"{low} to {high}" if known else ""))
        elif resource == "output_tokens" and len(totals):
            # Of logs that do not say what was generated nothing is forecast, which is not to say nothing.
            facts.append((name, NOT_REPORTED, ""))
    return facts


def _chart(demand: pd.DataFrame, resource: str, title: str, what: str, more: str) -> str:
    rows = demand[demand["resource"] == resource]
    if rows.empty or rows["value"].notna().sum() == 0:
        return f"<div><h3>{title}</h3>{note(f'{what}: {NOT_REPORTED}. The recorded calls lack what it needs.', 'empty')}</div>"
    unit = str(rows["unit"].iloc[0])
    frame = wide(demand, resource)
    hourly = frame[(frame["start_h"] % 1).abs() < 1e-9]
    statistics = [name for name in _STATISTICS if name in frame.columns]
    data = table(
        f"{title}, {unit}, in the first interval of each hour",
        ["hour", *(name.replace("_", " ") for name in statistics)],
        [(count(row["start_h"]), *(count(row[name]) for name in statistics)) for row in hourly.to_dict("records")],
    )
    label = f"{what}, in {unit}, by hour: the mean with its interval, and bands from p50 to p95 and p95 to p99."
    figure = demand_figure(frame, title.lower(), unit)
    return chart(f"demand-{resource.replace('_', '-')}", title, label, figure, data, f"{what}; {more}.")
