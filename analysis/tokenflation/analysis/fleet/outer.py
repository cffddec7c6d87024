"""The outer draws of a forecast: what few runs and a plan's uncertain numbers leave open, together, for each load.

Every draw has its own prototypes and its own assumptions. Knows nothing of files or of how runs are recorded.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.assumptions import (
    Assumed,
    Scores,
    assumed_of,
    centre,
    drawn_scores,
    extreme,
    grown,
    multiples,
    shown,
)
from tokenflation.analysis.fleet.loads import LEAST_OF_MEAN, Load
from tokenflation.analysis.fleet.paths import Path, Runs, runs_of
from tokenflation.analysis.fleet.resources import DRAWS, loads_of
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.statistics.attribution import Multiplied, nested_shares, sobol

__all__ = [
    "Busiest",
    "Outer",
    "busiest",
    "doubts",
    "effects",
    "opened",
    "outer_of",
    "runs_with",
    "with_doubts",
]

Floats = NDArray[np.float64]

_CELLS = 1_200_000
_FEWEST, _MOST = 2, 8
_DAY_S = 86_400
_SOBOL_DRAWS = 1 << 14
_Z_P90 = 1.2815515655446004


@dataclass(frozen=True, slots=True)
class Outer:
    """The plan's assumptions and their draws."""

    assumed: Assumed
    scores: Scores
    draws: int


@dataclass(frozen=True, slots=True)
class Busiest:
    """A resource's bucket with the highest mean, as planned: its mean by kind, start, scale and unit."""

    by_kind: Floats
    start_s: float
    scale: float
    unit: str


def outer_of(calls: pd.DataFrame, plan: Plan, strata: tuple[tuple[str, str], ...], volumes: Floats,
             rng: np.random.Generator, *, weights: Floats | None = None) -> Outer:  # fmt: skip
    """Return the draws of the plan's uncertain numbers; `strata` are the calls' kinds in order, with their models.

    `weights` are those of the runs, in order; without them all runs of a kind weigh alike.
    """

    def evaluate(plan: Plan) -> dict[str, tuple[Floats, Floats]]:
        return _asked(runs_with(calls, plan), plan, weights)

    assumed = assumed_of(plan, strata, volumes, evaluate, rng)
    buckets = plan.days * _DAY_S // plan.bucket_s
    # Each of the prototypes' draws meets several of the assumptions', as many as memory bears.
    draws = DRAWS * min(max(_CELLS // (DRAWS * buckets), _FEWEST), _MOST)
    return Outer(assumed, drawn_scores(plan, draws, rng), draws)


def runs_with(calls: pd.DataFrame, plan: Plan, *, of: Collection[str] | None = None) -> Runs:
    """Return the runs as the plan's fleet would run them; their assumptions are of the kinds `of`, or of all."""
    return runs_of(calls, timing=plan.timing, kv_ttl_s=plan.kv_ttl_s, serving=plan.serving, cache_kept=plan.cache_kept,
                   of=of)  # fmt: skip


def _asked(runs: Runs, plan: Plan, weights: Floats | None) -> dict[str, tuple[Floats, Floats]]:
    """Return sums over the runs of each kind of R and of R squared, loads over their time; by resource and total."""
    kinds, count = len(runs.kinds), len(runs.kind_of_run)
    found = {}
    for name, (path, _, _) in loads_of(runs, plan).items():
        squared = Path(path.run, path.start_s, path.end_s, path.load**2)
        found[name] = (path.integrals(count), squared.integrals(count))
    for total in runs.totals:
        values = runs.totals[total].to_numpy(dtype=np.float64)
        found[str(total)] = (values, values**2)

    def by_kind(values: Floats) -> Floats:
        weighed = values if weights is None else values * weights
        return np.bincount(runs.kind_of_run, weighed, kinds).astype(np.float64)

    return {name: (by_kind(first), by_kind(second)) for name, (first, second) in found.items()}


def opened(factors: Floats, outer: Outer, name: str) -> Floats:
    """Return the prototypes' factors times what the assumptions multiply, one draw of both a column; (kinds, draws)."""
    first, _ = multiples(outer.assumed, name, outer.scores)
    return factors[:, np.arange(outer.draws) % factors.shape[1]] * first.T


def with_doubts(load: Load, outer: Outer, name: str, starts_s: Floats, length_s: float, *,
                slow: float) -> tuple[Load, dict[str, Floats]]:  # fmt: skip
    """Return the load with draws of both, and the three shares of its variance as statistics.

    `starts_s` and `length_s` say which days its columns are; `slow` is the cv of a factor on everything, which is part
    of the load's own. Bunches grow in number with the arrivals, where the plan has them grow so.
    """
    assumed, scores = outer.assumed, outer.scores
    factors = load.factors
    first, second = (np.tile(one, len(load.parts) // len(load.by_kind)) for one in multiples(assumed, name, scores))
    growth = grown(assumed, scores, starts_s, length_s)
    volume, _ = multiples(assumed, "", scores)
    share = assumed.planned / max(float(assumed.planned.sum()), 1e-300)
    bursts = assumed.plan.burstiness
    larger = bursts is not None and bursts.kind == "trace" and bursts.scale == "size"
    crowd = np.ones((outer.draws, 1)) if larger else (volume @ share)[:, None] * growth
    quick = np.sqrt(np.maximum(load.cv**2 - slow**2, 0.0))
    some = factors[:, np.arange(outer.draws) % factors.shape[1]]
    least, of_least = (
        LEAST_OF_MEAN * np.outer(one.min(axis=1), load.by_kind[:, order].sum(axis=0))
        for order, one in enumerate((first, second))
    )
    means = np.maximum((some.T * first) @ load.parts[:, 0], least)
    means *= growth
    spreads = np.maximum((some.T * second) @ load.parts[:, 1], of_least)
    spreads *= growth
    if slow or quick.any():
        spreads += (quick**2 / np.maximum(crowd, 1e-300) + slow**2) * means**2
    np.sqrt(spreads, out=spreads)
    shares = nested_shares(load.parts, factors, Multiplied(first, second, growth, crowd), quick=quick, slow=slow)
    return replace(load, means=means, spreads=spreads), {f"share_{of}": values for of, values in shares.items()}


def busiest(load: Load, starts_s: Floats, unit: str) -> Busiest:
    """Return what a resource's busiest bucket is made of, as planned."""
    at = int(load.kappa[0].argmax())
    return Busiest(load.by_kind[:, 0, at], float(starts_s[at]), load.scale, unit)


def effects(outer: Outer, at: Mapping[str, Busiest], rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return one row per resource and assumption, the widest first within a resource: what it does to the busiest mean.

    `planned` is that mean as planned; `p10` and `p90` what it becomes with that number alone at its own p10 and p90
    (tornado); `sobol_first` and `sobol_total` its shares of the variance that all assumptions give it, alone and with
    what it does together with others.
    """
    assumed, plan = outer.assumed, outer.assumed.plan

    def result(scores: Scores) -> Floats:
        found = []
        for name, one in at.items():
            first, _ = multiples(assumed, name, scores)
            growth = grown(assumed, scores, np.array([one.start_s]), 1.0)
            found.append((first @ one.by_kind) * growth[:, 0] * one.scale)
        return np.column_stack(found)

    middle = centre(plan)
    planned = result(middle)[0]
    ends = {
        place: [result({**middle, place: extreme(plan, place, sign * _Z_P90)})[0] for sign in (-1, 1)]
        for place in middle
    }
    indices = sobol(result, *(drawn_scores(plan, _SOBOL_DRAWS, rng) for _ in range(2)))
    rows: list[dict[str, Any]] = []
    for column, (name, one) in enumerate(at.items()):
        widest = sorted(middle, key=lambda place: -abs(float(ends[place][1][column] - ends[place][0][column])))
        rows += [
            {"resource": name, "unit": one.unit, "assumption": place, "planned": float(planned[column]),
             "p10": float(ends[place][0][column]), "p90": float(ends[place][1][column]),
             "sobol_first": float(indices[place][0][column]), "sobol_total": float(indices[place][1][column])}
            for place in widest
        ]  # fmt: skip
    return rows


def doubts(outer: Outer) -> list[dict[str, Any]]:
    """Return one row per uncertain number: `assumption`, its planned `value`, its own `p10` and `p90`, and cv or sd."""
    plan = outer.assumed.plan
    places = dict(plan.places())
    return [
        {"assumption": place, "value": places[place], "p10": shown(plan, place, -_Z_P90), "p90": shown(plan, place, _Z_P90),
         "cv": how.cv, "sd": how.sd}
        for place, how in plan.assumptions.items()
    ]  # fmt: skip
