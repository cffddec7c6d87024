"""Recorded runs as a plan has them run: cut where a budget ends, and shared out over models. Frames in, new frames out.

Nothing is multiplied by a guess: a run that would have passed its budget loses the calls that would not have been made,
and a model's share of the tasks is given to runs that were recorded with that model. Models are never pooled.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.call_times import model_names, numbers
from tokenflation.analysis.planning.limits import ALL, Budget
from tokenflation.analysis.planning.parts import nearest
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.profiles.scattered import ONE_NAME
from tokenflation.sdk.errors import FrameError, PlanError
from tokenflation.sdk.words import many, percent

if TYPE_CHECKING:
    from tokenflation.analysis.comparison.costs import PriceTable

__all__ = ["MOST_KINDS", "OneRun", "Planned", "TooManyKinds", "cut_at_budget", "models_of_runs", "planned",
           "runs_by_models"]  # fmt: skip

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_KINDS = 1_000
"""Of more task kinds no forecast is made: then a kind is likely to be the name of one task."""
_JOINED = " + "
_MOST_NAMES = 5
# Growth over the horizon, and calls of a plan's timing over recorded ones, beyond which the unit is probably another.
_MOST_GROWN, _MOST_SLOWER = 100.0, 20.0
_ONE_KIND = f" If they are one kind whose prompts differ from run to run, give it one name: {ONE_NAME}."
_SEEKING = (
    "{kind} ({tasks}) is no part of the fleet: what only embeds or ranks, for no agent that was seen, as an index is made, is "
    "nothing that a user asks for. A plan that gives volumes by kind can have it."
)
_UNUSED_PRICES = (
    "plan.prices has no effect: in a forecast only a budget's max_cost uses them. `tokenflation inflation --prices` says "
    "what a task costs."
)
_NEEDED = ("task", "task_id", "started_at_ns", "input_tokens", "output_tokens", "model")


class OneRun(PlanError, FrameError):
    """Every planned kind was recorded once only: neither the plan nor the recording will do."""


class TooManyKinds(PlanError, FrameError):
    """More task kinds are planned than are forecast: likewise."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a forecast is made of: calls, whose `task` is a kind or a kind on one model, and what to say of them."""

    calls: pd.DataFrame
    volumes: dict[str, float]
    """Tasks a day by each of the calls' kinds; of kinds that are not here there are none."""
    kind_and_model: dict[str, tuple[str, str]]
    """For each of the calls' kinds the plan's kind, and the model where the plan shares its tasks over
    models, else "".
    """
    budgets: tuple[dict[str, Any], ...]
    """One row per kind with a budget: `task`, `runs`, `cut`, the limits, and the fractions saved of calls
    and tokens.
    """
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]


def planned(calls: pd.DataFrame, plan: Plan) -> Planned:
    """Return the calls and volumes that the plan stands for.

    Raises:
        PlanError: the plan names a kind, or a model of one, of which no run was recorded; or every planned kind has one
            recorded run only.
    """
    missing = [name for name in _NEEDED if name not in calls.columns]
    if missing or calls.empty:
        # Whoever asked says what is wrong with such a frame.
        return Planned(calls, {}, {}, (), (), ())
    counts = _counts(calls.drop_duplicates(["task", "task_id"])["task"])
    seeking = {} if isinstance(plan.tasks_per_day, Mapping) else _seeking(calls, counts)
    volumes = plan.volumes({kind: count for kind, count in counts.items() if kind not in seeking})
    _refuse_single_runs(volumes, counts)
    if len(volumes) > MOST_KINDS:
        raise TooManyKinds(
            f"plan.tasks_per_day is of {len(volumes):,} task kinds; more than {MOST_KINDS:,} are not forecast. A kind is a class of "
            "tasks, not one task: give those that are alike one name (`tokenflation tasks` does), or name fewer."
        )
    notes = [_SEEKING.format(kind=kind, tasks=many(count, "task")) for kind, count in seeking.items()]
    rows: list[dict[str, Any]] = []
    for kind, budget in plan.budgets_by_kind():
        _refuse_unknown("budgets", kind, counts)
        for one in volumes if kind == ALL else [kind]:
            if one in volumes:
                calls, row = cut_at_budget(calls, one, budget, prices=plan.prices)
                rows.append(row)
                notes.append(_said(row))
    if plan.prices is not None and not any(budget.max_cost is not None for _, budget in plan.budgets_by_kind()):
        notes.append(_UNUSED_PRICES)
    models = dict(plan.models_by_kind())
    for kind in models:
        _refuse_unknown("models", kind, counts)
    if ALL in models:
        models = dict.fromkeys(volumes, models[ALL])
    models = {kind: shares for kind, shares in models.items() if kind in volumes}
    warnings = [*_pooled(calls, [kind for kind in volumes if kind not in models]), *_out_of_hand(calls, plan, volumes)]
    of = {kind: (kind, "") for kind in volumes}
    if models:
        calls, volumes, of = _by_model(calls, volumes, models)
    return Planned(calls, volumes, of, tuple(rows), tuple(notes), tuple(warnings))


def _counts(names: "pd.Series[Any]") -> dict[str, int]:
    """Return how often each name is there, in order of appearance."""
    return {str(name): int(count) for name, count in names.astype(str).value_counts(sort=False).items()}


def _seeking(calls: pd.DataFrame, counts: Mapping[str, int]) -> dict[str, int]:
    """Return the tasks of the kinds, named by the recorder, that only embed or rank, if there are others."""
    if "api" not in calls.columns:
        return {}
    kinds = calls["task"].astype(str)
    asked = calls["api"].astype("str").str.rpartition(".")[2]
    silent = asked.str.contains("embed|rerank", regex=True).fillna(False) & (kinds == "task-" + asked).fillna(False)
    others = set(map(str, kinds[~silent].tolist()))
    found = {kind: count for kind, count in counts.items() if kind not in others}
    return found if len(found) < len(counts) else {}


def _refuse_unknown(name: str, kind: str, counts: Mapping[str, int]) -> None:
    if kind not in (*counts, ALL):
        raise PlanError(f"plan.{name} names {kind!r}, of which the forecast has no run{nearest(kind, counts)}")


def _refuse_single_runs(volumes: Mapping[str, float], counts: Mapping[str, int]) -> None:
    if volumes and all(counts[kind] < 2 for kind in volumes):
        kinds = ", ".join(map(repr, list(volumes)[:_MOST_NAMES]))
        if len(volumes) > _MOST_NAMES:
            kinds += f" and each of {many(len(volumes) - _MOST_NAMES, 'other kind')}"
        raise OneRun(
            f"plan.tasks_per_day rests on one recorded run of {kinds}: one run says nothing of how far runs differ, and so "
            "nothing of a fleet. Record at least 9 more of each kind; from 10 runs on there are intervals."
            + (_ONE_KIND if len(volumes) > 1 else "")
        )


def models_of_runs(calls: pd.DataFrame) -> "pd.Series[str]":
    """Return for each call the models that its run used, as "a", or as "a + b" in the order of the alphabet."""
    names = model_names(calls)
    model = pd.Series(np.where(names == "", "unknown", names), index=calls.index).astype(str)
    known = pd.DataFrame({"task": calls["task"], "task_id": calls["task_id"], "model": model})
    each = known.drop_duplicates().sort_values("model", kind="stable")
    joined = each.groupby(["task", "task_id"], sort=False)["model"].agg(_JOINED.join).rename("models").reset_index()
    found = known.merge(joined, on=["task", "task_id"], how="left", sort=False)["models"]
    found.index = calls.index
    return found


def runs_by_models(calls: pd.DataFrame) -> dict[str, Counter[str]]:
    """Return of each kind, in order of appearance, how many runs used which models, named as by `models_of_runs`."""
    runs = calls.assign(models=models_of_runs(calls)).drop_duplicates(["task", "task_id"])
    found: dict[str, Counter[str]] = {}
    for kind, models in zip(runs["task"].astype(str), runs["models"], strict=True):
        found.setdefault(kind, Counter())[models] += 1
    return found


def _pooled(calls: pd.DataFrame, kinds: list[str]) -> list[str]:
    """Return a warning for each kind that was recorded with models which no run shares, where the plan has no say."""
    found = []
    mine = calls[calls["task"].astype(str).isin(kinds)]
    ran = runs_by_models(mine) if len(mine) else {}
    for kind in kinds:
        counts = ran.get(kind, Counter[str]())
        if len(counts) < 2:
            continue
        sets = [set(name.split(_JOINED)) for name in counts]
        if any(not one & other for one in sets for other in sets):
            shown = ", ".join(f"{count} on {name}" for name, count in counts.items())
            found.append(f"{kind}: its runs are of several models ({shown}), and are taken in that mix; "
                         "give plan.models to say the fleet's.")  # fmt: skip
    return found


def _out_of_hand(calls: pd.DataFrame, plan: Plan, volumes: Mapping[str, float]) -> list[str]:
    """Return a warning of each number of the plan that is probably given in another unit."""
    found = []
    grown = plan.volume_growth
    highest = float(grown.levels(np.arange(plan.days, dtype=np.float64)).max())
    if highest > _MOST_GROWN:
        found.append(
            f"plan.growth multiplies the volume by {highest:,.0f} within {many(plan.days, 'day')}; growth of 0.01 is one "
            "per cent a day, and 1 in a table is the volume as planned."
        )
    if plan.timing is not None:
        mine = calls[calls["task"].astype(str).isin(list(volumes))]
        recorded = numbers(mine, "duration_s")
        wrote = np.maximum(numbers(mine, "output_tokens") - 1, 0.0)
        known = (recorded > 0) & np.isfinite(wrote)
        if known.any():
            now_s = plan.timing.ttft_s + plan.timing.tpot_s * float(wrote[known].mean())
            times = now_s / float(recorded[known].mean())
            if times > _MOST_SLOWER:
                found.append(
                    f"plan.timing has a call last {float(f'{now_s:.3g}'):,g} s on average, {times:,.0f} times as long as recorded; its "
                    "numbers are seconds: of tpot_s, seconds per token, 0.02 for 50 tokens a second."
                )
    return found


def _by_model(
    calls: pd.DataFrame, volumes: Mapping[str, float], models: Mapping[str, Mapping[str, float]]
) -> tuple[pd.DataFrame, dict[str, float], dict[str, tuple[str, str]]]:
    """Return the calls of the runs on the wanted models, each kind and model a kind of its own, and their volumes."""
    ran = models_of_runs(calls)
    task = calls["task"].astype(str)
    label = task.copy()
    keep = ~task.isin(list(models))
    found = {kind: volume for kind, volume in volumes.items() if kind not in models}
    of = {kind: (kind, "") for kind in found}
    for kind, shares in models.items():
        mine = task == kind
        for model, share in shares.items():
            here = mine & (ran == model)
            if not here.any():
                recorded = calls[mine].drop_duplicates(["task_id"]).index
                known = _counts(ran[recorded])
                shown = ", ".join(f"{name!r} ({count} run{'' if count == 1 else 's'})" for name, count in known.items())
                raise PlanError(f"plan.models[{kind!r}] names {model!r}, on which no run of {kind!r} was recorded; there is "
                                f"{shown}. Record runs of {kind!r} on {model!r}.")  # fmt: skip
            if share > 0:
                name = f"{kind} on {model}"
                label[here] = name
                keep |= here
                found[name] = volumes[kind] * share
                of[name] = (kind, model)
    relabelled = calls.assign(task=label.astype(calls["task"].dtype))[keep].reset_index(drop=True)
    return relabelled, found, of


def cut_at_budget(calls: pd.DataFrame, kind: str, budget: Budget, *, prices: "PriceTable | None" = None) -> tuple[
    pd.DataFrame, dict[str, Any]
]:  # fmt: skip
    """Return the calls without those that a budget would have refused to runs of `kind`, and what that saves.

    A call is refused once as many calls have started, or the calls that ended before it started used as much, as the
    budget allows; with it goes what started later. So the first call is always made, and the last one may pass the
    limit. The row has `task`, `runs`, `cut` (runs), `budget`, and the fractions `calls_saved`, `input_tokens_saved` and
    `output_tokens_saved` of the kind's.

    Raises:
        PlanError: `max_cost` without prices, or a call with tokens has none.
    """
    places = np.flatnonzero((calls["task"].astype(str) == kind).to_numpy())
    mine = calls.iloc[places]
    run = pd.factorize(mine["task_id"])[0].astype(np.int64)
    start = mine["started_at_ns"].to_numpy(dtype=np.int64)
    end = np.maximum(_ends(mine, start), start + 1)
    tokens = {name: np.nan_to_num(numbers(mine, name)) for name in ("input_tokens", "output_tokens")}
    used = {"max_input_tokens": tokens["input_tokens"], "max_output_tokens": tokens["output_tokens"],
            "max_tokens": tokens["input_tokens"] + tokens["output_tokens"]}  # fmt: skip
    if budget.max_cost is not None:
        used["max_cost"] = _costs(mine, prices)
    limits = {name: value for name, value in asdict(budget).items() if value is not None}
    refused = np.zeros(len(mine), dtype=np.bool_)
    for name, limit in limits.items():
        if name == "max_calls":
            refused |= _started_before(run, start) >= limit
        else:
            refused |= _ended_before(run, start, end, used[name]) >= limit
    runs = int(run.max(initial=-1)) + 1
    row: dict[str, Any] = {"task": kind, "runs": runs, "cut": len(np.unique(run[refused])), "budget": limits}
    whole = {"calls": np.ones(len(mine)), **tokens}
    for name, values in whole.items():
        row[f"{name}_saved"] = float(values[refused].sum() / values.sum()) if values.sum() > 0 else 0.0
    keep = np.ones(len(calls), dtype=np.bool_)
    keep[places[refused]] = False
    return calls[keep].reset_index(drop=True), row


def _ends(calls: pd.DataFrame, start: Ints) -> Ints:
    found = start + np.round(np.nan_to_num(numbers(calls, "duration_s")) * 1e9).astype(np.int64)
    if "ended_at_ns" in calls.columns:
        told = calls["ended_at_ns"]
        known = told.notna().to_numpy()
        found[known] = told[known].to_numpy(dtype=np.int64)
    return np.asarray(found, dtype=np.int64)


def _started_before(run: Ints, start: Ints) -> Ints:
    """Return how many calls of its run each call comes after."""
    order = np.lexsort((start, run))
    sorted_runs = run[order]
    found = np.empty(len(run), dtype=np.int64)
    found[order] = np.arange(len(run)) - np.searchsorted(sorted_runs, sorted_runs)
    return found


def _ended_before(run: Ints, start: Ints, end: Ints, used: Floats) -> Floats:
    """Return what the calls of its run that had ended when each call started had used."""
    count = len(run)
    is_start = np.repeat([False, True], count)
    order = np.lexsort((is_start, np.concatenate((end, start)), np.tile(run, 2)))
    grown = np.cumsum(np.concatenate((used, np.zeros(count)))[order])
    runs = np.tile(run, 2)[order]
    first = np.searchsorted(runs, runs)
    found = np.empty(2 * count, dtype=np.float64)
    found[order] = grown - np.where(first > 0, grown[first - 1], 0.0)
    return np.asarray(found[count:], dtype=np.float64)


def _costs(calls: pd.DataFrame, prices: "PriceTable | None") -> Floats:
    """Return what each call cost, as `costs` books it: cache reads and writes at their own prices."""
    if prices is None:
        raise PlanError("plan.prices is missing; a budget with max_cost needs a table of prices: prices: prices.csv.")
    if "response_model" not in calls.columns:
        calls = calls.assign(response_model=None)
    price = prices.of_calls(calls)
    tokens = {
        name: np.nan_to_num(numbers(calls, name))
        for name in ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    }
    counted = (tokens["input_tokens"] > 0) | (tokens["output_tokens"] > 0)
    unpriced = counted & price["price_input"].isna().to_numpy()
    if unpriced.any():
        names = sorted(set(model_names(calls)[unpriced].tolist()))
        raise PlanError(f"plan.prices has no price of {', '.join(map(repr, names[:5]))}; max_cost needs one for every model "
                        f"that was recorded.")  # fmt: skip
    read = np.minimum(tokens["cache_read_tokens"], tokens["input_tokens"])
    written = np.minimum(tokens["cache_write_tokens"], tokens["input_tokens"] - read)
    plain = tokens["input_tokens"] - read - written
    amounts = {
        "price_input": plain,
        "price_cache_read": read,
        "price_cache_write": written,
        "price_output": tokens["output_tokens"],
    }
    found = np.zeros(len(calls))
    for name, count in amounts.items():
        found += np.nan_to_num(price[name].to_numpy(dtype=np.float64)) * count
    return found


def _said(row: Mapping[str, Any]) -> str:
    limits = ", ".join(
        f"{name} {value:,g}" if name == "max_cost" else f"{name} {value:,.0f}" for name, value in row["budget"].items()
    )
    if not row["cut"]:
        return f"{row['task']}: no recorded run reaches its budget ({limits})."
    runs = f"{row['cut']:,} of {many(row['runs'], 'run')}"
    return (
        f"{row['task']}: the budget ({limits}) cuts {runs}, which saves {percent(row['calls_saved'], 1)} of the calls, "
        f"{percent(row['input_tokens_saved'], 1)} of the input and {percent(row['output_tokens_saved'], 1)} of the output; tasks that are "
        "cut are given up, not tried again."
    )
