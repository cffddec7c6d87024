"""Makes and checks the frames that the analysis takes: one row per call in, typed columns out. Does no I/O.

Integers stay integers: a nullable one is pandas' Int64, since a 64-bit id or time that became a float is another
number.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.store.tables import Column

__all__ = ["from_arrays", "from_records", "from_rows", "prepared", "typed_array"]


def from_arrays(values: Mapping[str, Any], columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame out of (masked) NumPy arrays by name, with the columns given, in their order, each in its type.

    Raises:
        FrameError: a column holds what its type cannot, or an infinite number.
    """
    return pd.DataFrame({column.name: typed_array(values[column.name], column) for column in columns})


def from_rows(rows: Iterable[Sequence[Any]], columns: Sequence[Column]) -> pd.DataFrame:
    """Return a frame out of rows of plain values, None where a value is missing.

    Raises:
        FrameError: a column holds what its type cannot.
    """
    transposed = list(zip(*rows, strict=True)) or [()] * len(columns)
    return pd.DataFrame(
        {column.name: _of_cells(cells, column) for column, cells in zip(columns, transposed, strict=True)}
    )


def from_records(records: Iterable[Mapping[str, Any]], columns: Mapping[str, Column]) -> pd.DataFrame:
    """Return a frame out of a value for each column by its name, None where one is missing; other values are left out.

    Raises:
        FrameError: a column holds what its type cannot.
    """
    return from_rows(([record[name] for name in columns] for record in records), tuple(columns.values()))


def _of_cells(cells: Sequence[Any], column: Column) -> Any:
    try:
        return pd.array(list(cells), dtype=_dtype(column))
    except (TypeError, ValueError, OverflowError) as error:
        raise _unfit(column, error) from error


def prepared(calls: pd.DataFrame, names: Sequence[str], caller: str) -> pd.DataFrame:
    """Return a new frame with the columns `names` of `calls`, types made sure of; the caller's frame is untouched.

    Raises:
        FrameError: columns are missing, the frame is empty, or a column holds what its type cannot.
    """
    if not isinstance(calls, pd.DataFrame):
        raise FrameError(
            f"{caller}() takes a DataFrame with one row per call, got {type(calls).__name__}. "
            "Load one with tokenflation.analysis.load(path)."
        )
    missing = [name for name in names if name not in calls.columns]
    if missing:
        raise FrameError(
            f"{caller}() needs columns {missing}; the frame has {list(calls.columns)}. "
            "Load it with tokenflation.analysis.load(path)."
        )
    if calls.empty:
        raise FrameError(f"{caller}() got a frame without rows, so there is nothing to analyse. Give it calls.")
    return pd.DataFrame({name: _checked(calls[name], CALL_COLUMNS[name], caller) for name in names})


def _checked(series: "pd.Series[Any]", column: Column, caller: str) -> Any:
    try:
        return series.astype(_dtype(column)).array
    except (TypeError, ValueError) as error:
        raise FrameError(
            f"{caller}() needs {column.kind} in column {column.name!r} ({column.meaning}), got {series.dtype}: {error}. "
            "Load the frame with tokenflation.analysis.load(path)."
        ) from error


def _dtype(column: Column) -> Any:
    if column.kind == "int":
        return "int64" if column.required else "Int64"
    return {"text": "str", "float": "float64", "bytes": "object"}[column.kind]


def typed_array(values: Any, column: Column) -> Any:
    """Return a (masked) NumPy array as an array of a column's type.

    Raises:
        FrameError: it holds what that type cannot, or an infinite number.
    """
    try:
        typed = _typed(values, column)
    except (TypeError, ValueError) as error:
        raise _unfit(column, error) from error
    if column.kind == "float" and np.isinf(typed).any():
        raise FrameError(f"column {column.name!r} ({column.meaning}) holds an infinite number")
    return typed


def _unfit(column: Column, error: Exception) -> FrameError:
    return FrameError(f"column {column.name!r} should hold {column.kind} ({column.meaning}): {error}")


def _typed(values: Any, column: Column) -> Any:
    mask = np.ma.getmaskarray(values)
    data = np.ma.getdata(values)
    if column.kind == "int":
        whole = data.astype(np.int64)
        return whole if column.required else pd.arrays.IntegerArray(whole, mask.copy())
    if column.kind == "float":
        return np.where(mask, np.nan, data.astype(np.float64))
    cells = np.asarray(data, dtype=object).copy()
    if column.kind == "bytes":
        # DuckDB hands a blob over as a bytearray, which cannot be a key and can be changed in place.
        return np.array([None if gone else bytes(cell) for cell, gone in zip(cells, mask, strict=True)], dtype=object)
    cells[mask] = None
    return pd.array(cells, dtype="str")
