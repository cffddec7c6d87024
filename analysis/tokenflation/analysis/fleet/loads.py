"""One resource's load in all buckets: cumulants by task kind, its law, and the mixture over what few runs leave open.

Knows nothing of plans' files or of how draws of the mean come about.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.fleet.demand import cumulants, jumps
from tokenflation.analysis.fleet.paths import Path, Runs
from tokenflation.analysis.fleet.windows import Pieces, window_cumulants
from tokenflation.analysis.planning.arrivals import Arrivals
from tokenflation.analysis.statistics.mixtures import Laws, lattice_laws, mixture_quantiles, smooth_laws
from tokenflation.analysis.statistics.quantiles import EXPANSION_BELOW, lattice, modulated, skewness

__all__ = ["BANDS", "LEAST_OF_MEAN", "LEVELS", "Load", "load_of", "statistics", "total_of"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEVELS = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
BANDS = {"p5": 0.05, "p25": 0.25, "p75": 0.75}
"""What bands of 50 % and 90 % need besides; each costs as much as one of `LEVELS`, so it is worked out on request."""
# Expected runs held at once, segments times buckets: 32 MB.
_CHUNK = 4_000_000
_DIGITS = 9
# A mean that is none: its powers would leave what a float can hold.
_NOTHING = 1e-60
_ROUNDING = 1e-12
LEAST_OF_MEAN = 0.01
"""What a draw of a mean, or of a variance, is at least, over the planned one: arms are straight beyond their ends."""


@dataclass(frozen=True, slots=True)
class Load:
    """One resource over buckets: `by_kind` (kinds, 4, buckets) are cumulants of Poisson arrivals; the rest follows."""

    scale: float
    """What a value is multiplied by to be in the resource's unit."""
    by_kind: Floats
    kappa: Floats
    """Cumulants of order 1 to 4 with bursts, shape (4, buckets)."""
    cv: Floats
    """Coefficient of variation by bucket of the gamma factor that stands for bursts."""
    laws: Laws
    means: Floats
    """Draws of the mean, shape (draws, buckets)."""
    spreads: Floats
    """The deviation of the load alone that goes with each draw."""
    parts: Floats
    """Cumulants of what `factors` multiply: `by_kind` itself, or it and its arms below and above one after another."""
    factors: Floats
    """Draws, one row for each of `parts`."""


def load_of(runs: Runs, path: Path, weights: Floats, over: Arrivals, times_s: Floats, factors: Floats, *,
            cv: Floats, scale: float, arms: Floats | None = None) -> Load:  # fmt: skip
    """Return the load of all planned runs of `path`; `factors` (kinds, draws) multiply each kind's mean.

    With `arms` (kinds, 2, buckets), what factors below and above 1 differ from it by counts so many times.
    """
    by_kind = np.zeros((len(runs.kinds), 4, len(times_s)))
    for kind, mine in _places_by_kind(runs.kind_of_run[path.run], len(runs.kinds)):
        part = Path(path.run[mine], path.start_s[mine], path.end_s[mine], path.load[mine])
        if weights[part.run].any():
            by_kind[kind] = cumulants(part, weights, over, times_s)
    return _combined(by_kind, factors, cv, scale, lambda kappa: _laws(path, weights, over, times_s, kappa, cv),
                     arms)  # fmt: skip


def total_of(runs: Runs, pieces: Pieces, near: Path, weights: Floats, over: Arrivals, ends_s: Floats, factors: Floats, *,
             cv_of: Callable[[Floats], Floats], arms: Floats | None = None) -> Load:  # fmt: skip
    """Return what all planned runs use in the windows that end at `ends_s`, as a load.

    `pieces` are exact, and give the cumulants; `near` has the same in level steps, for the law of few runs. `cv_of` is
    asked for the cv of bursts at the means found.
    """
    used = np.flatnonzero(weights[pieces.run] > 0)
    used = used[np.argsort(runs.kind_of_run[pieces.run[used]], kind="stable")]
    pieces = pieces.of(used)
    by_kind = window_cumulants(
        pieces, weights, over, ends_s, group=runs.kind_of_run[pieces.run], groups=len(runs.kinds)
    )
    cv = cv_of(by_kind[:, 0].sum(axis=0))
    return _combined(by_kind, factors, cv, 1.0,
                     lambda kappa: _laws(near, weights, over, ends_s, kappa, cv, exact=False), arms)  # fmt: skip


def _places_by_kind(kind: Ints, kinds: int) -> Iterator[tuple[int, Ints]]:
    """Yield each kind that is there and its places, in order: all kinds in one sort, however many there are."""
    order = np.argsort(kind, kind="stable").astype(np.int64)
    bounds = np.searchsorted(kind[order], np.arange(kinds + 1))
    for one in np.flatnonzero(np.diff(bounds)).tolist():
        yield one, order[bounds[one] : bounds[one + 1]]


def _combined(by_kind: Floats, factors: Floats, cv: Floats, scale: float, laws: Callable[[Floats], Laws],
              arms: Floats | None = None) -> Load:  # fmt: skip
    # Where nothing is left to overlap, differences of large integrals leave rounding, below zero too.
    least = np.maximum(_ROUNDING * by_kind[:, :1].max(axis=2, keepdims=True), _NOTHING)
    by_kind = np.where(by_kind[:, :1] > least, np.maximum(by_kind, 0.0), 0.0)
    kappa = modulated(by_kind.sum(axis=0), cv)
    parts = by_kind
    if arms is not None:
        parts = np.concatenate((by_kind, by_kind * arms[:, :1], by_kind * arms[:, 1:]))
        factors = np.concatenate((np.ones_like(factors), np.minimum(factors - 1, 0.0), np.maximum(factors - 1, 0.0)))
    means = np.maximum(factors.T @ parts[:, 0], LEAST_OF_MEAN * kappa[0])
    spreads = np.sqrt(
        np.maximum(factors.T @ parts[:, 1], LEAST_OF_MEAN * by_kind[:, 1].sum(axis=0)) + (cv * means) ** 2
    )
    return Load(scale, by_kind, kappa, cv, laws(kappa), means, spreads, parts, factors)


def statistics(load: Load, *, level: float, enough: bool, bands: bool = False,
               shares: Mapping[str, Floats] | None = None) -> dict[str, Floats]:  # fmt: skip
    """Return each statistic by bucket, in the resource's unit; with `bands`, the quantiles `BANDS` too."""
    found = {"mean": load.kappa[0], "sd": np.sqrt(load.kappa[1])}
    levels = LEVELS | BANDS if bands else LEVELS
    chances = np.array(list(levels.values()))
    found |= dict(zip(levels, mixture_quantiles(chances, load.means, load.spreads, load.laws), strict=True))
    if not enough:
        return {name: values * load.scale for name, values in found.items()}
    tail = (1 - level) / 2
    found["mean_low"], found["mean_high"] = np.quantile(load.means, [tail, 1 - tail], axis=0)
    found = {name: values * load.scale for name, values in found.items()}
    between, within = load.means.var(axis=0), (load.spreads**2).mean(axis=0)
    total = between + within
    known = {"share_prototypes": between / np.where(total > 0, total, 1.0)}
    known |= {"share_load": np.where(total > 0, 1.0 - known["share_prototypes"], 0.0)}
    return found | known | {"share_assumptions": np.zeros(len(total))} | dict(shares or {})


def _laws(path: Path, weights: Floats, over: Arrivals, times_s: Floats, kappa: Floats, cv: Floats, *,
          exact: bool = True) -> Laws:  # fmt: skip
    """Return the law of each bucket: smooth ones, and by FFT where few runs overlap; equal buckets are done once.

    Where `path` is not `exact`, its own mean and deviation standardise its law.
    """
    few: Ints = np.flatnonzero((skewness(kappa) >= EXPANSION_BELOW) & (kappa[0] > 0))
    found = smooth_laws(kappa, few)
    if not len(few):
        return found
    looks = np.round(np.log(np.maximum(np.vstack((kappa, cv))[:, few], 1e-300)), _DIGITS)
    _, first, same = np.unique(looks, axis=1, return_index=True, return_inverse=True)
    chosen = few[first]
    used = np.flatnonzero(weights[path.run] > 0)
    part = Path(path.run[used], path.start_s[used], path.end_s[used], path.load[used])
    units, belows, own = [], [], kappa[:, chosen].copy()
    width = max(1, _CHUNK // max(len(used), 1))
    reach = np.zeros(len(chosen), dtype=np.int64)
    for low in range(0, len(chosen), width):
        some = chosen[low : low + width]
        counts = np.maximum(jumps(part, weights, over, times_s[some]), 0.0)
        if not exact:
            own[:2, low : low + width] = _mean_and_variance(part.load, counts, cv[some])
        unit, below = lattice(part.load, counts, kappa[:, some], cv[some])
        units.append(unit)
        belows.append(below)
        reach[low : low + width] = below.shape[1]
    widest = int(reach.max())
    table = np.concatenate([np.pad(one, ((0, 0), (0, widest - one.shape[1])), constant_values=1.0) for one in belows])
    return found.placed(few, lattice_laws(np.concatenate(units), table, own).taken(same.reshape(-1)))


def _mean_and_variance(loads: Floats, counts: Floats, cv: Floats) -> Floats:
    mean = loads @ counts
    return np.stack((mean, loads**2 @ counts + (cv * mean) ** 2))
