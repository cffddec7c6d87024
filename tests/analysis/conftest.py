"""What the tests of the analysis share: frames of calls by hand, and stores written as the schema says."""

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import from_rows
from tokenflation.sdk.store.tables import SCHEMA_VERSION, TABLES, column_names

SECOND_NS = 1_000_000_000
ORIGIN_NS = 1_790_000_000_000_000_001

Row = Mapping[str, Any]


def complete(row: Row, position: int) -> dict[str, Any]:
    """Fill what every call must have; whatever the row leaves out else is not reported."""
    started = row.get("started_at_ns", ORIGIN_NS + position * SECOND_NS)
    required = {
        "call_id": f"{position:016x}",
        "trace_id": f"{1:032x}",
        "task": "kind",
        "task_id": "t",
        "agent": "agent",
        "agent_run_id": f"{row.get('task_id', 't')}-0",
        "depth": 0,
        "step": position,
        "structure_source": "scope",
        "provider": "openai",
        "api": "openai.chat",
        "stream": 0,
        "status": "ok",
        "finish_reasons": "[]",
        "attempts": 1,
        "started_at_ns": started,
        "usage_source": "provider",
        "usage_complete": 1,
        "tool_calls": 0,
        "block_tokens": 64,
        "extra": "{}",
    }
    return dict.fromkeys(CALL_COLUMNS) | required | dict(row)


def frame_of(rows: Iterable[Row]) -> pd.DataFrame:
    """Return calls as `load` would."""
    columns = tuple(CALL_COLUMNS.values())
    full = [complete(row, position) for position, row in enumerate(rows)]
    return from_rows([[row[column.name] for column in columns] for row in full], columns)


def write_store(path: Path, rows: Iterable[Row], version: int | None = SCHEMA_VERSION) -> Path:
    """Write a store with the tables of the schema, by plain SQL."""
    kinds = {"text": "text", "int": "integer", "float": "real", "bytes": "blob"}
    with closing(sqlite3.connect(path)) as connection:
        for table in TABLES:
            columns = ", ".join(f"{column.name} {kinds[column.kind]}" for column in table.columns)
            connection.execute(f"create table {table.name} ({columns}, primary key ({', '.join(table.key)}))")
        if version is not None:
            connection.execute("insert into meta values ('schema_version', ?)", [str(version)])
        names = column_names(TABLES[0])
        full = (complete(row, position) for position, row in enumerate(rows))
        marks = ", ".join("?" * len(names))
        connection.executemany(f"insert into calls values ({marks})", ([row[name] for name in names] for row in full))
        connection.commit()
    return path


@pytest.fixture(name="make_calls", scope="session")
def _make_calls() -> Callable[[Iterable[Row]], pd.DataFrame]:
    return frame_of


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    return lambda rows, **options: write_store(tmp_path / "runs.db", rows, **options)


@pytest.fixture(scope="session")
def make_any_store() -> Callable[..., Path]:
    return write_store
