"""What a cell of a store can hold, and how the first one that holds something else is found and named.

SQL that SQLite and DuckDB both know, so that every way to read a store refuses the same. Opens nothing.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.tables import TABLES, Column

__all__ = ["check_cells", "odd_cell", "optional"]

_ALL = tuple(table.name for table in TABLES)
_LARGEST = 1.7976931348623157e308
_MOST_SECONDS = 4e9
_MOST_NS = 2**63 - 1
_MOST_TOGETHER = 2**61
"""No column adds up to more, so sums of a few columns have 64 bits too."""


def check_cells(
    connection: sqlite3.Connection, name: object, tables: Collection[str] = _ALL, *, nested: bool = True
) -> None:
    """Make sure of the cells of tables of a store, as far as it has them; `name` is what the store is called.

    JSON and bytes, which take as long as all the rest, are left out with `nested=False`, for who does not read them.

    Raises:
        StoreError: a cell holds what it cannot; it is named.
        sqlite3.Error: the database cannot be read.
    """

    def one_row(query: str) -> Sequence[object] | None:
        row: Sequence[object] | None = connection.execute(query).fetchone()
        return row

    for table in TABLES:
        have = {str(row[1]) for row in connection.execute(f"PRAGMA table_info({table.name})")}
        columns = [column for column in table.columns if column.name in have and table.name in tables]
        columns = [column for column in columns if nested or not (column.json or column.kind == "bytes")]
        # Of what stands beside the calls, what cannot be placed is left out.
        columns = optional(columns) if table.name in ("attempts", "tool_calls", "spans") else columns
        if odd := odd_cell(one_row, table.name, table.key, columns):
            raise StoreError(f"{name} cannot be read as a store: {odd}")


def optional(columns: Iterable[Column]) -> list[Column]:
    """Return the columns as those of a table of which no row need have a value."""
    return [replace(column, required=False) for column in columns]


def odd_cell(
    one_row: Callable[[str], Sequence[object] | None], table: str, key: Sequence[str], columns: Sequence[Column]
) -> str:
    """Return a sentence on the first cell found that holds what its column cannot, and how to mend it; else "".

    `one_row` runs a query and returns its first row; `columns` are those that are there and are read.
    """
    if not columns:
        return ""
    rows = one_row(f"select count(*) from {table}")
    most = _MOST_TOGETHER // max(1, int(str(rows[0])) if rows else 1)
    columns = [replace(one, most=min(one.most, most)) for one in columns]
    odd = {column.name: _odd(column) for column in columns}
    cases = " ".join(f"when {condition} then '{name}'" for name, condition in odd.items())
    names = [name for name in key if name in odd]
    found = one_row(
        f"select case {cases} end{''.join(f', {name}' for name in names)} from {table} where {' or '.join(odd.values())} limit 1"
    )
    if found is None:
        return ""
    column = next(one for one in columns if one.name == found[0])
    held = one_row(
        f"select substr(cast({column.name} as varchar), 1, 40) from {table} where {odd[column.name]} limit 1"
    )
    value = "no value" if held is None or held[0] is None else str(held[0])
    row = ", ".join(f"{name} {value!r}" for name, value in zip(names, found[1:], strict=True) if value is not None)
    return (
        f"in the table {table}, {row or 'a row'} has {value} in {column.name} ({column.meaning}), which takes "
        f"{_taken(column)}. Correct or remove that row, with SQLite's shell for one, or restore a copy."
    )


def _odd(column: Column) -> str:
    """Return the condition that a cell of the column holds what it cannot; never NULL."""
    name = column.name
    least, most = _range(column)
    wrong = {
        "int": f"{name} < {least} or {name} > {most} or typeof({name}) = 'real'",
        "float": f"{name} < {least} or {name} > {most} or typeof({name}) = 'text'",
        "text": f"typeof({name}) = 'blob'",
        "bytes": f"typeof({name}) = 'text'",
    }[column.kind]
    if column.json:
        kind = f"case when json_valid({name}) then lower(json_type({name})) else '' end"
        wrong = f"{wrong} or {kind} <> '{column.json}'"
    return f"({name} is null or {wrong})" if column.required else f"({name} is not null and ({wrong}))"


def _range(column: Column) -> tuple[int | float, int | float]:
    if column.kind == "float":
        return (0.0, _MOST_SECONDS) if column.name.endswith("_s") else (-_LARGEST, _LARGEST)
    return column.least, _MOST_NS if column.name.endswith("_ns") else column.most


def _taken(column: Column) -> str:
    least, most = _range(column)
    if column.json:
        return f"a JSON {column.json}"
    if column.kind in ("text", "bytes"):
        return column.kind
    kind = "whole numbers" if column.kind == "int" else "numbers"
    return "finite numbers" if most == _LARGEST else f"{kind} from {int(least):,} to {int(most):,}"
