"""Opens a store for SQLAlchemy, whose import takes half a second.

Knows nothing of frames: the analysis reads calls in bulk by its own way.
"""

import os

import sqlalchemy as sa

from tokenflation.sdk.store.opening import reader

__all__ = ["open_store"]


def open_store(path: str | os.PathLike[str]) -> sa.Engine:
    """Return an engine that reads a store and cannot write it; call `dispose()` on it when done.

    Raises:
        StoreError: there is no file, it is empty or no store, or it is newer than this library.
    """
    return sa.create_engine("sqlite://", creator=reader(path))
