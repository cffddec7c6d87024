"""From recorded runs and a plan to a fleet's demand by bucket, with intervals.

Frames in, a frame out; no clock, no file.

Three uncertainties are kept apart: the load itself (which runs happen to overlap), exact from the model; the prototypes
(how little a few recorded runs say about all) and the plan's assumptions (its uncertain numbers), drawn. Quantiles are
those of the mixture of all three.
"""

from functools import partial

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.bursts import trace_rate
from tokenflation.analysis.fleet.counted import counted
from tokenflation.analysis.fleet.loads import LEVELS, Load, load_of, statistics
from tokenflation.analysis.fleet.outer import Busiest, busiest, opened, outer_of, runs_with, with_doubts
from tokenflation.analysis.fleet.paths import Path, Runs
from tokenflation.analysis.fleet.peaks import STEP_S, autocorrelation, highest_scores, peaks
from tokenflation.analysis.fleet.planned import planned
from tokenflation.analysis.fleet.remarks import remarked
from tokenflation.analysis.fleet.resources import DRAWS, arms_of, burst_cv, factors_of, loads_of
from tokenflation.analysis.fleet.support import manifest_of
from tokenflation.analysis.fleet.totals import run_totals, totals_of, window_totals
from tokenflation.analysis.planning.arrivals import arrivals
from tokenflation.analysis.planning.plan import Plan

__all__ = ["DRAWS", "forecast"]

Floats = NDArray[np.float64]

_DAY_S = 86_400
_RESTS_ON = {
    "input_tokens": ("input_tokens", "prefill_tokens", "prefill_tokens_per_s", "prefill_no_cache_tokens_per_s"),
    "output_tokens": ("output_tokens", "decode_tokens_per_s"),
}


def forecast(calls: pd.DataFrame, plan: Plan, *, rng: np.random.Generator | None = None,
             bands: bool = False, target: float = 0.15, resource: str | None = None) -> pd.DataFrame:  # fmt: skip
    """Return the demand of the planned fleet; one row per bucket, resource and statistic.

    Columns: `bucket_start` (s from the start of the horizon; loads are those in the middle of the bucket), `resource`,
    `statistic`, `value`, `unit`. Statistics: `mean` at the plan's own numbers; `sd` (of the load alone); `p50`, `p95`,
    `p99` of the load at an instant, prototypes and assumptions included - never the day's peak; `mean_low` and
    `mean_high`, the interval of the mean that both allow (absent below 10 runs of a kind); `share_load`,
    `share_prototypes` and `share_assumptions`, their parts of the variance, which sum to 1. Peaks include all three.
    With `bands`, `p5`, `p25` and `p75` of the load at an instant come too.

    Totals of a window of time have resources of their own, as `input_tokens_per_hour`, `calls_per_day`,
    `flop_per_month`, and the same statistics, of the total itself; `bucket_start` is where the window starts. Rows with
    `bucket_start` -1 are the totals of a day at the first day's level (`mean`, `mean_low`, `mean_high`) and the peaks.

    What no call of a planned run reports, input or output, is not nothing: the values of what follows from it alone are
    missing.

    Where calls have the column `censored_by` (`censoring.marked` sets it), or a run's last call broke off, longer runs
    stand in for what such runs had left to do, unless the plan says that `limits_hold`.
    `attrs["manifest"]` holds runs, plan, assumptions, warnings, quantiles of single tasks (`task_quantiles`), and which
    runs to record next to know the mean to within a share `target` of itself. With `resource`, only that one and the
    totals of a day are worked out, as they would be among the others but for the draws of peaks.

    Raises:
        PlanError: the plan names a kind of which no run was recorded, or none more than once, or most were cut short.
        FrameError: calls lack columns or timing.
    """
    rng = rng if rng is not None else np.random.default_rng(0)
    fleet = planned(calls, plan)
    runs = runs_with(fleet.calls, plan, of=fleet.volumes)
    volumes = fleet.volumes
    rests = counted(runs, fleet.calls, calls, plan, volumes)
    per_day: Floats = np.array([volumes.get(kind, 0.0) for kind in runs.kinds])
    weights = per_day[runs.kind_of_run] * rests.of_run
    over = arrivals(plan, before_s=runs.longest_s + plan.bucket_s, after_s=plan.bucket_s)
    times_s: Floats = (np.arange(plan.days * _DAY_S // plan.bucket_s, dtype=np.float64) + 0.5) * plan.bucket_s
    loads = loads_of(runs, plan)
    totals = run_totals(runs)
    factors = factors_of(runs, loads, totals, volumes, rng, rests)
    enough = rests.intervals(volumes)
    outer = None
    if plan.assumptions:
        strata = tuple(fleet.kind_and_model.get(kind, (kind, "")) for kind in runs.kinds)
        outer = outer_of(fleet.calls, plan, strata, per_day, rng, weights=weights)
    if resource is not None:
        loads = {name: one for name, one in loads.items() if name == resource}
    at: dict[str, Busiest] = {}
    starts = times_s - plan.bucket_s / 2
    rows_of = partial(_rows, level=plan.level, enough=enough, bands=bands)
    parts: list[pd.DataFrame] = []
    of_load: dict[str, Load] = {}
    for name, (path, scale, unit) in loads.items():
        quick = burst_cv(path, weights, over, times_s, plan)
        arms = arms_of(runs, path, over, times_s, volumes, rests)
        of_cv = partial(load_of, runs, path, weights, over, times_s, factors[name], scale=scale, arms=arms)
        load = of_cv(cv=np.sqrt(quick**2 + plan.slow_cv**2))
        # In the peak a slow factor is one for a whole day, and no part of the law of each instant.
        lasting = of_cv(cv=quick) if plan.slow_cv else load
        shares: dict[str, Floats] = {}
        if outer is not None:
            at[name] = busiest(load, starts, unit)
            load, shares = with_doubts(load, outer, name, starts, plan.bucket_s, slow=plan.slow_cv)
            lasting = with_doubts(lasting, outer, name, starts, plan.bucket_s, slow=0.0)[0] if plan.slow_cv else load
        of_load[name] = lasting
        parts += rows_of(load, shares, starts, name, unit)
    asked = resource is None or resource.endswith(("_per_hour", "_per_day", "_per_month"))
    for total in window_totals(runs, plan, weights, factors, volumes, rests) if asked else ():
        if resource not in (None, total.name):
            continue
        load, shares = total.load, {}
        if outer is not None:
            load, shares = with_doubts(load, outer, total.of, total.starts_s, total.length_s, slow=total.slow)
        parts += rows_of(load, shares, total.starts_s, total.name, total.unit)
    columns = ["bucket_start", "resource", "statistic", "value", "unit"]
    if outer is not None:
        factors = {name: opened(one, outer, name) for name, one in factors.items()}
    ends = pd.DataFrame(totals_of(runs, totals, weights, factors, enough, plan.level), columns=columns)
    highest = pd.DataFrame(_peaks(loads, of_load, weights, plan, rng), columns=columns)
    frame = pd.concat([one for one in (*parts, ends, highest) if len(one)], ignore_index=True)
    frame = _without_unreported(frame, runs, weights)
    manifest = manifest_of(runs, plan, rests, volumes, totals, target=target)
    frame.attrs["manifest"] = remarked(manifest, fleet, outer, at, rng)
    return frame


def _without_unreported(frame: pd.DataFrame, runs: Runs, weights: Floats) -> pd.DataFrame:
    """Return the frame without the values of resources that rest on tokens that no run of the fleet reports."""
    silent = [name for name in _RESTS_ON if not runs.reported[name].to_numpy()[weights > 0].any()]
    resting = {resource for name in silent for resource in _RESTS_ON[name]}
    if not resting:
        return frame
    of = frame["resource"].str.replace("_per_(?:hour|day|month)$", "", regex=True)
    return frame.assign(value=frame["value"].mask(of.isin(resting)))


def _rows(load: Load, shares: dict[str, Floats], starts: Floats, resource: str, unit: str, *, level: float, enough: bool,
          bands: bool) -> list[pd.DataFrame]:  # fmt: skip
    """Return the rows of the long table of each statistic of a load."""
    found = statistics(load, level=level, enough=enough, bands=bands, shares=shares)
    units = {name: "fraction" if name.startswith("share_") else unit for name in found}
    return [
        pd.DataFrame(
            {"bucket_start": starts, "resource": resource, "statistic": name, "value": values, "unit": units[name]}
        )
        for name, values in found.items()
    ]


def _peaks(loads: dict[str, tuple[Path, float, str]], of_load: dict[str, Load], weights: Floats, plan: Plan,
           rng: np.random.Generator) -> list[tuple[float, str, str, float, str]]:  # fmt: skip
    """Return the quantiles of the highest load of the busiest day, and of all days where there are more."""
    if not loads:
        return []
    bursts = plan.burstiness
    ratio = 1.0
    if bursts is not None and bursts.kind == "trace" and bursts.scale == "size":
        ratio = float(weights.sum()) / _DAY_S / trace_rate(bursts)
    correlations = [
        autocorrelation(path, weights, _DAY_S // STEP_S, bursts, rate_ratio=ratio) for path, _, _ in loads.values()
    ]
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
