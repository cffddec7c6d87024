"""Opens calls as a relation in DuckDB, from a frame, a store, Parquet or a database. Calls never pass through Python.

SQLite goes through ADBC and Arrow (no pyarrow), by several connections at once, into a table that DuckDB may spill;
Parquet is read where it lies. A store that this process records to is read from a copy.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from itertools import pairwise
from pathlib import Path

import duckdb
import pandas as pd
import sqlalchemy as sa
from adbc_driver_sqlite import dbapi as adbc_sqlite

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import from_rows, prepared
from tokenflation.analysis.refusing import check_table, check_version, no_calls, parquet_errors, store_errors, wanted
from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.instrument import active
from tokenflation.sdk.store.names import RENAMED_TASK
from tokenflation.sdk.store.opening import reader
from tokenflation.sdk.store.read import open_store
from tokenflation.sdk.store.tables import Column

__all__ = [
    "SQL_TYPES",
    "Source",
    "add_table",
    "apart",
    "as_path",
    "in_order",
    "is_store",
    "opened",
    "parquet_files",
    "parquet_sql",
    "url_frames",
]

Source = pd.DataFrame | str | Path
"""Calls: a frame, a store's path, a Parquet file or a folder of them, or a SQLAlchemy URL."""

_MEMORY = "1GB"
"""DuckDB's own limit; above it, it writes to its temporary folder."""
_MOST_THREADS = 8
"""Each thread of a group-by holds tables of its own: DuckDB's guide asks for 125 MB a thread."""
_CHUNK = 65_536
_BATCH = 8192
"""Rows that SQLite hands over at once; the first are read before the streams run side by side."""
_PART_ROWS = 200_000
"""A store of fewer rows is read by one connection."""
_SQLITE = b"SQLite format 3\0"
SQL_TYPES = {"text": "varchar", "int": "bigint", "float": "double", "bytes": "blob"}
"""What DuckDB calls the kinds of columns."""


@contextmanager
def opened(source: Source, names: Sequence[str], caller: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with a relation `calls` of the columns `names`; what DuckDB spills goes with it.

    Raises:
        FrameError: `source` is a frame and lacks columns, or is of another type.
        StoreError: nothing is there, it is not a store, it is newer than this library, or it holds no call.
    """
    if not isinstance(source, str | Path):
        with duckdb.connect() as connection:
            connection.register("given", prepared(source, names, caller))
            # DuckDB takes a column without any value for one of no type.
            connection.execute(
                f"create temp view calls as select {_typed([CALL_COLUMNS[name] for name in names])} from given"
            )
            yield connection
        return
    with _engine() as connection:
        _fill(connection, source, [CALL_COLUMNS[name] for name in names])
        if connection.execute("select 1 from calls limit 1").fetchone() is None:
            raise no_calls(source)
        yield connection


@contextmanager
def in_order(path: Path, columns: Sequence[Column], memory: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection with a relation `calls` of a store or Parquet whose rows come in the same order every time.

    `memory` is what DuckDB may take before it spills. Errors as of `opened`, but for a source without calls.
    """
    with _engine(memory, ordered=True) as connection:
        _fill(connection, path, columns)
        yield connection


@contextmanager
def _engine(memory: str = _MEMORY, *, ordered: bool = False) -> Iterator[duckdb.DuckDBPyConnection]:
    with ExitStack() as stack, duckdb.connect() as connection:
        with suppress(OSError):  # a read-only container has none, and memory must do
            folder = tempfile.TemporaryDirectory(prefix="tokenflation-", ignore_cleanup_errors=True)
            connection.execute("set temp_directory = ?", [stack.enter_context(folder)])
        connection.execute(f"set memory_limit = '{memory}'")
        connection.execute(f"set threads = {_threads()}")
        connection.execute(f"set preserve_insertion_order = {str(ordered).lower()}")
        yield connection


def _threads() -> int:
    return min(_MOST_THREADS, os.cpu_count() or 1)


def _fill(connection: duckdb.DuckDBPyConnection, source: str | Path, columns: Sequence[Column]) -> None:
    path = as_path(source)
    if isinstance(path, str):
        _fill_from_url(connection, path, columns)
        return
    files = parquet_files(path)
    if files:
        with parquet_errors(path):
            parquet = parquet_sql(files)
            described = connection.execute(f"describe select * from {parquet}")
            wanted(str(path), [row[0] for row in described.fetchall()], columns)
            connection.execute(f"create view calls as select {_typed(columns)} from {parquet}")
            check_table(connection, str(path), columns)
        return
    with _store_reader(path, columns, _threads()) as (handles, names):
        connection.execute(f"create table calls ({', '.join(f'{one.name} {SQL_TYPES[one.kind]}' for one in columns)})")
        _append(connection, handles, names)
    check_table(connection, str(path), columns)


def add_table(
    connection: duckdb.DuckDBPyConnection, path: Path, table: str, columns: Sequence[Column], cells: Mapping[str, str]
) -> None:
    """Make a relation of that name out of another table of an SQLite store; `cells` are SQL for some of its columns.

    A column that the store lacks has no value in any row.

    Raises:
        StoreError: it is no store, or a column holds what it cannot.
    """
    connection.execute(f"create table {table} ({', '.join(f'{one.name} {SQL_TYPES[one.kind]}' for one in columns)})")
    engine = open_store(path)
    with store_errors(path), ExitStack() as stack:
        stack.callback(engine.dispose)
        with engine.connect() as store:
            have = {row[1] for row in store.exec_driver_sql(f"pragma table_info({table})")}
        if not have:
            return
        names = ", ".join(cells.get(one.name, one.name) if one.name in have else "null" for one in columns)
        query = f"select 1 as sample, {_samples(columns)} union all select 0, {names} from {table}"
        stream = _stream(stack, stack.enter_context(apart(path)), query)
        _append(connection, [stream], ", ".join(one.name for one in columns), table)
    check_table(connection, path, columns, table)


def _append(connection: duckdb.DuckDBPyConnection, handles: Sequence[object], names: str, table: str = "calls") -> None:
    """Add the rows of all streams to a table at the same time: DuckDB reads the streams of one statement in turn."""
    with ExitStack() as stack:
        cursors = [stack.enter_context(connection.cursor()) for _ in handles]

        def add(cursor: duckdb.DuckDBPyConnection, handle: object) -> None:
            cursor.register("part", handle)
            cursor.execute(f"insert into {table} select {names} from part where sample = 0")

        with ThreadPoolExecutor(len(handles), "tokenflation-read") as pool:
            futures = [pool.submit(add, *pair) for pair in zip(cursors, handles, strict=True)]
            try:
                for future in futures:
                    future.result()
            except BaseException:
                # Whoever presses Ctrl-C does not want to wait for the rest.
                for cursor in cursors:
                    cursor.interrupt()
                raise


def _typed(columns: Sequence[Column]) -> str:
    return ", ".join(f"cast({column.name} as {SQL_TYPES[column.kind]}) as {column.name}" for column in columns)


def parquet_files(path: Path) -> list[str]:
    """Return the Parquet files at a path: itself, or those in a folder; none where it is no Parquet.

    Raises:
        StoreError: the path is a folder without Parquet files.
    """
    if not path.is_dir():
        return [str(path)] if _is_parquet(path) else []
    # What begins with a dot is still being written; what lies below an underscore are other tables, beside the calls.
    files = sorted(
        str(file)
        for file in path.rglob("*.parquet")
        if not file.name.startswith(".") and not any(part.startswith("_") for part in file.relative_to(path).parts)
    )
    if not files:
        raise StoreError(
            f"{path}: the folder holds no .parquet file. Give a Parquet file, a folder of them or a store."
        )
    return files


def parquet_sql(files: Sequence[str]) -> str:
    """Return files of Parquet as a table in SQL; written out, as a view takes no parameters."""
    listed = ", ".join("'" + file.replace("'", "''") + "'" for file in files)
    return f"read_parquet([{listed}], union_by_name = true)"


def _is_parquet(path: Path) -> bool:
    if _is_recorded_here(path) or not path.is_file():  # to look into a pipe would wait for its writer
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) == b"PAR1"
    except OSError:
        # Why it cannot be read is for open_store to say.
        return False


@contextmanager
def _store_reader(path: Path, columns: Sequence[Column], parts: int) -> Iterator[tuple[Sequence[object], str]]:
    """Yield Arrow streams over the calls of a store, for DuckDB to read once and at the same time, and their columns.

    A row whose `sample` is 1 is no call: leave it out. Kinds of tasks have the names that the user gave them. A store
    of few calls comes in one part.

    Raises:
        StoreError: it is no store, it lacks columns, or a column holds what it cannot.
    """
    engine = open_store(path)
    with store_errors(path), ExitStack() as stack:
        stack.callback(engine.dispose)
        with engine.connect() as connection:
            have = [row[1] for row in connection.exec_driver_sql("pragma table_info(calls)")]
            wanted(str(path), have, columns)
            # Both in one `select` without these brackets would read every row.
            ends = "select (select min(rowid) from calls), (select max(rowid) from calls)"
            first, last = connection.exec_driver_sql(ends).one()
            named = connection.exec_driver_sql("select 1 from task_names limit 1").scalar()
        names = ", ".join(column.name for column in columns)
        query = f"select 1 as sample, {_samples(columns)} union all select 0, {_renamed(columns) if named else names} from calls"
        file = stack.enter_context(apart(path))
        yield [_stream(stack, file, f"{query} {where}") for where in _ranges(first or 0, last or 0, parts)], names


@contextmanager
def apart(path: Path) -> Iterator[Path]:
    """Yield the path of a store, or of a copy of it where this process records to it.

    ADBC brings an SQLite of its own. As that closes a file, the recorder's locks on it are gone, and with them the
    store's log or worse, once another program writes or closes it.
    """
    if not _is_recorded_here(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="tokenflation-") as folder:
        copy = Path(folder, "copy.db")
        with closing(reader(path)()) as store, closing(sqlite3.connect(copy)) as target:
            store.backup(target)
        yield copy


def _is_recorded_here(path: Path) -> bool:
    """Return whether this process records to a file, which then nobody in it may open and close by itself."""
    recording = active()
    try:
        return recording is not None and os.path.samefile(recording.store, path)
    except OSError:
        return False


def _samples(columns: Sequence[Column]) -> str:
    # ADBC takes a column's type from the first rows it sees; a leading row without NULLs settles each type.
    samples = {"text": "''", "int": "0", "float": "0.0", "bytes": "x'00'"}
    return ", ".join(f"{samples[column.kind]} as {column.name}" for column in columns)


def _ranges(first: int, last: int, parts: int) -> list[str]:
    """Return conditions that share the rows out; what is added while the parts are read is in none of them."""
    if parts < 2 or last - first < _PART_ROWS:
        return [""]
    edges = [first + (last - first) * part // parts for part in range(parts)] + [last + 1]
    return [f"where rowid >= {low} and rowid < {high}" for low, high in pairwise(edges)]


def _stream(stack: ExitStack, path: Path, query: str) -> object:
    store = stack.enter_context(adbc_sqlite.connect(_read_only_uri(path)))
    cursor = stack.enter_context(store.cursor())
    cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": str(_BATCH)})
    cursor.execute(query)
    return cursor.fetch_arrow()


def _read_only_uri(path: Path) -> str:
    file = path.absolute()
    # As `open_store` does: a WAL database in a folder that may not be written is read as one that nobody writes.
    quiet = not os.access(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()
    return f"{file.as_uri()}?mode=ro{'&immutable=1' if quiet else ''}"


def _renamed(columns: Sequence[Column]) -> str:
    """Return the columns to select, kinds of tasks by the names that the user gave them."""
    return ", ".join(f"{RENAMED_TASK} as task" if column.name == "task" else column.name for column in columns)


def _fill_from_url(connection: duckdb.DuckDBPyConnection, url: str, columns: Sequence[Column]) -> None:
    for place, frame in enumerate(url_frames(url, columns)):
        connection.register("chunk", frame)
        connection.execute("create temp table calls as from chunk" if place == 0 else "insert into calls from chunk")
        connection.unregister("chunk")


def url_frames(url: str, columns: Sequence[Column], order: str = "") -> Iterator[pd.DataFrame]:
    """Yield the calls of a database in frames of some ten thousand rows, at least one; errors as of `opened`."""
    try:
        parsed = sa.make_url(url)
        engine = sa.create_engine(parsed)
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        raise StoreError(
            f"{url.split('://')[0]}://... cannot be opened: {error}. Give a SQLAlchemy URL such as "
            "postgresql+psycopg://user@host/database, and install its driver."
        ) from error
    shown = parsed.render_as_string(hide_password=True)
    try:
        with engine.connect().execution_options(yield_per=_CHUNK) as connection:
            inspector = sa.inspect(connection)
            tables = set(inspector.get_table_names())
            meta = sa.table("meta", sa.column("name"), sa.column("value"))
            version = sa.select(meta.c.value).where(meta.c.name == "schema_version")
            check_version(shown, connection.scalar(version) if "meta" in tables else None)
            have = [str(column["name"]) for column in inspector.get_columns("calls")] if "calls" in tables else []
            wanted(shown, have, columns)
            names = _renamed(columns) if "task_names" in tables else ", ".join(column.name for column in columns)
            rows = connection.execute(sa.text(f"select {names} from calls {order}"))
            chunks = rows.partitions(_CHUNK)
            yield _checked(from_rows((tuple(row) for row in next(chunks, [])), columns), columns, shown)
            for chunk in chunks:
                yield _checked(from_rows((tuple(row) for row in chunk), columns), columns, shown)
    except sa.exc.SQLAlchemyError as error:
        raise StoreError(f"{shown} cannot be read as a store: {error}. Check the address and the rights.") from error
    finally:
        engine.dispose()


def _checked(frame: pd.DataFrame, columns: Sequence[Column], name: str) -> pd.DataFrame:
    with duckdb.connect() as connection:
        connection.register("given", frame)
        connection.execute(f"create temp view calls as select {_typed(columns)} from given")
        check_table(connection, name, columns)
    return frame


def as_path(source: str | Path) -> str | Path:
    """Return a SQLite URL as the path that it names; anything else as it is."""
    if "://" not in str(source):
        return Path(source)
    try:
        parsed = sa.make_url(str(source))
    except sa.exc.SQLAlchemyError:
        return str(source)
    return Path(parsed.database) if parsed.get_backend_name() == "sqlite" and parsed.database else str(source)


def is_store(source: str | Path) -> bool:
    """Return whether a path is that of an SQLite file.

    Raises:
        StoreError: it cannot be read.
    """
    path = Path(source)
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}. Check the file's permissions.") from error
