"""Reads calls from a store, Parquet or a database into a frame. Knows nothing of what the columns are used for.

For much data, give the path itself to `profile` or `tasks`: a frame of calls takes a kilobyte a call.
"""

from collections.abc import Sequence
from pathlib import Path

import duckdb
import pandas as pd

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import from_arrays
from tokenflation.analysis.streams import (
    as_path,
    no_calls,
    parquet_errors,
    parquet_files,
    store_reader,
    url_frames,
    wanted,
)
from tokenflation.sdk.store.tables import Column

__all__ = ["load"]

_ORDER = "order by started_at_ns, task_id, agent_run_id, step, call_id"


def load(source: str | Path, *, blocks: bool = False) -> pd.DataFrame:
    """Return one row per call, in order of start; columns, units and meanings as in `columns.CALL_COLUMNS`.

    `source` is a store's path, a Parquet file (or a folder of them) or a SQLAlchemy URL. The prefix hashes, most of a
    store's bytes, come only with `blocks=True`. A number that was not reported is `<NA>`, or NaN in a float column.

    Raises:
        StoreError: nothing is there, it is not a store, it is newer than this library, or it holds no call.
    """
    columns = [column for column in CALL_COLUMNS.values() if blocks or column.name != "block_hashes"]
    path = as_path(source)
    if isinstance(path, str):
        frame = pd.concat(list(url_frames(path, columns, _ORDER)), ignore_index=True)
    elif files := parquet_files(path):
        frame = _load_parquet(path, files, columns)
    else:
        frame = _load_store(path, columns)
    if frame.empty:
        raise no_calls(source)
    return frame


def _load_store(path: Path, columns: Sequence[Column]) -> pd.DataFrame:
    with store_reader(path, columns) as ((handle,), names), duckdb.connect() as engine:
        engine.register("source", handle)
        found = engine.execute(f"select {names} from source where sample = 0 {_ORDER}").fetchnumpy()
        return from_arrays(found, columns)


def _load_parquet(path: Path, files: list[str], columns: Sequence[Column]) -> pd.DataFrame:
    with parquet_errors(path), duckdb.connect() as engine:
        described = engine.execute("describe select * from read_parquet(?, union_by_name = true)", [files])
        wanted(str(path), [row[0] for row in described.fetchall()], columns)
        names = ", ".join(column.name for column in columns)
        query = f"select {names} from read_parquet(?, union_by_name = true) {_ORDER}"
        return from_arrays(engine.execute(query, [files]).fetchnumpy(), columns)
