"""Intervals of a ratio of means by the bootstrap of whole tasks: studentised, of its logarithm. Pure NumPy.

`t* = (log r* - log r) / se*`, and the interval is `r * exp(-kappa * t*_q * se)`, kappa that of the smaller side.
Source: FORECAST model, section 1.5 (a).
"""

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.prototypes import kappa

__all__ = ["paired_interval", "ratio_interval"]

Floats = NDArray[np.float64]

_RESAMPLES = 2000
# Above so many tasks the mean is normal to within the noise of the resamples, and resampling would take minutes.
_NORMAL_TASKS = 5000
# Resampled indexes held at once: 4 million of them are 32 MB.
_CELLS = 4_000_000


def ratio_interval(mine: Floats, base: Floats, rng: np.random.Generator, level: float) -> tuple[Floats, Floats]:
    """Return the ends of the interval of mean(mine) / mean(base) per column; the sides are other tasks, one a row."""
    log_ratio, error = _log_ratio(*_moments(mine[None]), *_moments(base[None]))
    drawn, spread = _log_ratio(*_resampled_moments(mine, rng), *_resampled_moments(base, rng))
    return _ends(log_ratio[0], error[0], drawn, spread, min(len(mine), len(base)), level)


def paired_interval(mine: Floats, base: Floats, rng: np.random.Generator, level: float) -> tuple[Floats, Floats]:
    """Return the same where both sides are of the same tasks, row by row: they are resampled together.

    The standard error of the log ratio is that of the linearised ratio, `sd(mine / mean(mine) - base / mean(base)) / sqrt n`.
    """
    if len(mine) > _NORMAL_TASKS:
        log_ratio, error = _paired_log_ratio(mine[None], base[None])
        drawn = log_ratio + error * rng.standard_normal((_RESAMPLES, mine.shape[1]))
        return _ends(log_ratio[0], error[0], drawn, np.repeat(error, _RESAMPLES, axis=0), len(mine), level)
    log_ratio, error = _paired_log_ratio(mine[None], base[None])
    parts = []
    for size in _sizes(mine):
        rows = rng.integers(len(mine), size=(size, len(mine)))
        parts.append(_paired_log_ratio(mine[rows], base[rows]))
    drawn, spread = (np.concatenate([part[place] for part in parts]) for place in (0, 1))
    return _ends(log_ratio[0], error[0], drawn, spread, len(mine), level)


def _ends(
    log_ratio: Floats, error: Floats, drawn: Floats, spread: Floats, tasks: int, level: float
) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = (drawn - log_ratio) / spread
    tail = (1 - level) / 2
    upper, lower = np.transpose([_finite_quantiles(pull, [1 - tail, tail]) for pull in pulls.T])
    width = kappa(tasks) * error
    with np.errstate(invalid="ignore"):
        return np.exp(log_ratio - upper * width), np.exp(log_ratio - lower * width)


def _sizes(side: Floats) -> list[int]:
    step = max(1, _CELLS // side.size)
    return [min(step, _RESAMPLES - start) for start in range(0, _RESAMPLES, step)]


def _resampled_moments(side: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return `_moments` of `_RESAMPLES` resamples of whole tasks; of very many tasks, draws from their normal limit."""
    if len(side) > _NORMAL_TASKS:
        mean, error = _moments(side[None])
        return mean * (1 + error * rng.standard_normal((_RESAMPLES, 1))), np.repeat(error, _RESAMPLES, axis=0)
    parts = [_moments(side[rng.integers(len(side), size=(size, len(side)))]) for size in _sizes(side)]
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([error for _, error in parts])


def _finite_quantiles(pulls: Floats, levels: list[float]) -> Floats:
    """Return the quantiles of the pulls that are numbers: a resample of equal tasks has no spread to measure one by."""
    finite = pulls[np.isfinite(pulls)]
    return np.quantile(finite, levels) if len(finite) else np.zeros(len(levels))


def _moments(samples: Floats) -> tuple[Floats, Floats]:
    """Return the mean and the relative standard error of it, over axis 1."""
    mean = samples.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, samples.std(axis=1, ddof=1) / mean / np.sqrt(samples.shape[1])


def _log_ratio(mean: Floats, error: Floats, base_mean: Floats, base_error: Floats) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(mean / base_mean), np.sqrt(error**2 + base_error**2)


def _paired_log_ratio(mine: Floats, base: Floats) -> tuple[Floats, Floats]:
    with np.errstate(divide="ignore", invalid="ignore"):
        mean, base_mean = mine.mean(axis=1, keepdims=True), base.mean(axis=1, keepdims=True)
        pulls = mine / mean - base / base_mean
        return np.log(mean / base_mean)[:, 0], pulls.std(axis=1, ddof=1) / np.sqrt(mine.shape[1])
