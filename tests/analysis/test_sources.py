"""Reading calls: every source gives the same frame, types hold, and what is not a store is refused with a reason."""

import sqlite3
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tokenflation.analysis import load, profile, tasks
from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.sdk.errors import StoreError

MakeStore = Callable[..., Path]

BIG_NS = 1_790_000_000_123_456_789


def test_a_store_gives_one_row_per_call_in_order_of_start(make_store: MakeStore) -> None:
    path = make_store([{"started_at_ns": 30}, {"started_at_ns": 10}, {"started_at_ns": 20}])

    calls = load(path)

    assert list(calls["started_at_ns"]) == [10, 20, 30]
    assert list(calls.columns) == [name for name in CALL_COLUMNS if name != "block_hashes"]


def test_nullable_integers_stay_exact_integers(make_store: MakeStore) -> None:
    path = make_store([{"started_at_ns": 1, "ended_at_ns": BIG_NS}, {"started_at_ns": 2, "input_tokens": 0}])

    calls = load(path)

    assert str(calls["ended_at_ns"].dtype) == str(calls["input_tokens"].dtype) == "Int64"
    assert calls["ended_at_ns"].tolist() == [BIG_NS, pd.NA]
    assert calls["input_tokens"].tolist() == [pd.NA, 0]
    assert str(calls["started_at_ns"].dtype) == "int64"


def test_a_text_that_is_first_given_after_a_hundred_thousand_calls_is_read(make_store: MakeStore) -> None:
    path = make_store(
        [*({} for _ in range(100_000)), {"error_type": "http_503", "ttft_s": 0.5, "cache_read_tokens": 7}]
    )

    last = load(path).iloc[-1]

    assert (last["error_type"], last["ttft_s"], last["cache_read_tokens"]) == ("http_503", 0.5, 7)


def test_a_store_is_analysed_where_no_folder_for_temporary_files_can_be_had(
    make_store: MakeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_store([{"task_id": "1"}, {"task_id": "2"}])
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))

    assert profile(path)["tasks"].tolist() == [2]


def test_prefix_hashes_come_only_when_asked_for_and_as_bytes(make_store: MakeStore) -> None:
    path = make_store([{"block_hashes": b"12345678abcdefgh"}, {}])

    assert "block_hashes" not in load(path).columns
    assert load(path, blocks=True)["block_hashes"].tolist() == [b"12345678abcdefgh", None]


def test_a_path_a_url_and_parquet_give_the_same_calls(make_store: MakeStore, tmp_path: Path) -> None:
    path = make_store([{"input_tokens": 5, "ended_at_ns": BIG_NS, "model": "m"}, {"ttft_s": 0.25, "status": "error"}])
    calls = load(path)
    with duckdb.connect() as connection:
        connection.register("calls", load(path, blocks=True))
        connection.execute(f"copy calls to '{tmp_path / 'calls.parquet'}' (format parquet)")

    assert_frame_equal(load(f"sqlite:///{path}"), calls)
    assert_frame_equal(load(tmp_path / "calls.parquet"), calls)


def test_a_store_that_is_still_being_written_can_be_read(make_store: MakeStore) -> None:
    path = make_store([{}, {}])
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("pragma journal_mode = wal")
        writer.execute("begin immediate")

        assert len(load(path)) == 2


def test_a_path_that_does_not_exist_is_refused_and_not_made(tmp_path: Path) -> None:
    for source in (tmp_path / "none.db", f"sqlite:///{tmp_path / 'none.db'}"):
        with pytest.raises(StoreError, match=r"no such file.*tokenflation run"):
            load(source)

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", [b"", b"not a store", b"SQLite format 3\0 but damaged"])
def test_a_file_that_is_no_store_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)

    with pytest.raises(StoreError, match=r"is not a tokenflation store|is an empty file|cannot be read as a store"):
        load(path)


def test_a_database_of_somebody_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("create table calls (number integer)")

    with pytest.raises(StoreError, match="not a tokenflation store"):
        load(path)


def test_a_newer_schema_is_refused_with_the_upgrade_command(make_store: MakeStore) -> None:
    path = make_store([{}], version=99)

    with pytest.raises(StoreError, match=r"schema version 99.*pip install -U tokenflation"):
        load(path)


def test_a_store_without_calls_is_refused(make_store: MakeStore) -> None:
    with pytest.raises(StoreError, match="holds no calls"):
        load(make_store([]))


def test_parquet_of_something_else_is_refused_with_the_columns_it_lacks(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"copy (select 1 as call_id) to '{path}' (format parquet)")

    with pytest.raises(StoreError, match="task_id"):
        load(path)


def test_a_database_url_without_its_driver_is_refused_and_shows_no_password() -> None:
    with pytest.raises(StoreError, match="install its driver") as caught:
        load("nosuchdatabase://me:secret@host/runs")

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("column", "value"),
    [("input_tokens", "many"), ("started_at_ns", "today"), ("duration_s", "long"), ("duration_s", float("inf"))],
)
def test_a_value_that_its_column_cannot_hold_is_refused_with_the_columns_name(
    make_store: MakeStore, column: str, value: object
) -> None:
    path = make_store([{}, {column: value}, {}])

    for source in (path, f"sqlite:///{path}"):
        with pytest.raises(StoreError, match=f"{path.name} cannot be read as a store.*{column}"):
            load(source)


def test_tasks_and_profile_of_a_path_are_those_of_its_frame(make_store: MakeStore, tmp_path: Path) -> None:
    rows = [
        {"task": f"k{n % 3}", "task_id": str(n // 5), "input_tokens": n if n % 7 else None, "output_tokens": n * n}
        for n in range(300)
    ]
    path = make_store(rows)
    with duckdb.connect() as connection:
        connection.register("calls", load(path, blocks=True))
        connection.execute(f"copy calls to '{tmp_path / 'calls.parquet'}' (format parquet)")

    for source in (path, str(path), f"sqlite:///{path}", tmp_path / "calls.parquet"):
        assert_frame_equal(tasks(source), tasks(load(path)))
        assert_frame_equal(profile(source), profile(load(path)))


def test_a_store_of_many_calls_is_read_whole_by_several_connections(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_store([{"task_id": str(n), "input_tokens": n} for n in range(500)])
    monkeypatch.setattr("tokenflation.analysis.streams._PART_ROWS", 10)
    monkeypatch.setattr("tokenflation.analysis.streams.os.cpu_count", lambda: 7)

    assert tasks(path)["input_tokens"].sum() == 500 * 499 // 2


def test_repeated_missing_and_single_texts_are_loaded_as_they_were_written(make_store: MakeStore) -> None:
    rows = [
        {
            "started_at_ns": 1000 - n, "model": f"m{n % 3}" if n % 5 else None, "error_type": None,
            "response_id": f"id {n}" if n % 2 else None, "history": bytes([n % 7]) if n % 11 else None,
            "agent": "" if n % 2 else "é", "ttft_s": n / 8 if n % 3 else None,
        }
        for n in range(200)
    ]  # fmt: skip
    calls = load(make_store(rows))

    for name in rows[0]:
        assert calls[name].astype(object).where(calls[name].notna(), None).tolist() == [row[name] for row in rows[::-1]]
    assert str(calls["model"].dtype) == str(calls["error_type"].dtype) == "str"


def test_what_one_of_several_connections_cannot_read_is_refused(
    make_store: MakeStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_store([{"task_id": str(n), "input_tokens": "many" if n == 480 else n} for n in range(500)])
    monkeypatch.setattr("tokenflation.analysis.streams._PART_ROWS", 10)
    monkeypatch.setattr("tokenflation.analysis.streams._BATCH", 8)
    monkeypatch.setattr("tokenflation.analysis.streams.os.cpu_count", lambda: 4)

    with pytest.raises(StoreError, match=f"{path.name} cannot be read as a store.*has many in input_tokens"):
        tasks(path)


@pytest.mark.parametrize("read", [tasks, profile])
def test_a_path_that_is_no_store_is_refused_by_those_that_take_one(
    tmp_path: Path, read: Callable[[Path], pd.DataFrame]
) -> None:
    (tmp_path / "x.db").write_text("hello")
    (tmp_path / "empty").mkdir()

    with pytest.raises(StoreError, match="not a tokenflation store"):
        read(tmp_path / "x.db")
    with pytest.raises(StoreError, match=r"no \.parquet file"):
        read(tmp_path / "empty")
