"""What runs use within a window of time: exact cumulants of bucket totals. Pure NumPy; knows nothing of plans.

The total over [t, t + D) is a shot noise as the load is, of a shot S(u) = integral of R over (u - D, u], u = t + D -
start: with Poisson arrivals kappa_q = integral of lambda(t + D - u) E[S(u)^q] du. S is linear between the edges of a
run's segments and those edges plus D, so each integral over a cell of lambda is a polynomial's, and exact. Source:
FORECAST model, 1.3.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.paths import Path
from tokenflation.analysis.planning.arrivals import Arrivals

__all__ = ["Pieces", "constant", "kernel", "running", "steps", "window_cumulants"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_ORDERS = 4
_CHUNK = 4_000_000
_PARTS = 16
_LEAST_S = 1e-9


@dataclass(frozen=True, slots=True)
class Pieces:
    """Pieces on which what a run has used within the window is linear: run, age in s at both ends, use at both ends."""

    run: Ints
    start_s: Floats
    end_s: Floats
    first: Floats
    last: Floats

    def of(self, keep: NDArray[np.bool_] | Ints | slice) -> "Pieces":
        """Return the pieces that `keep` marks, or those at its places."""
        return Pieces(self.run[keep], self.start_s[keep], self.end_s[keep], self.first[keep], self.last[keep])


def constant(path: Path) -> Pieces:
    """Return a path's own segments as pieces that are level, for what is counted and not used over time."""
    return Pieces(path.run, path.start_s, path.end_s, path.load, path.load)


def running(path: Path, window_s: float) -> Pieces:
    """Return the integral of each run's load over the last `window_s`, by the run's age."""
    if not len(path.run):
        return constant(path)
    starts, ends = path.start_s, path.end_s
    times = np.concatenate((starts, ends, starts + window_s, ends + window_s))
    turns = np.concatenate((path.load, -path.load, -path.load, path.load))
    runs = np.tile(path.run, 4)
    order = np.lexsort((times, runs))
    times, turns, runs = times[order], turns[order], runs[order]
    same = runs[1:] == runs[:-1]
    width = np.where(same, np.diff(times), 0.0)
    slope = np.cumsum(turns)
    # Each run ends at slope and use 0; taking both off again keeps rounding of one run out of the next.
    slope = (slope - _before(slope, runs))[:-1]
    flat = np.abs(slope) <= 1e-12 * _largest(path, runs[:-1])
    use = np.concatenate(([0.0], np.cumsum(np.where(flat, 0.0, slope) * width)))
    use = np.maximum(use - _before(use, runs, inclusive=True), 0.0)
    keep = same & (width > _LEAST_S) & ((use[:-1] > 0) | (use[1:] > 0))
    return Pieces(runs[:-1][keep], times[:-1][keep], times[1:][keep], use[:-1][keep], use[1:][keep])


def _before(values: Floats, runs: Ints, *, inclusive: bool = False) -> Floats:
    """Return what a running sum had reached before the first entry of each row's run (at it, if `inclusive`)."""
    first = np.searchsorted(runs, runs)
    if inclusive:
        return np.asarray(values[first], dtype=np.float64)
    return np.where(first > 0, values[first - 1], 0.0)


def _largest(path: Path, runs: Ints) -> Floats:
    found = np.zeros(int(path.run.max(initial=0)) + 1)
    np.maximum.at(found, path.run, path.load)
    return np.asarray(found[runs], dtype=np.float64)


def kernel(pieces: Pieces, weight: Floats, cell_s: float, *, shift_s: float = 0.0, orders: int = _ORDERS,
           group: Ints | None = None, groups: int = 1) -> Floats:  # fmt: skip
    """Return the weighted sum over runs of the integral of S^q over each age cell; shape (groups, orders, cells).

    Cell k holds ages from `k * cell_s - shift_s` on. `group` says which group each piece is of, by default all of one.
    """
    start, end = pieces.start_s + shift_s, pieces.end_s + shift_s
    mass = weight[pieces.run]
    low, high = np.floor(start / cell_s).astype(np.int64), np.floor(end / cell_s).astype(np.int64)
    cells = int(high.max(initial=0)) + 1
    found = np.zeros((groups, orders, cells))
    place = np.zeros(len(low), dtype=np.int64) if group is None else group
    # A level piece fills all cells between its two ends alike.
    level = (pieces.first == pieces.last) & (high - low > 1)
    begins, ends = (one[level] + place[level] * (cells + 1) for one in (low + 1, high))
    for order in range(orders):
        grown = np.zeros(groups * (cells + 1))
        each = mass[level] * pieces.first[level] ** (order + 1) * cell_s
        np.add.at(grown, begins, each)
        np.add.at(grown, ends, -each)
        found[:, order] = np.cumsum(grown.reshape(groups, cells + 1), axis=1)[:, :cells]
    parts = np.where(level, 2, high - low + 1)
    of = np.repeat(np.arange(len(parts)), parts)
    number = np.arange(len(of)) - np.repeat(np.cumsum(parts) - parts, parts)
    cell = np.where(level[of] & (number == 1), high[of], low[of] + number)
    left = np.maximum(start[of], cell * cell_s)
    right = np.minimum(end[of], (cell + 1) * cell_s)
    slope = (pieces.last - pieces.first) / (end - start)
    one = pieces.first[of] + slope[of] * (left - start[of])
    other = pieces.first[of] + slope[of] * (right - start[of])
    width = mass[of] * np.maximum(right - left, 0.0)
    cell += place[of] * cells
    for order in range(orders):
        power = order + 1
        # The mean of y^q from a to b is the mean of a^q, a^(q-1) b, ... b^q.
        mean = sum(one ** (power - k) * other**k for k in range(power + 1)) / (power + 1)
        found[:, order] += np.bincount(cell, weights=width * mean, minlength=groups * cells).reshape(groups, cells)
    return found


def window_cumulants(pieces: Pieces, weight: Floats, arrivals: Arrivals, ends_s: Floats, *,
                     group: Ints | None = None, groups: int = 1) -> Floats:  # fmt: skip
    """Return kappa_1 .. kappa_4 of what all runs use in the windows that end at `ends_s`; shape (4, windows), exact.

    `weight` is each run's share of the tasks per day, as for `demand.cumulants`. Beyond its ends the rate is flat. With
    `group`, which is sorted and says which of `groups` each piece is of, those of each: shape (groups, 4, windows).
    """
    found = np.zeros((groups, _ORDERS, len(ends_s)))
    if not len(pieces.run):
        return found if group is not None else found[0]
    cell = arrivals.cell_s
    place = (ends_s - arrivals.first_s) / cell
    # Ages count back from the window's end, in the cells of the arrivals: all ends at one place within a cell go
    # together.
    latest = np.ceil(place - 1e-9).astype(np.int64)
    shifts = np.round(latest - place, 9)
    of = np.zeros(len(pieces.run), dtype=np.int64) if group is None else group
    # So many groups at a time that their cells fit.
    together = max(1, int(_CHUNK // (_ORDERS * (float(pieces.end_s.max()) / cell + 2))))
    for first in range(0, groups, together):
        count = min(together, groups - first)
        some = slice(*np.searchsorted(of, [first, first + count]).tolist())
        part, mine = pieces.of(some), of[some] - first
        if not len(part.run):
            continue
        for shift in np.unique(shifts):
            windows = np.flatnonzero(shifts == shift)
            shots = kernel(part, weight, cell, shift_s=float(shift) * cell, group=mine, groups=count)
            back = np.arange(shots.shape[2])
            step = max(1, _CHUNK // len(back))
            for low in range(0, len(windows), step):
                held = windows[low : low + step]
                cells = np.clip(latest[held][:, None] - 1 - back, 0, len(arrivals.rate_per_s) - 1)
                rate = arrivals.rate_per_s[cells].T
                met = shots.reshape(-1, len(back)) @ rate
                found[first : first + count, :, held] = met.reshape(count, _ORDERS, -1)
    return found if group is not None else found[0]


def steps(path: Path, window_s: float) -> Path:
    """Return the running integral over `window_s` in level steps, dozens a run: for the law of a total of few runs.

    Its mean is right to a few per mille; the cumulants above are exact.
    """
    if not len(path.run):
        return path
    count = int(path.run.max()) + 1
    origin, finish = np.full(count, np.inf), np.zeros(count)
    np.minimum.at(origin, path.run, path.start_s)
    np.maximum.at(finish, path.run, path.end_s)
    runs = np.flatnonzero(np.isfinite(origin))
    lasts = finish[runs] - origin[runs]
    short, long = np.minimum(lasts, window_s), np.maximum(lasts, window_s)
    share = np.arange(_PARTS + 1) / _PARTS
    rising, falling = short[:, None] * share, long[:, None] + short[:, None] * share[1:]
    level = short[:, None] + (long - short)[:, None] * share[1:]
    edges = np.concatenate((rising, level, falling), axis=1) + origin[runs][:, None]
    age = (edges[:, 1:] + edges[:, :-1]) / 2
    use = _used(path, runs, origin, finish, age) - _used(path, runs, origin, finish, age - window_s)
    rows = np.repeat(runs, age.shape[1])
    start, end, load = edges[:, :-1].ravel(), edges[:, 1:].ravel(), use.ravel()
    keep = (end > start) & (load > 0)
    return Path(rows[keep], start[keep], end[keep], load[keep])


def _used(path: Path, runs: Ints, origin: Floats, finish: Floats, age: Floats) -> Floats:
    """Return what each of `runs` has used in all by each of its ages; shape as `age`, (runs, ages)."""
    order = np.lexsort((path.start_s, path.run))
    run, start, end, load = path.run[order], path.start_s[order], path.end_s[order], path.load[order]
    low, high = float(start.min()), float(end.max())
    # Runs are laid one after the other, so that all are interpolated at once.
    span = 2.0 ** math.ceil(math.log2(high - low + 1.0))
    at = np.column_stack((start, end)).ravel() - low + np.repeat(run, 2) * span
    used = np.cumsum(load * (end - start))
    used = used - _before(used, run)
    value = np.column_stack((used - load * (end - start), used)).ravel()
    held = np.clip(age, origin[runs][:, None], finish[runs][:, None]) - low + runs[:, None] * span
    return np.interp(held.ravel(), at, value).reshape(age.shape)
