"""Reads what stands beside the calls of a store: tool calls and scopes, and which tasks a limit cut. Knows no trees."""

from pathlib import Path

import pandas as pd
import sqlalchemy as sa

from tokenflation.analysis.frames import from_rows
from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.store.tables import TABLES, Column

__all__ = ["censored_remarks", "load_censored", "load_structure"]

_SQLITE = b"SQLite format 3\0"


def load_structure(
    source: str | Path, *, task: str | None = None, task_id: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of the tables `tool_calls` and `spans`, of one task if it is named; `source` as `analysis.load`.

    Where the source has no such tables, as Parquet has none, the frames are empty; a column that an older store lacks is
    missing in all rows.

    Raises:
        StoreError: the source is no store, or cannot be read.
    """
    engine = _engine(source)
    if engine is None:
        return _read(None, "tool_calls", None), _read(None, "spans", None)
    try:
        with engine.connect() as connection:
            calls = sa.table("calls", sa.column("call_id"), sa.column("task"), sa.column("task_id"))
            wanted = [calls.c.task == task] if task is not None else []
            wanted += [calls.c.task_id == task_id] if task_id is not None else []
            of_task = sa.column("call_id").in_(sa.select(calls.c.call_id).where(*wanted)) if wanted else None
            # A scope knows the id of its task, not its kind.
            in_task = sa.column("task_id") == task_id if task_id is not None else None
            return _read(connection, "tool_calls", of_task), _read(connection, "spans", in_task)
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"{source} cannot be read as a store: {error}. Check that it is complete.") from error
    finally:
        engine.dispose()


def load_censored(source: str | Path) -> pd.DataFrame:
    """Return the tasks that a limit cut short, whose use is a lower bound: columns `task_id`, `censored_by`.

    One row per task, with the limit's name; empty where none was cut, or the source does not say, as Parquet does not.

    Raises:
        StoreError: the source is no store, or cannot be read.
    """
    engine = _engine(source)
    if engine is None:
        return pd.DataFrame({"task_id": [], "censored_by": []}, dtype="str")
    try:
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            have = inspector.has_table("spans") and any(
                one["name"] == "censored_by" for one in inspector.get_columns("spans")
            )
            spans = sa.table("spans", sa.column("task_id"), sa.column("censored_by"))
            query = sa.select(spans.c.task_id, spans.c.censored_by).where(spans.c.censored_by.is_not(None)).distinct()
            rows = connection.execute(query.order_by(spans.c.task_id)).fetchall() if have else []
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"{source} cannot be read as a store: {error}. Check that it is complete.") from error
    finally:
        engine.dispose()
    frame = pd.DataFrame({"task_id": [row[0] for row in rows], "censored_by": [row[1] for row in rows]}, dtype="str")
    return frame.drop_duplicates("task_id", ignore_index=True)


def censored_remarks(calls: pd.DataFrame, censored: pd.DataFrame) -> list[str]:
    """Return one sentence for each task kind of which a limit cut runs; frames as of `load` and `load_censored`."""
    tasks = calls[["task", "task_id"]].drop_duplicates()
    cut = tasks[tasks["task_id"].isin(censored["task_id"])].groupby("task").size()
    return [
        f"{task}: a limit cut {count:,} of {int((tasks['task'] == task).sum()):,} runs, so what they used is a lower "
        "bound of what their task needs."
        for task, count in cut.items()
    ]


def _engine(source: str | Path) -> sa.Engine | None:
    text = str(source)
    if "://" in text:
        try:
            url = sa.make_url(text)
            if url.get_backend_name() == "sqlite" and url.database:
                return open_store(url.database)
            return sa.create_engine(url)
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise StoreError(f"{text.split('://')[0]}://... cannot be opened: {error}. Install its driver.") from error
    path = Path(source)
    if path.is_file():
        with path.open("rb") as file:
            return open_store(path) if file.read(len(_SQLITE)) == _SQLITE else None
    return None


def _read(connection: sa.Connection | None, name: str, where: sa.ColumnElement[bool] | None) -> pd.DataFrame:
    columns = next(table.columns for table in TABLES if table.name == name)
    have: set[str] = set()
    if connection is not None:
        inspector = sa.inspect(connection)
        have = {str(one["name"]) for one in inspector.get_columns(name)} if inspector.has_table(name) else set()
    if connection is None or not have:
        return from_rows([], columns)
    present = [column for column in columns if column.name in have]
    # Nothing here is required of a row: what cannot be placed is left out of a tree, and its calls stay.
    optional = [Column(column.name, column.kind, column.meaning) for column in present]
    query = sa.table(name, *(sa.column(column.name) for column in present)).select()
    rows = connection.execute(query if where is None else query.where(where))
    return from_rows((tuple(row) for row in rows), optional)
