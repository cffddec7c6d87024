"""From recorded runs and a plan to a fleet's demand by bucket, with intervals. Frames in, a frame out; no clock, no file.

Two uncertainties are kept apart: the load itself (which runs happen to overlap), exact from the model, and the prototypes
(how little a few recorded runs say about all), drawn. The quantiles of the total are those of the mixture of both.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.arrivals import Arrivals, arrivals
from tokenflation.analysis.attribution import runs_to_record
from tokenflation.analysis.bursts import dispersion
from tokenflation.analysis.demand import cumulants
from tokenflation.analysis.loads import LEVELS, Load, load_of, statistics
from tokenflation.analysis.paths import RESOURCES, Path, Runs, runs_of, summed
from tokenflation.analysis.peaks import STEP_S, autocorrelation, highest_scores, peaks
from tokenflation.analysis.plan import Plan
from tokenflation.analysis.prototypes import LEAST_RUNS, mean_factors

__all__ = ["DRAWS", "forecast"]

Floats = NDArray[np.float64]

DRAWS = 500
"""Draws of the prototypes' uncertainty."""
_DAY_S = 86_400
_CELLS = 1 << 14
_HALF_WIDTH_Z = 1.645
_TAIL = 0.1
_TARGET = 0.15
_DOMINATED = 0.25
_PRIOR_LOG_SD = 1.0
_TOTALS = {
    "tasks": "tasks/day",
    "calls": "calls/day",
    "input_tokens": "tokens/day",
    "prefill_tokens": "tokens/day",
    "output_tokens": "tokens/day",
}


def forecast(calls: pd.DataFrame, plan: Plan, *, rng: np.random.Generator | None = None) -> pd.DataFrame:
    """Return the demand of the planned fleet; one row per bucket, resource and statistic.

    Columns: `bucket_start` (s from the start of the horizon; loads are those in the middle of the bucket), `resource`,
    `statistic`, `value`, `unit`. Statistics: `mean`; `sd` (of the load alone); `p50`, `p95`, `p99` of the load at an
    instant, prototypes included - never the day's peak; `mean_low` and `mean_high`, the interval of the mean that the
    prototypes allow (absent below 10 runs of a kind); `share_prototypes`, their part of the variance. The day's totals
    are rows with `bucket_start` -1 and the statistics `mean`, `mean_low`, `mean_high`.
    `attrs["manifest"]` holds runs, plan, assumptions and warnings.

    Raises:
        PlanError: the plan names a kind of which no run was recorded.
        FrameError: calls lack columns or timing.
    """
    rng = rng if rng is not None else np.random.default_rng(0)
    runs = runs_of(calls, timing=plan.timing)
    counts = {kind: int((runs.kind_of_run == number).sum()) for number, kind in enumerate(runs.kinds)}
    volumes = plan.volumes(counts)
    weights: Floats = np.array([volumes.get(kind, 0.0) / counts[kind] for kind in runs.kinds])[runs.kind_of_run]
    over = arrivals(plan, before_s=runs.longest_s + plan.bucket_s, after_s=plan.bucket_s)
    times_s: Floats = (np.arange(plan.days * _DAY_S // plan.bucket_s, dtype=np.float64) + 0.5) * plan.bucket_s
    loads = _loads(runs, plan)
    totals = _run_totals(runs)
    factors = _factors(runs, loads, totals, volumes, rng)
    enough = min((counts[kind] for kind in volumes), default=0) >= LEAST_RUNS
    starts = times_s - plan.bucket_s / 2
    parts = []
    of_load: dict[str, Load] = {}
    for name, (path, scale, unit) in loads.items():
        quick = _bursts(path, weights, over, times_s, plan)
        cv = np.sqrt(quick**2 + plan.slow_cv**2)
        load = load_of(runs, path, weights, over, times_s, factors[name], cv=cv, scale=scale)
        # In the peak a slow factor is one for a whole day, and no part of the law of each instant.
        of_load[name] = (
            load_of(runs, path, weights, over, times_s, factors[name], cv=quick, scale=scale) if plan.slow_cv else load
        )
        for statistic, values in statistics(load, level=plan.level, enough=enough).items():
            of = "fraction" if statistic == "share_prototypes" else unit
            parts.append(_rows(starts, name, statistic, values, of))
    columns = ["bucket_start", "resource", "statistic", "value", "unit"]
    ends = pd.DataFrame(_totals(runs, totals, volumes, factors, enough, plan.level), columns=columns)
    highest = pd.DataFrame(_peaks(loads, of_load, weights, plan, rng), columns=columns)
    frame = pd.concat([*parts, ends, highest], ignore_index=True)
    frame.attrs["manifest"] = _manifest(runs, plan, counts, volumes, totals)
    return frame


def _rows(starts: Floats, resource: str, statistic: str, values: Floats, unit: str) -> pd.DataFrame:
    return pd.DataFrame(
        {"bucket_start": starts, "resource": resource, "statistic": statistic, "value": values, "unit": unit}
    )


def _loads(runs: Runs, plan: Plan) -> dict[str, tuple[Path, float, str]]:
    """Return path, scale and unit of each resource; requests are counted over a bucket and given per second."""
    half = plan.bucket_s / 2
    begins = runs.call_start_s
    starts = summed(runs.call_run, begins - half, begins + half, np.ones(len(begins)))
    loads = {name: (path, 1.0, RESOURCES[name]) for name, path in runs.paths.items()}
    loads["requests_per_s"] = (starts, 1.0 / plan.bucket_s, "requests/s")
    if plan.kv_bytes_per_token is not None:
        loads["kv_bytes"] = (runs.paths["kv_tokens"], plan.kv_bytes_per_token, "bytes")
    return loads


def _bursts(path: Path, weights: Floats, over: Arrivals, times_s: Floats, plan: Plan) -> Floats:
    """Return by bucket the cv of a gamma factor on the rate that gives the load the variance its clusters give it."""
    height, memory_s = plan.burstiness.cluster if plan.burstiness is not None else (0.0, 1.0)
    if height <= 0:
        return np.zeros(len(times_s))
    cell_s = max(min(memory_s / 4, 60.0), float(path.end_s.max()) / _CELLS)
    more = dispersion(path, weights, height, memory_s, cell_s)
    mean = cumulants(path, weights, over, times_s, 1)[0]
    return np.asarray(np.sqrt(more / np.where(mean > 0, mean, np.inf)), dtype=np.float64)


def _peaks(loads: dict[str, tuple[Path, float, str]], of_load: dict[str, Load], weights: Floats, plan: Plan,
           rng: np.random.Generator) -> list[tuple[float, str, str, float, str]]:  # fmt: skip
    """Return the quantiles of the highest load of the busiest day, and of all days where there are more."""
    correlations = [autocorrelation(path, weights, _DAY_S // STEP_S) for path, _, _ in loads.values()]
    scores = highest_scores(correlations, plan.bucket_s, rng)
    rows = []
    for mine, (name, (_, scale, unit)) in zip(scores, loads.items(), strict=True):
        load = of_load[name]
        found = peaks(mine, load.kappa, load.laws, load.means, load.spreads, rng, modulation_cv=plan.slow_cv) * scale
        busiest = found[:, int(np.median(found, axis=0).argmax())]
        for statistic, level in LEVELS.items():
            rows.append((-1.0, name, f"day_peak_{statistic}", float(np.quantile(busiest, level)), unit))
            if plan.days > 1:
                highest = float(np.quantile(found.max(axis=1), level))
                rows.append((-1.0, name, f"horizon_peak_{statistic}", highest, unit))
    return rows


def _run_totals(runs: Runs) -> pd.DataFrame:
    totals = runs.totals.copy()
    totals.insert(0, "tasks", 1.0)
    return totals


def _factors(runs: Runs, loads: dict[str, tuple[Path, float, str]], totals: pd.DataFrame, volumes: dict[str, float],
             rng: np.random.Generator) -> dict[str, Floats]:  # fmt: skip
    """Return draws of true over recorded mean by resource or total; shape (kinds, draws)."""
    names = [*loads, *totals.columns]
    size = len(runs.kind_of_run)
    integrals = [path.integrals(size) for path, _, _ in loads.values()]
    values = np.column_stack([*integrals, totals.to_numpy(dtype=np.float64)])
    found = np.ones((len(runs.kinds), DRAWS, len(names)))
    for number, kind in enumerate(runs.kinds):
        count = int((runs.kind_of_run == number).sum())
        if kind in volumes and count < LEAST_RUNS:
            # Too few runs to tell their spread: assume that runs differ by a factor e or so, all resources alike.
            found[number] = np.exp(rng.normal(0.0, _PRIOR_LOG_SD / np.sqrt(count), DRAWS))[:, None]
        elif kind in volumes:
            found[number] = mean_factors(values[runs.kind_of_run == number], DRAWS, rng)
    return {name: found[:, :, column] for column, name in enumerate(names)}


def _totals(runs: Runs, totals: pd.DataFrame, volumes: dict[str, float], factors: dict[str, Floats], enough: bool,
            level: float) -> list[tuple[float, str, str, float, str]]:  # fmt: skip
    rows = []
    tail = (1 - level) / 2
    for name, unit in _TOTALS.items():
        means = totals[name].groupby(runs.kind_of_run).mean().reindex(range(len(runs.kinds))).to_numpy()
        per_day = np.array([volumes.get(kind, 0.0) for kind in runs.kinds]) * means
        rows.append((-1.0, name, "mean", float(per_day.sum()), unit))
        if enough:
            low, high = np.quantile(per_day @ factors[name], [tail, 1 - tail])
            rows += [(-1.0, name, "mean_low", float(low), unit), (-1.0, name, "mean_high", float(high), unit)]
    return rows


def _manifest(runs: Runs, plan: Plan, counts: dict[str, int], volumes: dict[str, float],
              totals: pd.DataFrame) -> dict[str, Any]:  # fmt: skip
    kinds = []
    warnings: list[str] = []
    for number, kind in enumerate(runs.kinds):
        if kind not in volumes:
            continue
        tokens = totals["input_tokens"].to_numpy()[runs.kind_of_run == number]
        found = _support(kind, tokens, warnings)
        kinds.append({"task": kind, "runs": counts[kind], "tasks_per_day": volumes[kind], **found})
    assumptions = list(runs.assumptions)
    assumptions.append(
        "Calls last as long as they did where they were recorded; a fleet's latency will differ."
        if plan.timing is None
        else "Calls are re-timed to the plan's TTFT and TPOT; what lies between calls is as recorded."
    )
    if plan.growth_per_day or plan.growth is not None:
        assumptions.append("The day in all is one at the first day's level; the buckets grow from there.")
    if plan.slow_cv:
        assumptions.append(f"The whole load swings by a slow random factor of cv {plan.slow_cv:g}.")
    if plan.burstiness is not None and plan.burstiness.cluster[0] > 0:
        assumptions.append(
            f"Tasks arrive in clusters ({plan.burstiness.kind}); the peak keeps the memory of calls alone."
        )
    elif not plan.slow_cv:
        assumptions.append("Tasks arrive independently (Poisson); bursts beyond the daily shape are not in the bands.")
    if plan.day_shape == "business_day":
        assumptions.append("The shape business_day is a judgement, not a measurement.")
    return {"kinds": kinds, "days": plan.days, "bucket_s": plan.bucket_s, "level": plan.level, "draws": DRAWS,
            "modulation_cv": plan.slow_cv, "day_weights": [float(one) for one in plan.day_weights],
            "week_weights": [float(one) for one in plan.week_shape], "growth_per_day": plan.growth_per_day,
            "assumptions": assumptions, "warnings": warnings, "advice": _advice(runs, volumes, counts, totals)}  # fmt: skip


def _advice(runs: Runs, volumes: dict[str, float], counts: dict[str, int], totals: pd.DataFrame) -> list[str]:
    """Return which runs to record next, judged by input tokens, where there is anything left to win."""
    if any(counts[kind] < LEAST_RUNS for kind in volumes):
        return []
    tokens = totals["input_tokens"].to_numpy(dtype=np.float64)
    values = {kind: tokens[runs.kind_of_run == number] for number, kind in enumerate(runs.kinds)}
    wanted = runs_to_record(values, volumes, target=_TARGET)
    return [
        f"Collect {more:,} more {'run' if more == 1 else 'runs'} of `{kind}`: it holds {share:.0%} of the variance that "
        f"the recorded runs leave (to know the mean to ± {_TARGET:.0%})."
        for kind, more, share in zip(wanted["task"], wanted["more"], wanted["variance_share"], strict=True)
        if more > 0
    ]


def _support(kind: str, tokens: Floats, warnings: list[str]) -> dict[str, float | None]:
    """Return what the runs of a kind can bear, judged by their input tokens, and add what to be warned of."""
    count, mean = len(tokens), float(tokens.mean())
    if count < LEAST_RUNS:
        warnings.append(
            f"{kind}: {count} {'run is' if count == 1 else 'runs are'} too few for an interval, at least {LEAST_RUNS} are "
            f"needed: record {LEAST_RUNS - count} more. The bands assume that runs differ by a factor e "
            f"(log-sd {_PRIOR_LOG_SD:g}). Recorded: {tokens.min():,.0f} to {tokens.max():,.0f} input tokens."
        )
    if count < LEAST_RUNS or mean <= 0:
        return {"cv": None, "half_width": None, "top_tenth_share": None}
    cv = float(tokens.std(ddof=1)) / mean
    largest = float(tokens.max())
    without = (tokens.sum() - largest) / (count - 1)
    if abs(without / mean - 1) > _DOMINATED:
        warnings.append(
            f"{kind}: tail-dominated; without its largest run the mean is {without / mean - 1:+.0%}. Record more runs."
        )
    top = np.sort(tokens)[-max(1, round(_TAIL * count)) :]
    half = _HALF_WIDTH_Z * cv / np.sqrt(count)
    return {"cv": cv, "half_width": float(half), "top_tenth_share": float(top.sum() / tokens.sum())}
