"""`tokenflation forecast --history`: recorded demand in the hours and months ahead. Knows nothing of the methods."""

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

import click
import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation.analysis.history.monthsahead import months_ahead
from tokenflation.analysis.history.reading import History, as_rate, read_history, read_kinds
from tokenflation.analysis.history.recorded import forecast_series, forecast_tasks, sum_of, taken_by_task, task_arrivals
from tokenflation.analysis.history.timeseries import LEAST_STEPS
from tokenflation.analysis.planning.parts import Growth
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.streams import is_store
from tokenflation.cli.options.plan import plan_in, refuse_given
from tokenflation.cli.views.numbers import human, human_length, human_time
from tokenflation.cli.views.output import emit, json_rows
from tokenflation.cli.views.tables import titled_table
from tokenflation.cli.work.fleet import fleet_of
from tokenflation.exporters.demand import write_demand
from tokenflation.sdk.errors import FrameError, PlanError
from tokenflation.sdk.words import many, percent

__all__ = ["with_history"]

_STEPS = 24
_MOST_STEPS = 336
_SHOWN_STEPS = 24
_HOUR_S = 3600.0
_MONTH_DAYS = 365.25 / 12
_DATED_S = 1e8
"""Times beyond are dates; those below count from a start of their own."""
_PLANNED = (
    "shape",
    "modulation",
    "growth_per_day",
    "days",
    "kv_bytes_per_token",
    "what_ifs",
    "fits",
    "explain",
    "target",
)
_NAMES = {
    "tasks_per_s": "tasks",
    "calls_per_s": "calls",
    "input_tokens_per_s": "input",
    "output_tokens_per_s": "output",
}


def with_history(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let recorded demand, where it is given, stand in for what a function plans for the argument `store`."""

    @wraps(function)
    def wrapped(*, store: str | None, history: str | None, column: str | None, hours: int | None,
                step_s: float | None, months: int | None, growths: tuple[str, ...], **others: Any) -> Any:  # fmt: skip
        if history is None:
            return function(store=store, **others)
        if others.get("kinds") or others.get("tasks_per_day") is not None:
            raise click.UsageError("--history takes volumes from the record; leave out --tasks-per-day and --kind.")
        refuse_given(_PLANNED, "{option} is of a planned fleet; leave it out, or leave out --history.")
        scenarios, months, level = _growth(others["plan_file"], growths, months, others["level"])
        if months is not None:
            refuse_given(
                ["hours", "step_s"], "{option} is of hours ahead; months ahead are seen by the hour. Leave it out."
            )
        frame = _forecast(store, history, column, (hours, step_s), months, scenarios, level, others["seed"])
        if others["output"] is not None:
            write_demand(frame, others["output"], seed=others["seed"])
        return _show(frame, others["as_json"], others["as_csv"])

    return wrapped


def _growth(plan_file: str | None, growths: tuple[str, ...], months: int | None,
            level: float) -> tuple[dict[str, Growth], int | None, float]:  # fmt: skip
    """Return growth by scenario, how many months to look ahead (None: hours), and the probability of intervals."""
    scenarios = _scenarios(growths)
    if plan_file is None:
        if growths and months is None:
            raise click.UsageError("--growth is of months ahead; give --months N too.")
        return scenarios or {"none": Growth()}, months, level
    if months is None:
        refuse_given(
            ["hours"], "{option} looks hours ahead, where a plan's growth is not felt; give --months N instead."
        )
    plan = plan_in(plan_file, stands_in_for=["level"])
    if plan.growth is None and not plan.growth_per_day:
        raise PlanError(
            f"{plan_file} has no growth, and the rest of a plan is in the record itself. Add growth, as in "
            "`growth: {kind: exponential, per_day: 0.01}`, or leave out --plan."
        )
    if "plan" in scenarios:
        raise PlanError("--growth plan=... has the name of the plan's own scenario; choose another name.")
    ahead = months if months is not None else max(1, min(60, round(plan.days / _MONTH_DAYS)))
    return {"plan": plan.volume_growth} | scenarios, ahead, plan.level


def _forecast(store: str | None, history: str, column: str | None, ahead: tuple[int | None, float | None],
              months: int | None, scenarios: dict[str, Growth], level: float, seed: int) -> pd.DataFrame:  # fmt: skip
    if not 0.5 <= level < 1:
        raise PlanError(f"--level is {level!r}; it may be from 0.5 to below 1.")
    kinds, taken, series = _read(store, history, column)
    hours, step_s = ahead
    step_s = step_s or max(_HOUR_S, series.bin_s)
    steps = _STEPS if hours is None else max(1, round(hours * _HOUR_S / step_s))
    if steps > _MOST_STEPS:
        raise PlanError(
            f"{hours} hours are {steps:,} steps of {step_s:g} s, and a forecast is of {_MOST_STEPS} at most: give fewer "
            "--hours or a longer --step."
        )
    _refuse_short(history, series, step_s if months is None else _HOUR_S, chosen=months is None)
    if months is not None:
        found = _months_ahead(series, months, scenarios, level, seed)
    elif kinds is not None and taken is not None:
        found = forecast_tasks(kinds, taken, steps=steps, step_s=step_s, level=level)
    else:
        found = forecast_series(series, steps=steps, step_s=step_s, level=level)
    manifest = {"history": history, "series": series.name, "bin_s": series.bin_s, "bins": len(series.values), "step_s": step_s,
                "level": level, "seed": seed, "shortfall": 0.01, **found.attrs.get("manifest", {})}  # fmt: skip
    if months is not None:
        manifest["growth"] = {name: asdict(one) for name, one in scenarios.items()}
        manifest["assumptions"] = [
            "Growth is assumed, not forecast, and counted from the end of the record; the interval is how weeks have strayed."
        ]
    found.attrs["manifest"] = manifest
    return found


def _refuse_short(history: str, series: History, step_s: float, *, chosen: bool) -> None:
    """Refuse a record shorter than any forecast needs, with what was read of it: numbers may be no seconds.

    `chosen`: the length of steps may be chosen.
    """
    span_s = len(series.values) * series.bin_s
    if span_s >= LEAST_STEPS * step_s:
        return
    ends = [_when(at) for at in (series.start_s, series.start_s + span_s)]
    read = f"from {ends[0]} to {ends[1]}"
    if series.start_s <= _DATED_S:
        read = f"as its times are numbers, read as seconds from {series.start_s:g} to {series.start_s + span_s:g}"
        read = f"{read}; if they count something else, write seconds or ISO dates"
    shorter_s = int(span_s / LEAST_STEPS / series.bin_s) * series.bin_s if chosen else 0
    raise FrameError(
        f"{history} holds {human_time(span_s)} of demand, {read}. A forecast by steps of {human_length(step_s)} needs "
        f"{LEAST_STEPS} of them: record longer{f', or give --step {shorter_s:g}' if shorter_s else ''}."
    )


def _months_ahead(series: History, months: int, scenarios: dict[str, Growth], level: float, seed: int) -> pd.DataFrame:
    """Return months ahead by scenario: the level without growth, times what it has grown to by mid-month."""
    flat = months_ahead(series, months=months, growth_per_month={"none": 0.0}, level=level,
                        step_s=max(_HOUR_S, series.bin_s), rng=np.random.default_rng(seed))  # fmt: skip
    middles = (flat["month"].to_numpy(dtype=np.float64) - 0.5) * _MONTH_DAYS
    parts = [flat.assign(scenario=name, value=flat["value"] * one.levels(middles)) for name, one in scenarios.items()]
    return pd.concat(parts, ignore_index=True)


def _read(store: str | None, history: str,
          column: str | None) -> tuple[dict[str, History] | None, pd.DataFrame | None, History]:  # fmt: skip
    """Return arrivals by kind with what a task takes, where both are known, and the one series of them all."""
    calls = None if store is None and not is_store(history) else fleet_of(store or history)
    taken = None if calls is None else taken_by_task(calls)
    if not is_store(history):
        series = read_history(history, column=column)
        if taken is None:
            return None, None, series
        kinds = sorted(set(map(str, taken.index)))
        if len(kinds) > 1:
            if column is None and (named := read_kinds(history, kinds)) is not None:
                return named, taken, sum_of(named)
            raise PlanError(
                f"{store} holds the kinds {', '.join(kinds)}, but {history} counts tasks of no kind; "
                "name a column after each kind, forecast it alone, or give a store of one kind."
            )
        return {kinds[0]: as_rate(series)}, taken, series
    recorded = calls if store is None and calls is not None else fleet_of(history)
    arrivals = task_arrivals(recorded)
    return arrivals, taken, sum_of(arrivals)


def _scenarios(growths: tuple[str, ...]) -> dict[str, Growth]:
    """Return what each --growth NAME=F says, a month's growth as one of days."""
    found: dict[str, Growth] = {}
    for given in growths:
        name, equals, value = given.rpartition("=")
        try:
            monthly = float(value)
        except ValueError:
            equals = ""
        if not equals or not name:
            raise PlanError(f"--growth {given!r} is not NAME=F; write --growth high=0.1 for ten per cent a month.")
        if not -1 < monthly <= 10:
            raise PlanError(
                f"--growth {given!r}: growth a month may be above -1 (all gone) up to 10; 0.1 is ten per cent."
            )
        if name in found:
            raise PlanError(f"--growth names {name!r} twice; give each scenario one growth.")
        found[name] = Growth(per_day=(1 + monthly) ** (1 / _MONTH_DAYS) - 1)
    return found


def _show(frame: pd.DataFrame, as_json: bool, as_csv: bool) -> None:
    manifest = frame.attrs["manifest"]
    emit(frame, as_json, as_csv, lambda: _page(frame, manifest),
         answer=lambda: {"manifest": manifest, "buckets": json_rows(frame)})  # fmt: skip


def _page(frame: pd.DataFrame, manifest: dict[str, Any]) -> RenderableType:
    if "scenario" in frame:
        return _months(frame, manifest)
    mine = frame[frame["task"] == "all"] if "task" in frame else frame
    parts: list[RenderableType] = []
    for resource in mine["resource"].unique():
        rows = mine[mine["resource"] == resource]
        if rows["value"].isna().all():
            parts += [Text(f"{_NAMES.get(str(resource), str(resource))}: not reported by the record.\n")]
            continue
        title = f"{_NAMES.get(str(resource), str(resource))}, {_unit(rows, manifest)}"
        parts += [_steps(rows, title, manifest), Text()]
    few = {kind: count for kind, count in manifest.get("tasks", {}).items() if count < LEAST_RUNS}
    parts += [Text(f"{kind}: {many(count, 'recorded task')} {'is' if count == 1 else 'are'} too few for intervals of what tasks take, "
                   f"at least {LEAST_RUNS} are needed: record {LEAST_RUNS - count} more.") for kind, count in few.items()]  # fmt: skip
    if "mix" in manifest and len(manifest["kinds"]) > 1:
        parts.append(Text(f"The mix of {len(manifest['kinds'])} kinds is {manifest['mix']}."))
    return Group(*parts)


def _steps(rows: pd.DataFrame, title: str, manifest: dict[str, Any]) -> Table:
    wide = rows.pivot_table(index="bucket_start", columns="statistic", values="value", dropna=False)
    scale, title = _per_hour(wide["mean"], title)
    wide = wide * scale
    caption = "provide for: the busiest bin of a step stays below this in 99 of 100 steps."
    if float(wide.index[0]) > _DATED_S:
        caption += " Steps start in UTC, or in the record's own time where it names no zone."
    numbers = ("mean", f"{percent(manifest['level'])} interval", "provide for")
    table = titled_table(title, ("step starts",), numbers, caption)
    few = any(count < LEAST_RUNS for count in manifest.get("tasks", {}).values())
    why = "too few tasks" if few else "too short a record"
    for start, row in wide.head(_SHOWN_STEPS).iterrows():
        between = why if pd.isna(row["low"]) else f"{human(row['low'])} to {human(row['high'])}"
        table.add_row(_when(float(str(start))), human(row["mean"]), between, human(row["provision"]))
    return table


def _unit(rows: pd.DataFrame, manifest: dict[str, Any]) -> str:
    """Return the rows' unit; of what is counted by bin, whose steps are not, with the length of a bin."""
    unit = str(rows["unit"].iloc[0])
    return f"{unit} of {human_length(manifest['bin_s'])}" if unit.endswith("per bin") else unit


def _per_hour(means: "pd.Series[float]", unit: str) -> tuple[float, str]:
    """Return what to multiply by, and the unit then: a few an hour would all read alike per second."""
    slow = unit.endswith("/s") and float(means.max()) < 1
    return (3600.0, f"{unit.removesuffix('/s')}/h") if slow else (1.0, unit)


def _when(seconds: float) -> str:
    """Return a date where the series has dates; else days and hours from its start."""
    if seconds > _DATED_S:
        return str(pd.Timestamp(seconds, unit="s"))[:16]
    return f"day {int(seconds // 86_400) + 1}, {int(seconds % 86_400 // 3600):02d}:{int(seconds % 3600 // 60):02d}"


def _months(frame: pd.DataFrame, manifest: dict[str, Any]) -> Table:
    scale, unit = _per_hour(frame.loc[frame["statistic"] == "mean", "value"], _unit(frame, manifest))
    numbers = ("mean", f"{percent(manifest['level'])} interval", "busiest hour")
    table = titled_table(f"Months ahead, {unit}", ("scenario", "month"), numbers,
                         caption="Growth is assumed, not forecast; the interval is how weeks have strayed.")  # fmt: skip
    for (scenario, month), rows in frame.groupby(["scenario", "month"], sort=False):
        row = dict(zip(rows["statistic"], rows["value"] * scale, strict=True))
        between = f"{human(row['mean_low'])} to {human(row['mean_high'])}"
        table.add_row(Text(str(scenario)), str(month), human(row["mean"]), between, human(row["busiest_hour"]))
    return table
