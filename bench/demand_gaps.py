"""Recorded series damaged on purpose: what an outage, a broken log or a jump of the clock does to a forecast.

Each case writes a damaged copy of a series as a CSV, reads it back as any file is read, forecasts it from every hour
and judges what was forecast on hours that the damage did not touch. Run by `demand_backtest.py --gaps`.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.history.backtesting import Rolled, roll
from tokenflation.analysis.history.gaps import find_gaps
from tokenflation.analysis.history.reading import History, read_history
from tokenflation.sdk.errors import TokenflationError

__all__ = ["CASES", "Damaged", "gap_table"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BIN_S, DAY = 600, 144
FIRST, LEAST_FIRST = 168, 50


@dataclass
class Damaged:
    """A damaged log: its rows as written, what was really demanded, and which bins say nothing or wrong."""

    times: Floats
    written: Floats
    truth: Floats
    cut: Flags


def _whole(values: Floats) -> Damaged:
    return Damaged(BIN_S * np.arange(len(values), dtype=np.float64), values.copy(), values.copy(),
                   np.zeros(len(values), dtype=np.bool_))  # fmt: skip


def zeros(*spans: tuple[int, int]) -> Callable[[Floats], Damaged]:
    """Write zeros in each span of hours (from, to); spans past the end are left out."""

    def damage(values: Floats) -> Damaged:
        made = _whole(values)
        for start, end in spans:
            made.cut[6 * start : 6 * end] = True
        made.written[made.cut] = 0.0
        return made

    return damage


def zeros_daily(values: Floats) -> Damaged:
    rng = np.random.default_rng(1)
    return zeros(*((24 * day + start, 24 * day + start + 2)
                   for day, start in enumerate(rng.integers(0, 22, len(values) // DAY))))(values)  # fmt: skip


def trickle(values: Floats) -> Damaged:
    """A health check goes on through two outages: one per cent of the demand is logged."""
    made = zeros((120, 132), (228, 240))(values)
    made.written[made.cut] = 0.01 * values[made.cut]
    return made


def cells_missing(values: Floats) -> Damaged:
    made = _whole(values)
    made.cut = np.random.default_rng(2).random(len(values)) < 0.1
    made.written[made.cut] = np.nan
    return made


def rows_missing(*spans: tuple[int, int], share: float = 0.0) -> Callable[[Floats], Damaged]:
    def damage(values: Floats) -> Damaged:
        made = _whole(values)
        made.cut |= np.random.default_rng(3).random(len(values)) < share
        for start, end in spans:
            made.cut[6 * start : 6 * end] = True
        made.cut[[0, -1]] = False  # else the series would only be shorter
        return Damaged(made.times[~made.cut], made.written[~made.cut], made.truth, made.cut)

    return damage


def partial_bins(values: Floats) -> Damaged:
    """Outages that start and end within a bin: what is logged of these is a part."""
    made = _whole(values)
    rng = np.random.default_rng(4)
    for start in range(5 * 6, len(values) - 30, 150):
        made.cut[start : start + 15] = True
        made.written[start : start + 15] = 0.0
        for edge in (start, start + 14):
            made.written[edge] = rng.uniform(0.05, 0.9) * values[edge]
    return made


def shift_after(values: Floats) -> Damaged:
    """Twelve hours out, then 1.6 times the demand."""
    grown = np.where(np.arange(len(values)) >= 6 * 230, 1.6 * values, values)
    return zeros((218, 230))(grown)


def spikes(values: Floats) -> Damaged:
    """One bin in a hundred holds twenty times its demand: retries, or a counter that was reset."""
    made = _whole(values)
    made.cut = np.random.default_rng(5).random(len(values)) < 0.01
    made.written[made.cut] *= 20
    return made


def constant(values: Floats) -> Damaged:
    return _whole(np.full(len(values), float(np.nanmean(values))))


def shuffled(values: Floats) -> Damaged:
    """Rows in any order, a tenth of them written twice."""
    made = _whole(values)
    rng = np.random.default_rng(6)
    order = rng.permutation(np.concatenate((np.arange(len(values)), rng.integers(0, len(values), len(values) // 10))))
    return Damaged(made.times[order], made.written[order], made.truth, made.cut)


def clock_jumps(values: Floats) -> Damaged:
    """Local time without its zone: an hour is skipped on day 5, one is written twice on day 10 (the last counts)."""
    made = _whole(values)
    at = np.arange(len(values))
    times = made.times + 3600.0 * ((at >= 6 * 98) & (at < 6 * 219))
    truth = np.full(len(values), np.nan)
    truth[np.round(times / BIN_S).astype(np.int64)] = values
    return Damaged(times, values.copy(), truth, ~np.isfinite(truth))


def last_hours_out(values: Floats) -> Damaged:
    """The log ends in an outage that is still going on."""
    return zeros((len(values) // 6 - 5, len(values) // 6))(values)


CASES: dict[str, Callable[[Floats], Damaged]] = {
    "as recorded": _whole,
    "zeros 6 h": zeros((200, 206)),
    "zeros 2 h every day": zeros_daily,
    "zeros 20 h, twice": zeros((125, 145), (250, 270)),
    "zeros over midnight": zeros((189, 196), (286, 291)),
    "zeros twice in one day": zeros((194, 198), (204, 209)),
    "two days of zeros": zeros((192, 240)),
    "zeros up to the end": last_hours_out,
    "1 % trickle, 12 h twice": trickle,
    "cells empty 10 %": cells_missing,
    "rows missing 10 %": rows_missing(share=0.1),
    "rows missing 2 days": rows_missing((100, 148)),
    "bins cut off by outages": partial_bins,
    "out 12 h, then 1.6 times": shift_after,
    "spikes of 20 times, 1 %": spikes,
    "constant": constant,
    "three days only": lambda values: _whole(values[: 3 * DAY]),
    "two days only": lambda values: _whole(values[: 2 * DAY]),
    "rows shuffled, doubled": shuffled,
    "clock jumps an hour": clock_jumps,
}


def _read(made: Damaged) -> History:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.csv"
        pd.DataFrame({"t_s": made.times, "demand": made.written}).to_csv(path, index=False)
        return read_history(path, column="demand")


def _silly(made: Rolled) -> str:
    """Return what no forecast may be: not a number, negative, or ten times what was ever recorded before."""
    known = np.isfinite(made.middle[:, 0])
    middle = made.middle[known]
    most = np.maximum.accumulate(np.where(np.isfinite(made.steps), made.steps, 0.0))[made.origins[known] - 1]
    found = []
    if not known[-1] or not np.isfinite(middle).all():
        found.append("no number")
    if (middle < 0).any():
        found.append("negative")
    if (middle > 10 * most[:, None]).any():
        found.append("10 times")
    if (made.low[known] > middle).any() or (made.high[known] < middle).any():
        found.append("outside its interval")
    return ", ".join(found) or "no"


def _figures(made: Rolled, truth: Floats, stayed: Flags) -> dict[str, float]:
    """Return errors and coverage on hours that stayed, an hour ahead of every hour and a day ahead of midnights."""
    whole = len(truth)
    first = FIRST if whole > FIRST + 24 else min(max(int(made.origins[0]), LEAST_FIRST), whole - 1)
    found = {}
    for name, every, distance in (("hour", 1, 1), ("day", 24, 24)):
        origins = np.arange(first, whole - distance + 1, every)
        if not len(origins):
            found |= {name: np.nan, f"{name} inside": np.nan}
            continue
        targets = origins[:, None] + np.arange(distance)
        row = origins - made.origins[0]
        middle, low, high = (one[row, :distance] for one in (made.middle, made.low, made.high))
        keep = stayed[targets] & np.isfinite(middle)
        real = truth[targets]
        found[name] = float(np.abs(middle - real)[keep].sum() / real[keep].sum()) if keep.any() else np.nan
        told = keep & np.isfinite(low) & np.isfinite(high)
        slack = 1e-9 * real  # a constant is as good as inside an interval of no width
        inside = (real >= low - slack) & (real <= high + slack)
        found[f"{name} inside"] = float(inside[told].mean()) if told.any() else np.nan
    return found


def gap_table(name: str, history: History) -> list[str]:
    """Print errors and coverage on undamaged hours, with gaps masked and taken for zeros; say what is silly."""
    print(f"\n{name}: damaged on purpose; figures on hours that the damage left alone, gaps masked | taken for zeros")
    print(f"  {'damage':25} {'cut':>6} {'hour-ahead WAPE':>17} {'day-ahead WAPE':>17} {'hour inside 90 %':>17} "
          f"{'day inside 90 %':>17}  silly values")  # fmt: skip
    wrong = []
    for case, damage in CASES.items():
        made = damage(history.values)
        try:
            series = _read(made)
            both = [roll(values, BIN_S, step_s=3600.0, horizon=24, first=1, mask=mask)
                    for mask, values in ((True, series.values), (False, np.nan_to_num(series.values)))]  # fmt: skip
        except TokenflationError as error:
            print(f"  {case:25} refused: {error}")
            continue
        hours = len(made.truth) // 6 * 6
        truth = np.nan_to_num(made.truth[:hours]).reshape(-1, 6).mean(axis=1)
        stayed = ~(made.cut | find_gaps(made.truth, BIN_S))[:hours].reshape(-1, 6).any(axis=1)
        figures = [_figures(one, truth, stayed) for one in both]
        cells = [" | ".join(f"{one[of]:.3f}" for one in figures) for of in ("hour", "day", "hour inside", "day inside")]
        silly = _silly(both[0])
        print(f"  {case:25} {made.cut.mean():6.1%} " + " ".join(f"{cell:>17}" for cell in cells) + f"  {silly}")
        if silly != "no":
            wrong.append(f"{name}, {case}: {silly}")
    return wrong
