"""Recorded demand to come, step by step: a series alone, or arrivals of tasks times what a task takes. Frames out.

Tasks are forecast kind by kind where their mix moves, and as one series shared out by the mix where it does not: the
sum is less noisy than its parts. What a task takes is the mean of the recorded tasks of its kind.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.history.backtest import whole_step_s
from tokenflation.analysis.history.backtesting import Rolled, roll
from tokenflation.analysis.history.reading import History, of_events
from tokenflation.analysis.reduce import tasks
from tokenflation.sdk.errors import FrameError

__all__ = ["forecast_series", "forecast_tasks", "mix_is_stable", "sum_of", "taken_by_task", "task_arrivals"]

Floats = NDArray[np.float64]

_TAKEN = {"calls": "calls", "input_tokens": "tokens", "output_tokens": "tokens"}
_STATISTICS = ("mean", "low", "high", "provision")
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
    return _rows(_rolled(history, steps, step_s, level, short), history, history.name, 1.0, history.unit)


def _rolled(history: History, steps: int, step_s: float, level: float, short: float) -> Rolled:
    whole = int(len(history.values) * history.bin_s // step_s)
    # Each of these steps is forecast too: of short ones eight days are more than are needed, of long ones too few.
    taught = min(_MOST_TAUGHT, max(_LEAST_TAUGHT, round(_TEACHING_DAYS * 86_400 / step_s)))
    first = max(1, whole - taught - (steps if step_s >= 600 else 0))
    return roll(history.values, history.bin_s, step_s=step_s, horizon=steps, level=level, short=short, first=first)


def _rows(rolled: Rolled, history: History, name: str, scale: float, unit: str) -> pd.DataFrame:
    values = (rolled.middle, rolled.low, rolled.high, rolled.provision)
    end = history.start_s + len(history.values) * history.bin_s
    starts = end + np.arange(rolled.middle.shape[1]) * rolled.step_s
    parts = [pd.DataFrame({"bucket_start": starts, "resource": name, "statistic": statistic, "value": one[-1] * scale,
                           "unit": unit}) for statistic, one in zip(_STATISTICS, values, strict=True)]  # fmt: skip
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
    """Return what a task takes on average: one row per kind, columns `calls`, `input_tokens`, `output_tokens`."""
    by_task = tasks(calls)
    numbers = by_task[list(_TAKEN)].astype("float64")
    found: pd.DataFrame = numbers.groupby(by_task["task"].astype("str")).mean()
    return found


def forecast_tasks(arrivals: Mapping[str, History], taken: pd.DataFrame, *, steps: int = 24, step_s: float | None = None,
                   level: float = 0.9, short: float = 0.01) -> pd.DataFrame:  # fmt: skip
    """Return tasks, calls and tokens per second of the next steps; columns as of `forecast_series`, and `task`.

    Where kinds are forecast apart, the rows of `task` "all" are sums of theirs: of the ends of intervals too, which is
    wide where kinds go their own ways. `attrs["manifest"]` says which way was taken.

    Raises:
        FrameError: a kind has no profile, or too little demand is known.
    """
    unknown = sorted(set(arrivals) - set(map(str, taken.index)))
    if unknown:
        raise FrameError(f"no task of {', '.join(unknown)} was recorded, so what one takes is not known; record some.")
    whole = sum_of(arrivals)
    step_s = step_s or whole_step_s(whole)
    stable = mix_is_stable(arrivals) or min(int((one.values > 0).sum()) for one in arrivals.values()) < steps
    parts = []
    if stable:
        rolled = _rolled(whole, steps, step_s, level, short)
        total = float(np.nansum(whole.values))
        for kind, one in arrivals.items():
            parts += _of_kind(rolled, whole, kind, float(np.nansum(one.values)) / total, _one(taken, kind))
    else:
        for kind, one in arrivals.items():
            parts += _of_kind(_rolled(one, steps, step_s, level, short), one, kind, 1.0, _one(taken, kind))
    frame = pd.concat(parts, ignore_index=True)
    together = frame.groupby(["bucket_start", "resource", "statistic", "unit"], sort=False, as_index=False)["value"]
    everything = pd.DataFrame(together.sum(min_count=len(arrivals))).assign(task="all")
    frame = pd.concat([everything, frame], ignore_index=True)
    frame = pd.DataFrame(frame[["task", "bucket_start", "resource", "statistic", "value", "unit"]])
    frame.attrs["manifest"] = {"mix": "stable: all tasks together, shared out" if stable else "moving: kind by kind",
                               "kinds": list(arrivals), "step_s": step_s, "level": level}  # fmt: skip
    return frame


def _one(taken: pd.DataFrame, kind: str) -> dict[str, float]:
    return {name: float(taken[name].to_numpy()[list(taken.index).index(kind)]) for name in _TAKEN}


def _of_kind(
    rolled: Rolled, history: History, kind: str, share: float, taken: Mapping[str, float]
) -> list[pd.DataFrame]:
    parts = [_rows(rolled, history, "tasks_per_s", share, "tasks/s")]
    parts += [
        _rows(rolled, history, f"{name}_per_s", share * taken[name], f"{unit}/s") for name, unit in _TAKEN.items()
    ]
    return [part.assign(task=kind) for part in parts]


def sum_of(arrivals: Mapping[str, History]) -> History:
    """Return all kinds as one series."""
    first = next(iter(arrivals.values()))
    values = np.sum([one.values for one in arrivals.values()], axis=0)
    return History("tasks", first.start_s, first.bin_s, values, "tasks/s")
