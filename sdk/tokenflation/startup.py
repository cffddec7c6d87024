"""Waits, in a Python program that a recorded one started anew, until it needs a recorder: a client library, or a scope.

Every interpreter that is told to record comes here as it starts, by the file tokenflation-children.pth, and a process
of `multiprocessing` that is no fork, by what it is given to do. Nothing is imported that it has not loaded already, and
of the recorder nothing at all. Knows nothing of what recording is.
"""

import os
import sys

from tokenflation.children import CHILDREN, SCOPE, be_told, told

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any

__all__ = ["Started", "begin_if_told", "begin_when_needed", "forget"]

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


class Started:
    """The `run` of a process of `multiprocessing` that is no fork: its own, once it waits for what it may need."""

    def __init__(self, settings: "dict[str, Any]", process: "Any", run: "Callable[[], None] | None") -> None:
        self.settings = settings
        self.process = process
        self.run = run

    def __deepcopy__(self, memo: "dict[int, Any]") -> "Started":
        """Return itself: a process that copies what it is made of as it is sent would be sent in order to be copied."""
        return self

    def __call__(self) -> None:
        """Run it, in that process."""
        _wait_as_told(self.settings)
        if self.run is not None:
            self.run()
        else:
            type(self.process).run(self.process)


def _wait_as_told(settings: "dict[str, Any]") -> None:
    """Wait for a client library; begin now if one is there already, as the main module or the work imports it."""
    global _waiting
    if _waiting is not None:
        return
    be_told(settings)
    _waiting = _Waiting()
    if _LIBRARIES.isdisjoint(sys.modules):
        sys.meta_path.insert(0, _waiting)
    else:
        _waiting.begin()


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
