"""The section on the prefix cache: what it gave, could give by time to live and size, and what stands in its way."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from tokenflation.exporters.report.figures.cache import (
    bytes_figure,
    named_models,
    pause_label,
    pauses_figure,
    ttl_figure,
    ttl_label,
)
from tokenflation.exporters.report.markup import Section, chart, definitions, note, notes, table
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, exact, share, with_unit
from tokenflation.sdk.words import many

__all__ = ["Cache", "cache_section"]

_NO_HASHES = (
    "Curves against time to live and size need the prefix hashes of the prompts, which no call here has. Calls that "
    "tokenflation records do; few logs of other tools do."
)
_TITLE = "Prefix cache"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cache:
    """What `kvcache`, `pauses` and `volatile` find; a frame that is None could not be made."""

    whole: pd.DataFrame
    """`cache_summary` of all calls: one row."""
    models: pd.DataFrame
    """`cache_summary` by provider and model."""
    triggers: pd.DataFrame
    """`cache_summary` by what prompted the call."""
    pauses: pd.DataFrame | None = None
    ttl: pd.DataFrame | None = None
    sizes: pd.DataFrame | None = None
    volatile: tuple[str, ...] = ()
    """`volatile_sentence` of each place where prompts part."""


def cache_section(cache: Cache | None) -> Section:
    """Return hit rates with their coverage, the curves, and what changes in front of what stays."""
    lede = (
        "Input that an earlier call had sent need not be computed again. Realised is what providers report; ideal is what "
        "a cache that forgets nothing would have had; within one task, a cache that is empty when a task starts. All rates "
        "weigh by tokens, and each model has a cache of its own."
    )
    if cache is None:
        text = "No call reports its input tokens, so nothing is known of the cache."
        return Section(key="cache", title=_TITLE, lede=lede, body=[note(text, "empty")])
    whole = cache.whole.iloc[0]
    body = [definitions(_facts(whole)), *_beyond(whole), notes("In the way", cache.volatile, "warning")]
    charts = [
        *_chart_ttl(cache.ttl),
        *_chart_sizes(cache.sizes),
        *_chart_pauses(cache.pauses),
    ]
    if charts:
        body.append(f'<div class="charts">{"".join(charts)}</div>')
    if cache.ttl is None:
        body.append(note(_NO_HASHES, "empty"))
    # Neither reads nor hashes: a table would list models and call everything else unknown.
    told = bool(whole["calls_with_cache_reads"]) or bool(whole["calls_with_blocks"])
    if told:
        body.append(_by_model(cache.models))
    if told and cache.triggers["prompted_by"].notna().any():
        body.append(_by_trigger(cache.triggers))
    return Section(key="cache", title=_TITLE, lede=lede, body=body)


def _beyond(row: "pd.Series[Any]") -> list[str]:
    """Return why more can be realised than the ideal, where providers read more than it."""
    if pd.isna(row["unseen_tokens"]) or row["unseen_tokens"] <= 0:
        return []
    return [
        note(
            f"Providers read {exact(row['unseen_tokens'])} tokens that the ideal does not hold, since it counts whole blocks of "
            "recorded prompts: parts of blocks, tools before a system prompt that changes, or prompts that were not recorded."
        )
    ]


def _facts(row: "pd.Series[Any]") -> list[tuple[str, str, str]]:
    calls = int(row["calls"])
    return [
        (
            "Realised hit rate",
            share(row["realised_hit_rate"]),
            f"{_interval(row, 'realised_hit_rate')}{_over(row['calls_with_cache_reads'], calls)}",
        ),
        (
            "Ideal hit rate",
            share(row["ideal_hit_rate"]),
            f"{_interval(row, 'ideal_hit_rate')}{_over(row['calls_with_blocks'], calls)}",
        ),
        (
            "Ideal within one task",
            share(row["own_task_hit_rate"]),
            _over(row["calls_with_own_task"], calls),
        ),
        ("Lost: ideal, not realised", with_unit(row["lost_tokens"], "tokens"), _over(row["calls_with_both"], calls)),
    ]


def _interval(row: "pd.Series[Any]", name: str) -> str:
    low, high = (share(row[f"{name}_{end}"]) for end in ("low", "high"))
    return "" if NOT_REPORTED in (low, high) else f"90 % interval {low} to {high}; "


def _over(known: Any, calls: int) -> str:
    return f"{exact(known)} of {many(calls, 'call')}"


def _chart_ttl(ttl: pd.DataFrame | None) -> list[str]:
    if ttl is None:
        return []
    data = table(
        "Hit rate by time to live",
        ["model", "time to live", "hit rate", "hit tokens", "of input tokens", "calls"],
        [
            (
                row["name"],
                ttl_label(row["ttl_s"]),
                share(row["hit_rate"]),
                *(exact(row[name]) for name in ("hit_tokens", "input_tokens", "calls")),
            )
            for row in named_models(ttl).to_dict("records")
        ],
    )
    label = "Lines: hit rate of a cache of any size against its time to live, one line for each model."
    remark = "Simulated over the recorded prompts; every use of a block renews it."
    return [chart("cache-ttl", "By time to live", label, ttl_figure(ttl), data, remark)]


def _chart_sizes(sizes: pd.DataFrame | None) -> list[str]:
    if sizes is None or not (sizes["cache_tokens"] > 0).any():
        return []
    data = table(
        "Hit rate by size of the cache",
        ["model", "tokens", "bytes", "hit rate", "of the ideal", "calls"],
        [
            (
                row["name"],
                exact(row["cache_tokens"]),
                count(row["cache_bytes"]) if pd.notna(row["cache_bytes"]) else "not given",
                share(row["hit_rate"]),
                share(row["share_of_ideal"]),
                exact(row["calls"]),
            )
            for row in named_models(sizes).to_dict("records")
        ],
    )
    in_bytes = bool(sizes["cache_bytes"].notna().all())
    remark = "Simulated: what was used longest ago gives way. One cache for all tasks of a model."
    if not in_bytes:
        remark += " In tokens held; a plan's kv_bytes_per_token makes bytes of them."
    label = "Lines: hit rate of a least-recently-used cache against its size, one line for each model."
    return [chart("cache-size", "By size", label, bytes_figure(sizes), data, remark)]


def _chart_pauses(pauses: pd.DataFrame | None) -> list[str]:
    if pauses is None or pauses.empty or pauses["from_s"].nunique() < 2:
        return []
    data = table(
        "What the cache still had",
        ["model", "time since the call before", "read", "sent again", "of it not read", "calls"],
        [
            (
                row["name"],
                pause_label(row["from_s"], row["to_s"]),
                share(row["hit_rate"]),
                *(exact(row[name]) for name in ("resent_tokens", "missed_tokens", "calls")),
            )
            for row in named_models(pauses).to_dict("records")
        ],
    )
    label = (
        "Bars: share of what was sent again that the provider read from its cache, by the time since the call before."
    )
    remark = "Measured, as providers report it: where bars fall, the cache had expired. 0: none was read; no bar: no such call."
    return [chart("cache-pauses", "After a pause", label, pauses_figure(pauses), data, remark)]


_COLUMNS = ["calls", "report reads", "realised", "have hashes", "ideal", "lost tokens"]


def _cells(row: dict[Any, Any]) -> tuple[str, ...]:
    return (
        exact(row["calls"]),
        exact(row["calls_with_cache_reads"]),
        share(row["realised_hit_rate"]),
        exact(row["calls_with_blocks"]),
        share(row["ideal_hit_rate"]),
        exact(row["lost_tokens"]),
    )


def _by_model(models: pd.DataFrame) -> str:
    rows = [(row["name"], *_cells(row)) for row in named_models(models).to_dict("records")]
    return table("Hit rates by model, with the calls that they rest on", ["model", *_COLUMNS], rows)


def _by_trigger(triggers: pd.DataFrame) -> str:
    names = {"user": "the user", "tool": "a tool result", "both": "both"}
    rows = [
        (names.get(str(row["prompted_by"]), NOT_REPORTED), *_cells(row))
        for row in triggers.sort_values("calls", ascending=False).to_dict("records")
    ]
    return table("By what prompted the call", ["prompted by", *_COLUMNS], rows)
