"""`tokenflation cache DB`: what the prefix cache gave, what one could give, and what stands in its way."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.context.kvcache import (
    cache_bytes_needed,
    cache_summary,
    hits_by_bytes,
    hits_by_ttl,
)
from tokenflation.analysis.context.prefix import has_hashes
from tokenflation.analysis.context.steps import append_summary, context_steps
from tokenflation.analysis.context.volatile import volatile_prefixes, volatile_sentence
from tokenflation.analysis.profiles.uneven import uneven_kinds, uneven_remarks
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.cli.options.choices import CACHE_TABLES
from tokenflation.cli.views.numbers import human, human_length, human_share
from tokenflation.cli.views.output import emit
from tokenflation.cli.views.tables import names_of, titled_table
from tokenflation.sdk.words import many

__all__ = ["run"]

_GROUPS = ("provider", "model")
_HASHED = frozenset({"ttl", "bytes", "needed", "volatile"})
_LOWS = ("realised_hit_rate_low", "ideal_hit_rate_low")
_RELATIVE = '"session_relative_time":true'


def run(
    store: str, chosen: str | None, by: tuple[str, ...], kv_bytes_per_token: float | None, as_json: bool, as_csv: bool
) -> None:
    """Do what `tokenflation cache` asks."""
    calls = analysis.load(store, blocks=True)
    groups = by or _GROUPS
    makers: dict[str, Callable[[], pd.DataFrame]] = {
        "summary": lambda: cache_summary(calls, by=groups, rng=interval_rng()),
        "triggers": lambda: cache_summary(calls, by=("provider", "prompted_by")),
        "resent": lambda: append_summary(context_steps(calls, windows={}), by=groups),
        "ttl": lambda: hits_by_ttl(calls, by=groups),
        "bytes": lambda: hits_by_bytes(calls, kv_bytes_per_token=kv_bytes_per_token),
        "needed": lambda: cache_bytes_needed(calls, kv_bytes_per_token=kv_bytes_per_token),
        "volatile": lambda: volatile_prefixes(calls),
    }
    reported = bool((calls["cache_read_tokens"].notna() & calls["input_tokens"].notna()).any())
    if as_json or as_csv or chosen is not None:
        names = [chosen or "summary"]
    else:
        left_out = {"bytes", *(() if has_hashes(calls) else _HASHED), *(() if reported else ("resent",))}
        names = [name for name in CACHE_TABLES if name not in left_out]
    frames = {name: makers[name]() for name in names}
    emit(next(iter(frames.values())), as_json, as_csv, lambda: _tables(calls, frames, groups))


def _tables(calls: pd.DataFrame, frames: dict[str, pd.DataFrame], groups: tuple[str, ...]) -> RenderableType:
    shown: list[RenderableType] = []
    summary = frames.get("summary")
    rates = summary is not None and bool(summary[list(_LOWS)].notna().any(axis=None))
    for name, frame in frames.items():
        if name == "summary":
            shown.append(_summary(frame, "Prefix cache: realised and ideal, by tokens", groups))
        elif name == "triggers" and frame["prompted_by"].notna().any():
            shown.append(_summary(frame, "By what prompted the call", ("provider", "prompted_by")))
        elif name == "resent":
            shown.append(_resent(frame, groups))
        elif name == "ttl":
            shown.append(_by_ttl(frame, groups))
        elif name == "needed" and frame.empty:
            # Nothing was sent twice: no size reaches any share of no hits.
            continue
        elif name in ("bytes", "needed"):
            shown.append(_by_size(frame, name))
        elif name == "volatile":
            shown.append(_volatile(frame))
    resent = frames.get("resent")
    remarks = [*(uneven_remarks(uneven_kinds(calls)) if rates else []), *_remarks(calls, rates=rates)]
    if resent is not None and (resent["beyond_tokens"].fillna(0) > 0).any():
        remarks.append(
            "Read beyond what a history sends again: beginnings that another task or agent had put into the cache, and "
            "answers that come back as input."
        )
    return Group(*shown, Text(" ".join(remarks), style="dim"))


def _summary(frame: pd.DataFrame, title: str, groups: tuple[str, ...]) -> Table:
    table = titled_table(title, groups, ("calls", "reported", "realised", "hashed", "ideal", "own task", "lost"))
    for row in frame.to_dict("records"):
        lost = "-" if pd.isna(row["lost_share"]) else f"{human(row['lost_tokens'])} ({human_share(row['lost_share'])})"
        reported, hashed = (f"{row[name]:,}" for name in ("calls_with_cache_reads", "calls_with_blocks"))
        rates = [_with_interval(row, name) for name in ("realised_hit_rate", "ideal_hit_rate")]
        rates.append(human_share(row["own_task_hit_rate"]))
        table.add_row(*names_of(row, groups), f"{row['calls']:,}", reported, rates[0], hashed, rates[1], rates[2], lost)
    return table


def _resent(frame: pd.DataFrame, groups: tuple[str, ...]) -> Table:
    heads = ("calls", "sent again", "of it read", "computed again", "read beyond it")
    table = titled_table("What histories send again, and what of it the cache served", groups, heads)
    for row in frame.to_dict("records"):
        again, missed, beyond = (human(row[f"{name}_tokens"]) for name in ("resent_input", "missed", "beyond"))
        calls = f"{row['calls_read_and_resent']:,}"
        table.add_row(*names_of(row, groups), calls, again, human_share(row["cache_efficiency"]), missed, beyond)
    return table


def _by_ttl(frame: pd.DataFrame, groups: tuple[str, ...]) -> Table:
    times = frame["ttl_s"].drop_duplicates().tolist()
    heads = ["for ever" if math.isnan(ttl) else human_length(ttl) for ttl in times]
    table = titled_table("Hit rate by time to live since the last use, of any size", groups, ("input", *heads))
    for start in range(0, len(frame), len(times)):
        rows = frame.iloc[start : start + len(times)]
        first = rows.iloc[0].to_dict()
        table.add_row(*names_of(first, groups), human(first["input_tokens"]), *map(human_share, rows["hit_rate"]))
    return table


def _by_size(frame: pd.DataFrame, name: str) -> Table:
    title = {
        "bytes": "Hit rate by size of a cache that gives up what was used longest ago",
        "needed": "Smallest cache that reaches a share of the ideal hits",
    }[name]
    table = titled_table(title, _GROUPS, ("holds", "bytes", "of ideal", "hit rate"))
    for row in frame.to_dict("records"):
        held = "-" if pd.isna(row["cache_bytes"]) else f"{human(row['cache_bytes'])}B"
        tokens = f"{human(row['cache_tokens'])} tokens"
        rates = (human_share(row[name]) for name in ("share_of_ideal", "hit_rate"))
        table.add_row(*names_of(row, _GROUPS), tokens, held, *rates)
    return table


def _volatile(frame: pd.DataFrame) -> RenderableType:
    title = Text("What keeps prompts from sharing their beginning", style="bold")
    if frame.empty:
        return Group(title, Text("Nothing was found: calls that should begin alike do.\n"))
    sentences = [Text(f"* {volatile_sentence(row)}") for _, row in frame.iterrows()]
    return Group(title, *sentences, Text("Put what changes behind what stays the same.\n"))


def _remarks(calls: pd.DataFrame, *, rates: bool) -> list[str]:
    """Return what the figures do not cover."""
    count, told = len(calls), calls["input_tokens"].notna()
    reported = int((told & calls["cache_read_tokens"].notna()).sum())
    hashed = int((told & calls["block_hashes"].notna()).sum())
    found = []
    if reported < count:
        found.append(f"No cache reads are reported by {count - reported:,} of {many(count, 'call')}.")
    if hashed < count:
        found.append(
            f"No prefix hashes are there of {count - hashed:,} of {many(count, 'call')}: what they share is not known."
        )
    if rates:
        found.append("Below a rate: its 90 % interval over tasks.")
    if hashed:
        found.append(
            "Ideal counts whole blocks and takes a prompt as cached from the start of its call, so that more may be realised; "
            "own task: the ideal of a cache that is empty when a task starts."
        )
    if hashed and not reported:
        found.append("What is lost is not known: nobody says what was realised.")
    silent = int(calls["prompted_by"].isna().sum())
    if silent:
        found.append(f"What prompted it is not recorded of {many(silent, 'call')}.")
    relative = calls[calls["extra"].str.contains(_RELATIVE, regex=False)].groupby(["task", "task_id"]).ngroups
    if relative:
        found.append(
            f"The times of {many(relative, 'task')} count from the task's own start, as if all began at once, and block ids from elsewhere "
            "mean nothing in another task: sizes and reuse across these tasks are not known."
        )
    return found


def _with_interval(row: Mapping[Any, Any], name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    interval = "" if pd.isna(low) else f"\n{100 * low:.1f} to {100 * high:.1f}"
    return human_share(row[name]) + interval
