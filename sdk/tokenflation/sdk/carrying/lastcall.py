"""Which call left last in the current context: what shows lineage that a call left from within another's tool call.

A context variable, set on the host's thread when a call leaves, so whatever is started later from there (tasks,
threads, work in pools) begins with it. Knows nothing of calls but an id.
"""

import contextlib
import contextvars
from collections.abc import Callable, Iterator

__all__ = ["carried", "last_call", "note_call"]

_last: contextvars.ContextVar[str] = contextvars.ContextVar("tokenflation_last_call", default="")


last_call: Callable[[], str] = _last.get
"""Returns the id of the call that left last in this context, or in the one it was copied from; empty if none did."""
note_call: Callable[[str], object] = _last.set
"""Notes that a call leaves from this context."""


@contextlib.contextmanager
def carried(call_id: str) -> Iterator[None]:
    """Run a piece of work, in a thread of its own, as begun where this call left last."""
    token = _last.set(call_id)
    try:
        yield
    finally:
        _last.reset(token)
