"""Opening a store for reading, and what it says of itself."""

import sqlite3
from pathlib import Path

import pytest
import sqlalchemy as sa
from tests.store.builders import call

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.losses import forget_losses, note_losses
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.store.schema import table
from tokenflation.sdk.store.tables import SCHEMA_VERSION
from tokenflation.sdk.store.write import Batch, open_writer


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "runs.db"
    writer = open_writer(path, created_by="a test")
    writer.write(
        Batch(
            calls=[
                call(1, input_tokens=100, output_tokens=10),
                call(2, depth=1, task_id="T-1", input_tokens=50, provider="anthropic", model="c"),
                call(3, task="answer", usage_source="absent", status="cut", ended_at_ns=1_800_000_000_000_000_000),
            ],
            drops={"queue_full": 2},
            writer_id="one",
        )
    )
    writer.write(Batch(drops={"queue_full": 3, "parser_error": 0}, writer_id="two"))
    writer.close()
    return path


def test_info_counts_rows_tasks_and_sub_agents(store: Path) -> None:
    found = info(store)
    assert found["rows"]["calls"] == 3
    assert found["tasks"] == {"answer": 1, "triage": 1}
    assert (found["agent_runs"], found["sub_agent_runs"], found["sub_agent_calls"]) == (3, 1, 1)
    assert (found["schema_version"], found["created_by"], found["key_file"]) == (SCHEMA_VERSION, "a test", "ok")


def test_info_sums_tokens_by_model_and_says_where_usage_came_from(store: Path) -> None:
    found = info(store)
    assert (found["input_tokens"], found["output_tokens"]) == (150, 10)
    assert {row["model"]: row["input_tokens"] for row in found["models"]} == {"c": 50, "m": 100}
    assert found["usage_source"] == {"absent": 1, "provider": 2}
    assert found["status"] == {"cut": 1, "ok": 2}
    assert (found["first_started_at_ns"], found["last_ended_at_ns"]) == (
        1_700_000_000_000_000_001,
        1_800_000_000_000_000_000,
    )


def test_info_adds_up_what_every_writer_lost(store: Path) -> None:
    note_losses(store, "three", {"store_error:OSError": 4})
    found = info(store)
    forget_losses(store, "three")
    assert found["drops"] == {"queue_full": 5, "store_error:OSError": 4}
    assert found["lost"] == 9


def test_losses_are_shown_where_the_store_could_not_even_be_made(tmp_path: Path) -> None:
    note_losses(tmp_path / "never.db", "one", {"waiting_for_store": 7})
    assert info(tmp_path / "never.db")["lost"] == 7


def test_a_store_without_calls_is_described_too(tmp_path: Path) -> None:
    open_writer(tmp_path / "new.db").close()
    found = info(tmp_path / "new.db")
    assert (found["rows"]["calls"], found["tasks"], found["lost"]) == (0, {}, 0)


def test_an_engine_of_a_store_reads_and_cannot_write(store: Path) -> None:
    engine = open_store(store)
    with engine.connect() as connection:
        assert len(connection.execute(sa.select(table("calls"))).all()) == 3
        with pytest.raises(sa.exc.OperationalError, match="readonly"):
            connection.execute(sa.delete(table("calls")))
    engine.dispose()


def test_a_store_that_is_being_written_can_be_read(store: Path) -> None:
    writer = open_writer(store)
    with writer.transaction():
        writer.write(Batch(calls=[call(9)]))
        assert info(store)["rows"]["calls"] == 3
    assert info(store)["rows"]["calls"] == 4
    writer.close()


def test_a_missing_file_an_empty_one_and_another_kind_are_each_named(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    (tmp_path / "text.db").write_text("hello, this is not a database")
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (x)").connection.close()
    for name, what in (
        ("none.db", "no such file"),
        ("empty.db", "holds no calls"),
        ("text.db", "no SQLite file"),
        ("other.db", "not a tokenflation store"),
        (".", "is a folder"),
    ):
        with pytest.raises(StoreError, match=what):
            open_store(tmp_path / name)


def test_a_newer_store_is_not_read(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match="version 99"):
        info(store)


def test_a_damaged_store_is_named(store: Path) -> None:
    store.write_bytes(store.read_bytes()[:100] + b"\xff" * 8000)
    with pytest.raises(StoreError, match="cannot be read"):
        info(store)
