"""Waits, in a Python program that a recorded one started anew, until it needs a recorder: a client library, or a scope.

Every interpreter that is told to record comes here as it starts, by the file tokenflation-children.pth: nothing is
imported that it has not loaded already, and of the recorder nothing at all. Knows nothing of what recording is.
"""

import os
import sys

from tokenflation.children import CHILDREN, SCOPE, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType
    from typing import Any

__all__ = ["begin_if_told", "begin_when_needed", "forget"]

_LIBRARIES = frozenset(
    ("aiohttp", "baml_py", "curl_cffi", "dspy", "grpc", "httpx", "httpx2", "lm15", "urllib3", "websockets")
)
"""What a program must import to call a model in a way that hooks see, or report as unseen."""
_BEGINNING = "tokenflation.beginning"
"""The module that begins as it is imported: named, not imported, as it stands on all of the recorder."""
_waiting: "_Waiting | None" = None


def begin_when_needed() -> None:
    """Wait for the first import of a client library; called as the interpreter starts."""
    global _waiting
    if CHILDREN in os.environ and _waiting is None:
        _waiting = _Waiting()
        sys.meta_path.insert(0, _waiting)


def begin_if_told() -> None:
    """Begin now, in a program that waits: it opens a scope."""
    if _waiting is not None and not _waiting.over:
        _waiting.begin()


def forget(store: str) -> None:
    """Do not begin in this program after all: it records to `store` (absolute) itself, in a scope of that store."""
    if _waiting is not None:
        _waiting.over = True
    if told().get("store", store) != store:
        os.environ.pop(SCOPE, None)
    os.environ.pop(CHILDREN, None)


class _Waiting:
    """Stands before all that find modules, until one is asked for that matters.

    When all is over it stays, as another thread may be going through them just then, and would skip one.
    """

    over = False

    def find_spec(self, name: str, path: "Any" = None, target: "ModuleType | None" = None) -> "Any":
        if self.over or name not in _LIBRARIES:
            return None
        self.begin()
        # Whoever waits for imports stands before us only from now on, and would not be asked for this one.
        others = (one for one in tuple(sys.meta_path) if one is not self and hasattr(one, "find_spec"))
        found = (finder.find_spec(name, path, target) for finder in others)
        return next((spec for spec in found if spec is not None), None)

    def begin(self) -> None:
        """Begin, once; a second thread waits for the first, unless that one waits for it: imports see to both."""
        import importlib

        try:
            begun = importlib.import_module(_BEGINNING)
        except ImportError:  # our files are gone since this program started
            self.over = True
        else:
            self.over = getattr(begun, "OVER", False)  # a module is there for its own thread before it is whole
