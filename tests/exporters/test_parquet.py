"""Sealing calls into Parquet segments: nothing lost, nothing twice, nothing half-written, running tasks wait."""

import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from pandas.testing import assert_frame_equal
from tests.analysis.conftest import ORIGIN_NS, SECOND_NS, complete, frame_of, write_store

from tokenflation import analysis as an
from tokenflation.cli import main
from tokenflation.exporters import write
from tokenflation.exporters.parquet import seal
from tokenflation.sdk.errors import ExportError

LATER_NS = ORIGIN_NS + 10**6 * SECOND_NS


def _rows(tasks: int, first: int = 0, **fields: Any) -> list[dict[str, Any]]:
    return [
        {"call_id": f"{task:08x}{step:08x}", "task_id": f"t{task}", "agent_run_id": f"r{task}", "step": step,
         "started_at_ns": ORIGIN_NS + (10 * task + step) * SECOND_NS, "input_tokens": 100 * step + 64,
         "ended_at_ns": ORIGIN_NS + (10 * task + step) * SECOND_NS + 9, "block_hashes": b"12345678", **fields}
        for task in range(first, first + tasks)
        for step in range(3)
    ]  # fmt: skip


def _add(path: Path, rows: list[dict[str, Any]]) -> None:
    with closing(sqlite3.connect(path)) as connection:
        full = [complete(row, place) for place, row in enumerate(rows)]
        connection.executemany(
            f"insert into calls values ({', '.join('?' * len(full[0]))})", [tuple(row.values()) for row in full]
        )
        connection.commit()


def _store(path: Path, rows: list[dict[str, Any]]) -> Path:
    write_store(path, rows)
    _run(path, "insert into meta values ('key_id', 'abcdef')")
    return path


def _run(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(text)
        connection.commit()


def _segments(folder: Path) -> dict[str, int]:
    return {file.name: file.stat().st_mtime_ns for file in sorted(folder.glob("*.parquet"))}


def test_a_folder_of_segments_holds_the_calls_of_the_store(tmp_path: Path) -> None:
    store = _store(tmp_path / "runs.db", _rows(4))

    summary = seal(store, tmp_path / "lake", segment_calls=5, now_ns=LATER_NS)

    assert (summary.sessions, summary.calls, summary.blocks) == (4, 12, 12)
    assert list(_segments(tmp_path / "lake")) == [f"calls-00000{number}.parquet" for number in (1, 2, 3)]
    assert_frame_equal(an.load(tmp_path / "lake", blocks=True), an.load(store, blocks=True))


def test_a_second_run_writes_only_what_is_new(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(2)), tmp_path / "lake"
    seal(store, lake, now_ns=LATER_NS)
    before = _segments(lake)

    assert "nothing new" in seal(store, lake, now_ns=LATER_NS).notes[0]
    assert _segments(lake) == before
    _add(store, _rows(1, first=7))
    summary = seal(store, lake, now_ns=LATER_NS)

    assert (summary.calls, summary.notes[0]) == (3, "1 new segment in the folder")
    assert _segments(lake).items() > before.items()
    assert_frame_equal(an.load(lake), an.load(store))


def test_calls_of_a_task_that_goes_on_wait_until_it_is_quiet_or_its_scope_is_closed(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(2)), tmp_path / "lake"
    now_ns = ORIGIN_NS + 20 * SECOND_NS

    first = seal(store, lake, quiet_s=10, now_ns=now_ns)
    _run(store, "insert into spans (span_id, kind, name, task_id) values ('s', 'task', 'kind', 't1')")
    second = seal(store, lake, quiet_s=10, now_ns=now_ns)

    assert first.calls == 3
    assert first.notes[-1].startswith("3 calls of 1 task not known to be over: left for the next run; --quiet-s 0")
    assert (second.calls, len(second.notes)) == (3, 1)
    assert_frame_equal(an.load(lake), an.load(store))


def test_a_late_call_of_a_sealed_task_is_in_a_later_segment_and_in_its_task(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(1)), tmp_path / "lake"
    seal(store, lake, now_ns=LATER_NS)
    _add(store, [_rows(1)[0] | {"call_id": "late", "step": 9}])

    seal(store, lake, now_ns=LATER_NS)

    assert len(_segments(lake)) == 2
    assert an.tasks(lake)["calls"].tolist() == [4]


def test_a_call_that_changed_or_went_has_its_segment_written_anew_and_no_other(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(3)), tmp_path / "lake"
    seal(store, lake, segment_calls=3, now_ns=LATER_NS)
    before = _segments(lake)
    _run(store, "update calls set tool_calls = 7 where task_id = 't1' and step = 1")
    _run(store, "delete from calls where task_id = 't1' and step = 2")

    summary = seal(store, lake, now_ns=LATER_NS)

    after = _segments(lake)
    assert summary.notes == ("1 segment written anew, whose calls have changed in the store",)
    assert [name for name in after if after[name] != before[name]] == ["calls-000002.parquet"]
    assert_frame_equal(an.load(lake), an.load(store))


def test_two_stores_share_a_folder(tmp_path: Path) -> None:
    one, other = _store(tmp_path / "a.db", _rows(2)), _store(tmp_path / "b.db", _rows(2, first=5))
    _run(other, "update meta set value = 'other' where name = 'key_id'")
    for store in (one, other, one, other):
        seal(store, tmp_path / "lake", now_ns=LATER_NS)

    assert len(_segments(tmp_path / "lake")) == 2
    assert an.tasks(tmp_path / "lake")["task_id"].tolist() == ["t0", "t1", "t5", "t6"]


def test_an_interrupted_run_leaves_whole_segments_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(6)), tmp_path / "lake"
    synced: list[int] = []

    def interrupt(descriptor: int) -> None:
        synced.append(descriptor)
        if len(synced) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        seal(store, lake, segment_calls=4, now_ns=LATER_NS)

    assert list(_segments(lake)) == ["calls-000001.parquet", "calls-000002.parquet"]
    assert len(an.load(lake)) == 8
    assert seal(store, lake, segment_calls=4, now_ns=LATER_NS).calls == 10
    assert_frame_equal(an.load(lake), an.load(store))


def test_what_a_killed_run_left_is_no_segment_and_is_cleared(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(1)), tmp_path / "lake"
    script = (
        "import os, sys; from pathlib import Path; from tokenflation.exporters.parquet import seal;"
        "os.fsync = lambda _: os.kill(os.getpid(), 9); seal(sys.argv[1], Path(sys.argv[2]))"
    )
    assert subprocess.run([sys.executable, "-c", script, store, lake], check=False).returncode == -9
    assert list(lake.glob(".calls-*.part"))

    seal(store, lake, now_ns=LATER_NS)

    assert [file.name for file in lake.iterdir() if file.is_file() and not file.name.startswith(".tokenflation")] == [
        "calls-000001.parquet"
    ]
    assert_frame_equal(an.load(lake), an.load(store))


def test_a_folder_that_another_run_writes_to_is_refused(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(1)), tmp_path / "lake"
    lake.mkdir()
    with closing(sqlite3.connect(lake / ".tokenflation-lock", isolation_level=None)) as other:
        other.execute("begin exclusive")
        with pytest.raises(ExportError, match="Another export"):
            seal(store, lake)


def test_a_folder_that_cannot_be_locked_for_another_reason_is_not_said_to_be_in_use(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(1)), tmp_path / "lake"
    lake.mkdir()
    (lake / ".tokenflation-lock").write_text("no database" * 99)
    with pytest.raises(ExportError, match=r"not a database\. Check that it may be written and that the disk has room"):
        seal(store, lake)


def test_a_folder_of_other_parquet_and_a_file_are_refused(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(1)), tmp_path / "lake"
    lake.mkdir()
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 1 as x) to '{lake / 'x.parquet'}' (format parquet)")

    with pytest.raises(ExportError, match="no segments of calls"):
        seal(store, lake)
    with pytest.raises(ExportError, match="is a file"):
        seal(store, store)


def test_a_frame_is_written_whole_and_at_once(tmp_path: Path) -> None:
    calls = frame_of(_rows(2))

    summary = write(calls, tmp_path / "lake", format="parquet")

    assert summary.calls == 6
    assert_frame_equal(an.load(tmp_path / "lake", blocks=True), calls)


def test_the_command_seals_a_store_and_profiles_of_both_are_equal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, lake = _store(tmp_path / "runs.db", _rows(11)), tmp_path / "lake"
    with pytest.raises(SystemExit, match="0"):
        main(["export", str(store), str(lake), "--format", "parquet", "--quiet-s", "0", "--json"])

    assert json.loads(capsys.readouterr().out)["calls"] == 33
    profiles = [an.profile(source, rng=np.random.default_rng(1)) for source in (store, lake, an.load(store))]
    assert_frame_equal(profiles[0], profiles[1])
    assert_frame_equal(profiles[0], profiles[2])


def test_the_command_refuses_a_choice_of_tasks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path / "runs.db", _rows(1))
    with pytest.raises(SystemExit, match="2"):
        main(["export", str(store), str(tmp_path / "lake"), "--format", "parquet", "--task", "x"])
    assert "--task" in capsys.readouterr().err


def test_a_folder_that_is_empty_since_all_tasks_may_go_on_is_not_said_to_have_them(tmp_path: Path) -> None:
    store = _store(tmp_path / "runs.db", _rows(1))

    summary = seal(store, tmp_path / "lake", now_ns=ORIGIN_NS)

    assert (summary.calls, len(summary.notes)) == (0, 1)
    assert "not known to be over" in summary.notes[0]
