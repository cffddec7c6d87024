"""Marks that stand in the recorder's queue between what is to be recorded, and tell its worker what to do."""

import threading

from tokenflation.sdk.exchange import Exchange

__all__ = ["Flush", "Grown", "Wake"]


class Flush:
    """Everything before it has been written, or counted as lost, when `done` is set."""

    def __init__(self) -> None:
        self.done = threading.Event()


class Wake:
    """A call is under way."""


class Grown:
    """A stream has become so long that it is to be packed."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
