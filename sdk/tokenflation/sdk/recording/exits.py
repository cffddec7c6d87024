"""Does something before a process ends without its exit handlers.

By `os._exit`, as children of multiprocessing do, by `os.exec*`, as servers do that load themselves anew, or by a signal
that it sends to itself, as uvicorn does when it has shut down.

Knows nothing of what is done.
"""

import contextlib
import functools
import os
import signal
from collections.abc import Callable
from typing import Any

from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.interrupts import let_through

__all__ = ["before_exec", "before_os_exit", "before_raised_signal"]

_ENDING = frozenset(getattr(signal, name, None) for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM"))


def before_os_exit(action: Callable[[], object]) -> Callable[[], None]:
    """Run `action` whenever this process or a fork of it calls `os._exit`; return what undoes it.

    `action` must come to an end by itself; what it raises is not seen by the program.
    """

    def shell(original: Any) -> Any:
        @functools.wraps(original)
        def leave(status: Any) -> Any:
            with contextlib.suppress(BaseException):  # the program has said that it is over
                action()
            original(status)

        leave.__module__ = os.__name__  # where pickle finds it; the original says `posix`
        return leave

    layers = Layers()
    layers.cover(os, "_exit", shell)
    return layers.undo


def before_exec(action: Callable[[], object]) -> Callable[[], None]:
    """Run `action` whenever this process or a fork of it becomes another program; return what undoes it.

    `action` must come to an end by itself, and leave all as it was: there may be no such program. What it raises is not
    seen by this one.
    """

    def shell(original: Any) -> Any:
        @functools.wraps(original)
        def become(*args: Any, **kwargs: Any) -> Any:
            try:
                action()
            except Exception as error:
                let_through(error)
            original(*args, **kwargs)

        become.__module__ = os.__name__
        return become

    layers = Layers()
    for name in ("execv", "execve"):  # the others of `os` come here
        layers.cover(os, name, shell)
    return layers.undo


def before_raised_signal(action: Callable[[], object]) -> Callable[[], None]:
    """Run `action` whenever this process or a fork of it ends itself by `signal.raise_signal`; return what undoes it.

    `action` must come to an end by itself; what it raises is not seen by the program.
    """

    def shell(original: Any) -> Any:
        @functools.wraps(original)
        def raised(signalnum: Any, /) -> Any:
            with contextlib.suppress(BaseException):  # likewise, where it is the end
                if _ends(signalnum):
                    action()
            return original(signalnum)

        raised.__module__ = signal.__name__
        return raised

    layers = Layers()
    layers.cover(signal, "raise_signal", shell)
    return layers.undo


def _ends(number: Any) -> bool:
    """Return whether a signal that this thread sends to itself ends the process."""
    if number not in _ENDING or signal.getsignal(number) is not signal.SIG_DFL:
        return False
    mask = getattr(signal, "pthread_sigmask", None)
    return mask is None or number not in mask(signal.SIG_BLOCK, ())
