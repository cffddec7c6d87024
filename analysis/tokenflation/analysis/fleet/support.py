"""What a forecast rests on: its manifest with runs, plan, assumptions, warnings, and which runs to record next."""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.bursts import trace_remark
from tokenflation.analysis.fleet.counted import Counted
from tokenflation.analysis.fleet.paths import Runs
from tokenflation.analysis.fleet.per_task import hill_index, quantile_rows
from tokenflation.analysis.fleet.resources import DRAWS, PRIOR_LOG_SD
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.statistics.attribution import runs_to_record
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.sdk.words import percent

__all__ = ["METHODS", "manifest_of"]

Floats = NDArray[np.float64]

METHODS = {
    "mean, sd": "cumulants of a marked shot noise, exact for Poisson arrivals (Campbell)",
    "p5 to p99": "mixture over draws of what few runs leave open; the law of a load by FFT, Cornish-Fisher or normal, by its skew",
    "mean_low, mean_high": "confidence distribution of each kind's mean from whole runs, studentised and corrected for skew",
    "day_peak, horizon_peak": "Gaussian copula of one-minute instants with the load's autocorrelation",
    "share": "nested law of total variance: load within prototypes within assumptions",
    "next_runs": "Neyman allocation by volume and spread of input tokens",
}
"""How each statistic is worked out."""
_HALF_WIDTH_Z = 1.645
_TAIL = 0.1
_DOMINATED = 0.25
_HEAVY = 2.0


def manifest_of(runs: Runs, plan: Plan, rests: Counted, volumes: dict[str, float],
              totals: pd.DataFrame, *, target: float = 0.15) -> dict[str, Any]:  # fmt: skip
    """Return what the forecast rests on, ready for JSON; `totals` has one row per run, as of `run_totals`.

    `target` is how close to itself the recorded mean is to be known; `next_runs` says which runs that takes.
    """
    kinds = []
    warnings = list(rests.warnings)
    assumptions = [*runs.assumptions, *rests.assumptions]
    seconds = runs.paths["concurrent_calls"].integrals(len(runs.kind_of_run))
    for number, kind in enumerate(runs.kinds):
        if kind not in volumes:
            continue
        mine = runs.kind_of_run == number
        found = _support(kind, totals["input_tokens"].to_numpy()[mine], seconds[mine], rests, warnings)
        assumptions += [
            f"{kind}: no recorded call has {word} tokens, so the forecast has none."
            for name, word in (("input_tokens", "input"), ("output_tokens", "output"))
            if not totals[name].to_numpy()[mine].any()
        ]
        kinds.append({"task": kind, "runs": rests.counts[kind], "cut_runs": rests.cut[kind],
                      "beyond_share": rests.shares[kind].beyond, "tasks_per_day": volumes[kind], **found})  # fmt: skip
    assumptions.append(
        "Calls last as long as they did where they were recorded; a fleet's latency will differ."
        if plan.timing is None
        else "Calls are re-timed to the plan's TTFT and TPOT; what lies between calls is as recorded."
    )
    if plan.growth_per_day or plan.growth is not None:
        assumptions.append("The day in all is one at the first day's level; the buckets grow from there.")
    first = float(plan.volume_growth.levels(np.zeros(1))[0])
    if first != 1.0:
        assumptions.append(
            f"plan.growth.table begins at {first:g}, so that the first day has {first:g} times plan.tasks_per_day; the day in all "
            "has not."
        )
    if plan.slow_cv:
        assumptions.append(f"The whole load swings by a slow random factor of cv {plan.slow_cv:g}.")
    if plan.burstiness is not None and plan.burstiness.cluster[0] > 0:
        assumptions.append(
            f"Tasks arrive in clusters ({plan.burstiness.kind}); the peak remembers them as long as they last."
        )
    elif plan.burstiness is not None and plan.burstiness.kind == "trace":
        assumptions.append(trace_remark(plan.burstiness))
    elif not plan.slow_cv:
        assumptions.append("Tasks arrive independently (Poisson); bursts beyond the daily shape are not in the bands.")
    if plan.day_shape == "business_day":
        assumptions.append("The shape business_day is a judgement, not a measurement.")
    assumptions.append(
        "A month is 30.4375 days, the first from the start of the horizon; shapes and growth go on past the horizon's end."
    )
    wanted = _next_runs(runs, volumes, rests, totals, target)
    return {"kinds": kinds, "days": plan.days, "bucket_s": plan.bucket_s, "level": plan.level, "draws": DRAWS,
            "modulation_cv": plan.slow_cv, "day_weights": [float(one) for one in plan.day_weights],
            "week_weights": [float(one) for one in plan.week_shape], "growth_per_day": plan.growth_per_day,
            "assumptions": assumptions, "warnings": warnings, "target": target, "next_runs": wanted,
            "task_quantiles": quantile_rows(runs, rests, list(volumes)),
            "advice": _advice(wanted, target), "methods": dict(METHODS)}  # fmt: skip


def _next_runs(runs: Runs, volumes: dict[str, float], rests: Counted, totals: pd.DataFrame,
               target: float) -> list[dict[str, Any]]:  # fmt: skip
    """Return rows of `runs_to_record`, judged by input tokens; none where a kind has too few to tell its spread."""
    if any(rests.bearing(kind) < LEAST_RUNS for kind in volumes):
        return []
    tokens = totals["input_tokens"].to_numpy(dtype=np.float64)
    values = {kind: tokens[runs.kind_of_run == number] for number, kind in enumerate(runs.kinds)}
    wanted = runs_to_record(values, volumes, target=target)
    columns = {str(name): wanted[name].tolist() for name in wanted.columns}
    return [{name: column[row] for name, column in columns.items()} for row in range(len(wanted))]


def _advice(wanted: list[dict[str, Any]], target: float) -> list[str]:
    """Return which runs to record next, where there is anything left to win."""
    return [
        f"Collect {row['more']:,} more {'run' if row['more'] == 1 else 'runs'} of `{row['task']}`: it holds "
        f"{percent(row['variance_share'])} of the variance that the recorded runs leave (to know the fleet's mean input to "
        f"± {percent(target)})."
        for row in wanted
        if row["more"] > 0
    ]


def _support(kind: str, tokens: Floats, seconds: Floats, rests: Counted,
             warnings: list[str]) -> dict[str, float | None]:  # fmt: skip
    """Return what the runs of a kind can bear, judged by their input tokens, and add what to be warned of."""
    count, shares = rests.bearing(kind), rests.shares[kind]
    mean = float(shares.weights @ tokens)
    if count < LEAST_RUNS:
        warnings.append(
            f"{kind}: {count} {'finished ' if rests.cut[kind] else ''}{'run is' if count == 1 else 'runs are'} too few for an interval, at least {LEAST_RUNS} are "
            f"needed: record {LEAST_RUNS - count} more. The bands assume that runs differ by a factor e "
            f"(log-sd {PRIOR_LOG_SD:g}).{_recorded(tokens)}"
        )
    if count >= LEAST_RUNS:
        for values, what in ((tokens, "largest run the mean"), (seconds, "longest run the mean time in calls")):
            without = _without_largest(values, shares.weights)
            if abs(without - 1) > _DOMINATED:
                how = f"{percent(abs(without - 1))} {'lower' if without < 1 else 'higher'}"
                warnings.append(f"{kind}: tail-dominated; without its {what} would be {how}. Record more runs.")
    if count < LEAST_RUNS or mean <= 0:
        return {"cv": None, "half_width": None, "top_tenth_share": None, "tail_index": None}
    # Of equal shares these are the plain deviation, and the mean of the others.
    square = float(shares.weights @ (tokens - mean) ** 2) * len(tokens) / (len(tokens) - 1)
    cv = math.sqrt(square) / mean
    error = shares.relative_error(tokens[:, None])
    half = _HALF_WIDTH_Z * (cv / math.sqrt(len(tokens)) if error is None else float(error[0]))
    tail = hill_index(tokens)
    if tail is not None and tail < _HEAVY:
        warnings.append(
            f"{kind}: its largest fifth falls off like a power law of index {tail:.1f} (Hill). Below 2 its variance is that of "
            "the limits on a task: keep a limit in production, and give it as a budget in the plan."
        )
    top = np.sort(tokens)[-max(1, round(_TAIL * len(tokens))) :]
    return {"cv": cv, "half_width": half, "top_tenth_share": float(top.sum() / tokens.sum()), "tail_index": tail}


def _recorded(tokens: Floats) -> str:
    """Return between which inputs so few runs lie; nothing where none reports any."""
    if not tokens.any():
        return ""
    low, high = (f"{end:,.0f}" for end in (tokens.min(), tokens.max()))
    return f" Recorded: {low if low == high else f'{low} to {high}'} input tokens."


def _without_largest(values: Floats, weights: Floats) -> float:
    """Return the mean without the largest value, over the mean with it; 1 where there is nothing to compare."""
    mean, largest = float(weights @ values), int((values * (weights > 0)).argmax())
    rest = 1 - float(weights[largest])
    return (mean - float(weights[largest] * values[largest])) / rest / mean if rest > 0 and mean > 0 else 1.0
