"""A store that may not be written: seen as a user without rights to it, since root may write everything."""

import multiprocessing
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.store.builders import call

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.journals.journal import Begun, Ended, Journal
from tokenflation.sdk.store.keys import load_key
from tokenflation.sdk.store.write import Batch, StoreUnwritableError, open_writer

NOBODY = 65534
# Later Pythons warn of any fork beside threads, such as another test's server; ours only opens files.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)  # others must be able to look inside
        yield Path(name)


def _as_nobody(function: Callable[[Path], None], store: Path) -> int | None:
    context = multiprocessing.get_context("fork")
    child = context.Process(target=_run, args=(function, store))
    child.start()
    child.join(30)
    return child.exitcode


def _run(function: Callable[[Path], None], store: Path) -> None:
    if os.getuid() == 0:
        os.setuid(NOBODY)
    else:
        for path in (*store.parent.iterdir(), store.parent):
            path.chmod(0o555)
    function(store)


def _opening_is_refused(store: Path) -> None:
    with pytest.raises(StoreUnwritableError, match="cannot be written"):
        open_writer(store)


def _info_is_shown(store: Path) -> None:
    assert info(store)["rows"]["calls"] == 1


def _calls_of_others_are_told(store: Path) -> None:
    assert info(store)["left_beside"] == 1


def _calls_of_others_are_added(store: Path) -> None:
    found = info(store)
    assert (found["rows"]["calls"], found["left_beside"]) == (1, 0)


def _keys_differ(store: Path) -> None:
    assert load_key(store) != load_key(store)


def test_a_read_only_store_cannot_be_opened_for_writing(folder: Path) -> None:
    open_writer(folder / "runs.db").close()
    assert _as_nobody(_opening_is_refused, folder / "runs.db") == 0


def test_a_store_cannot_be_made_in_a_read_only_folder(folder: Path) -> None:
    assert _as_nobody(_opening_is_refused, folder / "runs.db") == 0


def test_a_read_only_store_in_a_read_only_folder_can_be_read(folder: Path) -> None:
    writer = open_writer(folder / "runs.db")
    writer.write(Batch(calls=[call(1)]))
    writer.close()
    assert _as_nobody(_info_is_shown, folder / "runs.db") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is another user at will")
@pytest.mark.parametrize(
    ("may_write", "seen"), [(False, _calls_of_others_are_told), (True, _calls_of_others_are_added)]
)
def test_what_a_killed_process_of_another_user_left_is_for_whoever_may_have_the_store(
    folder: Path, may_write: bool, seen: Callable[[Path], None]
) -> None:
    store = folder / "runs.db"
    open_writer(store).close()
    if may_write:
        for path in (store, folder):
            os.chown(path, NOBODY, NOBODY)
    journal = Journal.open(store)
    now = now_ns()
    journal.end(journal.begin(Begun("c1", now, "openai.responses", "openai")), Ended(now, "read", 200))
    journal.leave()
    assert _as_nobody(seen, store) == 0


def test_without_a_writable_folder_the_key_lives_in_memory(folder: Path) -> None:
    assert _as_nobody(_keys_differ, folder / "runs.db") == 0
    assert list(folder.iterdir()) == []


def test_a_store_that_becomes_read_only_raises_and_can_be_written_again(folder: Path) -> None:
    writer = open_writer(folder / "runs.db")
    writer._connection.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        writer.write(Batch(calls=[call(1)]))
    writer._connection.execute("PRAGMA query_only = OFF")
    assert writer.write(Batch(calls=[call(1)])) == 1
    writer.close()
