"""Recorded arrivals: reading their starts from a file, and measuring how they bunch. Knows nothing of plans.

Of a trace the counts in short cells are taken; what swings slower than half a day is their level, which a plan's shape
and growth stand for, and comes off as a sum of waves. What is alike still at the far end of two hours comes off as
well, so that a level that was not caught, or one that took part of the bunches with it, does no harm.
"""

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tokenflation.sdk.errors import PlanError

__all__ = ["REACH_S", "measured_excess", "read_arrivals", "resolution_s"]

Floats = NDArray[np.float64]

REACH_S = 7_200.0
"""Starts further apart than this are taken as independent of each other, but for the level."""
_LEVEL_S = 43_200.0
_DAY_S = 86_400.0
_COARSE_S = 300.0
_FAR_FROM = 0.75
_MOST_CELLS = 1 << 22
_FEWEST_CELLS = 16
_MOST_LINES = 10_000_000
_NAMES = ("time", "time_s", "timestamp", "t", "start", "started_at", "started_at_s", "started_at_ns", "arrival", "arrival_s",
          "arrived_at", "created_at", "date", "datetime")  # fmt: skip
_NS = "_ns"


def read_arrivals(path: str | Path) -> tuple[float, ...]:
    """Return the starts in a CSV file in seconds, sorted: numbers of seconds or ISO 8601 times, one a line.

    With a header, the first column that is named as a time counts (`time`, `timestamp`, `started_at`, ...; a name that
    ends in _ns is in nanoseconds), else the first. Columns are parted by commas, semicolons or tabs; blank lines and
    lines that begin with # are passed over. Times with an offset are put on UTC.

    Raises:
        PlanError: the file cannot be read, or a line holds no time; the message names the line and the fix.
    """
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            return _parsed(str(path), file)
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is no text file; give starts of tasks, one a line, in seconds or as 2026-01-31T12:00:00.") \
            from error  # fmt: skip
    except OSError as error:
        raise PlanError(
            f"the arrivals {path} cannot be read: {error.strerror}. Give the path of a CSV file."
        ) from error


def _parsed(path: str, lines: Iterable[str]) -> tuple[float, ...]:
    found: list[float] = []
    column, scale, zoned = 0, 1.0, None
    first = True
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        cells = [cell.strip().strip('"') for cell in line.replace(";", ",").replace("\t", ",").split(",")]
        if first:
            first = False
            names = [cell.lower() for cell in cells]
            column = next((place for place, name in enumerate(names) if name in _NAMES), 0)
            scale = 1e-9 if names[column].endswith(_NS) else 1.0
            if names[column] in _NAMES or (_time(cells[column]) is None and not any(map(_time, cells))):
                continue
        cell = cells[column] if column < len(cells) else ""
        time = _time(cell)
        if time is None:
            shown = cell if len(cell) <= 40 else f"{cell[:37]}..."
            raise PlanError(f"{path}, line {number}: {shown!r} is no time; write seconds, as 12.5, or an ISO 8601 time, "
                            "as 2026-01-31T12:00:00Z.")  # fmt: skip
        value, kind = time
        if zoned is None:
            zoned = kind
        elif kind != zoned:
            raise PlanError(f"{path}, line {number}: {cell!r} is {_KINDS[kind]} and the lines before it are {_KINDS[zoned]}; "
                            "write all alike.")  # fmt: skip
        found.append(value * scale)
        if len(found) > _MOST_LINES:
            raise PlanError(
                f"{path} has more than {_MOST_LINES:,} starts; give a part of it, the last week for example."
            )
    if not found:
        raise PlanError(
            f"{path} holds no time; write the starts of tasks, one a line, in seconds or as 2026-01-31T12:00:00Z."
        )
    return tuple(sorted(found))


_KINDS = {"number": "a number", "local": "a time without an offset", "zoned": "a time with an offset"}


def _time(cell: str) -> tuple[float, str] | None:
    """Return a cell's seconds and its kind, or None if it is no time."""
    try:
        value = float(cell)
        return (value, "number") if math.isfinite(value) else None
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC).timestamp(), "local"
    return moment.timestamp(), "zoned"


def resolution_s(times_s: Floats) -> float:
    """Return 60 or 1 where all starts are whole minutes or seconds apart, so that they tell nothing finer; else 0."""
    since = times_s - times_s[0]
    for step in (60.0, 1.0):
        if np.abs(since / step - np.round(since / step)).max() < 1e-6:
            return step
    return 0.0


def measured_excess(times_s: Floats, cell_s: float) -> tuple[Floats, float]:
    """Return by how much the autocovariance of counts passes Poisson's, over the rate, and the cell in s it is for.

    Lag h of the answer is (Gamma_h - rate * cell at h = 0) / rate, in s, for lags up to `REACH_S` or a quarter of the
    trace. The cell is at least `cell_s`, longer where the starts are told no finer or the trace is very long.
    """
    span = float(times_s[-1] - times_s[0])
    cell_s = max(min(cell_s, span / _FEWEST_CELLS), resolution_s(times_s), span / _MOST_CELLS)
    per = max(1, round(_COARSE_S / cell_s))
    # Half a cell on, so that starts on whole seconds lie in the middle of theirs.
    counts = np.bincount(((times_s - times_s[0]) / cell_s + 0.5).astype(np.int64)).astype(np.float64)
    covered = len(counts)
    rate = len(times_s) / (covered * cell_s)
    centred = counts - _level(counts, per, cell_s)
    reach = max(1, min(int(REACH_S / cell_s) + 1, covered // 4))
    padded = 1 << math.ceil(math.log2(covered + reach))
    power = np.abs(np.fft.rfft(centred, padded)) ** 2
    gamma = np.fft.irfft(power, padded)[:reach] / (covered - np.arange(reach))
    gamma -= gamma[int(_FAR_FROM * reach) :].mean()
    gamma[0] -= rate * cell_s
    return np.asarray(gamma / rate, dtype=np.float64), cell_s


def _level(counts: Floats, per: int, cell_s: float) -> Floats:
    """Return the slow level of the counts: their mean, waves of a day and half a day, and cosines that slow."""
    whole = len(counts) // per * per
    terms = int(2 * len(counts) * cell_s / _LEVEL_S)
    if not terms or whole < 4 * per:
        return np.full(len(counts), counts.mean())
    coarse = counts[:whole].reshape(-1, per).mean(axis=1)
    middle = np.arange(len(coarse), dtype=np.float64) + 0.5
    slow: Floats = np.pi * np.outer(middle / len(coarse), np.arange(terms + 1))
    # A day's own waves too: cosines over the trace fit a slope at its ends badly.
    daily = 2 * np.pi * np.outer(middle * per * cell_s / _DAY_S, [1, 2])
    waves = np.hstack((np.cos(slow), np.cos(daily), np.sin(daily)))
    level: Floats = np.asarray(waves @ np.linalg.lstsq(waves, coarse, rcond=None)[0], dtype=np.float64)
    return np.pad(np.repeat(level, per), (0, len(counts) - whole), mode="edge")
