"""Every error this project raises on purpose. Knows nothing of what raises it.

TokenflationError
├── StoreError        the store cannot be read or written as one
├── ImportSourceError a file to import is not what it should be
├── FrameError        a frame lacks what an analysis needs
├── PlanError         a plan or a forecast question makes no sense
├── ExportError       the calls cannot be written in the format asked for
├── MissingExtra      an optional dependency is not installed
└── TaskLimitReached  also a LimitReached: what leaves a task whose limit was reached

LimitReached, alone, is no Exception: see there.
"""

from typing import Any

__all__ = [
    "ExportError",
    "FrameError",
    "ImportSourceError",
    "LimitReached",
    "MissingExtra",
    "PlanError",
    "StoreError",
    "TaskLimitReached",
    "TokenflationError",
]


class TokenflationError(Exception):
    """Base of all errors of this project; its message says what happened, why, and how to fix it."""


class StoreError(TokenflationError):
    """A store is missing, is no store, is newer than this library, or cannot be written."""


class ImportSourceError(TokenflationError):
    """A file given to an importer cannot be read as its format."""


class FrameError(TokenflationError):
    """A frame lacks the columns or the rows that an analysis needs."""


class PlanError(TokenflationError):
    """A plan or a forecast question is inconsistent."""


class ExportError(TokenflationError):
    """Calls cannot be written in the format asked for."""


class MissingExtra(TokenflationError):
    """An optional dependency is not installed; the message says the command that installs it."""

    def __init__(self, purpose: str, extra: str) -> None:
        super().__init__(f"{purpose} needs packages that are not installed: pip install 'tokenflation[{extra}]'")


class LimitReached(BaseException):
    """A task has used up one of its limits; raised in place of its next request, which was not sent.

    Inside the task it is no `Exception`, as `asyncio.CancelledError` is none: clients retry what their transport raises
    and turn it into a connection error, and agent loops hand it to the model as a tool's failure; either way the run
    would go on. What leaves the `with` of the task that has the limit is a `TaskLimitReached`: a LimitReached still,
    and an ordinary `TokenflationError` for servers and workers outside.
    """

    def __init__(
        self,
        message: str,
        *,
        task: str = "",
        task_id: str = "",
        limit: str = "",
        maximum: float = 0,
        used: float = 0,
        budget: object = None,
    ) -> None:
        super().__init__(message)
        self.task = task
        """Kind of the task."""
        self.task_id = task_id
        self.limit = limit
        """Name of the limit, as `task()` takes it: `max_calls`, `max_tokens`, `max_depth` or `max_cost`."""
        self.maximum = maximum
        self.used = used
        """Calls, tokens, levels or US dollars that the task had used."""
        self.budget = budget
        """What of ours refused the request; it tells a task its own limit from one around it."""

    def outside(self) -> "TaskLimitReached":
        """Return the same as an ordinary error, with the traceback so far."""
        error = TaskLimitReached(
            str(self),
            task=self.task,
            task_id=self.task_id,
            limit=self.limit,
            maximum=self.maximum,
            used=self.used,
        )
        return error.with_traceback(self.__traceback__)

    def __reduce__(self) -> tuple[Any, ...]:
        """Leave `budget` behind: it holds a lock, and means nothing in another process."""
        return type(self), self.args, {name: value for name, value in self.__dict__.items() if name != "budget"}


class TaskLimitReached(LimitReached, TokenflationError):
    """A `LimitReached` outside the task that it ended."""
