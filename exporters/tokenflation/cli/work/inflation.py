"""`tokenflation inflation DB`: how many times the tokens of a direct answer each task kind takes, and why."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.columns.inflation import FACTORS
from tokenflation.analysis.comparison.baselines import INTRINSIC, choose_baselines
from tokenflation.analysis.comparison.costs import costs, read_prices
from tokenflation.analysis.profiles.uneven import uneven_kinds, uneven_remarks
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.cli.views.numbers import human, human_share, human_times, small
from tokenflation.cli.views.output import emit, remark
from tokenflation.cli.views.tables import titled_table
from tokenflation.sdk.words import many

__all__ = ["run"]

_LABELS = {"calls": "outer calls", "work_per_call": "work per call", "recursion": "sub-agents", "resend": "re-sent",
           "reasoning": "reasoning", "retry": "failed calls"}  # fmt: skip


def run(
    store: str, named: tuple[str, ...], intrinsic: bool, price_file: str | None, as_json: bool, as_csv: bool
) -> None:
    """Do what `tokenflation inflation` asks."""
    prices = None if price_file is None else read_prices(price_file)
    calls = analysis.load(store)
    wanted = (*named, INTRINSIC) if intrinsic else named
    chosen = choose_baselines(calls, wanted)
    if not wanted:
        remark(f"Baseline: {chosen.why}")
    frame = analysis.inflation(calls, baseline=wanted or chosen.names, prices=prices, rng=interval_rng())
    split = None if prices is None else costs(calls, prices, rng=interval_rng())
    if split is not None:
        more = split.columns.difference(frame.columns, sort=False)
        frame = frame.merge(split[["task", *more]], on="task", how="left")
    emit(frame, as_json, as_csv, lambda: _tables(frame, split, uneven_remarks(uneven_kinds(calls))))


def _tables(frame: pd.DataFrame, split: pd.DataFrame | None, uneven: list[str]) -> RenderableType:
    parts: list[RenderableType] = []
    for name in frame["baseline"].unique():
        rows = frame[frame["baseline"] == name].to_dict("records")
        parts += [_inflations(rows), _factors(rows)]
    if split is not None:
        parts.append(_costs(split))
    return Group(*parts, _coverage(frame), Text(_note(frame, uneven), style="dim"))


def _kind(row: dict[Any, Any]) -> Text:
    return Text(f"{row['task']} (baseline)" if _is_own(row) else row["task"])


def _is_own(row: Mapping[Any, Any]) -> bool:
    """Return whether a row compares a measured baseline with itself."""
    return bool(row["baseline_source"] == "measured" and row["baseline"] == row["task"])


def _baseline(row: dict[Any, Any]) -> str:
    if row["baseline_source"] == "intrinsic":
        return f"{row['baseline']} of the same task (intrinsic baseline)"
    return f"{row['baseline']} (measured, {many(row['baseline_tasks'], 'task')})"


def _inflations(rows: list[dict[Any, Any]]) -> Table:
    has_cost = any(not pd.isna(row["inflation_cost"]) for row in rows)
    names = ("billed", "computed", *(("cost",) if has_cost else ()), "input", "output", "calls")
    table = titled_table(f"Per task, times {_baseline(rows[0])}", ("task kind",), ("tasks", *names))
    for row in rows:
        table.add_row(_kind(row), _compared(row), *(_factor(row, name) for name in names))
    return table


def _compared(row: dict[Any, Any]) -> str:
    """Return how many tasks are compared, and of how many where some report too little."""
    silent = row["tasks_without_usage"]
    return f"{row['tasks'] - silent:,} of {row['tasks']:,}" if silent else f"{row['tasks']:,}"


def _factors(rows: list[dict[Any, Any]]) -> Table:
    what = "billed" if all(row["counted"] != "input" for row in rows) else "billed, or of input where that is all"
    table = titled_table(f"What it is made of: the six multiply to the inflation ({what}), × cache to computed",
                         ("task kind",), (*_LABELS.values(), "cache"))  # fmt: skip
    for row in rows:
        unknown = "" if row["calls_reasoning_reported"] or _is_own(row) else "reasoning"
        factors = ("-" if name == unknown else human_times(row[f"factor_{name}"]) for name in (*FACTORS, "cache"))
        table.add_row(_kind(row), *factors)
    return table


def _costs(split: pd.DataFrame) -> Table:
    currency = str(split["currency"].iloc[0])
    numbers = (f"{currency} per task", "cached prefix", "fresh input", "output", "saved by cache")
    table = titled_table("Cost of a task, by the prices given", ("task kind",), numbers)
    for row in split.to_dict("records"):
        bounds = (row["cost_mean_low"], row["cost_mean_high"])
        interval = "" if pd.isna(bounds[0]) else f"\n{small(bounds[0])} to {small(bounds[1])}"
        shares = (
            human_share(row[f"{name}_share"]) for name in ("cached_cost", "fresh_cost", "output_cost", "cache_saving")
        )
        table.add_row(Text(row["task"]), small(row["cost_mean"]) + interval, *shares)
    return table


def _coverage(frame: pd.DataFrame) -> Table:
    table = titled_table("What the numbers rest on", ("task kind",),
                         ("calls", "usage reported", "in part", "not", "cache known by", "re-sent known by"))  # fmt: skip
    for row in frame.drop_duplicates("task").to_dict("records"):
        shares = (human_share(row[f"calls_{name}"] / row["calls"]) for name in ("reported", "partial", "unreported"))
        table.add_row(Text(row["task"]), f"{row['calls']:,}", *shares, row["cached_source"], row["resent_source"])
    return table


def _factor(row: dict[Any, Any], name: str) -> str:
    value, low, high = (row[f"inflation_{name}{end}"] for end in ("", "_low", "_high"))
    interval = "" if pd.isna(low) or low == high else f"\n{human(low)} to {human(high)}"
    return human_times(value) + interval


def _note(frame: pd.DataFrame, uneven: list[str]) -> str:
    own = frame.apply(_is_own, axis=1)
    intervals = ", with 90 % intervals below them" if frame.loc[~own, "inflation_input_low"].notna().any() else ""
    notes = [
        f"Ratios of means{intervals}.",
        "Billed = input + output; computed = billed - cached.",
        "Outer calls: calls that ended well, outside sub-agents. Work = new input + visible output.",
    ]
    if own.any():
        notes.append("The baseline's own row is 1x throughout: it is what the others are measured by.")
    if frame["inflation_input_low"].isna().any():
        notes.append(f"No interval where a side has fewer than {LEAST_RUNS} tasks with usage: record more.")
    first = frame.drop_duplicates("task")
    notes += uneven
    silent = int(first["tasks_without_usage"].sum())
    if silent:
        notes.append(
            f"{many(silent, 'task')} {'lacks' if silent == 1 else 'lack'} usage to compare and {'is' if silent == 1 else 'are'} "
            "left out."
        )
    if (frame["counted"] == "input").any():
        notes.append("Where no task reports output, only input is compared.")
    unpriced = first["tasks_without_cost"].fillna(0).sum()
    if unpriced:
        verb = "has a call" if unpriced == 1 else "have calls"
        notes.append(
            f"{many(int(unpriced), 'task')} {verb} without a price and {'is' if unpriced == 1 else 'are'} left out of the cost."
        )
    if frame["cached_source"].str.contains("none").any():
        notes.append("Where nobody knows what was cached, computed counts the input in full.")
    if (frame.loc[~own, "calls_reasoning_reported"] == 0).any():
        notes.append("Where no call reports its reasoning (-), that is part of the visible output.")
    if frame["resent_source"].str.contains("none").any():
        notes.append("Where nobody knows what was sent before, all input counts as new.")
    if (frame["baseline_source"] == "intrinsic").any():
        notes.append(
            f"The intrinsic baseline is {INTRINSIC}, inside of the same task, taken as if nothing were cached; a direct answer "
            "may take less or more."
        )
    return " ".join(notes)
