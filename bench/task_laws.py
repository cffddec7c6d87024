"""Made-up tasks for `interval_coverage.py`: laws of their sizes, and of a part's share of a task. Run that.

Sizes: log-normal (`ln` and its sigma), Pareto (`pareto` and its index), Weibull, and two modes (`modes`: one task of
ten is 20 times as long). Parts: a share of its own in each task; one that grows or falls with the task's size; one that
most tasks lack; an amount that has nothing to do with the rest (`apart`), that is fixed (`fixed`), or goes with the
square of it (`square`).
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["HARD", "LAWS", "OTHER_LAWS", "OTHER_PARTS", "PARTS", "drawn", "sized", "true_share"]

Floats = NDArray[np.float64]

LAWS = ("ln 0.5", "ln 1", "ln 1.5", "ln 2", "pareto 1.5", "pareto 2.5", "modes")
PARTS = ("own 0.05 5", "own 0.3 3", "own 0.3 30", "own 0.9 5", "grows 0.3", "falls 0.3", "grows 0.05", "lacks 0.3",
         "lacks 0.15", "apart 0.5", "fixed 1", "square 0.3")  # fmt: skip
OTHER_LAWS = ("ln 0.8", "ln 1.25", "ln 1.75", "pareto 2", "weibull 0.5")
OTHER_PARTS = ("own 0.1 10", "own 0.6 4", "falls 0.2", "lacks 0.4", "apart 0.2", "apart 2", "fixed 0.3", "grows 0.5")
"""Laws and parts on which the constants of `statistics.ratios` were not chosen."""
HARD = ("square", "grows")
_MANY = 2_000_000


def sized(law: str, rng: np.random.Generator, shape: int | tuple[int, ...]) -> Floats:
    """Return sizes of tasks by a law of `LAWS`."""
    name, *number = law.split()
    normal = rng.standard_normal(shape)
    if name == "ln":
        return np.exp(float(number[0]) * normal)
    if name == "weibull":
        return rng.weibull(float(number[0]), shape) + 1e-3
    if name == "pareto":
        return rng.pareto(float(number[0]), shape) + 1
    return np.exp(0.5 * normal) * np.where(rng.random(shape) < 0.1, 20.0, 1.0)


def drawn(law: str, parts: str, rng: np.random.Generator, shape: int | tuple[int, ...]) -> tuple[Floats, Floats]:
    """Return what one part takes of each task, and the whole of each."""
    name, *rest = parts.split()
    number = float(rest[0])
    size = sized(law, rng, shape)
    if name == "own":
        return rng.beta(number * float(rest[1]), (1 - number) * float(rest[1]), size.shape) * size, size
    if name in ("grows", "falls"):
        steep = 0.7 if name == "grows" else -0.7
        logs = np.log(sized(law, np.random.default_rng(0), 200_000))
        odds = np.log(number / (1 - number)) + steep * (np.log(size) - logs.mean()) / logs.std()
        return size / (1 + np.exp(-odds - 0.5 * rng.standard_normal(size.shape))), size
    if name == "lacks":
        return rng.beta(1.5, 3.5, size.shape) * (rng.random(size.shape) < number) * size, size
    if name == "apart":
        part = number * sized(law, rng, size.shape)
    elif name == "fixed":
        part = number * np.exp(0.2 * rng.standard_normal(size.shape))
    else:
        part = number * size * np.minimum(size, 200) * np.exp(0.3 * rng.standard_normal(size.shape))
    return part, part + size


def true_share(law: str, parts: str) -> float:
    """Return the part's share of very many tasks."""
    part, whole = drawn(law, parts, np.random.default_rng(7), _MANY)
    return float(part.sum() / whole.sum())
