"""The peak of a day and of the horizon: how high a load gets, which is above any quantile at one instant. Pure NumPy.

A Gaussian copula with the load's own autocovariance joins the marginal laws at one-minute instants; the highest instant
of each drawn history is its peak. Within a bucket the marginal law is one, and rises with the score, so only the
highest score of each bucket is turned into a load. Source: FORECAST model, section 1.4, "peak of the horizon".
"""

import math
from functools import cache, reduce

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.bursts import excess
from tokenflation.analysis.fleet.paths import Path
from tokenflation.analysis.planning.parts import Bursts
from tokenflation.analysis.statistics.mixtures import Laws
from tokenflation.analysis.statistics.quantiles import NORMAL_BELOW, skewness

__all__ = ["PEAK_DRAWS", "STEP_S", "autocorrelation", "highest_scores", "peaks"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PEAK_DRAWS = 1_000
"""Drawn histories of a day."""
STEP_S = 60
"""Seconds between the instants at which a load is looked at."""
_DAY_S = 86_400
_CHUNK = 250
_MOST_RUNS = 256
_CELLS = 1 << 13
_MOST_CELLS = 1 << 24
_FEW = 15
_DIGITS = 9
_LATTICE_REACH = 8.0
_PER_SD = 500
_FAR = 1e100


def autocorrelation(path: Path, share: Floats, lags: int, bursts: Bursts | None = None, *,
                    rate_ratio: float = 1.0) -> Floats:  # fmt: skip
    """Return Corr(X(t), X(t + h)) at h = 0, 60 s, ...: integrals of E R(u) R(u + h), Poisson arrivals, over that at 0.

    Arrivals in bunches add their excess covariance between two starts, met by the mean run at both (times `rate_ratio`,
    where bunches grow with the volume). `share` weighs the runs. Of many or very long runs an even selection is taken:
    only the shape counts.
    """
    used = np.flatnonzero(np.bincount(path.run, minlength=len(share)) * share > 0)
    if not len(used):
        return np.concatenate(([1.0], np.zeros(lags - 1)))
    most = min(_MOST_RUNS, max(1, int(_MOST_CELLS * STEP_S / max(float(path.end_s.max()), 1.0))))
    chosen = used[:: math.ceil(len(used) / most)]
    level, fine, whole = _levels(path, share, chosen)
    parts, cells = round(STEP_S / fine), level.shape[1] - 1
    size = 1 << math.ceil(math.log2(2 * cells + 2))
    power = np.zeros(size // 2 + 1)
    for low in range(0, len(chosen), 32):
        spectrum = np.fft.rfft(level[low : low + 32], size, axis=1)
        power += share[chosen[low : low + 32]] @ np.abs(spectrum) ** 2
    alone = np.fft.irfft(power, size)[: cells + 1 : parts][:lags]
    alone[0] = max(whole / fine, alone[0])
    alone = np.pad(alone, (0, lags - len(alone))) * fine
    if bursts is not None and (bursts.cluster[0] > 0 or bursts.kind == "trace"):
        rate = float(share[chosen].sum())
        mean = share[chosen] @ level / rate
        alone = alone + rate * rate_ratio * _together(mean, bursts, fine, parts, lags)
    return np.asarray(alone / alone[0], dtype=np.float64)


def _levels(path: Path, share: Floats, chosen: Ints) -> tuple[Floats, float, float]:
    """Return each chosen run's mean load by age cell, the cell's s, and the shared integral of the load's square."""
    number = np.full(len(share), -1)
    number[chosen] = np.arange(len(chosen))
    mine = number[path.run] >= 0
    run = number[path.run[mine]]
    start, end, load = path.start_s[mine], path.end_s[mine], path.load[mine]
    start, end = start - start.min(), end - start.min()
    fine = STEP_S / max(1, min(STEP_S, int(_CELLS * STEP_S / max(float(end.max()), 1.0))))
    cells = int(end.max() / fine) + 2
    # The load's integral grows by a ramp between two edges; its second difference on the grid gives each cell's mean.
    grown = np.zeros(len(chosen) * (cells + 1))
    for edge, sign in ((start, 1.0), (end, -1.0)):
        place = edge / fine
        index = np.floor(place).astype(np.int64)
        rest = place - index
        for shift, part in ((0, 1 - rest), (1, rest)):
            grown += np.bincount(run * (cells + 1) + index + shift, sign * load * part, len(grown))
    level = np.cumsum(grown.reshape(len(chosen), cells + 1), axis=1)
    return level, fine, float(np.sum(share[chosen][run] * load**2 * (end - start)))


def _together(mean: Floats, bursts: Bursts, fine: float, parts: int, lags: int) -> Floats:
    """Return the load's excess covariance at each minute's lag, over the rate: m * m * excess, on cells of `fine` s."""
    cells = len(mean)
    reach = (lags - 1) * parts + cells
    more = excess(bursts, fine, reach)
    size = 1 << math.ceil(math.log2(2 * reach + 2 * cells))
    both = np.zeros(size)
    both[:reach] = more
    both[size - reach + 1 :] = more[1:][::-1]
    met = np.abs(np.fft.rfft(mean, size)) ** 2 * np.fft.rfft(both).real
    return np.asarray(np.fft.irfft(met, size)[: lags * parts : parts], dtype=np.float64)


def highest_scores(correlations: list[Floats], bucket_s: int, rng: np.random.Generator,
                   draws: int = PEAK_DRAWS) -> list[Floats]:  # fmt: skip
    """Return the highest normal score in each bucket of a day; shape (draws, buckets), one for each correlation.

    All are drawn out of the same noise, so that what differs between two of them is their correlation alone.
    """
    instants = _DAY_S // STEP_S
    size = 2 * instants
    roots = []
    for one in correlations:
        ring = np.zeros(size)
        ring[:instants] = one[:instants]
        ring[size - instants + 1 :] = one[1:instants][::-1]
        power = np.maximum(np.fft.rfft(ring).real, 0.0)
        # What was clipped is made up for, so that the scores keep a variance of 1.
        whole = (power[0] + power[-1] + 2 * power[1:-1].sum()) / size
        roots.append(np.sqrt(power / whole).astype(np.float32))
    per = max(1, bucket_s // STEP_S)
    found: list[list[Floats]] = [[] for _ in roots]
    for _ in range(0, draws, _CHUNK):
        # The spectrum of white noise: real at both ends. Seven digits are plenty for a score, and half the work.
        noise = rng.standard_normal((_CHUNK, size + 2), dtype=np.float32).view(np.complex64)
        noise *= np.float32(math.sqrt(size / 2))
        noise[:, [0, -1]] = noise[:, [0, -1]].real * np.float32(math.sqrt(2))
        for number, root in enumerate(roots):
            scores = np.fft.irfft(noise * root, size, axis=1)[:, :instants].reshape(_CHUNK, instants // per, per)
            # A maximum over many short rows is slow; over few long ones it is not.
            most = scores.max(axis=2) if per > _FEW else reduce(np.maximum, (scores[:, :, k] for k in range(per)))
            found[number].append(most.astype(np.float64))
    return [np.concatenate(parts)[:draws] for parts in found]


def peaks(scores: Floats, kappa: Floats, laws: Laws, means: Floats, spreads: Floats, rng: np.random.Generator, *,
          modulation_cv: float = 0.0) -> Floats:  # fmt: skip
    """Return the highest load of each day in each draw; shape (draws, days).

    `scores` are those of one day; days are drawn independently. `kappa` (4, buckets) and `laws` are the marginals,
    `means` and `spreads` (prototypes' draws, buckets) what few runs leave open, one draw for all days. A slow factor of
    `modulation_cv` is drawn anew each day.
    """
    draws, per_day = scores.shape
    days = kappa.shape[1] // per_day
    prototype = rng.permutation(np.arange(draws) % len(means))
    found = np.empty((draws, days))
    for day in range(days):
        of = slice(day * per_day, (day + 1) * per_day)
        mine = scores[rng.permutation(draws)] if day else scores
        mine, columns = _of_equal_laws(mine, kappa[:, of], of.start)
        y = _standardised(mine, kappa[:, columns], laws, columns)
        mean, spread = means[prototype[:, None], columns], spreads[prototype[:, None], columns]
        if modulation_cv > 0:
            factor = rng.gamma(1 / modulation_cv**2, modulation_cv**2, (draws, 1))
            mean, spread = mean * factor, spread * np.sqrt(factor)
        load = mean + spread * y
        whole = laws.whole[columns]
        load[:, whole] = np.round(load[:, whole])
        found[:, day] = np.maximum(load.max(axis=1), 0.0)
    return found


def _of_equal_laws(scores: Floats, kappa: Floats, first: int) -> tuple[Floats, Ints]:
    """Return the highest score among buckets of equal cumulants, whose laws are equal too, and one column of each."""
    looks = np.round(np.log(np.maximum(kappa, 1e-300)), _DIGITS)
    _, at, same = np.unique(looks, axis=1, return_index=True, return_inverse=True)
    order = np.argsort(same.reshape(-1), kind="stable")
    starts = np.searchsorted(same.reshape(-1)[order], np.arange(len(at)))
    return np.maximum.reduceat(scores[:, order], starts, axis=1), at + first


def _standardised(z: Floats, kappa: Floats, laws: Laws, columns: Ints) -> Floats:
    """Return the standardised load that goes with each normal score; the polynomial itself where a law is smooth."""
    spread = np.sqrt(np.where(kappa[1] > 0, kappa[1], 1.0))
    plain = skewness(kappa) < NORMAL_BELOW
    skew, excess = np.where(plain, 0.0, kappa[2] / spread**3), np.where(plain, 0.0, kappa[3] / spread**4)
    found = np.empty_like(z)
    even = np.flatnonzero(laws.smooth[columns])
    x, skew, excess = z[:, even], skew[even], excess[even]
    square = x * x
    found[:, even] = (
        x + (square - 1) * (skew / 6) + x * ((square - 3) * (excess / 24) - (2 * square - 5) * (skew**2 / 36))
    )
    jumpy = np.flatnonzero(~laws.smooth[columns])
    if len(jumpy):
        below = _normal_below(z[:, jumpy])
        offsets, first, same = np.unique(laws.offset[columns[jumpy]], return_index=True, return_inverse=True)
        # Equal buckets share a table, and one search.
        for number, (offset, count) in enumerate(zip(offsets, laws.count[columns[jumpy[first]]], strict=True)):
            mine = same == number
            index = np.searchsorted(laws.flat[offset : offset + count], below[:, mine])
            at = columns[jumpy[mine]]
            score = laws.low[at] + laws.step[at] * np.minimum(index, count - 1)
            # No load is none whatever the draw's mean.
            found[:, jumpy[mine]] = np.where(index == 0, -_FAR, score)
    return np.asarray(found, dtype=np.float64)


def _normal_below(z: Floats) -> Floats:
    table = np.array(_normal_table())
    place = np.clip((z + _LATTICE_REACH) * _PER_SD, 0.0, len(table) - 2.0)
    index = place.astype(np.int64)
    return np.asarray(table[index] + (place - index) * (table[index + 1] - table[index]), dtype=np.float64)


@cache
def _normal_table() -> tuple[float, ...]:
    points = np.arange(-_LATTICE_REACH, _LATTICE_REACH, 1 / _PER_SD)
    return tuple(math.erfc(-one / math.sqrt(2)) / 2 for one in points.tolist())
