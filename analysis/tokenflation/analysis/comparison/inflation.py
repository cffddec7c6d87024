"""Compares the tokens of each task kind with baselines: kinds that answer directly, or parts of the same tasks.

Does no I/O.

Billed and computed tokens stay apart, since a prefix cache makes them differ by an order of magnitude
(FORECAST model, section 2.1): billed = input + output, computed = input - cached + output. Cost needs prices.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.columns.inflation import FACTORS, INFLATION_COLUMNS
from tokenflation.analysis.comparison.baselines import INTRINSIC, choose_baselines, direct_kinds
from tokenflation.analysis.comparison.costs import PriceTable, with_cost
from tokenflation.analysis.comparison.ledger import RESENT_SOURCES, SOURCES, ledger, source_of
from tokenflation.analysis.statistics.intervals import paired_interval, ratio_interval
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.sdk.errors import FrameError

__all__ = ["direct_kinds", "inflation", "stages"]

_MEASURES = ("input", "output", "billed", "computed", "calls")
_BOTH, _INPUT = "input+output", "input"


def inflation(
    calls: pd.DataFrame,
    *,
    baseline: str | Sequence[str] | None = None,
    prices: PriceTable | None = None,
    rng: np.random.Generator | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Return one row per task kind and baseline, baselines included: columns as in `columns.INFLATION_COLUMNS`.

    `baseline` is a kind, several, or `baselines.INTRINSIC`, input of the first request + visible output of the final
    answer of the same task; None takes what `baselines.choose_baselines` finds. Every inflation is a ratio of means
    over tasks, never a mean of ratios. Tasks without usage are left out and counted; where no task of a side reports
    output, input alone is counted, `counted` says so, and what needs output is missing.

    The `factor_` columns of `columns.inflation.FACTORS` multiply exactly to `inflation_billed` (to `inflation_input`
    where input alone is counted); times `factor_cache` to `inflation_computed`, times `factor_price` to
    `inflation_cost`. `inflation_input` is also `driver_calls * driver_input_reported * driver_input_per_call`, and
    `inflation_output` likewise. Cached tokens are what the provider reports, else the shared prefix, else nothing;
    `cached_source` says which, and `resent_source` the same of what was sent before.

    With `rng` (nothing is drawn), `<inflation>_low` and `<inflation>_high` bound it at `level` over whole tasks
    (`statistics.intervals`); without it, or with fewer than `prototypes.LEAST_RUNS` tasks on a side, they are missing.

    Raises:
        FrameError: columns are missing, a baseline is no kind, or no task of it reports usage.

    Source: FORECAST model, section 2.1 (ratio of means; two numbers), 2.2 (factors) and 1.5 (resample whole runs).
    """
    if not 0 < level < 1:
        raise FrameError(f"inflation() needs a level between 0 and 1, got {level}; 0.9 is usual.")
    booked = with_cost(ledger(calls, None if prices is None else prices.of_calls(calls)))
    named = (baseline,) if isinstance(baseline, str) else tuple(baseline or ())
    chosen = choose_baselines(calls, named)
    names = tuple(dict.fromkeys(named)) or chosen.names
    groups = {str(kind): group.reset_index(drop=True) for kind, group in booked.groupby("task", sort=True)}
    rows = []
    for name in names:
        if name != INTRINSIC and _counted(groups[name], (_INPUT,)).empty:
            raise FrameError(f"No task of the baseline kind {name!r} reports usage. Record one whose calls report it.")
        rows += [_row(kind, group, name, groups.get(name), rng, level) for kind, group in groups.items()]
    found = pd.DataFrame(rows)[list(INFLATION_COLUMNS)].astype({"tasks_without_cost": "Int64"})
    if prices is None:
        found["tasks_without_cost"] = pd.array([pd.NA] * len(found), dtype="Int64")
    return found


def stages(tasks: pd.DataFrame, counted: str) -> NDArray[np.float64]:
    """Return the amounts from which the factors are made, one row per task: root calls, then tokens of growing scope.

    Work of root calls, work of all calls, with re-sent context, with reasoning, with calls that failed. The last column
    is all tokens of the task. `counted` is `input+output` or `input`.
    """
    wanted = ("root_calls", "root_new_tokens", "root_visible_tokens", "new_tokens", "visible_tokens", "resent_tokens",
              "reasoning_tokens", "input_tokens", "output_tokens")  # fmt: skip
    part = {name: tasks[name].astype("float64").fillna(0).to_numpy() for name in wanted}
    output = 1.0 if counted == _BOTH else 0.0
    work = part["new_tokens"] + output * part["visible_tokens"]
    sent = work + part["resent_tokens"]
    return np.stack(
        [
            part["root_calls"],
            part["root_new_tokens"] + output * part["root_visible_tokens"],
            work,
            sent,
            sent + output * part["reasoning_tokens"],
            part["input_tokens"] + output * part["output_tokens"],
        ],
        axis=1,
    )


def _factors_of(amounts: Sequence[float], base: float) -> list[float]:
    """Return the factors of amounts over a baseline; an amount of 0 before the last is passed over: its factor is 1."""
    factors = [amounts[0] or 1.0]
    last = base * factors[0]
    for place, here in enumerate(amounts[1:], start=1):
        if here == 0 and place < len(amounts) - 1:
            factors.append(1.0)
        else:
            factors.append(here / last)
            last = here
    return factors


def _row(
    kind: str,
    group: pd.DataFrame,
    name: str,
    measured: pd.DataFrame | None,
    rng: np.random.Generator | None,
    level: float,
) -> dict[str, Any]:
    """Return one row: a kind against a measured baseline, or against parts of its own tasks."""
    intrinsic = name == INTRINSIC
    sides = [group] if intrinsic or measured is None else [group, measured]
    counted = _BOTH if all(len(_counted(side, (_INPUT, "output"))) for side in sides) else _INPUT
    needed = (_INPUT, "output") if counted == _BOTH else (_INPUT,)
    mine = _measured(_counted(group, needed), counted)
    if intrinsic or measured is None:
        mine = mine[np.isfinite(_intrinsic(mine, counted))]
        base = _own_baseline(mine, counted)
    else:
        base = _measured(_counted(measured, needed), counted)
    row: dict[str, Any] = {
        "task": kind,
        "baseline": name,
        "baseline_source": "intrinsic" if intrinsic else "measured",
        "tasks": len(group),
        "tasks_without_usage": len(group) - len(mine),
        "tasks_without_cost": int(mine["cost"].isna().sum()),
        "baseline_tasks": len(base),
        "counted": counted,
        "cached_source": source_of(mine, "cached", SOURCES),
        "baseline_cached_source": "none" if intrinsic else source_of(base, "cached", SOURCES),
        "resent_source": source_of(mine, "resent", RESENT_SOURCES),
    }
    row |= {f"{one}_tokens_mean": _average(mine, one) for one in ("billed", "computed")}
    row |= {"cost_mean": _average(mine, "cost"), "calls_mean": _average(mine, "calls")}
    row |= {"baseline_tokens_mean": _average(base, "tokens"), "baseline_cost_mean": _average(base, "cost")}
    row |= {f"inflation_{one}": _over(_average(mine, one), _average(base, one)) for one in (*_MEASURES, "cost")}
    row |= _factors(mine, base, counted) | _drivers(mine, base)
    row |= _intervals(mine, base, not intrinsic and kind == name, intrinsic, rng, level)
    return row | _coverage(group)


def _coverage(group: pd.DataFrame) -> dict[str, int]:
    calls, full, silent = (int(group[name].sum()) for name in ("calls", "calls_reported", "calls_unreported"))
    found = {"calls": calls, "calls_reported": full, "calls_partial": calls - full - silent, "calls_unreported": silent}
    return found | {"calls_reasoning_reported": int(group["reasoning_reported_calls"].sum())}


def _counted(tasks: pd.DataFrame, needed: Sequence[str]) -> pd.DataFrame:
    """Return the tasks that report what is counted."""
    return tasks.dropna(subset=[f"{name}_tokens" for name in needed])


def _measured(tasks: pd.DataFrame, counted: str) -> pd.DataFrame:
    """Return the tasks with their measures as floats; what needs output is missing where only input is counted."""
    sent, made, cached = (tasks[f"{name}_tokens"].astype("float64") for name in ("input", "output", "cached"))
    made = made if counted == _BOTH else made * np.nan
    return tasks.assign(
        calls=tasks["calls"].astype("float64"),
        input=sent,
        output=made,
        billed=sent + made,
        computed=sent - cached.fillna(0) + made,
        tokens=sent + made if counted == _BOTH else sent,
        held=cached.fillna(0),
    )


def _intrinsic(tasks: pd.DataFrame, counted: str) -> NDArray[np.float64]:
    """Return the tokens of each task's first request and final answer; NaN where a task has no such request."""
    first, final = (tasks[name].astype("float64") for name in ("first_input_tokens", "final_output_tokens"))
    return np.asarray(first + final if counted == _BOTH else first, dtype=np.float64)


def _own_baseline(mine: pd.DataFrame, counted: str) -> pd.DataFrame:
    """Return, task by task, the direct answer that is inside of it: one call, nothing of it cached."""
    first, final = (mine[name].astype("float64") for name in ("first_input_tokens", "final_output_tokens"))
    made = final if counted == _BOTH else final * np.nan
    costs = mine["first_cost"] + (mine["final_cost"] if counted == _BOTH else 0.0)
    whole = {"calls": 1.0, "calls_with_input": 1.0, "calls_with_output": 1.0, "held": 0.0}
    parts = {"input": first, "output": made, "billed": first + made, "computed": first + made}
    tokens = first + made if counted == _BOTH else first
    return mine.assign(**whole, **parts, tokens=tokens, cost=costs.where(mine["cost"].notna()))


def _average(group: pd.DataFrame, name: str) -> float:
    return float(group[name].mean()) if len(group) else np.nan


def _factors(mine: pd.DataFrame, base: pd.DataFrame, counted: str) -> dict[str, float]:
    """Return the factors of the means: they multiply to the inflation of what is counted (the product telescopes)."""
    tokens = _average(base, "tokens")
    if not len(mine) or not tokens > 0:
        return {f"factor_{name}": np.nan for name in (*FACTORS, "cache", "price")}
    found = _factors_of(stages(mine, counted).mean(axis=0).tolist(), tokens)
    factors = {f"factor_{name}": value for name, value in zip(FACTORS, found, strict=True)}
    fresh = [_over(float((side["tokens"] - side["held"]).sum()), float(side["tokens"].sum())) for side in (mine, base)]
    billed = _over(_average(mine, "billed"), _average(base, "billed"))
    cost = _over(_average(mine, "cost"), _average(base, "cost"))
    return factors | {"factor_cache": _over(*fresh), "factor_price": _over(cost, billed)}


def _drivers(mine: pd.DataFrame, base: pd.DataFrame) -> dict[str, float]:
    """Return the factors that multiply to the inflation of input and output (numerator and denominator telescoped)."""
    drivers = {"driver_calls": _over(_average(mine, "calls"), _average(base, "calls"))}
    for name in ("input", "output"):
        reporting = f"calls_with_{name}"
        drivers[f"driver_{name}_reported"] = _over(_per(mine, reporting, "calls"), _per(base, reporting, "calls"))
        drivers[f"driver_{name}_per_call"] = _over(_per(mine, name, reporting), _per(base, name, reporting))
    return drivers


def _per(group: pd.DataFrame, numerator: str, denominator: str) -> float:
    return _over(float(group[numerator].sum(min_count=1)), float(group[denominator].sum()))


def _over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else np.nan


def _intervals(
    mine: pd.DataFrame,
    base: pd.DataFrame,
    is_baseline: bool,
    paired: bool,
    rng: np.random.Generator | None,
    level: float,
) -> dict[str, float]:
    ends = {f"inflation_{name}_{end}": np.nan for name in (*_MEASURES, "cost") for end in ("low", "high")}
    if is_baseline:
        # A kind against itself is 1 whatever its spread.
        return {name: 1.0 if base[name.split("_")[1]].notna().any() else np.nan for name in ends}
    if rng is None:
        return ends
    for names in (_MEASURES, ("cost",)):
        kept = [one[one[names[0]].notna()] for one in (mine, base)]
        present = [name for name in names if all(len(one) and one[name].notna().all() for one in kept)]
        if not present or min(len(one) for one in kept) < LEAST_RUNS:
            continue
        sides = [one[present].to_numpy(dtype=np.float64) for one in kept]
        mine_side, base_side = sides
        if paired:
            low, high = paired_interval(mine_side, base_side, level)
        else:
            low, high = ratio_interval(mine_side, base_side, level)
        for place, name in enumerate(present):
            ends[f"inflation_{name}_low"], ends[f"inflation_{name}_high"] = float(low[place]), float(high[place])
    return ends
