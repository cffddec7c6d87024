"""Losses that are noted outside a store, where it cannot take them."""

import contextlib
import errno
import os
import sqlite3
import tempfile
from collections import Counter
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
from tests.store.builders import call

from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.losses import forget_losses, note_losses, note_written, read_losses
from tokenflation.sdk.store.outbox import Outbox
from tokenflation.sdk.store.write import SqliteWriter, open_writer


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="users have no numbers here")
def test_the_notes_of_all_users_count_and_no_user_is_in_the_way_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    store = tmp_path / "gone" / "runs.db"
    mine = note_losses(store, "mine", {"store_error:OSError": 1})
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    theirs = note_losses(store, "theirs", {"store_error:OSError": 2, "queue_full": 1})
    assert mine is not None
    assert theirs is not None
    assert mine.parent != theirs.parent
    assert read_losses(store) == {"store_error:OSError": 3, "queue_full": 1}
    forget_losses(store, "theirs")
    assert read_losses(store) == {"store_error:OSError": 1}


def test_losses_of_a_store_that_was_removed_are_not_those_of_the_next_one_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    store = tmp_path / "runs.db"
    note_losses(store, "early", {"store_error:OSError": 1})
    open_writer(store).close()
    assert info(store)["lost"] == 1  # of a program that had no store at all
    (tmp_path / "runs.db.lost-far.json").mkdir()  # so that it is noted elsewhere
    for writer_id in ("near", "far"):
        note_losses(store, writer_id, {"store_error:OSError": 2})
    (tmp_path / "runs.db.lost-far.json").rmdir()
    assert info(store)["lost"] == 5
    store.unlink()
    open_writer(store).close()
    assert info(store)["lost"] == 0


def test_losses_of_a_store_that_a_full_disk_left_without_tables_stay_its_own(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    with closing(sqlite3.connect(store)) as connection:  # as SQLite leaves it where its log finds no room
        connection.execute("PRAGMA journal_mode = WAL")
    note_losses(store, "full", {"store_error:StoreUnwritableError": 7})
    open_writer(store).close()
    assert info(store)["lost"] == 7


def test_what_somebody_else_wrote_later_is_no_loss(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    note = note_losses(store, "dead", {"waiting_for_store": 3, "queue_full": 1})
    assert note is not None
    note_written(store, "dead", 2)
    note_written(store, "other", 7)
    assert read_losses(store) == {"waiting_for_store": 1, "queue_full": 1}
    note_written(store, "dead", 5)
    assert read_losses(store) == {"queue_full": 1}
    note.write_text("damaged")
    note_written(store, "dead", 1)
    assert note.read_text() == "damaged"


def test_a_note_of_what_all_stands_in_the_store_is_removed(tmp_path: Path) -> None:
    note = note_losses(tmp_path / "runs.db", "dead", {"waiting_for_store": 3})
    assert note is not None
    note_written(tmp_path / "runs.db", "dead", 3)
    assert not note.exists()


def test_a_note_for_which_there_is_no_room_is_written_elsewhere_and_counts_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    store = tmp_path / "runs.db"
    first = note_losses(store, "mine", {"queue_full": 1, "waiting_for_store": 5})
    assert first is not None
    os.utime(first, (1, 1))

    def full(path: Path, text: str, encoding: str) -> int:
        path.write_bytes(b"")  # the name has room, what stands in the file has not
        if path.parent == tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device")
        return path.write_bytes(text.encode(encoding))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", full)
        second = note_losses(store, "mine", {"queue_full": 7})
    assert second is not None
    assert second.parent != tmp_path
    assert list(tmp_path.glob("runs.db*")) == [first]
    assert read_losses(store) == {"queue_full": 7}
    forget_losses(store, "mine")
    assert read_losses(store) == {}


@pytest.mark.parametrize("text", ["", "[]", '{"drops": 1}', '{"drops": {"queue_full": "many"}}', '{"drops": null}'])
def test_a_note_that_says_nothing_counts_as_one_loss(tmp_path: Path, text: str) -> None:
    (tmp_path / "runs.db.lost-mine.json").write_text(text)
    assert read_losses(tmp_path / "runs.db") == {"unreadable_note": 1}


def test_attempts_of_one_call_that_the_journal_keeps_are_one_record(tmp_path: Path) -> None:
    drops: Counter[str] = Counter()
    outbox = Outbox(str(tmp_path / "runs.db"), open_writer=partial(open_writer, tmp_path / "runs.db"), drops=drops,
                    writer_id="mine")  # fmt: skip
    outbox.add(call(1), (), ())
    outbox.give_up(2)
    outbox.close()
    assert (outbox.left, drops, read_losses(tmp_path / "runs.db")) == (1, {}, {"waiting_for_store": 1})


def test_a_loss_that_is_counted_while_rows_are_written_is_written_after_them(tmp_path: Path) -> None:
    store, drops = tmp_path / "runs.db", Counter({"queue_full": 1})

    def count_another(statement: str) -> None:
        if statement.startswith("COMMIT"):
            drops["queue_full"] = 2

    def opened() -> SqliteWriter:
        writer = open_writer(store)
        writer._connection.set_trace_callback(count_another)
        return writer

    outbox = Outbox(str(store), open_writer=opened, drops=drops, writer_id="mine")
    assert outbox.write()
    assert outbox.due()
    assert outbox.write()
    outbox.close()
    assert info(store)["drops"] == {"queue_full": 2}


def test_what_is_written_as_the_log_is_taken_away_is_written_again(tmp_path: Path) -> None:
    store, log = tmp_path / "runs.db", tmp_path / "runs.db-wal"
    log_is_taken = []

    def take_log(statement: str) -> None:
        if statement.startswith("COMMIT") and not log_is_taken:
            log_is_taken.append(log.unlink())

    def opened() -> SqliteWriter:
        writer = open_writer(store)
        writer._connection.set_trace_callback(take_log)
        return writer

    outbox = Outbox(str(store), open_writer=opened, drops=Counter(), writer_id="mine")
    outbox.add(call(1), (), ())
    assert not outbox.write()
    assert read_losses(store) == {"waiting_for_store": 1}
    assert outbox.write()
    assert (info(store)["rows"]["calls"], info(store)["lost"]) == (1, 0)
    outbox.close()


def test_a_connection_that_the_host_has_to_the_store_as_it_is_opened_is_not_taken_for_the_recorders(
    tmp_path: Path,
) -> None:
    store, hosts_own = tmp_path / "runs.db", []

    def opened() -> SqliteWriter:
        writer = open_writer(store)
        connection = sqlite3.connect(store)  # a page that shows the store, in another thread
        connection.execute("SELECT count(*) FROM calls").fetchone()
        hosts_own.append(connection)
        return writer

    outbox = Outbox(str(store), open_writer=opened, drops=Counter(), writer_id="mine")
    outbox.add(call(1), (), ())
    assert outbox.write()
    hosts_own.pop().close()
    with contextlib.ExitStack() as files:
        for number in range(8):  # whose numbers are those of the connection that was closed
            files.enter_context((tmp_path / f"own-{number}").open("wb"))
        outbox.add(call(2), (), ())
        assert outbox.write()
        outbox.close()
    assert (info(store)["rows"]["calls"], info(store)["lost"]) == (2, 0)
