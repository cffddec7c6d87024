"""Intervals of ratios of sums over the tasks of a kind, for all kinds and ratios at once. Pure NumPy; knows no columns.

Whole tasks are resampled, numerator and denominator together (bootstrap-t). A ratio is taken in its logarithm, a share in
its log odds, so that an interval stays where the number can be. With `d = a - r b` the standard error of `log r` is
`sqrt(n / (n - 1) sum d^2) / sum a` (linearised); of the log odds it is that over `1 - r`. So a share and what it leaves
have mirrored intervals where both are of the same resamples; `agreed` does the rest for three parts and more.
Source: FORECAST model, section 1.5 (a): studentised, whole runs, widened by `prototypes.kappa`.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, kappa

__all__ = ["agreed", "bootstrapped", "normal"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_CELLS = 4_000_000
"""Numbers held at once in one array: 32 MB."""
# A resample of almost equal tasks has next to no spread, and so any t; see `prototypes`.
_SPREAD_FLOOR = 1 / 3
_NO_SPREAD = 1e-12
_MOST = 50.0


def normal(ratio: Floats, error: Floats, tasks: Floats, is_share: Flags, z: float) -> tuple[Floats, Floats]:
    """Return both ends from the normal limit, `z` standard errors away; `error` is that of the ratio's logarithm.

    Shapes are (kinds, ratios). Missing where fewer than `LEAST_RUNS` tasks report the ratio or nobody knows it, and where
    it is 0, or a share is 1: how rare what was never seen is, these tasks cannot say. Where all tasks agree otherwise, both
    ends are the ratio itself.
    """
    place, width = _scaled(ratio, error, is_share)
    ends = _back(place - z * width, is_share), _back(place + z * width, is_share)
    return _settled(ends[0], ends[1], ratio, error, tasks, is_share)


def bootstrapped(
    numerators: Floats, denominators: Floats, is_share: Flags, weights: Floats, level: float
) -> tuple[Floats, Floats]:
    """Return both ends, shape (kinds, ratios), for kinds that have equally many tasks; missing as in `normal`.

    `numerators` and `denominators` have shape (kinds, tasks, ratios), the latter NaN where a task does not report the
    ratio; `weights`, shape (resamples, tasks), say how often a resample holds each task, and serve all kinds.
    """
    kinds, tasks, ratios = numerators.shape
    step = max(1, _CELLS // max(1, 5 * ratios * max(len(weights), tasks)))
    parts = [
        _interval(numerators[first : first + step], denominators[first : first + step], is_share, weights, level)
        for first in range(0, kinds, step)
    ]
    return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])


def agreed(low: Floats, high: Floats, parts: Sequence[int]) -> tuple[Floats, Floats]:
    """Return the ends with those of the columns `parts`, shares of one whole that add up to 1, made to agree.

    Where one part may be as large as its upper end says, no other can be larger than what that leaves: the lower ends of
    the others go down to it. Nothing is narrowed, so no interval holds the truth less often than before. Shapes are (kinds,
    ratios); a part without an interval says nothing.
    """
    low, columns = low.copy(), list(parts)
    upper = np.nan_to_num(high[:, columns])
    for place, column in enumerate(columns):
        others = np.delete(upper, place, axis=1)
        low[:, column] = np.minimum(low[:, column], 1 - others.max(axis=1, initial=0.0))
    return low, high


def _interval(
    numerators: Floats, denominators: Floats, is_share: Flags, weights: Floats, level: float
) -> tuple[Floats, Floats]:
    reported = np.isfinite(denominators)
    a, b = np.where(reported, np.nan_to_num(numerators), 0.0), np.where(reported, np.nan_to_num(denominators), 0.0)
    tasks = reported.sum(axis=1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = a.sum(axis=1) / b.sum(axis=1)
        # In units of their sums: the squares of token counts would cost the last digits.
        a, b = a / a.sum(axis=1, keepdims=True), b / b.sum(axis=1, keepdims=True)
        moments = np.concatenate((a, b, a * a, a * b, b * b), axis=2)
        error = _log_error(moments.sum(axis=1, keepdims=True), tasks)[1][:, 0]
        drawn, drawn_error = _log_error(weights @ moments, tasks)
        place, width = _scaled(ratio, error, is_share)
        places, widths = _scaled(
            np.minimum(ratio[:, None] * drawn, np.where(is_share, 1.0, np.inf)), drawn_error, is_share
        )
        # Of the scaled errors: of a share and of what it leaves these are equal.
        widths = np.maximum(widths, _SPREAD_FLOOR * width[:, None])
        pulls = np.clip((places - place[:, None]) / widths, -_MOST, _MOST)
        counts, which = np.unique(np.maximum(tasks, 1.0), return_inverse=True)
        widened = width * np.array([kappa(int(count)) for count in counts])[which].reshape(tasks.shape)
        tail = (1 - level) / 2
        high_pull, low_pull = np.nanquantile(np.where(np.isnan(pulls), 0.0, pulls), [1 - tail, tail], axis=1)
        low, high = _back(place - high_pull * widened, is_share), _back(place - low_pull * widened, is_share)
    return _settled(low, high, ratio, error, tasks, is_share)


def _log_error(moments: Floats, tasks: Floats) -> tuple[Floats, Floats]:
    """Return the ratio and the standard error of its logarithm from sums of a, b, a^2, a b and b^2, side by side."""
    a, b, aa, ab, bb = np.split(moments, 5, axis=2)
    ratio = a / b
    squares = np.maximum(aa - 2 * ratio * ab + ratio**2 * bb, 0.0)
    return ratio, np.sqrt(squares * (tasks / np.maximum(tasks - 1, 1))[:, None]) / a


def _scaled(ratio: Floats, error: Floats, is_share: Flags) -> tuple[Floats, Floats]:
    rest = np.where(is_share, 1 - ratio, 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(ratio) - np.log(rest), error / rest


def _back(place: Floats, is_share: Flags) -> Floats:
    with np.errstate(over="ignore"):
        return np.where(is_share, 1 / (1 + np.exp(-place)), np.exp(place))


def _settled(
    low: Floats, high: Floats, ratio: Floats, error: Floats, tasks: Floats, is_share: Flags
) -> tuple[Floats, Floats]:
    """Put in what the formulas cannot say: nothing for too few tasks, and the ratio itself where all tasks agree."""
    agree = ~(error > _NO_SPREAD)
    known = (tasks >= LEAST_RUNS) & (ratio > 0) & (ratio < np.where(is_share, 1.0, np.inf))
    ends = (np.where(known, np.where(agree, ratio, end), np.nan) for end in (low, high))
    low, high = ends
    return low, high
