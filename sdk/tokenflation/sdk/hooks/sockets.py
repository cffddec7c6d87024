"""What the hooks of socket libraries share: patches that are put on, taken off, and end what is under way. Knows none."""

from types import ModuleType
from weakref import WeakSet

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patching import Layer, uncover
from tokenflation.sdk.hooks.sessions import Session

__all__ = ["SocketPatches"]


class SocketPatches:
    """The patches of one sockets' library for one tap; holds them until `undo`. A subclass says what to patch."""

    def __init__(self, tap: Tap) -> None:
        self._tap: Tap | None = tap
        self._layers: list[Layer] = []
        self._sessions: WeakSet[Session] = WeakSet()

    def patch(self, library: ModuleType) -> None:
        """Patch the library; never raises, as it runs inside the host's import statement."""
        if self._tap is not None:  # wrapt cannot forget a post-import hook: after undo it must do nothing
            safely(self._tap.failed, self._patch, library)

    def undo(self) -> None:
        """Take every patch off, close what is under way, and let go of the tap; calling it again does nothing."""
        tap, self._tap = self._tap, None
        while self._layers:
            uncover(self._layers.pop())
        for session in list(self._sessions):
            if tap is not None:
                safely(tap.failed, session.end, "closed")

    def _patch(self, library: ModuleType) -> None:
        raise NotImplementedError
