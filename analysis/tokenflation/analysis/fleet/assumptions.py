"""A plan's uncertain numbers: independent draws of them, and what each draw multiplies. Knows nothing of buckets' laws.

A draw is kept as normal scores, one a number (of a model mix as its shares). Volumes and bytes multiply what is asked
for, growth does so day by day. Timing and the cache change runs: recorded runs are re-evaluated at a design of
settings, and the logarithm of what they ask for, kind by kind, is fitted by a quadratic in the scores, so that each
draw costs nothing.
Source: FORECAST model, section 1.5 (c).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.planning.limits import ALL
from tokenflation.analysis.planning.parts import Growth, Users
from tokenflation.analysis.planning.plan import Plan

__all__ = [
    "Assumed",
    "Scores",
    "Surface",
    "assumed_of",
    "centre",
    "drawn_scores",
    "extreme",
    "grown",
    "multiples",
    "shown",
]

Floats = NDArray[np.float64]
Scores = Mapping[str, Floats]
"""By place of a plan's number, its normal scores, shape (draws,); of a model mix its shares, shape (draws, models)."""
Evaluate = Callable[[Plan], Mapping[str, tuple[Floats, Floats]]]
"""From a plan to the sums over runs of R and of R squared, by resource and kind."""

_PER_TERM = 3
_DAY_S = 86_400.0
_TABLE = 20_000
_FAR = 8.0
_BYTES = ("kv_bytes", "kv_warm_bytes")


@dataclass(frozen=True, slots=True)
class Surface:
    """Logarithm of what runs ask for over what is planned, as a quadratic in the scores of some settings."""

    places: tuple[str, ...]
    first: dict[str, Floats]
    """Coefficients by resource, shape (terms, kinds), for the mean of R; `second` for that of R squared."""
    second: dict[str, Floats]
    error: float
    """The largest error of the fit on the settings that were evaluated, as a fraction."""
    settings: int


@dataclass(frozen=True, slots=True)
class Assumed:
    """A plan, its kinds (with the model, if the plan shares them over models) and how its settings change runs."""

    plan: Plan
    strata: tuple[tuple[str, str], ...]
    planned: Floats
    """Tasks a day of each of them as planned."""
    surface: Surface | None


def assumed_of(plan: Plan, strata: tuple[tuple[str, str], ...], planned: Floats, evaluate: Evaluate,
               rng: np.random.Generator) -> Assumed:  # fmt: skip
    """Return the plan's assumptions, with the runs re-evaluated where timing or the cache is uncertain."""
    places = tuple(place for place in plan.assumptions if place.startswith("timing.") or place == "cache_kept")
    return Assumed(plan, strata, planned, _surface(plan, places, evaluate, rng) if places else None)


def drawn_scores(plan: Plan, draws: int, rng: np.random.Generator) -> dict[str, Floats]:
    """Return so many independent draws of all uncertain numbers; each one's scores are spread evenly over its law."""
    found: dict[str, Floats] = {}
    even = np.array(_even_scores(draws))
    for place in plan.assumptions:
        found[place] = _shares(plan, place, draws, rng) if place.startswith("models") else rng.permutation(even)
    return found


def centre(plan: Plan) -> dict[str, Floats]:
    """Return the scores of the plan's own numbers, one draw."""
    found = {}
    for place, value in _uncertain(plan).items():
        if place.startswith("models"):
            found[place] = np.array([list(_mix(plan, place).values())], dtype=np.float64)
        elif place == "cache_kept":
            chance = float(np.interp(value, _beta_table(plan), np.linspace(0, 1, _TABLE)))
            found[place] = np.array([NormalDist().inv_cdf(min(max(chance, 1e-6), 1 - 1e-6))])
        else:
            found[place] = np.array([0.0 if place.startswith("growth") else _log_sd(plan, place) / 2])
    return found


def shown(plan: Plan, place: str, score: float) -> float:
    """Return the number at `place` at a normal score: of a mix the share of its largest model."""
    if place.startswith("models"):
        return float(_beta_quantiles(*_dirichlet_ends(plan, place))[_index(score)])
    return float(values_at(plan, place, np.array([score]))[0])


def extreme(plan: Plan, place: str, score: float) -> Floats:
    """Return the scores, one draw, that put the number at `place` at a normal score; a mix keeps other proportions."""
    if not place.startswith("models"):
        return np.array([score])
    shares = np.array(list(_mix(plan, place).values()), dtype=np.float64)
    largest = int(shares.argmax())
    top = shown(plan, place, score)
    rest = shares.copy()
    rest[largest] = 0.0
    found = rest / max(float(rest.sum()), 1e-300) * (1 - top)
    found[largest] = top
    return np.asarray(found[None, :], dtype=np.float64)


def multiples(assumed: Assumed, name: str, scores: Scores) -> tuple[Floats, Floats]:
    """Return what the first and the second cumulant of a resource or total are multiplied by; shape (draws, kinds)."""
    volume = _volume(assumed, scores)
    first, second = volume, volume
    surface = assumed.surface
    if surface is not None and name in surface.first:
        terms = _terms(np.column_stack([scores[place] for place in surface.places]))
        first, second = first * np.exp(terms @ surface.first[name]), second * np.exp(terms @ surface.second[name])
    if name in _BYTES and "kv_bytes_per_token" in scores:
        value = values_at(assumed.plan, "kv_bytes_per_token", scores["kv_bytes_per_token"])
        size = (value / (assumed.plan.kv_bytes_per_token or 1.0))[:, None]
        first, second = first * size, second * size**2
    return first, second


def grown(assumed: Assumed, scores: Scores, starts_s: Floats, length_s: float) -> Floats:
    """Return what drawn growth multiplies, over planned growth, in windows from `starts_s`; shape (draws, windows)."""
    place = next((one for one in scores if one.startswith("growth")), None)
    if place is None:
        return np.ones((1, 1))
    plan = assumed.plan
    growth = plan.volume_growth
    rate = np.log1p(values_at(plan, place, scores[place]))[:, None]
    first = np.floor((starts_s + 1e-6) / _DAY_S)
    length = max(1, round(length_s / _DAY_S))
    days, back = np.unique(first, return_inverse=True)
    over = np.zeros((len(rate), len(days)))
    planned = np.zeros(len(days))
    for day in range(length):
        over += _levels(growth, rate, days + day)
        planned += growth.levels(days + day)
    return np.asarray((over / planned)[:, back.reshape(-1)], dtype=np.float64)


def _levels(growth: Growth, rate: Floats, days: Floats) -> Floats:
    if growth.kind == "logistic" and growth.limit is not None:
        return np.asarray(growth.limit / (1.0 + (growth.limit - 1.0) * np.exp(-rate * days)), dtype=np.float64)
    return np.asarray(np.exp(rate * days), dtype=np.float64)


def _uncertain(plan: Plan) -> dict[str, float]:
    places = dict(plan.places())
    return {place: places[place] for place in plan.assumptions}


def _volume(assumed: Assumed, scores: Scores) -> Floats:
    """Return tasks a day over those planned, shape (draws, kinds)."""
    plan = assumed.plan
    draws = max((len(one) for one in scores.values()), default=1)
    found = np.ones((len(assumed.strata), draws))
    planned = _uncertain(plan)
    # One number may stand for all kinds: what its draws multiply is worked out once.
    over = {
        name: values_at(plan, name, scores[name]) / value
        for name, value in planned.items()
        if name.startswith("tasks_per_day") and name in scores and value > 0
    }
    for row, (kind, model) in enumerate(assumed.strata):
        given = plan.tasks_per_day.get(kind) if isinstance(plan.tasks_per_day, Mapping) else None
        if not isinstance(plan.tasks_per_day, Mapping):
            names: tuple[str, ...] = ("tasks_per_day",)
        elif isinstance(given, Users):
            names = (f"tasks_per_day.{kind}.users", f"tasks_per_day.{kind}.tasks_per_user_per_day")
        else:
            names = (f"tasks_per_day.{kind}",)
        for name in names:
            if name in over:
                found[row] *= over[name]
        place = next((one for one in (f"models.{kind}", "models") if model and one in scores), None)
        if place is not None:
            shares = _mix(plan, place)
            found[row] *= scores[place][:, list(shares).index(model)] / shares[model]
    return np.ascontiguousarray(found.T)


def values_at(plan: Plan, place: str, scores: Floats) -> Floats:
    """Return the number at `place` at each normal score."""
    value = _uncertain(plan)[place]
    if place == "cache_kept":
        return np.asarray(np.interp(_chances(scores), np.linspace(0, 1, _TABLE), _beta_table(plan)), dtype=np.float64)
    log_sd = _log_sd(plan, place)
    if place.startswith("growth"):
        return np.asarray((1 + value) * np.exp(log_sd * scores) - 1, dtype=np.float64)
    return np.asarray(value * np.exp(log_sd * scores - log_sd**2 / 2), dtype=np.float64)


def _log_sd(plan: Plan, place: str) -> float:
    value = _uncertain(plan)[place]
    deviation = plan.assumptions[place].deviation(value)
    if place.startswith("growth"):
        return deviation / (1 + value)
    return math.sqrt(math.log1p((deviation / value) ** 2)) if value > 0 else 0.0


def _chances(scores: Floats) -> Floats:
    places = np.linspace(-_FAR, _FAR, 2 * _TABLE + 1)
    return np.asarray(np.interp(scores, places, np.array(_normal_table())), dtype=np.float64)


@cache
def _normal_table() -> tuple[float, ...]:
    return tuple(NormalDist().cdf(one) for one in np.linspace(-_FAR, _FAR, 2 * _TABLE + 1).tolist())


@cache
def _even_scores(draws: int) -> tuple[float, ...]:
    """Return normal quantiles at (1/2, 3/2, ...) / draws."""
    return tuple(NormalDist().inv_cdf((one + 0.5) / draws) for one in range(draws))


def _index(score: float) -> int:
    return min(_TABLE - 1, round(NormalDist().cdf(score) * (_TABLE - 1)))


def _beta_table(plan: Plan) -> Floats:
    value = plan.cache_kept
    deviation = plan.assumptions["cache_kept"].deviation(value)
    if deviation <= 0:
        return np.full(_TABLE, value)
    known = value * (1 - value) / deviation**2 - 1
    return _beta_quantiles(known * value, known * (1 - value))


@lru_cache(maxsize=16)
def _beta_quantiles(a: float, b: float) -> Floats:
    """Return the quantiles of the beta law at 0, 1 / (n - 1), ... 1, by summing its density over a fine grid."""
    # Cells are finer towards both ends, and hold the power law there exactly: it may have a pole.
    half = 0.5 - 0.5 * np.cos(np.linspace(0, np.pi / 2, 2 * _TABLE + 1))
    edges = np.concatenate((half, 1 - half[-2::-1]))
    log_mass = np.concatenate((_log_cells(half, a, b), _log_cells(half, b, a)[::-1]))
    mass = np.exp(log_mass - log_mass.max())
    below = np.concatenate(([0.0], np.cumsum(mass)))
    found = np.interp(np.linspace(0, 1, _TABLE), below / below[-1], edges)
    found.flags.writeable = False
    return found


def _log_cells(half: Floats, a: float, b: float) -> Floats:
    """Return the logarithm of x^(a-1) (1-x)^(b-1) summed over the cells between `half`, from 0 to 1/2."""
    low, high = half[:-1], half[1:]
    power = a * np.log(high) + np.log1p(-((low / high) ** a)) - math.log(a)
    return np.asarray(power + (b - 1) * np.log1p(-(low + high) / 2), dtype=np.float64)


def _mix(plan: Plan, place: str) -> Mapping[str, float]:
    shares = dict(plan.models_by_kind())[ALL if place == "models" else place.removeprefix("models.")]
    return {model: share for model, share in shares.items() if share > 0}


def _known(plan: Plan, place: str) -> float:
    """Return the sum of the Dirichlet law's parameters, from the sd of the largest share."""
    largest = max(_mix(plan, place).values())
    deviation = plan.assumptions[place].sd or 0.0
    return largest * (1 - largest) / deviation**2 - 1 if deviation > 0 else math.inf


def _dirichlet_ends(plan: Plan, place: str) -> tuple[float, float]:
    largest, known = max(_mix(plan, place).values()), min(_known(plan, place), 1e9)
    return known * largest, known * (1 - largest)


def _shares(plan: Plan, place: str, draws: int, rng: np.random.Generator) -> Floats:
    shares = np.array(list(_mix(plan, place).values()), dtype=np.float64)
    known = _known(plan, place)
    if math.isinf(known):
        return np.tile(shares, (draws, 1))
    # A Dirichlet law by breaking a stick, each break spread evenly over its own beta law.
    even = np.array(_even_scores(draws))
    found = np.empty((draws, len(shares)))
    left = np.ones(draws)
    for number, share in enumerate(shares[:-1]):
        table = _beta_quantiles(known * share, known * float(shares[number + 1 :].sum()))
        part = np.interp(_chances(rng.permutation(even)), np.linspace(0, 1, _TABLE), table)
        found[:, number] = left * part
        left = left * (1 - part)
    found[:, -1] = left
    return found


def _terms(scores: Floats) -> Floats:
    """Return 1, each score, its square and the products of pairs; shape (draws, terms)."""
    count = scores.shape[1]
    pairs = [scores[:, i] * scores[:, j] for i in range(count) for j in range(i, count)]
    return np.column_stack([np.ones(len(scores)), scores, *pairs])


def _surface(plan: Plan, places: tuple[str, ...], evaluate: Evaluate, rng: np.random.Generator) -> Surface:
    count = len(places)
    size = _PER_TERM * (1 + count + count * (count + 1) // 2)
    design = drawn_scores(replace(plan, assumptions={place: plan.assumptions[place] for place in places}), size, rng)
    scores = np.column_stack([design[place] for place in places])
    middle = centre(plan)
    own = np.column_stack([middle[place] for place in places])
    base = evaluate(plan)
    logs: dict[str, list[list[Floats]]] = {name: [[], []] for name in base}
    for row in scores:
        found = evaluate(_set(plan, places, row))
        for name, sums in found.items():
            for order in (0, 1):
                over = np.where(
                    base[name][order] > 0, sums[order] / np.where(base[name][order] > 0, base[name][order], 1), 1
                )
                logs[name][order].append(np.log(np.maximum(over, 1e-12)))
    terms, centred = _terms(scores), _terms(own)
    solved = np.linalg.pinv(terms)
    coefficients: list[dict[str, Floats]] = [{}, {}]
    error = 0.0
    for name, orders in logs.items():
        for order, values in enumerate(orders):
            known = np.stack(values)
            fit = solved @ known
            error = max(error, float(np.abs(terms @ fit - known).max()))
            fit[0] -= (centred @ fit)[0]  # as planned nothing changes
            coefficients[order][name] = fit
    return Surface(places, coefficients[0], coefficients[1], error, size)


def _set(plan: Plan, places: tuple[str, ...], scores: Floats) -> Plan:
    """Return the plan with the settings at `places` put where the scores say, and nothing uncertain."""
    values = {place: float(values_at(plan, place, scores[[number]])[0]) for number, place in enumerate(places)}
    timing = plan.timing
    if timing is not None:
        changed = {place.removeprefix("timing."): one for place, one in values.items() if place.startswith("timing.")}
        timing = replace(timing, **changed)
    return replace(plan, timing=timing, cache_kept=values.get("cache_kept", plan.cache_kept), assumptions={})
