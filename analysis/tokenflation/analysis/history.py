"""Reads a recorded demand: bins of counts or rates over time, or one row per request. Knows nothing of forecasts.

Bins may be missing and times may jump: the series returned has every bin of its span, NaN where nothing was recorded.
Formats: CSV with a header (ServeGen-like `t_s, req_per_s, ...`; Azure LLM traces `TIMESTAMP,ContextTokens,GeneratedTokens`;
any other with a time column and numbers) and JSON lines (Mooncake `timestamp` in ms, `input_length`, `output_length`),
plain or compressed (.gz, .xz, .bz2, .zst). Sources: Azure/AzurePublicDataset, kvcache-ai/Mooncake, alibaba/ServeGen.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.sdk.errors import FrameError

__all__ = ["History", "is_store", "of_events", "read_history", "read_table"]

Floats = NDArray[np.float64]

_TIMES = ("t_s", "time", "timestamp", "ts", "date", "datetime", "ds", "bucket_start", "started_at_ns", "t", "start")
_EVENTS = {"contexttokens": "input_tokens", "generatedtokens": "output_tokens", "input_length": "input_tokens",
           "output_length": "output_tokens", "input_tokens": "input_tokens", "output_tokens": "output_tokens"}  # fmt: skip
_MOST_BINS = 2_000_000
# Bins that requests are counted in: the longest of which there are enough.
_WIDTHS = (1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)
_LEAST_BINS = 50


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


def is_store(path: str | Path) -> bool:
    """Return whether the file is a SQLite database, so one of our stores and no table."""
    try:
        with Path(path).open("rb") as file:
            return file.read(16) == b"SQLite format 3\x00"
    except OSError:
        return False


def read_history(path: str | Path, *, column: str | None = None, bin_s: float | None = None) -> History:
    """Return one series of a file: of bins the column named (by default the first of numbers), of requests their rate.

    For requests `column` may also be `input_tokens` or `output_tokens`; `bin_s` is the length of their bins in seconds.

    Raises:
        FrameError: the file cannot be read, has no times or no such column, or its times make no series.
    """
    table = read_table(path)
    times, name = _times(table, path)
    if (events := _requests(table, name)) is not None:
        return of_events(times, events, column=column, bin_s=bin_s, source=str(path))
    numbers = [str(one) for one in table.columns if one != name and pd.api.types.is_numeric_dtype(table[one])]
    if not numbers:
        return of_events(times, {}, column=column, bin_s=bin_s, source=str(path))
    if column is not None and column not in numbers:
        raise FrameError(f"{path} has no column of numbers {column!r}; it has {numbers}.")
    chosen = column or numbers[0]
    values = table[chosen].to_numpy(dtype=np.float64, na_value=np.nan)
    return _of_bins(times, values, chosen, str(path))


def read_table(path: str | Path) -> pd.DataFrame:
    """Return the rows of a CSV or JSON-lines file, compressed or not.

    Raises:
        FrameError: it is not there, is empty, or is neither.
    """
    path = Path(path)
    plain = [one.lower() for one in path.suffixes if one.lower() not in (".gz", ".xz", ".bz2", ".zst")]
    try:
        if plain and plain[-1] in (".jsonl", ".ndjson"):
            table = pd.read_json(path, lines=True, dtype=False)
        else:
            table = pd.read_csv(path)
    except FileNotFoundError as error:
        raise FrameError(f"{path} is not there; give the path of a CSV or JSON-lines file, or of a store.") from error
    except Exception as error:  # pandas and the decompressors raise what they like on a broken file
        raise FrameError(f"{path} cannot be read as CSV or JSON lines: {str(error).strip()[:200]}") from error
    if table.empty:
        raise FrameError(f"{path} has no rows; a recorded demand needs a time and a number on each.")
    return table


def _times(table: pd.DataFrame, path: str | Path) -> tuple[Floats, str]:
    """Return seconds of each row, and the name of the column they stand in."""
    names = {str(one).strip().lower(): str(one) for one in table.columns}
    name = next((names[one] for one in _TIMES if one in names), str(table.columns[0]))
    cells = table[name]
    if pd.api.types.is_numeric_dtype(cells):
        seconds: Floats = np.asarray(
            cells.to_numpy(dtype=np.float64, na_value=np.nan) * _scale(name, cells, table), dtype=np.float64
        )
    else:
        parsed = pd.to_datetime(cells, errors="coerce", utc=True, format="mixed")
        seconds = np.asarray((parsed - pd.Timestamp(0, tz="UTC")).dt.total_seconds(), dtype=np.float64)
    if np.isfinite(seconds).sum() < 2 or np.isfinite(seconds).mean() < 0.5:
        raise FrameError(
            f"{path}: column {name!r} does not hold times; name the column of times `time` and write seconds or ISO dates."
        )
    return seconds, name


def _scale(name: str, cells: "pd.Series[float]", table: pd.DataFrame) -> float:
    """Return the seconds that 1 in a column of numeric times stands for, by its name, its format or its size."""
    for ending, seconds in (("_ns", 1e-9), ("_us", 1e-6), ("_ms", 1e-3), ("_s", 1.0)):
        if name.lower().endswith(ending):
            return seconds
    if "input_length" in table.columns and float(cells.max()) > 1e5:
        return 1e-3  # Mooncake writes milliseconds from the start; a replay in seconds does not last a day.
    size = float(cells.abs().median())
    return next((seconds for least, seconds in ((1e17, 1e-9), (1e14, 1e-6), (1e11, 1e-3)) if size >= least), 1.0)


def _requests(table: pd.DataFrame, time: str) -> dict[str, Floats] | None:
    """Return tokens by kind where the table has one row per request; None where it has bins."""
    found = {_EVENTS[str(one).strip().lower()]: table[one].to_numpy(dtype=np.float64, na_value=np.nan)
             for one in table.columns if one != time and str(one).strip().lower() in _EVENTS
             and pd.api.types.is_numeric_dtype(table[one])}  # fmt: skip
    return found if {"input_tokens", "output_tokens"} <= found.keys() else None


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


def _of_bins(times: Floats, values: Floats, name: str, source: str) -> History:
    known = np.isfinite(times)
    times, values = times[known], values[known]
    steps = np.diff(np.unique(times))
    if not len(steps):
        raise FrameError(f"{source}: all rows have one time; a series needs demand over time.")
    width = float(np.median(steps))
    span = float(np.ptp(times))
    if span / width > _MOST_BINS:
        raise FrameError(f"{source} would have {span / width:.3g} bins of {width:g} s; check its times.")
    place = np.round((times - times.min()) / width).astype(np.int64)
    if np.median(np.abs((times - times.min()) / width - place)) > 0.25:
        raise FrameError(
            f"{source}: the times lie on no grid (median step {width:g} s); give one row per bin of equal length."
        )
    if np.isinf(values).any() or (values < 0).any():
        raise FrameError(f"{source}: column {name!r} holds a negative or infinite number; demand is a count or a rate.")
    found = np.full(int(place.max()) + 1, np.nan)
    # Of bins written twice the last counts, as where a log was written again.
    fits = np.isfinite(values)
    found[place[fits]] = values[fits]
    return History(name, float(times.min()), width, found, _unit(name))


def _unit(name: str) -> str:
    lower = name.lower()
    return lower.replace("_per_", "/") if "_per_" in lower else f"{name} per bin"
