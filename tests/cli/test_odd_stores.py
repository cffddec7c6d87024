"""Stores that are damaged, odd, or made by somebody else: a command gives numbers or says what is wrong."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from tests.analysis.conftest import write_store
from tests.analysis.trees import at

from tokenflation import analysis as an
from tokenflation.cli import main
from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.tables import TABLES


def _store(path: Path, **values: Any) -> Path:
    rows = [
        {
            "task_id": f"t{n // 2}",
            "started_at_ns": at(n),
            "ended_at_ns": at(n + 0.5),
            "input_tokens": 100,
            "output_tokens": 9,
        }
        for n in range(6)
    ]
    rows[3] |= values
    return write_store(path, rows)


def _said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit, match="1"):
        main(arguments)
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    return printed.err


@pytest.mark.parametrize(
    ("column", "value", "named"),
    [
        ("input_tokens", 2**62, "4611686018427387904"),
        ("output_tokens", -7, "-7"),
        ("reasoning_tokens", "many", "many"),
        ("depth", None, "no value"),
        ("block_tokens", 0, "0"),
        ("started_at_ns", -(2**62), "-4611686018427387904"),
        ("duration_s", 1e300, "1.0e+300"),
    ],
)
def test_a_number_that_none_can_be_is_named_with_its_call_by_every_command(
    column: str, value: object, named: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = str(_store(tmp_path / "runs.db", **{column: value}))
    of_tokens = [["profile", store], ["profile", store, "--by", "step"]] if column.endswith("put_tokens") else []

    for command in (
        ["info", store], ["tree", store], ["report", store, "-o", str(tmp_path / "r.html")], *of_tokens,
    ):  # fmt: skip
        said = _said(capsys, *command)

        assert f"call_id '{3:016x}' has {named} in {column} (" in said, (command, said)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["runs.db"]


def test_sums_that_are_more_than_64_bits_are_refused_though_each_count_can_be(tmp_path: Path) -> None:
    store = write_store(tmp_path / "runs.db", ({"input_tokens": 2**53, "output_tokens": 1} for _ in range(1_100)))

    with pytest.raises(StoreError, match="from 0 to 2,096,220,917,466,994"):
        an.profile(store)


@pytest.mark.parametrize("format_", ["weka", "mooncake"])
@pytest.mark.parametrize(
    "values", [{"finish_reasons": "[broken"}, {"finish_reasons": "5"}, {"extra": "{broken"}, {"extra": "[" * 5_000}]
)
def test_json_that_is_none_is_named_by_an_export(
    values: dict[str, str], format_: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = str(_store(tmp_path / "runs.db", **values)), tmp_path / "trace.jsonl"

    said = _said(capsys, "export", store, str(out), "--format", format_)

    assert f"call_id '{3:016x}' has {next(iter(values.values()))[:40]} in {next(iter(values))} (JSON " in said
    assert not out.exists()


def test_scopes_and_tool_calls_of_others_are_named_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path / "runs.db")
    for statement, named in (
        ("insert into tool_calls (call_id, tool_call_id, result_bytes) values ('c', 't', 'q')", "q in result_bytes"),
        ("insert into spans (span_id, kind, score) values ('s', 'task', 9e999)", "Inf in score"),
    ):
        with closing(sqlite3.connect(store)) as connection, connection:
            connection.execute(statement)

        assert named in _said(capsys, "structure", str(store))

        with closing(sqlite3.connect(store)) as connection, connection:
            connection.execute("delete from tool_calls")


def test_parquet_is_refused_for_the_same_as_its_store(tmp_path: Path) -> None:
    calls = an.load(_store(tmp_path / "runs.db"), blocks=True)
    calls.loc[3, "input_tokens"] = -1
    with duckdb.connect() as connection:
        connection.register("calls", calls)
        connection.execute(f"copy calls to '{tmp_path / 'calls.parquet'}' (format parquet)")

    for read in (an.load, an.profile):
        with pytest.raises(StoreError, match=r"calls.parquet .* has -1 in input_tokens"):
            read(tmp_path / "calls.parquet")


def test_text_that_is_no_utf_8_is_named_with_its_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path / "runs.db")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("update calls set task = cast(x'61ff62' as text) where step = 3")

    for command in (["info"], ["profile"], ["tree"]):
        assert "column 'task'" in _said(capsys, command[0], str(store), *command[1:])


def test_every_column_says_what_it_takes() -> None:
    for table in TABLES:
        assert all(column.least < column.most for column in table.columns)
        assert all(column.kind == "text" for column in table.columns if column.json)


def test_a_store_without_scopes_is_sealed_as_one_whose_tasks_nobody_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = _store(tmp_path / "runs.db")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("drop table spans")

    with pytest.raises(SystemExit, match="0"):
        main(["export", str(store), str(tmp_path / "lake"), "--format", "parquet", "--quiet-s", "0"])

    assert "3 tasks, 6 calls" in capsys.readouterr().out


def test_what_stands_beside_the_calls_is_refused_before_it_is_sealed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, out = _store(tmp_path / "runs.db"), tmp_path / "lake"
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("insert into meta values ('key_id', 'k')")
        connection.execute("insert into spans (span_id, kind, outcome) values ('s', 'task', 7)")

    said = _said(capsys, "export", str(store), str(out), "--format", "parquet", "--quiet-s", "0")

    assert "span_id 's' has 7 in outcome" in said


def test_a_call_that_stands_there_twice_is_named_and_not_counted_twice(tmp_path: Path) -> None:
    calls = an.load(_store(tmp_path / "runs.db"), blocks=True)
    with duckdb.connect() as connection:
        connection.register("calls", calls)
        for name in ("a", "b"):
            connection.execute(f"copy (select * from calls limit 1) to '{tmp_path / name}.parquet' (format parquet)")

    with pytest.raises(StoreError, match=r"holds the call '0000000000000000' more than once"):
        an.load(tmp_path)


def test_losses_that_are_no_numbers_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = _store(tmp_path / "runs.db")
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("insert into drops values ('w', 'queue_full', null)")

    for command in (["info", str(store)], ["report", str(store), "-o", str(tmp_path / "r.html")]):
        assert "reason 'queue_full' has no value in count" in _said(capsys, *command)


def test_a_plan_is_not_written_to_a_file_that_is_named_as_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = _store(tmp_path / "runs.db")

    said = _said(capsys, "plan", "init", str(store), "-o", "-")

    assert "- would be a file of that name" in said
    assert [file.name for file in tmp_path.iterdir()] == ["runs.db"]


def test_a_pipe_and_a_link_that_leads_nowhere_are_called_so_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("link")

    for command in (["info"], ["profile"], ["report", "-o", str(tmp_path / "r.html")]):
        assert "is a pipe or a device" in _said(capsys, command[0], str(tmp_path / "pipe"), *command[1:])
        assert "the link leads to no file" in _said(capsys, command[0], str(tmp_path / "link"), *command[1:])
    assert "is a pipe or a device" in _said(capsys, "forecast", "--history", str(tmp_path / "pipe"))


def test_info_without_a_standard_output_ends_well(tmp_path: Path) -> None:
    store = _store(tmp_path / "runs.db")
    command = f"{sys.executable} -m tokenflation.cli info {store} >&-"

    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stderr) == (0, "")
