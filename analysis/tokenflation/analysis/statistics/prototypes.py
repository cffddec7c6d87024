"""What a few prototype runs can say about the mean of all: a calibrated distribution of confidence.

Knows nothing of demand.

How far the mean of what is to come lies from the recorded mean, in standard errors as recorded, at normal score z,
where `v` is the recorded spread over the recorded mean:

    T(z) = z + u S(z)^2 - l S(-z)^2,    S(z) = log(1 + e^(2z)) / 2,    h = 1 / (1 + (1.26 / v)^12)
    u = (10 / n)^1.2 (0.42 v^2 / (0.4^4 + v^4) + 3.5 h),    l = 0.8 (10 / n)^1.2 h

added to the mean above it, and in the logarithm of the mean below. Few runs seldom hold the large ones, and then mean
and spread look small together: the first term of `u` gives back what a modest spread has probably missed. `h` is how
much the runs look heavy-tailed; then the mean may be some times as large, or a few large runs may have raised it by
chance. All of it fades as runs grow, and leaves the normal law.

The constants were chosen on costs and calls of 13 recorded agent populations, on recorded sessions, and on log-normal,
gamma, Weibull, capped and two-mode laws, for narrow intervals that hold; `bench/interval_coverage.py` prints what they
hold. Theil's index, skewness, the largest run's share and the spread of logarithms, tried beside `v`, narrowed nothing;
nor did boosted quantile regression on these, Hill's index and the skewness of logarithms hold nearer to 0.9 on families
of laws that it had not learned from. Runs that lack the large ones look light-tailed, and no number of theirs warns of
it: ten runs held 0.99 of means below 3 effective tasks (`uneven`), 0.85 above 5.
Of ten runs misses lean above (0.08 to 0.03); of a hundred by little. Whole runs are what counts, never calls.
Sources: problem and data, FORECAST model, section 1.5 (a); skewness in a studentised mean, P. Hall, "On the removal of
skewness by transformation", J. R. Stat. Soc. B 54 (1992).
"""

from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from tokenflation.analysis.statistics.censoring import Shares
from tokenflation.sdk.errors import PlanError

__all__ = ["LEAST_RUNS", "kappa", "mean_ends", "mean_factors", "mean_interval"]

Floats = NDArray[np.float64]

LEAST_RUNS = 10
"""Below so many runs an interval would be an invention."""
_KAPPA = ((10, 1.26), (20, 1.12), (30, 1.05), (50, 1.02), (100, 1.03), (400, 1.0))
_FADE = 1.2
_MISSED, _MISSED_NEAR = 0.42, 0.4
_HEAVY_ABOVE, _HEAVY_BELOW, _HEAVY_FROM, _HEAVY_POWER = 3.5, 0.8, 1.26, 12
# Variance over the square of the mean that is only rounding.
_NO_SPREAD = 1e-24
_CHUNK = 4_000_000


def kappa(runs: int) -> float:
    """Return by how much the bootstrap-t of a ratio is widened for so many runs; interpolated in the logarithm."""
    counts, factors = zip(*_KAPPA, strict=True)
    return float(np.interp(np.log(runs), np.log(counts), factors))


def mean_factors(values: Floats, draws: int, rng: np.random.Generator, *, future: int | None = None,
                 shares: Shares | None = None) -> Floats:  # fmt: skip
    """Return draws of (true mean / recorded mean) for each column of `values`, one row per run; shape (draws, columns).

    Each column's draws are the quantiles of its distribution at (1/2, 3/2, ...) / draws, so that their quantiles are
    `mean_interval`'s. Which of them come together is as the columns' means do when whole runs are weighted at random
    (Bayesian bootstrap): columns that rise together in the runs rise together here. With `future`, the mean of so many
    further runs is meant instead of the population's, which varies more. With `shares`, runs count as they say, and the
    recorded mean is the mean by them.
    """
    runs, columns = values.shape
    even = np.full(runs, 1.0 / runs) if shares is None else shares.weights
    relative = _relative(values, even)
    error = None if shares is None else shares.relative_error(values)
    quantiles = _quantiles(relative, np.array(_scores(draws)), future, even, error)
    means = np.empty((draws, columns))
    rows = max(1, _CHUNK // runs)
    for low in range(0, draws, rows):
        weights = rng.standard_exponential((min(rows, draws - low), runs)) * even
        means[low : low + rows] = weights @ relative / weights.sum(axis=1, keepdims=True)
    ranks = means.argsort(axis=0, kind="stable").argsort(axis=0, kind="stable")
    return np.asarray(np.take_along_axis(quantiles, ranks, axis=0), dtype=np.float64)


def mean_interval(
    values: npt.ArrayLike,
    *,
    future: int | None = None,
    level: float = 0.9,
    rng: np.random.Generator,  # noqa: ARG001  # the ends are exact; callers pass it from when they were drawn
) -> tuple[float, float]:
    """Return the interval for the mean of `future` further runs (None: of the population) from the runs `values`.

    Its ends are exact quantiles of the distribution that `mean_factors` draws from; nothing is left to chance.

    Raises:
        PlanError: fewer than 10 runs, a negative or missing value, what is no number, or a level outside (0, 1).
    """
    try:
        held = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise PlanError("mean_interval() needs one number for each run, as a list or an array.") from error
    if held.ndim > 1 and held.size != max(held.shape):
        raise PlanError(f"mean_interval() needs one number for each run; the array's shape is {held.shape}.")
    runs = held.reshape(-1, 1)
    if len(runs) < LEAST_RUNS:
        raise PlanError(f"an interval needs at least {LEAST_RUNS} runs, got {len(runs)}; record more.")
    if not np.isfinite(runs).all() or (runs < 0).any():
        raise PlanError("mean_interval() needs finite values of at least 0; leave out runs without a number.")
    if not isinstance(level, int | float | np.number) or not 0 < level < 1:
        raise PlanError(f"level is {level!r}; it may be between 0 and 1, 0.9 for example.")
    if future is not None and not (isinstance(future, int | float | np.number) and future >= 1):
        raise PlanError(f"future is {future!r}; it may be a number of runs from 1, or None for the population.")
    upper = NormalDist().inv_cdf((1 + level) / 2)
    even = np.full(len(runs), 1.0 / len(runs))
    low, high = _quantiles(_relative(runs, even), np.array([-upper, upper]), future, even)[:, 0]
    # About the largest: the sum of very large values would not be a number.
    largest = float(runs.max())
    mean = float((runs / largest).mean()) * largest if largest > 0 else 0.0
    return float(low) * mean, float(high) * mean


def mean_ends(values: Floats, level: float, *, future: Floats | None = None, shares: Shares | None = None) -> Floats:
    """Return both ends of the population mean's interval over the mean, by column of `values`; shape (2, columns).

    With `future`, of the mean of so many further runs instead: one number for each column, or several for the only one.
    With `shares`, runs count as they say.
    """
    even = np.full(len(values), 1 / len(values)) if shares is None else shares.weights
    error = None if shares is None else shares.relative_error(values)
    upper = NormalDist().inv_cdf((1 + level) / 2)
    return _quantiles(_relative(values, even), np.array([-upper, upper]), future, even, error)


@cache
def _scores(draws: int) -> tuple[float, ...]:
    """Return normal quantiles at (1/2, 3/2, ...) / draws."""
    return tuple(NormalDist().inv_cdf((one + 0.5) / draws) for one in range(draws))


def _relative(values: Floats, shares: Floats) -> Floats:
    """Return each column over its mean; ones where the column is zero throughout."""
    largest = values.max(axis=0)
    scaled = values / np.where(largest > 0, largest, 1.0)
    mean = shares @ scaled
    return np.where(mean > 0, scaled / np.where(mean > 0, mean, 1.0), 1.0)


def _quantiles(relative: Floats, z: Floats, future: int | Floats | None, shares: Floats,
               known_error: Floats | None = None) -> Floats:  # fmt: skip
    """Return quantiles of (true mean / recorded mean) at normal scores `z` by column; shape (scores, columns).

    `known_error` is the relative standard error of the recorded mean, where runs do not all count alike.
    """
    runs = len(relative)
    square = shares @ (relative - 1) ** 2 * (runs / max(runs - 1, 1))
    more = square / future if future is not None else 0.0
    error = np.sqrt(square / runs + more if known_error is None else known_error**2 + more)
    known = square > _NO_SPREAD
    spread = np.sqrt(square)
    heavy = spread**_HEAVY_POWER / (_HEAVY_FROM**_HEAVY_POWER + spread**_HEAVY_POWER)
    few = (10 / runs) ** _FADE
    above = few * (_MISSED * square / (_MISSED_NEAR**4 + square**2) + _HEAVY_ABOVE * heavy)
    below = few * _HEAVY_BELOW * heavy
    upwards, downwards = ((np.logaddexp(0, side * 2 * z) / 2) ** 2 for side in (1, -1))
    place = error * (z[:, None] + np.outer(upwards, above) - np.outer(downwards, below))
    # Upwards a logarithm would give ten runs of a heavy tail absurd ends; downwards a sum could end below zero.
    up, down = 1 + np.maximum(place, 0.0), np.exp(np.minimum(place, 0.0))
    return np.where(known, np.where(place > 0, up, down), 1.0)
