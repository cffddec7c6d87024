"""What if: recorded runs re-evaluated under another policy, call by call, so that a forecast of them answers the question.

Each function takes calls (one row per call) and returns a new frame of the same columns; nothing is multiplied by a guess.
Durations stay as recorded unless the plan has a `timing`. Does no I/O.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from tokenflation.analysis.forecast import forecast
from tokenflation.analysis.plan import Plan
from tokenflation.sdk.errors import FrameError, PlanError

__all__ = ["caching_on", "depth_capped", "history_compacted", "only_model", "volume_that_fits"]

_STEPS = 40
_CLOSE = 1e-3


def _needs(calls: pd.DataFrame, what: str, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in calls.columns]
    if missing:
        raise FrameError(f"{what}() needs the columns {missing}; load calls with tokenflation.analysis.load(path).")


def caching_on(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls as a prefix cache that forgets nothing within a task would serve them.

    A call that continues another reads that one's input from the cache; a provider's larger count stays.

    Raises:
        FrameError: columns are missing.
    """
    _needs(calls, "caching_on", ("call_id", "continues_call_id", "input_tokens", "cache_read_tokens"))
    found = calls.copy()
    earlier = calls.drop_duplicates("call_id").set_index("call_id")["input_tokens"]
    prefix = calls["continues_call_id"].map(earlier).astype("Float64").fillna(0)
    served = calls["cache_read_tokens"].astype("Float64").fillna(0)
    whole = calls["input_tokens"].astype("Float64")
    best = served.where(served > prefix, prefix)
    found["cache_read_tokens"] = best.where(best < whole, whole).astype("Int64")
    return found


def depth_capped(calls: pd.DataFrame, depth: int) -> pd.DataFrame:
    """Return the calls that are inside at most `depth` agent runs: what lies deeper is not done.

    Raises:
        FrameError: the column `depth` is missing.
        PlanError: the cap is negative, or nothing is left.
    """
    _needs(calls, "depth_capped", ("depth",))
    if depth < 0:
        raise PlanError(f"depth is {depth}; it may be a number of levels from 0.")
    found = calls[calls["depth"].fillna(0) <= depth].reset_index(drop=True)
    if found.empty:
        raise PlanError(f"no call is at depth {depth} or above it; the least is {calls['depth'].min()}.")
    return found


def only_model(calls: pd.DataFrame, model: str) -> pd.DataFrame:
    """Return the recorded runs that used no other model than `model`: what the kinds take with it.

    Raises:
        FrameError: columns are missing.
        PlanError: a kind was never recorded with that model alone.
    """
    _needs(calls, "only_model", ("task", "task_id", "model"))
    alone = (
        (calls["model"] == model).fillna(False).astype(bool).groupby([calls["task"], calls["task_id"]]).transform("all")
    )
    found = calls[alone].reset_index(drop=True)
    lost = sorted(set(calls["task"].astype(str)) - set(found["task"].astype(str)))
    if lost:
        raise PlanError(f"no run of {', '.join(map(repr, lost))} used {model!r} alone; record runs with that model.")
    return found


def history_compacted(calls: pd.DataFrame, limit_tokens: int, *, keep_tokens: int | None = None) -> pd.DataFrame:
    """Return the calls with histories that are summed up to `keep_tokens` before they pass `limit_tokens`.

    Agent run by agent run, each call adds to the history what it added as recorded; where that would pass the limit, one
    more call reads the history and writes the summary, and the rest goes on from it. `keep_tokens` is a tenth of the limit
    by default. No cache reads are left on the call after a summary: its prefix is new.

    Raises:
        FrameError: columns are missing.
        PlanError: the limit is not above what is kept.
    """
    _needs(calls, "history_compacted", ("call_id", "agent_run_id", "started_at_ns", "input_tokens", "output_tokens"))
    keep = limit_tokens // 10 if keep_tokens is None else keep_tokens
    if not 0 < keep < limit_tokens:
        raise PlanError(f"keep_tokens is {keep}; it must be above 0 and below limit_tokens, which is {limit_tokens}.")
    found = calls.sort_values("started_at_ns", kind="stable").reset_index(drop=True)
    recorded = found["input_tokens"].to_numpy(dtype=np.float64, na_value=0.0)
    sizes, fresh = recorded.copy(), np.zeros(len(found), dtype=np.bool_)
    extra: list[tuple[int, float]] = []
    for places in found.groupby("agent_run_id", sort=False).indices.values():
        shift = 0.0
        for before, here in zip(np.append(-1, places[:-1]), places, strict=True):
            if before >= 0 and recorded[here] < recorded[before]:
                shift = 0.0  # the program itself had cut its history
            size = recorded[here] - shift
            if size > limit_tokens and before >= 0 and sizes[before] > keep:
                extra.append((here, sizes[before]))
                shift += sizes[before] - keep
                size, fresh[here] = recorded[here] - shift, True
            sizes[here] = max(size, 0.0)
    found["input_tokens"] = pd.array(sizes.round().astype(np.int64), dtype="Int64")
    if "cache_read_tokens" in found:
        read = found["cache_read_tokens"].where(~fresh, 0)
        found["cache_read_tokens"] = read.where((read <= found["input_tokens"]).fillna(True), found["input_tokens"])
    if not extra:
        return found
    summaries = found.iloc[[place for place, _ in extra]].copy()
    summaries["call_id"] = summaries["call_id"].astype(str) + "-summary"
    summaries["input_tokens"] = pd.array([round(size) for _, size in extra], dtype="Int64")
    summaries["output_tokens"] = keep
    return pd.concat([found, summaries], ignore_index=True)


def volume_that_fits(calls: pd.DataFrame, plan: Plan, *, resource: str, limit: float, statistic: str = "p95",
                     seed: int = 0) -> float:  # fmt: skip
    """Return by how much the plan's volume can be multiplied until `statistic` of `resource` reaches `limit` somewhere.

    Mix, shape and growth stay. By false position in the logarithm, each step a forecast with the same seed; the answer is
    within 0.1 % of the limit.

    Raises:
        PlanError: resource or statistic is not in the forecast, or the limit is not above 0.
    """
    if not limit > 0:
        raise PlanError(f"the limit on {resource} is {limit!r}; it must be above 0.")

    def highest(factor: float) -> float:
        volumes = plan.tasks_per_day
        scaled = volumes * factor if isinstance(volumes, int | float) else {
            kind: (one if isinstance(one, int | float) else one.tasks_per_day) * factor for kind, one in volumes.items()
        }  # fmt: skip
        demand = forecast(calls, replace(plan, tasks_per_day=scaled), rng=np.random.default_rng(seed))
        rows = demand[(demand["resource"] == resource) & (demand["statistic"] == statistic)]
        if rows.empty:
            raise PlanError(f"the forecast has no {statistic} of {resource!r}; its resources are "
                            f"{', '.join(demand['resource'].unique())}.")  # fmt: skip
        return float(rows["value"].max())

    low, high, factor = 0.0, np.inf, 1.0
    for _ in range(_STEPS):
        reached = highest(factor)
        if abs(reached / limit - 1) < _CLOSE:
            break
        low, high = (factor, high) if reached < limit else (low, factor)
        aim = factor * limit / reached if reached > 0 else factor * 10
        inside = low < aim < high
        factor = aim if inside else (low + high) / 2 if np.isfinite(high) else factor * 2
    return factor
