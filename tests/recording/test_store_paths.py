"""The paths that hosts give for their stores, and the folders that they take away while they run."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.contents import info
from tokenflation.sdk.store.journals.journal import Begun, Journal
from tokenflation.sdk.store.journals.recover import recover
from tokenflation.sdk.store.keys import read_key
from tokenflation.sdk.store.losses import read_losses


def ask(provider: Provider) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    assert httpx.post(f"{provider.openai_url}/chat/completions", json=body).is_success


@pytest.fixture
def gone(tmp_path: Path) -> Iterator[Path]:
    """The current folder, which is there no more."""
    before = Path.cwd()
    folder = tmp_path / "gone"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    yield folder
    os.chdir(before)


@pytest.fixture
def linked(tmp_path: Path) -> tuple[Path, Path]:
    """A store, and another name of it in another folder."""
    store, link = tmp_path / "real" / "runs.db", tmp_path / "link.db"
    store.parent.mkdir()
    link.symlink_to(store)
    return store, link


@pytest.mark.usefixtures("gone")
def test_a_relative_path_in_a_folder_that_is_gone_is_refused_with_the_reason() -> None:
    with pytest.raises(StoreError, match="current folder does not exist"):
        tf.instrument("runs.db")


@pytest.mark.usefixtures("gone")
def test_a_whole_path_serves_where_the_current_folder_is_gone(provider: Provider, tmp_path: Path) -> None:
    with tf.instrument(tmp_path / "runs.db") as handle:
        ask(provider)
    assert (handle.recorded, handle.drops) == (1, {})


def test_a_path_with_a_null_character_is_refused_with_the_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="null character"):
        tf.instrument(tmp_path / "a\0b.db")


@pytest.mark.parametrize("name", ["runs\udcff.db", "läufe-走る.db", "a?b#c%41.db", "x" * 200])
def test_any_name_that_a_file_may_have_serves(provider: Provider, tmp_path: Path, name: str) -> None:
    with tf.instrument(tmp_path / name) as handle:
        ask(provider)
    assert (handle.recorded, handle.drops) == (1, {})


def test_all_names_of_a_store_share_one_key(provider: Provider, linked: tuple[Path, Path]) -> None:
    for name in reversed(linked):
        with tf.instrument(name):
            ask(provider)
    assert read_key(linked[0]) == read_key(linked[1])
    assert [info(name)["key_file"] for name in linked] == ["ok", "ok"]


def test_a_killed_process_that_used_another_name_of_the_store_has_its_calls_in_it(linked: tuple[Path, Path]) -> None:
    store, link = linked
    tf.instrument(store).close()
    journal = Journal.open(link)
    journal.begin(Begun(call_id="1", api="openai.chat", started_at_ns=1, provider="openai"))
    journal.leave()
    assert recover(store) == 1


def test_without_a_folder_for_temporary_files_a_failing_store_is_waited_for(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    folder, away = tmp_path / "there", tmp_path / "away"
    folder.mkdir()
    with tf.instrument(folder / "runs.db") as handle:
        folder.rename(away)
        ask(provider)
        handle.flush()
        assert read_losses(folder / "runs.db") == {}
        shutil.move(away, folder)
        ask(provider)
        handle.flush()
    assert (handle.recorded, handle.drops) == (2, {})
