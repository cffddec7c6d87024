"""What lies beside sealed calls: tool calls and scopes come back as the store has them, so that findings do too."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pandas.testing import assert_frame_equal
from tests.analysis.conftest import write_store
from tests.analysis.trees import call
from tests.providers import Provider

from tokenflation import analysis as an
from tokenflation.analysis.findings import findings
from tokenflation.analysis.structure.beside import beside
from tokenflation.analysis.structure.rows import calls_alone, load_censored, load_outcomes, load_structure
from tokenflation.cli import main
from tokenflation.exporters.parquet import seal
from tokenflation.exporters.report import build_report, render
from tokenflation.sdk.errors import StoreError

_TOOLS = ("call_id", "tool_call_id", "name", "kind", "executed", "result_tokens", "failed", "arguments_hash")
_SPANS = (
    "span_id",
    "kind",
    "name",
    "task_id",
    "started_at_ns",
    "ended_at_ns",
    "status",
    "outcome",
    "score",
    "censored_by",
)


def _add(store: Path, table: str, names: tuple[str, ...], rows: list[tuple[Any, ...]]) -> None:
    _run(store, f"insert into {table} ({', '.join(names)}) values ({', '.join('?' * len(names))})", rows)


def _run(store: Path, text: str, rows: Any = ((),)) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.executemany(text, rows)
        connection.commit()


def _store(path: Path, key: str = "abc", tasks: int = 6) -> Path:
    """Return a store of tasks whose tools fail, some again and again, whose user gave their kind another name."""
    calls = [
        call(f"{key}{task}-{step}", f"{key}r{task}", step, 100 * task + 5 * step, task="ask", task_id=f"{key}{task}",
             tool_calls=1, input_tokens=2000 + 900 * step)
        for task in range(tasks)
        for step in range(5)
    ]  # fmt: skip
    write_store(path, calls)
    tools = [
        (one["call_id"], "t", "search", "client", 1, 40, int(one["step"] % 2), b"12345678")
        for one in calls
        if one["step"] < 4
    ]
    _add(path, "tool_calls", _TOOLS, tools)
    scopes = [
        (f"{key}s{task}", "task", "ask", f"{key}{task}", task, 10**6 + task, "ok", task % 2, 0.5 * task, None)
        for task in range(tasks)
    ]
    _add(
        path, "spans", _SPANS, [*scopes, (f"{key}x", "task", "ask", f"{key}0", 9, 10**7, "error", None, None, "steps")]
    )
    _add(path, "meta", ("name", "value"), [("key_id", key)])
    _add(path, "task_names", ("task", "name"), [("ask", "question")])
    return path


def _written(lake: Path) -> dict[str, int]:
    return {str(file.relative_to(lake)): file.stat().st_mtime_ns for file in sorted(lake.rglob("*.parquet"))}


def _found(source: Path) -> Any:
    calls, (tool_calls, _) = an.load(source), load_structure(source)
    return findings(calls, tool_calls, load_outcomes(source))


def test_findings_of_a_folder_are_those_of_its_store(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"

    seal(store, lake, segment_calls=7)

    assert {"loop", "failed_tools", "failed_tasks", "repeated_tools"} == set(_found(lake)["finding"])
    assert_frame_equal(_found(lake), _found(store))
    assert_frame_equal(load_structure(lake)[0], load_structure(store)[0])
    assert load_outcomes(lake)["task"].unique().tolist() == ["question"]
    assert_frame_equal(load_outcomes(lake), load_outcomes(store))
    assert load_censored(lake).to_numpy().tolist() == [["question", "abc0", "steps"]]
    assert calls_alone(lake) == ""


def test_of_a_kind_or_a_task_a_folder_gives_what_its_store_gives(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake)

    for chosen in ({"task": "question", "task_id": "abc3"}, {"task_id": "abc0"}, {"task": "other"}):
        (tools, scopes), (told, said) = load_structure(lake, **chosen), load_structure(store, **chosen)
        assert_frame_equal(tools, told)
        # What the user calls a kind is the name of its tasks' scopes there.
        assert sorted(scopes["span_id"]) == sorted(said["span_id"])


def test_readers_of_the_folder_see_calls_alone(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake / "one", segment_calls=7)

    assert len(an.load(lake)) == len(an.load(lake / "one")) == 30
    assert calls_alone(lake) == ""
    with duckdb.connect() as connection:
        assert connection.execute(f"select count(*) from '{lake}/one/*.parquet'").fetchone() == (30,)


def test_a_second_run_writes_what_is_beside_only_where_the_store_has_other_rows(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake, segment_calls=10)
    before = _written(lake)
    assert "nothing new" in seal(store, lake).notes[0]
    assert _written(lake) == before

    _run(store, "update tool_calls set result_tokens = 41 where call_id = 'abc3-1'")
    summary = seal(store, lake)

    after = _written(lake)
    assert summary.notes == ("tool calls and scopes beside 1 segment of before are those of the store now",)
    assert [file for file in after if after[file] != before[file]] == ["_tool_calls/calls-000002.parquet"]
    assert_frame_equal(load_structure(lake)[0], load_structure(store)[0])


def test_a_folder_of_before_is_made_good_by_the_next_run_and_says_till_then_what_it_lacks(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake, segment_calls=20)
    beside(lake / "calls-000002.parquet", "spans").unlink()

    assert "holds, in 1 of 2 segments, calls alone" in calls_alone(lake)
    seal(store, lake)

    assert calls_alone(lake) == ""
    assert_frame_equal(load_outcomes(lake), load_outcomes(store))


def test_what_another_store_has_beside_its_calls_stays(tmp_path: Path) -> None:
    one, other, lake = _store(tmp_path / "a.db"), _store(tmp_path / "b.db", "xyz"), tmp_path / "lake"
    for store in (one, other, one, other):
        seal(store, lake)

    assert len(_written(lake)) == 6
    assert len(load_structure(lake)[0]) == 48
    assert len(load_outcomes(lake)) == 12


def test_a_folder_whose_table_is_broken_says_which_and_what_to_do(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake)
    broken = beside(lake / "calls-000001.parquet", "tool_calls")
    broken.write_bytes(b"PAR1 and no more")

    with pytest.raises(StoreError, match="cannot be read as Parquet"):
        load_structure(lake)
    seal(store, lake)
    assert_frame_equal(load_structure(lake)[0], load_structure(store)[0])


def test_a_page_of_a_sealed_store_has_its_findings_and_one_of_calls_alone_says_what_it_lacks(tmp_path: Path) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake)
    lost, whole = "holds calls alone", build_report(str(lake), most_calls=12)

    assert lost not in render(whole)
    assert whole.findings is not None
    assert "failed_tools" in set(whole.findings["finding"])
    assert calls_alone(lake / "calls-000001.parquet") == ""
    for table in ("tool_calls", "spans"):
        beside(lake / "calls-000001.parquet", table).unlink()
    assert render(build_report(str(lake))).count(lost) == 2


def test_the_command_structure_prints_the_same_of_a_folder_and_its_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, lake = _store(tmp_path / "runs.db"), tmp_path / "lake"
    seal(store, lake)
    printed = []
    for source in (store, lake):
        with pytest.raises(SystemExit, match="0"):
            main(["structure", str(source), "--json"])
        printed.append(capsys.readouterr().out)

    assert printed[0] == printed[1] != ""


OWN = """
import sys, httpx, tokenflation.sdk as tf
from pathlib import Path
from tokenflation.exporters.parquet import seal
made = []
sys.addaudithook(lambda event, args: made.append(str(args[0])) if event == "sqlite3.connect" else None)
url, store, folder = sys.argv[1:]
handle = tf.instrument(store)
with httpx.Client() as client, tf.task("first"):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi [[tool:search]]"}]}
    client.post(f"{url}/chat/completions", json=body)
assert handle.flush()
print(seal(store, Path(folder)).calls, sum(one.endswith("copy.db") for one in made))
handle.close()
"""


def test_a_program_that_exports_the_store_that_it_records_to_copies_it_once_for_all_tables(
    provider: Provider, tmp_path: Path
) -> None:
    folder = tmp_path / "sealed"
    command = [sys.executable, "-c", OWN, provider.openai_url, str(tmp_path / "runs.db"), str(folder)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.split() == ["1", "1"]
    assert [len(list(folder.glob(f"{one}*.parquet"))) for one in ("", "_tool_calls/", "_spans/")] == [1, 1, 1]
