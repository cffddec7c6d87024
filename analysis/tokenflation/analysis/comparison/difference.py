"""Says why two fleets, models or versions differ in what a task takes: by mix, calls, context, reasoning, cache, price.

Frames in, one frame out; the arithmetic is `decomposition`'s and leaves no residual.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.columns.inflation import DIFF_COLUMNS
from tokenflation.analysis.comparison.costs import PriceTable, with_cost
from tokenflation.analysis.comparison.effects import (
    METHODS,
    Side,
    bounds,
    chains_of,
    effects_between,
    pairs_of,
    with_sums,
)
from tokenflation.analysis.comparison.inflation import stages
from tokenflation.analysis.comparison.ledger import RESENT_SOURCES, SOURCES, ledger, source_of
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.statistics.uneven import effective_tasks, few_decide
from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.words import many

__all__ = ["diff"]

Floats = NDArray[np.float64]
Measure = Literal["billed", "computed", "cost"]

_VIEWS = {
    "work": ("calls", "work_per_call", "recursion", "resend", "reasoning", "retry"),
    "calls": ("calls", "input_per_call", "output"),
}
_ENDS = {"billed": (), "computed": ("cache",), "cost": ("price", "cache")}
_UNITS = {
    "volume": "tasks",
    "mix": "fraction",
    "calls": "calls",
    "work_per_call": "tokens",
    "input_per_call": "tokens",
    "price": "currency per token",
}
_POOLED = "all tasks"


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

    With `rng` and at least `prototypes.LEAST_RUNS` tasks on each side, effects have intervals at `level`
    (`statistics.tilting`); tasks that are on both sides by kind and id, if they are as many, count as the same work
    done twice. Of very unequal tasks they hold less often than they claim, the more so the heavier the
    tail. `attrs["manifest"]` says what was counted, and from what, on each side, and warns where few tasks have most of
    the tokens.

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
    sums_a, sums_b = chains_of(a, kinds, total), chains_of(b, kinds, total)
    shared = (sums_a[:, 1] > 0) & (sums_b[:, 1] > 0)
    effects = effects_between(sums_a, sums_b, shared, method)
    ends = None
    if rng is not None and min(len(a.kinds), len(b.kinds)) >= LEAST_RUNS:
        ends = bounds(a, b, kinds, shared, total=total, method=method, rng=rng, level=level)
    rows = _rows(kinds, names, sums_a, sums_b, shared, effects, ends, _unit(measure, total, prices))
    found = pd.DataFrame(rows, columns=list(DIFF_COLUMNS))
    if not total:
        found = found[found["factor"] != "volume"].reset_index(drop=True)
    if shared.all():
        found = found[~found["factor"].isin(["new kinds", "gone kinds"])].reset_index(drop=True)
    pairs = pairs_of(a, b)
    found.attrs["manifest"] = {
        "measure": measure, "per": "fleet" if total else "task", "method": method, "view": view, "counted": counted,
        "level": level, "unit": _unit(measure, total, prices), "pairs": pairs if pairs >= LEAST_RUNS else 0, "a": a.facts, "b": b.facts,
        "warnings": _warnings(a.facts, b.facts, counted, view, shared),
    }  # fmt: skip
    return found


def _check(measure: str, method: str, view: str, prices: PriceTable | None, level: float) -> None:
    for what, given, allowed in (("measure", measure, _ENDS), ("method", method, METHODS), ("view", view, _VIEWS)):
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


def _side(booked: pd.DataFrame, measure: str, view: str, counted: str, name: str) -> Side:
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
    ids = tasks["task_id"].to_numpy(dtype=object)
    return Side(kinds=kinds, amounts=work, ids=ids, facts=_facts(booked, tasks, tokens))


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


def _rows(
    kinds: Sequence[str], names: Sequence[str], a: Floats, b: Floats, shared: NDArray[np.bool_], effects: Floats,
    ends: tuple[Floats, Floats] | None, unit: str,
) -> list[dict[str, Any]]:  # fmt: skip
    point = with_sums(effects)
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
                f"{side['tasks_left_out']:,} of the {many(side['tasks'], 'task')} of {name} {verb} left out: not all that is "
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
