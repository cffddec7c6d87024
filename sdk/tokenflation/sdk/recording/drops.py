"""The records that were lost in this process, by reason. Knows nothing of why."""

import logging
from collections import Counter
from collections.abc import Callable
from typing import Any

from tokenflation.sdk.interrupts import let_through
from tokenflation.sdk.saying import say

__all__ = ["Drops"]

_log = logging.getLogger("tokenflation")


class Drops(Counter[str]):
    """How many were lost for each reason; any thread adds to it, and whoever is free to wait tells."""

    def __init__(self, store: str) -> None:
        super().__init__()
        self._store = store
        self._told: set[str] = set()

    def lose(self, reason: str, count: int = 1) -> None:
        """Count records that could not be kept; the first of a reason is logged."""
        self[reason] += count
        self.tell()

    def guarded(self, function: Callable[..., Any], *args: Any) -> Any:
        """Return what a function of ours returns; None where it fails, which is counted: the host must not notice."""
        try:
            return function(*args)
        except Exception:
            self.lose("recorder_error")
            _log.debug("tokenflation: %r failed", function, exc_info=True)
            return None

    def tell(self) -> None:
        """Log each reason once."""
        for reason in [one for one in tuple(self) if one not in self._told]:
            self._told.add(reason)
            try:
                say(_log, "tokenflation lost a record (%s): see `tokenflation info %s`", reason, self._store)
            except Exception as error:  # the host's own handler of log records may fail
                let_through(error)
