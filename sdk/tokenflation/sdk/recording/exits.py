"""Does something before a process ends without its exit handlers.

By `os._exit`, as children of multiprocessing do, or by `os.exec*`, as servers do that load themselves anew.

Knows nothing of what is done.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

from tokenflation.sdk.hooks.patching import cover, uncover
from tokenflation.sdk.interrupts import let_through

__all__ = ["before_exec", "before_os_exit"]


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

    owner: Any = os
    layer = cover(owner, "_exit", shell)
    return lambda: uncover(layer)


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

    owner: Any = os
    layers = [cover(owner, name, shell) for name in ("execv", "execve")]  # the others of `os` come here

    def undo() -> None:
        for layer in layers:
            uncover(layer)

    return undo
