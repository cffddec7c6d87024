"""Splits the difference of two products among their factors, exactly: additive LMDI and Shapley. Pure NumPy.

Both leave no residual. LMDI weights the logarithms of the factors by the logarithmic mean of the products; Shapley
averages a factor's effect over all orders of changing one factor after the other. They agree in the total, not in the
parts. Knows nothing of tokens.

Source: B. W. Ang, "The LMDI approach to decomposition analysis: a practical guide", Energy Policy 33 (2005), with the
limits for zeros of Ang and Liu, "Handling zero values in the logarithmic mean Divisia index decomposition approach",
Energy Policy 35 (2007); FORECAST model, section 2.3.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.typing import NDArray

from tokenflation.sdk.errors import FrameError

__all__ = ["chain_factors", "lmdi", "log_mean", "shapley"]

Floats = NDArray[np.float64]

_MOST_FACTORS = 14
# Subsets held at once: 2 million long doubles are 32 MB.
_CELLS = 2_000_000


def log_mean(x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
    """Return the logarithmic mean `(x - y) / ln(x / y)` of positive numbers; x where equal; 0 where one is 0."""
    first, second = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
    known = (first > 0) & (second > 0)
    above, below = np.where(known, first, 1.0), np.where(known, second, 1.0)
    step = (above - below) / below
    # ln(x / y) loses all digits where x and y are close; log1p loses them where x is far below y.
    logs = np.where(np.abs(step) < 0.5, np.log1p(np.maximum(step, -0.5)), np.log(above) - np.log(below))
    mean = np.where(logs == 0, below, (above - below) / np.where(logs == 0, 1.0, logs))
    return np.where(known, mean, 0.0)


def lmdi(before: npt.ArrayLike, after: npt.ArrayLike) -> Floats:
    """Return what each factor's change adds to the product: those along the last axis sum to the products' difference.

    `L(B, A) ln(b_j / a_j)` with the products A and B. Where one product is 0, the factors that are 0 there and not on
    the other side share the whole difference: the limit for factors that vanish together. Where both are 0, nothing
    changes.

    Raises:
        FrameError: shapes differ, or a factor is negative or no number.
    """
    a, b = _checked(before, after)
    total_a, total_b = a.prod(axis=-1, keepdims=True), b.prod(axis=-1, keepdims=True)
    both = np.logical_and(a > 0, b > 0).all(axis=-1, keepdims=True)
    safe_a, safe_b = np.where(both, a, 1.0), np.where(both, b, 1.0)
    effects = log_mean(total_b, total_a) * (np.log(safe_b) - np.log(safe_a))
    vanished = np.where(total_a == 0, (a == 0) & (b > 0), (b == 0) & (a > 0)).astype(np.float64)
    shares = vanished / np.maximum(vanished.sum(axis=-1, keepdims=True), 1.0)
    split: Floats = np.where(both, effects, shares * (total_b - total_a))
    return split


def shapley(before: npt.ArrayLike, after: npt.ArrayLike) -> Floats:
    """Return what each factor's change adds to the product, averaged over all orders of change; zeros need no care.

    Effects along the last axis sum to the products' difference. Takes `2^factors` products.

    Raises:
        FrameError: shapes differ, a factor is negative or no number, or there are more than 14.
    """
    a, b = _checked(before, after)
    count = a.shape[-1]
    if count > _MOST_FACTORS:
        raise FrameError(f"Shapley takes up to {_MOST_FACTORS} factors, got {count}; use LMDI.")
    rows_a, rows_b = a.reshape(-1, count), b.reshape(-1, count)
    step = max(1, _CELLS >> count)
    parts = [_shapley(rows_a[at : at + step], rows_b[at : at + step]) for at in range(0, len(rows_a), step)]
    return np.concatenate(parts).reshape(a.shape) if parts else np.zeros(a.shape)


def _shapley(a: Floats, b: Floats) -> Floats:
    count = a.shape[1]
    # A subset's product may be far larger than both totals, and then cancels: extended precision where there is one.
    values: Any = np.ones((len(a), 1), dtype=np.longdouble)
    for factor in range(count):
        values = np.concatenate([values * a[:, factor, None], values * b[:, factor, None]], axis=1)
    subsets = np.arange(1 << count)
    sizes = np.array([int(subset).bit_count() for subset in subsets])
    weights = np.ones(count, dtype=np.longdouble)
    for size in range(1, count):
        weights[size] = weights[size - 1] * size / (count - size)
    weights /= count
    effects = np.empty(a.shape)
    for factor in range(count):
        without = subsets[(subsets >> factor) & 1 == 0]
        gains = values[:, without | 1 << factor] - values[:, without]
        effects[:, factor] = (gains * weights[sizes[without]]).sum(axis=1)
    return effects


def chain_factors(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[Floats, Floats]:
    """Return the factors of two chains of amounts: each amount over the one before it; the product is the last amount.

    The last axis holds the amounts x_1 ... x_m; the first factor is x_1 itself. An amount that is 0 on either side,
    though the last one is not, has no ratio to it: it is passed over (factor 1 on both sides) and the next factor takes
    both steps. After an amount of 0 that stays 0, the factors are those of the other side: nothing else is known to
    change.

    Raises:
        FrameError: shapes differ, or an amount is negative or no number.
    """
    a, b = _checked(before, after)
    a_ends, b_ends = a[..., -1] > 0, b[..., -1] > 0
    last_a, last_b = np.ones(a.shape[:-1]), np.ones(b.shape[:-1])
    factors_a, factors_b = np.ones(a.shape), np.ones(b.shape)
    for place in range(a.shape[-1]):
        here_a, here_b = a[..., place], b[..., place]
        passed = ((here_a == 0) & a_ends) | ((here_b == 0) & b_ends)
        ratio_a = np.where(last_a > 0, here_a / np.where(last_a > 0, last_a, 1.0), np.nan)
        ratio_b = np.where(last_b > 0, here_b / np.where(last_b > 0, last_b, 1.0), np.nan)
        ratio_a, ratio_b = np.where(np.isnan(ratio_a), ratio_b, ratio_a), np.where(np.isnan(ratio_b), ratio_a, ratio_b)
        keep = passed | np.isnan(ratio_a)
        factors_a[..., place], factors_b[..., place] = np.where(keep, 1.0, ratio_a), np.where(keep, 1.0, ratio_b)
        last_a, last_b = np.where(passed, last_a, here_a), np.where(passed, last_b, here_b)
    return factors_a, factors_b


def _checked(before: npt.ArrayLike, after: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if a.shape != b.shape or a.ndim == 0:
        raise FrameError(f"a decomposition takes two arrays of one shape, got {a.shape} and {b.shape}.")
    for side in (a, b):
        if not np.isfinite(side).all() or (side < 0).any():
            raise FrameError("a decomposition takes finite factors of at least 0; leave out what is not reported.")
    return a, b
