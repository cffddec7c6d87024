"""Hands rows of a frame over as plain values, for what is said more simply row by row. Knows no column's meaning."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import pandas as pd

__all__ = ["plain_records", "plain_rows"]

_Record = TypeVar("_Record", bound=NamedTuple)

_WHOLE = {"executed", "failed", "result_bytes", "result_tokens", "started_at_ns", "ended_at_ns"}


def plain_rows(frame: pd.DataFrame | None, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield rows of plain values, None where one is missing; a column that the frame lacks is missing in all rows."""
    if frame is None:
        return
    columns = []
    for name in names:
        if name in frame.columns:
            # A frame made by hand may hold whole numbers as floats, where some are missing.
            column = frame[name].astype("Int64" if name in _WHOLE else object).astype(object)
            columns.append(column.where(column.notna(), None).tolist())
        else:
            columns.append([None] * len(frame))
    yield from zip(*columns, strict=True)


def plain_records(frame: pd.DataFrame | None, kind: type[_Record]) -> Iterator[_Record]:
    """Yield rows as of `plain_rows`, each as a record that has a field for each column wanted."""
    return map(kind._make, plain_rows(frame, kind._fields))
