"""A plan: how many tasks of which kind arrive when. A validated record; knows nothing of runs or demand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from tokenflation.analysis.planning.limits import ALL, Budget, check_models
from tokenflation.analysis.planning.parts import (
    MOST,
    MOST_CV,
    Bursts,
    Growth,
    Timing,
    Uncertain,
    Users,
    nearest,
    number,
)
from tokenflation.analysis.planning.serving import Serving, check_serving
from tokenflation.sdk.errors import PlanError

if TYPE_CHECKING:
    from tokenflation.analysis.comparison.costs import PriceTable

__all__ = ["SHAPES", "Plan"]

_MOST_POWER = 7.0
_FLAT = (1.0,) * 24
# Judgement, not a measurement: nights at a quarter of the working day's level, a dip at noon, an evening's tail.
_BUSINESS_DAY = (0.3, 0.25, 0.25, 0.25, 0.3, 0.4, 0.6, 1.0, 1.6, 2.0, 2.1, 1.9,
                 1.5, 1.8, 2.0, 1.9, 1.6, 1.2, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)  # fmt: skip

SHAPES: dict[str, tuple[float, ...]] = {"flat": _FLAT, "business_day": _BUSINESS_DAY}
"""Named shapes of a day: 24 hourly weights, of which only the ratios count. `business_day` is an assumption."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a fleet will be asked to do.

    Raises:
        PlanError: a field makes no sense; the message names it and says what it may be.
    """

    tasks_per_day: float | Mapping[str, float | Users]
    """Tasks on an average day of the first day's growth level: by task kind, or one number for all kinds together."""
    day_shape: str | Sequence[float] = "flat"
    """Name of a shape in `SHAPES`, or 24 hourly weights; the day's total does not depend on it."""
    week_shape: Sequence[float] = (1.0,) * 7
    """Seven daily weights from the first day of the horizon on; the week's total does not depend on them."""
    growth_per_day: float = 0.0
    """Growth of the volume a day, as a fraction: 0.01 is one per cent."""
    modulation_cv: float = 0.0
    """Coefficient of variation of a random factor on the whole load, slow against a task; 0 is Poisson arrivals."""
    days: int = 1
    """Days to look ahead."""
    bucket_s: int = 3600
    """Seconds per bucket of the result; a divisor of an hour."""
    level: float = 0.9
    """Probability that an interval claims."""
    kv_bytes_per_token: float | None = None
    """Bytes of KV cache per token of context; None takes what `serving` says, and leaves bytes out without it."""
    kv_ttl_s: float = 300.0
    """Seconds that a server keeps the KV cache of a call for the one that continues it; five minutes, as several
    providers promise for their prefix caches; 0 drops it at once.
    """
    serving: Serving | Mapping[str, Serving] | None = None
    """The served model's shape, or one for each recorded model by name; None leaves FLOP out."""
    limits_hold: bool = False
    """Whether the fleet's tasks are cut by the limits that cut recorded runs: then cut runs count as they are."""
    growth: Growth | None = None
    """Growth of another form than `growth_per_day`, in its place."""
    burstiness: Bursts | None = None
    """How arrivals bunch; in place of `modulation_cv`."""
    timing: Timing | None = None
    """How fast the fleet serves; None leaves calls as long as they were where they were recorded."""

    models: Mapping[str, float | Mapping[str, float]] | None = None
    """Of the tasks of each kind, the share that runs on each recorded model: {kind: {model: share}}, or {model: share}
    for all kinds. Runs of other models are left out; None takes the runs as recorded. A run of several models is of
    "a + b".
    """
    budgets: Budget | Mapping[str, Budget] | None = None
    """What one task may use, by kind or one for all kinds; recorded runs are cut where it ends."""
    prices: "PriceTable | None" = None
    """What tokens cost, for budgets with `max_cost`."""
    cache_kept: float = 1.0
    """Of the input that the recorded calls read from a prefix cache, the share that the fleet's cache still holds."""
    assumptions: Mapping[str, Uncertain] = field(default_factory=dict)
    """How unsure numbers of this plan are, by their place: "tasks_per_day.triage", "tasks_per_day.triage.users",
    "growth.per_day", "timing.tpot_s", "models.triage", "cache_kept"; drawn independently of each other.
    """

    def __post_init__(self) -> None:
        self._check_volumes()
        for name, part in (("growth", Growth), ("burstiness", Bursts), ("timing", Timing)):
            if getattr(self, name) is not None and not isinstance(getattr(self, name), part):
                raise PlanError(f"plan.{name} is {getattr(self, name)!r}; give a plan_parts.{part.__name__}, or None.")
        if self.growth is not None and self.growth_per_day:
            raise PlanError("plan.growth and plan.growth_per_day are both given; keep one of them.")
        if self.burstiness is not None and self.modulation_cv:
            raise PlanError("plan.burstiness and plan.modulation_cv are both given; keep one of them.")
        if isinstance(self.day_shape, str) and self.day_shape not in SHAPES:
            raise PlanError(
                f"plan.day_shape is {self.day_shape!r}; it may be {', '.join(SHAPES)} or 24 hourly weights."
            )
        _weights("day_shape", self.day_weights, 24)
        _weights("week_shape", self.week_shape, 7)
        number("growth_per_day", self.growth_per_day, low=-1.0, above=True)
        number("modulation_cv", self.modulation_cv, high=10.0)
        _whole("days", self.days, 1, 366)
        _whole("bucket_s", self.bucket_s, 60, 3600)
        if 3600 % self.bucket_s:
            raise PlanError(f"plan.bucket_s is {self.bucket_s}; it must divide an hour: 300, 900 or 3600, for example.")
        number("level", self.level, low=0.5)
        if self.level >= 1:
            raise PlanError(f"plan.level is {self.level!r}; it may be from 0.5 to below 1.")
        if self.kv_bytes_per_token is not None:
            number("kv_bytes_per_token", self.kv_bytes_per_token, above=True)
        number("kv_ttl_s", self.kv_ttl_s)
        check_serving(self.serving)
        if not isinstance(self.limits_hold, bool):
            raise PlanError(f"plan.limits_hold is {self.limits_hold!r}; it may be true or false.")
        number("cache_kept", self.cache_kept, high=1.0)
        self._check_growth()
        self._check_tasks()
        self._check_assumptions()

    def _check_volumes(self) -> None:
        volumes = self.tasks_per_day
        if not isinstance(volumes, Mapping):
            if not isinstance(volumes, int | float):
                raise PlanError(
                    f"plan.tasks_per_day is {volumes!r}; give one number for all kinds, or {{'kind': tasks per day}}."
                )
            number("tasks_per_day", volumes, above=True)
            return
        if not volumes:
            raise PlanError("plan.tasks_per_day names no task kind; give {'kind': tasks per day} or one number.")
        for kind, volume in volumes.items():
            if isinstance(volume, Users):
                volume.check(f"tasks_per_day[{kind!r}]")
            else:
                number(f"tasks_per_day[{kind!r}]", volume)
        if not sum(map(_volume, volumes.values())):
            raise PlanError("plan.tasks_per_day is 0 for every kind; give at least one kind a volume.")

    def _check_growth(self) -> None:
        """Raise PlanError where the volume leaves what can be reckoned with before the horizon ends."""
        grown = self.volume_growth
        volumes = self.tasks_per_day
        highest = max(map(_volume, volumes.values())) if isinstance(volumes, Mapping) else volumes
        days = np.arange(self.days + 1, dtype=np.float64)
        with np.errstate(over="ignore"):
            levels = grown.levels(days)
            passed = np.flatnonzero(~(levels * highest <= MOST))
        if not levels[:-1].any():
            name = "growth.table" if grown.kind == "table" else "growth"
            raise PlanError(
                f"plan.{name} leaves no volume within the horizon (days: {self.days}); give multiples above 0."
            )
        if len(passed):
            name = "growth.per_day" if self.growth is not None else "growth_per_day"
            raise PlanError(
                f"plan.{name} brings the volume above {MOST:g} tasks a day by day {passed[0]}; 0.01 is one per cent a day. "
                "Give a smaller one, fewer days, or growth with a limit (kind: logistic)."
            )

    def _check_tasks(self) -> None:
        """Raise PlanError where models or budgets make no sense, or name a kind that has no volume."""
        for kind, shares in self.models_by_kind():
            check_models("models" if kind == ALL else f"models[{kind!r}]", shares)
        if isinstance(self.budgets, Mapping) and not self.budgets:
            raise PlanError("plan.budgets is empty; give {'kind': Budget(max_calls=40)}, or None for no limit.")
        for kind, budget in self.budgets_by_kind():
            where = "budgets" if kind == ALL else f"budgets[{kind!r}]"
            if not isinstance(budget, Budget):
                raise PlanError(f"plan.{where} is {budget!r}; give limits of a task: {{max_calls: 40}}.")
            budget.check(where)
            if budget.max_cost is not None and self.prices is None:
                raise PlanError(f"plan.prices is missing; plan.{where}.max_cost needs a table: prices: prices.csv.")
        if not isinstance(self.tasks_per_day, Mapping):
            return
        for name, kinds in (("models", self.models_by_kind()), ("budgets", self.budgets_by_kind())):
            for kind, _ in kinds:
                if kind not in (*self.tasks_per_day, ALL):
                    raise PlanError(f"plan.{name} names {kind!r}, which has no plan.tasks_per_day"
                                    f"{nearest(kind, self.tasks_per_day)}")  # fmt: skip

    def _check_assumptions(self) -> None:
        if not isinstance(self.assumptions, Mapping):
            raise PlanError(
                f"plan.assumptions is {self.assumptions!r}; give {{'growth.per_day': Uncertain(sd=0.005)}}."
            )
        places = dict(self.places())
        for place, how in self.assumptions.items():
            if place not in places:
                raise PlanError(
                    f"plan.assumptions names {place!r}, which is no number of this plan{nearest(place, places)}"
                )
            if not isinstance(how, Uncertain):
                raise PlanError(f"plan.assumptions[{place!r}] is {how!r}; give Uncertain(cv=0.3).")
            how.check(place)
            value = places[place]
            deviation = how.deviation(value)
            self._check_spread(place, value, deviation)
            top = deviation**2 >= value * (1 - value)
            if place.startswith("models") and (how.sd is None or (how.sd > 0 and top)):
                raise PlanError(f"plan.{place} needs the sd of its largest share, {value:g}, below "
                                f"{(value * (1 - value)) ** 0.5:.3g}: {{shares: {{a: 0.6, b: 0.4}}, sd: 0.1}}.")  # fmt: skip
            if place == "cache_kept" and deviation > 0 and top:
                raise PlanError(f"plan.cache_kept is {value:g} with the sd {deviation:g}; a share needs sd * sd below "
                                f"value * (1 - value): a value such as 0.9 with the sd 0.05.")  # fmt: skip
            if value == 0 and (how.cv or how.sd) and not place.startswith("growth"):
                raise PlanError(
                    f"plan.{place} is 0, of which nothing can vary; give a value above 0 or take its cv out."
                )

    def _check_spread(self, place: str, value: float, deviation: float) -> None:
        """Raise PlanError where a number is so unsure that a forecast of it says nothing."""
        if place.startswith("growth"):
            steady = self.growth is None or self.growth.kind == "exponential"
            power = deviation / (1 + value) * self.days if steady else 0.0
            if power > _MOST_POWER:
                raise PlanError(
                    f"plan.{place} has the sd {deviation:g}, which over {self.days} days is a factor of {math.exp(min(power, 700.0)):.3g} "
                    "either way; give a smaller sd (0.005 is half a per cent a day), fewer days, or growth with a limit."
                )
        elif deviation > MOST_CV * value > 0:
            raise PlanError(
                f"plan.{place} is {value:g} with the sd {deviation:g}; it may be at most {MOST_CV:g} times the number."
            )

    @property
    def kinds(self) -> tuple[str, ...] | None:
        """The task kinds that the plan names; None if it stands for all."""
        return tuple(self.tasks_per_day) if isinstance(self.tasks_per_day, Mapping) else None

    def places(self) -> Iterator[tuple[str, float]]:
        """Yield the place and value of each number that may be uncertain; of models, that of the largest share."""
        if not isinstance(self.tasks_per_day, Mapping):
            yield "tasks_per_day", float(self.tasks_per_day)
        else:
            for kind, volume in self.tasks_per_day.items():
                if isinstance(volume, Users):
                    yield f"tasks_per_day.{kind}.users", volume.users
                    yield f"tasks_per_day.{kind}.tasks_per_user_per_day", volume.tasks_per_user_per_day
                else:
                    yield f"tasks_per_day.{kind}", float(volume)
        if self.growth is None:
            yield "growth_per_day", self.growth_per_day
        elif self.growth.kind != "table":
            yield "growth.per_day", self.growth.per_day
        if self.timing is not None:
            for name in ("ttft_s", "ttft_s_per_token", "tpot_s"):
                yield f"timing.{name}", float(getattr(self.timing, name))
        for kind, shares in self.models_by_kind():
            yield "models" if kind == ALL else f"models.{kind}", max(shares.values())
        if self.kv_bytes_per_token is not None:
            yield "kv_bytes_per_token", self.kv_bytes_per_token
        yield "cache_kept", self.cache_kept

    def models_by_kind(self) -> Iterator[tuple[str, Mapping[str, float]]]:
        """Yield each kind with its shares by model; `planning.limits.ALL` where they are given once for all kinds."""
        if self.models is None:
            return
        if not isinstance(self.models, Mapping) or not self.models:
            raise PlanError(f"plan.models is {self.models!r}; give {{'kind': {{'gpt-5-mini': 0.6, 'gpt-5': 0.4}}}}.")
        nested = {kind: shares for kind, shares in self.models.items() if isinstance(shares, Mapping)}
        if not nested:
            yield ALL, {str(model): share for model, share in self.models.items() if not isinstance(share, Mapping)}
            return
        for kind, shares in self.models.items():
            if kind not in nested:
                raise PlanError(f"plan.models[{kind!r}] is {shares!r}; give the share of tasks by model: "
                                "{gpt-5-mini: 0.6, gpt-5: 0.4}.")  # fmt: skip
        yield from nested.items()

    def budgets_by_kind(self) -> Iterator[tuple[str, Budget]]:
        """Yield each kind with its budget; `planning.limits.ALL` where one is given for all kinds."""
        if isinstance(self.budgets, Mapping):
            yield from self.budgets.items()
        elif self.budgets is not None:
            yield ALL, self.budgets

    @property
    def volume_growth(self) -> Growth:
        """Growth as either field gives it."""
        return self.growth if self.growth is not None else Growth(per_day=self.growth_per_day)

    @property
    def day_weights(self) -> Sequence[float]:
        """The 24 hourly weights as given."""
        return SHAPES[self.day_shape] if isinstance(self.day_shape, str) else self.day_shape

    @property
    def slow_cv(self) -> float:
        """Coefficient of variation of a random factor on the whole load, slow against a task."""
        return self.burstiness.cv if self.burstiness is not None else self.modulation_cv

    def volumes(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return tasks per day by kind; one number is shared in proportion to the recorded runs `counts` of each kind.

        Raises:
            PlanError: the plan names a kind of which no run was recorded.
        """
        if not isinstance(self.tasks_per_day, Mapping):
            total = sum(counts.values())
            return {kind: self.tasks_per_day * count / total for kind, count in counts.items()}
        unknown = [kind for kind in self.tasks_per_day if kind not in counts]
        if unknown:
            raise PlanError(f"plan.tasks_per_day names {', '.join(map(repr, unknown))}, of which no run was recorded"
                            f"{nearest(unknown[0], counts)}")  # fmt: skip
        found = {kind: _volume(volume) for kind, volume in self.tasks_per_day.items()}
        return {kind: volume for kind, volume in found.items() if volume}


def _volume(volume: float | Users) -> float:
    return volume.tasks_per_day if isinstance(volume, Users) else float(volume)


def _whole(field: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise PlanError(f"plan.{field} is {value!r}; it may be a whole number from {low} to {high}.")


def _weights(field: str, weights: Sequence[float], count: int) -> None:
    if isinstance(weights, str) or not isinstance(weights, Sequence | np.ndarray):
        raise PlanError(f"plan.{field} is {weights!r}; it may be a list of {count} numbers.")
    if len(weights) != count:
        raise PlanError(f"plan.{field} has {len(weights)} weights; it needs {count}.")
    for weight in weights:
        number(field, float(weight) if isinstance(weight, np.number) else weight)
    if not sum(weights):
        raise PlanError(f"plan.{field} is all zeros; at least one weight must be positive.")
