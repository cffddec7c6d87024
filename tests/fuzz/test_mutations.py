"""Whatever a provider sends, the recorder does not raise, and no total is smaller than its part."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.mutate import Mutator, check, from_bytes, seeds

RECORDED = Path(__file__).resolve().parents[3] / "shared" / "data" / "wire" / "exchanges.jsonl.xz"


def test_every_sample_is_a_model_call_when_nothing_is_wrong_with_it() -> None:
    outcomes = {(one.path, len(one.chunks[0])): check(one) for one in seeds(None)}
    fetched = ("/v1/responses/resp_1",)
    assert {path for (path, _), outcome in outcomes.items() if ", usage" not in outcome} == set(fetched)


def test_mutated_samples_never_raise_and_totals_hold() -> None:
    mutator = Mutator(seeds(None), 7)
    for _ in range(4000):
        check(mutator.next())


@pytest.mark.shared_data
@pytest.mark.skipif(not RECORDED.exists(), reason="needs the recorded exchanges of ../shared/data")
def test_mutated_recordings_never_raise_and_totals_hold() -> None:
    mutator = Mutator(seeds(RECORDED), 7)
    for _ in range(4000):
        check(mutator.next())


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=400))
def test_any_bytes_for_an_answer_are_read_without_raising(data: bytes) -> None:
    check(from_bytes(data, seeds(None)))
