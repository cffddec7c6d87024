"""A forecast in plain words: where each figure comes from, how sure it is, what was refused, what to record next.

Knows nothing of how a forecast is made or shown.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tokenflation import analysis as an
from tokenflation.analysis.fleet.buckets import busiest, by_bucket
from tokenflation.analysis.fleet.planned import planned
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.cli.views.forecast import NAMES, length, rough_share
from tokenflation.cli.views.numbers import human
from tokenflation.sdk.words import many, percent

__all__ = ["explained"]

_SPLIT = {
    "share_load": "the load itself (which tasks happen to overlap)",
    "share_prototypes": "the prototypes (how few runs were recorded)",
    "share_assumptions": "the assumptions (numbers of the plan that are given as unsure)",
}
_SHOWN = ("prefill_tokens_per_s", "decode_tokens_per_s", "concurrent_calls")
_MOST_EFFECTS = 3
_FELT = 0.005
_HEAVY = 2.0


def explained(demand: pd.DataFrame, manifest: Mapping[str, Any], plan: an.Plan,
              calls: pd.DataFrame) -> dict[str, list[str]]:  # fmt: skip
    """Return sentences by heading; `calls` are those that the forecast was made of."""
    # As planned: with models and budgets a kind's runs are not those recorded, nor are its names.
    per_task = an.tasks(planned(calls, plan).calls)
    return {
        "What the recorded runs say": [
            _runs(kind, per_task, _quantiles(manifest, kind["task"])) for kind in manifest["kinds"]
        ],
        "What the plan assumes": [*_planned(manifest, plan), *manifest["assumptions"]],
        "How sure it is": _split(demand, manifest),
        "What the peak is, and is not": _peak(demand, manifest),
        "What was refused, and why": _refused(manifest),
        "What to record next": _next(manifest),
    }


def _quantiles(manifest: Mapping[str, Any], kind: str) -> list[Mapping[str, Any]]:
    """Return the quantiles of what one task of a kind takes in input, refused ones too."""
    return [row for row in manifest["task_quantiles"] if row["task"] == kind and row["resource"] == "input_tokens"]


def _runs(kind: Mapping[str, Any], per_task: pd.DataFrame, quantiles: Sequence[Mapping[str, Any]]) -> str:
    name, count = kind["task"], kind["runs"]
    mine = per_task[per_task["task"].astype("str") == name]
    means = {one: _mean(mine[one].astype("float64")) for one in ("input_tokens", "output_tokens", "calls")}
    calls = f"{means['calls']:.3g}"
    text = (
        f"`{name}`: {many(count, 'run')}; one takes {_tokens(means['input_tokens'])} input and "
        f"{_tokens(means['output_tokens'])} output tokens in {calls} {'call' if calls == '1' else 'calls'}, on average."
    )
    if kind["cv"] is None:
        values = mine["input_tokens"].astype("float64").dropna()
        between = f" Recorded: {values.min():,.0f} to {values.max():,.0f} input tokens." if len(values) > 1 else ""
        return f"{text}{between}"
    known = "; ".join(f"{row['quantile'][1:]} % of them take at most {human(row['value'])}" for row in quantiles
                      if row["value"] is not None)  # fmt: skip
    tail = kind.get("tail_index")
    heavy = (
        f" Its largest fifth falls off like a power of {tail:.2g}: below 2 what is measured is the limits on a task."
        if tail is not None and tail < _HEAVY
        else ""
    )
    return (
        f"{text} Runs differ by {rough_share(kind['cv'])} of their mean (standard deviation of input tokens); the largest tenth takes "
        f"{percent(kind['top_tenth_share'])} of all input. So many runs tell its mean to ± {rough_share(kind['half_width'])}."
        f"{f' Of single tasks, {known}, in input tokens.' if known else ''}{heavy}"
    )


def _mean(values: pd.Series) -> float:
    """Return the mean as the forecast has it: a run that reports nothing counts as 0, unless none reports anything."""
    return float(values.fillna(0).mean()) if values.notna().any() else np.nan


def _tokens(value: float) -> str:
    return "unreported" if np.isnan(value) else f"{value:,.0f}"


def _planned(manifest: Mapping[str, Any], plan: an.Plan) -> list[str]:
    volumes = ", ".join(f"{human(kind['tasks_per_day'])} of `{kind['task']}`" for kind in manifest["kinds"])
    shape = plan.day_shape if isinstance(plan.day_shape, str) else "your 24 weights"
    days = many(plan.days, "day")
    bucket = "an hour" if length(plan.bucket_s) == "hour" else length(plan.bucket_s)
    return [
        f"Tasks a day: {volumes}. This is yours, not measured: every mean is in proportion to it.",
        f"It looks {days} ahead, in buckets of {bucket}; the shape of a day is {shape.replace('_', ' ')}.",
    ]


def _split(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> list[str]:
    found = []
    for resource in _SHOWN:
        wide = by_bucket(demand, resource)
        if "share_prototypes" not in wide.columns or "mean" not in wide.columns:
            continue
        row = busiest(wide)
        shares = {name: float(row[name]) for name in _SPLIT if name in row.index}
        shares.setdefault("share_load", 1 - sum(shares.values()))
        told = ", ".join(f"{percent(shares[name])} {words}" for name, words in _SPLIT.items() if name in shares)
        found.append(f"Of the variance of {NAMES[resource]} in the busiest bucket: {told}.")
    for resource in _SHOWN:
        effects = [row for row in manifest.get("effects", []) if row["resource"] == resource]
        moved = [row for row in effects if abs(row["p90"] - row["p10"]) > _FELT * row["planned"]][:_MOST_EFFECTS]
        if moved:
            told = "; ".join(
                f"plan.{row['assumption']} from {human(row['p10'])} to {human(row['p90'])}" for row in moved
            )
            found.append(f"What moves the mean of {NAMES[resource]} in the busiest bucket, {human(moved[0]['planned'])} as "
                         f"planned, each alone from its p10 to its p90: {told}.")  # fmt: skip
    unsure = " and how unsure numbers of the plan are" if manifest.get("effects") else ""
    found.append(
        f"The interval of a mean is where the mean of all tasks lies with {percent(manifest['level'])} probability, judged by how "
        f"much the recorded runs differ{unsure}: whole runs are what counts, not calls."
        if "mean_low" in set(demand["statistic"])
        else "No interval of the mean is given: there are too few runs of some kind."
    )
    span = length(manifest["bucket_s"])
    found.append("p50, p95 and p99 are of the load at one instant and hold both what happens to overlap and what few runs "
                 "leave open. Calls started are no load at an instant: theirs are of the mean over "
                 f"{'an hour' if span == 'hour' else span}, and more start in some minutes of it.")  # fmt: skip
    return found


def _peak(demand: pd.DataFrame, manifest: Mapping[str, Any]) -> list[str]:
    is_ = (
        "The day's peak is the highest of all one-minute instants of the busiest day: the value shown is not passed in 95 of "
        "100 such days."
    )
    is_not = (
        "It is no p95 or p99 of an instant: a day has 1,440 instants, and its highest lies above a quantile of any one of them, "
        "where loads swing within the day. It may still lie below the p99 where that comes from what few runs leave open, as "
        "that holds for all instants of a day together."
    )
    found = [is_, is_not]
    if "horizon_peak_p95" in set(demand["statistic"]):
        found.append(
            f"The table of --csv and --json also holds the peak of all {manifest['days']} days (horizon_peak)."
        )
    return found


def _refused(manifest: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    alike: dict[str, list[str]] = {}
    for kind in manifest["kinds"]:
        name, count = kind["task"], kind["runs"]
        if count < LEAST_RUNS:
            found.append(f"`{name}`: no interval; {count:,} {'run is' if count == 1 else 'runs are'} recorded, and below "
                         f"{LEAST_RUNS} one would be an invention. The bands assume instead that runs differ by a factor e or "
                         "so.")  # fmt: skip
        short = [f"{row['quantile']} {row['refused']}" for row in _quantiles(manifest, name) if row["refused"]]
        if short:
            alike.setdefault(". ".join(short), []).append(f"`{name}`")
    for told, names in alike.items():
        found.append(f"Of single tasks of {', '.join(names)}: {told}. With fewer, the largest run may well lie below it; the load "
                     "of a fleet does not rest on it.")  # fmt: skip
    return found or ["Nothing: there are enough runs of each kind for every figure."]


def _next(manifest: Mapping[str, Any]) -> list[str]:
    rows: Sequence[Mapping[str, Any]] = manifest["next_runs"]
    few = [kind for kind in manifest["kinds"] if kind["runs"] < LEAST_RUNS]
    if few:
        return [
            f"At least {LEAST_RUNS - kind['runs']} more of `{kind['task']}`, so that there is an interval at all."
            for kind in few
        ]
    target = f"± {100 * manifest['target']:g} %"
    if not any(row["more"] for row in rows):
        return [f"Nothing, for {target}: the mean of the fleet's input is known to that already, with 90 % confidence."]
    return [
        *manifest["advice"],
        *(
            f"`{row['task']}`: {row['runs_wanted']:,} runs in all, of which {row['runs']:,} are there, as its part in {target} of the "
            "fleet's mean input."
            for row in rows
        ),
    ]
