"""Which bins of a recorded series were not demand but a gap: missing, or next to nothing where that cannot be.

Pure NumPy.

An outage leaves zeros in a log of requests. Taken for demand they drag every average down; taken for gaps they only
cost what they hide. A bin is a gap when it holds no number, or when it holds next to nothing although bins beside it
hardly differ from each other, unless the same time of day (or of the week before or after) holds next to nothing as
well, or several other stretches close to it do: an outage is one stretch, few requests leave bins empty here and there.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["DAY_S", "WEEK_S", "find_gaps"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

DAY_S = 86_400
WEEK_S = 7 * DAY_S
# Shares of the week's median, of log steps between bins, and of days: judged on series with gaps cut into them.
_NOTHING = 0.02
_SMOOTH = 0.35
_USUAL = 0.75
# What is still little, as a share of the same median; bins on either side of a stretch of it; other stretches in those.
_LITTLE = 0.03
_NEAR = 12
_SEVERAL = 3


def find_gaps(values: Floats, bin_s: float) -> Flags:
    """Return True for each bin that is a gap; it looks at all bins, so give it no more than was known at the time.

    A series whose zeros are part of it (few requests a bin, closed nights, closed days) keeps them.
    """
    missing = ~np.isfinite(values)
    typical = _typical(values, bin_s)
    low, little = (~missing & (values <= share * typical) for share in (_NOTHING, _LITTLE))
    if not low.any() or _roughness(values, missing | low) > _SMOOTH:
        return missing
    unusual = ~_recurs(low, missing, bin_s)
    return np.asarray(missing | (low & unusual & ~_scattered(little & unusual)), dtype=np.bool_)


def _typical(values: Floats, bin_s: float) -> Floats:
    """Return for each bin the median of the positive bins of its week, counted back from the last."""
    count = len(values)
    week = (count - 1 - np.arange(count)) // max(1, round(WEEK_S / bin_s))
    positive = np.isfinite(values) & (values > 0)
    overall = float(np.median(values[positive])) if positive.any() else 0.0
    typical = np.full(count, overall)
    for one in np.unique(week):
        mine = positive & (week == one)
        if 2 * mine.sum() >= (week == one).sum():
            typical[week == one] = np.median(values[mine])
    return typical


def _roughness(values: Floats, without: Flags) -> float:
    """Return the median step between neighbouring bins in logs: large where a bin holds few requests."""
    beside = ~without[1:] & ~without[:-1]
    if not beside.any():
        return np.inf
    steps = np.diff(np.log(np.where(without, 1.0, values)))
    return float(np.median(np.abs(steps[beside])))


def _recurs(low: Flags, missing: Flags, bin_s: float) -> Flags:
    """Return whether next to nothing is what the bin's time of day, or of week, usually holds."""
    recurs = np.zeros(len(low), dtype=np.bool_)
    day, week = round(DAY_S / bin_s), round(WEEK_S / bin_s)
    if day >= 2 and len(low) > day:
        phase = np.arange(len(low)) % day
        known = np.bincount(phase, weights=~missing, minlength=day)
        share = np.bincount(phase, weights=low, minlength=day) / np.maximum(known, 1)
        recurs = ((share >= _USUAL) & (known >= 3))[phase]
    if week >= 2 and len(low) > week:
        recurs[week:] |= low[:-week]
        recurs[:-week] |= low[week:]
    return recurs


def _scattered(little: Flags) -> Flags:
    """Return which bins stand in a stretch of little that has several others near it."""
    edges = np.flatnonzero(np.diff(little, prepend=False, append=False))
    starts, ends = edges[::2], edges[1::2]
    others = np.searchsorted(starts, ends + _NEAR) - np.searchsorted(ends, starts - _NEAR, side="right") - 1
    scattered = np.zeros(len(little), dtype=np.bool_)
    scattered[little] = np.repeat(others >= _SEVERAL, ends - starts)
    return scattered
