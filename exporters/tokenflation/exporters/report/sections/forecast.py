"""The section of a plan's forecast: its fan, totals, where uncertainty comes from, what to record next."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tokenflation.analysis.fleet.buckets import busiest, by_bucket
from tokenflation.exporters.report.figures.forecast import SPLIT, fan_figure, split_figure, tornado_figure
from tokenflation.exporters.report.markup import Section, chart, details, note, notes, table
from tokenflation.exporters.report.names import shown_name
from tokenflation.exporters.report.numbers import count, seconds, share, with_unit
from tokenflation.sdk.words import many

__all__ = ["forecast_section"]

_FANS = (
    ("prefill_tokens_per_s", "Prefill", "Input that must be computed"),
    ("decode_tokens_per_s", "Decode", "Output that is generated"),
    ("concurrent_calls", "Calls in flight", "Calls at an instant"),
    ("kv_bytes", "KV cache held", "Bytes of the calls in flight"),
    ("flop_per_s", "Arithmetic", "Floating point operations"),
)
_TOTALS = (
    ("tasks", "Tasks"),
    ("calls", "Calls"),
    ("input_tokens", "Input tokens"),
    ("prefill_tokens", "of them to compute"),
    ("output_tokens", "Output tokens"),
    ("flop", "FLOP"),
)
_STATISTICS = ("mean", "mean_low", "mean_high", "p5", "p25", "p75", "p95", "p99")
_TORNADOES = ("prefill_tokens_per_s", "concurrent_calls")
_MAX_BARS = 12
_PER_TASK = {
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "calls": "calls",
    "duration_s": "duration",
}
_HOUR_S, _DAY_S = 3600.0, 86_400.0
_HOURLY_DAYS = 3
"""Longest horizon that is drawn by its buckets; a longer one by the busiest bucket of each day."""


def forecast_section(demand: pd.DataFrame | None, missing: str, remarks: Sequence[str] = (), plan: str = "") -> Section:
    """Return what the fleet of a plan asks for; `missing` says in a sentence why there is none.

    `demand` is the long table of `tokenflation.analysis.fleet.forecast` with `bands`, or None; `plan` is what the plan
    is called, and `remarks` are what the caller assumed beside what its manifest says.
    """
    title = "Forecast of the plan"
    lede = f"What the fleet of `{plan or 'the plan'}` asks of its models."
    if demand is None or demand.empty:
        return Section(key="forecast", title=title, lede=lede, body=[note(missing, "empty")])
    manifest: Mapping[str, Any] = demand.attrs.get("manifest", {})
    demand = pd.DataFrame(demand)  # without the manifest, which pandas copies, each kind of it, at every step
    there = [one for one in _FANS if demand.loc[demand["resource"] == one[0], "value"].notna().any()]
    body = [
        notes("Mind", manifest.get("warnings", []), "warning"),
        _totals(demand, manifest),
        _per_task(manifest),
        f'<div class="charts">{"".join(_fan(demand, manifest, *one) for one in there)}</div>',
        f'<div class="charts">{_split(demand)}{_tornadoes(manifest)}</div>',
        _next(manifest),
        notes("Assumptions", [*_volumes(manifest), *remarks, *manifest.get("assumptions", [])]),
    ]
    return Section(key="forecast", title=title, lede=f"{lede} {_reading(demand)}", body=body)


def _reading(demand: pd.DataFrame) -> str:
    told = (
        "Bands are of the load at one instant, and hold what few recorded runs and unsure numbers of the plan leave open. The "
        "peak of a day is another thing: the highest of its 1,440 minutes, drawn apart."
    )
    few = " There are too few runs of some kind for an interval of the mean." * (
        "mean_low" not in set(demand["statistic"])
    )
    calls = demand[(demand["resource"] == "concurrent_calls") & (demand["statistic"] == "p75")]["value"]
    idle = " Most instants have no call in flight: bands lie near 0, and peaks are those of single calls." * bool(
        len(calls) and calls.max() < 1
    )
    return f"{told}{few}{idle}"


def _volumes(manifest: Mapping[str, Any]) -> list[str]:
    kinds = manifest.get("kinds", [])
    if not kinds:
        return []
    named = ", ".join(f"{shown_name(kind['task'])} {count(kind['tasks_per_day'])} ({many(kind['runs'], 'run')} recorded)"
                      for kind in kinds)  # fmt: skip
    return [f"Tasks a day, as planned: {named}."]


def _wide(demand: pd.DataFrame, resource: str) -> pd.DataFrame:
    """Return one row per bucket: `start_s`, `at_s` (its middle, where the load is known), and each statistic."""
    found = by_bucket(demand, resource)
    found = found.reindex(
        columns=[name for name in (*_STATISTICS, *(one for one, _, _ in SPLIT)) if name in found.columns]
    )
    start = found.index.to_numpy(dtype=float)
    width = start[1] - start[0] if len(start) > 1 else _HOUR_S
    return found.assign(start_s=start, at_s=start + width / 2).reset_index(drop=True)


def _inside(title: str) -> str:
    """Return a title as it stands within a sentence."""
    return title if title[:2].isupper() else title[0].lower() + title[1:]


def _by_day(wide: pd.DataFrame) -> pd.DataFrame:
    """Return the busiest bucket of each day."""
    day = (wide["start_s"] // _DAY_S).astype(int)
    return wide.loc[wide.groupby(day)["mean"].idxmax()].reset_index(drop=True)


def _fan(demand: pd.DataFrame, manifest: Mapping[str, Any], resource: str, title: str, what: str) -> str:
    wide = _wide(demand, resource)
    days = manifest.get("days", 1) > _HOURLY_DAYS
    shown = _by_day(wide) if days else wide
    unit_s = _DAY_S if days else _HOUR_S
    shown = shown.assign(at=shown["start_s"] // _DAY_S + 1 if days else shown["at_s"] / _HOUR_S)
    unit = str(demand.loc[demand["resource"] == resource, "unit"].iloc[0])
    peaks = demand[(demand["resource"] == resource) & (demand["statistic"] == "day_peak_p95")]["value"]
    peak = None
    if len(peaks):
        first_s = busiest(wide)["start_s"] // _DAY_S * _DAY_S
        of_day = (
            (first_s / unit_s + 0.5, first_s / unit_s + 1.5)
            if days
            else (first_s / unit_s, (first_s + _DAY_S) / unit_s)
        )
        peak = (*of_day, float(peaks.iloc[0]))
    figure = fan_figure(shown, _inside(title), unit, peak, days=days)
    every = "the busiest hour of each day" if days else "each hour"
    peak_said = f" The peak of the busiest day, not passed in 95 of 100, is {with_unit(peak[2], unit)}." if peak else ""
    label = f"{what}, in {unit}, over {every}: the mean, a band of 50 % and one of 90 % of instants.{peak_said}"
    return chart(f"forecast-{resource.replace('_', '-')}", title, label, figure, _fan_data(shown, title, unit, days=days),
                 remark=f"{what}, {every}.{peak_said}")  # fmt: skip


def _fan_data(shown: pd.DataFrame, title: str, unit: str, *, days: bool) -> str:
    rows = shown if days else shown[(shown["start_s"] % _HOUR_S).abs() < 1e-6]
    statistics = [name for name in _STATISTICS if name in rows.columns]
    head = ["day" if days else "hour", *(name.replace("_", " ") for name in statistics)]
    caption = f"{title}, {unit}, {'in the busiest bucket of each day' if days else 'in the first bucket of each hour'}"
    places = rows["start_s"] // _DAY_S + 1 if days else rows["start_s"] / _HOUR_S
    cells = [(count(place), *(count(row[name]) for name in statistics))
             for place, row in zip(places.tolist(), rows.to_dict("records"), strict=True)]  # fmt: skip
    return table(caption, head, cells)


def _totals(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> str:
    """Return what the fleet uses in all in the first day and month, as a table."""
    level = f"{100 * manifest.get('level', 0.9):g} % interval"
    rows = []
    for resource, name in _TOTALS:
        cells = []
        for window in ("day", "month"):
            values = _values(demand, f"{resource}_per_{window}", 0.0)
            values = values or (_values(demand, resource, -1.0) if window == "day" else {})
            low, high = values.get("mean_low"), values.get("mean_high")
            told = "as planned" if low is not None and low == high else f"{count(low)} to {count(high)}"
            # How many tasks there are is a number of the plan, and rests on no runs.
            few = "as planned" if resource == "tasks" else "too few runs"
            cells += [count(values.get("mean")), told if low is not None else few if values else count(None)]
        if any(cell != count(None) for cell in cells):
            rows.append((name, *cells))
    return table("Totals of the first day and month, and intervals of their means",
                 ["", "a day", level, "a month", level], rows)  # fmt: skip


def _per_task(manifest: Mapping[str, Any]) -> str:
    """Return what single tasks take at most, quantile by quantile; a refused one says how many runs it needs."""
    rows = [row for row in manifest.get("task_quantiles", []) if row["resource"] in _PER_TASK]
    if all(row["value"] is None for row in rows):
        return ""
    quantiles = list(dict.fromkeys(row["quantile"] for row in rows))
    of = {(row["task"], row["resource"], row["quantile"]): row for row in rows}
    lines = [
        (f"{shown_name(kind)}: {name}", *(_quantile(of[kind, resource, quantile]) for quantile in quantiles))
        for kind in dict.fromkeys(row["task"] for row in rows)
        for resource, name in _PER_TASK.items()
    ]
    return details(
        "What one task takes", table("What one task takes at most, of so many in 100", ["", *quantiles], lines)
    )


def _quantile(row: Mapping[str, Any]) -> str:
    if row["value"] is None:
        return str(row["refused"]).partition(";")[0]
    return seconds(row["value"]) if row["unit"] == "s" else count(row["value"])


def _values(demand: pd.DataFrame, resource: str, bucket: float) -> dict[str, float]:
    mine = demand[(demand["resource"] == resource) & (demand["bucket_start"] == bucket)]
    return dict(zip(mine["statistic"].astype(str), mine["value"].astype(float), strict=True))


def _split(demand: pd.DataFrame) -> str:
    names, shares = [], {statistic: list[float]() for statistic, _, _ in SPLIT}
    for resource, title, _ in _FANS:
        wide = _wide(demand, resource)
        if "share_prototypes" not in wide.columns or wide["mean"].isna().all():
            continue
        row = busiest(wide)
        names.append(title)
        prototypes, assumptions = row["share_prototypes"], row.get("share_assumptions", 0.0)
        for statistic, value in zip(shares, (1 - prototypes - assumptions, prototypes, assumptions), strict=True):
            shares[statistic].append(value)
    if not names:
        return ""
    label = (
        "Share of the variance of each load in its busiest bucket that comes from the load itself, from how few runs were "
        "recorded, and from unsure numbers of the plan."
    )
    data = table("Shares of the variance", ["", *(words.partition(":")[0] for _, words, _ in SPLIT)],
                 [(name, *(share(shares[one][place]) for one in shares)) for place, name in enumerate(names)])  # fmt: skip
    return chart("forecast-split", "Where the uncertainty comes from", label, split_figure(names, shares), data,
                 remark="Of the busiest bucket; the peak of a day has its own.")  # fmt: skip


def _tornadoes(manifest: Mapping[str, Any]) -> str:
    effects: list[Mapping[str, Any]] = manifest.get("effects", [])
    found: list[str] = []
    for resource, title, _ in _FANS:
        rows = [row for row in effects if row["resource"] == resource][:_MAX_BARS]
        if not rows or resource not in _TORNADOES:
            continue
        unit = rows[0]["unit"]
        label = f"What each unsure number of the plan moves: mean {_inside(title)} in {unit} with it alone at its p10 and p90."
        data = table(f"{title}, {unit}", ["number of the plan", "at its p10", "as planned", "at its p90", "Sobol index alone",
                                          "with others"],
                     [(row["assumption"], count(row["p10"]), count(row["planned"]), count(row["p90"]),
                       share(row["sobol_first"]), share(row["sobol_total"])) for row in rows])  # fmt: skip
        found.append(chart(f"forecast-moves-{resource.replace('_', '-')}", f"What moves it: {_inside(title)}", label,
                           tornado_figure(rows, unit), data,
                           remark="One number of the plan at a time, from its p10 to its p90."))  # fmt: skip
    return "".join(found)


def _next(manifest: Mapping[str, Any]) -> str:
    """Return which runs to record next, and how many in all reach the target."""
    rows = manifest.get("next_runs", [])
    if not rows:
        return ""
    target = f"± {100 * manifest['target']:g}\N{NO-BREAK SPACE}%"
    advice = manifest.get("advice") or [f"Nothing: the mean of the fleet's input is known to {target} already."]
    shown = table(f"Runs that bring the mean of the fleet's input to {target} with 90 % confidence",
                  ["task kind", "recorded", "share of what they leave open", "wanted", "more"],
                  [(shown_name(row["task"]), count(row["runs"]), share(row["variance_share"]), count(row["runs_wanted"]),
                    count(row["more"])) for row in rows])  # fmt: skip
    return f"{notes('What to record next', advice)}{shown}"
