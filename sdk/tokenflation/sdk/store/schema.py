"""The store's tables for SQLAlchemy: what readers, migrations and other databases than SQLite are made from.

Imports SQLAlchemy, which takes half a second: nothing that runs inside a host imports this module.
"""

from typing import Any

import sqlalchemy as sa

from tokenflation.sdk.store.tables import TABLES, Column, Table

__all__ = ["metadata", "table"]


def table(name: str) -> sa.Table:
    """Return one table of the store by name."""
    return metadata.tables[name]


def _type(column: Column) -> sa.types.TypeEngine[Any]:
    types: dict[str, sa.types.TypeEngine[Any]] = {
        "text": sa.Text(),
        "int": sa.BigInteger(),  # a unix time in nanoseconds needs 64 bits
        "float": sa.Double(),
        "bytes": sa.LargeBinary(),
    }
    return types[column.kind]


def _table(made: sa.MetaData, source: Table) -> None:
    columns = [
        sa.Column(
            column.name,
            _type(column),
            primary_key=column.name in source.key,
            nullable=not column.required,
            autoincrement=False,
            comment=column.meaning,
        )
        for column in source.columns
    ]
    result = sa.Table(source.name, made, *columns)
    for names in source.indexes:
        sa.Index(f"ix_{source.name}_{'_'.join(names)}", *(result.c[name] for name in names))


def _metadata() -> sa.MetaData:
    made = sa.MetaData()
    for source in TABLES:
        _table(made, source)
    return made


metadata = _metadata()
"""All tables of the current schema version."""
