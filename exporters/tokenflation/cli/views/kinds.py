"""The calls of the task kind that a command was asked for."""

import pandas as pd

from tokenflation.cli.views.words import printable
from tokenflation.sdk.errors import FrameError

__all__ = ["of_kind"]

_SHOWN = 20


def of_kind(calls: pd.DataFrame, kind: str | None) -> pd.DataFrame:
    """Return the calls of one task kind, or all of them where none is named.

    Raises:
        FrameError: no task is of this kind.
    """
    chosen = calls if kind is None else calls[calls["task"] == kind]
    if chosen.empty:
        kinds = ", ".join(printable(name) for name in sorted(set(calls["task"]))[:_SHOWN])
        raise FrameError(f"There is no task of kind {kind!r} in the store; its kinds are: {kinds}.")
    return chosen
