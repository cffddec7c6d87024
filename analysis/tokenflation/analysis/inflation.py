"""Compares the tokens of each task kind with those of a baseline kind: a direct answer. Does no I/O.

Billed and computed tokens stay apart, since a prefix cache makes them differ by an order of magnitude
(FORECAST model, section 2.1): billed = input + output, computed = input - cached + output.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.columns import INFLATION_COLUMNS
from tokenflation.analysis.prototypes import LEAST_RUNS, kappa
from tokenflation.analysis.reduce import tasks
from tokenflation.sdk.errors import FrameError

__all__ = ["direct_kinds", "inflation"]

_RESAMPLES = 2000
# Above so many tasks the mean is normal to within the noise of the resamples, and resampling would take minutes.
_NORMAL_TASKS = 5000
_FACTORS = ("input", "output", "billed", "computed")
# Resampled indexes held at once: 4 million of them are 32 MB.
_CELLS = 4_000_000


def inflation(
    calls: pd.DataFrame, *, baseline: str, rng: np.random.Generator | None = None, level: float = 0.9
) -> pd.DataFrame:
    """Return one row per task kind, the baseline included: columns as in `columns.INFLATION_COLUMNS`.

    Every factor is a ratio of means over tasks, never a mean of ratios. Tasks without usage are left out and counted.
    `inflation_input` is exactly `driver_calls * driver_input_reported * driver_input_per_call`, and `inflation_output`
    likewise. Computed tokens take what the provider reports as read from its cache, else the shared prefix, else
    nothing; `cached_source` says which.

    With `rng`, `<factor>_low` and `<factor>_high` bound the factor at `level` by a studentised bootstrap of its
    logarithm over whole tasks; without it, or with fewer than `prototypes.LEAST_RUNS` tasks on a side, they are missing.

    Raises:
        FrameError: columns are missing, or no task of the baseline kind reports usage.

    Source: FORECAST model, section 2.1 (ratio of means; two numbers) and 1.5 (resample whole runs, studentised logarithm).
    """
    if not 0 < level < 1:
        raise FrameError(f"inflation() needs a level between 0 and 1, got {level}; 0.9 is usual.")
    grouped = tasks(calls)
    kinds = sorted(grouped["task"].unique())
    if baseline not in kinds:
        raise FrameError(
            f"inflation() finds no task of the baseline kind {baseline!r}; the kinds here are {kinds}. "
            "Record the same work answered once, in a task of a kind of its own, and name that kind."
        )
    base = _measured(grouped, baseline)
    if base.empty:
        raise FrameError(f"No task of the baseline kind {baseline!r} reports usage. Record one whose calls report it.")
    rows = []
    for kind in kinds:
        mine = _measured(grouped, kind)
        row = _counts(grouped, kind, baseline, mine, base) | _factors(mine, base) | _drivers(mine, base)
        rows.append(row | _intervals(mine, base, kind == baseline, rng, level))
    return pd.DataFrame(rows)[list(INFLATION_COLUMNS)]


def direct_kinds(calls: pd.DataFrame) -> list[str]:
    """Return the task kinds whose every task is one call: those that can serve as a baseline, in order."""
    most = tasks(calls).groupby("task")["calls"].max()
    return sorted(str(kind) for kind in most.index[most == 1])


def _measured(grouped: pd.DataFrame, kind: str) -> pd.DataFrame:
    """Return the tasks of a kind that report input and output, with their billed and computed tokens."""
    mine = grouped[grouped["task"] == kind].dropna(subset=["input_tokens", "output_tokens"])
    billed = mine["input_tokens"] + mine["output_tokens"]
    cached = mine["cached_tokens"].fillna(0)
    return mine.assign(
        input=mine["input_tokens"], output=mine["output_tokens"], billed=billed, computed=billed - cached
    )


def _counts(grouped: pd.DataFrame, kind: str, baseline: str, mine: pd.DataFrame, base: pd.DataFrame) -> dict[str, Any]:
    all_tasks = int((grouped["task"] == kind).sum())
    return {
        "task": kind,
        "baseline": baseline,
        "tasks": all_tasks,
        "tasks_without_usage": all_tasks - len(mine),
        "baseline_tasks": len(base),
        "cached_source": _cached_source(mine),
        "baseline_cached_source": _cached_source(base),
        "billed_tokens_mean": _average(mine, "billed"),
        "computed_tokens_mean": _average(mine, "computed"),
    }


def _cached_source(group: pd.DataFrame) -> str:
    """Return where the cached tokens come from: provider, blocks or none; with a plus between them where it is mixed."""
    sources = ("provider", "blocks", "none")
    return "+".join(name for name in sources if group[f"cached_by_{name}_calls"].sum() > 0) or "none"


def _average(group: pd.DataFrame, name: str) -> float:
    return float(group[name].mean()) if len(group) else np.nan


def _factors(mine: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    return {f"inflation_{name}": _over(_average(mine, name), _average(base, name)) for name in _FACTORS}


def _drivers(mine: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """Return the factors that multiply to the inflation of input and of output (numerator and denominator telescoped)."""
    drivers = {"driver_calls": _over(_average(mine, "calls"), _average(base, "calls"))}
    for name in ("input", "output"):
        reporting = f"calls_with_{name}"
        drivers[f"driver_{name}_reported"] = _over(_per(mine, reporting, "calls"), _per(base, reporting, "calls"))
        drivers[f"driver_{name}_per_call"] = _over(_per(mine, name, reporting), _per(base, name, reporting))
    return drivers


def _per(group: pd.DataFrame, numerator: str, denominator: str) -> float:
    return _over(float(group[numerator].sum()), float(group[denominator].sum()))


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else np.nan


def _intervals(
    mine: pd.DataFrame, base: pd.DataFrame, is_baseline: bool, rng: np.random.Generator | None, level: float
) -> dict[str, float]:
    ends = {f"inflation_{name}_{end}": np.nan for name in _FACTORS for end in ("low", "high")}
    if is_baseline:
        # A kind against itself is 1 whatever its spread.
        return dict.fromkeys(ends, 1.0)
    if rng is None or min(len(mine), len(base)) < LEAST_RUNS:
        return ends
    low, high = _ratio_interval(_matrix(mine), _matrix(base), rng, level)
    for position, name in enumerate(_FACTORS):
        ends[f"inflation_{name}_low"] = float(low[position])
        ends[f"inflation_{name}_high"] = float(high[position])
    return ends


def _matrix(group: pd.DataFrame) -> NDArray[np.float64]:
    return group[list(_FACTORS)].to_numpy(dtype=np.float64)


def _ratio_interval(
    mine: NDArray[np.float64], base: NDArray[np.float64], rng: np.random.Generator, level: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the ends of the interval of mean(mine) / mean(base) per column, by the bootstrap-t of its logarithm.

    t* = (log r* - log r) / se*, se^2 = (sd/mean)^2/n added over both sides; the interval is r * exp(-kappa * t*_q * se),
    kappa that of the smaller side.
    """
    log_ratio, error = _log_ratio(*_moments(mine[None]), *_moments(base[None]))
    drawn, spread = _log_ratio(*_resampled_moments(mine, rng), *_resampled_moments(base, rng))
    with np.errstate(divide="ignore", invalid="ignore"):
        pulls = (drawn - log_ratio) / spread
    tail = (1 - level) / 2
    upper, lower = np.transpose([_finite_quantiles(pull, [1 - tail, tail]) for pull in pulls.T])
    width = kappa(min(len(mine), len(base))) * error
    return np.exp(log_ratio - upper * width)[0], np.exp(log_ratio - lower * width)[0]


def _resampled_moments(
    side: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return `_moments` of `_RESAMPLES` resamples of whole tasks; of very many tasks, draws from their normal limit."""
    if len(side) > _NORMAL_TASKS:
        mean, error = _moments(side[None])
        return mean * (1 + error * rng.standard_normal((_RESAMPLES, 1))), np.repeat(error, _RESAMPLES, axis=0)
    step = max(1, _CELLS // side.size)
    sizes = [min(step, _RESAMPLES - start) for start in range(0, _RESAMPLES, step)]
    parts = [_moments(side[rng.integers(len(side), size=(size, len(side)))]) for size in sizes]
    return np.concatenate([mean for mean, _ in parts]), np.concatenate([error for _, error in parts])


def _finite_quantiles(pulls: NDArray[np.float64], levels: list[float]) -> NDArray[np.float64]:
    """Return the quantiles of the pulls that are numbers: a resample of equal tasks has no spread to measure one by."""
    finite = pulls[np.isfinite(pulls)]
    return np.quantile(finite, levels) if len(finite) else np.zeros(len(levels))


def _moments(samples: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the relative standard error of it, over axis 1."""
    mean = samples.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return mean, samples.std(axis=1, ddof=1) / mean / np.sqrt(samples.shape[1])


def _log_ratio(
    mean: NDArray[np.float64],
    error: NDArray[np.float64],
    base_mean: NDArray[np.float64],
    base_error: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.log(mean / base_mean), np.sqrt(error**2 + base_error**2)
