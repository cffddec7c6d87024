"""Quantiles of a load from its cumulants, or exactly by FFT where few runs overlap. Pure NumPy.

Normal where the skewness is below 0.05, Cornish-Fisher below 0.5, else the compound Poisson law on a lattice by FFT:
`pmf = IFFT(exp(FFT(f) - sum f))` with `f` the expected number of runs at each load. (Panjer's recursion would take
quadratic time and underflow.)
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["GRID", "lattice_quantiles", "method_for", "modulated", "standard_quantiles"]

Floats = NDArray[np.float64]

_NORMAL_BELOW = 0.05
_EXPANSION_BELOW = 0.5
_LATTICE = 1 << 14
_REACH_SD = 12.0

GRID: Floats = np.unique(np.concatenate((
    np.array([1e-6, 1e-5, 1e-4, 5e-4]), np.linspace(0.001, 0.999, 999), 1 - np.array([1e-6, 1e-5, 1e-4, 5e-4])
)))  # fmt: skip
"""Probabilities at which a load's quantiles are kept."""
_Z: Floats = np.array([NormalDist().inv_cdf(p) for p in GRID])


def modulated(kappa: Floats, cv: float) -> Floats:
    """Return the cumulants of order 1 to 4 of a load whose rate is multiplied by a gamma factor of mean 1 and this cv.

    The factor's cumulant generating function is `-ln(1 - cv^2 s) / cv^2`, taken at the load's own: exact.
    """
    first, second, third, fourth = kappa
    v = cv**2
    return np.stack((
        first,
        second + v * first**2,
        third + 3 * v * first * second + 2 * v**2 * first**3,
        fourth + v * (4 * first * third + 3 * second**2) + 12 * v**2 * first**2 * second + 6 * v**3 * first**4,
    ))  # fmt: skip


def method_for(kappa: Floats) -> str:
    """Return how the quantiles of a load with these cumulants (order 1 to 4) are found: normal, cornish-fisher, fft."""
    if kappa[1] <= 0:
        return "normal"
    skew = abs(kappa[2]) / kappa[1] ** 1.5
    if skew < _NORMAL_BELOW:
        return "normal"
    return "cornish-fisher" if skew < _EXPANSION_BELOW else "fft"


def standard_quantiles(kappa: Floats) -> Floats:
    """Return the quantiles at `GRID` of (X - mean) / sd, by Cornish-Fisher to the fourth cumulant or the normal law."""
    if method_for(kappa) == "normal":
        return _Z
    skew = kappa[2] / kappa[1] ** 1.5
    excess = kappa[3] / kappa[1] ** 2
    z = _Z
    found = z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * excess / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    # Far in the tails the polynomial may turn back; a quantile never does.
    return np.maximum.accumulate(found)


def lattice_quantiles(loads: Floats, counts: Floats, kappa: Floats, cv: float = 0.0) -> Floats:
    """Return the quantiles at `GRID` of a compound Poisson load: `counts[i]` runs expected at load `loads[i]`.

    With `cv`, the rate of all runs is multiplied by a gamma factor (negative-binomial counts); `kappa` are the cumulants
    of the result, and say how far the lattice must reach. The lattice's unit is one where all loads are whole numbers that fit; else a load is split between its two
    neighbours, which keeps the mean exact.
    """
    reach = float(kappa[0] + _REACH_SD * math.sqrt(kappa[1]) + loads.max())
    whole = bool(np.all(loads == np.round(loads))) and reach < _LATTICE
    unit = 1.0 if whole else reach / (_LATTICE - 2)
    places = loads / unit
    low = np.floor(places).astype(np.int64)
    share = places - low
    rates = np.bincount(low, weights=counts * (1 - share), minlength=_LATTICE)[:_LATTICE]
    rates = (
        rates + np.bincount(np.minimum(low + 1, _LATTICE - 1), weights=counts * share, minlength=_LATTICE)[:_LATTICE]
    )
    rates[0] = 0.0  # a run without load changes nothing
    # Room for twice the reach, so that what would wrap around is negligible.
    spectrum = np.fft.rfft(rates, 2 * _LATTICE)
    exponent = spectrum - rates.sum()
    law = np.exp(exponent) if cv == 0 else (1 - cv**2 * exponent) ** (-1 / cv**2)
    mass = np.fft.irfft(law, 2 * _LATTICE)
    below = np.cumsum(np.maximum(mass, 0.0))
    return np.searchsorted(below / below[-1], GRID).astype(np.float64) * unit
