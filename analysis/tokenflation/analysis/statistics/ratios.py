"""Intervals of ratios of sums over the tasks of a kind, for all kinds and ratios at once. Pure NumPy; knows no columns.

A ratio A / B is taken in its logarithm, a share in its log odds, the logarithm of A / (B - A): an interval stays where
the number can be, and a share and what it leaves have mirrored intervals; `agreed` does the rest for three parts and
more. Of n tasks with the parts `x` of the one sum and `y` of the other, the logarithm's standard error is `e`,
`e^2 = n / (n - 1) sum (x - y)^2` (linearised). At normal score z the ends lie, in standard errors,

    z + u S(z)^2,    S(z) = log(1 + e^(2z)) / 2,
    u = L (1 + q)^2 s (10 / n)^0.7 / (1 + 4 e^2),    s = 1 + 8 max(q - 0.75, 0) of a share, else 1

above, and likewise below with `-q` for `q`. `w = (x + y) / 2` is a task's size; `L` is the deviation of
`log(0.1 + n w)`, how unequal tasks are; `q` its correlation with `(x - y) / w`, how much A's part grows with size: few
tasks seldom hold the large ones, and what those are made of is then missing from the ratio and from its error, the more
so where size alone decides what a task is made of. Of a share, `w` also repeats which part a task is made of: there `L`
is at most 1.5 times the same deviation of the wholes, and so 0 where tasks are all of one size (an outcome each). A
ratio's `q` may be near 1 by what is counted (all agent runs over those that start others), and its end has no bound:
there `s` made intervals ten times as wide, which held no more often. A large `e` is due to tasks that are all A or all
B; there the logarithm is wide enough. All of it fades as tasks grow, and leaves the normal law.

The constants were chosen on synthetic tasks (log-normal, Pareto and two-mode sizes; parts that are independent of size,
grow or fall with it, or are mostly absent), with others and recorded sessions in view:
`bench/interval_coverage.py --shares` prints what they hold. Bootstrap-t, widened by `prototypes.kappa`, held 0.5 to 0.8
of 0.9 on heavy tails; jackknife errors with Student's t by Kish's or Satterthwaite's degrees of freedom held more, but
were too wide where a few tasks are large and too narrow where none yet is. Where `effective_tasks` is below
`LEAST_EFFECTIVE`, none of these held 0.9, nor does this.
Sources: R. M. Royall, W. G. Cumberland, "An empirical study of the ratio estimator and estimators of its variance",
J. Am. Stat. Assoc. 76 (1981), for errors that depend on the sizes in the sample; L. Kish, "Survey Sampling" (1965), for
the effective number; P. Hall, "On the removal of skewness by transformation", J. R. Stat. Soc. B 54 (1992), for z
squared.
"""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.prototypes import LEAST_RUNS

__all__ = ["LEAST_EFFECTIVE", "NORMAL_TASKS", "agreed", "from_tasks", "normal", "of_kind"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

LEAST_EFFECTIVE = 3
"""Effective tasks below which intervals hold less often than they claim."""
NORMAL_TASKS = 2000
"""Above so many tasks a sum over them is nearly normal."""
_CELLS = 4_000_000
"""Numbers held at once in one array: 32 MB."""
_FADE, _WIDE, _SMALL = 0.7, 4.0, 0.1
_STEEP, _STEEP_FROM = 8.0, 0.75
_WHOLES = 1.5
_NO_SPREAD = 1e-12


def normal(ratio: Floats, error: Floats, tasks: Floats, is_share: Flags, level: float) -> tuple[Floats, Floats]:
    """Return both ends from the normal limit; `error` is that of the ratio's logarithm.

    Shapes are (kinds, ratios). Missing where fewer than `LEAST_RUNS` tasks report the ratio or nobody knows it, and
    where it is 0, or a share is 1: how rare what was never seen is, these tasks cannot say. Where all tasks agree
    otherwise, both ends are the ratio itself.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        error = error / np.where(is_share, 1 - ratio, 1.0)
        width = NormalDist().inv_cdf((1 + level) / 2) * error
    return _ends(ratio, error, width, width, tasks, is_share)


def from_tasks(numerators: Floats, denominators: Floats, is_share: Flags, level: float) -> tuple[Floats, Floats]:
    """Return both ends, shape (kinds, ratios), for kinds that have equally many tasks; missing as in `normal`.

    `numerators` and `denominators` have shape (kinds, tasks, ratios), the latter NaN where a task does not report the
    ratio.
    """
    kinds, tasks, ratios = numerators.shape
    step = max(1, _CELLS // max(1, 5 * ratios * tasks))
    parts = [
        _from_tasks(numerators[first : first + step], denominators[first : first + step], is_share, level)
        for first in range(0, kinds, step)
    ]
    return np.concatenate([low for low, _ in parts]), np.concatenate([high for _, high in parts])


def of_kind(numerators: Floats, denominators: Floats, is_share: Flags, level: float) -> tuple[Floats, Floats]:
    """Return both ends of each ratio of one kind: `normal` above `NORMAL_TASKS` tasks, else as `from_tasks` has them.

    The sides have one row per task and one column per ratio, the denominators NaN where a task does not report it.
    """
    if len(numerators) <= NORMAL_TASKS:
        low, high = from_tasks(numerators[None], denominators[None], is_share, level)
        return low[0], high[0]
    reported = np.isfinite(denominators)
    a, b = (np.where(reported, np.nan_to_num(side), 0.0) for side in (numerators, denominators))
    counts = reported.sum(axis=0).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = a.sum(axis=0) / b.sum(axis=0)
        squares = ((a - ratio * b) ** 2).sum(axis=0) * counts / np.maximum(counts - 1, 1)
        error = np.sqrt(squares) / a.sum(axis=0)
    return normal(ratio, error, counts, is_share, level)


def agreed(low: Floats, high: Floats, parts: Sequence[int]) -> tuple[Floats, Floats]:
    """Return the ends with those of the columns `parts`, shares of one whole that add up to 1, made to agree.

    Where one part may be as large as its upper end says, no other can be larger than what that leaves: the lower ends
    of the others go down to it. Nothing is narrowed, so no interval holds the truth less often than before. Shapes are
    (kinds, ratios); a part without an interval says nothing.
    """
    low, columns = low.copy(), list(parts)
    upper = np.nan_to_num(high[:, columns])
    for place, column in enumerate(columns):
        others = np.delete(upper, place, axis=1)
        low[:, column] = np.minimum(low[:, column], 1 - others.max(axis=1, initial=0.0))
    return low, high


def _from_tasks(numerators: Floats, denominators: Floats, is_share: Flags, level: float) -> tuple[Floats, Floats]:
    reported = np.isfinite(denominators)
    a, b = np.where(reported, np.nan_to_num(numerators), 0.0), np.where(reported, denominators, 0.0)
    tasks = reported.sum(axis=1).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = a.sum(axis=1) / b.sum(axis=1)
        rest = np.where(is_share, np.maximum(b - a, 0.0), b)
        a, rest = a / a.sum(axis=1, keepdims=True), rest / rest.sum(axis=1, keepdims=True)
        pull, size = a - rest, (a + rest) / 2
        error = np.sqrt((pull**2).sum(axis=1) * tasks / np.maximum(tasks - 1, 1))
        unequal, grows = _by_size(size, np.where(size > 0, pull / size, 0.0), reported, tasks)
        wholes, _ = _by_size(b / b.sum(axis=1, keepdims=True), pull, reported, tasks)
        unequal = np.where(is_share, np.minimum(unequal, _WHOLES * wholes), unequal)
        score = NormalDist().inv_cdf((1 + level) / 2)
        more = unequal * (10 / np.maximum(tasks, 1)) ** _FADE / (1 + _WIDE * error**2)
        more *= (np.logaddexp(0, 2 * score) / 2) ** 2
        down, up = (error * (score + more * _towards(side * grows, is_share)) for side in (-1, 1))
    return _ends(ratio, error, down, up, tasks, is_share)


def _by_size(size: Floats, pull: Floats, reported: Flags, tasks: Floats) -> tuple[Floats, Floats]:
    """Return how unequal tasks are, in log of size, and how `pull` correlates with it; 0 where nothing varies."""
    place = np.log(_SMALL + tasks[:, None] * size)
    place, pull = (
        np.where(reported, one - np.where(reported, one, 0.0).sum(axis=1, keepdims=True) / tasks[:, None], 0.0)
        for one in (place, pull)
    )
    squares, of_pull = (place**2).sum(axis=1), (pull**2).sum(axis=1)
    together = np.sqrt(squares * of_pull)
    grows = np.where(together > _NO_SPREAD, (place * pull).sum(axis=1) / np.maximum(together, _NO_SPREAD), 0.0)
    return np.sqrt(squares / np.maximum(tasks - 1, 1)), np.clip(grows, -1.0, 1.0)


def _towards(grows: Floats, is_share: Flags) -> Floats:
    """Return by how much more there may be where parts grow so with the size of tasks."""
    steep = np.where(is_share, _STEEP * np.maximum(grows - _STEEP_FROM, 0.0), 0.0)
    return np.asarray((1 + grows) ** 2 * (1 + steep))


def _ends(
    ratio: Floats, error: Floats, down: Floats, up: Floats, tasks: Floats, is_share: Flags
) -> tuple[Floats, Floats]:
    """Return the ends so far from the ratio, and put in what the formulas cannot say.

    Nothing for too few tasks, and the ratio itself where all tasks agree.
    """
    known = (tasks >= LEAST_RUNS) & (ratio > 0) & (ratio < np.where(is_share, 1.0, np.inf))
    agree = ~(error > _NO_SPREAD)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        odds = ratio / np.where(is_share, 1 - ratio, 1.0)
        low, high = odds * np.exp(-down), odds * np.exp(up)
        low, high = (np.where(is_share, np.where(np.isinf(end), 1.0, end / (1 + end)), end) for end in (low, high))
    low, high = (np.where(known, np.where(agree, ratio, end), np.nan) for end in (low, high))
    return low, high
