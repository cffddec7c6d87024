"""Shapes of a series by time of day and week, and what follows from being off them. Pure NumPy, logs in and out.

A shape covers all steps before the origin and those ahead: before it, a profile's value at a step rests on earlier days
alone, so that being off the shape in the past is what being off it ahead will be.
"""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

__all__ = ["autoregression", "faded", "fourier", "profile", "repeated", "trailing", "weekly"]

Floats = NDArray[np.float64]

_DAYS = 28
# What a day's average and what the last bins are off a shape count for, and the days after which the latter has faded
# to 1/e.
_OFF_DAY, _OFF_NOW, _FADE_DAYS = 0.5, 0.9, 0.3
_ROUNDS = 4
_LEAST_ERROR = 0.05
_STIFFNESS, _TREND_STIFFNESS = 1.7, 0.5
_TREND_DAMPED = 0.5
# Weeks that are compared, and standard errors by which a time of the week is off before that counts.
_WEEKS, _LEAST_WEEKS, _AGREED = 8, 2, 2.0


def trailing(values: Floats, count: int, *, least: float = 0.3) -> Floats:
    """Return the mean of the known among the last `count` values before each place; one longer than `values`.

    NaN where less than the share `least` of them is known.
    """
    known = np.isfinite(values)
    total = np.concatenate(([0.0], np.cumsum(np.where(known, values, 0.0))))
    number = np.concatenate(([0.0], np.cumsum(known)))
    end = np.arange(len(values) + 1)
    start = np.maximum(end - count, 0)
    held = number[end] - number[start]
    return np.where(held >= max(1.0, least * count), (total[end] - total[start]) / np.maximum(held, 1), np.nan)


def profile(steps: Floats, per_day: int, count: int, *, keep: float, middle: bool) -> Floats:
    """Return the usual value at each step's time of day, for all of `steps` and `count` more.

    Over earlier days, each weighing `keep` times the day after it: the weighted median (`middle`) or mean of the
    steps within two hours. Where no earlier day is known: the mean of the day before, else of all.
    """
    total = len(steps) + count
    known = np.isfinite(steps)
    sums = np.concatenate(([0.0], np.cumsum(np.where(known, steps, 0.0))))
    numbers = np.concatenate(([0.0], np.cumsum(known)))
    place = np.arange(total)
    rows, weights = [], []
    around = max(1, per_day // 12)
    for days in range(1, min(_DAYS, (total - 1) // per_day) + 1):
        centre = place - days * per_day
        low, high = (np.clip(centre + reach, 0, len(steps)) for reach in (-around, around + 1))
        held = numbers[high] - numbers[low]
        # A day ahead must not look at what lies past the origin of its own day, nor a step at itself.
        fits = (centre >= 0) & (centre < len(steps)) & (held > 0)
        rows.append(np.where(fits, (sums[high] - sums[low]) / np.maximum(held, 1), 0.0))
        weights.append(np.where(fits, keep**days, 0.0))
    level = _level(steps, per_day, total)
    if not rows:
        return level
    value, weight = np.array(rows), np.array(weights)
    mass = weight.sum(axis=0)
    found = _median(value, weight) if middle else (value * weight).sum(axis=0) / np.maximum(mass, 1e-300)
    return np.where(mass > 0, found, level)


def _level(steps: Floats, per_day: int, total: int) -> Floats:
    """Return the mean level before each step; the first known value where there is none."""
    level: Floats = trailing(steps, per_day, least=0.1)
    ever = trailing(steps, len(steps), least=0.0)
    level = np.where(np.isfinite(level), level, ever)
    level = np.where(np.isfinite(level), level, steps[np.isfinite(steps)][0])
    return np.concatenate((level[:-1], np.full(total - len(steps), level[-1])))


def _median(values: Floats, weights: Floats) -> Floats:
    order = np.argsort(np.where(weights > 0, values, np.inf), axis=0)
    ordered = np.take_along_axis(values, order, axis=0)
    mass = np.cumsum(np.take_along_axis(weights, order, axis=0), axis=0)
    half = 0.5 * mass[-1]
    low = np.take_along_axis(ordered, (mass >= half * (1 - 1e-9)).argmax(axis=0)[None], axis=0)[0]
    last = np.maximum((weights > 0).sum(axis=0) - 1, 0)
    place = np.minimum((mass > half * (1 + 1e-9)).argmax(axis=0), last)
    return np.asarray(0.5 * (low + np.take_along_axis(ordered, place[None], axis=0)[0]), dtype=np.float64)


def weekly(steps: Floats, per_day: int, per_week: int, count: int) -> Floats:
    """Return how far each step's time of the week lies off a smooth day, for all of `steps` and `count` more.

    As far as two whole weeks or more, whose levels may differ, agree on it: of a mean m with the standard error e,
    m (1 - (2 e / m)^2), and 0 within two of them.
    """
    weeks = min(len(steps) // per_week, _WEEKS)
    found = np.zeros(len(steps) + count)
    if weeks < _LEAST_WEEKS or per_week != 7 * per_day:
        return found
    days = steps[len(steps) - weeks * per_week :].reshape(-1, per_day)
    ever = np.isfinite(days).any(axis=0)
    usual = np.full(per_day, np.nan)
    usual[ever] = np.nanmedian(days[:, ever], axis=0)
    around = per_day // 12
    near = sliding_window_view(usual[np.arange(-around, per_day + around) % per_day], 2 * around + 1)
    off = (days - np.where(ever, _mean_of(near, axis=1), np.nan)).reshape(weeks, per_week)
    known = np.isfinite(off).any(axis=1)
    off = off[known] - np.nanmedian(off[known], axis=1, keepdims=True)
    held, mean = np.isfinite(off).sum(axis=0), _mean_of(off, axis=0)
    error = np.nansum((off - mean) ** 2) / max(1, int(np.maximum(held - 1, 0).sum())) / np.maximum(held, 1)
    agreed = (held >= _LEAST_WEEKS) & (mean**2 > _AGREED**2 * error)
    shape = np.where(agreed, mean * (1 - _AGREED**2 * error / np.where(agreed, mean**2, 1.0)), 0.0)
    return np.asarray(shape[(np.arange(len(found)) - len(steps)) % per_week], dtype=np.float64)


def _mean_of(values: Floats, axis: int) -> Floats:
    """Return the mean of the known values; 0 where there is none."""
    known = np.isfinite(values)
    return np.asarray(
        np.where(known, values, 0.0).sum(axis=axis) / np.maximum(known.sum(axis=axis), 1), dtype=np.float64
    )


def fourier(steps: Floats, per_day: int, per_week: int, count: int) -> Floats:
    """Return a smooth shape of the day and the week with a damped trend, for all of `steps` and `count` more.

    Four harmonics of the day, three of the week, by least absolute errors on days that weigh 0.95 times the next, all
    shrunk to zero. Ahead, the trend goes on at half its slope for at most two weeks.
    """
    before = len(steps)
    place = np.arange(before + count) - before
    days = before / per_day
    columns = [np.ones(before + count)]
    shrink = [0.0]
    for period, waves, ease, enough in ((per_day, 4, 0.3, days >= 2), (per_week, 3, 1.0, days >= 3)):
        for wave in range(1, waves + 1 if enough and period >= 2 * waves else 1):
            columns += [np.cos(2 * np.pi * wave * place / period), np.sin(2 * np.pi * wave * place / period)]
            shrink += [ease * _STIFFNESS] * 2
    ahead = np.minimum(place, 2 * per_week) / per_week
    columns.append(np.where(place < 0, ahead, _TREND_DAMPED * ahead))
    shrink.append(_TREND_STIFFNESS)
    matrix = np.column_stack(columns)
    centre = float(np.nanmedian(steps))
    known = np.isfinite(steps)
    aged = np.where(known, 0.95 ** (-place[:before] / per_day), 0.0)
    wanted = np.where(known, steps - centre, 0.0)
    return centre + matrix @ _least_absolute(matrix[:before], wanted, aged, np.array(shrink))


def _least_absolute(matrix: Floats, wanted: Floats, weights: Floats, shrink: Floats) -> Floats:
    """Return coefficients of least weighted absolute error, by reweighted ridge regression."""
    penalty = np.diag(shrink + 1e-9)
    inner = weights
    found: Floats = np.zeros(matrix.shape[1])
    for _ in range(_ROUNDS + 1):
        weighted = matrix * inner[:, None]
        found = np.asarray(np.linalg.solve(weighted.T @ matrix + penalty, weighted.T @ wanted), dtype=np.float64)
        held = weights / np.maximum(np.abs(wanted - matrix @ found), _LEAST_ERROR)
        inner = np.asarray(held * (weights.sum() / held.sum()), dtype=np.float64)
    return found


def repeated(steps: Floats, period: int, count: int, instead: Floats) -> Floats:
    """Return the value a period before each of `count` steps ahead; where unknown, that of the shape `instead`."""
    before = len(steps)
    place = before - period + np.arange(count) % period
    value = np.where(place >= 0, steps[np.clip(place, 0, before - 1)], np.nan)
    return np.where(np.isfinite(value), value, instead[before:])


def faded(shape: Floats, steps: Floats, last: float, per_day: int) -> Floats:
    """Return the shape ahead plus what the series is off it now, fading into part of what it was off by all day."""
    before = len(steps)
    off = steps - shape[:before]
    day = trailing(off, per_day, least=0.1)[-1]
    settled = _OFF_DAY * (day if np.isfinite(day) else 0.0)
    now = _now(off, last - _at_end(shape, before))
    distance = np.arange(len(shape) - before) / (_FADE_DAYS * per_day)
    return shape[before:] + settled + _OFF_NOW * np.exp(-distance) * (now - settled if np.isfinite(now) else 0.0)


def _now(off: Floats, last: float) -> float:
    """Return what the series is off now: of the last bins and the last step what is known, else of the last three."""
    found = [one for one in (last, off[-1]) if np.isfinite(one)]
    return float(np.mean(found)) if found else float(trailing(off, 3)[-1])


def _at_end(shape: Floats, before: int) -> float:
    """Return the shape's value at the last bins before the origin: between the centres of two steps."""
    return float(shape[before - 1] + (shape[min(before, len(shape) - 1)] - shape[before - 1]) * 5 / 12)


def autoregression(shape: Floats, steps: Floats, last_of: Floats, per_day: int, per_week: int, count: int) -> Floats:
    """Return the shape ahead plus a regression on what the series was off it: now, this hour, today, a day, a week ago.

    One regression per distance up to a day, by least absolute errors of demand, shrunk towards what holds for most
    series; beyond a day the last of them.
    """
    before = len(steps)
    reach = min(count, per_day)
    coefficients, features = _fit(shape, steps, last_of, per_day, per_week, reach)
    found = shape[before:].copy()
    found[:reach] += (features * coefficients).sum(axis=1)
    if count > reach:
        settled = float(found[reach - 1] - shape[before + reach - 1])
        found[reach:] += settled
    return found


def _fit(shape: Floats, steps: Floats, last_of: Floats, per_day: int, per_week: int,
         reach: int) -> tuple[Floats, Floats]:  # fmt: skip
    """Return coefficients and, at the origin, features for each distance; both of shape (reach, features)."""
    before = len(steps)
    off = steps - shape[:before]
    end = shape[:-1] + (shape[1:] - shape[:-1]) * 5 / 12
    edge = last_of - end[:before]
    # Place i holds what was known before step i began.
    now = np.concatenate(([np.nan], np.where(np.isfinite(edge), edge, off)))
    means = [trailing(off, span) for span in (1, 3, 6, per_day, per_week)]
    common = np.array([now, *means])
    common = np.where(np.isfinite(common), common, 0.0).T
    origins = np.arange(before + 1)
    distance = np.arange(reach)
    target = origins[None, :] + distance[:, None]
    aim = shape[np.minimum(target, len(shape) - 1)]
    features = np.empty((reach, before + 1, common.shape[1] + 3))
    features[:, :, : common.shape[1]] = common
    features[:, :, -3] = np.concatenate(([0.0], end[:before])) - aim
    for column, lag in ((-2, per_day), (-1, per_week)):
        ago = target - lag
        value = np.where((ago >= 0) & (ago < before), steps[np.clip(ago, 0, before - 1)], np.nan) - aim
        features[:, :, column] = np.where(np.isfinite(value), value, 0.0)
    wanted = np.where(target < before, steps[np.minimum(target, before - 1)], np.nan) - aim
    start = min(per_day + per_day // 2, before // 2)
    fits = np.isfinite(wanted) & (origins >= start)
    size = np.exp(np.clip(np.where(fits, wanted + aim, 0.0) - np.nanmedian(steps), -3, 3))
    weights = np.where(fits, size * 0.997 ** (before - origins), 0.0)
    rounds = _shrunk(features[:, :before], np.where(fits, wanted, 0.0)[:, :before], weights[:, :before],
                     _usual(distance / per_day, features.shape[2]))  # fmt: skip
    return rounds, features[:, before]


def _usual(days: Floats, size: int) -> Floats:
    """Return what coefficients are shrunk to at each distance in days: all off now soon, part of the day's later."""
    near = np.exp(-days / _FADE_DAYS)
    found = np.zeros((len(days), size))
    found[:, 0] = 0.55 * near
    found[:, 1] = 0.25 * near
    found[:, 4] = _OFF_DAY * (1 - near)
    found[:, -3] = 0.25 * np.exp(-days * 12)
    return found


def _shrunk(features: Floats, wanted: Floats, weights: Floats, usual: Floats) -> Floats:
    """Return, for each distance, coefficients of least weighted absolute error shrunk to `usual`."""
    number = (weights > 0).sum(axis=1)
    found = usual
    penalty = np.eye(features.shape[2])[None] * (0.1 * number)[:, None, None] + 1e-9 * np.eye(features.shape[2])
    rest = wanted - (features @ usual[:, :, None])[:, :, 0]
    for _ in range(_ROUNDS):
        error = np.abs(wanted - (features @ found[:, :, None])[:, :, 0])
        inner = weights / np.maximum(error, 0.03)
        inner *= (number / np.maximum(inner.sum(axis=1), 1e-300))[:, None]
        weighted = np.swapaxes(features * inner[:, :, None], 1, 2)
        change = np.linalg.solve(weighted @ features + penalty, (weighted @ rest[:, :, None]))[:, :, 0]
        found = usual + change
    return found
