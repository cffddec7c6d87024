"""Describes the tasks of each kind: how many calls, tokens, levels and seconds one of them takes. Does no I/O."""

from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns import MEASURES, QUANTILES, Measure
from tokenflation.analysis.reduce import call_quantiles, tasks

__all__ = ["profile"]


def profile(calls: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task kind: `task`, `tasks` and `<measure>_<statistic>`; measures as in `columns.MEASURES`.

    `tasks_with_usage` and `tasks_with_duration` count the tasks that the token and time measures can speak of.
    Statistics: `mean`, the quantiles `p10 p50 p90 p99` over the tasks of the kind that have a value (linear
    interpolation), and `sum`. Of a ratio the mean is the ratio of sums, and there is no sum. `isl` and `osl` are of one
    call, so their quantiles are over calls; `task_isl` and `task_osl` are over tasks. What no task reports is missing,
    never 0.

    Raises:
        FrameError: `calls` lacks columns that the grouping needs.
    """
    grouped = tasks(calls)
    of_calls = call_quantiles(calls)
    rows = [
        _row(str(kind), group, of_calls[of_calls.index == kind].iloc[0])
        for kind, group in grouped.groupby("task", sort=True)
    ]
    frame = pd.DataFrame(rows)
    sums = {f"{measure.name}_sum": measure.unit for measure in MEASURES if _has_sum(measure)}
    return frame.astype({name: "Float64" if unit == "s" else "Int64" for name, unit in sums.items()})


def _row(kind: str, group: pd.DataFrame, of_calls: "pd.Series[Any]") -> dict[str, Any]:
    row: dict[str, Any] = {
        "task": kind,
        "tasks": len(group),
        "tasks_with_usage": int((group["calls_with_usage"] > 0).sum()),
        "tasks_with_duration": int(group["duration_s"].count()),
    }
    for measure in MEASURES:
        values = group[measure.column or measure.name].dropna()
        row[f"{measure.name}_mean"] = _mean(group, values, measure)
        for name, level in QUANTILES.items():
            key = f"{measure.name}_{name}"
            row[key] = float(of_calls[key]) if measure.over_calls else _quantile(values, level)
        if _has_sum(measure):
            # Missing, not 0: an empty sum would claim that somebody reported a zero. And NA, not NaN or None, which
            # would make a column of floats out of exact integers.
            row[f"{measure.name}_sum"] = values.sum() if len(values) else pd.NA
    return row


def _mean(group: pd.DataFrame, values: "pd.Series[Any]", measure: Measure) -> float:
    if measure.ratio is None:
        return float(values.mean()) if len(values) else np.nan
    numerator, denominator = (group[name].sum(min_count=1) for name in measure.ratio)
    return float(numerator / denominator) if not pd.isna(denominator) and denominator > 0 else np.nan


def _quantile(values: "pd.Series[Any]", level: float) -> float:
    return float(np.quantile(values.to_numpy(dtype=np.float64), level)) if len(values) else np.nan


def _has_sum(measure: Measure) -> bool:
    return measure.ratio is None and measure.total
