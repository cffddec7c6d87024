"""Starts a thread with room on its stack for deeply nested JSON, as the host's own may lack; none where it does harm.

Knows nothing of what the thread does.
"""

import os
import signal
import sys
import threading
from collections.abc import Callable

__all__ = ["started"]

_LEAST_BYTES = 1024 * 1024
_FAULTS = frozenset(getattr(signal, name, None) for name in ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV"))


def started(run: Callable[[], object]) -> threading.Thread:
    """Return a thread that runs this now; a host that gives its threads small stacks gives this one more.

    Raises:
        RuntimeError: no thread can be had, or none should be.
    """
    if _is_master_of_uwsgi():
        raise RuntimeError("uWSGI forks without a word to Python: a worker waits for ever for what a thread holds then")

    thread = threading.Thread(target=run, name="tokenflation", daemon=True)
    given = threading.stack_size()
    too_small = 0 < given < _LEAST_BYTES  # 0: the system's own
    if too_small:
        threading.stack_size(_LEAST_BYTES)
    try:
        _start(thread)
    finally:
        if too_small:
            threading.stack_size(given)
    return thread


def _start(thread: threading.Thread) -> None:
    """Start a thread that takes no signals: they are for the host's, which may wait for them."""
    if not hasattr(signal, "pthread_sigmask"):
        thread.start()
        return
    # Handed down by this one: what gevent starts is no thread, and would take them from the host's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - _FAULTS)
    try:
        thread.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _is_master_of_uwsgi() -> bool:
    master = getattr(sys.modules.get("uwsgi"), "masterpid", None)  # the module is there where uWSGI runs the program
    return master is not None and bool(master() == os.getpid())
