"""Where a forecast's uncertainty comes from, and which runs to record next. Pure NumPy; knows nothing of buckets.

Volume is a product of independent log-normal factors of mean 1, so shares, Sobol indices and tornado bars are exact.
Sources: FORECAST model, section 1.5; J. Neyman, "On the two different aspects of the representative method" (1934); I. M.
Sobol, "Global sensitivity indices for nonlinear mathematical models" (2001).
"""

import math
from collections.abc import Mapping
from statistics import NormalDist

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.sdk.errors import PlanError

__all__ = ["LEAST_PER_TASK", "nested_shares", "runs_to_record", "sensitivity", "task_quantiles"]

Floats = NDArray[np.float64]

LEAST_PER_TASK = {"p90": 22, "p95": 45, "p99": 230}
"""Runs from which the largest lies above a quantile of single tasks with 90 % confidence: 1 - q^n >= 0.9."""
_QUANTILES = {"p90": 0.9, "p95": 0.95, "p99": 0.99}
_Z90 = 1.645


def nested_shares(means: Floats, spreads: Floats, cv: Floats | float) -> dict[str, Floats]:
    """Return the shares of the variance by column: `load`, `prototypes`, `assumptions`; they sum to 1.

    `means` and `spreads` (draws, columns) are the load's by prototype draw at the planned volume; `cv` is that of the
    volume, by which both scale (variance in proportion, as for Poisson arrivals). The order is fixed: assumptions, then
    prototypes within, then load: Var X = E E Var(X | a, c) + E Var(E[X | a, c] | c) + Var E[X | c].
    """
    v = np.square(cv)
    load = (spreads**2).mean(axis=0)
    prototypes = (1 + v) * means.var(axis=0)
    assumptions = v * means.mean(axis=0) ** 2
    total = load + prototypes + assumptions
    safe = np.where(total > 0, total, 1.0)
    return {"load": load / safe, "prototypes": prototypes / safe, "assumptions": assumptions / safe}


def sensitivity(cvs: Mapping[str, float]) -> pd.DataFrame:
    """Return one row per assumption, widest first: `assumption`, `cv`, `p10`, `p90`, `sobol_first`, `sobol_total`.

    `cvs` are coefficients of variation of independent log-normal factors of mean 1 on the volume. p10 and p90 are what
    the result is multiplied by with that factor alone there (tornado); the indices are shares of the product's variance.

    Raises:
        PlanError: a cv is negative or not finite.
    """
    for name, cv in cvs.items():
        if not (math.isfinite(cv) and cv >= 0):
            raise PlanError(f"the assumption {name!r} has the cv {cv!r}; it must be a number of at least 0.")
    product = math.prod(1 + cv**2 for cv in cvs.values())
    z = NormalDist().inv_cdf(0.9)
    rows = []
    for name, cv in cvs.items():
        log_sd = math.sqrt(math.log1p(cv**2))
        bars = [math.exp(sign * z * log_sd - log_sd**2 / 2) for sign in (-1, 1)]
        whole = product - 1
        first, total = (cv**2 / whole, cv**2 * product / (1 + cv**2) / whole) if whole > 0 else (0.0, 0.0)
        rows.append((name, cv, *bars, first, total))
    frame = pd.DataFrame(rows, columns=["assumption", "cv", "p10", "p90", "sobol_first", "sobol_total"])
    return frame.sort_values("cv", ascending=False, kind="stable", ignore_index=True)


def runs_to_record(values: Mapping[str, Floats], volumes: Mapping[str, float], *, target: float = 0.15) -> pd.DataFrame:
    """Return how many runs of each kind bring the mean demand to within `target` of itself with 90 % confidence.

    `values` are one resource's totals per run by kind, `volumes` tasks per day. One row per kind, the largest share of the
    variance first: `task`, `runs`, `variance_share` (of the fleet's mean, as recorded), `runs_wanted`, `more`. Wanted runs
    are allocated in proportion to volume times deviation (Neyman); kinds with more runs than that keep them. Half widths
    are normal, 1.645 standard errors: skewed runs need somewhat more.

    Raises:
        PlanError: the target is not above 0, or a kind has fewer than 2 runs, which tell no deviation.
    """
    if not (math.isfinite(target) and target > 0):
        raise PlanError(f"target is {target!r}; it is a share of the mean above 0, as 0.15.")
    kinds = [kind for kind in volumes if volumes[kind] > 0]
    few = [kind for kind in kinds if len(values[kind]) < 2]
    if few:
        raise PlanError(f"{few[0]!r} has fewer than 2 runs, which tell no deviation; record at least 10 of it.")
    counts: Floats = np.array([len(values[kind]) for kind in kinds], dtype=np.float64)
    weighted: Floats = np.array([volumes[kind] * float(values[kind].std(ddof=1)) for kind in kinds])
    mean = sum(volumes[kind] * float(values[kind].mean()) for kind in kinds)
    variance = weighted**2 / counts
    allowed = (target * mean / _Z90) ** 2
    wanted = np.ceil(_neyman(weighted, counts, allowed))
    share = variance / variance.sum() if variance.sum() > 0 else np.zeros(len(kinds))
    frame = pd.DataFrame({
        "task": kinds, "runs": counts.astype(np.int64), "variance_share": share,
        "runs_wanted": wanted.astype(np.int64), "more": (wanted - counts).astype(np.int64),
    })  # fmt: skip
    return frame.sort_values("variance_share", ascending=False, kind="stable", ignore_index=True)


def _neyman(weighted: Floats, counts: Floats, allowed: float) -> Floats:
    """Return runs per kind whose variance is at most `allowed`, none below what there is."""
    wanted = counts.copy()
    if float((weighted**2 / counts).sum()) <= allowed or allowed <= 0:
        return wanted
    short = np.ones(len(counts), dtype=np.bool_)
    for _ in range(len(counts) + 1):
        left = allowed - float((weighted[~short] ** 2 / counts[~short]).sum())
        if left <= 0 or not short.any():
            break
        found = weighted * weighted[short].sum() / left
        enough = short & (found < counts)
        wanted = np.where(short, np.maximum(found, counts), counts)
        if not enough.any():
            break
        short &= ~enough
    return wanted


def task_quantiles(values: Floats) -> dict[str, float]:
    """Return p90, p95 and p99 of what single tasks take, each only from as many runs as bear it (`LEAST_PER_TASK`)."""
    return {
        name: float(np.quantile(values, level))
        for name, level in _QUANTILES.items()
        if len(values) >= LEAST_PER_TASK[name]
    }
