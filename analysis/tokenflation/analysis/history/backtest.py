"""How good the forecasts of a recorded series would have been: errors, intervals, capacity. Frames out; does no I/O.

A step in which most bins are a gap is left out of every figure but `wape_all`, which takes gaps for the zeros they were
recorded as. Capacity is judged at a matched shortfall: what has to be provided, over the mean demand, so that at most
one bin in a hundred exceeds it. Its headroom is found in hindsight for every model alike, so that models compare;
`provided` and `short` are the ensemble's own bound, which needs no hindsight.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.history.backtesting import Rolled, roll
from tokenflation.analysis.history.gaps import DAY_S, find_gaps
from tokenflation.analysis.history.reading import History
from tokenflation.analysis.history.timeseries import MEMBERS
from tokenflation.sdk.errors import FrameError

__all__ = ["SHORT", "backtest", "judged", "naive_error", "pinball", "provisioned", "wape", "whole_step_s"]

Floats = NDArray[np.float64]

SHORT = 0.01
"""Share of bins that may be short of capacity."""
_HOUR_S = 3600.0
_MOST_STEPS = 400
_ROUNDING = 1e-9


def whole_step_s(history: History) -> float:
    """Return the step to forecast by: an hour where the series holds three days, else few bins of its own."""
    per_hour = round(_HOUR_S / history.bin_s)
    span = len(history.values) * history.bin_s
    if span >= 3 * DAY_S and per_hour >= 1 and abs(per_hour * history.bin_s - _HOUR_S) < 1e-6 * _HOUR_S:
        return _HOUR_S
    return history.bin_s * max(1, len(history.values) // _MOST_STEPS if span < 3 * DAY_S else 1)


def backtest(history: History, *, step_s: float | None = None, first: int | None = None, level: float = 0.9,
             short: float = SHORT) -> pd.DataFrame:  # fmt: skip
    """Return how forecasts from every step did; one row per distance and model.

    Columns: `ahead` (`next step`, from every step on; `next day`, made once a day for all its steps), `model`, `steps`
    (judged), `wape`, `wape_all`, `mase` (1 is the error of the same time yesterday), `pinball` (mean over 5, 50 and 95
    % at level 0.9, over mean demand), `coverage`, `provisioned` (over mean demand, headroom in hindsight), `provided`,
    `short`. `first`: steps before those judged, by default half the series, a week at most.

    Raises:
        FrameError: too little demand is known.
    """
    step_s = step_s or whole_step_s(history)
    per_step, per_day = round(step_s / history.bin_s), max(1, round(DAY_S / step_s))
    whole = len(history.values) // max(1, per_step)
    start = min(7 * per_day, whole // 2) if first is None else first
    reach = per_day if per_day * 2 <= whole else min(12, max(1, whole // 8))
    rolled = roll(history.values, history.bin_s, step_s=step_s, horizon=reach, level=level, short=short, first=1)
    if start < rolled.origins[0] or start >= whole:
        start = int(rolled.origins[0]) + (whole - int(rolled.origins[0])) // 3
    if start >= whole:
        raise FrameError(
            f"nothing is left to judge after the first {start} steps; give a longer series or a smaller first."
        )
    rows: list[dict[str, Any]] = []
    views = [("next step", 1, 1)] + ([("next day", per_day, per_day)] if reach == per_day > 1 else [])
    for ahead, every, distance in views:
        origins = np.arange(start, whole - distance + 1, every)
        if len(origins):
            rows += _rows(ahead, history, rolled, origins, distance, per_step, per_day, level)
    frame = pd.DataFrame(rows)
    frame.attrs["manifest"] = {
        "series": history.name, "unit": history.unit, "bin_s": history.bin_s, "step_s": step_s, "steps": whole,
        "judged_from_step": start, "level": level, "gap_bins": int(find_gaps(history.values, history.bin_s).sum()),
    }  # fmt: skip
    return frame


def _rows(ahead: str, history: History, rolled: Rolled, origins: NDArray[np.int64], distance: int, per_step: int,
          per_day: int, level: float) -> list[dict[str, Any]]:  # fmt: skip
    row = origins - rolled.origins[0]
    targets = (origins[:, None] + np.arange(distance)).reshape(-1)
    bins = history.values[rolled.skipped :][: len(rolled.steps) * per_step].reshape(-1, per_step)
    truth, raw = rolled.steps, np.nan_to_num(bins).mean(axis=1)
    naive = naive_error(truth[: origins[0]], per_day)
    last = pd.Series(truth).ffill().bfill().to_numpy(dtype=np.float64)[origins - 1]
    models: dict[str, Floats] = {"ensemble": rolled.middle[row, :distance].reshape(-1),
                                 "last step": np.repeat(last, distance)}  # fmt: skip
    models |= {name: rolled.each[row, number, :distance].reshape(-1) for number, name in enumerate(MEMBERS)}
    ours = {name: getattr(rolled, name)[row, :distance].reshape(-1) for name in ("low", "high", "provision")}
    found = []
    for name, middle in models.items():
        bounds = ours if name == "ensemble" else {}
        figures = judged(middle, truth[targets], raw[targets], bins[targets], bounds=bounds, level=level)
        mase = float(np.nanmean(np.abs(middle - truth[targets]))) / naive if naive else np.nan
        found.append({"ahead": ahead, "model": name, "steps": int(np.isfinite(truth[targets]).sum()),
                      "wape": figures.pop("wape"), "wape_all": figures.pop("wape_all"), "mase": mase, **figures})  # fmt: skip
    return found


def judged(middle: Floats, truth: Floats, raw: Floats, bins: Floats, *, bounds: Mapping[str, Floats] | None = None,
           level: float = 0.9) -> dict[str, float]:  # fmt: skip
    """Return one model's figures: forecasts by step against known steps, all steps, and bins (steps, bins of one)."""
    found = {"wape": wape(middle, truth), "wape_all": wape(middle, raw), "pinball": np.nan, "coverage": np.nan,
             "provisioned": provisioned(middle, bins), "provided": np.nan, "short": np.nan}  # fmt: skip
    if not bounds:
        return found
    known = np.isfinite(truth) & np.isfinite(bounds["low"]) & np.isfinite(bounds["high"])
    if known.any():
        # Where a series repeats itself an interval is a point, but for the rounding of logarithms.
        inside = (truth >= bounds["low"] * (1 - _ROUNDING)) & (truth <= bounds["high"] * (1 + _ROUNDING))
        found["coverage"] = float(inside[known].mean())
        tail = (1 - level) / 2
        losses = [pinball(one[known], truth[known], at)
                  for one, at in ((bounds["low"], tail), (middle, 0.5), (bounds["high"], 1 - tail))]  # fmt: skip
        found["pinball"] = float(np.mean(losses)) * 2 / float(truth[known].mean())
    capacity = bounds["provision"]
    fits = np.isfinite(capacity)
    if fits.any():
        recorded = np.nan_to_num(bins[fits])
        found["provided"] = float(capacity[fits].mean() / recorded.mean())
        found["short"] = float((recorded > capacity[fits][:, None]).mean())
    return found


def wape(middle: Floats, truth: Floats) -> float:
    """Return the sum of absolute errors over the sum of demand, of the steps that are known."""
    known = np.isfinite(truth) & np.isfinite(middle)
    total = float(truth[known].sum())
    return float(np.abs(middle - truth)[known].sum()) / total if total else np.nan


def pinball(quantile: Floats, truth: Floats, at: float) -> float:
    """Return the mean pinball loss of forecasts of the quantile `at`, in the unit of demand."""
    off = truth - quantile
    return float(np.maximum(at * off, (at - 1) * off).mean())


def provisioned(capacity: Floats, bins: Floats, short: float = SHORT) -> float:
    """Return capacity over mean demand when scaled so that at most the share `short` of bins exceeds it.

    `capacity` is by step, `bins` of shape (steps, bins of one step); bins without a number need none. Infinite where no
    headroom is enough: too many bins ask for something in steps that are given nothing, or a step is given no end of
    it.
    """
    known = np.isfinite(bins)
    if not known.any() or not (capacity > 0).any() or np.isnan(capacity).any():
        return np.nan
    if np.isinf(capacity).any():
        return np.inf
    # By the largest, so that the sum of absurd forecasts is a number too.
    shape = capacity / capacity.max()
    asked = np.nan_to_num(bins) / bins[known].mean()
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        ratio = np.sort(np.where(asked > 0, asked / np.maximum(shape, 0.0)[:, None], 0.0)[known])
    headroom = ratio[max(0, len(ratio) - 1 - int(short * len(ratio)))]
    return float(headroom * shape.mean())


def naive_error(truth: Floats, per_day: int) -> float:
    """Return the mean error of the same time yesterday before the first origin; 0 where there is no such day."""
    errors = np.abs(truth[per_day:] - truth[:-per_day]) if len(truth) > per_day else np.array([])
    return float(np.nanmean(errors)) if np.isfinite(errors).any() else 0.0
