"""Gives the ratios of a profile their intervals: fetches what they need of the tasks. The statistics: `ratios`.

Of a kind with at most `NORMAL_TASKS` tasks all are fetched; of a larger one DuckDB adds up the squared residuals over
all its tasks, and the interval is the normal limit. So the time is bounded whatever the number of calls.
"""

from typing import Any

import duckdb
import numpy as np

from tokenflation.analysis.columns import RATIOS
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.statistics.ratios import NORMAL_TASKS, agreed, from_tasks, normal

__all__ = ["add_intervals", "errors_sql"]

_ROWS = 100_000
"""Tasks fetched at once."""

_PAIRS = [one.ratio for one in RATIOS if one.ratio is not None]
_IS_SHARE = np.array([one.unit == "fraction" for one in RATIOS])
# Shares that add up to 1: all those of billed tokens, and of calls by what they report.
_WHOLES = [
    [place for place, pair in enumerate(_PAIRS) if pair[1] == whole and _IS_SHARE[place]]
    for whole in ("billed_tokens", "calls")
]


def add_intervals(connection: duckdb.DuckDBPyConnection, tasks: str, found: dict[str, Any], level: float) -> None:
    """Add `<ratio>_low` and `<ratio>_high` to the columns of a profile, whose rows are kinds in order."""
    kinds, counts = found["task"], np.ma.getdata(found["tasks"]).astype(np.int64)
    low, high = np.full((len(kinds), len(RATIOS)), np.nan), np.full((len(kinds), len(RATIOS)), np.nan)
    many = counts > NORMAL_TASKS
    if many.any():
        ends = _of_many(connection, tasks, found, level)
        low[many], high[many] = ends[0][many], ends[1][many]
    some = ~many & (counts >= LEAST_RUNS)
    for size in np.unique(counts[some]):
        places = np.flatnonzero(counts == size)
        step = max(1, _ROWS // int(size))
        for first in range(0, len(places), step):
            part = places[first : first + step]
            sides = _fetched(connection, tasks, kinds[part], int(size))
            low[part], high[part] = from_tasks(*sides, _IS_SHARE, level)
    for parts in _WHOLES:
        low, high = agreed(low, high, parts)
    for place, measure in enumerate(RATIOS):
        # What nobody reports adds up to 0 here, and to nothing in the ratio: no ratio, no interval.
        missing = np.ma.getmaskarray(np.ma.masked_invalid(found[f"{measure.name}_mean"].astype(np.float64)))
        low[missing, place] = high[missing, place] = np.nan
        found[f"{measure.name}_low"] = np.ma.masked_invalid(low[:, place])
        found[f"{measure.name}_high"] = np.ma.masked_invalid(high[:, place])


def _fetched(
    connection: duckdb.DuckDBPyConnection, tasks: str, kinds: Any, size: int
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    names = sorted({name for pair in _PAIRS for name in pair})
    query = f"select {', '.join(names)} from {tasks} where task in (select unnest(?)) order by task, task_id"
    found = connection.execute(query, [kinds.tolist()]).fetchnumpy()
    columns = {name: np.ma.filled(np.ma.asarray(found[name]).astype(np.float64), np.nan) for name in names}
    shape = (len(kinds), size, len(_PAIRS))
    numerators = np.stack([columns[a] for a, _ in _PAIRS], axis=1).reshape(shape)
    return numerators, np.stack([columns[b] for _, b in _PAIRS], axis=1).reshape(shape)


def errors_sql(tasks: str) -> str:
    """Return the SQL of squared errors `s`, counts `n` and sums `a` of each ratio by kind, numbered as in `RATIOS`.

    It reads a relation of tasks, and `means` with the column `kind` and each ratio as `r0`, `r1`, ... The sums are of
    doubles: products of token counts go beyond a bigint, and sums of bigints beyond what some engines give back.
    """
    cells = ", ".join(
        f"sum((coalesce({a}, 0) - r{place} * {b}) * (coalesce({a}, 0) - r{place} * {b})) as s{place}, "
        f"count({b}) as n{place}, sum({a}) * 1e0 as a{place}"
        for place, (a, b) in enumerate(_PAIRS)
    )
    return f"select {cells} from {tasks} join means on task = kind group by task order by task"


def _of_many(
    connection: duckdb.DuckDBPyConnection, tasks: str, found: dict[str, Any], level: float
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    ratio = np.stack([np.ma.filled(found[f"{one.name}_mean"].astype(np.float64), np.nan) for one in RATIOS], axis=1)
    connection.register(
        "means", {"kind": found["task"], **{f"r{place}": ratio[:, place] for place in range(len(_PAIRS))}}
    )
    sums = connection.execute(errors_sql(tasks)).fetchnumpy()
    connection.unregister("means")
    squares, count, total = (
        np.stack(
            [
                np.ma.filled(np.ma.asarray(sums[f"{letter}{place}"]).astype(np.float64), np.nan)
                for place in range(len(_PAIRS))
            ],
            axis=1,
        )
        for letter in "sna"
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.sqrt(count / np.maximum(count - 1, 1) * squares) / total
    return normal(ratio, error, count, _IS_SHARE, level)
