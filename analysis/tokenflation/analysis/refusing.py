"""Says of a source of calls that cannot be read what is wrong with it: which store, which cell, and how to mend it.

Knows nothing of how a source is read.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import sqlalchemy as sa
from adbc_driver_manager import Error as AdbcError

from tokenflation.sdk.errors import FrameError, StoreError
from tokenflation.sdk.store.cells import check_cells, odd_cell, optional
from tokenflation.sdk.store.opening import reader
from tokenflation.sdk.store.tables import SCHEMA_VERSION, TABLES, Column

__all__ = ["check_table", "check_version", "no_calls", "parquet_errors", "store_errors", "wanted"]

_RECORD = (
    "Record one with `tokenflation run --store DB SCRIPT`, or read a trace with `tokenflation import FILE --store DB`."
)
_KEYS = {table.name: table.key for table in TABLES}


def no_calls(source: object) -> StoreError:
    """Return what to raise for a source without calls."""
    return StoreError(
        f"{source}: the store holds no calls, so there is nothing to analyse. {_RECORD} "
        "`tokenflation info DB` shows whether calls were lost."
    )


def check_table(
    connection: duckdb.DuckDBPyConnection, source: str | Path, columns: Sequence[Column], table: str = "calls"
) -> None:
    """Make sure of the cells of a relation, which has these columns of a source's table of that name.

    Raises:
        StoreError: one holds what it cannot; it is named.
    """
    columns = columns if table == "calls" else optional(columns)
    if odd := odd_cell(lambda query: connection.execute(query).fetchone(), table, _KEYS[table], columns):
        _check_file(source)  # where the whole row is
        raise StoreError(f"{source} cannot be analysed: {odd}")


def check_version(name: str, version: object) -> None:
    """Make sure that this library knows the schema that a database names.

    Raises:
        StoreError: it names none, or a newer one.
    """
    if version is None:
        raise StoreError(f"{name} is not a tokenflation store: its table `meta` gives no schema version. {_RECORD}")
    if not str(version).isdigit() or int(str(version)) > SCHEMA_VERSION:
        raise StoreError(
            f"{name} was written by a newer tokenflation: its schema is {version}, this library reads up to "
            f"{SCHEMA_VERSION}. Upgrade: pip install -U tokenflation"
        )


def wanted(name: str, have: Sequence[str], columns: Sequence[Column]) -> None:
    """Make sure that a source has the columns.

    Raises:
        StoreError: it lacks some.
    """
    missing = [column.name for column in columns if column.name not in have]
    if missing:
        what = f"columns {missing} are missing" if have else "there is no table `calls`"
        raise StoreError(f"{name} holds no calls as tokenflation writes them: {what}. {_RECORD}")


@contextmanager
def parquet_errors(path: Path) -> Iterator[None]:
    """Say of what DuckDB refuses which source it was and what to do."""
    try:
        yield
    except (duckdb.Error, FrameError) as error:
        raise StoreError(f"{path} cannot be read as Parquet: {_said(error)}. Write it anew from its store.") from error


@contextmanager
def store_errors(source: str | Path) -> Iterator[None]:
    """Say of what a database refuses which store it was and what to do; of an odd cell in a file, which one."""
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error, AdbcError, duckdb.Error, FrameError) as error:
        _check_file(source)
        raise StoreError(
            f"{source} cannot be read as a store: {_said(error)}. Check that the file is complete, or restore a copy."
        ) from error


def _check_file(source: str | Path) -> None:
    """Name the cell of a store that holds what it cannot, if there is one."""
    try:
        connect = reader(source)
    except StoreError:
        return
    with closing(connect()) as connection:
        try:
            check_cells(connection, source)
            for table in TABLES:
                for _ in connection.execute(f"select * from {table.name}"):  # text that is none is found by reading it
                    pass
        except sqlite3.Error as error:
            raise StoreError(f"{source} cannot be read as a store: {error}. Correct it, or restore a copy.") from error


def _said(error: Exception) -> str:
    """Return what an error says, without the query that it shows behind."""
    return str(error).partition("\n")[0].rstrip(".")
