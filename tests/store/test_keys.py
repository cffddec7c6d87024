"""The key of the prompt hashes."""

import errno
import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.keys import key_file, key_id, load_key, read_key
from tokenflation.sdk.store.write import open_writer

# Later Pythons warn of any fork beside threads, such as another test's server; ours only opens files.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


def test_a_store_keeps_its_key_and_two_stores_differ(tmp_path: Path) -> None:
    assert load_key(tmp_path / "a.db") == load_key(tmp_path / "a.db")
    assert load_key(tmp_path / "a.db") != load_key(tmp_path / "b.db")
    assert len(load_key(tmp_path / "a.db")) == 16


def test_only_the_owner_may_read_the_key(tmp_path: Path) -> None:
    load_key(tmp_path / "a.db")
    assert stat.S_IMODE(key_file(tmp_path / "a.db").stat().st_mode) == 0o600


def test_the_database_names_its_key_without_holding_it(tmp_path: Path) -> None:
    open_writer(tmp_path / "a.db").close()
    key = load_key(tmp_path / "a.db")
    content = (tmp_path / "a.db").read_bytes()
    assert key_id(key).encode() in content
    assert key not in content
    assert key.hex().encode() not in content


def _load(store: Path, results: "multiprocessing.SimpleQueue[bytes]") -> None:
    results.put(load_key(store))


def test_processes_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    workers = [context.Process(target=_load, args=(tmp_path / "a.db", results)) for _ in range(8)]
    for worker in workers:
        worker.start()
    keys = {results.get() for _ in workers}
    for worker in workers:
        worker.join()
    assert keys == {load_key(tmp_path / "a.db")}
    assert [path.name for path in tmp_path.iterdir()] == ["a.db.key"]


def test_a_file_that_holds_no_key_is_refused_with_the_way_out(tmp_path: Path) -> None:
    key_file(tmp_path / "a.db").write_text("not a key")
    with pytest.raises(StoreError, match="remove"):
        load_key(tmp_path / "a.db")


def test_a_missing_key_is_not_made_by_reading(tmp_path: Path) -> None:
    assert read_key(tmp_path / "a.db") is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP])
def test_a_file_system_without_hard_links_keeps_the_key_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def link(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", link)
    key = load_key(tmp_path / "runs.db")
    assert load_key(tmp_path / "runs.db") == key
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db.key"]
