"""The rows beside the calls: which of them are read, and from what they may come."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb
import pytest
from tests.analysis.conftest import write_store
from tests.analysis.trees import call

from tokenflation.analysis.structure_rows import load_structure
from tokenflation.sdk.errors import StoreError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return a store of two tasks that share an id, with a tool call each, and one scope."""
    rows = [call("a", "r", 0, 0, task="one", task_id="7"), call("b", "s", 0, 1, task="two", task_id="7")]
    path = write_store(tmp_path / "runs.db", [*rows, call("c", "t", 0, 2, task="two", task_id="8")])
    with closing(sqlite3.connect(path)) as connection:
        for id_ in "abc":
            connection.execute(
                "insert into tool_calls (call_id, tool_call_id, name, kind) values (?, 't', 'x', 'client')", [id_]
            )
        connection.execute("insert into spans (span_id, kind, task_id) values ('s', 'agent', '7')")
        connection.commit()
    return path


@pytest.mark.parametrize(
    ("chosen", "calls", "spans"),
    [({}, ["a", "b", "c"], 1), ({"task": "two", "task_id": "7"}, ["b"], 1), ({"task_id": "8"}, ["c"], 0)],
)
@pytest.mark.parametrize("as_source", [str, lambda path: f"sqlite:///{path}"])
def test_only_the_rows_of_the_task_are_read(
    store: Path, as_source: Callable[[Path], str], chosen: dict[str, str], calls: list[str], spans: int
) -> None:
    tool_calls, scopes = load_structure(as_source(store), **chosen)
    assert (sorted(tool_calls["call_id"]), len(scopes)) == (calls, spans)
    assert str(tool_calls["executed"].dtype) == "Int64"


def test_a_table_or_a_column_that_is_not_there_is_no_error(store: Path) -> None:
    with closing(sqlite3.connect(store)) as connection:
        connection.execute("drop table spans")
        connection.execute("alter table tool_calls drop column executed")
        connection.commit()
    tool_calls, spans = load_structure(store)
    assert (len(tool_calls), len(spans), "executed" in tool_calls.columns) == (3, 0, False)


def test_parquet_has_no_such_rows(tmp_path: Path) -> None:
    duckdb.sql("select 1 as call_id").write_parquet(str(tmp_path / "calls.parquet"))
    for source in (tmp_path / "calls.parquet", tmp_path):
        assert [len(frame) for frame in load_structure(source)] == [0, 0]


def test_a_url_that_leads_nowhere_is_refused_with_a_reason(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        load_structure("nosuch://host/database")
    with pytest.raises(StoreError, match="there is no such file"):
        load_structure(f"sqlite:///{tmp_path}/nothing.db")
