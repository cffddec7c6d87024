"""Parts of a plan: who asks how often, how volume grows, how arrivals bunch, how fast the fleet serves. Records only."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenflation.sdk.errors import PlanError

__all__ = ["BURSTS", "GROWTHS", "Bursts", "Growth", "Timing", "Users", "number"]

Floats = NDArray[np.float64]

GROWTHS = ("exponential", "logistic", "table")
BURSTS = ("poisson", "modulated", "sessions", "hawkes")
_MOST = 1e15


def number(where: str, value: object, *, low: float = 0.0, above: bool = False, high: float = _MOST) -> float:
    """Return the value if it is a finite number in range.

    Raises:
        PlanError: it is not; the message names the field `where` and says what it may be.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise PlanError(f"plan.{where} is {value!r}; it must be a finite number.")
    if value < low or (above and value == low):
        raise PlanError(f"plan.{where} is {value!r}; it must be {'above' if above else 'at least'} {low:g}.")
    if value > high:
        raise PlanError(f"plan.{where} is {value!r}; it may be at most {high:g}.")
    return float(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """How many people start a task kind, and how often each: their product is the volume."""

    users: float
    tasks_per_user_per_day: float

    def check(self, where: str) -> None:
        """Raise PlanError if a number makes no sense."""
        number(f"{where}.users", self.users)
        number(f"{where}.tasks_per_user_per_day", self.tasks_per_user_per_day)

    @property
    def tasks_per_day(self) -> float:
        """Tasks on an average day of the first day's level."""
        return self.users * self.tasks_per_user_per_day


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """How the volume changes from day to day, as a multiple of the first day's; constant within a day."""

    kind: str = "exponential"
    per_day: float = 0.0
    """Exponential: growth a day as a fraction. Logistic: the same, as long as the limit is far."""
    limit: float | None = None
    """Logistic: the multiple of the first day's volume that is never passed, above 1."""
    table: Mapping[int, float] = field(default_factory=dict)
    """Table: the multiple by day, from 0; in between it is interpolated, and flat outside."""

    def __post_init__(self) -> None:
        if self.kind not in GROWTHS:
            raise PlanError(f"plan.growth.kind is {self.kind!r}; it may be {', '.join(GROWTHS)}.")
        number("growth.per_day", self.per_day, low=-1.0, above=True)
        if self.kind == "logistic":
            if self.limit is None:
                raise PlanError("plan.growth.limit is missing; logistic growth needs one: limit: 5 for five times.")
            number("growth.limit", self.limit, low=1.0, above=True)
        if self.kind == "table":
            if not isinstance(self.table, Mapping) or not self.table:
                raise PlanError("plan.growth.table is empty; give multiples by day: {0: 1, 90: 2.5}, for example.")
            for day, level in self.table.items():
                number("growth.table's days", day)
                number(f"growth.table[{day}]", level)

    def levels(self, days: Floats) -> Floats:
        """Return the multiple of the first day's volume on each day."""
        if self.kind == "table":
            known = sorted(self.table.items())
            found = np.interp(days, [float(day) for day, _ in known], [float(level) for _, level in known])
        elif self.kind == "logistic":
            assert self.limit is not None
            rate = math.log1p(self.per_day)
            # The odds of the share of the limit grow exponentially; day 0 is at 1 / limit.
            found = self.limit / (1.0 + (self.limit - 1.0) * np.exp(-rate * days))
        else:
            found = (1.0 + self.per_day) ** days
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bursts:
    """How arrivals bunch beyond the rate's shape."""

    kind: str = "poisson"
    cv: float = 0.0
    """Modulated: coefficient of variation of a random factor on the whole load, drawn anew each day."""
    tasks_per_session: float = 1.0
    """Sessions: mean number of tasks that one session starts."""
    gap_s: float = 300.0
    """Sessions: mean seconds from one task's start to the next."""
    branching: float = 0.0
    """Hawkes: mean number of tasks that each task sets off; below 1."""
    decay_s: float = 60.0
    """Hawkes: mean delay of what is set off, in seconds."""

    def __post_init__(self) -> None:
        if self.kind not in BURSTS:
            raise PlanError(f"plan.burstiness.kind is {self.kind!r}; it may be {', '.join(BURSTS)}.")
        number("burstiness.cv", self.cv, high=10.0)
        number("burstiness.tasks_per_session", self.tasks_per_session, low=1.0)
        number("burstiness.gap_s", self.gap_s, above=True)
        number("burstiness.branching", self.branching)
        number("burstiness.decay_s", self.decay_s, above=True)
        if self.branching >= 1:
            raise PlanError(f"plan.burstiness.branching is {self.branching}; from 1 on, tasks would never end.")

    @property
    def cluster(self) -> tuple[float, float]:
        """Height and memory in s of the excess covariance density, height * rate * exp(-t / memory); 0 for none."""
        if self.kind == "sessions" and self.tasks_per_session > 1:
            again = 1.0 - 1.0 / self.tasks_per_session
            return again / self.gap_s, self.gap_s * self.tasks_per_session
        if self.kind == "hawkes" and self.branching > 0:
            n = self.branching
            return n * (2 - n) / (2 * (1 - n) * self.decay_s), self.decay_s / (1 - n)
        return 0.0, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How fast the fleet serves a call: TTFT = ttft_s + computed input * ttft_s_per_token, then tpot_s per token."""

    ttft_s: float
    tpot_s: float
    ttft_s_per_token: float = 0.0

    def __post_init__(self) -> None:
        number("timing.ttft_s", self.ttft_s, above=True)
        number("timing.tpot_s", self.tpot_s, above=True)
        number("timing.ttft_s_per_token", self.ttft_s_per_token)
