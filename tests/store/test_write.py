"""The writer of the hot path."""

import contextlib
import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.store.builders import call, span

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.records import Attempt, ToolRun
from tokenflation.sdk.store import write
from tokenflation.sdk.store.opening import reader
from tokenflation.sdk.store.tables import SCHEMA_VERSION
from tokenflation.sdk.store.write import Batch, SqliteWriter, StoreUnwritableError, open_writer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def writer(store: Path) -> Iterator[SqliteWriter]:
    made = open_writer(store)
    yield made
    made.close()


def _rows(store: Path, query: str) -> list[Any]:
    connection = sqlite3.connect(store)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def test_every_kind_of_row_arrives(writer: SqliteWriter, store: Path) -> None:
    attempt = Attempt(call_id="a", attempt=0, status_code=200, error_type=None, started_at_ns=1, ended_at_ns=2)
    run = ToolRun(call_id="a", tool_call_id="t", name="search")
    batch = Batch(calls=(call(1),), attempts=(attempt,), tool_runs=(run,), spans=(span(1),), drops={"queue_full": 3})
    assert writer.write(batch) == 1
    counts = [
        _rows(store, f"SELECT count(*) FROM {name}")[0][0] for name in ("calls", "attempts", "tool_calls", "spans")
    ]
    assert counts == [1, 1, 1, 1]
    assert _rows(store, "SELECT outcome FROM spans") == [(1,)]
    assert _rows(store, "SELECT reason, count FROM drops") == [("queue_full", 3)]


def test_values_are_stored_as_their_columns_say(writer: SqliteWriter, store: Path) -> None:
    made = call(1, stream=True, finish_reasons=("stop", "length"), extra={"b": 1, "a": [2]}, block_hashes=b"x" * 8)
    writer.write(Batch(calls=[made]))
    found = _rows(store, "SELECT stream, usage_complete, finish_reasons, extra, block_hashes, input_tokens FROM calls")
    assert found == [(1, 0, '["stop","length"]', '{"a":[2],"b":1}', b"x" * 8, None)]


def test_a_call_written_again_is_replaced_and_not_counted_as_new(writer: SqliteWriter, store: Path) -> None:
    writer.write(Batch(calls=[call(1), call(2)]))
    assert writer.write(Batch(calls=[call(2, model="new"), call(3)])) == 1
    assert _rows(store, "SELECT model FROM calls ORDER BY call_id") == [("m",), ("new",), ("m",)]


def test_a_call_that_is_taken_out_and_comes_again_is_counted_once(writer: SqliteWriter) -> None:
    grown = [writer.write(Batch(calls=[call(1), call(2)]))]
    grown.append(writer.write(Batch(gone=[call(2).call_id, "never there"])))
    grown.append(writer.write(Batch(gone=[call(1).call_id], calls=[call(1), call(2), call(3)])))
    assert grown == [2, -1, 2]


def test_a_call_written_again_can_be_left_as_it_is(writer: SqliteWriter, store: Path) -> None:
    writer.write(Batch(calls=[call(1)]))
    assert writer.write(Batch(calls=[call(1, model="new"), call(2)]), replace=False) == 1
    assert _rows(store, "SELECT model FROM calls ORDER BY call_id") == [("m",), ("m",)]


def test_drops_are_totals_of_their_writer_and_do_not_add_up_when_it_reopens(store: Path) -> None:
    for count in (2, 5):
        writer = open_writer(store)
        writer.write(Batch(drops={"queue_full": count}, writer_id="recorder"))
        writer.close()
    assert _rows(store, "SELECT writer_id, count FROM drops") == [("recorder", 5)]


def test_a_batch_that_fails_leaves_nothing_behind_and_the_writer_goes_on(writer: SqliteWriter, store: Path) -> None:
    broken = call(2, provider=None)
    with pytest.raises(sqlite3.IntegrityError):
        writer.write(Batch(calls=[call(1), broken]))
    assert _rows(store, "SELECT count(*) FROM calls") == [(0,)]
    assert writer.write(Batch(calls=[call(1)])) == 1


def test_a_full_disk_raises_and_the_same_batch_can_be_written_once_there_is_room(
    writer: SqliteWriter, store: Path
) -> None:
    batch = Batch(calls=[call(number, extra={"text": "x" * 4000}) for number in range(50)])
    pages = writer._connection.execute("PRAGMA page_count").fetchone()[0]
    writer._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        writer.write(batch)
    assert _rows(store, "SELECT count(*) FROM calls") == [(0,)]
    writer._connection.execute("PRAGMA max_page_count = 1000000")
    assert writer.write(batch) == 50


def test_a_value_that_no_database_can_hold_costs_only_itself(writer: SqliteWriter, store: Path) -> None:
    odd: Any = Path("/m")
    wrong = (
        call(1, model="\ud800"),
        call(2, input_tokens=2**70),
        call(3, extra={"x": float("nan")}),
        call(4, model=odd),
    )
    writer.write(Batch(calls=wrong))
    found = _rows(store, "SELECT model, input_tokens, extra FROM calls ORDER BY call_id")
    assert found == [("?", None, "{}"), ("m", None, "{}"), ("m", None, '{"x":null}'), ("/m", None, "{}")]


def test_batches_inside_one_transaction_are_undone_together(writer: SqliteWriter, store: Path) -> None:
    def write_and_fail() -> None:
        with writer.transaction():
            writer.write(Batch(calls=[call(1)]))
            writer.write(Batch(calls=[call(2)]))
            raise KeyError

    with pytest.raises(KeyError):
        write_and_fail()
    assert _rows(store, "SELECT count(*) FROM calls") == [(0,)]
    assert writer.write(Batch(calls=[call(3)])) == 1


def test_another_thread_than_the_one_that_opened_it_may_write(writer: SqliteWriter, store: Path) -> None:
    thread = threading.Thread(target=writer.write, args=(Batch(calls=[call(1)]),))
    thread.start()
    thread.join()
    assert _rows(store, "SELECT count(*) FROM calls") == [(1,)]


_WRITE_MANY = """
import sys
from tests.store.builders import call
from tokenflation.sdk.store.write import Batch, open_writer
process = int(sys.argv[2])
writer = open_writer(sys.argv[1])
for batch in range(20):
    first = process * 1000 + batch * 10
    assert writer.write(Batch(calls=[call(number) for number in range(first, first + 10)])) == 10
writer.close()
"""


def test_eight_processes_that_create_and_write_one_store_at_once_lose_nothing(store: Path) -> None:
    commands = [[sys.executable, "-c", _WRITE_MANY, str(store), str(number)] for number in range(8)]
    workers = [subprocess.Popen(command, cwd=ROOT) for command in commands]
    assert [worker.wait(60) for worker in workers] == [0] * 8
    assert _rows(store, "SELECT count(*), count(DISTINCT call_id) FROM calls") == [(1600, 1600)]
    assert _rows(store, "SELECT value FROM meta WHERE name = 'schema_version'") == [(str(SCHEMA_VERSION),)]


def test_a_store_that_another_process_makes_between_two_looks_is_ours(
    store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = write.read_version

    def before_the_other(connection: sqlite3.Connection) -> int | None:
        monkeypatch.setattr(write, "read_version", look)
        version = look(connection)
        open_writer(store).close()
        return version

    monkeypatch.setattr(write, "read_version", before_the_other)
    with contextlib.closing(open_writer(store)) as writer:
        assert writer.tasks_of(["none"]) == {}


def test_an_empty_file_becomes_a_store(store: Path) -> None:
    store.touch()
    open_writer(store).close()
    assert dict(_rows(store, "SELECT name, value FROM meta"))["schema_version"] == str(SCHEMA_VERSION)


@pytest.mark.parametrize("text", ["x", "these are my notes, not a database", "a line of notes\n" * 1000])
def test_a_file_that_is_no_database_is_refused_and_unchanged(store: Path, text: str) -> None:
    store.write_text(text)
    with pytest.raises(StoreError, match="no SQLite file"):
        open_writer(store)
    assert store.read_text() == text
    assert [path.name for path in store.parent.iterdir()] == ["runs.db"]


def test_another_programs_database_is_refused_and_unchanged(store: Path) -> None:
    connection = sqlite3.connect(store)
    connection.execute("CREATE TABLE meta (name TEXT)")
    connection.close()
    before = store.read_bytes()
    with pytest.raises(StoreError, match="not a tokenflation store"):
        open_writer(store)
    assert store.read_bytes() == before
    assert [path.name for path in store.parent.iterdir()] == ["runs.db"]


def test_a_newer_store_is_refused_with_the_way_out(store: Path) -> None:
    open_writer(store).close()
    connection = sqlite3.connect(store)
    connection.execute("UPDATE meta SET value = '99' WHERE name = 'schema_version'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreError, match=r"version 99.*pip install -U"):
        open_writer(store)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"folder .*nowhere does not exist"):
        open_writer(tmp_path / "nowhere" / "runs.db")


def test_a_database_is_refused_as_one(tmp_path: Path) -> None:
    url = tmp_path / "postgresql+psycopg:" / "user@host" / "runs"  # what a path makes of a URL
    with pytest.raises(StoreError, match="a database can only be read"):
        open_writer(url)
    with pytest.raises(
        StoreError,
        match=r"postgresql\+psycopg://\.\.\. is the address of a database: this command reads a store's file",
    ):
        reader(url)


def test_the_url_of_a_file_is_not_called_a_database(tmp_path: Path) -> None:
    url = tmp_path / "sqlite:" / "runs.db"
    with pytest.raises(StoreError, match="a store is a file: give its path alone, without `sqlite:///`"):
        open_writer(url)
    with pytest.raises(StoreError, match=r"^runs.db: a store is a file: give its path alone"):
        reader(url)


def test_a_folder_is_not_taken_for_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is a folder"):
        open_writer(tmp_path)


def test_a_locked_store_is_reported_as_unwritable(writer: SqliteWriter, store: Path) -> None:
    other = open_writer(store, timeout_s=0.05)
    with writer.transaction():
        writer.write(Batch(calls=[call(1)]))
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.write(Batch(calls=[call(2)]))
    assert other.write(Batch(calls=[call(2)])) == 1
    other.close()


def test_unwritable_is_an_os_error_so_that_a_recorder_can_go_on() -> None:
    error = StoreUnwritableError("it is read-only")
    assert isinstance(error, OSError)
    assert isinstance(error, StoreError)
    assert str(error) == "it is read-only"


def test_extra_is_valid_json_whatever_it_holds(writer: SqliteWriter, store: Path) -> None:
    writer.write(Batch(calls=[call(1, extra={"at": Path("x"), "ü": "\ud800"})]))
    assert json.loads(_rows(store, "SELECT extra FROM calls")[0][0]) == {"at": "x", "ü": "\ud800"}


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    with pytest.raises(StoreError, match="not a store"):
        open_writer(tmp_path / "pipe")
