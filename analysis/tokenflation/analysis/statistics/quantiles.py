"""Quantiles of a load from its cumulants, or exactly by FFT where few runs overlap. Pure NumPy.

Normal where the skewness is below 0.05, Cornish-Fisher below 0.5, else the compound Poisson law on a lattice by FFT:
`pmf = IFFT(exp(FFT(f) - sum f))` with `f` the expected number of runs at each load. (Panjer's recursion would take
quadratic time and underflow.)
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "GRID",
    "NORMAL_SCORES",
    "lattice",
    "lattice_quantiles",
    "method_for",
    "modulated",
    "skewness",
    "standard_quantiles",
]

Floats = NDArray[np.float64]

NORMAL_BELOW = 0.05
EXPANSION_BELOW = 0.5
_PLACES = 1 << 11
_LEAST_PLACES = 1 << 6
_FINE_PLACES = 1 << 14
_REACH_SD = 12.0

GRID: Floats = np.unique(np.concatenate((
    np.array([1e-6, 1e-5, 1e-4, 5e-4]), np.linspace(0.001, 0.999, 999), 1 - np.array([1e-6, 1e-5, 1e-4, 5e-4])
)))  # fmt: skip
"""Probabilities at which a load's quantiles are kept."""
NORMAL_SCORES: Floats = np.array([NormalDist().inv_cdf(p) for p in GRID])
"""The normal law's quantiles at `GRID`."""


def modulated(kappa: Floats, cv: float | Floats) -> Floats:
    """Return the cumulants of order 1 to 4 of a load whose rate is multiplied by a gamma factor of mean 1 and this cv.

    The factor's cumulant generating function is `-ln(1 - cv^2 s) / cv^2`, taken at the load's own: exact. `kappa` has
    four rows; `cv` may differ by column.
    """
    first, second, third, fourth = kappa
    v = np.square(cv)
    return np.stack((
        first,
        second + v * first**2,
        third + 3 * v * first * second + 2 * v**2 * first**3,
        fourth + v * (4 * first * third + 3 * second**2) + 12 * v**2 * first**2 * second + 6 * v**3 * first**4,
    ))  # fmt: skip


def skewness(kappa: Floats) -> Floats:
    """Return |third standardised cumulant| by column; 0 where nothing varies."""
    spread = np.maximum(kappa[1], 0.0) ** 1.5
    return np.asarray(np.where(spread > 0, np.abs(kappa[2]) / np.where(spread > 0, spread, 1.0), 0.0))


def method_for(kappa: Floats) -> str:
    """Return how the quantiles of a load with these cumulants (order 1 to 4) are found: normal, cornish-fisher, fft."""
    skew = float(skewness(kappa))
    if skew < NORMAL_BELOW:
        return "normal"
    return "cornish-fisher" if skew < EXPANSION_BELOW else "fft"


def standard_quantiles(kappa: Floats) -> Floats:
    """Return the quantiles at `GRID` of (X - mean) / sd, by Cornish-Fisher to the fourth cumulant or the normal law.

    `kappa` holds orders 1 to 4 in its rows; with columns, the answer has shape (columns, len(GRID)).
    """
    spread = np.sqrt(np.maximum(kappa[1], 1e-300))
    plain = skewness(kappa) < NORMAL_BELOW
    skew = np.asarray(np.where(plain, 0.0, kappa[2] / spread**3))[..., None]
    excess = np.asarray(np.where(plain, 0.0, kappa[3] / spread**4))[..., None]
    z = NORMAL_SCORES
    found = z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    # Far in the tails the polynomial may turn back; a quantile never does.
    return np.asarray(np.maximum.accumulate(found, axis=-1), dtype=np.float64)


def lattice(loads: Floats, counts: Floats, kappa: Floats, cv: Floats, places: int = _PLACES) -> tuple[Floats, Floats]:
    """Return the lattice's unit and P(load <= j units) of compound Poisson loads, one per column of `counts`.

    `counts[i, t]` runs are expected at load `loads[i]`; shapes (columns,) and (columns, places). With `cv`, the rate of
    all runs is multiplied by a gamma factor (negative-binomial counts); `kappa` (4, columns) are the cumulants of the
    result, and say how far the lattice must reach. The unit is 1 where all loads are whole numbers that fit; else a
    load is split between its two neighbours, which keeps the mean exact.
    """
    columns = counts.shape[1]
    reach = kappa[0] + _REACH_SD * np.sqrt(np.maximum(kappa[1], 0.0)) + float(loads.max())
    whole = bool(np.all(loads == np.round(loads))) and float(reach.max()) < places
    size = max(_LEAST_PLACES, 1 << math.ceil(math.log2(float(reach.max()) + 2))) if whole else places
    unit = np.ones(columns) if whole else reach / (size - 2)
    spots = loads[:, None] / unit
    low = np.floor(spots).astype(np.int64)
    share = spots - low
    row = np.arange(columns) * size
    keys = np.concatenate(((low + row).ravel(), (np.minimum(low + 1, size - 1) + row).ravel()))
    mass = np.concatenate(((counts * (1 - share)).ravel(), (counts * share).ravel()))
    rates = np.bincount(keys, weights=mass, minlength=columns * size).reshape(columns, size)
    rates[:, 0] = 0.0  # a run without load changes nothing
    # What lies beyond a reach of 12 deviations wraps around, and is negligible.
    exponent = np.fft.rfft(rates, axis=1) - rates.sum(axis=1, keepdims=True)
    v = np.square(cv)[:, None]
    mixed = np.log1p(-v * exponent) / np.where(v > 0, -v, 1.0)
    chance = np.fft.irfft(np.exp(np.where(v > 0, mixed, exponent)), size, axis=1)
    below = np.cumsum(np.maximum(chance, 0.0), axis=1)
    return unit, below / below[:, -1:]


def lattice_quantiles(loads: Floats, counts: Floats, kappa: Floats, cv: float = 0.0) -> Floats:
    """Return the quantiles at `GRID` of one compound Poisson load, on a fine lattice; arguments as of `lattice`."""
    unit, below = lattice(loads, counts[:, None], kappa[:, None], np.array([cv]), _FINE_PLACES)
    found = np.minimum(np.searchsorted(below[0], GRID), below.shape[1] - 1)
    return np.asarray(found * unit[0], dtype=np.float64)
