"""What a prefix cache gave and what one could give: realised against ideal, against time to live, against bytes.

All hit rates weigh by tokens. A cache belongs to one provider and model, so a row never mixes two unless asked to. The
whole curves come from the one pass of `prefix.py`. Knows nothing of prices, routing or hardware; does no I/O.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenflation.analysis.columns.context import BYTES_COLUMNS, CACHE_COLUMNS, NEEDED_COLUMNS, TTL_COLUMNS
from tokenflation.analysis.context.prefix import has_hashes, hashed_calls, reuse_by_call, reuse_segments
from tokenflation.analysis.frames import from_rows, prepared
from tokenflation.analysis.statistics.of_tasks import ratio_of_sums
from tokenflation.sdk.errors import PlanError

__all__ = ["CACHE_GROUPS", "TTLS_S", "cache_bytes_needed", "cache_summary", "hits_by_bytes", "hits_by_ttl"]

TTLS_S: tuple[float, ...] = (0.0, 300.0, 3600.0, math.inf)
"""Times to live in seconds: no cache, the five minutes and the hour that providers sell, for ever.

Source: docs.anthropic.com, "Prompt caching": 5 minutes by default, 1 hour at extra cost, refreshed on each use.
"""

CACHE_GROUPS: tuple[str, ...] = ("provider", "model", "task", "agent", "prompted_by")
"""What calls can be grouped by."""

_SIZES = 13
_DOMAIN = ("provider", "model")
_KNOWN_BY = (
    (("cache_reported_input_tokens", "cache_read_tokens"), "calls_with_cache_reads"),
    (("block_input_tokens", "ideal_tokens", "other_task_tokens"), "calls_with_blocks"),
    (("own_task_input_tokens", "own_task_tokens"), "calls_with_own_task"),
    (("both_input_tokens", "lost_tokens", "unseen_tokens"), "calls_with_both"),
)


def cache_summary(
    calls: pd.DataFrame,
    *,
    by: Sequence[str] = _DOMAIN,
    rng: np.random.Generator | None = None,
    level: float = 0.9,
) -> pd.DataFrame:
    """Return one row per group of calls: `by`, then the columns of `columns.context.CACHE_COLUMNS`.

    `by` names columns of `CACHE_GROUPS`; without any, one row for all. Realised is over the calls that report cache
    reads, ideal over those with prefix hashes, and what is lost over those with both: the coverage stands beside each.
    Without hashes the ideal is not known, but what the own task had is where the source counts it. Source:
    VOCABULARY.md, "prefix cache hit rate".

    With `rng`, the realised and the ideal rate have intervals of width `level` in groups of at least 10 tasks, over
    whole tasks (`of_tasks.ratio_of_sums`).

    Raises:
        FrameError: `calls` is empty or lacks columns.
        PlanError: `by` names something else.
    """
    needed = (
        "call_id", "task_id", "response_model", "input_tokens", "cache_read_tokens", "block_tokens", "shared_blocks", *CACHE_GROUPS,
    )  # fmt: skip
    rows = prepared(calls, needed, "cache_summary")
    rows["model"] = rows["response_model"].fillna(rows["model"])
    ideal, hashed = _ideal(calls, rows)
    read, total = rows["cache_read_tokens"], rows["input_tokens"]
    counted = rows["shared_blocks"] * rows["block_tokens"]
    counted = counted.where((counted <= total).fillna(False), total).where(counted.notna() & total.notna())
    own = hashed.fillna(counted)
    reported, blocked = read.notna() & total.notna(), ideal.notna()
    both = reported & blocked
    parts: dict[str, pd.Series[Any]] = {
        "calls": pd.Series(1, index=rows.index),
        "calls_with_cache_reads": reported,
        "calls_with_blocks": blocked,
        "calls_with_both": both,
        "cache_reported_input_tokens": total.where(reported),
        "cache_read_tokens": read.where(reported),
        "block_input_tokens": total.where(blocked),
        "ideal_tokens": ideal,
        "other_task_tokens": ideal - hashed,
        "calls_with_own_task": own.notna(),
        "own_task_input_tokens": total.where(own.notna()),
        "own_task_tokens": own,
        "both_input_tokens": total.where(both),
        "lost_tokens": (ideal - read).clip(lower=0).where(both),
        "unseen_tokens": (read - ideal).clip(lower=0).where(both),
    }
    whole = {name: values.astype("Int64").fillna(0).astype("int64") for name, values in parts.items()}
    sums = _summed(rows, pd.DataFrame(whole), by)
    sums = sums.assign(**_intervals(rows, pd.DataFrame(whole), by, rng, level))
    for names, known in _KNOWN_BY:
        for name in names:
            # What no call says is not known, and no zero.
            sums[name] = sums[name].astype("Int64").where(sums[known] > 0)
    for name, part, of in (
        ("realised_hit_rate", "cache_read_tokens", "cache_reported_input_tokens"),
        ("ideal_hit_rate", "ideal_tokens", "block_input_tokens"),
        ("own_task_hit_rate", "own_task_tokens", "own_task_input_tokens"),
        ("lost_share", "lost_tokens", "both_input_tokens"),
    ):
        sums[name] = _ratio(sums[part], sums[of])
    return sums[[*by, *CACHE_COLUMNS]]


def hits_by_ttl(calls: pd.DataFrame, *, ttls_s: Sequence[float] = TTLS_S, by: Sequence[str] = _DOMAIN) -> pd.DataFrame:
    """Return one row per group and time to live: `by`, then the columns of `columns.context.TTL_COLUMNS`.

    A block is hit if less than the time to live passed from the start of the last call that used it to the start of
    this one; every use refreshes it. So a time of 0 never hits, and the hits never fall as it grows; infinity gives
    `ideal_tokens`. Size is no limit here.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
        PlanError: a time is negative, or `by` names something unknown.
    """
    if not ttls_s or any(math.isnan(ttl) or ttl < 0 for ttl in ttls_s):
        raise PlanError(f"A time to live is a number of seconds of at least 0, got {list(ttls_s)}.")
    rows, segments = hashed_calls(calls, "hits_by_ttl"), reuse_segments(calls)
    place, tokens, gap_s = (segments[name].to_numpy() for name in ("call", "tokens", "gap_s"))
    hits = {}
    for number, ttl in enumerate(ttls_s):
        hits[f"hit_{number}"] = np.bincount(place, np.where(gap_s < ttl, tokens, 0), len(rows)).astype(np.int64)
    known = pd.DataFrame({"calls": 1, "input_tokens": rows["input_tokens"].astype("int64"), **hits})
    sums = _summed(rows, known, by)
    frames = [
        sums[[*by, "calls", "input_tokens"]].assign(
            ttl_s=ttl if math.isfinite(ttl) else math.nan,
            hit_tokens=sums[f"hit_{number}"],
            hit_rate=_ratio(sums[f"hit_{number}"], sums["input_tokens"]),
            order=range(len(sums)),
        )
        for number, ttl in enumerate(ttls_s)
    ]
    return pd.concat(frames).sort_values("order", kind="stable", ignore_index=True)[[*by, *TTL_COLUMNS]]


def hits_by_bytes(
    calls: pd.DataFrame, *, kv_bytes_per_token: float | None = None, cache_bytes: Sequence[float] | None = None
) -> pd.DataFrame:
    """Return one row per provider, model and size of cache; columns as in `columns.context.BYTES_COLUMNS`.

    Each model has a cache of its own, of that size, that gives up what was used longest ago. A block hits if its stack
    distance fits: a cache of twice the size never hits less (Mattson et al. 1970). Without `cache_bytes`, sizes
    that double up to the one that holds all. Source of bytes per token: FORECAST.md, 3.1.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
        PlanError: a size or `kv_bytes_per_token` is not positive, or sizes come without it.
    """
    per_token = _checked(kv_bytes_per_token, cache_bytes)
    found = []
    for one in _curves(calls, "hits_by_bytes"):
        sizes = _doubling(one) if cache_bytes is None else [size / per_token for size in cache_bytes]
        ideal = one.hits_at(math.inf)
        for at, size in enumerate(sizes):
            hit = one.hits_at(size)
            held = (
                math.nan if kv_bytes_per_token is None else size * per_token if cache_bytes is None else cache_bytes[at]
            )
            of_ideal = hit / ideal if ideal else math.nan
            found.append((*one.names, int(size), held, one.calls, one.input_tokens, hit, one.rate(hit), of_ideal))
    return from_rows(found, tuple(BYTES_COLUMNS.values()))


def cache_bytes_needed(
    calls: pd.DataFrame, *, kv_bytes_per_token: float | None = None, shares: Sequence[float] = (0.5, 0.9, 0.99, 1.0)
) -> pd.DataFrame:
    """Return the smallest cache for each share of an infinite one's hits; as in `columns.context.NEEDED_COLUMNS`.

    The inverse of `hits_by_bytes`, in whole blocks.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
        PlanError: a share is not above 0 and at most 1, or `kv_bytes_per_token` is not positive.
    """
    per_token = _checked(kv_bytes_per_token, None)
    if any(not 0 < share <= 1 for share in shares):
        raise PlanError(f"A share of the ideal lies above 0 and is at most 1, got {list(shares)}.")
    found = []
    for one in _curves(calls, "cache_bytes_needed"):
        ideal = one.hits_at(math.inf)
        for share in shares if ideal else ():
            size = one.reaching(share * ideal)
            held = math.nan if kv_bytes_per_token is None else size * per_token
            found.append((*one.names, share, size, held, one.rate(one.hits_at(size))))
    return from_rows(found, tuple(NEEDED_COLUMNS.values()))


class _Curve:
    """Hits of one least-recently-used cache against its size: straight between `_sizes`, both in blocks."""

    def __init__(self, names: tuple[str, str | None, int], rows: pd.DataFrame, segments: pd.DataFrame) -> None:
        self.names = names
        """Provider, model, tokens per block."""
        self.calls = len(rows)
        self.input_tokens = int(rows["input_tokens"].sum())
        newer, blocks = segments["newer_blocks"].to_numpy(), segments["blocks"].to_numpy()
        # A piece begins to hit where the cache holds what is newer than it, and hits whole where it fits behind that.
        ends = np.concatenate([[0], newer, newer + blocks])
        slopes = np.concatenate([[0], np.ones(len(newer)), -np.ones(len(newer))])
        self._sizes, place = np.unique(ends, return_inverse=True)
        slope = np.cumsum(np.bincount(place, slopes))
        self._hits: npt.NDArray[np.float64] = np.append(0.0, np.cumsum(slope[:-1] * np.diff(self._sizes)))

    @property
    def most_blocks(self) -> int:
        """Blocks of the cache that hits all that can be."""
        return int(self._sizes[-1])

    def hits_at(self, cache_tokens: float) -> int:
        """Return the tokens hit by a cache of so many tokens, of which it uses whole blocks."""
        blocks = (
            min(cache_tokens // self.names[2], self.most_blocks) if math.isfinite(cache_tokens) else self.most_blocks
        )
        return round(float(np.interp(blocks, self._sizes, self._hits))) * self.names[2]

    def rate(self, hit_tokens: int) -> float:
        """Return a number of hit tokens as a fraction of the input."""
        return hit_tokens / self.input_tokens if self.input_tokens else math.nan

    def reaching(self, hit_tokens: float) -> int:
        """Return the tokens of the smallest cache that hits so many."""
        wanted = hit_tokens / self.names[2]
        at = min(int(np.searchsorted(self._hits, wanted)), len(self._hits) - 1)
        if at == 0:
            return 0
        (low, high), (size, end) = self._hits[at - 1 : at + 1], self._sizes[at - 1 : at + 1]
        return math.ceil(float(size + (wanted - low) * (end - size) / (high - low))) * self.names[2]


def _curves(calls: pd.DataFrame, caller: str) -> list[_Curve]:
    """Return the curve of each provider's and model's cache, in order of their names."""
    rows, segments = hashed_calls(calls, caller), reuse_segments(calls)
    found = []
    for _, own in rows.groupby(["provider", "model", "block_tokens"], sort=True, dropna=False):
        first = own.iloc[0]
        names = (
            str(first["provider"]),
            None if pd.isna(first["model"]) else str(first["model"]),
            int(first["block_tokens"]),
        )
        found.append(_Curve(names, own, segments[segments["call"].isin(own.index)]))
    return found


def _checked(kv_bytes_per_token: float | None, cache_bytes: Sequence[float] | None) -> float:
    if kv_bytes_per_token is None:
        if cache_bytes is not None:
            raise PlanError(
                "Sizes in bytes need kv_bytes_per_token: 2 x layers x KV heads x head size x bytes per element."
            )
        return 1.0
    if not (math.isfinite(kv_bytes_per_token) and kv_bytes_per_token > 0):
        raise PlanError(f"kv_bytes_per_token is a positive number of bytes, got {kv_bytes_per_token}.")
    if cache_bytes is not None and any(not (math.isfinite(size) and size >= 0) for size in cache_bytes):
        raise PlanError(f"A cache has a number of bytes of at least 0, got {list(cache_bytes)}.")
    return kv_bytes_per_token


def _doubling(curve: _Curve) -> list[float]:
    """Return sizes in tokens: 0, then such as double up to the one that holds all."""
    most = curve.most_blocks
    top = (most - 1).bit_length() if most else -1
    return [0.0, *(float(2**power * curve.names[2]) for power in range(max(top - _SIZES + 1, 0), top + 1))]


def _ideal(calls: pd.DataFrame, rows: pd.DataFrame) -> tuple["pd.Series[Any]", "pd.Series[Any]"]:
    """Return ideal and own-task tokens in the rows' order, missing where a call has no hashes."""
    if has_hashes(calls):
        known = reuse_by_call(calls).set_index("call_id")
        found = known.reindex(rows["call_id"])
        ideal, own = (found[name].astype("Int64").set_axis(rows.index) for name in ("ideal_tokens", "own_task_tokens"))
        return ideal, own
    nothing = pd.Series(pd.NA, index=rows.index, dtype="Int64")
    return nothing, nothing


def _summed(rows: pd.DataFrame, values: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the sums of `values` per group of `rows`, in order of the groups' names."""
    unknown = [name for name in by if name not in CACHE_GROUPS]
    if unknown:
        raise PlanError(f"Calls cannot be grouped by {unknown}; give some of {list(CACHE_GROUPS)}.")
    if not by:
        return values.sum().to_frame().T
    keyed = pd.concat([rows[list(by)].reset_index(drop=True), values.reset_index(drop=True)], axis=1)
    return keyed.groupby(list(by), sort=True, dropna=False)[list(values.columns)].sum().reset_index()


def _intervals(
    rows: pd.DataFrame, values: pd.DataFrame, by: Sequence[str], rng: np.random.Generator | None, level: float
) -> dict[str, list[float]]:
    """Return the ends of the intervals of hit rates, in the order of `_summed`."""
    rates = {
        "realised_hit_rate": ("cache_read_tokens", "cache_reported_input_tokens"),
        "ideal_hit_rate": ("ideal_tokens", "block_input_tokens"),
    }
    group = rows.groupby(list(by), sort=True, dropna=False).ngroup().to_numpy() if by else np.zeros(len(rows), np.int64)
    task = rows.groupby(["task", "task_id"], sort=False).ngroup().to_numpy()
    sums = values.assign(group=group, task=task).groupby(["group", "task"], sort=True).sum()
    found: dict[str, list[float]] = {f"{name}_{side}": [] for name in rates for side in ("low", "high")}
    for _, tasks in sums.groupby("group", sort=True):
        for name, (part, of) in rates.items():
            told = tasks[tasks[of] > 0]
            ends = ratio_of_sums(told[part], told[of], rng=rng, level=level, is_share=True)[1:]
            for side, end in zip(("low", "high"), ends, strict=True):
                found[f"{name}_{side}"].append(math.nan if end is None else end)
    return found


def _ratio(part: "pd.Series[Any]", of: "pd.Series[Any]") -> "pd.Series[Any]":
    divisor = of.to_numpy(np.float64, na_value=np.nan)
    return pd.Series(part.to_numpy(np.float64, na_value=np.nan) / np.where(divisor > 0, divisor, np.nan), part.index)
