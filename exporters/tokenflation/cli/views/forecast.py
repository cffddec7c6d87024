"""How a forecast looks in a terminal: what it rests on, totals, the busiest hour, what-ifs and volumes that fit.

Knows nothing of how a forecast is made.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from tokenflation.analysis.fleet.buckets import busiest, by_bucket
from tokenflation.cli.views.numbers import human, human_share, human_time, human_times
from tokenflation.cli.views.tables import titled_table
from tokenflation.sdk.words import percent

__all__ = ["NAMES", "fits_table", "forecast_page", "interval", "length", "listed", "rough_share", "what_if_tables"]

NAMES = {
    "prefill_tokens_per_s": "prefill, cache used",
    "prefill_no_cache_tokens_per_s": "prefill, no cache",
    "decode_tokens_per_s": "decode",
    "requests_per_s": "calls started",
    "concurrent_calls": "calls in flight",
    "active_tasks": "tasks in progress",
    "kv_tokens": "context held",
    "kv_warm_tokens": "context kept warm",
    "kv_bytes": "KV cache held",
    "kv_warm_bytes": "KV cache kept warm",
    "flop_per_s": "arithmetic",
    "tasks": "tasks",
    "calls": "calls",
    "input_tokens": "input",
    "prefill_tokens": "input to compute",
    "output_tokens": "output",
    "flop": "arithmetic",
}
"""What people call each resource."""
_LOADS = tuple(NAMES)[: tuple(NAMES).index("tasks")]
_TOTALS = tuple(NAMES)[len(_LOADS) + 1 :]
_PER_TASK = {"input_tokens": "input", "output_tokens": "output", "calls": "calls", "duration_s": "duration"}
_WHOLE_PERCENT = 0.0095
_HOUR_S = 3_600
_TITLES = (("Mind", "warnings", "bold"), ("Next", "advice", ""), ("Assumed", "assumptions", ""))


def forecast_page(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> list[RenderableType]:
    """Return the tables of a forecast, and under them what to mind, what to do next, and what was assumed."""
    tables = [_support(manifest), _per_task(manifest), _totals(demand, manifest), _busiest(demand, manifest)]
    parts: list[RenderableType] = []
    for table in tables:
        parts += [Text(), table] if parts and table is not None else [table] if table is not None else []
    for title, key, style in _TITLES:
        parts += listed(title, manifest[key], style)
    return parts


def listed(title: str, texts: Sequence[str], style: str = "") -> list[RenderableType]:
    """Return a titled list, or nothing where there is nothing to list."""
    if not texts:
        return []
    return [Text(), Text(f"{title}:", style="bold"), *(_item(one, style) for one in texts)]


def _item(text: str, style: str) -> RenderableType:
    """Return a sentence behind a dash, whose further lines stand under its first word."""
    row = Table.grid(padding=0)
    row.add_column(width=2)
    row.add_column()
    row.add_row("-", Text(text, style=style))
    # Inside of something else, as it is no table to be laid out by columns.
    return Padding(row, 0)


def _support(manifest: Mapping[str, Any]) -> Table:
    cut = any(kind.get("cut_runs") for kind in manifest["kinds"])
    numbers = ("runs", "tasks a day", "mean known to", "top tenth takes", *(("cut short",) if cut else ()))
    table = titled_table("What it rests on", ("task kind",), numbers)
    for kind in manifest["kinds"]:
        half, top = kind["half_width"], kind["top_tenth_share"]
        known = f"± {rough_share(half)}" if half is not None else "unknown"
        share = f"{percent(top)} of input" if top is not None else "unknown"
        table.add_row(Text(kind["task"]), f"{kind['runs']:,}", human(kind["tasks_per_day"]), known, share,
                      *([f"{kind['cut_runs']:,}"] if cut else []))  # fmt: skip
    return table


def rough_share(value: float) -> str:
    """Return a small share with as many digits as say something: 23 %, 0.4 %."""
    return percent(value) if value >= _WHOLE_PERCENT else human_share(value)


def _per_task(manifest: Mapping[str, Any]) -> Table | None:
    """Return what single tasks take, or nothing where no quantile of them is known."""
    rows = [row for row in manifest.get("task_quantiles", []) if row["resource"] in _PER_TASK]
    if all(row["value"] is None for row in rows):
        return None
    refused = any(row["refused"] for row in rows)
    quantiles = list(dict.fromkeys(row["quantile"] for row in rows))
    table = titled_table("What one task takes", ("task kind", ""), quantiles,
                         "-: refused, as too few runs report it; --explain says how many it needs." if refused else None)  # fmt: skip
    of = {(row["task"], row["resource"], row["quantile"]): row for row in rows}
    for kind in dict.fromkeys(row["task"] for row in rows):
        for place, (resource, name) in enumerate(_PER_TASK.items()):
            cells = [_quantile(of.get((kind, resource, quantile))) for quantile in quantiles]
            table.add_row(Text(kind if not place else ""), name, *cells, end_section=place == len(_PER_TASK) - 1)
    return table


def _quantile(row: Mapping[str, Any] | None) -> str:
    if row is None or row["value"] is None:
        return "-"
    return human_time(row["value"]) if row["unit"] == "s" else human(row["value"])


def _totals(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> Table:
    """Return what the fleet uses in all in a day at the first day's level, and in the first month."""
    whole = demand[(demand["bucket_start"] < 0) & ~demand["statistic"].str.contains("_peak_")]
    units = dict(zip(whole["resource"], whole["unit"], strict=True))
    rows = whole.pivot_table(index="resource", columns="statistic", values="value", sort=False, dropna=False)
    later = demand[(demand["bucket_start"] == 0) & demand["resource"].str.endswith("_per_month")]
    wide = later.pivot_table(index="resource", columns="statistic", values="value", sort=False, dropna=False)
    months = {str(name).removesuffix("_per_month"): row for name, row in wide.iterrows()}
    level = f"{percent(manifest['level'])} interval of the mean"
    table = titled_table("In all", ("",), ("a day", level, *(("first month", level) if months else ())))
    for resource, row in rows.iterrows():
        unit = str(units[str(resource)]).removesuffix("/day")
        planned = resource == "tasks"
        cells = _total(row, "" if unit in ("tasks", "calls") else f" {unit}", planned=planned)
        if str(resource) in months:
            cells += _total(months[str(resource)], "", planned=planned)
        table.add_row(NAMES.get(str(resource), str(resource)), *cells)
    return table


def _total(row: "pd.Series[float]", unit: str, *, planned: bool) -> list[str]:
    """Return a mean and its interval; a number that is `planned` rests on no runs, so none are missing."""
    if pd.isna(row["mean"]):
        return ["not reported", ""]
    certain = _certain(row) or (planned and pd.isna(row.get("mean_low", float("nan"))))
    return [human(row["mean"]) + unit, "as planned" if certain else interval(row)]


def _certain(row: "pd.Series[float]") -> bool:
    low = row.get("mean_low")
    return low is not None and low == row["mean_high"]


def _busiest(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> Table:
    by_hour = demand[demand["bucket_start"] >= 0]
    flat = len(set(manifest["day_weights"])) == 1 and manifest["days"] == 1
    span = length(manifest["bucket_s"])
    numbers = ("mean", f"{percent(manifest['level'])} interval of the mean", "p50", "p95", "p99", "day's peak")
    table = titled_table(f"Any {span} (flat day)" if flat else f"The busiest {span}", ("", "unit"), numbers,
                         "p50, p95, p99: of the load at one instant of it, prototypes included. Day's peak: the highest "
                         "one-minute instant of the busiest day, not passed in 95 of 100 days. Of calls started, all are of "
                         f"the mean over {'an hour' if span == 'hour' else span}. --explain says more.")  # fmt: skip
    highest = demand[demand["statistic"] == "day_peak_p95"].set_index("resource")["value"]
    for resource in _LOADS:
        mine = by_hour[by_hour["resource"] == resource]
        if mine.empty:
            continue
        if mine.loc[mine["statistic"] == "mean", "value"].isna().all():
            table.add_row(NAMES[resource], mine["unit"].iloc[0], "not reported")
            continue
        row = busiest(by_bucket(demand, resource))
        cells = (human(row[name]) for name in ("p50", "p95", "p99"))
        peak = human(highest.get(resource))
        table.add_row(NAMES[resource], mine["unit"].iloc[0], human(row["mean"]), interval(row), *cells, peak)
    return table


def length(bucket_s: float) -> str:
    """Return how long a bucket is, in words."""
    return "hour" if bucket_s == _HOUR_S else f"{bucket_s:,.0f} s"


def interval(row: "pd.Series[float]") -> str:
    """Return the interval of a mean, or that there are too few runs for one; a dash where the mean is not known."""
    if pd.isna(row["mean"]):
        return "-"
    if "mean_low" not in row.index or pd.isna(row["mean_low"]):
        return "too few runs"
    return f"{human(row['mean_low'])} to {human(row['mean_high'])}"


def what_if_tables(
    rows: pd.DataFrame, said: Mapping[str, Sequence[str]], manifest: Mapping[str, Any]
) -> list[RenderableType]:
    """Return what-ifs beside the base (`options.questions.compared`), resource by resource, and what each means."""
    parts: list[RenderableType] = []
    for title, resources, peaks in (
        (f"What if: the busiest {length(manifest['bucket_s'])}", _LOADS, True),
        ("What if: a day in all", _TOTALS, False),
    ):
        numbers = ["mean", "change", f"{percent(manifest['level'])} interval of the mean"]
        numbers += ["p95", "change", "day's peak", "change"] if peaks else []
        table = titled_table(title, ("",), numbers)
        for resource in resources:
            mine = rows[rows["resource"] == resource]
            if len(mine):
                table.add_row(Text(f"{NAMES[resource]}, {mine['unit'].iloc[0]}", style="bold"))
            for place, row in enumerate(mine.to_dict("records")):
                cells = [human(row["mean"]), _changed(row["mean_change"], row), interval(pd.Series(row))]
                for statistic in ("p95", "day_peak_p95") if peaks else ():
                    cells += [human(row[statistic]), _changed(row[f"{statistic}_change"], row)]
                table.add_row(Text(f"  {row['what_if']}"), *cells, end_section=place == len(mine) - 1)
        parts += [Text(), table]
    parts.append(Text())
    parts += [_item(f"{name}: {sentence}", "") for name, sentences in said.items() for sentence in sentences]
    return parts


def _changed(change: float, row: Mapping[Any, Any]) -> str:
    if row["what_if"] == "base":
        return ""
    return "-" if pd.isna(change) else "same" if abs(change) < 5e-4 else f"{100 * change:+.1f} %"


def fits_table(rows: pd.DataFrame) -> list[RenderableType]:
    """Return the volumes that fit (`options.questions.fits_of`) as a table."""
    several = rows["what_if"].nunique() > 1
    names = ("limit", "what if") if several else ("limit",)
    table = titled_table("Which volume fits", names, ("tasks a day", "times the plan"),
                         "tasks a day: of all kinds in the plan's mix, at the first day's level; the limit is reached in the "
                         "busiest bucket of the horizon.")  # fmt: skip
    for row in rows.to_dict("records"):
        name = f"{row['resource']}@{row['statistic']} = {human(row['limit'])}"
        table.add_row(
            *((name, row["what_if"]) if several else (name,)), human(row["tasks_per_day"]), human_times(row["factor"])
        )
    return [Text(), table]
