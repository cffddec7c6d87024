"""Folders in which processes cannot share memory by a file, as some that virtual machines share: one made by FUSE."""

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.recording.programs import run
from tests.store.builders import call

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.write import Batch, open_writer


@pytest.fixture
def unshared(tmp_path: Path) -> Iterator[Path]:
    """A folder whose files cannot be shared as memory."""
    below, folder = tmp_path / "below", tmp_path / "unshared"
    below.mkdir()
    folder.mkdir()
    if shutil.which("bindfs") is None:
        pytest.skip("there is no bindfs")
    made = subprocess.run(["bindfs", "-o", "direct_io", str(below), str(folder)], check=False, capture_output=True)
    if made.returncode:
        pytest.skip(f"nothing can be mounted here: {made.stderr.decode()}")
    yield folder
    subprocess.run(["fusermount3", "-uz", str(folder)], check=False, capture_output=True)


def _mode(store: Path) -> str:
    with closing(sqlite3.connect(store)) as connection:
        return str(connection.execute("PRAGMA journal_mode").fetchone()[0])


def test_a_program_records_where_no_memory_can_be_shared(provider: Provider, unshared: Path) -> None:
    program = """
    handle = tf.instrument(store)
    with httpx.Client() as client:
        for _ in range(3):
            ask(client)
            handle.flush()
    handle.close()
    """
    done = run(program, provider, unshared / "runs.db")
    assert done.returncode == 0, done.stderr
    found = info(unshared / "runs.db")
    assert (found["rows"]["calls"], found["lost"]) == (3, 0)


def test_a_store_that_was_made_elsewhere_is_written_there_and_has_its_log_again_where_it_can(
    unshared: Path, tmp_path: Path
) -> None:
    source = tmp_path / "runs.db"
    open_writer(source).close()
    assert _mode(source) == "wal"
    for place, mode in ((unshared / "runs.db", "delete"), (tmp_path / "back.db", "wal")):
        shutil.copy(source, place)
        source = place
        with closing(open_writer(place)) as writer:
            writer.write(Batch(calls=[call(1)]))
        assert info(place)["rows"]["calls"] == 1
        assert _mode(place) == mode


def test_another_programs_database_is_left_as_it_is_there(unshared: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (a)")
    shutil.copy(tmp_path / "other.db", unshared / "other.db")
    with pytest.raises(StoreError, match="not a tokenflation store"):
        open_writer(unshared / "other.db")
    assert (unshared / "other.db").read_bytes() == (tmp_path / "other.db").read_bytes()
