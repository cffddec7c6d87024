"""Brute force: runs that start at random, added up.

The oracle that the closed form is tested against; not for use at scale.

Knows nothing of plans or intervals.
"""

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.paths import Path

__all__ = ["loads_at", "simulate_load"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def simulate_load(
    path: Path, runs: int, rate_per_s: float, *, replicates: int, window_s: float, rng: np.random.Generator
) -> Floats:
    """Return the load at one instant in so many independent replicates, for Poisson arrivals of a constant rate.

    Each arrival is one of the runs, chosen evenly; arrivals of the last `window_s` count, which must be at least as
    long as the longest run.
    """
    counts = rng.poisson(rate_per_s * window_s, replicates)
    total = int(counts.sum())
    ages, run = rng.uniform(0.0, window_s, total), rng.integers(0, runs, total)
    place, segment = _segments(path, runs, run)
    inside = (path.start_s[segment] <= ages[place]) & (ages[place] < path.end_s[segment])
    of = np.repeat(np.arange(replicates), counts)
    return np.bincount(of[place[inside]], weights=path.load[segment[inside]], minlength=replicates).astype(np.float64)


def loads_at(path: Path, runs: int, starts_s: Floats, *, step_s: float, from_s: float, until_s: float,
             rng: np.random.Generator) -> Floats:  # fmt: skip
    """Return the load at `from_s`, then every `step_s` until `until_s`, of a history of tasks that start at `starts_s`.

    Each task is one of the runs, chosen evenly.
    """
    count = int((until_s - from_s) // step_s) + 1
    steps = np.zeros(count + 1)
    chosen = rng.integers(0, runs, len(starts_s))
    # A day's worth at a time, so that memory does not grow with the history.
    for low in range(0, len(starts_s), 200_000):
        place, segment = _segments(path, runs, chosen[low : low + 200_000])
        begin = starts_s[low : low + 200_000][place]
        for edge, sign in ((path.start_s[segment], 1.0), (path.end_s[segment], -1.0)):
            first = np.clip(np.ceil((begin + edge - from_s) / step_s), 0, count).astype(np.int64)
            steps += sign * np.bincount(first, weights=path.load[segment], minlength=count + 1)
    return np.asarray(np.cumsum(steps)[:count], dtype=np.float64)


def _segments(path: Path, runs: int, chosen: Ints) -> tuple[Ints, Ints]:
    """Return, for every segment of every chosen run, the place in `chosen` and the segment's number."""
    order = np.argsort(path.run, kind="stable")
    first = np.searchsorted(path.run[order], np.arange(runs + 1))
    lengths = np.diff(first)[chosen]
    place = np.repeat(np.arange(len(chosen)), lengths)
    within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return place, order[first[chosen][place] + within]
