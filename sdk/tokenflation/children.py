"""What programs of Python that a recorded one starts anew are told, by variables of their environment.

A process of `multiprocessing` is told by what it is given to do.

Every interpreter that is told something comes here as it starts, so nothing is imported that it has not loaded already.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["CHILDREN", "SCOPE", "be_told", "hand_on", "told"]

CHILDREN = "TOKENFLATION_CHILDREN"
"""The variable that says how they record, as JSON."""
SCOPE = "TOKENFLATION_SCOPE"
"""The variable that says which scope they run inside of, as JSON."""
_given: "dict[str, Any]" = {}
"""What this process was told where its environment says nothing."""


def hand_on(settings: "dict[str, Any]") -> "Callable[[], None]":
    """Let programs that are started from here on record with these arguments of `instrument()`; return what ends it.

    `otlp` beside them is the endpoint that spans go to.
    """
    import json

    before, here = os.environ.get(CHILDREN), os.getpid()
    os.environ[CHILDREN] = ours = json.dumps(settings)

    def end() -> None:
        if os.environ.get(CHILDREN) != ours or os.getpid() != here:
            return
        if before is None:
            del os.environ[CHILDREN]
        else:
            os.environ[CHILDREN] = before

    return end


def be_told(settings: "dict[str, Any]") -> None:
    """Let this process be told so, unless its environment says how to record."""
    _given.update(settings)


def told() -> "dict[str, Any]":
    """Return how this program is told to record; empty where it is not."""
    if CHILDREN not in os.environ:
        return dict(_given)
    import json

    try:
        found = json.loads(os.environ.get(CHILDREN, ""))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
