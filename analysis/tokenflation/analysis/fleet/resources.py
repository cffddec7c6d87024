"""What a plan asks to know of runs: each resource's path, how bursts widen it, how far its recorded mean can be off.

Knows nothing of tables.
"""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.bursts import clustering, trace_rate
from tokenflation.analysis.fleet.counted import Counted
from tokenflation.analysis.fleet.demand import cumulants, means_by_run
from tokenflation.analysis.fleet.paths import RESOURCES, SERVED, Path, Runs, summed
from tokenflation.analysis.planning.arrivals import Arrivals
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, mean_ends, mean_factors

__all__ = ["DRAWS", "PRIOR_LOG_SD", "arms_of", "burst_cv", "factors_of", "loads_of"]

Floats = NDArray[np.float64]

DRAWS = 500
"""Draws of the prototypes' uncertainty."""
PRIOR_LOG_SD = 1.0
"""Deviation of the logarithm of what single runs take, where too few were recorded to tell."""
_LEVEL = 0.9
# Runs times buckets held at once: 32 MB.
_CELLS = 4_000_000


def loads_of(runs: Runs, plan: Plan) -> dict[str, tuple[Path, float, str]]:
    """Return path, scale and unit of each resource; requests are counted over a bucket and given per second."""
    half = plan.bucket_s / 2
    begins = runs.call_start_s
    starts = summed(runs.call_run, begins - half, begins + half, np.ones(len(begins)))
    loads = {name: (path, 1.0, (RESOURCES | SERVED)[name]) for name, path in runs.paths.items()}
    loads["requests_per_s"] = (starts, 1.0 / plan.bucket_s, "calls/s")
    if plan.kv_bytes_per_token is not None:
        loads["kv_bytes"] = (runs.paths["kv_tokens"], plan.kv_bytes_per_token, "bytes")
        loads["kv_warm_bytes"] = (runs.paths["kv_warm_tokens"], plan.kv_bytes_per_token, "bytes")
    return loads


def burst_cv(path: Path, weights: Floats, over: Arrivals, times_s: Floats, plan: Plan,
             mean: Floats | None = None) -> Floats:  # fmt: skip
    """Return by bucket the cv of a gamma factor on the rate that gives the load the variance its clusters give it.

    `mean` is the load's; without it, it is worked out, and times must lie one cell apart.
    """
    more = np.full(len(times_s), clustering(plan.burstiness, path, weights) if len(path.run) else 0.0)
    if plan.burstiness is None or not more.any():
        return more
    if plan.burstiness.kind == "trace" and plan.burstiness.scale == "size":
        cells = np.floor((times_s - over.first_s) / over.cell_s).astype(np.int64)
        more *= float(weights.sum()) * over.rate_per_s[cells] / trace_rate(plan.burstiness)
    if mean is None:
        mean = cumulants(path, weights, over, times_s, 1)[0]
    return np.asarray(np.sqrt(more / np.where(mean > 0, mean, np.inf)), dtype=np.float64)


def factors_of(runs: Runs, loads: dict[str, tuple[Path, float, str]], totals: pd.DataFrame, volumes: dict[str, float],
             rng: np.random.Generator, counted: Counted) -> dict[str, Floats]:  # fmt: skip
    """Return draws of true over recorded mean by resource or total; shape (kinds, draws).

    Of one kind they are those of its mean; of several they are such that their sum is right.
    """
    names = [*loads, *totals.columns]
    size = len(runs.kind_of_run)
    integrals = [path.integrals(size) for path, _, _ in loads.values()]
    values = np.column_stack([*integrals, totals.to_numpy(dtype=np.float64)])
    found = np.ones((len(runs.kinds), DRAWS, len(names)))
    planned = np.zeros((len(runs.kinds), len(names)))
    for number, kind in enumerate(runs.kinds):
        count = counted.bearing(kind)
        mine = runs.kind_of_run == number
        planned[number] = volumes.get(kind, 0.0) * (counted.of_run[mine] @ values[mine])
        if kind in volumes and count < LEAST_RUNS:
            # Too few runs to tell their spread: assume that runs differ by a factor e or so, all resources alike.
            found[number] = np.exp(rng.normal(0.0, PRIOR_LOG_SD / np.sqrt(max(count, 1)), DRAWS))[:, None]
        elif kind in volumes:
            found[number] = mean_factors(values[mine], DRAWS, rng, shares=counted.shares[kind])
    return {name: _summed(found[:, :, column], planned[:, column]) for column, name in enumerate(names)}


def _summed(factors: Floats, planned: Floats) -> Floats:
    """Return each kind's factors with as much left above 1 on average as the sum over kinds needs.

    On average they lie above 1, for the large runs that few runs have probably missed. The runs of one kind missed them
    whatever those of another did, so that over kinds it adds as errors do, in squares: given in full to each of thirty
    kinds, ten runs of each, it put their recorded sum itself below its interval, which then held the truth in 3 of 10.
    """
    above = factors.mean(axis=1) - 1
    missed = planned * above
    in_all = float(np.abs(missed).sum())
    left = float(np.sqrt((missed**2).sum())) / in_all if in_all > 0 else 1.0
    return np.asarray(factors * ((1 + left * above) / (1 + above))[:, None], dtype=np.float64)


def arms_of(runs: Runs, path: Path, over: Arrivals, times_s: Floats, volumes: dict[str, float],
            counted: Counted) -> Floats:  # fmt: skip
    """Return how far the mean at each time may lie below and above, over how far that of whole runs may.

    Shape (kinds, 2, times). Runs that use alike may differ much in when they do: what counts at a time is the mean over
    runs of what each puts there. 1 where runs tell nothing of it. Times lie whole cells apart.
    """
    found = np.ones((len(runs.kinds), 2, len(times_s)))
    count = len(runs.kind_of_run)
    integrals = path.integrals(count)
    kind_of = runs.kind_of_run[path.run]
    order = np.argsort(kind_of, kind="stable")
    bounds = np.searchsorted(kind_of[order], np.arange(len(runs.kinds) + 1))
    for number, kind in enumerate(runs.kinds):
        here = order[bounds[number] : bounds[number + 1]]
        if kind not in volumes or counted.bearing(kind) < LEAST_RUNS or not len(here):
            continue
        mine = np.flatnonzero(runs.kind_of_run == number)
        shares = counted.shares[kind]
        whole = np.abs(mean_ends(integrals[mine][:, None], _LEVEL, shares=shares) - 1)
        if not whole.all():
            continue
        part = Path(np.searchsorted(mine, path.run[here]), path.start_s[here], path.end_s[here], path.load[here])
        columns = max(1, _CELLS // len(mine))
        for low in range(0, len(times_s), columns):
            some = slice(low, low + columns)
            means = np.maximum(means_by_run(part, len(mine), over, times_s[some]), 0.0)
            found[number, :, some] = np.abs(mean_ends(means, _LEVEL, shares=shares) - 1) / whole
    return found
