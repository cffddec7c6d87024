"""What if: recorded runs re-evaluated under another policy, call by call, for a forecast to answer.

Each function takes calls (one row per call) and returns a new frame of the same columns; nothing is multiplied by a
guess. Durations stay as recorded unless the plan has a `timing`, or `pace.repaced` is asked for those of another cache.
Does no I/O.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.call_times import numbers
from tokenflation.analysis.fleet.forecast import forecast
from tokenflation.analysis.planning.parts import Uncertain, Users, nearest
from tokenflation.analysis.planning.plan import Plan
from tokenflation.sdk.errors import FrameError, PlanError

__all__ = ["caching_off", "caching_on", "depth_capped", "history_compacted", "model_replaced", "only_model", "scaled",
           "volume_that_fits"]  # fmt: skip

Floats = NDArray[np.float64]

_STEPS = 40
_CLOSE = 1e-3
_FURTHEST = 1e4
"""What a volume is multiplied or divided by at most from one step to the next."""


def _needs(calls: pd.DataFrame, what: str, names: tuple[str, ...]) -> None:
    missing = [name for name in names if name not in calls.columns]
    if missing:
        raise FrameError(f"{what}() needs the columns {missing}; load calls with tokenflation.analysis.load(path).")


def _cached(calls: pd.DataFrame) -> Floats:
    """Return the tokens each call read from a cache: as reported, else the blocks an earlier call had; else NaN."""
    told = numbers(calls, "cache_read_tokens")
    return np.where(np.isnan(told), numbers(calls, "shared_blocks") * numbers(calls, "block_tokens"), told)


def caching_on(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls as a prefix cache that forgets nothing within a task would serve them.

    A call reads from the cache the input of the call that it continues, or the prefix blocks that an earlier call of
    the task had, or what its provider reports: the largest of them.

    Raises:
        FrameError: columns are missing, or no call says what it continues and none has prefix blocks.
    """
    _needs(calls, "caching_on", ("call_id", "continues_call_id", "input_tokens", "cache_read_tokens"))
    known = calls["continues_call_id"].notna()
    if "shared_blocks" in calls.columns:
        known |= calls["shared_blocks"].notna()
    if not known.any():
        raise FrameError("A cache's answer needs to know what calls continue, or their prefix blocks; these calls have neither. "
                         "Record them with tokenflation.")  # fmt: skip
    earlier = calls.drop_duplicates("call_id").set_index("call_id")["input_tokens"]
    prefix = calls["continues_call_id"].map(earlier).astype("Float64").to_numpy(dtype=np.float64, na_value=0.0)
    blocks = np.nan_to_num(numbers(calls, "shared_blocks") * numbers(calls, "block_tokens"))
    best = np.maximum.reduce([prefix, blocks, np.nan_to_num(numbers(calls, "cache_read_tokens"))])
    return _with_cached(calls, np.minimum(best, np.nan_to_num(numbers(calls, "input_tokens"))))


def caching_off(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls as a server without a prefix cache would serve them: all input is computed.

    Raises:
        FrameError: the column `input_tokens` is missing.
    """
    _needs(calls, "caching_off", ("input_tokens",))
    return _with_cached(calls, np.zeros(len(calls)))


def _with_cached(calls: pd.DataFrame, cached: Floats) -> pd.DataFrame:
    return calls.assign(cache_read_tokens=pd.array(np.round(cached).astype(np.int64), dtype="Int64"))


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
    """Return the recorded runs that used no other model than `model`, by the name asked for or that answered.

    Raises:
        FrameError: columns are missing.
        PlanError: a kind was never recorded with that model alone.
    """
    _needs(calls, "only_model", ("task", "task_id", "model"))
    by_task = [calls["task"], calls["task_id"]]
    alone = _of_model(calls, model).groupby(by_task).transform("all")
    found = calls[alone].reset_index(drop=True)
    lost = sorted(set(calls["task"].astype(str)) - set(found["task"].astype(str)))
    if lost:
        raise PlanError(f"no run of {', '.join(map(repr, lost))} used {model!r} alone; record runs with that model.")
    return found


def _of_model(calls: pd.DataFrame, model: str) -> "pd.Series[bool]":
    """Return which calls asked for `model`, or were answered by it."""
    found = pd.Series(False, index=calls.index)
    for name in ("model", "response_model"):
        if name in calls.columns:
            found |= (calls[name] == model).fillna(False).astype(bool)
    return found


def model_replaced(calls: pd.DataFrame, plan: Plan, old: str, new: str) -> tuple[pd.DataFrame, Plan]:
    """Return calls and plan of a fleet whose tasks on the model `old` are done by `new`, as its recorded runs did them.

    Of each kind, the runs with a call of `old` give way to those that used `new` alone, which take over their volume.
    Where runs of still other models remain, they keep theirs: then the kind becomes two, `kind` and `kind (new)`.

    Raises:
        FrameError: columns are missing.
        PlanError: no call used `old`, a kind that did was never recorded with `new` alone, or the plan shares out
        models.
    """
    _needs(calls, "model_replaced", ("task", "task_id", "model", "response_model"))
    if plan.models is not None:
        raise PlanError(f"plan.models already says who does the tasks, and {new!r} cannot stand in for {old!r} beside it; "
                        "change the shares in the plan.")  # fmt: skip
    by_task = [calls["task"].astype(str), calls["task_id"].astype(str)]
    of_old, of_new = (_of_model(calls, name) for name in (old, new))
    known = sorted({str(name) for name in [*calls["model"].dropna(), *calls["response_model"].dropna()]})
    if not of_old.any():
        raise PlanError(f"no recorded call used {old!r}; the recorded models are {', '.join(map(repr, known))}.")
    runs = pd.DataFrame({"old": of_old, "new": of_new}).groupby(by_task).agg({"old": "any", "new": "all"})
    runs["new"] &= ~runs["old"]
    held: dict[str, list[int]] = {}
    for (kind, _), was, now in zip(runs.index, runs["old"].tolist(), runs["new"].tolist(), strict=True):
        of_kind = held.setdefault(str(kind), [0, 0, 0])
        for place, one in enumerate((True, was, now)):
            of_kind[place] += one
    lost = [kind for kind, (_, was, now) in held.items() if was and not now]
    if lost:
        raise PlanError(f"no run of {', '.join(map(repr, lost))} used {new!r} alone, so what it would take is not known; "
                        f"record some. The recorded models are {', '.join(map(repr, known))}.")  # fmt: skip
    volumes, names = _taken_over(plan, held, new)
    keys = pd.MultiIndex.from_arrays(by_task)
    stays = ~runs["old"].reindex(keys).to_numpy(dtype=bool)
    is_new = runs["new"].reindex(keys).tolist()
    renamed = [names.get(kind, kind) if now else kind for kind, now in zip(by_task[0].tolist(), is_new, strict=True)]
    found = calls.assign(task=pd.array(renamed, dtype="str"))[stays].reset_index(drop=True)
    budgets = plan.budgets
    if isinstance(budgets, Mapping):
        budgets = {**budgets, **{name: budgets[kind] for kind, name in names.items() if kind in budgets}}
    unsure = _unsure(plan, volumes, names)
    return found, replace(plan, tasks_per_day=volumes, budgets=budgets, assumptions=unsure)


def _unsure(plan: Plan, volumes: Mapping[str, float | Users], names: Mapping[str, str]) -> dict[str, Uncertain]:
    """Return the plan's assumptions by the places they have once volumes are given kind by kind.

    Raises:
        PlanError: one number that is unsure has become two, which would not vary together.
    """
    found = dict(plan.assumptions)
    if "tasks_per_day" in found and len(volumes) == 1:
        found[f"tasks_per_day.{next(iter(volumes))}"] = found.pop("tasks_per_day")
    parted = ["tasks_per_day", *(f"tasks_per_day.{kind}" for kind in names)]
    lost = [place for place in found if place in parted or place.startswith(tuple(f"{one}." for one in parted[1:]))]
    if lost:
        raise PlanError(f"plan.{lost[0]} is unsure, and the tasks it counts are of several kinds or models once a model is "
                        "replaced, which would not vary together; take its cv or sd out.")  # fmt: skip
    return found


def _taken_over(plan: Plan, held: Mapping[str, list[int]],
                new: str) -> tuple[dict[str, float | Users], dict[str, str]]:  # fmt: skip
    """Return volumes once `new` does what the old model did, and the names of kinds that become two.

    `held` has the runs of each kind: all, those with the old model, those with the new one alone.
    """
    total = sum(count for count, _, _ in held.values())
    planned: Mapping[str, float | Users] = (
        plan.tasks_per_day
        if isinstance(plan.tasks_per_day, Mapping)
        else {kind: plan.tasks_per_day * count / total for kind, (count, _, _) in held.items()}
    )
    volumes: dict[str, float | Users] = {}
    names: dict[str, str] = {}
    for kind, volume in planned.items():
        count, was, now = held.get(kind, [0, 0, 0])
        volumes[kind] = volume
        if was and was + now < count:
            names[kind] = f"{kind} ({new})"
            volumes[kind] = _times(volume, 1 - (was + now) / count)
            volumes[names[kind]] = _times(volume, (was + now) / count)
    return volumes, names


def _times(volume: float | Users, factor: float) -> float | Users:
    return replace(volume, users=volume.users * factor) if isinstance(volume, Users) else float(volume) * factor


def scaled(plan: Plan, factor: float) -> Plan:
    """Return the plan with all volumes multiplied; how unsure they are stays the same share of them."""
    volumes = plan.tasks_per_day
    if isinstance(volumes, Mapping):
        more: float | dict[str, float | Users] = {kind: _times(one, factor) for kind, one in volumes.items()}
    else:
        more = volumes * factor
    unsure = {
        place: replace(one, sd=one.sd * factor)
        if one.sd is not None and place.startswith("tasks_per_day") and not place.endswith(".tasks_per_user_per_day")
        else one
        for place, one in plan.assumptions.items()
    }
    return replace(plan, tasks_per_day=more, assumptions=unsure)


def history_compacted(calls: pd.DataFrame, limit_tokens: int, *, keep_tokens: int | None = None) -> pd.DataFrame:
    """Return the calls with histories that are summed up to `keep_tokens` before they pass `limit_tokens`.

    Agent run by agent run, each call adds to the history what it added as recorded; where that would pass the limit,
    one more call reads the history and writes the summary, and the rest goes on from it. `keep_tokens` is a tenth of
    the limit by default. Where the recorded history fell, it gets no longer than it was. The call after a summary
    reads nothing from the cache, as its prefix is new; the later ones read what they did but for what the summary took
    out. A summary's duration is left to the forecast, which knows its model's pace.

    Raises:
        FrameError: columns are missing.
        PlanError: the limit is not above what is kept.
    """
    _needs(calls, "history_compacted", ("call_id", "agent_run_id", "started_at_ns", "input_tokens", "output_tokens"))
    keep = limit_tokens // 10 if keep_tokens is None else keep_tokens
    if not 0 < keep < limit_tokens:
        raise PlanError(f"keep_tokens is {keep}; it must be above 0 and below limit_tokens, which is {limit_tokens}.")
    found = calls.sort_values("started_at_ns", kind="stable").reset_index(drop=True)
    told = numbers(found, "input_tokens")
    recorded = np.nan_to_num(told)
    known = found[~np.isnan(told)]
    rows = np.flatnonzero(~np.isnan(told))
    runs = [rows[np.asarray(places)] for places in known.groupby("agent_run_id", sort=False).indices.values()]
    sizes, shifts, summed = _compacted(recorded, runs, float(limit_tokens), float(keep))
    if not summed:
        return calls.copy()
    places, read = np.array([place for place, _ in summed]), np.array([size for _, size in summed])
    was = _cached(found)
    now = np.minimum(np.maximum(was - shifts, 0.0), sizes)
    now[places] = 0.0
    touched = shifts > 0
    found["input_tokens"] = found["input_tokens"].astype("Int64").where(~touched, _whole(sizes))
    read_tokens = found.get("cache_read_tokens", _whole(np.full(len(found), np.nan)))
    found["cache_read_tokens"] = read_tokens.astype("Int64").where(~touched, _whole(now))
    summaries = found.iloc[places].copy()
    # What was recorded of their prefixes is true no more.
    if "shared_blocks" in found:
        found["shared_blocks"] = found["shared_blocks"].where(~touched)
        summaries["shared_blocks"] = found["shared_blocks"].where(~touched).iloc[places]
    if "continues_call_id" in found:
        found["continues_call_id"] = found["continues_call_id"].where(~found.index.isin(places))
    summaries["call_id"] = summaries["call_id"].astype(str) + "-summary"
    summaries["input_tokens"] = _whole(read).array
    # What it reads extends the prefix of the call before it, as the call that it stands in front of did.
    before = np.maximum(was[places] - (shifts[places] - (read - keep)), 0.0)
    summaries["cache_read_tokens"] = _whole(np.minimum(before, read)).array
    summaries["output_tokens"] = keep
    for name in ("duration_s", "ttft_s", "ended_at_ns"):
        if name in summaries:
            summaries[name] = pd.Series(None, index=summaries.index, dtype=found[name].dtype)
    return pd.concat([found, summaries], ignore_index=True)


def _whole(values: Floats) -> "pd.Series[int]":
    return pd.Series(pd.array([None if np.isnan(one) else round(one) for one in values], dtype="Int64"))


def _compacted(recorded: Floats, runs: list[NDArray[Any]], limit: float,
               keep: float) -> tuple[Floats, Floats, list[tuple[int, float]]]:  # fmt: skip
    """Return each call's input, how much less than recorded, and (call, history read) of each summary before one."""
    sizes, shifts = recorded.copy(), np.zeros(len(recorded))
    summed: list[tuple[int, float]] = []
    for places in runs:
        shift = 0.0
        for before, here in zip(np.append(-1, places[:-1]).tolist(), places.tolist(), strict=True):
            if before >= 0 and recorded[here] < recorded[before]:
                # The program itself had cut its history: it may have cut what a summary had taken out before.
                shift = max(recorded[here] - sizes[before], 0.0)
            if recorded[here] - shift > limit and before >= 0 and sizes[before] > keep:
                summed.append((here, float(sizes[before])))
                shift += sizes[before] - keep
            sizes[here], shifts[here] = max(recorded[here] - shift, 0.0), shift
    return sizes, shifts, summed


def volume_that_fits(calls: pd.DataFrame, plan: Plan, *, resource: str, limit: float, statistic: str = "p95",
                     seed: int = 0) -> float:  # fmt: skip
    """Return by how much the plan's volume can be multiplied until `statistic` of `resource` reaches `limit` somewhere.

    Mix, shape and growth stay. By false position, each step a forecast with the same seed; the answer is within 0.1 %
    of the limit, or where the statistic jumps over it the largest volume below the jump.

    Raises:
        PlanError: resource or statistic is not in the forecast or does not grow with volume, or the limit is not above
        0 or
            beyond any volume.
    """
    if not limit > 0:
        raise PlanError(f"the limit on {resource} is {limit!r}; it must be above 0.")
    if statistic.startswith("share_"):
        raise PlanError(
            f"{statistic} of {resource} is a share, which no volume limits; give mean, p95 or day_peak_p95."
        )

    def highest(factor: float) -> float:
        try:
            more = scaled(plan, factor)
        except PlanError as error:
            raise PlanError(
                f"{statistic} of {resource} does not reach {limit:g} at any volume a plan may have."
            ) from error
        # The first answer is of all resources, so that it can say which there are.
        only = resource if factor != 1.0 else None
        demand = forecast(calls, more, rng=np.random.default_rng(seed), resource=only)
        rows = demand[(demand["resource"] == resource) & (demand["statistic"] == statistic)]
        if rows.empty:
            raise PlanError(_not_there(demand, resource, statistic))
        if rows["value"].isna().all():
            raise PlanError(
                f"{resource} is not known: no recorded call of the fleet reports the tokens it rests on. `tokenflation info` "
                "says where the usage comes from."
            )
        return float(rows["value"].max())

    low, high, factor = 0.0, np.inf, 1.0
    for _ in range(_STEPS):
        reached = highest(factor)
        # On a step of a load of whole numbers, more fits until the next one.
        on_a_step = reached <= limit and abs(reached / limit - 1) < _CLOSE and highest(factor * (1 + _CLOSE)) == reached
        if abs(reached / limit - 1) < _CLOSE and not on_a_step:
            return factor
        low, high = (factor, high) if reached < limit or on_a_step else (low, factor)
        if high - low < _CLOSE * high:
            break
        aim = factor * min(max(limit / reached, 1 / _FURTHEST), _FURTHEST) if reached > 0 else factor * _FURTHEST
        factor = aim if low < aim < high else (low + high) / 2 if np.isfinite(high) else factor * 2
    return low


def _not_there(demand: pd.DataFrame, resource: str, statistic: str) -> str:
    resources = [str(one) for one in demand["resource"].unique()]
    if resource not in resources:
        having = [str(one) for one in demand[demand["statistic"] == statistic]["resource"].unique()]
        return f"the forecast has no {statistic} of {resource!r}{nearest(resource, having or resources)}"
    there = [str(one) for one in demand[demand["resource"] == resource]["statistic"].unique()]
    few = " At least 10 runs of each kind are needed." if statistic in ("mean_low", "mean_high") else ""
    return f"the forecast has no {statistic} of {resource!r}{nearest(statistic, there)}{few}"
