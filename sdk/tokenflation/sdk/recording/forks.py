"""Tells who is alive of a fork: one handler of the process for all of them, as the interpreter forgets none.

Knows nothing of what they do about it.
"""

import logging
import os
import threading
import weakref
from typing import Any, Protocol

__all__ = ["Forked", "begin_if_untold", "watch_forks"]

_log = logging.getLogger("tokenflation")


class Forked(Protocol):
    """Whoever has something to do about a fork; what it raises is not seen by the host."""

    process_id: int = 0
    """Where it began last; set here."""

    def before_fork(self) -> None:
        """Get ready, in the parent."""

    def after_fork(self) -> None:
        """Go on, in the parent."""

    def begin_in_child(self) -> None:
        """Begin anew, in the child."""


_watching: dict[int, weakref.ref[Forked]] = {}
_registered: list[bool] = []
_locks: dict[int, Any] = {}
"""By process: one that a parent's thread holds may be held for ever in a child."""


def watch_forks(one: Forked) -> None:
    """Tell it of each fork for as long as it lives; it is not kept alive."""
    one.process_id = os.getpid()
    key = id(one)
    _watching[key] = weakref.ref(one, lambda _: _watching.pop(key, None))
    if not _registered and hasattr(os, "register_at_fork"):
        _registered.append(True)
        os.register_at_fork(
            before=lambda: _tell("before_fork"),
            after_in_parent=lambda: _tell("after_fork"),
            after_in_child=lambda: _tell("begin_in_child"),
        )


def begin_if_untold(one: Forked) -> None:
    """Let it begin, once, in a child whose fork ran no handler of Python's, as uWSGI's; nothing to do anywhere else."""
    with _locks.setdefault(os.getpid(), threading.RLock()):
        if one.process_id != os.getpid():
            _tell("begin_in_child", one)


def _tell(what: str, *some: Forked) -> None:
    for one in some or [alive for reference in list(_watching.values()) if (alive := reference()) is not None]:
        try:
            getattr(one, what)()
        except Exception:  # each of the others is told all the same
            _log.debug("tokenflation: %s failed", what, exc_info=True)
        if what == "begin_in_child":
            one.process_id = os.getpid()
