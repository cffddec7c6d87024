"""Where in the host's program a request left, and the limits that hold there."""

from collections.abc import Callable, Iterable

from msgspec import Struct

from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Call
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.scoping.limits import Budget
from tokenflation.sdk.scoping.scopes import Scope

__all__ = ["SentFrom", "admit", "give_up", "sent_from", "settle"]


class SentFrom(Struct, frozen=True, gc=False):
    """Where in the host's program a request left."""

    scope: Scope | None = None
    foreign: tuple[str, str] | None = None
    """Trace id and span id of a span of the user's own tracing that is nearer to the call than our scope."""
    after: str | None = None
    """The call that left before in the same context or in the one it was copied from; empty where there was none, None
    where nobody looked."""

    @property
    def scope_id(self) -> str:
        """Id of the scope's span; empty where there is none."""
        return self.scope.span_id if self.scope is not None else ""


_NOBODY_LOOKED = SentFrom()


def sent_from(exchange: Exchange) -> SentFrom:
    """Return where a request left."""
    return exchange.context if isinstance(exchange.context, SentFrom) else _NOBODY_LOOKED


def admit(exchange: Exchange, hurry: Callable[[], None], *, begins: bool = True) -> None:
    """Hold a request to the limits of the tasks around it; `hurry` asks the worker not to idle.

    Unless it `begins` it is only checked, and will be counted later.

    Raises:
        LimitReached: the request must not leave.
    """
    sent = exchange.context
    if isinstance(sent, SentFrom) and sent.scope is not None and sent.scope.budget is not None:
        scopes.admit(sent.scope, exchange, hurry, begins)


def give_up(exchange: Exchange) -> None:
    """Tell the budgets around that the worker will never read this exchange; takes no lock."""
    for budget in _budgets_of(exchange):
        budget.give_up(exchange)


def settle(exchange: Exchange, call: Call | None) -> None:
    """Tell the budgets around what the worker has read: the call that the exchange is or is an attempt of, or None."""
    for budget in _budgets_of(exchange):
        budget.note(exchange, call)


def _budgets_of(exchange: Exchange) -> Iterable[Budget]:
    sent = exchange.context
    budget = sent.scope.budget if isinstance(sent, SentFrom) and sent.scope is not None else None
    return () if budget is None else budget.around()
