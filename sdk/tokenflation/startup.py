"""Begins to record in a Python program that a recorded one started anew, as soon as it imports a client library.

Every interpreter that is told to record comes here as it starts, by the file tokenflation-children.pth, so nothing of
the recorder is imported before that. Knows nothing of what recording is.
"""

import logging
import os
import sys
from types import ModuleType
from typing import Any

from tokenflation.children import CHILDREN, SCOPE, hand_on, told

__all__ = ["begin_when_needed", "forget"]

_LIBRARIES = frozenset(("aiohttp", "curl_cffi", "grpc", "httpx", "httpx2", "urllib3", "websockets"))
"""What a program must import to call a model in a way that hooks see, or report as unseen."""
_log = logging.getLogger("tokenflation")


def forget(store: str) -> None:
    """Do not begin in this program after all: it records to `store` (absolute) by itself, inside a scope of that store."""
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _Waiting)]
    if told().get("store", store) != store:
        os.environ.pop(SCOPE, None)
    os.environ.pop(CHILDREN, None)


def begin_when_needed() -> None:
    """Wait for the first import of a client library; called as the interpreter starts."""
    if CHILDREN in os.environ and not any(isinstance(one, _Waiting) for one in sys.meta_path):
        sys.meta_path.insert(0, _Waiting())


class _Waiting:
    """Stands before all that find modules, until one is asked for that matters."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> Any:
        if name not in _LIBRARIES:
            return None
        sys.meta_path[:] = [one for one in sys.meta_path if one is not self]
        try:
            _begin()
        except Exception as error:  # the program goes on as if nobody had wished to record it
            _log.warning("a program that was started by a recorded one is not recorded: %r", error)
        # Whoever waits for imports stands before us only from now on, and would not be asked for this one.
        found = (
            finder.find_spec(name, path, target) for finder in tuple(sys.meta_path) if hasattr(finder, "find_spec")
        )
        return next((spec for spec in found if spec is not None), None)


def _begin() -> None:
    settings = told()
    if not settings:
        return
    from tokenflation.sdk.instrument import active, instrument

    if active() is None:
        url = settings.pop("otlp", None)
        instrument(**settings, span_exporter=_exporter(url) if url else None, children=True)
        if url:
            hand_on({**settings, "otlp": url})


def _exporter(url: str) -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    except ImportError:
        _log.warning("spans are not sent to %s: install tokenflation[otlp] beside this program", url)
        return None
    return OTLPSpanExporter(endpoint=url)
