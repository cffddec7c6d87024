"""Arrivals that are not Poisson: autocovariances of counts, and the variance of a load that follows from them.

Pure NumPy.

For any stationary arrivals of rate lambda whose counts in cells of width w have the autocovariance Gamma_h,

    Var X = lambda * integral of Var R(u) du + sum over i, j of m_i m_j Gamma_|i-j|,   m_i = mean of E R over cell i,

with R the load of one run at age u; w must be short against a run. Source: FORECAST model, section 1.3.
"""

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.paths import Path
from tokenflation.analysis.planning.arrival_trace import measured_excess
from tokenflation.analysis.planning.parts import Bursts

__all__ = [
    "arrival_variance",
    "clustering",
    "cox_autocovariance",
    "dispersion",
    "excess",
    "excess_dispersion",
    "hawkes_autocovariance",
    "mean_kernel",
    "renewal_autocovariance",
    "session_autocovariance",
    "trace_rate",
    "trace_remark",
]

Floats = NDArray[np.float64]

_FINE = 16
_MOST_CELLS = 1 << 14
_COARSEST_S = 16.0
_TERMS = 4_000
_FAR = 700.0


def mean_kernel(path: Path, share: Floats, cell_s: float, cells: int) -> Floats:
    """Return the mean load E R of a run over each age cell; `share` is the probability of each recorded run."""
    times = np.concatenate((path.start_s, path.end_s))
    steps = np.concatenate((path.load, -path.load)) * np.tile(share[path.run], 2)
    order = np.argsort(times, kind="stable")
    times, level = times[order], np.cumsum(steps[order])
    grown = np.concatenate(([0.0], np.cumsum(level[:-1] * np.diff(times))))
    return np.asarray(np.diff(np.interp(np.arange(cells + 1) * cell_s, times, grown)) / cell_s, dtype=np.float64)


def arrival_variance(path: Path, share: Floats, rate_per_s: float, autocovariance: Floats, cell_s: float) -> float:
    """Return the variance of the load at an instant, where arrivals' counts in cells of `cell_s` have `autocovariance`.

    `autocovariance[h]` is Gamma_h for h from 0; beyond its end it counts as zero. Take it at least as long as a run.
    """
    cells = max(1, math.ceil(float(path.end_s.max()) / cell_s))
    mean = mean_kernel(path, share, cell_s, cells)
    square = float(np.sum(share[path.run] * path.load**2 * (path.end_s - path.start_s)))
    overlap = _overlap(mean)[: len(autocovariance)]
    gamma = autocovariance[: len(overlap)]
    pairs = gamma[0] * overlap[0] + 2 * float(gamma[1:] @ overlap[1:])
    return float(rate_per_s * (square - cell_s * overlap[0]) + pairs)


def dispersion(path: Path, weight: Floats, height: float, memory_s: float, cell_s: float) -> float:
    """Return by how much clustered arrivals add to the variance of a load, over its mean.

    The covariance density of starts beyond Poisson is rate * height * exp(-t / memory_s); `weight` weighs the runs. The
    rate is taken as constant over a run and a cluster.
    """
    used = weight[path.run] > 0
    if height <= 0 or not used.any():
        return 0.0
    part = _part(path, used)
    cells = max(2, math.ceil(float(part.end_s.max() - part.start_s.min()) / cell_s))
    excess = _exponential(1.0, height, memory_s, cell_s, cells)
    excess[0] -= cell_s
    return excess_dispersion(part, weight, excess, cell_s)


def excess_dispersion(path: Path, weight: Floats, excess: Floats, cell_s: float) -> float:
    """Return the same for an `excess` of the autocovariance of counts in cells over Poisson's, divided by the rate.

    Beyond its end it counts as zero.
    """
    used = weight[path.run] > 0
    if not used.any():
        return 0.0
    part = _part(path, used)
    first = part.start_s.min()
    part = Path(part.run, part.start_s - first, part.end_s - first, part.load)
    cells = max(2, math.ceil(float(part.end_s.max()) / cell_s))
    mean = mean_kernel(part, weight / float(weight.sum()), cell_s, cells)
    overlap = _overlap(mean)
    size = min(len(excess), len(overlap))
    pairs = excess[0] * overlap[0] + 2 * float(excess[1:size] @ overlap[1:size])
    return float(pairs / (mean.sum() * cell_s))


def clustering(bursts: Bursts | None, path: Path, weight: Floats) -> float:
    """Return by how much the arrivals' bunches add to the variance of a load, over its mean; at least 0.

    Of a trace whose bunches grow in size with the volume, that at the trace's own rate: `trace_rate` says it.
    """
    if bursts is None:
        return 0.0
    if bursts.kind == "trace":
        used = weight[path.run] > 0
        if not used.any():
            return 0.0
        lengths = (path.end_s - path.start_s)[used]
        # A quarter of what lasts short, to a power of two so that resources share what is measured.
        end_s = float(path.end_s.max())
        fine = min(
            max(float(np.quantile(lengths, 0.25)) / 4, end_s / _MOST_CELLS), max(_COARSEST_S, end_s / _MOST_CELLS / 4)
        )
        excess, cell_s = _measured(bursts, 2.0 ** math.ceil(math.log2(fine)))
        return max(0.0, excess_dispersion(path, weight, excess, cell_s))
    height, memory_s = bursts.cluster
    if height <= 0:
        return 0.0
    cell_s = max(min(memory_s / 4, 60.0), float(path.end_s.max()) / _MOST_CELLS)
    return dispersion(path, weight, height, memory_s, cell_s)


def excess(bursts: Bursts | None, cell_s: float, cells: int) -> Floats:
    """Return by how much Gamma passes Poisson's, over the rate in s, for lags of 0 to `cells` cells; zeros for none.

    Of a trace whose bunches grow in size with the volume, that at the trace's own rate.
    """
    if bursts is None:
        return np.zeros(cells)
    if bursts.kind == "trace":
        found, known_s = _measured(bursts, 2.0 ** math.ceil(math.log2(cell_s)))
        lags = np.arange(cells) * cell_s
        near = np.interp(lags, np.arange(len(found)) * known_s, found, right=0.0)
        return np.asarray(near * (cell_s / known_s) ** 2, dtype=np.float64)
    height, memory_s = bursts.cluster
    if height <= 0:
        return np.zeros(cells)
    gamma = _exponential(1.0, height, memory_s, cell_s, cells)
    gamma[0] -= cell_s
    return gamma


def trace_rate(bursts: Bursts) -> float:
    """Return how many tasks a second a trace holds."""
    return len(bursts.times_s) / (bursts.times_s[-1] - bursts.times_s[0])


def trace_remark(bursts: Bursts) -> str:
    """Return in words what is taken from a trace, with the variance over the mean of its counts per minute."""
    excess_s, cell_s = _measured(bursts, 1.0)
    lags = np.arange(len(excess_s)) * cell_s
    minute = max(60.0, cell_s)
    index = 1.0 + float(excess_s[0] + 2 * np.sum(excess_s[1:] * np.maximum(0.0, 1 - lags[1:] / minute))) / cell_s
    hours = (bursts.times_s[-1] - bursts.times_s[0]) / 3600
    grows = "number, not in size" if bursts.scale == "number" else "size, not in number"
    name = f" {bursts.file}" if bursts.file else ""
    return (
        f"Tasks bunch as in the trace{name} ({len(bursts.times_s):,} starts in {hours:,.3g} h; variance over mean of counts "
        f"per minute {index:.3g}, Poisson has 1). Its slow swings are left to the plan's shape; with a larger volume bunches "
        f"grow in {grows}."
    )


@lru_cache(maxsize=8)
def _measured(bursts: Bursts, cell_s: float) -> tuple[Floats, float]:
    return measured_excess(np.array(bursts.times_s), cell_s)


def _part(path: Path, used: NDArray[np.bool_]) -> Path:
    return Path(path.run[used], path.start_s[used], path.end_s[used], path.load[used])


def _overlap(mean: Floats) -> Floats:
    """Return sum over i of m_i m_(i+h) for each h from 0."""
    spectrum = np.fft.rfft(mean, 2 * len(mean))
    return np.asarray(np.fft.irfft(np.abs(spectrum) ** 2, 2 * len(mean))[: len(mean)], dtype=np.float64)


def hawkes_autocovariance(rate_per_s: float, branching: float, decay_s: float, cell_s: float, cells: int) -> Floats:
    """Return Gamma of a stationary Hawkes process: each task sets off `branching` others at exponential delays.

    Its covariance density is lambda n b (2 - n) / (2 (1 - n)) exp(-b (1 - n) t), b = 1 / decay_s (Hawkes 1971).
    """
    beta = 1.0 / decay_s
    height = branching * beta * (2 - branching) / (2 * (1 - branching))
    return _exponential(rate_per_s, height, 1.0 / (beta * (1 - branching)), cell_s, cells)


def session_autocovariance(rate_per_s: float, tasks: float, gap_s: float, cell_s: float, cells: int) -> Floats:
    """Return Gamma of Poisson sessions of a geometric number of tasks (mean `tasks`) at exponential gaps.

    After a task another one follows with p = 1 - 1 / tasks, so that the density is lambda (p / g) exp(-(1 - p) t / g).
    """
    again = 1.0 - 1.0 / tasks
    return _exponential(rate_per_s, again / gap_s, gap_s / (1.0 - again), cell_s, cells)


def cox_autocovariance(rate_per_s: float, cv: float, block_s: float, cell_s: float, cells: int) -> Floats:
    """Return Gamma of Poisson arrivals whose rate is multiplied by a factor drawn anew for each block of `block_s`.

    The blocks' phase is random: two instants t apart share a factor with probability max(0, 1 - t / block_s).
    """
    lag_s = np.arange(cells) * cell_s
    found = (cv * rate_per_s * cell_s) ** 2 * np.maximum(0.0, 1.0 - lag_s / block_s)
    found[0] += rate_per_s * cell_s
    return np.asarray(found, dtype=np.float64)


def renewal_autocovariance(rate_per_s: float, cv: float, cell_s: float, cells: int) -> Floats:
    """Return Gamma of a stationary renewal process with gamma gaps of mean 1 / rate and coefficient of variation `cv`.

    Gaps are put on a lattice a sixteenth of a cell wide; the renewal sequence u = 1 / (1 - f) gives Cov of the counts.
    """
    fine = cell_s / _FINE
    points = cells * _FINE + _FINE
    shape = 1.0 / cv**2
    edges = (np.arange(points + 1) - 0.5).clip(0) * fine
    chance = np.diff(_gamma_below(shape, edges * rate_per_s * shape))
    # Damping keeps what wraps around in the division of power series below rounding.
    damp = np.exp(-np.arange(points) * (16.0 / points))
    spectrum = np.fft.rfft(chance * damp, 4 * points)
    renewals = np.fft.irfft(1.0 / (1.0 - spectrum), 4 * points)[:points] / damp
    mean = rate_per_s * fine
    fine_cov = mean * (renewals - mean)
    fine_cov[0] = mean * (2 * renewals[0] - 1 - mean)
    triangle = _FINE - np.abs(np.arange(-_FINE + 1, _FINE))
    both = np.concatenate((fine_cov[_FINE - 1 : 0 : -1], fine_cov))
    return np.asarray(np.convolve(both, triangle, mode="valid")[::_FINE][:cells], dtype=np.float64)


def _exponential(rate_per_s: float, height: float, memory_s: float, cell_s: float, cells: int) -> Floats:
    """Return Gamma for the covariance density rate * height * exp(-t / memory): integrals over two cells."""
    ratio = cell_s / memory_s
    lag = np.arange(cells)
    found = rate_per_s * height * memory_s**2 * (2 * math.cosh(ratio) - 2) * np.exp(-ratio * lag)
    found[0] = rate_per_s * cell_s + 2 * rate_per_s * height * memory_s**2 * (ratio - 1 + math.exp(-ratio))
    return np.asarray(found, dtype=np.float64)


def _gamma_below(shape: float, x: Floats) -> Floats:
    """Return the regularised lower incomplete gamma function P(shape, x), by its series of positive terms."""
    held = np.clip(x, 1e-300, _FAR)
    term = np.exp(shape * np.log(held) - held - math.lgamma(shape + 1))
    total = term.copy()
    for number in range(1, _TERMS):
        term = term * held / (shape + number)
        total += term
        if number > _FAR and float(term.max()) < 1e-16:
            break
    return np.where(x <= 0, 0.0, np.where(x >= _FAR, 1.0, np.minimum(total, 1.0)))
