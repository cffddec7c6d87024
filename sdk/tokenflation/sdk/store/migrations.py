"""Brings an older store to the current schema, one version a step and one transaction a step.

Plain SQL on a connection: it runs inside a host that opens an older store. Knows nothing of what the rows mean.
"""

import sqlite3
from collections.abc import Callable, Sequence

from tokenflation.sdk.errors import StoreError

__all__ = ["STEPS", "Step", "migrate", "read_version"]

Step = Callable[[sqlite3.Connection], None]


_CALLS_2 = (
    ("inside_call_id", "TEXT"),
    ("branch", "BIGINT"),
    ("continues_evidence", "TEXT"),
    ("inside_evidence", "TEXT"),
    ("structure_strength", "TEXT"),
    ("after_call_id", "TEXT"),
    ("previous_response_id", "TEXT"),
    ("conversation_id", "TEXT"),
    ("instructions_hash", "BLOB"),
    ("kept_messages", "BIGINT"),
    ("history", "BLOB"),
    ("answers", "TEXT"),
    ("prompted_by", "TEXT"),
    ("reasoning_blocks", "BIGINT"),
)


def _to_2(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE tool_calls ADD COLUMN run_span_id TEXT")
    connection.execute("ALTER TABLE spans ADD COLUMN arguments_bytes BIGINT")
    connection.execute("ALTER TABLE spans ADD COLUMN result_bytes BIGINT")
    connection.execute("ALTER TABLE spans ADD COLUMN censored_by TEXT")
    for name, type_ in _CALLS_2:
        connection.execute(f"ALTER TABLE calls ADD COLUMN {name} {type_}")
    connection.execute("ALTER TABLE tool_calls ADD COLUMN arguments_hash BLOB")
    connection.execute("ALTER TABLE tool_calls ADD COLUMN failed BIGINT")
    connection.execute("CREATE TABLE task_names (task TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (task))")


STEPS: tuple[Step, ...] = (_to_2,)
"""`STEPS[0]` takes a store from version 1 to 2, and so on; `SCHEMA_VERSION` is one more than their number."""


def read_version(connection: sqlite3.Connection) -> int | None:
    """Return the schema version that a store's `meta` names, or None if the database is no store of ours."""
    columns = {str(row[1]) for row in connection.execute("PRAGMA table_info(meta)")}
    if not {"name", "value"} <= columns:
        return None
    row = connection.execute("SELECT value FROM meta WHERE name = 'schema_version'").fetchone()
    try:
        return int(row[0]) if row is not None else None
    except (TypeError, ValueError):
        return None


def migrate(connection: sqlite3.Connection, *, steps: Sequence[Step] = STEPS) -> int:
    """Apply the steps that the store still lacks and return its version; the connection must be in autocommit mode.

    The version is read again inside each transaction: of two processes that open one older store, each step runs once.

    Raises:
        StoreError: the database is no store, is newer than the steps, or a step failed (the store is as before it).
    """
    while True:
        connection.execute("BEGIN IMMEDIATE")
        try:
            version = read_version(connection)
            if version is None or version < 1:
                raise StoreError("The database has no schema version: it is no tokenflation store. Give another file.")
            if version > len(steps) + 1:
                raise StoreError(
                    f"The store has schema version {version}; this tokenflation knows versions up to {len(steps) + 1}. "
                    "Upgrade it: pip install -U tokenflation."
                )
            if version == len(steps) + 1:
                return version
            _apply(connection, steps[version - 1], version)
        finally:
            # After an error nothing of the step may stay; after COMMIT no transaction is open.
            if connection.in_transaction:
                connection.execute("ROLLBACK")


def _apply(connection: sqlite3.Connection, step: Step, version: int) -> None:
    try:
        step(connection)
        connection.execute("UPDATE meta SET value = ? WHERE name = 'schema_version'", (str(version + 1),))
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise StoreError(
            f"The store could not be brought from schema version {version} to {version + 1}: {error}. "
            "It is unchanged; check that the disk has room and that the file may be written."
        ) from error
