"""What the hooks of socket libraries share: patches that are put on, taken off, and end what is under way.

Knows none.
"""

from weakref import WeakSet

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patches import Patches
from tokenflation.sdk.hooks.sessions import Session

__all__ = ["SocketPatches"]


class SocketPatches(Patches):
    """The patches of one sockets' library for one tap; holds them until `undo`. A subclass says what to patch."""

    def __init__(self, tap: Tap) -> None:
        super().__init__(tap)
        self._sessions: WeakSet[Session] = WeakSet()

    def undo(self) -> None:
        """Take every patch off, close what is under way, and let go of the tap; calling it again does nothing."""
        tap = self._tap
        super().undo()
        for session in list(self._sessions):
            if tap is not None:
                safely(tap.failed, session.end, "closed")
