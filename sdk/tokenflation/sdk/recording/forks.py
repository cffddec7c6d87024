"""Tells who is alive of a fork: one handler of the process for all of them, as the interpreter forgets none.

Knows nothing of what they do about it.
"""

import logging
import os
import weakref
from typing import Protocol

__all__ = ["Forked", "watch_forks"]

_log = logging.getLogger("tokenflation")


class Forked(Protocol):
    """Whoever has something to do about a fork; what it raises is not seen by the host."""

    def before_fork(self) -> None:
        """Get ready, in the parent."""

    def after_fork(self) -> None:
        """Go on, in the parent."""

    def begin_in_child(self) -> None:
        """Begin anew, in the child."""


_watching: dict[int, weakref.ref[Forked]] = {}
_registered: list[bool] = []


def watch_forks(one: Forked) -> None:
    """Tell it of each fork for as long as it lives; it is not kept alive."""
    key = id(one)
    _watching[key] = weakref.ref(one, lambda _: _watching.pop(key, None))
    if not _registered and hasattr(os, "register_at_fork"):
        _registered.append(True)
        os.register_at_fork(
            before=lambda: _tell("before_fork"),
            after_in_parent=lambda: _tell("after_fork"),
            after_in_child=lambda: _tell("begin_in_child"),
        )


def _tell(what: str) -> None:
    for reference in list(_watching.values()):
        one = reference()
        try:
            if one is not None:
                getattr(one, what)()
        except Exception:  # each of the others is told all the same
            _log.debug("tokenflation: %s failed", what, exc_info=True)
