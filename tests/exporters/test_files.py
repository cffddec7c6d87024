"""Files appear whole or not at all, and never in the place of a recording."""

import sqlite3
from pathlib import Path

import pytest

from tokenflation.exporters.files import atomic_file
from tokenflation.sdk.errors import ExportError


def test_a_database_is_never_written_over(tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    connection = sqlite3.connect(store)
    connection.execute("CREATE TABLE t (x)")
    connection.close()
    before = store.read_bytes()
    with pytest.raises(ExportError, match="unchanged"), atomic_file(store) as file:
        file.write(b"report")
    assert store.read_bytes() == before


def test_a_name_that_the_disk_refuses_is_told(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 250)
    with pytest.raises(ExportError, match="not written: File name too long"), atomic_file(path) as file:
        file.write(b"report")
    assert list(tmp_path.iterdir()) == []


def test_what_many_take_for_standard_output_makes_no_file_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportError, match="not written to standard output"), atomic_file(Path("-")):
        pass
    assert list(tmp_path.iterdir()) == []
