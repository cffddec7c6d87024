"""The effects of factors on a difference, with their intervals: arrays of whole tasks in, arrays out.

Amounts of a task form a chain (`decomposition`); knows nothing of where they come from.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.statistics.decomposition import chain_factors, lmdi, shapley
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, mean_ends
from tokenflation.analysis.statistics.tilting import arms, tilted

__all__ = ["METHODS", "Side", "bounds", "chains_of", "effects_between", "pairs_of", "with_sums"]

Floats = NDArray[np.float64]

METHODS = {"lmdi": lmdi, "shapley": shapley}
_RESAMPLES = 500
# More tasks than these are put into so many groups of equal size, by chance, and groups are resampled: the variance of
# a sum is the same, and memory stays bounded.
_GROUPS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two fleets: its tasks that are counted, their kinds, and the amounts that the factors are made of."""

    kinds: NDArray[Any]
    amounts: Floats
    ids: NDArray[Any] | None = None
    """Of the tasks: one that the other side has too, in the same kind, is the same work done twice."""
    facts: dict[str, Any] = field(default_factory=dict)


def chains_of(side: Side, kinds: Sequence[str], total: bool) -> Floats:
    """Return per kind the chain of amounts: all tasks, those of the kind, their amounts; per task unless `total`."""
    chains: Floats = _chains(_grouped(side, kinds, np.zeros(len(side.kinds), dtype=np.int64), 1), total)[0]
    return chains


def _grouped(side: Side, kinds: Sequence[str], groups: NDArray[np.int64], count: int) -> Floats:
    """Return the number of tasks and the amounts summed by group and kind, shape (groups, kinds, 1 + amounts)."""
    places = np.searchsorted(np.array(kinds, dtype=object), side.kinds)
    ones = np.ones((len(places), 1))
    found = np.zeros((count, len(kinds), 1 + side.amounts.shape[1]))
    np.add.at(found, (groups, places), np.concatenate([ones, side.amounts], axis=1))
    return found


def _chains(sums: Floats, total: bool, tasks: Floats | None = None) -> Floats:
    """Return chains out of sums by kind, shape (..., kinds, 1 + amounts): the number of all tasks comes first.

    `tasks` is that number, where not all kinds are there.
    """
    all_tasks = sums[..., 0].sum(axis=-1) if tasks is None else tasks
    number = np.broadcast_to(all_tasks[..., None], sums.shape[:-1])
    chains = np.concatenate([number[..., None], sums], axis=-1)
    return chains if total else chains / np.maximum(number[..., None], 1.0)


def effects_between(a: Floats, b: Floats, shared: NDArray[np.bool_], method: str) -> Floats:
    """Return the effects by kind and factor; those of kinds that one side lacks stand last: new kinds, gone kinds."""
    a, b = np.broadcast_arrays(a, b)
    own: Floats = np.where(shared[:, None], METHODS[method](*chain_factors(a, b)), 0.0)
    gone, new = (np.where(shared, 0.0, side[..., -1]) for side in (a, b))
    return np.concatenate([own, new[..., None], -gone[..., None]], axis=-1)


def bounds(
    a: Side, b: Side, kinds: Sequence[str], shared: NDArray[np.bool_], *, total: bool, method: str,
    rng: np.random.Generator, level: float,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the ends of the effects by kind and factor; the last row is all kinds, the last column all factors.

    How far each side alone leaves an effect in doubt adds as squares. Source: G. Y. Zou, A. Donner, "Construction of
    confidence limits about effect measures: a general approach", Statistics in Medicine 27 (2008). Where enough tasks
    are on both sides, tasks are drawn once for both, those of one side alone among them: what makes a task large on
    both sides leaves no doubt about the difference.
    """
    if pairs_of(a, b) >= LEAST_RUNS:
        return _bounds_of_pairs(a, b, kinds, shared, total=total, method=method, rng=rng, level=level)
    sums_a, sums_b = (_by_chance(side, kinds, rng) for side in (a, b))
    whole_a, whole_b = (_chains(one.sum(axis=0), total) for one in (sums_a, sums_b))
    tasks_a, tasks_b = (one[..., 0].sum(axis=1) for one in (sums_a, sums_b))
    point = with_sums(effects_between(whole_a, whole_b, shared, method))

    def with_a(weights: Floats, of: slice) -> Floats:
        drawn = effects_between(_weighted(weights, sums_a, tasks_a, of, total), whole_b[of], shared[of], method)
        return with_sums(drawn - effects_between(whole_a[of], whole_b[of], shared[of], method))

    def with_b(weights: Floats, of: slice) -> Floats:
        drawn = effects_between(whole_a[of], _weighted(weights, sums_b, tasks_b, of, total), shared[of], method)
        return with_sums(drawn - effects_between(whole_a[of], whole_b[of], shared[of], method))

    down_a, up_a = _arms(sums_a, with_a, len(a.kinds), rng, level)
    down_b, up_b = _arms(sums_b, with_b, len(b.kinds), rng, level)
    return point - np.hypot(down_a, down_b), point + np.hypot(up_a, up_b)


def pairs_of(a: Side, b: Side) -> int:
    """Return how many tasks are on both sides."""
    return 0 if a.ids is None or b.ids is None else len({*_keys(a)} & {*_keys(b)})


def _keys(side: Side) -> list[tuple[Any, Any]]:
    return list(zip(side.kinds, side.ids if side.ids is not None else (), strict=True))


def _bounds_of_pairs(
    a: Side, b: Side, kinds: Sequence[str], shared: NDArray[np.bool_], *, total: bool, method: str,
    rng: np.random.Generator, level: float,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the ends where a task that is on both sides is drawn for both.

    Two runs of a task differ by more the larger it is, and few tasks seldom hold the large ones. So the arms are
    widened by the root of how many times larger than here the mean size may be: chosen on made-up tasks, as that holds
    about as often as the intervals of other tasks do (`bench/interval_coverage.py --pairs`).
    """
    keys = [_keys(side) for side in (a, b)]
    place = {key: number for number, key in enumerate(dict.fromkeys([*keys[0], *keys[1]]))}
    count = min(len(place), _GROUPS)
    groups = np.arange(count) if count == len(place) else rng.permutation(len(place)) % count
    sums_a, sums_b = (
        _grouped(side, kinds, groups[[place[key] for key in of]], count)
        for side, of in zip((a, b), keys, strict=True)
    )  # fmt: skip
    wholes = [_chains(one.sum(axis=0), total) for one in (sums_a, sums_b)]
    point = effects_between(wholes[0], wholes[1], shared, method)

    def with_both(weights: Floats, of: slice) -> Floats:
        drawn = [_in_number(weights, one, of, total) for one in (sums_a, sums_b)]
        return with_sums(effects_between(drawn[0], drawn[1], shared[of], method) - point[of])

    both = sums_a + sums_b
    down, up = _arms(both, with_both, len(place), rng, level)
    wider = np.sqrt(mean_ends(both[..., -1].sum(axis=1, keepdims=True), level)[1, 0])
    point = with_sums(point)
    return point - wider * down, point + wider * up


def _in_number(weights: Floats, sums: Floats, of: slice, total: bool) -> Floats:
    """Return the chains under weights, of as many tasks as there are: a side that is drawn less often is no smaller."""
    tasks = sums[..., 0].sum(axis=1)
    drawn = np.maximum(weights @ tasks, 1.0)
    return _weighted(weights * (tasks.sum() / drawn)[:, None], sums, tasks, of, total)


def _arms(
    sums: Floats, effects_of: Callable[[Floats, slice], Floats], tasks: int, rng: np.random.Generator, level: float
) -> tuple[Floats, Floats]:
    """Return how far below and above each effect may lie, by kind and factor, for what one side's tasks do not tell.

    `effects_of` takes weights of the groups of tasks in `sums`, one row each, and which kinds are meant, and returns
    distances of their effects and, last, of the sum.
    """
    count = len(sums)
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=_RESAMPLES).astype(np.float64)
    drawn = effects_of(weights, slice(None))
    # By kind, and of all: the number of tasks and their last amount.
    sizes = np.concatenate([sums[..., [0, -1]], sums[..., [0, -1]].sum(axis=1, keepdims=True)], axis=1)
    drawn_sizes = (weights @ sizes.reshape(count, -1)).reshape(_RESAMPLES, *sizes.shape[1:])
    sizes = np.ascontiguousarray(sizes.transpose(1, 2, 0))
    found = []
    for row, (number, size) in enumerate(sizes):
        members, mean = number > 0, size.sum() / max(number.sum(), 1.0)
        ends, means = np.zeros((0, drawn.shape[-1])), np.zeros(_RESAMPLES)
        if members.sum() >= LEAST_RUNS:
            tilts = np.ones((2, count))
            tilts[:, members] = tilted(size[members], level)
            ends = effects_of(tilts, slice(row, row + 1) if row < sums.shape[1] else slice(None))[:, -1]
            means = drawn_sizes[:, row, 1] / np.maximum(drawn_sizes[:, row, 0], 1.0) - mean
        found.append(arms(drawn[:, row], ends, means, tasks, level))
    down, up = zip(*found, strict=True)
    return np.array(down), np.array(up)


def with_sums(effects: Floats) -> Floats:
    """Return the effects with their sums over kinds as a last row and over factors as a last column."""
    wide = np.concatenate([effects, effects.sum(axis=-1, keepdims=True)], axis=-1)
    return np.concatenate([wide, wide.sum(axis=-2, keepdims=True)], axis=-2)


def _by_chance(side: Side, kinds: Sequence[str], rng: np.random.Generator) -> Floats:
    """Return the sums of each task by kind, or of each of `_GROUPS` groups, shape (groups, kinds, amounts)."""
    tasks = len(side.kinds)
    count = min(tasks, _GROUPS)
    return _grouped(side, kinds, np.arange(tasks) if tasks == count else rng.permutation(tasks) % count, count)


def _weighted(weights: Floats, sums: Floats, tasks: Floats, of: slice, total: bool) -> Floats:
    """Return the chains of some kinds under each row of weights, shape (rows, kinds, amounts); `tasks` by group."""
    found = np.einsum("rg,gkp->rkp", weights, sums[:, of], optimize=True)
    return _chains(found, total, weights @ tasks)
