"""Brute force: runs that start at random, added up. The oracle that the closed form is tested against; not for use at scale.

Knows nothing of plans or intervals.
"""

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.paths import Path

__all__ = ["simulate_load"]

Floats = NDArray[np.float64]


def simulate_load(
    path: Path, runs: int, rate_per_s: float, *, replicates: int, window_s: float, rng: np.random.Generator
) -> Floats:
    """Return the load at one instant in so many independent replicates, for Poisson arrivals of a constant rate.

    Each arrival is one of the runs, chosen evenly; arrivals of the last `window_s` count, which must be at least as long
    as the longest run.
    """
    order = np.argsort(path.run, kind="stable")
    first = np.searchsorted(path.run[order], np.arange(runs + 1))
    load = np.zeros(replicates)
    for replicate in range(replicates):
        count = rng.poisson(rate_per_s * window_s)
        ages = rng.uniform(0.0, window_s, count)
        for run, age in zip(rng.integers(0, runs, count), ages, strict=True):
            mine = order[first[run] : first[run + 1]]
            inside = (path.start_s[mine] <= age) & (age < path.end_s[mine])
            load[replicate] += path.load[mine][inside].sum()
    return load
