"""What single tasks take: quantiles by kind, each only from as many runs as bear it, and how heavy the tail is."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.counted import Counted
from tokenflation.analysis.fleet.paths import Runs
from tokenflation.analysis.statistics.attribution import LEAST_PER_TASK, task_quantiles
from tokenflation.analysis.statistics.censoring import Shares

__all__ = ["hill_index", "quantile_rows"]

Floats = NDArray[np.float64]

_LEVELS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}
_LEAST = {"p50": 4, **LEAST_PER_TASK}
_UNITS = {"input_tokens": "tokens", "output_tokens": "tokens", "calls": "calls", "duration_s": "s"}
_TOP = 0.2
_LEAST_FOR_TAIL = 100


def quantile_rows(runs: Runs, rests: Counted, kinds: list[str]) -> list[dict[str, Any]]:
    """Return rows by kind, resource and quantile of a task: `task`, `resource`, `unit`, `quantile`, `value`, `refused`.

    Tokens are those of the runs that report any. A quantile is refused, with the reason in place of its value, where
    fewer runs finished than put the largest of them above it with 90 % confidence (`LEAST_PER_TASK`), or where it lies
    beyond the longest finished run.
    """
    columns = {
        name: runs.totals[name].to_numpy(dtype=np.float64) for name in ("input_tokens", "output_tokens", "calls")
    }
    columns["duration_s"] = runs.paths["active_tasks"].integrals(len(runs.kind_of_run))
    rows = []
    for number, kind in enumerate(runs.kinds):
        if kind not in kinds:
            continue
        mine, finished = runs.kind_of_run == number, rests.bearing(kind)
        for name, unit in _UNITS.items():
            told = runs.reported[name].to_numpy()[mine] if name in runs.reported else np.ones(int(mine.sum()), np.bool_)
            known = min(finished, int(told.sum()))
            found = _quantiles(columns[name][mine], told, rests.shares[kind])
            for quantile, least in _LEAST.items():
                refused = None
                if not known:
                    refused = "is not known: no recorded run reports it"
                elif known < least:
                    refused = f"needs {least} finished runs; there {'is' if known == 1 else 'are'} {known}"
                elif quantile not in found:
                    refused = "lies beyond the longest finished run; record runs with a higher limit"
                rows.append({"task": kind, "resource": name, "unit": unit, "quantile": quantile,
                             "value": None if refused else found[quantile], "refused": refused})  # fmt: skip
    return rows


def _quantiles(values: Floats, told: NDArray[np.bool_], shares: Shares) -> dict[str, float]:
    if not told.any():
        return {}
    if shares.left_out is None:
        values = values[told]
        return {"p50": float(np.quantile(values, 0.5)), **task_quantiles(values)}
    order = np.argsort(values, kind="stable")
    below = np.cumsum(shares.weights[order])
    return {
        name: float(values[order][min(int(np.searchsorted(below, level - 1e-12)), len(values) - 1)])
        for name, level in _LEVELS.items()
        if level <= 1 - shares.beyond
    }


def hill_index(values: Floats) -> float | None:
    """Return Hill's estimate of the index of a power-law tail from the largest fifth; None below 100 runs or spread.

    Below 2 the variance of such a law is infinite: what is measured is that of the limits on a task.
    Source: B. M. Hill, "A simple general approach to inference about the tail of a distribution" (1975).
    """
    count = int(_TOP * len(values))
    top = np.sort(values)[::-1][: count + 1]
    if len(values) < _LEAST_FOR_TAIL or top[-1] <= 0:
        return None
    excess = float(np.log(top[:-1] / top[-1]).mean())
    return 1.0 / excess if excess > 0 else None
