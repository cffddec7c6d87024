"""Says why two fleets, models or versions differ in what a task takes: by mix, calls, context, reasoning, cache, price.

Frames in, one frame out; the arithmetic is `decomposition`'s and leaves no residual.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.columns.inflation import DIFF_COLUMNS
from tokenflation.analysis.comparison.costs import PriceTable, with_cost
from tokenflation.analysis.comparison.inflation import stages
from tokenflation.analysis.comparison.ledger import RESENT_SOURCES, SOURCES, ledger, source_of
from tokenflation.analysis.statistics.decomposition import chain_factors, lmdi, shapley
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, kappa
from tokenflation.analysis.statistics.uneven import effective_tasks, few_decide
from tokenflation.sdk.errors import FrameError

__all__ = ["diff"]

Floats = NDArray[np.float64]
Measure = Literal["billed", "computed", "cost"]

_VIEWS = {
    "work": ("calls", "work_per_call", "recursion", "resend", "reasoning", "retry"),
    "calls": ("calls", "input_per_call", "output"),
}
_ENDS = {"billed": (), "computed": ("cache",), "cost": ("price", "cache")}
_METHODS = {"lmdi": lmdi, "shapley": shapley}
_UNITS = {
    "volume": "tasks",
    "mix": "fraction",
    "calls": "calls",
    "work_per_call": "tokens",
    "input_per_call": "tokens",
    "price": "currency per token",
}
_RESAMPLES = 500
# More tasks than these are put into so many groups of equal size, by chance, and groups are resampled: the variance of
# a sum is the same, and memory stays bounded.
_GROUPS = 2000
_POOLED = "all tasks"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of the two fleets: its tasks that are counted, their kinds, and the amounts that the factors are made of."""

    tasks: pd.DataFrame
    kinds: NDArray[Any]
    amounts: Floats
    facts: dict[str, Any] = field(default_factory=dict)


def diff(
    a_calls: pd.DataFrame,
    b_calls: pd.DataFrame,
    *,
    measure: Measure = "billed",
    method: Literal["lmdi", "shapley"] = "lmdi",
    view: Literal["work", "calls"] = "work",
    total: bool = False,
    pooled: bool = False,
    prices: PriceTable | None = None,
    rng: np.random.Generator | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Return what changes from A to B, a row per factor, of all kinds (`task` missing) and of each: see `DIFF_COLUMNS`.

    `measure` is billed (input + output), computed (input - cached + output) or cost (needs `prices`), of a task on
    average; with `total`, of all tasks, and their number is a factor of its own. `method` is additive LMDI or Shapley;
    the effects of the factors sum to the whole difference under both. The factors of `view="work"` are those of the
    product identity; `view="calls"` has calls per task, input per call and output. Kinds that only one side has get
    bars of their own, `new kinds` and `gone kinds`; with `pooled`, all tasks are of one kind.

    With `rng` and at least `prototypes.LEAST_RUNS` tasks on each side, effects have intervals at `level`, by resampling
    the tasks of both sides; spreads are widened by `prototypes.kappa`. Of very unequal tasks they hold less often than
    they claim, the more so the heavier the tail.
    `attrs["manifest"]` says what was counted, and from what, on each side, and warns where few tasks have most of the
    tokens.

    Raises:
        FrameError: a side lacks columns or usage; an option is not one of those above; cost without prices.

    Source: FORECAST model, section 2.3.
    """
    _check(measure, method, view, prices, level)
    booked = [_booked(calls, prices, pooled, name) for calls, name in ((a_calls, "A"), (b_calls, "B"))]
    counted = "input+output" if all(one["output_tokens"].notna().any() for one in booked) else "input"
    a, b = (_side(one, measure, view, counted, name) for one, name in zip(booked, ("A", "B"), strict=True))
    kinds = sorted({*a.kinds, *b.kinds})
    names = ("volume", "mix", *_VIEWS[view], *_ENDS[measure])
    sums_a, sums_b = _sums(a, kinds, total), _sums(b, kinds, total)
    shared = (sums_a[:, 1] > 0) & (sums_b[:, 1] > 0)
    effects = _effects(sums_a, sums_b, shared, method)
    ends = None
    if rng is not None and min(len(a.tasks), len(b.tasks)) >= LEAST_RUNS:
        ends = _bounds(a, b, kinds, shared, effects, total, method, rng, level)
    rows = _rows(kinds, names, sums_a, sums_b, shared, effects, ends, _unit(measure, total, prices))
    found = pd.DataFrame(rows, columns=list(DIFF_COLUMNS))
    if not total:
        found = found[found["factor"] != "volume"].reset_index(drop=True)
    if shared.all():
        found = found[~found["factor"].isin(["new kinds", "gone kinds"])].reset_index(drop=True)
    found.attrs["manifest"] = {
        "measure": measure, "per": "fleet" if total else "task", "method": method, "view": view, "counted": counted,
        "level": level, "unit": _unit(measure, total, prices), "a": a.facts, "b": b.facts,
        "warnings": _warnings(a.facts, b.facts, counted, view, shared),
    }  # fmt: skip
    return found


def _check(measure: str, method: str, view: str, prices: PriceTable | None, level: float) -> None:
    for what, given, allowed in (("measure", measure, _ENDS), ("method", method, _METHODS), ("view", view, _VIEWS)):
        if given not in allowed:
            raise FrameError(f"diff() knows no {what} {given!r}; it may be {', '.join(allowed)}.")
    if measure == "cost" and prices is None:
        raise FrameError("diff() needs prices to compare costs: read_prices(FILE) gives them.")
    if not 0 < level < 1:
        raise FrameError(f"diff() needs a level between 0 and 1, got {level}; 0.9 is usual.")


def _booked(calls: pd.DataFrame, prices: PriceTable | None, pooled: bool, name: str) -> pd.DataFrame:
    booked = with_cost(ledger(calls, None if prices is None else prices.of_calls(calls)))
    if booked["input_tokens"].isna().all():
        raise FrameError(
            f"no task of {name} reports input tokens, so there is nothing to compare. Record some that do."
        )
    return booked.assign(task=_POOLED) if pooled else booked


def _side(booked: pd.DataFrame, measure: str, view: str, counted: str, name: str) -> _Side:
    """Return tasks that report what is counted, with their amounts: number, calls, tokens of growing scope, cost."""
    needed = [
        "input_tokens",
        *(["output_tokens"] if counted != "input" else []),
        *(["cost"] if measure == "cost" else []),
    ]
    tasks = booked.dropna(subset=needed).reset_index(drop=True)
    if tasks.empty:
        lacks = "can be priced; give the prices of its models" if measure == "cost" else f"reports {counted}"
        raise FrameError(f"no task of {name} {lacks}.")
    work = stages(tasks, counted)
    tokens = work[:, -1:]
    if view == "calls":
        work = np.column_stack([_floats(tasks, "calls"), _floats(tasks, "input_tokens"), tokens])
    if measure == "computed":
        work = np.column_stack([work, np.maximum(tokens[:, 0] - _floats(tasks, "cached_tokens"), 0.0)])
    if measure == "cost":
        work = np.column_stack([work, _floats(tasks, "list_cost"), _floats(tasks, "cost")])
    kinds = tasks["task"].to_numpy(dtype=object)
    return _Side(tasks=tasks, kinds=kinds, amounts=work, facts=_facts(booked, tasks, tokens))


def _floats(tasks: pd.DataFrame, name: str) -> Floats:
    return np.asarray(tasks[name].astype("float64").fillna(0.0), dtype=np.float64)


def _facts(booked: pd.DataFrame, tasks: pd.DataFrame, tokens: Floats) -> dict[str, Any]:
    """Return what a side is made of, for the manifest: counts, ratios of sums, coverage, sources."""
    reporting = int(tasks["reasoning_reported_calls"].sum())
    cached_source, resent_source = source_of(tasks, "cached", SOURCES), source_of(tasks, "resent", RESENT_SOURCES)
    sums = {name: float(_floats(tasks, name).sum()) for name in (
        "calls", "calls_with_input", "calls_with_output", "input_tokens", "output_tokens", "cached_tokens", "resent_tokens",
        "reasoning_tokens")}  # fmt: skip
    all_calls, full, silent = (int(booked[name].sum()) for name in ("calls", "calls_reported", "calls_unreported"))
    return {
        "tasks": len(booked),
        "tasks_left_out": len(booked) - len(tasks),
        "effective_tasks": float(effective_tasks(tokens.sum(), (tokens**2).sum())) if tokens.any() else None,
        "calls": all_calls,
        "calls_reported": full,
        "calls_partial": all_calls - full - silent,
        "calls_unreported": silent,
        "calls_per_task": sums["calls"] / len(tasks),
        "input_per_call": _over(sums["input_tokens"], sums["calls_with_input"]),
        "output_per_call": _over(sums["output_tokens"], sums["calls_with_output"]),
        "output_share": _over(sums["output_tokens"], float(tokens.sum()) if sums["calls_with_output"] else 0.0),
        "resent_share": _over(sums["resent_tokens"], sums["input_tokens"] if resent_source != "none" else 0.0),
        "cached_share": _over(sums["cached_tokens"], sums["input_tokens"] if cached_source != "none" else 0.0),
        "reasoning_share": _over(sums["reasoning_tokens"], sums["output_tokens"] if reporting else 0.0),
        "cached_source": cached_source,
        "resent_source": resent_source,
    }


def _over(numerator: float, denominator: float) -> float | None:
    return numerator / denominator if denominator > 0 else None


def _sums(side: _Side, kinds: Sequence[str], total: bool) -> Floats:
    """Return per kind the chain of amounts: all tasks, those of the kind, their amounts; per task unless `total`."""
    sums: Floats = _chains(_grouped(side, kinds, np.zeros(len(side.tasks), dtype=np.int64), 1), total)[0]
    return sums


def _grouped(side: _Side, kinds: Sequence[str], groups: NDArray[np.int64], count: int) -> Floats:
    """Return the number of tasks and the amounts summed by group and kind, shape (groups, kinds, 1 + amounts)."""
    places = np.searchsorted(np.array(kinds, dtype=object), side.kinds)
    ones = np.ones((len(places), 1))
    found = np.zeros((count, len(kinds), 1 + side.amounts.shape[1]))
    np.add.at(found, (groups, places), np.concatenate([ones, side.amounts], axis=1))
    return found


def _chains(sums: Floats, total: bool) -> Floats:
    """Return chains out of sums by kind, shape (..., kinds, 1 + amounts): the number of all tasks comes first."""
    number = np.broadcast_to(sums[..., 0].sum(axis=-1)[..., None], sums.shape[:-1])
    chains = np.concatenate([number[..., None], sums], axis=-1)
    return chains if total else chains / np.maximum(number[..., None], 1.0)


def _effects(a: Floats, b: Floats, shared: NDArray[np.bool_], method: str) -> Floats:
    """Return the effects by kind and factor; those of kinds that one side lacks stand last: new kinds, gone kinds."""
    own: Floats = np.where(shared[:, None], _METHODS[method](*chain_factors(a, b)), 0.0)
    gone, new = (np.where(shared, 0.0, side[..., -1]) for side in (a, b))
    return np.concatenate([own, new[..., None], -gone[..., None]], axis=-1)


def _bounds(
    a: _Side, b: _Side, kinds: Sequence[str], shared: NDArray[np.bool_], effects: Floats, total: bool, method: str,
    rng: np.random.Generator, level: float,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Return the ends of the effects by kind and factor; the last row is all kinds, the last column all factors."""
    drawn = _effects(_resampled(a, kinds, total, rng), _resampled(b, kinds, total, rng), shared, method)
    drawn, point = _with_sums(drawn), _with_sums(effects)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn - point, [tail, 1 - tail], axis=0)
    width = kappa(min(len(a.tasks), len(b.tasks)))
    return point + width * low, point + width * high


def _with_sums(effects: Floats) -> Floats:
    """Return the effects with their sums over kinds as a last row and over factors as a last column."""
    wide = np.concatenate([effects, effects.sum(axis=-1, keepdims=True)], axis=-1)
    return np.concatenate([wide, wide.sum(axis=-2, keepdims=True)], axis=-2)


def _resampled(side: _Side, kinds: Sequence[str], total: bool, rng: np.random.Generator) -> Floats:
    """Return chains of resamples of a side's tasks, shape (resamples, kinds, amounts)."""
    tasks = len(side.tasks)
    count = min(tasks, _GROUPS)
    groups = np.arange(tasks) if tasks == count else rng.permutation(tasks) % count
    sums = _grouped(side, kinds, groups, count)
    weights = rng.multinomial(count, np.full(count, 1.0 / count), size=_RESAMPLES).astype(np.float64)
    return _chains(np.einsum("rg,gkp->rkp", weights, sums, optimize=True), total)


def _rows(
    kinds: Sequence[str], names: Sequence[str], a: Floats, b: Floats, shared: NDArray[np.bool_], effects: Floats,
    ends: tuple[Floats, Floats] | None, unit: str,
) -> list[dict[str, Any]]:  # fmt: skip
    point = _with_sums(effects)
    low, high = ends if ends is not None else (np.full(point.shape, np.nan),) * 2
    together = _together(a), _together(b)
    rows: list[dict[str, Any]] = []
    for place in (len(kinds), *range(len(kinds))):
        everything = place == len(kinds)
        chains = together if everything else (a[place], b[place])
        # Of the amounts themselves: the effects sum to it but for the last digits.
        difference = float(chains[1][-1] - chains[0][-1])
        point[place, -1] = difference
        columns = [len(names) + 2]
        if everything:
            columns += range(len(names) + 2)
        else:
            columns += range(len(names)) if shared[place] else [len(names) + (0 if a[place, 1] == 0 else 1)]
        values = [_values(chain) for chain in chains]
        for column in columns:
            factor = (*names, "new kinds", "gone kinds", "total")[column]
            before, after = _shown(factor, column, chains, values, names, everything, (a, b), shared)
            rows.append({
                "task": None if everything else kinds[place], "factor": factor, "a": before, "b": after,
                "unit": unit if column >= len(names) else _UNITS.get(factor, "x"),
                "effect": point[place, column], "effect_low": low[place, column], "effect_high": high[place, column],
                "share": point[place, column] / difference if difference else np.nan,
            })  # fmt: skip
    return rows


def _together(chains: Floats) -> Floats:
    """Return the chain of all kinds: amounts add up, the number of all tasks stays."""
    return np.concatenate([chains[:1, 0], chains[:, 1:].sum(axis=0)])


def _values(chain: Floats) -> list[float]:
    """Return each amount over the one before it; NaN after an amount of 0."""
    return [float(chain[0]), *(float(here / last) if last > 0 else np.nan for last, here in pairwise(chain))]


def _shown(
    factor: str, column: int, chains: tuple[Floats, Floats], values: list[list[float]], names: Sequence[str],
    everything: bool, sides: tuple[Floats, Floats], shared: NDArray[np.bool_],
) -> tuple[float, float]:  # fmt: skip
    """Return what a row shows as before and after."""
    if factor == "total":
        return float(chains[0][-1]), float(chains[1][-1])
    if column >= len(names):
        lone = [float(np.where(shared, 0.0, side[:, -1]).sum()) if everything else float(chain[-1])
                for side, chain in zip(sides, chains, strict=True)]  # fmt: skip
        return (0.0, lone[1]) if factor == "new kinds" else (lone[0], 0.0)
    if everything and factor == "mix":
        # The shares of all kinds add up to 1 on both sides: what changed is inside.
        return np.nan, np.nan
    return values[0][column], values[1][column]


def _unit(measure: str, total: bool, prices: PriceTable | None) -> str:
    unit = prices.currency if measure == "cost" and prices is not None else "tokens"
    return unit if total else f"{unit} per task"


def _warnings(a: dict[str, Any], b: dict[str, Any], counted: str, view: str, shared: NDArray[np.bool_]) -> list[str]:
    """Return what a reader must know before believing the factors."""
    found = []
    if counted == "input":
        found.append("Only input is counted: no task of one side reports output.")
    for name, side in (("A", a), ("B", b)):
        if side["tasks_left_out"]:
            verb = "is" if side["tasks_left_out"] == 1 else "are"
            found.append(
                f"{side['tasks_left_out']:,} of the {side['tasks']:,} tasks of {name} {verb} left out: not all that is "
                "compared is reported."
            )
        found += few_decide(name, side["tasks"] - side["tasks_left_out"], side["effective_tasks"] or np.nan)
    for what, column in (("cached", "cached_source"), ("re-sent", "resent_source")):
        if a[column] != b[column] and (what == "cached" or view == "work"):
            found.append(
                f"What is {what} is known by {a[column]} in A and by {b[column]} in B: a change may be theirs."
            )
    if not shared.any():
        found.append(
            "No task kind is in both: only their totals are compared. Compare all tasks as one kind, or rename kinds."
        )
    return found
