"""The demand of many runs that start at random: exact cumulants of a marked shot noise. Pure NumPy.

With Poisson arrivals of rate lambda(t), the load X(t) of all runs together has, at each t and for each order q,

    kappa_q(t) = sum over segments (a, b, r) of  w r^q [Lambda(t - a) - Lambda(t - b)],   Lambda = integral of lambda

(Campbell's theorem; Eick, Massey and Whitt 1993 for the mean). Segments of a run are disjoint and hold its total load.
Lambda is linear within each cell, so the sum over segments collapses into one histogram over cells and a convolution:
exact, and its cost depends neither on volume nor on the number of buckets times segments.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.paths import Path
from tokenflation.analysis.planning.arrivals import Arrivals

__all__ = ["cumulants", "jumps", "means_by_run"]

Floats = NDArray[np.float64]

_BLOCK = 64


def cumulants(path: Path, weight: Floats, arrivals: Arrivals, times_s: Floats, orders: int = 4) -> Floats:
    """Return kappa_1 .. kappa_orders at each time; shape (orders, times), units load^q.

    `weight` is each run's share of the tasks per day (volume over number of runs of its kind). `times_s` must lie one
    cell apart.
    """
    edges = np.concatenate((path.start_s, path.end_s))
    sign = np.concatenate((np.ones(len(path.start_s)), -np.ones(len(path.end_s))))
    share = np.tile(weight[path.run], 2) * sign
    load = np.tile(path.load, 2)
    cell = arrivals.cell_s
    # Where t - edge falls, in cells from the grid's start, for the first time; later times are whole cells on.
    place = (times_s[0] - arrivals.first_s - edges) / cell
    index = np.floor(place).astype(np.int64)
    right = place - index
    top = int(index.max())
    back = top - index
    known = arrivals.integral
    found = np.empty((orders, len(times_s)))
    for order in range(orders):
        mass = share * load ** (order + 1)
        here = np.bincount(back, weights=mass * (1.0 - right))
        after = np.bincount(back, weights=mass * right)
        # Right part of the histogram meets Lambda one cell further on.
        kernel = np.concatenate((after, [0.0])) + np.concatenate(([0.0], here))
        found[order] = _meet(kernel, known, top, len(times_s))
    return found


def means_by_run(path: Path, runs: int, arrivals: Arrivals, times_s: Floats) -> Floats:
    """Return the mean load at each time were all tasks like one run; shape (runs, times), times whole cells apart."""
    step = round(float(times_s[1] - times_s[0]) / arrivals.cell_s) if len(times_s) > 1 else 1
    known, found = arrivals.integral, np.zeros((runs, len(times_s)))
    # Runs of like length together: each block's histogram is as wide as its longest.
    longest = np.zeros(runs)
    np.maximum.at(longest, path.run, path.end_s)
    by_length = np.argsort(longest, kind="stable")
    rank = np.empty(runs, dtype=np.int64)
    rank[by_length] = np.arange(runs)
    order = np.argsort(rank[path.run], kind="stable")
    bounds = np.searchsorted(rank[path.run][order], np.arange(0, runs + _BLOCK, _BLOCK))
    for block, (low, high) in enumerate(pairwise(bounds.tolist())):
        some = order[low:high]
        if not len(some):
            continue
        edges = np.concatenate((path.start_s[some], path.end_s[some]))
        mass = np.concatenate((path.load[some], -path.load[some]))
        place = (times_s[0] - arrivals.first_s - edges) / arrivals.cell_s
        index = np.floor(place).astype(np.int64)
        right, top, width = place - index, int(index.max()), int(np.ptp(index)) + 2
        at = np.tile(rank[path.run[some]] - block * _BLOCK, 2) * width + top - index
        kernel = np.bincount(at, weights=mass * right, minlength=_BLOCK * width)
        kernel += np.bincount(at + 1, weights=mass * (1.0 - right), minlength=_BLOCK * width)
        places = top + 1 + step * np.arange(len(times_s)) - np.arange(width)[:, None]
        mine = by_length[block * _BLOCK : (block + 1) * _BLOCK]
        met = kernel.reshape(_BLOCK, width) @ known[np.clip(places, 0, len(known) - 1)]
        found[mine] = met[: len(mine)]
    return found


def _meet(kernel: Floats, known: Floats, top: int, count: int) -> Floats:
    """Return, for each of `count` times, the sum of kernel[j] * known[top + 1 + time - j], flat beyond the ends."""
    low = top + 1 - (len(kernel) - 1)
    places = np.clip(np.arange(low, top + 1 + count), 0, len(known) - 1)
    return np.convolve(known[places], kernel, mode="valid")


def jumps(path: Path, weight: Floats, arrivals: Arrivals, times_s: Floats) -> Floats:
    """Return, for each segment and time, the expected number of runs that are inside it; shape (segments, times)."""
    edges = arrivals.first_s + arrivals.cell_s * np.arange(len(arrivals.rate_per_s) + 1)
    known = arrivals.integral
    begun = np.interp(times_s - path.start_s[:, None], edges, known)
    inside = begun - np.interp(times_s - path.end_s[:, None], edges, known)
    return np.asarray(weight[path.run][:, None] * inside, dtype=np.float64)
