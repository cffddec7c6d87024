"""Where a forecast's uncertainty comes from, and which runs to record next. Pure NumPy; knows nothing of buckets.

Sources: FORECAST model, section 1.5; J. Neyman, "On the two different aspects of the representative method" (1934); I.
M. Sobol, "Global sensitivity indices for nonlinear mathematical models" (2001); A. Saltelli et al., "Variance
based sensitivity analysis of model output" (2010).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.sdk.errors import PlanError

__all__ = ["LEAST_PER_TASK", "Multiplied", "nested_shares", "runs_to_record", "sobol", "task_quantiles"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_PER_TASK = {"p90": 22, "p95": 45, "p99": 230}
"""Runs from which the largest lies above a quantile of single tasks with 90 % confidence: 1 - q^n >= 0.9."""
_QUANTILES = {"p90": 0.9, "p95": 0.95, "p99": 0.99}
_Z90 = 1.645
_CHUNK = 100
# Draws times columns worked on at once: as many as a processor's cache holds.
_CELLS = 100_000


@dataclass(frozen=True, slots=True)
class Multiplied:
    """What draws of a plan's assumptions multiply a load by: two cumulants by kind, and all by column."""

    first: Floats
    """Shape (draws, kinds)."""
    second: Floats
    grown: Floats
    """Shape (draws, columns) or (1, 1)."""
    crowd: Floats
    """Arrivals of all kinds over those planned, shape (draws, columns) or (draws, 1): bunches grow in
    number with them.
    """


def nested_shares(by_kind: Floats, factors: Floats, multiplied: Multiplied, *, quick: Floats,
                  slow: float) -> dict[str, Floats]:  # fmt: skip
    """Return the shares of the variance by column: `load`, `prototypes`, `assumptions`; they sum to 1.

    `by_kind` (kinds, 2 or more, columns) are a load's cumulants as planned, `factors` (kinds, draws) those of the
    prototypes on each kind's mean; `quick` (columns,) and `slow` are cvs of bunches and of a factor on everything. The
    order is fixed: assumptions c, then prototypes a within, then load, of which both inner moments are exact:
    Var X = E_c E_a Var(X | a, c) + E_c Var_a E[X | a, c] + Var_c E[X | c].
    """
    mean_factor = factors.mean(axis=1)
    within_of = _within(by_kind[:, 0], factors, multiplied.first)
    columns = by_kind.shape[2]
    load, prototypes = np.zeros(columns), np.zeros(columns)
    draws = len(multiplied.first)
    means = np.empty((draws, columns))
    step = max(_CHUNK, _CELLS // columns)
    bursts = bool(slow or quick.any())
    for low in range(0, draws, step):
        some = slice(low, low + step)
        first, second = multiplied.first[some], multiplied.second[some]
        grown = multiplied.grown if len(multiplied.grown) == 1 else multiplied.grown[some]
        mean = np.matmul(first * mean_factor, by_kind[:, 0], out=means[some])
        mean *= grown
        within = within_of(some)
        within *= grown**2
        own = (second * mean_factor) @ by_kind[:, 1]
        own *= grown
        if bursts:
            own += (quick**2 / np.maximum(multiplied.crowd[some], 1e-300) + slow**2) * (mean**2 + within)
        load += own.sum(axis=0)
        prototypes += within.sum(axis=0)
    load, prototypes, assumptions = load / draws, prototypes / draws, means.var(axis=0)
    total = load + prototypes + assumptions
    safe = np.where(total > 0, total, 1.0)
    return {"load": load / safe, "prototypes": prototypes / safe, "assumptions": assumptions / safe}


def _within(mean: Floats, factors: Floats, first: Floats) -> Callable[[slice], Floats]:
    """Return what gives, for a slice of the assumptions' draws, Var_a of the load's mean: shape (draws, columns).

    `mean` is by kind and column, `factors` by kind and the prototypes' draw, `first` by the assumptions' draw and kind.
    It is a sum of squares over the roots of the factors' covariance. Kinds that all draws multiply alike go together;
    where that leaves few, their products in pairs are fewer than the roots.
    """
    numbers: dict[bytes, int] = {}
    group: Ints = np.array([numbers.setdefault(one.tobytes(), len(numbers)) for one in first.T], dtype=np.int64)
    order = np.argsort(group, kind="stable")
    begins = np.searchsorted(group[order], np.arange(len(numbers)))
    distinct = first[:, order[begins]]
    roots = _roots(factors)

    def parts(root: Floats) -> Floats:
        return np.asarray(np.add.reduceat((root[:, None] * mean)[order], begins), dtype=np.float64)

    def by_roots(some: slice) -> Floats:
        found: Floats = np.zeros((len(distinct[some]), mean.shape[1]))
        for root in roots:
            found += (distinct[some] @ parts(root)) ** 2
        return found

    one, other = np.triu_indices(len(numbers))
    if len(one) > len(roots):
        return by_roots
    products = np.zeros((len(one), mean.shape[1]))
    for root in roots:
        part = parts(root)
        products += part[one] * part[other]
    products[one != other] *= 2

    def by_pairs(some: slice) -> Floats:
        pairs = distinct[some][:, one] * distinct[some][:, other]
        return np.asarray(np.maximum(pairs @ products, 0.0), dtype=np.float64)

    return by_pairs


def _roots(factors: Floats) -> Floats:
    """Return rows whose outer products sum to the covariance of the factors over draws; none where they do not vary."""
    kinds, draws = factors.shape
    if kinds >= draws:
        return np.asarray((factors - factors.mean(axis=1, keepdims=True)).T / math.sqrt(draws), dtype=np.float64)
    values, vectors = np.linalg.eigh(np.atleast_2d(np.cov(factors, bias=True)))
    found = (vectors * np.sqrt(np.maximum(values, 0.0))).T
    return np.asarray(found[values > values.max(initial=0.0) * 1e-12], dtype=np.float64)


def sobol(result: Callable[[Mapping[str, Floats]], Floats], one: Mapping[str, Floats],
          other: Mapping[str, Floats]) -> dict[str, tuple[Floats, Floats]]:  # fmt: skip
    """Return the first-order and the total Sobol index of each name by column of the result.

    `one` and `other` are two independent samples of all names; `result` gives (draws, columns). Where the result has no
    variance both are 0. By the estimators of Saltelli et al. (2010), (b) and (f) of their table 2, held in [0, 1].
    """
    base, second = result(one), result(other)
    variance = np.concatenate((base, second)).var(axis=0)
    middle = np.concatenate((base, second)).mean(axis=0)
    safe = np.where(variance > 0, variance, 1.0)
    found = {}
    for name in one:
        mixed = result({**one, name: other[name]})
        first = np.where(variance > 0, ((second - middle) * (mixed - base)).mean(axis=0) / safe, 0.0)
        total = np.where(variance > 0, ((base - mixed) ** 2).mean(axis=0) / (2 * safe), 0.0)
        found[name] = (np.clip(first, 0.0, 1.0), np.clip(total, 0.0, 1.0))
    return found


def runs_to_record(values: Mapping[str, Floats], volumes: Mapping[str, float], *, target: float = 0.15) -> pd.DataFrame:
    """Return how many runs of each kind bring the mean demand to within `target` of itself with 90 % confidence.

    `values` are one resource's totals per run by kind, `volumes` tasks per day. One row per kind, the largest share of
    the variance first: `task`, `runs`, `variance_share` (of the fleet's mean, as recorded), `runs_wanted`, `more`.
    Wanted runs are allocated in proportion to volume times deviation (Neyman); kinds with more runs than that keep
    them. Half widths are normal, 1.645 standard errors: skewed runs need somewhat more.

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
