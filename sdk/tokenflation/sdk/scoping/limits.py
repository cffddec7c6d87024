"""Limits that a user sets on a task, and what the task has used of them so far.

A request is checked on the thread that sends it, before it leaves. Calls are counted there; tokens, cost and the depth
that only the wire tells come from the recorder's worker, so a request of a task with such a limit waits until the
worker has read the answers that ended before it, `WAIT_S` at most. Without limits none of this runs. Knows nothing of
scopes.
"""

import logging
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from tokenflation.sdk.errors import LimitReached, TokenflationError
from tokenflation.sdk.exchange import RETRIED_CODES, RETRY_COUNT, Exchange
from tokenflation.sdk.records import Call
from tokenflation.sdk.saying import say
from tokenflation.sdk.scoping.pricing import price_of, require_prices
from tokenflation.sdk.scoping.stopping import Stopping

__all__ = ["WAIT_S", "Budget", "Limits", "admit", "limits_of"]

WAIT_S = 2.0
"""A request waits no longer for the worker to read earlier answers; then it is checked against what is known."""
_MAX_REMEMBERED = 1024
_MAX_FAILED = 64
_RETRY_WINDOW_NS = 60_000_000_000
_NO_COST = Decimal(0)
_log = logging.getLogger("tokenflation")

Name = Literal["max_calls", "max_tokens", "max_depth", "max_cost"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one task may use; made by `limits_of`, which checks the values."""

    max_calls: int | None = None
    """Logical calls: the retries of one by its client count once."""
    max_tokens: int | None = None
    """Input and output tokens of finished calls, those of tasks inside this one included."""
    max_depth: int | None = None
    """Levels; agent runs a call is inside of, 0 for the outermost."""
    max_cost: float | None = None
    """US dollars, by the prices of genai-prices."""
    on_limit: Literal["raise", "warn"] = "raise"

    @property
    def asks_worker(self) -> bool:
        """Whether a check needs what earlier answers said."""
        return self.max_tokens is not None or self.max_depth is not None or self.max_cost is not None


def limits_of(
    *,
    max_calls: int | None = None,
    max_tokens: int | None = None,
    max_depth: int | None = None,
    max_cost: float | None = None,
    on_limit: str = "raise",
) -> Limits | None:
    """Return the limits, or None if none is set.

    Raises:
        TokenflationError: a limit is no number of its kind or is negative, or `on_limit` is neither "raise" nor "warn".
        MissingExtra: `max_cost` without the extra `analysis`, which brings the prices.
    """
    for name, value in (("max_calls", max_calls), ("max_tokens", max_tokens), ("max_depth", max_depth)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
            raise TokenflationError(f"task({name}=) takes an int from 0 on, or None for no limit; got {value!r}.")
    if max_cost is not None and (
        isinstance(max_cost, bool)
        or not isinstance(max_cost, int | float | Decimal)
        or not math.isfinite(max_cost)
        or max_cost < 0
    ):
        raise TokenflationError(f"task(max_cost=) takes US dollars from 0 on, or None for no limit; got {max_cost!r}.")
    if on_limit not in ("raise", "warn"):
        raise TokenflationError(f'task(on_limit=) takes "raise" or "warn", got {on_limit!r}.')
    if max_calls is None and max_tokens is None and max_depth is None and max_cost is None:
        return None
    if max_cost is not None:
        require_prices()
    return Limits(
        max_calls=max_calls,
        max_tokens=max_tokens,
        max_depth=max_depth,
        max_cost=max_cost,
        on_limit="warn" if on_limit == "warn" else "raise",
    )


def admit(budgets: "Sequence[tuple[Budget, int]]", exchange: Exchange, hurry: Callable[[], None], begins: bool) -> None:
    """Count a request that is about to leave against the tasks around it, innermost first; each with its depth there.

    `hurry` asks the worker not to idle. All or nothing: a request that one task refuses counts for none. Unless it
    `begins` it is only checked; one that has left is only counted.

    Raises:
        LimitReached: a limit that raises is used up; the request must not leave.
    """
    root = budgets[0][0].root
    if root.process_id != os.getpid():
        root.leave_to_parent()
    fetches = exchange.api.endswith(".retrieve")  # it brings an answer that was asked for before
    with root.news:
        if not fetches and not exchange.left and any(budget.limits.asks_worker for budget, _ in budgets):
            _catch_up(root, [budget for budget, _ in budgets], hurry)
        if not fetches and not exchange.left:
            for budget, depth in budgets:
                budget.check(exchange, depth)
        for budget, _ in budgets:
            budget.stopping.note()
        for budget, _ in budgets if begins else ():
            budget.begin(exchange, counts=not fetches)


def _catch_up(root: "Budget", budgets: "Sequence[Budget]", hurry: Callable[[], None]) -> None:
    if not any(budget.lags() for budget in budgets):
        return
    hurry()
    if not root.news.wait_for(lambda: not any(budget.lags() for budget in budgets), WAIT_S):
        root.say_once(
            "late", f"The recorder has not read earlier answers within {WAIT_S:g} s; limits count what it has read"
        )


@dataclass(slots=True)
class _Sent:
    """A request that left and that the worker has not read yet."""

    exchange: Exchange | None
    """None once it is known that the worker never will."""
    counts: bool
    followed: bool = False
    """It failed, and the next attempt has left."""

    def is_void(self) -> bool:
        """Return whether it was redirected, so that another request stands for it."""
        return self.exchange is not None and self.exchange.void


class Budget:
    """What one task with limits has used; host threads check and begin, the recorder's worker notes what was read.

    All budgets that stand in one outermost task share its lock, `root.news`.
    """

    def __init__(self, limits: Limits, task: str, task_id: str, outer: "Budget | None") -> None:
        self.limits = limits
        self.outer = outer
        self.root: Budget = outer.root if outer is not None else self
        self.news: threading.Condition = self.root.news if outer is not None else threading.Condition()
        self.process_id = os.getpid()
        self.tokens = 0
        self.cost = _NO_COST
        self.stopping = Stopping()
        self.reached: LimitReached | None = None
        """What ended the task, once a limit did."""
        self._task = task
        self._task_id = task_id
        self._settled_calls = 0
        self._deepest = 0
        self._sent: dict[str, _Sent] = {}
        self._failed: OrderedDict[str, Exchange] = OrderedDict()
        self._read: OrderedDict[str, tuple[int, Decimal]] = OrderedDict()
        self._said: set[str] = set()

    @property
    def calls(self) -> int:
        """Logical calls that left so far, as far as is known of those under way."""
        return self._settled_calls + sum(one.counts for one in tuple(self._sent.values()) if not one.is_void())

    def around(self) -> "Iterator[Budget]":
        """Yield this budget and those of the tasks around."""
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget.outer

    # The host's side; `root.news` is held.

    def check(self, exchange: Exchange, depth: int) -> None:
        """Raise LimitReached, or warn, if this request is beyond a limit."""
        for name, maximum, used, reached in self._states(exchange, depth):
            if not reached:
                continue
            said = f"Task {self._task!r} ({self._task_id}) has used {_shown(name, used)} of {name}={maximum}"
            if self.limits.on_limit == "warn":
                self.say_once(name, f"{said}; it goes on, as on_limit is 'warn'")
            else:
                self.reached = LimitReached(
                    f"{said}, so the next request to {exchange.host} was not sent. Give tokenflation's task() a larger "
                    f"{name}, or on_limit='warn' to log only.",
                    task=self._task,
                    task_id=self._task_id,
                    limit=name,
                    maximum=maximum,
                    used=used,
                    budget=self,
                )
                self.stopping.begin(self.is_busy)
                raise self.reached

    def begin(self, exchange: Exchange, *, counts: bool) -> None:
        """Note a request that leaves now."""
        for call_id in [call_id for call_id, one in self._sent.items() if one.is_void()]:
            del self._sent[call_id]
        earlier = self._failure_before(exchange) if counts else None
        if earlier is not None and self._failed.pop(earlier.call_id, None) is None:
            self._sent[earlier.call_id].followed = True
        self._sent[exchange.call_id] = _Sent(exchange, counts and earlier is None)

    def is_busy(self) -> bool:
        """Return whether a request is under way."""
        sent = (one.exchange for one in tuple(self._sent.values()))
        return any(one is not None and one.end is None and not one.void for one in sent)

    def lags(self) -> bool:
        """Return whether the worker has still to read an answer that has ended."""
        return any(
            one.exchange is not None and one.exchange.end is not None and one.exchange.process_id == os.getpid()
            for one in tuple(self._sent.values())
        )

    def leave_to_parent(self) -> None:
        """In a forked child: go on from what was used so far; what is under way is the parent's to read."""
        for one in self._sent.values():
            one.exchange = None
        self.root.news = self.news = threading.Condition()
        self.root.process_id = self.process_id = os.getpid()

    def say_once(self, name: str, message: str) -> None:
        """Log a warning, the first time that one of this name is due."""
        if name not in self._said:
            self._said.add(name)
            say(_log, "%s.", message)

    # The worker's side.

    def note(self, exchange: Exchange, call: Call | None) -> None:
        """Take what the worker read of an exchange: the row of the call that it is, or is an attempt of, or None."""
        with self.root.news:
            sent = self._sent.pop(exchange.call_id, None)
            if call is not None:
                self._settled_calls += call.call_id == exchange.call_id
                self._deepest = max(self._deepest, call.depth)
                self._take_usage(call)
            if sent is not None and not sent.followed and _may_be_repeated(exchange):
                self._failed[exchange.call_id] = exchange
                if len(self._failed) > _MAX_FAILED:
                    self._failed.popitem(last=False)
            self.root.news.notify_all()

    def give_up(self, exchange: Exchange) -> None:
        """Note that the worker will never read this exchange; takes no lock, as a garbage collector may call."""
        one = self._sent.get(exchange.call_id)
        if one is not None:
            one.exchange = None

    def _take_usage(self, call: Call) -> None:
        used = (call.input_tokens or 0) + (call.output_tokens or 0)
        if call.status != "error" and call.input_tokens is None:
            for name in ("max_tokens", "max_cost"):
                if getattr(self.limits, name) is not None:
                    self.say_once(
                        f"usage:{name}", f"A call to {call.model} reports no tokens; {name} does not count it"
                    )
        cost = self._cost_of(call) if self.limits.max_cost is not None else _NO_COST
        tokens_before, cost_before = self._read.get(call.call_id, (0, _NO_COST))
        self.tokens += used - tokens_before
        self.cost += cost - cost_before
        self._read[call.call_id] = (used, cost)  # a later attempt or poll replaces what the call has cost
        if len(self._read) > _MAX_REMEMBERED:
            self._read.popitem(last=False)

    def _cost_of(self, call: Call) -> Decimal:
        cost = price_of(call)
        if cost is None:
            self.say_once(
                f"price:{call.model}",
                f"No price is known for the model {call.model} of {call.provider}; max_cost does not count its calls",
            )
        return cost or _NO_COST

    def _states(self, exchange: Exchange, depth: int) -> Iterator[tuple[Name, float, float, bool]]:
        """Yield name, limit, use and whether that is too much, of each limit that is set."""
        limits = self.limits
        if limits.max_calls is not None:
            calls = self.calls
            yield (
                "max_calls",
                limits.max_calls,
                calls,
                calls >= limits.max_calls and self._failure_before(exchange) is None,
            )
        if limits.max_tokens is not None:
            yield "max_tokens", limits.max_tokens, self.tokens, self.tokens >= limits.max_tokens
        if limits.max_depth is not None:
            deepest = max(depth, self._deepest)
            yield "max_depth", limits.max_depth, deepest, deepest > limits.max_depth
        if limits.max_cost is not None:
            yield "max_cost", limits.max_cost, float(self.cost), self.cost >= Decimal(str(limits.max_cost))

    def _failure_before(self, exchange: Exchange) -> Exchange | None:
        """Return the failure of which this is most likely the next attempt, or None; the worker will know for sure."""
        sent = tuple(one for one in self._sent.values() if not one.followed)
        unread = (one.exchange for one in sent if one.exchange is not None and _may_be_repeated(one.exchange))
        return next((one for one in (*self._failed.values(), *unread) if _follows(exchange, one)), None)


def _may_be_repeated(exchange: Exchange) -> bool:
    """Return whether an exchange failed in a way that its client repeats by itself."""
    code = exchange.status_code
    if exchange.end in (None, "cancelled"):
        return False
    return exchange.end == "failed" or code in (None, 401) or code in RETRIED_CODES


def _follows(exchange: Exchange, earlier: Exchange) -> bool:
    said = exchange.request_headers.get(RETRY_COUNT)
    before = earlier.request_headers.get(RETRY_COUNT)
    since_ns = exchange.started_at_ns - (earlier.ended_at_ns or earlier.started_at_ns)
    if (exchange.host, exchange.path) != (earlier.host, earlier.path) or not 0 <= since_ns < _RETRY_WINDOW_NS:
        return False
    # 0: the program asks again, not its client.
    counted = exchange.resent or said is None or (said.isdecimal() and int(said) > 0)
    same_kind = (said is None) == (before is None)
    return counted and same_kind and exchange.request_body == earlier.request_body


def _shown(name: Name, used: float) -> str:
    what = {"max_calls": "call", "max_tokens": "token", "max_depth": "level", "max_cost": "US dollar"}[name]
    return f"{used:.6g} {what}{'' if used == 1 else 's'}"
