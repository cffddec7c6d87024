"""What stands in the recorder's inbox, exchanges, spans and marks between: in what order and portions it goes."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

from tokenflation.sdk.exchange import MAX_KEPT_BYTES, Exchange

__all__ = ["Flush", "Grown", "in_order", "portions", "size_of"]

_PORTION = 32
_PORTION_BYTES = 4 * 1024 * 1024


class Flush:
    """Everything before it has been written, or counted as lost, when `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()


class Grown:
    """A stream has become so long that it is to be packed."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange


def in_order(items: list[Any], let_go: Callable[[str], Exchange | None]) -> list[Any]:
    """Return items so that a call comes behind the one that left before it in its context, even if that ended later.

    A host may hold on to a stream that it has all of, and go on with the answer: `let_go` gives such a call by its id.
    """
    late = {one.call_id: one for one in items if isinstance(one, Exchange)}
    placed: set[int] = set()
    found: list[Any] = []
    for item in items:
        if not isinstance(item, Exchange):
            found.append(item)
            continue
        line: list[Exchange] = []
        one: Exchange | None = item
        while one is not None and id(one) not in placed:
            placed.add(id(one))
            line.append(one)
            after = getattr(one.context, "after", None)
            one = (late.get(after) or let_go(after)) if after else None
        found += reversed(line)
    return found


def portions(items: list[Any]) -> Iterator[list[Any]]:
    """Yield the items in order, some at a time: few enough that what was read of them may be held together."""
    some: list[Any] = []
    held_bytes = 0
    for item in items:
        some.append(item)
        held_bytes += size_of(item) if isinstance(item, Exchange) else 0
        if len(some) == _PORTION or held_bytes > _PORTION_BYTES:
            yield some
            some, held_bytes = [], 0
    if some:
        yield some


def size_of(exchange: Exchange) -> int:
    """Return how many bytes an exchange keeps in memory."""
    kept_bytes = exchange.kept_bytes if exchange.kept_bytes < MAX_KEPT_BYTES else MAX_KEPT_BYTES  # noqa: FURB136
    return kept_bytes + len(exchange.request_body or b"")  # `min` alone costs the caller a quarter of a microsecond
