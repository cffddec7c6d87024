"""Sees to it that a store is there before anything is loaded that reads it: a slip of the pen is answered at once."""

import os

from tokenflation.sdk.store.opening import no_file

__all__ = ["check_there"]


def check_there(source: str | None) -> None:
    """Refuse a path where nothing is; a URL, or what cannot be looked at, is for who reads it to judge.

    Raises:
        NoStoreError: nothing is there.
    """
    if source is None or "://" in source:
        return
    try:
        os.stat(source)
    except FileNotFoundError:
        raise no_file(source) from None
    except (OSError, ValueError):
        return
