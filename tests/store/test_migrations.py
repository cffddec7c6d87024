"""Bringing an older store up to date."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.store.builders import call

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.migrations import STEPS, migrate, read_version
from tokenflation.sdk.store.tables import SCHEMA_VERSION, TABLES, column_names
from tokenflation.sdk.store.write import Batch, open_writer

ADDED = {
    "calls": (
        "inside_call_id", "branch", "continues_evidence", "inside_evidence", "structure_strength", "after_call_id",
        "previous_response_id", "conversation_id", "instructions_hash", "kept_messages", "history", "answers",
        "prompted_by", "reasoning_blocks",
    ),
    "tool_calls": ("run_span_id", "arguments_hash", "failed"),
    "spans": ("arguments_bytes", "result_bytes", "censored_by"),
}  # fmt: skip
"""Columns that version 1 did not have."""


@pytest.fixture
def older(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """Yield a connection to a store of version 1 that holds a call."""
    writer = open_writer(tmp_path / "runs.db")
    writer.write(Batch(calls=[call(1)]))
    writer.close()
    connection = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    connection.execute("UPDATE meta SET value = '1' WHERE name = 'schema_version'")
    yield connection
    connection.close()


def _add_region(connection: sqlite3.Connection) -> None:
    connection.execute("ALTER TABLE calls ADD COLUMN region TEXT")


def _fill_region(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE calls SET region = 'eu'")


def _fail_half_way(connection: sqlite3.Connection) -> None:
    connection.execute("UPDATE calls SET region = 'lost'")
    connection.execute("UPDATE nowhere SET x = 1")


def test_the_current_version_is_one_more_than_the_steps() -> None:
    assert len(STEPS) + 1 == SCHEMA_VERSION


def test_an_older_store_goes_through_every_step_in_order_and_keeps_its_rows(older: sqlite3.Connection) -> None:
    assert migrate(older, steps=(_add_region, _fill_region)) == 3
    assert read_version(older) == 3
    assert older.execute("SELECT region FROM calls").fetchall() == [("eu",)]


def test_a_store_of_version_1_gets_the_columns_that_came_later(older: sqlite3.Connection) -> None:
    for table, names in ADDED.items():
        for name in names:
            older.execute(f"ALTER TABLE {table} DROP COLUMN {name}")
    older.execute("DROP TABLE task_names")
    migrate(older)
    found = {table.name: {row[1] for row in older.execute(f"PRAGMA table_info({table.name})")} for table in TABLES}
    assert found == {table.name: set(column_names(table)) for table in TABLES}


def test_only_the_missing_steps_run(older: sqlite3.Connection) -> None:
    migrate(older, steps=(_add_region,))
    assert migrate(older, steps=(_add_region, _fill_region)) == 3
    assert migrate(older, steps=(_add_region, _fill_region)) == 3


def test_a_step_that_fails_leaves_the_store_as_it_was_before_it(older: sqlite3.Connection) -> None:
    with pytest.raises(StoreError, match="from schema version 2 to 3"):
        migrate(older, steps=(_add_region, _fail_half_way))
    assert read_version(older) == 2
    assert older.execute("SELECT region FROM calls").fetchall() == [(None,)]
    assert not older.in_transaction


def test_a_newer_store_is_refused(older: sqlite3.Connection) -> None:
    older.execute("UPDATE meta SET value = '5' WHERE name = 'schema_version'")
    with pytest.raises(StoreError, match="version 5"):
        migrate(older, steps=(_add_region,))
    assert not older.in_transaction


def test_a_database_without_a_version_is_refused() -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    with pytest.raises(StoreError, match="no tokenflation store"):
        migrate(connection)
    connection.close()
