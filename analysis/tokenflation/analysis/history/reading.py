"""Reads a recorded demand: bins of counts or rates over time, or one row per request. Knows nothing of forecasts.

Bins may be missing and times may jump: the series returned has every bin of its span, NaN where nothing was recorded.
Formats: CSV with a header (ServeGen-like `t_s, req_per_s, ...`; Azure LLM traces
`TIMESTAMP,ContextTokens,GeneratedTokens`; BurstGPT `Timestamp,Request tokens,Response tokens, ...`; any other with a
time column and numbers) and JSON lines (Mooncake `timestamp` in ms, `input_length`, `output_length`), plain or
compressed (.gz, .xz, .bz2, .zst). Sources: Azure/AzurePublicDataset, HPMLL/BurstGPT, kvcache-ai/Mooncake,
alibaba/ServeGen.
"""

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.history.rows import line_of, read_table
from tokenflation.sdk.errors import FrameError

__all__ = ["History", "as_rate", "of_events", "read_history", "read_kinds"]

Floats = NDArray[np.float64]

_TIMES = ("t_s", "time", "timestamp", "ts", "date", "datetime", "ds", "bucket_start", "started_at_ns", "t", "start",
          "epoch", "unix", "unixtime", "hour", "day", "ts_ms", "time_ms", "timestamp_ms", "epoch_ms", "time_s")  # fmt: skip
# What is forecast where no column is named: the first of these, else the first of numbers.
_WANTED = ("requests", "req_per_s", "requests_per_s", "request_count", "tasks", "calls", "arrivals", "count", "value", "y",
           "tokens")  # fmt: skip
_KINDS = ("task", "kind", "task_kind", "type")
_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "min": 60.0, "minute": 60.0, "h": 3600.0, "hour": 3600.0,
            "day": 86_400.0}  # fmt: skip
# Traces that name these have one row per request; others only where their times lie on no grid.
_TRACES = {"contexttokens": "input_tokens", "generatedtokens": "output_tokens", "input_length": "input_tokens",
           "output_length": "output_tokens", "request tokens": "input_tokens", "response tokens": "output_tokens"}  # fmt: skip
_EVENTS = _TRACES | {"input_tokens": "input_tokens", "output_tokens": "output_tokens"}
# A time of day, and behind it what says its zone.
_ZONED = r"\d[T ]\d{1,2}(?::\d{2}){0,2}(?:[.,]\d+)?\s*(?:[AP]M)?\s*(?:Z|UTC|GMT|[+-]\d{2}:?(?:\d{2})?)$"
_MOST_BINS = 2_000_000
# Bins that requests are counted in: the longest of which there are enough.
_WIDTHS = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
_LEAST_BINS = 50
# Lengths of bins that times are meant to be apart by, where they stray a little from them.
_USUAL = (1.0, 5.0, 10.0, 15.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0, 10_800.0,
          14_400.0, 21_600.0, 43_200.0, 86_400.0)  # fmt: skip
_STRAY = 0.01
_DAY_S = 86_400.0
# Below it a column `hour` or `day` counts these from a start of its own.
_LEAST_UNIX = 1e7
_OFF_GRID = 0.2
# No demand in any unit is larger; sums of such numbers would leave what a float can hold.
_MOST_DEMAND = 1e100


@dataclass(frozen=True, slots=True)
class History:
    """One recorded series: demand by bin of equal length, without a hole in time."""

    name: str
    start_s: float
    """Start of the first bin, in the source's time (Unix seconds where it has dates)."""
    bin_s: float
    values: Floats
    """Demand of each bin, NaN where none was recorded."""
    unit: str


def read_history(path: str | Path, *, column: str | None = None, bin_s: float | None = None) -> History:
    """Return one series of a file: of bins the column named (by default the first of numbers), of requests their rate.

    For requests `column` may also be `input_tokens` or `output_tokens`; `bin_s` is the length of their bins in seconds.

    Raises:
        FrameError: the file cannot be read, has no times or no such column, or its times make no series.
    """
    table = read_table(path)
    times, name = _times(table, path)
    if (events := _requests(table, name, times)) is not None:
        return of_events(times, events, column=column, bin_s=bin_s, source=str(path))
    numbers = [str(one) for one in table.columns if one != name and _is_numbers(table[one])]
    if column is not None and column not in numbers:
        raise FrameError(f"{path} has no column of numbers {column!r}; it has {numbers}.")
    meant = _called(table, _WANTED, [name])
    if not numbers and meant is not None and table[meant].notna().any():
        raise FrameError(f"{path}: column {meant!r} holds {table[meant].dropna().iloc[0]!s}, no number; write counts or rates "
                         "in it, or leave it out if each row is a request.")  # fmt: skip
    if not numbers:
        return of_events(times, {}, column=column, bin_s=bin_s, source=str(path))
    chosen = column or next((one for name in _WANTED for one in numbers if one.strip().lower() == name), numbers[0])
    label = _called(table, _KINDS, numbers)
    return _of_bins(times, _numbers(table, chosen, path), chosen, str(path), None if label is None else table[label])


def read_kinds(path: str | Path, kinds: Sequence[str]) -> dict[str, History] | None:
    """Return the series of each of `kinds` on one grid, where the file has a column of each, or names them in a column.

    None where it does neither, and so counts tasks of no kind.

    Raises:
        FrameError: as `read_history`.
    """
    table = read_table(path)
    times, name = _times(table, path)
    label = _called(table, _KINDS, [name])
    found: dict[str, Floats] = {}
    numbers: list[str] = []
    if set(kinds) <= set(map(str, table.columns)):
        found = {kind: _numbers(table, kind, path) for kind in kinds}
    elif label is not None and {str(one) for one in table[label].dropna()} <= set(kinds):
        numbers = [str(one) for one in table.columns if one not in (name, label) and _is_numbers(table[one])]
        if not numbers:
            return None
        values, mine = _numbers(table, numbers[0], path), table[label].astype("str").to_numpy()
        found = {kind: np.where(mine == kind, values, np.nan) for kind in kinds if (mine == kind).any()}
    if not found:
        return None
    # Every series gets all times of the file, so that all share one grid; a kind without a row had no task then.
    series = {kind: _of_bins(times, values, kind, str(path)) for kind, values in found.items()}
    recorded = ~np.all([np.isnan(one.values) for one in series.values()], axis=0)
    unit = _unit(numbers[0]) if numbers else "tasks per bin"
    whole = {kind: np.where(recorded, np.nan_to_num(one.values), np.nan) for kind, one in series.items()}
    return {kind: as_rate(History(kind, one.start_s, one.bin_s, whole[kind], unit)) for kind, one in series.items()}


def _called(table: pd.DataFrame, names: Sequence[str], but: Sequence[str]) -> str | None:
    """Return the first column that goes by one of the names, in whatever case, and is none of `but`."""
    return next((str(one) for one in table.columns if str(one).strip().lower() in names and str(one) not in but), None)


def as_rate(history: History) -> History:
    """Return a series of tasks as tasks per second, whatever time its unit says that its numbers are of.

    Raises:
        FrameError: the unit names no time that is known.
    """
    _, _, of = history.unit.rpartition("/") if "/" in history.unit else ("", "", "bin")
    seconds = {**_SECONDS, "bin": history.bin_s}.get(of)
    if seconds is None:
        raise FrameError(
            f"column {history.name!r} counts per {of!r}; name it per one of {', '.join(_SECONDS)}, or without."
        )
    return History(history.name, history.start_s, history.bin_s, history.values / seconds, "tasks/s")


def _is_numbers(cells: "pd.Series[float]") -> bool:
    """Return whether most of what a column holds are numbers."""
    if pd.api.types.is_bool_dtype(cells):
        return False
    if pd.api.types.is_numeric_dtype(cells):
        return True
    held = cells.dropna()
    plain = held.astype("str").str.replace(",", "", regex=False)
    return bool(len(held)) and bool(pd.to_numeric(plain, errors="coerce").notna().mean() > 0.5)


def _numbers(table: pd.DataFrame, column: str, path: str | Path) -> Floats:
    """Return a column's numbers, NaN where a cell is empty.

    Raises:
        FrameError: a cell holds something else, or a number that demand cannot be.
    """
    cells = table[column]
    values = np.asarray(
        pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan), dtype=np.float64
    )
    wrong = np.flatnonzero((np.isnan(values) & cells.notna().to_numpy()) | (values > _MOST_DEMAND) | (values < 0))
    if len(wrong):
        row = int(wrong[0])
        more = f" ({len(wrong):,} such cells)" if len(wrong) > 1 else ""
        raise FrameError(f"{path}, line {line_of(path, row)}: column {column!r} holds {cells.iloc[row]!s}{more}, a negative, "
                         f"infinite (above {_MOST_DEMAND:g}) or no number; write counts or rates with a point before decimals and without other separators, and leave a gap empty.")  # fmt: skip
    return values


def _times(table: pd.DataFrame, path: str | Path) -> tuple[Floats, str]:
    """Return seconds of each row, and the name of the column they stand in."""
    names = {str(one).strip().lower(): str(one) for one in table.columns}
    name = next((names[one] for one in _TIMES if one in names), None) or _column_of_times(table, path)
    cells = table[name]
    if pd.api.types.is_numeric_dtype(cells):
        raw = cells.to_numpy(dtype=np.float64, na_value=np.nan)
        seconds = np.asarray(raw * _scale(name, cells, table), dtype=np.float64)
    else:
        seconds = _dates(cells)
        _refuse_zones_in_part(cells, seconds, name, path)
    wrong = np.flatnonzero(np.isnan(seconds) & cells.notna().to_numpy())
    if np.isfinite(seconds).sum() == 1 and not len(wrong):
        raise FrameError(f"{path} has one row with a time; a series needs demand over time. Record longer.")
    if np.isfinite(seconds).sum() < 2 or len(wrong) > 0.5 * len(cells):
        raise FrameError(
            f"{path}: column {name!r} does not hold times; name the column of times `time` and write seconds or ISO dates."
        )
    if len(wrong):
        row = int(wrong[0])
        raise FrameError(f"{path}, line {line_of(path, row)}: column {name!r} holds {cells.iloc[row]!s}, no time as the others "
                         "are; correct it or take the row out.")  # fmt: skip
    return seconds, name


def _refuse_zones_in_part(cells: "pd.Series[str]", seconds: Floats, name: str, path: str | Path) -> None:
    """Raise FrameError where some dates say their zone and others do not: those would be read as UTC, hours off."""
    dated = np.flatnonzero(np.isfinite(seconds))
    zoned = cells.astype("str").str.strip().str.contains(_ZONED, flags=re.IGNORECASE).to_numpy()[dated]
    if not zoned.any() or zoned.all():
        return
    without, having = int(dated[~zoned][0]), int(dated[zoned][0])
    raise FrameError(f"{path}, line {line_of(path, without)}: column {name!r} holds {cells.iloc[without]!s} without a zone, "
                     f"while line {line_of(path, having)} has one ({cells.iloc[having]!s}); write a zone in every line, or in "
                     "none.")  # fmt: skip


def _column_of_times(table: pd.DataFrame, path: str | Path) -> str:
    """Return the first column of dates, or a first column of numbers that only grow, where none has a usual name."""
    for one in table.columns:
        if not _is_numbers(table[one]) and np.isfinite(_dates(table[one])).mean() > 0.5:
            return str(one)
    first = table[table.columns[0]]
    if _is_numbers(first) and len(table.columns) > 1 and first.is_monotonic_increasing and first.is_unique:
        return str(table.columns[0])
    raise FrameError(f"{path} has no column of times; it has {[str(one) for one in table.columns]}. Name one of them `time`, "
                     "of seconds or ISO dates.")  # fmt: skip


def _dates(cells: "pd.Series[str]") -> Floats:
    """Return Unix seconds of dates, all read by one format where one fits them all; NaN where a cell is none.

    ISO dates first; else the format of the first cell, then day before month; only then cell by cell.
    """
    best: Floats = np.full(len(cells), np.nan)
    text = cells.astype("str").where(cells.notna())
    tries: tuple[dict[str, Any], ...] = ({"format": "ISO8601"}, {}, {"dayfirst": True}, {"format": "mixed"})
    for how in tries:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a guessed format, which is what is tried here
            parsed = pd.to_datetime(text, errors="coerce", utc=True, **how)
        # Told by its text, the origin counts in seconds; in nanoseconds, years from 2262 on would not be told.
        seconds = np.asarray((parsed - pd.Timestamp("1970-01-01", tz="UTC")).dt.total_seconds(), dtype=np.float64)
        if np.isfinite(seconds).sum() > np.isfinite(best).sum():
            best = seconds
        if np.isfinite(best).sum() == cells.notna().sum():
            break
    return best


def _scale(name: str, cells: "pd.Series[float]", table: pd.DataFrame) -> float:
    """Return the seconds that 1 in a column of numeric times stands for, by its name, its format or its size."""
    for ending, seconds in (("_ns", 1e-9), ("_us", 1e-6), ("_ms", 1e-3), ("_s", 1.0)):
        if name.lower().endswith(ending):
            return seconds
    if "input_length" in table.columns and float(cells.max()) > 1e5:
        return 1e-3  # Mooncake writes milliseconds from the start; a replay in seconds does not last a day.
    size = float(cells.abs().median())
    if size < _LEAST_UNIX and name.strip().lower() in _SECONDS:
        return _SECONDS[name.strip().lower()]
    return next((seconds for least, seconds in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3)) if size >= least), 1.0)


def _requests(table: pd.DataFrame, time: str, times: Floats) -> dict[str, Floats] | None:
    """Return tokens by kind where the table has one row per request; None where it has bins."""
    columns = {str(one).strip().lower(): one for one in table.columns if one != time and _is_numbers(table[one])}
    found = {_EVENTS[name]: table[one].to_numpy(dtype=np.float64, na_value=np.nan)
             for name, one in columns.items() if name in _EVENTS and pd.api.types.is_numeric_dtype(table[one])}  # fmt: skip
    if not {"input_tokens", "output_tokens"} <= found.keys():
        return None
    return found if _TRACES.keys() & columns.keys() or not _on_a_grid(times) else None


def _on_a_grid(times: Floats) -> bool:
    """Return whether rows have times of their own, nearly all a whole number of the usual step apart."""
    known = np.sort(times[np.isfinite(times)])
    steps = np.diff(known)
    usual = float(np.median(steps)) if len(steps) else 0.0
    return (
        usual > 0
        and bool(np.mean(np.abs(steps / usual - np.round(steps / usual)) < 1e-6) > 0.95)
        and bool((steps > 0).all())
    )


def of_events(times: Floats, amounts: dict[str, Floats], *, column: str | None, bin_s: float | None,
              source: str) -> History:  # fmt: skip
    """Return the rate per second of events (or of one of their amounts), by bin from the first event to the last.

    Bins default to 10 minutes, or to what makes 50 of them out of a shorter span.

    Raises:
        FrameError: the column is not one of the amounts, or the events make no series.
    """
    known = np.isfinite(times)
    if column not in (None, "requests", "tasks", *amounts):
        raise FrameError(
            f"{source} has one row per request, so the column may be {['requests', *amounts]}, not {column!r}."
        )
    weights = amounts[column] if column in amounts else np.ones(len(times))
    start, span = float(times[known].min()), float(np.ptp(times[known]))
    if span <= 0:
        raise FrameError(f"{source}: all rows have one time; a series needs demand over time.")
    width = bin_s or max([one for one in _WIDTHS if one * _LEAST_BINS <= span], default=_WIDTHS[0])
    if not 0 < width <= span or span / width > _MOST_BINS:
        raise FrameError(f"{source} spans {span:g} s; bins of {width:g} s make no series of it. Give another length.")
    start = float(np.floor(start / width) * width)
    place = np.floor((times[known] - start) / width).astype(np.int64)
    total = np.bincount(place, weights=np.nan_to_num(weights[known]))
    # The last bin ends after the last row: it is cut.
    name = column or "requests"
    return History(name, start, width, total[: max(1, len(total) - 1)] / width, f"{name}/s")


def _of_bins(times: Floats, values: Floats, name: str, source: str, label: "pd.Series[str] | None" = None) -> History:
    """Return the series of bins; of bins written twice the last counts, but what kinds (`label`) hold adds up."""
    known = np.isfinite(times)
    if label is not None:
        rows = pd.DataFrame({"time": times, "label": label.astype("str").to_numpy(), "value": values})[known]
        last = rows.drop_duplicates(["time", "label"], keep="last")
        sums = last.groupby("time", sort=True)["value"].sum(min_count=1)
        times, values = sums.index.to_numpy(dtype=np.float64), sums.to_numpy(dtype=np.float64)
        known = np.isfinite(times)
    times, values = times[known], values[known]
    own, rows_held = np.unique(times), int(np.isfinite(values).sum())
    if 1 < len(own) <= 0.5 * rows_held:
        raise FrameError(f"{source}: {rows_held:,} rows have {len(own):,} times; give dates with the times of day, and one "
                         "series a file (or name what tells rows apart in a column `kind`).")  # fmt: skip
    steps = np.diff(own)
    if not len(steps):
        raise FrameError(f"{source}: all rows have one time; a series needs demand over time.")
    _refuse_months(steps, source)
    width = _width(own, float(np.median(steps)))
    span = float(np.ptp(times))
    if span / width > _MOST_BINS:
        raise FrameError(
            f"{source} would have {span / width:.3g} bins of {width:g} s; check its times, that all are in one unit (seconds or milliseconds)."
        )
    place = np.round((times - times.min()) / width).astype(np.int64)
    if _off_grid(times, width) > _OFF_GRID:
        raise FrameError(
            f"{source}: the times lie on no grid (median step {width:g} s); give one row per bin of equal length, or, if each row "
            "is a request, its time alone or with the columns input_tokens and output_tokens."
        )
    found = np.full(int(place.max()) + 1, np.nan)
    # Of bins written twice the last counts, as where a log was written again.
    fits = np.isfinite(values)
    found[place[fits]] = values[fits]
    return History(name, float(times.min()), width, found, _unit(name))


def _refuse_months(steps: Floats, source: str) -> None:
    """Raise FrameError where times are months apart: a grid of equal bins loses dates and some months."""
    if len(steps) > 1 and 28 * _DAY_S <= float(np.median(steps)) <= 31 * _DAY_S and np.ptp(steps) > 0.5 * _DAY_S:
        raise FrameError(
            f"{source}: the times are months apart, and months differ in length; give demand by the day, week or hour."
        )


def _width(times: Floats, step: float) -> float:
    """Return the length of bins: the median step, or the usual length that it strays from by a little.

    A collector's times stray by some ms or s; over thousands of bins a median off by a thousandth loses the grid.
    """
    usual = min(_USUAL, key=lambda one: abs(one - step))
    near = abs(step / usual - 1) <= _STRAY and _off_grid(times, usual) <= _OFF_GRID
    return usual if near else step


def _off_grid(times: Floats, width: float) -> float:
    """Return by what part of a bin times are off a grid, in the median."""
    since = (times - times.min()) / width
    off = (since - np.round(since)) % 1.0
    # The first may itself stray: what counts is how far the others are from where most of them are.
    turn = np.exp(2j * np.pi * off)
    off = np.angle(turn / np.exp(1j * np.angle(turn.mean()))) / (2 * np.pi)
    return float(np.median(np.abs(off)))


def _unit(name: str) -> str:
    lower = name.lower()
    return lower.replace("_per_", "/") if "_per_" in lower else f"{name} per bin"
