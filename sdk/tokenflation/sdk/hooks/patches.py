"""What the hooks of all libraries share: patches that are put on when a library is imported, and taken off.

Knows none.
"""

import logging
from collections.abc import Callable
from types import ModuleType

from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.hooks.bodies import safely
from tokenflation.sdk.hooks.patching import Layers
from tokenflation.sdk.saying import say

__all__ = ["Patches"]


class Patches:
    """The patches made for one tap; holds them until `undo`. A subclass says what to patch."""

    def __init__(self, tap: Tap) -> None:
        self._tap: Tap | None = tap
        self._layers = Layers()

    def wait_for(self, *modules: str) -> Callable[[], None]:
        """Patch each of these modules, at once or right after the host imports it; return what undoes all of it."""
        try:
            for name in modules:
                self._layers.when_imported(name, self.patch)
        except BaseException:  # raised by a signal's handler of the host
            self.undo()
            raise
        return self.undo

    def patch(self, library: ModuleType) -> None:
        """Patch one module; never raises, as it runs inside the host's import statement."""
        if self._tap is not None:
            safely(self._tap.failed, self._patch, library)

    def undo(self) -> None:
        """Take every patch off and let go of the tap; calling it again does nothing."""
        self._tap = None
        self._layers.undo()

    def _say_missing(self, log: logging.Logger, message: str, *arguments: object) -> None:
        """Say in the log what a version of a library lacks, and count it."""
        say(log, message, *arguments)
        if self._tap is not None:
            self._tap.failed("hook_missing")

    def _patch(self, library: ModuleType) -> None:
        raise NotImplementedError
