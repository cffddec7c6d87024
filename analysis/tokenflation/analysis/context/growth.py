"""How contexts grow: one row per agent run and per kind, with re-send factors, compactions and growth exponents.

If every call brings the same number of new tokens and sends all that came before again, the input of a run of n steps
is `n c0 + g n (n - 1) / 2`: linear in n where the first context is all there is, quadratic where the history is. The
growth exponent `dlog(input) / dlog(n)` tells which, from 1 to 2; cutting histories down brings it back to 1.
Source: FORECAST model, section 2.1. Does no I/O.
"""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenflation.analysis.columns.context import CONTEXT_KIND_COLUMNS, CONTEXT_RUN_COLUMNS
from tokenflation.analysis.context.steps import NEAR_WINDOW, context_steps, in_contexts
from tokenflation.analysis.frames import from_arrays
from tokenflation.analysis.statistics.of_tasks import ratio_of_sums
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS

__all__ = ["LEAST_SPREAD", "LEAST_STEPS", "context_kinds", "context_runs"]

LEAST_STEPS = 5
"""A line through fewer inputs says nothing of growth."""
LEAST_SPREAD = 4.0
"""Longest run over shortest, in steps: without such a spread between runs no slope between them is known."""

_RUN = ["task", "task_id", "agent", "agent_run_id"]
_KIND = ["task", "agent"]
# Of the runs' lengths without one task: below such a share of the spread, that task makes the slope.
_NO_SPREAD = 1e-9
_SUMS = (
    "calls", "input_tokens", "compactions_explicit", "compactions_inferred", "reductions", "calls_with_resent",
    "resent_known_input_tokens", "resent_input_tokens", "distinct_tokens", "calls_near_window", "calls_with_window",
)  # fmt: skip
Floats = npt.NDArray[np.float64]


def context_runs(calls: pd.DataFrame, *, steps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per agent run, in order of its first call; columns as in `columns.context.CONTEXT_RUN_COLUMNS`.

    `steps` are those that `context_steps` made of the same calls, to save making them again. With c_i the input of step
    i, `c0 + g i` is the least-squares line through them; it keeps their sum, so that at the run's length n
    `growth_exponent = n (c0 + g (2n - 1) / 2) / sum(c)`. `growth_exponent_fit` is the slope of the least-squares line
    through (log k, log(c_1 + ... + c_k)), an average over all lengths up to n. Both are refused below `LEAST_STEPS`
    steps and where a step does not report its input.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call reports its input.
    """
    known = context_steps(calls) if steps is None else steps
    known = known.sort_values(["step", "started_at_ns"], kind="stable", ignore_index=True)
    parts = _parts(known)
    grouped = pd.concat([known[_RUN], parts], axis=1).groupby(_RUN, sort=False)
    frame = grouped[list(_SUMS)].sum()
    frame["first_context_tokens"] = grouped["input_tokens"].first()
    frame["last_context_tokens"] = grouped["input_tokens"].last()
    frame["peak_context_tokens"] = grouped["input_tokens"].max()
    frame["started_at_ns"] = known.groupby(_RUN, sort=False)["started_at_ns"].min()
    frame["steps"] = calls[in_contexts(calls)].groupby(_RUN, sort=False).size().reindex(frame.index)
    _fitted(frame, grouped.ngroup().to_numpy().astype(np.int64), known["input_tokens"].to_numpy(np.float64))
    frame = frame.reset_index().sort_values("started_at_ns", kind="stable", ignore_index=True)
    frame["input_over_peak_context"] = _ratio(frame, "input_tokens", "peak_context_tokens")
    return _typed(_with_ratios(frame), CONTEXT_RUN_COLUMNS)


def context_kinds(
    calls: pd.DataFrame,
    *,
    steps: pd.DataFrame | None = None,
    rng: np.random.Generator | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Return one row per kind of task and agent; columns as in `columns.context.CONTEXT_KIND_COLUMNS`.

    Ratios are ratios of sums. The growth exponent is the slope of log(input of a run) against log(its steps) over the
    runs whose every step reports its input; it is refused below 10 of them, or where the longest has less than
    `LEAST_SPREAD` times the steps of the shortest. With `rng`, intervals of width `level`, over whole tasks, for kinds
    with at least 10 tasks: of ratios by `of_tasks.ratio_of_sums`, of the exponent by leaving out each task, which holds
    0.88 to 0.92 of a claimed 0.9 where percentiles of resamples held 0.81 to 0.84 at 10 tasks.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call reports its input.
    """
    runs = context_runs(calls, steps=steps)
    rows = []
    for (task, agent), group in runs.groupby(_KIND, sort=True):
        row: dict[str, Any] = {"task": task, "agent": agent, "runs": len(group), "steps": group["steps"].sum()}
        row |= {name: group[name].sum() for name in _SUMS}
        row["peak_context_tokens"] = group["peak_context_tokens"].max()
        row["peaks_tokens"] = group["peak_context_tokens"].sum()
        row["growth_per_step"] = group["growth_per_step"].median()
        row["run_growth_exponent"] = group["growth_exponent"].median()
        rows.append(row | _exponent(group, rng, level) | _intervals(group, rng, level))
    frame = pd.DataFrame(rows)
    frame["input_over_peak_context"] = _ratio(frame, "input_tokens", "peaks_tokens")
    return _typed(_with_ratios(frame), CONTEXT_KIND_COLUMNS)


def _parts(steps: pd.DataFrame) -> pd.DataFrame:
    size, resent = steps["input_tokens"], steps["resent_input_tokens"]
    told = resent.notna()
    cut = steps["compactions"]
    parts = {
        "calls": pd.Series(1, steps.index),
        "input_tokens": size,
        "compactions_explicit": cut.where(steps["compaction_source"] == "explicit", 0),
        "compactions_inferred": cut.where(steps["compaction_source"] == "inferred", 0),
        "reductions": (steps["change"] == "reduced") & (cut == 0),
        "calls_with_resent": told,
        "resent_known_input_tokens": size.where(told, 0),
        "resent_input_tokens": resent.fillna(0),
        "distinct_tokens": (size - resent.fillna(0)).where(told, 0),
        "calls_near_window": (steps["window_share"] >= NEAR_WINDOW).fillna(False),
        "calls_with_window": steps["context_window"].notna(),
    }
    return pd.DataFrame({name: values.astype("int64") for name, values in parts.items()})


def _fitted(frame: pd.DataFrame, run: npt.NDArray[np.int64], size: Floats) -> None:
    """Add the growth of each run; `run` and `size` are those of its steps, in order."""
    count = np.bincount(run)
    order = np.argsort(run, kind="stable")
    starts = np.cumsum(count) - count
    place = np.empty(len(run))
    place[order] = np.arange(len(run)) - np.repeat(starts, count)
    running = np.empty(len(run))
    sums = np.cumsum(size[order])
    running[order] = sums - np.repeat(sums[starts] - size[order][starts], count)
    total = np.bincount(run, size)
    steps = count.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = steps * (steps**2 - 1) / 12
        slope = (np.bincount(run, place * size) - (steps - 1) / 2 * total) / spread
        first = total / steps - slope * (steps - 1) / 2
        exponent = steps * (first + slope * (2 * steps - 1) / 2) / total
        fit, r2 = _line(run, np.log(place + 1), np.log(running))
    whole = frame["steps"].to_numpy(np.int64)
    missing = whole - count
    refused = np.full(len(count), None, object)
    refused[count < LEAST_STEPS] = f"fewer than {LEAST_STEPS} steps"
    for at in np.flatnonzero(missing):
        refused[at] = f"{missing[at]:,} of {whole[at]:,} steps {'does' if missing[at] == 1 else 'do'} not report input"
    refused[total == 0] = "no input tokens"
    no = np.array([one is not None for one in refused])
    found = {"growth_per_step": slope, "growth_exponent": exponent, "growth_exponent_fit": fit, "growth_r2": r2}
    for name, values in found.items():
        frame[name] = np.where(no, np.nan, values)
    frame["growth_refused"] = refused


def _line(group: npt.NDArray[np.int64], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return slope and share of explained variance of the least-squares line of each group."""
    count = np.bincount(group)
    x = x - (np.bincount(group, x) / count)[group]
    y = y - (np.bincount(group, y) / count)[group]
    xx, xy, yy = np.bincount(group, x * x), np.bincount(group, x * y), np.bincount(group, y * y)
    return xy / xx, np.where(yy > 0, xy**2 / (xx * yy), np.nan)


def _exponent(runs: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, Any]:
    """Return the exponent of a kind with its interval, or why there is none."""
    told = runs[(runs["steps"] == runs["calls"]) & (runs["input_tokens"] > 0)]
    steps = told["steps"].to_numpy(np.float64)
    row: dict[str, Any] = {"growth_runs": len(told), "growth_refused": None}
    row |= dict.fromkeys(("growth_exponent", "growth_exponent_low", "growth_exponent_high"), np.nan)
    if len(told) < LEAST_RUNS:
        return row | {"growth_refused": f"fewer than {LEAST_RUNS} runs that report every input"}
    if steps.max() < LEAST_SPREAD * steps.min():
        return row | {
            "growth_refused": f"the longest run has less than {LEAST_SPREAD:g} times the steps of the shortest"
        }
    x, y = np.log(steps), np.log(told["input_tokens"].to_numpy(np.float64))
    task = pd.factorize(told["task_id"])[0]
    slope = float(_line(np.zeros(len(x), np.int64), x, y)[0][0])
    row["growth_exponent"] = slope
    tasks = int(task.max()) + 1
    if rng is None or tasks < LEAST_RUNS:
        return row
    width = _student(level, tasks - 2) * _slope_error(task, x - x.mean(), y - y.mean(), slope)
    return row | {"growth_exponent_low": slope - width, "growth_exponent_high": slope + width}


def _slope_error(task: npt.NDArray[np.int64], x: Floats, y: Floats, slope: float) -> float:
    """Return the standard error of a slope: how far it moves without each task, whose runs belong together, in turn.

    NaN where one task alone makes the slope. Source: J. G. MacKinnon, H. White, "Some heteroskedasticity-consistent
    covariance matrix estimators with improved finite sample properties", J. Econometrics 29 (1985).
    """
    per_task = np.stack([np.bincount(task, weights) for weights in (np.ones(len(x)), x, y, x * x, x * y)])
    count, sum_x, sum_y, xx, xy = per_task.sum(axis=1, keepdims=True) - per_task
    spread = xx - sum_x**2 / count
    if (spread < _NO_SPREAD * (x * x).sum()).any():
        return math.nan
    without = (xy - sum_x * sum_y / count) / spread
    return float(np.sqrt(((without - slope) ** 2).sum()))


def _student(level: float, free: int) -> float:
    """Return Student's quantile at the upper end of `level`, to 0.1 % from 8 degrees of freedom on up to 0.99.

    Source: M. Abramowitz, I. Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5.
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    terms = ((z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384)
    return float(z + sum(term / free**power for power, term in enumerate(terms, 1)))


def _intervals(runs: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, float]:
    ratios = {
        "input_over_peak_context": ("input_tokens", "peak_context_tokens"),
        "redundant_input_ratio": ("resent_input_tokens", "resent_known_input_tokens"),
    }
    row = {f"{name}_{side}": np.nan for name in ratios for side in ("low", "high")}
    tasks = runs.groupby("task_id", sort=False)[[one for pair in ratios.values() for one in pair]].sum()
    if rng is None or len(tasks) < LEAST_RUNS:
        return row
    for name, (part, of) in ratios.items():
        is_share = name == "redundant_input_ratio"
        _, low, high = ratio_of_sums(tasks[part], tasks[of], rng=rng, level=level, is_share=is_share)
        row |= {f"{name}_{side}": np.nan if end is None else end for side, end in (("low", low), ("high", high))}
    return row


def _with_ratios(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(
        input_over_distinct=_ratio(frame, "resent_known_input_tokens", "distinct_tokens"),
        redundant_input_ratio=_ratio(frame, "resent_input_tokens", "resent_known_input_tokens"),
    )


def _ratio(frame: pd.DataFrame, part: str, of: str) -> "pd.Series[Any]":
    return frame[part].astype("float64") / frame[of].where(frame[of] > 0).astype("float64")


def _typed(frame: pd.DataFrame, columns: dict[str, Any]) -> pd.DataFrame:
    values = {name: np.ma.masked_array(frame[name].to_numpy(), frame[name].isna()) for name in columns}
    return from_arrays(values, tuple(columns.values()))
