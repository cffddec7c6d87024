"""Reads calls from a store, Parquet or a database into a frame. Knows nothing of what the columns are used for.

SQLite goes through ADBC and Arrow into DuckDB and from there to pandas: 0.9 million rows a second, without pyarrow.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import duckdb
import pandas as pd
import sqlalchemy as sa
from adbc_driver_manager import Error as AdbcError
from adbc_driver_sqlite import dbapi as adbc_sqlite

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import from_arrays, from_rows
from tokenflation.sdk.errors import FrameError, StoreError
from tokenflation.sdk.store.names import RENAMED_TASK
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.store.tables import SCHEMA_VERSION, Column

__all__ = ["load"]

_ORDER = "started_at_ns, task_id, agent_run_id, step, call_id"
_RECORD = (
    "Record one with `tokenflation run --store DB SCRIPT`, or read a trace with `tokenflation import FILE --store DB`."
)


def load(source: str | Path, *, blocks: bool = False) -> pd.DataFrame:
    """Return one row per call, in order of start; columns, units and meanings as in `columns.CALL_COLUMNS`.

    `source` is a store's path, a Parquet file (or a folder of them) or a SQLAlchemy URL. The prefix hashes, most of a
    store's bytes, come only with `blocks=True`. A number that was not reported is `<NA>`, or NaN in a float column.

    Raises:
        StoreError: nothing is there, it is not a store, it is newer than this library, or it holds no call.
    """
    text = str(source)
    if "://" in text:
        frame = _load_url(text, blocks)
    else:
        path = Path(source)
        is_parquet = path.is_dir() or _is_parquet(path)
        frame = _load_parquet(path, blocks) if is_parquet else _load_store(path, blocks)
    if frame.empty:
        raise StoreError(
            f"{text}: the store holds no calls, so there is nothing to analyse. {_RECORD} "
            "`tokenflation info DB` shows whether calls were lost."
        )
    return frame


def _load_store(path: Path, blocks: bool) -> pd.DataFrame:
    engine = open_store(path)
    try:
        with engine.connect() as connection:
            have = [row[1] for row in connection.exec_driver_sql("pragma table_info(calls)")]
        return _read_sqlite(_read_only_uri(path), _wanted(str(path), have, blocks))
    except (sa.exc.DatabaseError, AdbcError, FrameError) as error:
        raise StoreError(
            f"{path} cannot be read as a store: {error}. Check that the file is complete, or restore a copy."
        ) from error
    finally:
        engine.dispose()


def _read_only_uri(path: Path) -> str:
    file = path.absolute()
    # As `open_store` does: a WAL database in a folder that may not be written is read as one that nobody writes.
    quiet = not os.access(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()
    return f"{file.as_uri()}?mode=ro{'&immutable=1' if quiet else ''}"


def _read_sqlite(uri: str, columns: Sequence[Column]) -> pd.DataFrame:
    # ADBC takes a column's type from the first rows it sees; a leading row without NULLs settles each type, and is
    # left out again by its empty call_id.
    samples = {"text": "''", "int": "0", "float": "0.0", "bytes": "x'00'"}
    first = ", ".join(f"{samples[column.kind]} as {column.name}" for column in columns)
    names = ", ".join(column.name for column in columns)
    with adbc_sqlite.connect(uri) as connection, connection.cursor() as cursor, duckdb.connect() as engine:
        cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": "65536"})
        cursor.execute(f"select {first} union all select {_renamed(columns)} from calls")
        engine.register("source", cursor.fetch_arrow())
        found = engine.execute(f"select {names} from source where call_id <> '' order by {_ORDER}").fetchnumpy()
    return from_arrays(found, columns)


def _renamed(columns: Sequence[Column]) -> str:
    """Return the columns to select, kinds of tasks by the names that the user gave them."""
    return ", ".join(f"{RENAMED_TASK} as task" if column.name == "task" else column.name for column in columns)


def _load_parquet(path: Path, blocks: bool) -> pd.DataFrame:
    files = sorted(str(file) for file in path.rglob("*.parquet")) if path.is_dir() else [str(path)]
    if not files:
        raise StoreError(
            f"{path}: the folder holds no .parquet file. Give a Parquet file, a folder of them or a store."
        )
    try:
        with duckdb.connect() as engine:
            described = engine.execute("describe select * from read_parquet(?, union_by_name = true)", [files])
            columns = _wanted(str(path), [row[0] for row in described.fetchall()], blocks)
            names = ", ".join(column.name for column in columns)
            query = f"select {names} from read_parquet(?, union_by_name = true) order by {_ORDER}"
            return from_arrays(engine.execute(query, [files]).fetchnumpy(), columns)
    except (duckdb.Error, FrameError) as error:
        raise StoreError(f"{path} cannot be read as Parquet: {error}. Write it anew from its store.") from error


def _load_url(url: str, blocks: bool) -> pd.DataFrame:
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite" and parsed.database:
            return load(Path(parsed.database), blocks=blocks)
        engine = sa.create_engine(parsed)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise StoreError(
            f"{url.split('://')[0]}://... cannot be opened: {error}. Give a SQLAlchemy URL such as "
            "postgresql+psycopg://user@host/database, and install its driver."
        ) from error
    shown = parsed.render_as_string(hide_password=True)
    try:
        with engine.connect() as connection:
            inspector = sa.inspect(connection)
            tables = set(inspector.get_table_names())
            meta = sa.table("meta", sa.column("name"), sa.column("value"))
            version = sa.select(meta.c.value).where(meta.c.name == "schema_version")
            _check_store(shown, connection.scalar(version) if "meta" in tables else None)
            have = [str(column["name"]) for column in inspector.get_columns("calls")] if "calls" in tables else []
            columns = _wanted(shown, have, blocks)
            names = _renamed(columns) if "task_names" in tables else ", ".join(column.name for column in columns)
            rows = connection.execute(sa.text(f"select {names} from calls order by {_ORDER}"))
            return from_rows((tuple(row) for row in rows), columns)
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"{shown} cannot be read as a store: {error}. Check the address and the rights.") from error
    finally:
        engine.dispose()


def _check_store(name: str, version: object) -> None:
    if version is None:
        raise StoreError(f"{name} is not a tokenflation store: its table `meta` gives no schema version. {_RECORD}")
    if not str(version).isdigit() or int(str(version)) > SCHEMA_VERSION:
        raise StoreError(
            f"{name} was written by a newer tokenflation: its schema is {version}, this library reads up to "
            f"{SCHEMA_VERSION}. Upgrade: pip install -U tokenflation"
        )


def _wanted(name: str, have: Sequence[str], blocks: bool) -> list[Column]:
    wanted = [column for column in CALL_COLUMNS.values() if blocks or column.name != "block_hashes"]
    missing = [column.name for column in wanted if column.name not in have]
    if missing:
        raise StoreError(f"{name} holds no calls as tokenflation writes them: columns {missing} are missing. {_RECORD}")
    return wanted


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        # Why it cannot be read is for open_store to say.
        return False
