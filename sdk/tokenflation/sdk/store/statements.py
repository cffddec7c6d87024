"""The SQL of the hot path, made from the tables as data. Knows nothing of connections.

SQLAlchemy makes the same text out of `schema.metadata`; a test holds the two equal, so a host need not import it.
"""

from tokenflation.sdk.store.tables import TABLES, Table, column_names

__all__ = ["create_statements", "insert_statement"]

_TYPES = {"text": "TEXT", "int": "BIGINT", "float": "DOUBLE", "bytes": "BLOB"}


def create_statements() -> list[str]:
    """Return the CREATE statements of all tables and their indexes, in order."""
    return [statement for table in TABLES for statement in (_create_table(table), *_create_indexes(table))]


def insert_statement(table: Table, *, replace: bool) -> str:
    """Return the INSERT of one row: a row that is there already is replaced column by column, or left as it is."""
    names = column_names(table)
    columns, values, key = ", ".join(names), ", ".join("?" * len(names)), ", ".join(table.key)
    others = [name for name in names if name not in table.key]
    action = "UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in others) if replace else "NOTHING"
    return f"INSERT INTO {table.name} ({columns}) VALUES ({values}) ON CONFLICT ({key}) DO {action}"


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
