"""What caches give: by hand, against a cache that is played block by block, and in properties of all calls."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.analysis.prompts import BLOCK, any_calls, asked, calls_of

from tokenflation.analysis.columns.context import BYTES_COLUMNS, CACHE_COLUMNS, NEEDED_COLUMNS, TTL_COLUMNS
from tokenflation.analysis.context.kvcache import cache_bytes_needed, cache_summary, hits_by_bytes, hits_by_ttl
from tokenflation.sdk.errors import FrameError, PlanError


def test_the_hit_rate_weighs_by_tokens_and_its_coverage_stands_beside_it() -> None:
    calls = calls_of(
        asked("abcd", 0, cache_read_tokens=None),
        asked("abcdefgh", 1, cache_read_tokens=8),
        asked("abcd", 2, cache_read_tokens=0, block_hashes=None),
        asked("zz", 3, input_tokens=None, cache_read_tokens=4),
    )

    row = cache_summary(calls, by=()).iloc[0]

    counts = ["calls", "calls_with_cache_reads", "calls_with_blocks", "calls_with_both"]
    assert row[counts].tolist() == [4, 2, 2, 1]
    assert row["realised_hit_rate"] == 8 / (32 + 16)
    assert row["ideal_hit_rate"] == 16 / (16 + 32)
    assert (row["lost_tokens"], row["lost_share"]) == (8, 8 / 32)


def test_without_hashes_the_realised_rate_is_known_and_the_ideal_is_not() -> None:
    calls = calls_of(asked("ab", 0, cache_read_tokens=2), asked("ab", 1, cache_read_tokens=0))

    row = cache_summary(calls.drop(columns="block_hashes"), by=()).iloc[0]

    assert row["realised_hit_rate"] == 2 / 16
    assert row["calls_with_blocks"] == 0
    assert pd.isna(row["ideal_tokens"])
    assert pd.isna(row["ideal_hit_rate"])


def test_triggers_and_providers_are_told_apart_and_what_is_not_recorded_is_a_group_of_its_own() -> None:
    calls = calls_of(
        asked("ab", 0, prompted_by="user"),
        asked("abc", 1, prompted_by="tool"),
        asked("abcd", 2, prompted_by="tool"),
        asked("ab", 3, prompted_by=None, provider="else"),
    )

    by_trigger = cache_summary(calls, by=("prompted_by",))

    assert by_trigger["prompted_by"].tolist()[:2] == ["tool", "user"]
    assert by_trigger["prompted_by"].isna().tolist() == [False, False, True]
    assert by_trigger["ideal_tokens"].tolist() == [8 + 12, 0, 0]
    assert cache_summary(calls)["calls"].tolist() == [1, 3]


def test_a_time_to_live_counts_from_the_last_use() -> None:
    # Used every 200 s, so 300 s keep it; the last comes after 400 s.
    calls = calls_of(*(asked("ab", second) for second in (0, 200, 400, 800)))

    frame = hits_by_ttl(calls)

    assert frame["hit_tokens"].tolist() == [0, 16, 24, 24]
    assert frame["ttl_s"].isna().tolist() == [False, False, False, True]
    assert frame["hit_rate"].tolist() == [0, 0.5, 0.75, 0.75]


def test_a_time_to_live_is_over_when_it_has_passed() -> None:
    calls = calls_of(asked("a", 0), asked("a", 300))

    assert hits_by_ttl(calls, ttls_s=(300, 300.001))["hit_tokens"].tolist() == [0, 4]


def test_a_small_cache_keeps_the_beginning_of_the_prompt_that_was_used_last() -> None:
    calls = calls_of(asked("abcd", 0), asked("xy", 1), asked("abcd", 2))

    frame = hits_by_bytes(calls, kv_bytes_per_token=10, cache_bytes=[0, 80, 119, 120, 200, 240, 999])

    # Blocks of 40 bytes: two newer ones first, then a, b, c, d.
    assert frame["hit_tokens"].tolist() == [0, 0, 0, 4, 12, 16, 16]
    assert frame["hit_rate"].tolist()[-1] == 16 / 40
    assert frame["cache_tokens"].tolist() == [0, 8, 11, 12, 20, 24, 99]


def test_the_size_that_is_needed_is_the_smallest_that_reaches_a_share() -> None:
    calls = calls_of(asked("abcd", 0), asked("xy", 1), asked("abcd", 2))

    frame = cache_bytes_needed(calls, kv_bytes_per_token=10, shares=(0.25, 0.3, 1.0))

    assert frame["cache_bytes"].tolist() == [120, 160, 240]
    assert frame["hit_rate"].tolist() == [4 / 40, 8 / 40, 16 / 40]


def test_sizes_are_in_tokens_where_bytes_per_token_are_not_given_and_end_where_all_fits() -> None:
    frame = hits_by_bytes(calls_of(asked("abcd", 0), asked("xy", 1), asked("abcd", 2)))

    assert frame["cache_bytes"].isna().all()
    assert frame["cache_tokens"].tolist() == [0, 4, 8, 16, 32]
    assert frame["share_of_ideal"].tolist() == [0, 0, 0, 0.5, 1]


def test_nothing_to_reuse_is_no_error() -> None:
    calls = calls_of(asked("ab"), asked("", 1))

    assert hits_by_bytes(calls)["hit_tokens"].tolist() == [0]
    assert hits_by_bytes(calls)["share_of_ideal"].isna().all()
    assert cache_bytes_needed(calls).empty
    assert hits_by_ttl(calls)["hit_rate"].tolist() == [0, 0, 0, 0]


def test_questions_that_make_no_sense_are_refused() -> None:
    calls = calls_of(asked("ab"))

    for ask in (
        lambda: hits_by_ttl(calls, ttls_s=(-1,)),
        lambda: hits_by_ttl(calls, ttls_s=()),
        lambda: hits_by_bytes(calls, kv_bytes_per_token=0),
        lambda: hits_by_bytes(calls, cache_bytes=[1]),
        lambda: hits_by_bytes(calls, kv_bytes_per_token=1, cache_bytes=[math.nan]),
        lambda: cache_bytes_needed(calls, shares=(0,)),
        lambda: cache_summary(calls, by=("status",)),
    ):
        with pytest.raises(PlanError):
            ask()
    with pytest.raises(FrameError):
        hits_by_ttl(calls.drop(columns="block_hashes"))


def test_the_columns_are_those_that_are_written_down() -> None:
    calls = calls_of(asked("ab", 0), asked("ab", 1))

    assert list(cache_summary(calls, by=())) == list(CACHE_COLUMNS)
    assert list(hits_by_ttl(calls, by=())) == list(TTL_COLUMNS)
    assert list(hits_by_bytes(calls)) == list(BYTES_COLUMNS)
    assert list(cache_bytes_needed(calls)) == list(NEEDED_COLUMNS)


def _played(rows: list[dict[str, Any]], size: int) -> dict[Any, int]:
    """Return the tokens that a cache of `size` blocks per model hits, playing every use of every block."""
    held: dict[Any, list[bytes]] = {}
    hits: dict[Any, int] = {}
    for row in sorted(rows, key=lambda row: row["started_at_ns"]):
        cache = held.setdefault(row["model"], [])
        blob, full = row["block_hashes"], row["input_tokens"] // BLOCK
        blocks = [blob[at : at + 8] for at in range(0, 8 * full, 8)]
        hit = next((at for at, block in enumerate(blocks) if block not in cache), full)
        hits[row["model"]] = hits.get(row["model"], 0) + hit * BLOCK
        for block in reversed(blocks):  # its end is given up first
            if block in cache:
                cache.remove(block)
            cache.append(block)
        del cache[: max(len(cache) - size, 0)]
    return hits


@given(any_calls(), st.integers(0, 14))
@settings(deadline=None, max_examples=12)
def test_one_pass_finds_what_a_cache_of_any_size_hits(rows: list[dict[str, Any]], size: int) -> None:
    frame = hits_by_bytes(calls_of(*rows), kv_bytes_per_token=1, cache_bytes=[size * BLOCK])

    models = [None if pd.isna(model) else model for model in frame["model"]]
    assert dict(zip(models, frame["hit_tokens"].tolist(), strict=True)) == _played(rows, size)


@given(any_calls())
@settings(deadline=None, max_examples=12)
def test_hits_never_fall_with_size_or_time_and_end_at_the_ideal(rows: list[dict[str, Any]]) -> None:
    calls = calls_of(*rows)
    whole = cache_summary(calls)
    ideal = whole["ideal_tokens"].tolist()
    by_time = hits_by_ttl(calls, ttls_s=(0, 1, 3, math.inf))
    by_size = hits_by_bytes(calls)

    for frame in (by_time, by_size):
        groups = [one["hit_tokens"].tolist() for _, one in frame.groupby(["provider", "model"], dropna=False)]
        assert all(hits[0] == 0 and hits == sorted(hits) for hits in groups)
        assert [hits[-1] for hits in groups] == ideal
    for rates in (by_time["hit_rate"], by_size["hit_rate"], whole["ideal_hit_rate"]):
        assert rates.dropna().between(0, 1).all()


@given(any_calls(), st.sampled_from(("provider", "model", "task", "agent", "prompted_by")))
@settings(deadline=None, max_examples=12)
def test_the_groups_of_calls_sum_to_the_whole(rows: list[dict[str, Any]], by: str) -> None:
    calls = calls_of(*rows)
    for frame, whole in (
        (cache_summary(calls, by=(by,)), cache_summary(calls, by=())),
        (hits_by_ttl(calls, by=(by,)), hits_by_ttl(calls, by=())),
    ):
        parts = [name for name in whole if str(whole[name].dtype).lower() == "int64"]
        assert frame[parts].sum().to_dict() == whole[parts].fillna(0).sum().to_dict()


@given(any_calls(), st.floats(0.01, 1.0))
@settings(deadline=None, max_examples=12)
def test_the_size_that_is_needed_reaches_its_share_and_a_block_less_does_not(
    rows: list[dict[str, Any]], share: float
) -> None:
    calls = calls_of(*rows)
    for row in cache_bytes_needed(calls, kv_bytes_per_token=1, shares=(share,)).itertuples():
        sizes = [row.cache_tokens, row.cache_tokens - BLOCK, 1e9]
        curve = hits_by_bytes(calls, kv_bytes_per_token=1, cache_bytes=sizes)
        same = curve["model"].isna() if pd.isna(row.model) else curve["model"] == row.model
        enough, less, ideal = curve[same]["hit_tokens"]
        assert enough >= share * ideal > less


def test_a_count_of_shared_blocks_tells_of_the_own_task_where_there_are_no_hashes() -> None:
    nothing = {"block_hashes": None}
    rows = asked("abc", 0, shared_blocks=0, **nothing), asked("abcd", 1, shared_blocks=3, **nothing), asked("ab", 2)

    row = cache_summary(calls_of(*rows), by=()).iloc[0]

    assert (row["calls_with_own_task"], row["calls_with_blocks"]) == (3, 1)
    assert row["own_task_hit_rate"] == 12 / (12 + 16 + 8)
    assert (row["ideal_tokens"], row["other_task_tokens"]) == (0, 0)


def test_rates_have_intervals_over_tasks_where_there_are_ten() -> None:
    calls = calls_of(
        *(
            asked("abcdef"[: 1 + at % 6], at, task_id=f"t{at}", cache_read_tokens=at % 3, prompted_by="user")
            for at in range(20)
        ),
        asked("ab", 99, cache_read_tokens=1, prompted_by="tool"),
    )

    tool, user = cache_summary(calls, by=("prompted_by",), rng=np.random.default_rng(1)).to_dict("records")

    for name in ("realised_hit_rate", "ideal_hit_rate"):
        assert 0 < user[f"{name}_low"] < user[name] < user[f"{name}_high"] <= 1
        assert math.isnan(tool[f"{name}_low"])
    assert cache_summary(calls)["ideal_hit_rate_low"].isna().all()
