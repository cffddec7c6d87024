"""The SQL of the hot path, made from the tables as data, and what stands in for a column. Knows nothing of connections.

SQLAlchemy makes the same text out of `schema.metadata`; a test holds the two equal, so a host need not import it.
"""

import re
from collections.abc import Sequence
from itertools import compress

from tokenflation.sdk.store.tables import TABLES, Table, column_names

__all__ = ["create_statements", "insert_statement", "of_rows", "renamed_sql", "rows_at_once"]

_MAX_VALUES = 999
"""Of one statement, in SQLite before 3.32."""
_VALUES = re.compile(r"VALUES (\([?, ]+\))")

_TYPES = {"text": "TEXT", "int": "BIGINT", "float": "DOUBLE", "bytes": "BLOB"}


def create_statements() -> list[str]:
    """Return the CREATE statements of all tables and their indexes, in order."""
    return [statement for table in TABLES for statement in (_create_table(table), *_create_indexes(table))]


def insert_statement(table: Table, *, replace: bool, given: Sequence[bool] = ()) -> str:
    """Return the INSERT of one row: a row that is there already is replaced column by column, or left as it is.

    `given` says for each column whether the row has a value for it, the key's always; the others become NULL. Empty
    means all.
    """
    names = column_names(table)
    others = [name for name in names if name not in table.key]
    if given:
        names = tuple(compress(names, given))
    columns, values, key = ", ".join(names), ", ".join("?" * len(names)), ", ".join(table.key)
    action = "UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others) if replace else "NOTHING"
    return f"INSERT INTO {table.name} ({columns}) VALUES ({values}) ON CONFLICT ({key}) DO {action}"


def rows_at_once(rows: int, columns: int) -> int:
    """Return how many of so many rows to insert by one statement: a power of two, so that few statements are made."""
    return 1 << (min(rows, max(1, _MAX_VALUES // columns)).bit_length() - 1)


def of_rows(statement: str, count: int) -> str:
    """Return the INSERT of one row as an INSERT of `count` rows."""
    head, values, tail = _VALUES.split(statement, maxsplit=1)
    return f"{head}VALUES {', '.join([values] * count)}{tail}"


def renamed_sql(column: str) -> str:
    """Return SQL in place of a column that holds kinds of tasks as recorded: what the user calls them."""
    return f"coalesce((select task_names.name from task_names where task_names.task = {column}), {column})"


def _create_table(table: Table) -> str:
    columns = [
        f"{column.name} {_TYPES[column.kind]}{' NOT NULL' if column.required else ''}" for column in table.columns
    ]
    return f"CREATE TABLE {table.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(table.key)}))"


def _create_indexes(table: Table) -> list[str]:
    return [
        f"CREATE INDEX ix_{table.name}_{'_'.join(columns)} ON {table.name} ({', '.join(columns)})"
        for columns in table.indexes
    ]
