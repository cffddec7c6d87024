"""Recorded demand to come, step by step: a series alone, or arrivals of tasks times what a task takes. Frames out.

Tasks are forecast kind by kind where their mix moves, and as one series shared out by the mix where it does not: the
sum is less noisy than its parts. What a task takes is the mean of the recorded tasks of its kind; how little these tell
of that mean, and how far tasks of one step differ, widens the bounds of what arrives.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.history.backtest import whole_step_s
from tokenflation.analysis.history.backtesting import Rolled, roll
from tokenflation.analysis.history.reading import History, of_events
from tokenflation.analysis.reduce import tasks
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, mean_ends
from tokenflation.sdk.errors import FrameError

__all__ = ["forecast_series", "forecast_tasks", "mix_is_stable", "sum_of", "taken_by_task", "task_arrivals"]

Floats = NDArray[np.float64]

_TAKEN = {"calls": "calls", "input_tokens": "tokens", "output_tokens": "tokens"}
_STATISTICS = ("mean", "low", "high", "provision")
_SIDES = np.array([0.0, -1.0, 1.0, 1.0])[:, None]
# How much the shares of kinds may differ between halves of the record, beyond what their counts allow.
_MOVED = 0.05
_TEACHING_DAYS = 8
_LEAST_TAUGHT, _MOST_TAUGHT = 192, 400


def forecast_series(history: History, *, steps: int = 24, step_s: float | None = None, level: float = 0.9,
                    short: float = 0.01) -> pd.DataFrame:  # fmt: skip
    """Return the demand of the next steps; one row per step and statistic.

    Columns: `bucket_start` (s, in the source's time), `resource`, `statistic`, `value`, `unit`. Statistics: `mean`, the
    forecast; `low` and `high`, its conformal interval of probability `level`; `provision`, what the step's busiest bin
    exceeds in a share `short` of steps. NaN where the series is too short to tell.

    Raises:
        FrameError: too little demand is known.
    """
    step_s = step_s or whole_step_s(history)
    rolled = _rolled(history, steps, step_s, level, short)
    return _rows(_next(rolled), history, step_s, history.name, history.unit)


def _rolled(history: History, steps: int, step_s: float, level: float, short: float) -> Rolled:
    whole = int(len(history.values) * history.bin_s // step_s)
    # Each of these steps is forecast too: of short ones eight days are more than are needed, of long ones too few.
    taught = min(_MOST_TAUGHT, max(_LEAST_TAUGHT, round(_TEACHING_DAYS * 86_400 / step_s)))
    first = max(1, whole - taught - (steps if step_s >= 600 else 0))
    return roll(history.values, history.bin_s, step_s=step_s, horizon=steps, level=level, short=short, first=first)


def _next(rolled: Rolled) -> Floats:
    """Return the statistics of the steps after the series' end; shape (statistics, steps)."""
    return np.stack([one[-1] for one in (rolled.middle, rolled.low, rolled.high, rolled.provision)])


def _rows(values: Floats, history: History, step_s: float, name: str, unit: str) -> pd.DataFrame:
    end = history.start_s + len(history.values) * history.bin_s
    starts = end + np.arange(values.shape[1]) * step_s
    parts = [pd.DataFrame({"bucket_start": starts, "resource": name, "statistic": statistic, "value": one, "unit": unit})
             for statistic, one in zip(_STATISTICS, values, strict=True)]  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def task_arrivals(calls: pd.DataFrame, *, bin_s: float | None = None) -> dict[str, History]:
    """Return the rate at which tasks of each kind started, in bins of one common grid.

    Raises:
        FrameError: the calls span no time to make a series of.
    """
    starts = calls.groupby(["task", "task_id"], sort=False)["started_at_ns"].min().reset_index()
    seconds = starts["started_at_ns"].to_numpy(dtype=np.float64) / 1e9
    if len(seconds) and np.ptp(seconds) <= 0:
        what = (
            "holds one task"
            if len(seconds) == 1
            else f"holds {len(seconds):,} tasks that all start at one time, as in a source without dates"
        )
        raise FrameError(
            f"the store {what}; a series needs demand over time. Give the recorded demand as a file of times and counts."
        )
    everything = of_events(seconds, {}, column="tasks", bin_s=bin_s, source="the store")
    place = np.floor((seconds - everything.start_s) / everything.bin_s).astype(np.int64)
    count = len(everything.values)
    kinds: dict[str, History] = {}
    for kind, mine in starts.groupby("task", sort=True).indices.items():
        held = np.bincount(place[mine], minlength=count)[:count] / everything.bin_s
        kinds[str(kind)] = History(str(kind), everything.start_s, everything.bin_s, held.astype(np.float64), "tasks/s")
    return kinds


def mix_is_stable(arrivals: Mapping[str, History]) -> bool:
    """Return whether kinds have the same shares in both halves of the record, but for chance and 5 %."""
    table = np.array([one.values * one.bin_s for one in arrivals.values()])
    half = table.shape[1] // 2
    first, second = np.nansum(table[:, :half], axis=1), np.nansum(table[:, half:], axis=1)
    if not first.sum() or not second.sum():
        return False
    apart = 0.5 * float(np.abs(first / first.sum() - second / second.sum()).sum())
    return apart <= _MOVED + float(np.sqrt(len(table) / 2 * (1 / first.sum() + 1 / second.sum())))


def taken_by_task(calls: pd.DataFrame) -> pd.DataFrame:
    """Return what tasks take: one row per task, the index its kind; `calls`, `input_tokens`, `output_tokens`."""
    by_task = tasks(calls)
    return by_task[list(_TAKEN)].astype("float64").set_index(by_task["task"].astype("str"))


def forecast_tasks(arrivals: Mapping[str, History], taken: pd.DataFrame, *, steps: int = 24, step_s: float | None = None,
                   level: float = 0.9, short: float = 0.01) -> pd.DataFrame:  # fmt: skip
    """Return tasks, calls and tokens per second of the next steps; columns as of `forecast_series`, and `task`.

    `taken` has a row per recorded task, as of `taken_by_task`. From fewer than 10 tasks of a kind that report them,
    calls and tokens have a mean and no bounds. Where kinds are forecast apart, bounds of the tasks of `task` "all" are
    sums of theirs, which is wide where kinds go their own ways. `attrs["manifest"]` says which way was taken.

    Raises:
        FrameError: a kind has no profile, or too little demand is known.
    """
    unknown = sorted(set(arrivals) - set(map(str, taken.index)))
    if unknown:
        raise FrameError(f"no task of {', '.join(unknown)} was recorded, so what one takes is not known; record some.")
    whole = sum_of(arrivals)
    step_s = step_s or whole_step_s(whole)
    stable = mix_is_stable(arrivals) or min(int((one.values > 0).sum()) for one in arrivals.values()) < steps
    if stable:
        together, total = _next(_rolled(whole, steps, step_s, level, short)), float(np.nansum(whole.values))
        rates = {kind: together * (float(np.nansum(one.values)) / total) for kind, one in arrivals.items()}
    else:
        rates = {kind: _next(_rolled(one, steps, step_s, level, short)) for kind, one in arrivals.items()}
    found = {kind: [_rows(rate, whole, step_s, "tasks_per_s", "tasks/s")] for kind, rate in rates.items()}
    every = [_rows(np.sum(list(rates.values()), axis=0), whole, step_s, "tasks_per_s", "tasks/s")]
    for name, unit in _TAKEN.items():
        each = {kind: taken.loc[[kind], name].dropna().to_numpy(dtype=np.float64) for kind in rates}
        means = {kind: rates[kind] * (values.mean() if len(values) else np.nan) for kind, values in each.items()}
        apart = {kind: _apart(each[kind], rate[0], step_s, whole.bin_s, level, short) for kind, rate in rates.items()}
        for kind in rates:
            found[kind].append(_rows(_widened(means[kind], apart[kind]), whole, step_s, f"{name}_per_s", f"{unit}/s"))
        both = _widened(np.sum(list(means.values()), axis=0), _together(list(means.values()), list(apart.values())))
        every.append(_rows(both, whole, step_s, f"{name}_per_s", f"{unit}/s"))
    parts = [one.assign(task=kind) for kind, rows in {"all": every, **found}.items() for one in rows]
    columns = ["task", "bucket_start", "resource", "statistic", "value", "unit"]
    frame = pd.DataFrame(pd.concat(parts, ignore_index=True)[columns])
    counts = {kind: len(taken.loc[[kind]]) for kind in arrivals}
    frame.attrs["manifest"] = {"mix": "stable: all tasks together, shared out" if stable else "moving: kind by kind",
                               "kinds": list(arrivals), "tasks": counts, "step_s": step_s, "level": level}  # fmt: skip
    return frame


def _apart(values: Floats, rate: Floats, step_s: float, bin_s: float, level: float, short: float) -> Floats:
    """Return by statistic how far the mean of a step's tasks may lie from that of the recorded `values`: a ratio."""
    found = np.full((len(_STATISTICS), len(rate)), np.nan)
    found[0] = 1.0
    if len(values) >= LEAST_RUNS:
        found[1:3] = mean_ends(values[:, None], level, future=np.maximum(rate * step_s, 1.0))
        found[3] = mean_ends(values[:, None], 1 - 2 * short, future=np.maximum(rate * bin_s, 1.0))[1]
    return found


def _together(means: list[Floats], apart: list[Floats]) -> Floats:
    """Return the same of all kinds, whose tasks know nothing of each other: squares add up."""
    parts = np.array([one[0] for one in means])
    shares = parts / np.maximum(parts.sum(axis=0), 1e-300)
    off = (shares[:, None] * (np.array(apart) - 1)) ** 2
    return np.asarray(1 + _SIDES * np.sqrt(off.sum(axis=0)), dtype=np.float64)


def _widened(values: Floats, apart: Floats) -> Floats:
    """Return bounds of what arrives and of what one task takes as those of their product: logs add in squares."""
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.hypot(np.maximum(_SIDES * np.log(values / values[0]), 0.0), np.log(apart))
    return np.where(values[0] > 0, values[0] * np.exp(_SIDES * off), values + 0.0 * apart)


def sum_of(arrivals: Mapping[str, History]) -> History:
    """Return all kinds as one series."""
    first = next(iter(arrivals.values()))
    values = np.sum([one.values for one in arrivals.values()], axis=0)
    return History("tasks", first.start_s, first.bin_s, values, "tasks/s")
