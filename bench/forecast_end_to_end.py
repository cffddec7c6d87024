"""From 30 recorded sessions to the hours of all others: how often the hourly p95 is passed when they are replayed.

Of the sessions of `agent_sessions`, 30 are drawn and forecast; the others are replayed by tasks whose rate swings at
random from hour to hour (a gamma factor of cv 0.3), and looked at in the middle of each hour. Asked: 3 to 7 % of hours
above p95.

    python bench/forecast_end_to_end.py [--data ../shared/data] [--draws 40] [--per-day 2000] [--seed 1] [--by-hour]

Columns: share of hours above the forecast's p50, p95 and p99 over all draws; the plug-in is the same without what 30
runs leave open (p95 of the load alone); share of draws of which more than half of the hours pass p95.

`--by-hour` asks instead how often the 90 % interval of an hour's mean holds that of all sessions, on a business day, of
30 drawn with replacement. Sessions last hours: nights, which only the long ones reach, rest on few of the 30. With 150
draws: 0.79 to 0.82 at 3 o'clock, 0.90 to 0.93 at 10, 0.85 to 0.91 at 20 (0.61 to 0.75, 0.93 to 0.97 and 0.77 to 0.83 by
how far sessions differ in all).
"""

import argparse
import json
import lzma
from collections.abc import Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd

import tokenflation.analysis as an
from tokenflation.analysis.fleet.paths import runs_of
from tokenflation.analysis.fleet.simulate import loads_at
from tokenflation.analysis.planning.parts import Bursts

RESOURCES = ("prefill_tokens_per_s", "decode_tokens_per_s", "concurrent_calls")
_RUNS, _CV, _DAYS = 30, 0.3, 2
_HOURS = (3, 10, 20)


def sessions(path: Path) -> pd.DataFrame:
    """Return one row per call of the recorded sessions."""
    rows = []
    with lzma.open(path, "rt") as lines:
        for line in lines:
            session = json.loads(line)
            for one in _flat(session["requests"]):
                rows.append({"task": "session", "task_id": session["id"], "model": one["model"],
                             "started_at_ns": round(one["t"] * 1e9), "duration_s": one.get("api_time"),
                             "ttft_s": one.get("ttft"), "input_tokens": one["in"], "output_tokens": one["out"],
                             "shared_blocks": one["hit_blocks"], "block_tokens": 64})  # fmt: skip
    return pd.DataFrame(rows).convert_dtypes()


def _flat(requests: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for one in requests:
        if one["type"] == "subagent":
            yield from _flat(one["requests"])
        else:
            yield one


def draw(calls: pd.DataFrame, per_day: float, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Return one row per resource: shares of hours of a replay of the others above the forecast of 30 sessions."""
    names = rng.permutation(calls["task_id"].unique())
    known = calls["task_id"].isin(names[:_RUNS])
    plan = an.Plan(tasks_per_day=per_day, days=1, burstiness=Bursts(kind="modulated", cv=_CV))
    demand = an.forecast(calls[known].reset_index(drop=True), plan, rng=rng)
    of = demand[demand["bucket_start"] == 0].set_index(["resource", "statistic"])["value"]
    others = runs_of(calls[~known].reset_index(drop=True))
    hours = int(np.ceil(others.longest_s / 3600)) + _DAYS * 24
    level = rng.gamma(1 / _CV**2, _CV**2, hours)
    counts = rng.poisson(per_day / 24 * level)
    starts = (np.repeat(np.arange(hours), counts) + rng.uniform(0, 1, int(counts.sum()))) * 3600.0
    begin = (hours - _DAYS * 24 + 0.5) * 3600.0
    chosen = rng.integers(2**31)
    rows = []
    for name in RESOURCES:
        seen = loads_at(others.paths[name], len(others.kind_of_run), starts, step_s=3600.0, from_s=begin,
                        until_s=begin + (_DAYS * 24 - 1) * 3600.0, rng=np.random.default_rng(chosen))  # fmt: skip
        plug_in = of[name, "mean"] + NormalDist().inv_cdf(0.95) * of[name, "sd"]
        above = {level: float((seen > of[name, level]).mean()) for level in ("p50", "p95", "p99")}
        rows.append({"resource": name, **above, "plug-in p95": float((seen > plug_in).mean())})
    return rows


def by_hour(calls: pd.DataFrame, options: argparse.Namespace) -> pd.DataFrame:
    """Return the share of draws whose interval of an hour's mean holds that of all sessions; rows are resources."""
    plan = an.Plan(tasks_per_day=options.per_day, day_shape="business_day")

    def hours(of: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
        found = an.forecast(of, plan, rng=rng)
        found = found[found["resource"].isin(RESOURCES) & found["bucket_start"].isin([3_600 * one for one in _HOURS])]
        return found.pivot_table(index=["resource", "bucket_start"], columns="statistic", values="value")

    every, by_id = calls["task_id"].unique(), dict(list(calls.groupby("task_id")))
    truth, inside = hours(calls, np.random.default_rng(0))["mean"], []
    for one in range(options.draws):
        rng = np.random.default_rng([options.seed, one])
        drawn = [by_id[name].assign(task_id=str(place)) for place, name in enumerate(rng.choice(every, _RUNS))]
        rows = hours(pd.concat(drawn, ignore_index=True), rng)
        inside.append((rows["mean_low"] <= truth) & (truth <= rows["mean_high"]))
    return pd.concat(inside, axis=1).mean(axis=1).unstack()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared" / "data")
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--per-day", type=float, default=2_000.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--by-hour", action="store_true", help="intervals of an hour's mean instead")
    options = parser.parse_args()
    calls = sessions(options.data / "agent_sessions" / "sessions.jsonl.xz")
    if options.by_hour:
        print(by_hour(calls, options).round(2).to_string())
        return
    print(f"{calls['task_id'].nunique()} sessions, {len(calls):,} calls; {options.draws} draws of {_RUNS} sessions, "
          f"{_DAYS * 24} hours each, {options.per_day:,.0f} tasks a day")  # fmt: skip
    rows = [row for one in range(options.draws)
            for row in draw(calls, options.per_day, np.random.default_rng([options.seed, one]))]  # fmt: skip
    found = pd.DataFrame(rows)
    shown = found.groupby("resource", sort=False).mean()
    shown["mostly above p95"] = found.assign(most=found["p95"] > 0.5).groupby("resource", sort=False)["most"].mean()
    shown.loc["pooled"] = shown.mean()
    print(shown.round(3).to_string())


if __name__ == "__main__":
    main()
