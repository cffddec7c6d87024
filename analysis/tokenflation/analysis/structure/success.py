"""What success takes: tokens and cost for each, the curve of success against budget, and the failures that cost most.

Pure.

Outcomes are said by the user (`tf.outcome`) or by an importer; a task without one is neither a success nor a failure
here, and every row counts how many have one. Ratios of tokens are of sums over the tasks with an outcome that report
tokens.

* Tokens per success: of successes and failures together, for the failures are paid as well, over the successes.
* Success against budget: the share of tasks that were solved within so many tokens. Its area, over all budgets up to
  the largest task, is `mean over tasks of success * (1 - tokens / largest)`: 0 if nothing is solved, near 1 if all is
  at once. A task that a limit cut short is unsolved at any budget, which is a lower bound: it might have gone on to
  succeed.

What cannot be told: whether a task without an outcome succeeded. `expensive_failures` takes as failed besides what the
user says so: a task whose scope an exception left, and one whose last call of an outermost agent run failed.
Sources: metrics 22 and 23 of the inference profile; FORECAST model, section 2.5.
"""

from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns.structure import CURVE_COLUMNS, FAILURE_COLUMNS, OUTCOME_COLUMNS, SUCCESS_COLUMNS
from tokenflation.analysis.frames import from_records, from_rows, prepared
from tokenflation.analysis.plain import plain_rows
from tokenflation.analysis.statistics.intervals import per_success_interval, ratio_interval
from tokenflation.analysis.statistics.of_tasks import ratio_of_sums
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS, mean_interval

__all__ = ["expensive_failures", "success", "success_curve", "task_outcomes"]

_CALLS = (
    "task", "task_id", "depth", "status", "error_type", "started_at_ns", "input_tokens", "output_tokens",
)  # fmt: skip
_OUTCOMES = ("task", "task_id", "outcome", "score", "status", "error_type", "censored_by")


def task_outcomes(calls: pd.DataFrame, outcomes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per task, in order of start: how it ended and what it used; columns as in `OUTCOME_COLUMNS`.

    `calls` as `analysis.load` returns it, `outcomes` as `structure.rows.load_outcomes`.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    said = {(row[0], row[1]): row[2:] for row in plain_rows(outcomes, _OUTCOMES)}
    frame = prepared(calls, _CALLS, "task_outcomes").sort_values("started_at_ns", kind="stable")
    reported = frame[["input_tokens", "output_tokens"]]
    frame = frame.assign(
        tokens=reported.sum(axis=1, min_count=1).astype("Int64"), usage=reported.notna().all(axis=1).astype("int64")
    )
    grouped = frame.groupby(["task", "task_id"], sort=False)
    sums = grouped.agg(calls=("usage", "size"), calls_with_usage=("usage", "sum")).reset_index()
    sums["tokens"] = grouped["tokens"].sum(min_count=1).to_numpy()
    last = frame[frame["depth"] == frame.groupby(["task", "task_id"])["depth"].transform("min")]
    last = last.drop_duplicates(["task", "task_id"], keep="last")[["task", "task_id", "status", "error_type"]]
    names = ("task", "task_id", "calls", "calls_with_usage", "tokens", "status", "error_type")
    rows = []
    for row in plain_rows(sums.merge(last, on=["task", "task_id"]), names):
        outcome, score, scope_status, scope_error, censored_by = said.get((row[0], row[1]), (None,) * 5)
        failed_by = _failed_by(outcome, scope_status, row[5])
        error = scope_error if failed_by == "scope" else row[6] if failed_by == "last call" else None
        rows.append([*row[:5], outcome, score, censored_by, failed_by, error])
    return from_rows(rows, tuple(OUTCOME_COLUMNS.values()))


def _failed_by(outcome: int | None, scope_status: str | None, last_status: str) -> str | None:
    if outcome is not None:
        return None if outcome else "outcome"
    if scope_status == "error":
        return "scope"
    # A call that the program itself cancelled has not failed.
    return "last call" if last_status in ("error", "cut") else None


def expensive_failures(calls: pd.DataFrame, outcomes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per task that failed, the most tokens first, then the most calls; columns as in `FAILURE_COLUMNS`.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    ended = task_outcomes(calls, outcomes)
    of_kind = ended.groupby("task")["tokens"].transform("sum").astype("float64")
    ended["share_of_kind"] = (ended["tokens"].astype("float64") / of_kind.where(of_kind > 0)).astype("float64")
    failed = ended[ended["failed_by"].notna()]
    failed = failed.sort_values(["tokens", "calls"], ascending=False, kind="stable", na_position="last")
    return failed[list(FAILURE_COLUMNS)].reset_index(drop=True)


def success(
    calls: pd.DataFrame,
    outcomes: pd.DataFrame | None = None,
    costs: pd.DataFrame | None = None,
    *,
    rng: np.random.Generator | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Return one row per task kind; columns as in `SUCCESS_COLUMNS`; what no outcome says is missing.

    `costs` has one row per task with `task`, `task_id` and `cost`, as `costs.with_cost` returns it. With `rng`, there
    are intervals over whole tasks at `level`, where at least `prototypes.LEAST_RUNS` tasks are counted.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    ended = task_outcomes(calls, outcomes)
    priced = pd.DataFrame({"task": [], "task_id": [], "cost": []}) if costs is None else costs
    prices = {(row[0], row[1]): row[2] for row in plain_rows(priced, ("task", "task_id", "cost"))}
    keys = zip(ended["task"], ended["task_id"], strict=True)
    ended = ended.assign(cost=np.array([prices.get(key) for key in keys], dtype=np.float64))
    rows = [_row(str(kind), group, rng, level) for kind, group in ended.groupby("task", sort=True)]
    return from_records(rows, SUCCESS_COLUMNS)


def _row(kind: str, group: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, Any]:
    said = group[group["outcome"].notna()]
    counted = _counted(group)
    row: dict[str, Any] = dict.fromkeys(SUCCESS_COLUMNS)
    row |= {"task": kind, "tasks": len(group), "tasks_with_outcome": len(said), "successes": int(said["outcome"].sum())}
    priced = counted[counted["cost"].notna()]
    row |= {"counted": len(counted), "priced": len(priced)}
    rate = ratio_of_sums(said["outcome"], pd.Series(1.0, said.index), rng=rng, level=level, is_share=True)
    row |= dict(zip(("success_rate", "success_rate_low", "success_rate_high"), rate, strict=True))
    if counted.empty:
        return row
    row |= _per_success(counted, rng, level)
    row["cost_per_success"] = ratio_of_sums(priced["cost"], priced["outcome"], rng=None, level=level)[0]
    row |= _failure_ratio(counted, rng, level) | _area(counted, rng, level)
    return row


def _counted(group: pd.DataFrame) -> pd.DataFrame:
    return group[group["outcome"].notna() & group["tokens"].notna()]


def _per_success(counted: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, float]:
    """Return tokens per success and their interval; nothing without a success."""
    tokens, solved = (counted[name].to_numpy(np.float64) for name in ("tokens", "outcome"))
    if not solved.any():
        return {}
    values = {"tokens_per_success": float(tokens.sum() / solved.sum())}
    if rng is not None and len(tokens) >= LEAST_RUNS and tokens.any():
        low, high = per_success_interval(tokens, solved, level)
        values |= {"tokens_per_success_low": low, "tokens_per_success_high": high}
    return values


def _failure_ratio(counted: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, float]:
    """Return the mean tokens of both sides and their ratio; nothing of a side that is empty."""
    values: dict[str, float] = {}
    good, bad = (
        counted.loc[counted["outcome"] == outcome, "tokens"].to_numpy(np.float64)[:, None] for outcome in (1, 0)
    )
    if len(good):
        values["tokens_of_success"] = float(good.mean())
    if len(bad):
        values["tokens_of_failure"] = float(bad.mean())
    if len(good) and len(bad) and good.mean() > 0:
        values["failure_over_success"] = float(bad.mean() / good.mean())
        if rng is not None and min(len(good), len(bad)) >= LEAST_RUNS and bad.mean() > 0:
            low, high = ratio_interval(bad, good, level)
            values |= {"failure_over_success_low": float(low[0]), "failure_over_success_high": float(high[0])}
    return values


def _area(counted: pd.DataFrame, rng: np.random.Generator | None, level: float) -> dict[str, float]:
    """Return the area under the curve of success against budget, and its interval for this largest budget."""
    tokens, solved = (counted[name].to_numpy(np.float64) for name in ("tokens", "outcome"))
    largest = tokens.max()
    if not largest > 0:
        return {"budget_tokens": int(largest)}
    of_tasks = solved * (1 - tokens / largest)
    values = {"budget_tokens": int(largest), "success_area": float(of_tasks.mean())}
    if rng is not None and len(of_tasks) >= LEAST_RUNS and of_tasks.sum() > 0:
        low, high = mean_interval(of_tasks, level=level, rng=rng)
        values |= {"success_area_low": low, "success_area_high": min(high, 1.0)}
    return values


def success_curve(calls: pd.DataFrame, outcomes: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return a row per task kind and budget at which the share of solved tasks changes; columns as in `CURVE_COLUMNS`.

    The first row of a kind is the budget 0 and the last one its largest task; in between the share is that of the row
    before. Kinds without a counted task have no row.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    rows = []
    for kind, group in task_outcomes(calls, outcomes).groupby("task", sort=True):
        counted = _counted(group)
        solved = np.sort(counted.loc[counted["outcome"] == 1, "tokens"].to_numpy(np.int64))
        budgets = sorted({0, *solved.tolist(), *counted["tokens"].nlargest(1).tolist()}) if len(counted) else []
        for budget in budgets:
            within = int(np.searchsorted(solved, budget, side="right"))
            rows.append([str(kind), budget, len(counted), within, within / len(counted)])
    return from_rows(rows, tuple(CURVE_COLUMNS.values()))
