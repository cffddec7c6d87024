"""Laws of a load in each bucket as tables, and quantiles of their mixture over uncertain means. Pure NumPy.

A table holds P((X - mean) / sd <= y) at even steps of y. Given the draws of mean and sd that few runs allow, the load's
law is the mean over draws of `table((x - mean) / sd)`; its quantiles are found for all buckets at once by bisection.
"""

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.quantiles import GRID, NORMAL_BELOW, NORMAL_SCORES, skewness, standard_quantiles

__all__ = ["Laws", "lattice_laws", "mixture_quantiles", "smooth_laws"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_POINTS = 512
_STEPS = 20
_SLACK = 1.25
# Draws kept apart at each end, where high quantiles are decided, and groups of the others.
_ENDS, _GROUPS = 12, 24
_TOGETHER = 128


@dataclass(frozen=True, slots=True)
class Laws:
    """One standardised law per column, all tables in one flat array: column t's begin at `offset[t]`."""

    flat: Floats
    offset: Ints
    count: Ints
    low: Floats
    """The first point of each table, in standard deviations from the mean."""
    step: Floats
    smooth: NDArray[np.bool_]
    """Whether the law is a line between two points; else it jumps at each."""
    idle: Floats
    """P(load = 0); 0 for smooth laws."""
    whole: NDArray[np.bool_]
    """Whether the load is a whole number."""

    def below(self, y: Floats) -> Floats:
        """Return P(standardised load <= y); the last axis of `y` runs over columns."""
        place = (y - self.low) / self.step
        index = np.floor(place)
        rest = np.where(self.smooth, place - index, 0.0)
        last = self.count - 1
        here = np.clip(index, 0, last).astype(np.int64)
        after = np.minimum(here + 1, last)
        first = self.flat[self.offset + here]
        found = first + rest * (self.flat[self.offset + after] - first)
        return np.asarray(np.where(index < 0, 0.0, np.where(index >= last, 1.0, found)), dtype=np.float64)

    def scores(self, chances: Floats) -> Floats:
        """Return the standardised load at each probability; `chances` and the answer have shape (draws, columns)."""
        found = np.empty_like(chances)
        for column in range(chances.shape[1]):
            start, count = int(self.offset[column]), int(self.count[column])
            table = self.flat[start : start + count]
            if self.smooth[column]:
                place = np.interp(chances[:, column], table, np.arange(count))
            else:
                place = np.minimum(np.searchsorted(table, chances[:, column]), count - 1)
            found[:, column] = self.low[column] + self.step[column] * place
        return found

    def placed(self, at: Ints, others: "Laws") -> "Laws":
        """Return these laws with those of the columns `at` replaced by `others`."""
        parts = {one.name: getattr(self, one.name).copy() for one in fields(self) if one.name != "flat"}
        for name, part in parts.items():
            part[at] = getattr(others, name)
        parts["offset"][at] += len(self.flat)
        return Laws(flat=np.concatenate((self.flat, others.flat)), **parts)

    def taken(self, places: Ints | slice) -> "Laws":
        """Return the laws of these columns, in this order; they share their tables."""
        return replace(
            self, **{one.name: getattr(self, one.name)[places] for one in fields(self) if one.name != "flat"}
        )


def smooth_laws(kappa: Floats, leave: Ints) -> Laws:
    """Return the normal or the Cornish-Fisher law of each column of cumulants, shape (4, columns).

    The columns `leave`, which get another law, are left as normal.
    """
    columns = kappa.shape[1]
    plain = skewness(kappa) < NORMAL_BELOW
    plain[leave] = True
    ends: Floats = np.array([NORMAL_SCORES[0], NORMAL_SCORES[-1]])
    low, step = np.full(columns, ends[0]), np.full(columns, (ends[1] - ends[0]) / (_POINTS - 1))
    offset = np.zeros(columns, dtype=np.int64)
    tables: list[Floats] = [np.interp(np.linspace(ends[0], ends[1], _POINTS), NORMAL_SCORES, GRID)]
    bent: Ints = np.flatnonzero(~plain)
    scores = standard_quantiles(kappa[:, bent]) if len(bent) else np.empty((0, len(GRID)))
    for number, column in enumerate(bent):
        mine = scores[number]
        low[column], step[column] = mine[0], (mine[-1] - mine[0]) / (_POINTS - 1)
        offset[column] = (number + 1) * _POINTS
        tables.append(np.interp(np.linspace(mine[0], mine[-1], _POINTS), mine, GRID))
    count = np.full(columns, _POINTS, dtype=np.int64)
    none = np.zeros(columns)
    return Laws(np.concatenate(tables), offset, count, low, step, none == 0, none, none > 0)


def lattice_laws(unit: Floats, below: Floats, kappa: Floats) -> Laws:
    """Return the laws of `quantiles.lattice` in standard deviations from the mean."""
    columns, places = below.shape
    spread = np.sqrt(np.where(kappa[1] > 0, kappa[1], 1.0))
    offset = np.arange(columns, dtype=np.int64) * places
    count = np.full(columns, places, dtype=np.int64)
    smooth = np.zeros(columns, dtype=np.bool_)
    # The first point of a table is a load of 0; a unit of 1 is taken where all loads are whole numbers.
    return Laws(below.ravel(), offset, count, -kappa[0] / spread, unit / spread, smooth, below[:, 0].copy(), unit == 1)


def mixture_quantiles(levels: Floats, means: Floats, spreads: Floats, laws: Laws) -> Floats:
    """Return x with mean over draws of P(load <= x) = level; shape (levels, columns). A load is at least 0.

    `means` and `spreads` have shape (draws, columns). Of many draws those in the middle are taken in groups.
    """
    found = np.empty((len(levels), means.shape[1]))
    # So many columns at a time that all of them stays in the processor's cache.
    for some in np.array_split(np.arange(means.shape[1]), max(1, means.shape[1] // _TOGETHER)):
        part = slice(int(some[0]), int(some[-1]) + 1) if len(some) else slice(0)
        found[:, part] = _quantiles(levels, means[:, part], spreads[:, part], laws.taken(part))
    return found


def _quantiles(levels: Floats, means: Floats, spreads: Floats, laws: Laws) -> Floats:
    means, spreads, weight = _nodes(means, spreads)
    centre = (weight[:, None] * means).sum(axis=0)
    # About the centre: of very large loads the squares' own difference would be rounding.
    spread = _SLACK * np.sqrt((weight[:, None] * (spreads**2 + (means - centre) ** 2)).sum(axis=0))
    # No quantile lies further from its mean than so many standard deviations (Cantelli).
    high = centre + spread * np.sqrt(levels / (1 - levels))[:, None]
    low = centre - spread * np.sqrt((1 - levels) / levels)[:, None]
    safe = np.where(spreads > 0, spreads, 1e-300)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        # A hair above, so that a lattice point counts as reached despite rounding.
        score = (middle[:, None, :] - means) / safe + 1e-9
        enough = np.einsum("d,ldt->lt", weight, laws.below(score)) >= levels[:, None]
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    # To give each draw its mean and spread moves the points at which a law jumps. They are put back: no load is none in
    # all draws, and of whole numbers there are no parts.
    found = np.where(levels[:, None] <= laws.idle, 0.0, np.maximum(high, 0.0))
    found = np.where(laws.whole, np.round(found), found)
    order = np.argsort(levels)
    found[order] = np.maximum.accumulate(found[order], axis=0)
    return np.asarray(found, dtype=np.float64)


def _nodes(means: Floats, spreads: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the draws sorted by mean, the many in the middle replaced by means of groups, and each one's weight."""
    draws = len(means)
    if draws <= 2 * _ENDS + _GROUPS:
        return means, spreads, np.full(draws, 1 / draws)
    order = np.argsort(means, axis=0)
    inner = np.linspace(_ENDS, draws - _ENDS, _GROUPS + 1).astype(np.int64)
    starts = np.concatenate((np.arange(_ENDS), inner[:-1], np.arange(draws - _ENDS, draws)))
    sizes = np.diff(np.append(starts, draws))[:, None]
    sorted_means, sorted_spreads = np.take_along_axis(means, order, 0), np.take_along_axis(spreads, order, 0)
    centre = np.add.reduceat(sorted_means, starts, axis=0) / sizes
    # A group's own scatter is kept in its spread, so that the mixture's variance stays what it was.
    apart = sorted_means - np.repeat(centre, sizes[:, 0], axis=0)
    square = np.add.reduceat(apart**2 + sorted_spreads**2, starts, axis=0) / sizes
    return centre, np.sqrt(square), sizes[:, 0] / draws
