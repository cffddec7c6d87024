"""SQLite's log of a store and the log's index, where the store itself was renamed or removed.

SQLite finds both by name. A new store of that name must not share them with processes that still write to the former
one: as they let go of it, both would be damaged. Knows nothing of what is in them.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from tokenflation.sdk.store.holding import CAN_HOLD, hold
from tokenflation.sdk.store.keys import key_file
from tokenflation.sdk.store.paths import real_path

__all__ = ["is_left_alone", "take_log_away"]

_TRIES = 100
_PAUSE_S = 0.005
_ENDINGS = ("-shm", "-wal")


def is_left_alone(store: str | os.PathLike[str]) -> bool:
    """Return whether there is a log, or an index of one, whose store is gone."""
    path = real_path(store)
    # In this order: who makes a store right now makes its file before its log.
    return any(os.path.lexists(f"{path}{ending}") for ending in _ENDINGS) and not path.exists()


def take_log_away(store: str | os.PathLike[str], is_left: Callable[[], bool]) -> None:
    """Remove the log and its index if they are a former store's still; who has them open goes on with them."""
    with _alone(store):
        for ending in _ENDINGS if is_left() else ():
            with contextlib.suppress(OSError):  # it is not there; on a read-only disk also then another error
                os.unlink(f"{real_path(store)}{ending}")


@contextlib.contextmanager
def _alone(store: str | os.PathLike[str]) -> Iterator[None]:
    """Let one process at a time do what is inside: who holds the store's key. Waits for a moment, not for ever."""
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            key = stack.enter_context(key_file(store).open("rb"))
            for _ in range(_TRIES if CAN_HOLD else 0):
                with contextlib.suppress(BlockingIOError):
                    hold(key.fileno())
                    break
                time.sleep(_PAUSE_S)
        yield
