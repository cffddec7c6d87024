"""Token estimates by content kind: near to real tokenizers before any learning, nearer after it, never absurd."""

import inspect
import json
import random
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.tokens.factors import KINDS, Factors, counts, tokens_by_kind, tool_tokens

ESTIMATES = st.lists(st.floats(0, 1e6), min_size=len(KINDS), max_size=len(KINDS))
CHINESE = "我们把每一个请求按照内容分成五个部分，然后估计每个部分有多少个词元。" * 20
CODE = inspect.getsource(textwrap)
CALLS = json.dumps([{"id": f"call_{at:08x}", "price": at * 17, "at": "2024-05-15T20:00:00"} for at in range(99)])


@pytest.mark.parametrize("text", [CODE, CALLS, CHINESE], ids=["code", "tool calls", "Chinese"])
def test_the_first_estimate_is_near_the_tokenizers_and_nearer_than_characters_over_four(text: str) -> None:
    pytest.importorskip("splintr")
    from tokenflation.sdk.tokens.exact import ExactCounter

    counted = ExactCounter("o200k_base").tokens([text])

    estimate = sum(tokens_by_kind([text]))
    assert abs(estimate - counted) < 0.15 * counted
    assert abs(estimate - counted) < abs(len(text) / 4 - counted)


@pytest.mark.parametrize("kind", range(6))
def test_the_factor_of_each_kind_is_learnt_from_mixed_texts(kind: int) -> None:
    rng = random.Random(kind)
    true = [1.0] * len(KINDS)
    true[kind] = 1.6
    factors = Factors()
    for _ in range(400):
        by_kind = [rng.expovariate(1 / 300) for _ in KINDS]
        factors.observe(by_kind, round(sum(a * b for a, b in zip(true, by_kind, strict=True)) * rng.gauss(1, 0.03)))

    assert factors.learnt
    assert factors.factors[kind] == pytest.approx(1.6, rel=0.1)
    others = [factor for at, factor in enumerate(factors.factors) if at != kind]
    assert others == pytest.approx([1.0] * len(others), abs=0.12)


def test_a_count_that_cannot_be_of_the_texts_teaches_nothing() -> None:
    factors = Factors()
    factors.observe([100.0] * len(KINDS), 100_000)
    factors.observe([100.0] * len(KINDS), 1)

    assert (factors.observations, factors.factors) == (0, [1.0] * len(KINDS))


@given(st.lists(st.tuples(ESTIMATES, st.integers(0, 2**53)), max_size=30))
def test_factors_stay_in_their_range_whatever_is_reported(seen: list[tuple[list[float], int]]) -> None:
    factors = Factors()
    for by_kind, reported in seen:
        factors.observe(by_kind, reported)

    assert all(0.25 <= factor <= 4 for factor in factors.factors)


def test_a_sample_of_a_long_text_counts_like_the_whole() -> None:
    whole = [
        sum(column)
        for column in zip(*(counts([CODE[at : at + 4096]]) for at in range(0, len(CODE), 4096)), strict=True)
    ]

    assert sum(counts([CODE])) == pytest.approx(sum(whole), rel=0.05)
    assert sum(tokens_by_kind([CODE * 5])) == pytest.approx(5 * sum(tokens_by_kind([CODE])), rel=0.05)


def test_nothing_has_no_tokens_and_a_message_has_its_marks() -> None:
    assert sum(tokens_by_kind([])) == 0
    assert sum(tokens_by_kind([], 2)) == 8
    assert tool_tokens("") == 0
