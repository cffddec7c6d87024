"""Parts of a plan: who asks how often, how volume grows, how arrivals bunch, how fast the fleet serves.

Records only.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tokenflation.sdk.errors import PlanError

__all__ = [
    "BURSTS",
    "GROWTHS",
    "MOST",
    "MOST_CV",
    "SCALES",
    "Bursts",
    "Growth",
    "Timing",
    "Uncertain",
    "Users",
    "nearest",
    "number",
]

Floats = NDArray[np.float64]

GROWTHS = ("exponential", "logistic", "table")
BURSTS = ("poisson", "modulated", "sessions", "hawkes", "trace")
SCALES = ("number", "size")
MOST = 1e15
"""No number of a plan may be larger."""
MOST_CV = 3.0
"""No number of a plan may be more unsure than so many times itself."""
_LEAST_ARRIVALS = 100
# How alike two names are: so much for a suggestion, for a slip of the finger, for the beginning of a name.
_ALIKE, _TYPO, _BEGUN = 0.6, 0.9, 0.75
_TELLING, _SUGGESTED = 4, 4
_SLOWEST = {"ttft_s": 3_600.0, "tpot_s": 60.0, "ttft_s_per_token": 1.0}


def number(where: str, value: object, *, low: float = 0.0, above: bool = False, high: float = MOST) -> float:
    """Return the value if it is a finite number in range.

    Raises:
        PlanError: it is not; the message names the field `where` and says what it may be.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        raise PlanError(f"plan.{where} is {_short(value)}; it must be a finite number.")
    if value < low or (above and value == low):
        raise PlanError(f"plan.{where} is {_short(value)}; it must be {'above' if above else 'at least'} {low:g}.")
    if value > high:
        raise PlanError(f"plan.{where} is {_short(value)}; it may be at most {high:g}.")
    return float(value)


def _short(value: object) -> str:
    shown = repr(value) if not isinstance(value, int) or abs(value) < 10**30 else "a number of more than 30 digits"
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def nearest(name: str, names: Iterable[str]) -> str:
    """Return "; did you mean 'x' or 'y'?" with the nearest of `names`, or "; there are 'a', 'b'." where none is near.

    Near is what is spelled alike, or a short form: each word of `name` begins a word of it, or nearly begins the whole.
    """
    known = [str(one) for one in names]
    alike = {one: difflib.SequenceMatcher(None, name.lower(), one.lower()).ratio() for one in known}
    best = max(alike.values(), default=0.0)
    near = [one for one, how in alike.items() if how >= max(_ALIKE, best - 0.01)]
    if best < _TYPO:
        near = [one for one in known if _is_short_of(name, one)] or near
    if not near and len(name) >= _TELLING:
        size = len(name)
        near = [one for one in known if difflib.get_close_matches(name, [one[:size]], 1, _BEGUN)]
    if near:
        *others, last = map(repr, near[:_SUGGESTED])
        return f"; did you mean {', '.join(others)}{' or ' if others else ''}{last}?"
    shown = ", ".join(map(repr, known[:20]))
    return f"; there {'is' if len(known) == 1 else 'are'} {shown}{' and more' if len(known) > 20 else ''}."


def _is_short_of(name: str, long: str) -> bool:
    words, of = (re.findall(r"[^\W_]+", one.lower()) for one in (name, long))
    return bool(words) and all(any(own.startswith(word) for own in of) for word in words)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncertain:
    """How unsure a number of a plan is: one of the two.

    Volumes, timing and bytes are log-normal about a mean that is the plan's number; growth a day is normal in the
    logarithm of 1 + growth; a share is a beta; of a model mix `sd` is that of its largest share (Dirichlet).
    """

    cv: float | None = None
    """Standard deviation over the number."""
    sd: float | None = None
    """Standard deviation, in the number's unit."""

    def check(self, where: str) -> None:
        """Raise PlanError unless exactly one of the two is given, and makes sense."""
        if (self.cv is None) == (self.sd is None):
            raise PlanError(
                f"plan.{where} needs one of cv and sd; write {where}: {{value: 20000, cv: 0.3}}, for example."
            )
        number(f"{where}.{'cv' if self.sd is None else 'sd'}", self.cv if self.sd is None else self.sd)
        if self.cv is not None and self.cv > MOST_CV:
            raise PlanError(
                f"plan.{where}.cv is {self.cv:g}; it may be at most {MOST_CV:g}. 0.3 is plus or minus 30 % or so."
            )

    def deviation(self, value: float) -> float:
        """Return the standard deviation of a number that is `value` on average."""
        return self.sd if self.sd is not None else (self.cv or 0.0) * abs(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Users:
    """How many people start a task kind, and how often each: their product is the volume."""

    users: float
    tasks_per_user_per_day: float

    def check(self, where: str) -> None:
        """Raise PlanError if a number makes no sense."""
        number(f"{where}.users", self.users)
        number(f"{where}.tasks_per_user_per_day", self.tasks_per_user_per_day)
        number(f"{where}.users * tasks_per_user_per_day", self.tasks_per_day)

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
            if self.per_day:
                raise PlanError(
                    "plan.growth.per_day has no effect beside a table; take it out, or take kind: exponential."
                )
        elif self.table:
            raise PlanError("plan.growth.table is given, but the kind is another; write kind: table.")

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
    times_s: tuple[float, ...] = field(default=(), repr=False)
    """Trace: when tasks started, in seconds from any origin, as `arrival_trace.read_arrivals` reads them; sorted here.

    They bunch as these did: how much more than at random starts within two hours of each other come together. The
    volume is the plan's; what swings slower than half a day is left to the plan's shape and growth.
    """
    file: str = ""
    """Trace: where the starts were read from, for what is said of them."""
    scale: str = "number"
    """Trace: with a larger volume there are bunches in larger `number` (people who do not know of each other), or of
    larger `size` (one cause for all, as a timetable)."""

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
        if self.scale not in SCALES:
            raise PlanError(f"plan.burstiness.scale is {self.scale!r}; it may be {' or '.join(SCALES)}.")
        if self.kind == "trace":
            self._check_trace()
        elif len(self.times_s) or self.file:
            raise PlanError(f"plan.burstiness has a trace, but the kind is {self.kind!r}; write kind: trace.")

    def _check_trace(self) -> None:
        times: Floats = np.sort(np.asarray(self.times_s, dtype=np.float64))
        if not len(times):
            raise PlanError("plan.burstiness.file is missing; a trace needs starts: {kind: trace, file: arrivals.csv}.")
        if not np.isfinite(times).all():
            raise PlanError("plan.burstiness.times_s has a start that is no finite number; leave it out.")
        if len(times) < _LEAST_ARRIVALS or times[-1] <= times[0]:
            what = f"{len(times):,} starts" if len(times) < _LEAST_ARRIVALS else "starts at one instant only"
            raise PlanError(f"plan.burstiness.file holds {what}; at least {_LEAST_ARRIVALS} over some time are needed to "
                            "tell how they bunch. Give a longer trace.")  # fmt: skip
        object.__setattr__(self, "times_s", tuple(times.tolist()))

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
        for name, high in _SLOWEST.items():
            value = getattr(self, name)
            if isinstance(value, int | float) and value > high:
                raise PlanError(
                    f"plan.timing.{name} is {_short(value)}; it is in seconds, and may be at most {high:g}."
                )
            number(f"timing.{name}", value, above=name != "ttft_s_per_token")
