"""Every error this project raises on purpose. Knows nothing of what raises it.

TokenflationError
├── StoreError        the store cannot be read or written as one
├── ImportSourceError a file to import is not what it should be
├── FrameError        a frame lacks what an analysis needs
├── PlanError         a plan or a forecast question makes no sense
├── ExportError       the calls cannot be written in the format asked for
└── MissingExtra      an optional dependency is not installed
"""

__all__ = [
    "ExportError",
    "FrameError",
    "ImportSourceError",
    "MissingExtra",
    "PlanError",
    "StoreError",
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
