"""The records that were lost in this process, by reason. Knows nothing of why."""

import logging
from collections import Counter

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

    def tell(self) -> None:
        """Log each reason once."""
        for reason in [one for one in tuple(self) if one not in self._told]:
            self._told.add(reason)
            try:
                say(_log, "tokenflation lost a record (%s): see `tokenflation info %s`", reason, self._store)
            except Exception as error:  # the host's own handler of log records may fail
                let_through(error)
