"""Does something before a process ends by `os._exit`, which runs no exit handlers: as children of multiprocessing end.

Knows nothing of what is done.
"""

import contextlib
import functools
import os
from collections.abc import Callable
from typing import Any

from tokenflation.sdk.hooks.patching import cover, uncover

__all__ = ["before_os_exit"]


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

        return leave

    owner: Any = os
    layer = cover(owner, "_exit", shell)
    return lambda: uncover(layer)
