"""What a planned fleet uses in all: tasks, calls, tokens and FLOP of each hour, day and month.

Knows nothing of loads at an instant. A month is a twelfth of a mean year, 30.4375 days.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.counted import Counted
from tokenflation.analysis.fleet.loads import Load, total_of
from tokenflation.analysis.fleet.paths import Path, Runs, summed
from tokenflation.analysis.fleet.resources import arms_of, burst_cv
from tokenflation.analysis.fleet.windows import constant, running, steps
from tokenflation.analysis.planning.arrivals import Arrivals, arrivals
from tokenflation.analysis.planning.plan import Plan

__all__ = ["MONTH_S", "WindowTotal", "run_totals", "totals_of", "window_totals"]

Floats = NDArray[np.float64]

_TOTALS = {
    "tasks": "tasks/day",
    "calls": "calls/day",
    "input_tokens": "tokens/day",
    "prefill_tokens": "tokens/day",
    "output_tokens": "tokens/day",
    "flop": "FLOP/day",
}
_HOUR_S, _DAY_S = 3_600.0, 86_400.0
MONTH_S = 30.4375 * _DAY_S
"""Seconds of a month: a twelfth of 365.25 days."""
_USED = {
    "input_tokens": "prefill_no_cache_tokens_per_s",
    "prefill_tokens": "prefill_tokens_per_s",
    "output_tokens": "decode_tokens_per_s",
    "flop": "flop_per_s",
}
_MOST_GROWN = 1e6


@dataclass(frozen=True, slots=True)
class WindowTotal:
    """One resource's totals over windows of one length, ready for statistics."""

    name: str
    unit: str
    starts_s: Floats
    load: Load
    of: str
    """The resource: the name without its window."""
    length_s: float
    slow: float
    """The cv of a factor on the whole volume over the window, which is part of the load's own."""


def window_totals(runs: Runs, plan: Plan, weights: Floats, factors: dict[str, Floats],
                  volumes: dict[str, float], counted: Counted) -> Iterator[WindowTotal]:  # fmt: skip
    """Yield the totals of each hour and day of the horizon, and of each month that begins in it (at least one).

    A task or call counts where it starts, tokens and FLOP where they are worked on. The last month goes on past a
    horizon that ends before it, with shapes and growth as they are; where volume grows beyond reckoning until then,
    none is given.
    """
    months = max(1, round(plan.days * _DAY_S / MONTH_S))
    windows = {"hour": (_HOUR_S, 24 * plan.days), "day": (_DAY_S, plan.days), "month": (MONTH_S, months)}
    grown = plan.volume_growth
    ahead = np.arange(plan.days, np.ceil(months * MONTH_S / _DAY_S) + 1)
    with np.errstate(over="ignore"):
        if not (grown.levels(ahead) < _MOST_GROWN).all():
            del windows["month"]
    past = max(0.0, months * MONTH_S - plan.days * _DAY_S) + plan.bucket_s
    over = arrivals(plan, before_s=runs.longest_s + plan.bucket_s, after_s=past)
    every = np.arange(len(runs.kind_of_run), dtype=np.int64)
    none = np.zeros(len(every))
    for word, (length_s, count) in windows.items():
        starts: Floats = np.arange(count, dtype=np.float64) * length_s
        # A factor on the volume that is drawn anew each day evens out over a month.
        slow = plan.slow_cv / np.sqrt(max(1.0, length_s / _DAY_S))
        for name, unit in _TOTALS.items():
            if name in _USED and _USED[name] not in runs.paths:
                continue
            if name == "tasks":
                near = Path(every, none, none + length_s, none + 1.0)
                pieces = constant(near)
            elif name == "calls":
                near = summed(
                    runs.call_run, runs.call_start_s, runs.call_start_s + length_s, np.ones(len(runs.call_run))
                )
                pieces = constant(near)
            else:
                path = runs.paths[_USED[name]]
                near, pieces = steps(path, length_s), running(path, length_s)
            # Over a day or more, nearly whole runs fall into a window.
            arms = arms_of(runs, near, over, starts + length_s, volumes, counted) if word == "hour" else None
            load = total_of(runs, pieces, near, weights, over, starts + length_s, factors[name], arms=arms,
                            cv_of=partial(_cv, near, weights, over, starts + length_s / 2, plan, slow))  # fmt: skip
            yield WindowTotal(
                f"{name}_per_{word}", unit.replace("/day", f"/{word}"), starts, load, name, length_s, slow
            )


def _cv(
    near: Path, weights: Floats, over: Arrivals, middles_s: Floats, plan: Plan, slow: float, mean: Floats
) -> Floats:
    quick = burst_cv(near, weights, over, middles_s, plan, mean)
    return np.asarray(np.hypot(quick, slow), dtype=np.float64)


def run_totals(runs: Runs) -> pd.DataFrame:
    """Return one row per run: `tasks`, which is 1, and its calls and tokens."""
    totals = runs.totals.copy()
    totals.insert(0, "tasks", 1.0)
    return totals


def totals_of(runs: Runs, totals: pd.DataFrame, weights: Floats, factors: dict[str, Floats], enough: bool,
            level: float) -> list[tuple[float, str, str, float, str]]:  # fmt: skip
    """Return rows of the long table with the totals of a day of each resource."""
    rows = []
    tail = (1 - level) / 2
    for name, unit in _TOTALS.items():
        if name not in totals:
            continue
        per_day = np.bincount(runs.kind_of_run, weights * totals[name].to_numpy(dtype=np.float64), len(runs.kinds))
        rows.append((-1.0, name, "mean", float(per_day.sum()), unit))
        if enough:
            low, high = np.quantile(per_day @ factors[name], [tail, 1 - tail])
            rows += [(-1.0, name, "mean_low", float(low), unit), (-1.0, name, "mean_high", float(high), unit)]
    return rows
