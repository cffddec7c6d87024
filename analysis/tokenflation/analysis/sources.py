"""Reads calls from a store, Parquet or a database into a frame. Knows nothing of what the columns are used for.

For much data, give the path itself to `profile` or `tasks`: a frame of calls takes a kilobyte a call.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from tokenflation.analysis.columns import CALL_COLUMNS
from tokenflation.analysis.frames import typed_array
from tokenflation.analysis.refusing import no_calls, parquet_errors, store_errors
from tokenflation.analysis.streams import as_path, in_order, parquet_files, url_frames
from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.tables import Column

__all__ = ["load"]

_MEMORY = "200MB"
_REPEATED = 16
"""Text is held once for each value where at least so many rows share one, on average."""
_NO_BYTES = np.array([None], dtype=object)
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
    else:
        frame = _load(path, columns)
    if frame.empty:
        raise no_calls(source)
    again = frame["call_id"].duplicated()
    if again.any():
        raise StoreError(
            f"{source} holds the call {frame['call_id'][again].iloc[0]!r} more than once, so it would count twice. "
            "Remove the others, or files of Parquet that hold the same calls."
        )
    return frame


def _load(path: Path, columns: Sequence[Column]) -> pd.DataFrame:
    refused = parquet_errors if parquet_files(path) else store_errors
    with in_order(path, columns, _MEMORY) as engine, refused(path):
        order = engine.execute(f"select place from (select *, row_number() over () - 1 as place from calls) {_ORDER}")
        places = order.fetchnumpy()["place"]
        return pd.DataFrame({column.name: _column(engine, column, places) for column in columns}, copy=False)


def _column(engine: duckdb.DuckDBPyConnection, column: Column, places: Any) -> Any:
    """Return one column in order. One at a time, so that no second copy of the whole is held."""
    name = column.name
    if column.kind in ("text", "bytes"):
        found = engine.execute(f"select approx_count_distinct({name}) from calls").fetchone()
        distinct = found[0] if found else 0
        if distinct == 0:
            nothing = np.full(len(places), -1)
            return (
                pd.array([], dtype="str").take(nothing, allow_fill=True)
                if column.kind == "text"
                else _NO_BYTES[nothing]
            )
        # Text that repeats becomes one object for each value, not for each row.
        if column.kind == "text" and distinct < len(places) / _REPEATED:
            engine.execute(f"create type texts as enum (select distinct {name} from calls where {name} is not null)")
            texts = engine.execute("select unnest(enum_range(null::texts)) as value").fetchnumpy()["value"]
            query = f"select coalesce(cast(enum_code({name}::texts) as bigint), -1) as code from calls"
            codes = engine.execute(query).fetchnumpy()["code"]
            engine.execute("drop type texts")
            return typed_array(texts, column).take(codes[places], allow_fill=True)
    values = engine.execute(f"select {name} from calls").fetchnumpy()[name]
    return typed_array(values[places], column)
