"""Says something in the log for us; in a fork from a thread of its own, where it may take for ever.

A thread of the parent that wrote to a log file just then has left the lock of that file's buffer taken, and nobody in
the fork gives it back: Python makes the locks of `logging` anew, and that one not. Knows nothing of what is said.
"""

import contextlib
import logging
import os
import threading

from tokenflation.sdk.clock import now_ns

__all__ = ["let_say", "say"]

_PROCESS_ID = os.getpid()
_saying: list[threading.Thread] = []


def say(log: logging.Logger, message: str, *arguments: object) -> None:
    """Log a warning; whoever says it in a fork does not wait for that."""
    if os.getpid() == _PROCESS_ID:
        log.warning(message, *arguments, stacklevel=2)
        return
    thread = threading.Thread(target=_said, args=(log, message, *arguments), name="tokenflation-log", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # there are too many, or the interpreter is ending
        return
    _saying[:] = [one for one in _saying if one.is_alive()]
    _saying.append(thread)


def let_say(timeout_s: float = 0.2) -> None:
    """Give what is being said in a fork so long to come to its end, as the process is about to."""
    until_ns = now_ns() + int(timeout_s * 1e9)
    while _saying:
        _saying.pop().join(max(0.0, (until_ns - now_ns()) / 1e9))


def _said(log: logging.Logger, message: str, *arguments: object) -> None:
    with contextlib.suppress(Exception):  # the host's own handler of log records may fail
        log.warning(message, *arguments)
