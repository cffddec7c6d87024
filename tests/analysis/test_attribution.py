"""Where uncertainty comes from: exact shares, Sobol indices against sampling, Neyman's allocation, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflation.analysis.statistics.attribution import (
    LEAST_PER_TASK,
    Multiplied,
    nested_shares,
    runs_to_record,
    sobol,
    task_quantiles,
)
from tokenflation.sdk.errors import PlanError


# Few kinds of their own, many alike in two groups, and more kinds than draws of the prototypes: three ways to one
# answer.
@pytest.mark.parametrize(("kinds", "groups", "prototypes"), [(2, 2, 300), (9, 2, 300), (40, 3, 30), (40, 40, 30)])
def test_the_three_shares_are_those_of_a_nested_simulation(kinds: int, groups: int, prototypes: int) -> None:
    rng = np.random.default_rng(1)
    draws = 400
    by_kind = rng.uniform(10, 90, (kinds, 2, 1))
    factors = np.exp(rng.normal(0, 0.2, (kinds, prototypes)))
    first = np.exp(rng.normal(0, 0.3, (draws, groups)))[:, np.arange(kinds) % groups]
    multiplied = Multiplied(first, first, np.ones((1, 1)), np.ones((draws, 1)))
    found = nested_shares(by_kind, factors, multiplied, quick=np.array([0.1]), slow=0.2)
    means = np.einsum("ck,ka->ca", first * by_kind[:, 0, 0], factors)
    load = (np.einsum("ck,ka->ca", first * by_kind[:, 1, 0], factors) + 0.05 * means**2).mean()
    parts = {"load": load, "prototypes": means.var(axis=1).mean(), "assumptions": means.mean(axis=1).var()}
    assert sum(parts.values()) == pytest.approx(load + means.var())
    for name, part in parts.items():
        assert found[name][0] == pytest.approx(part / sum(parts.values()), rel=1e-9)


@given(st.integers(1, 4), st.integers(1, 5), st.floats(0, 2), st.integers(0, 100))
def test_the_three_shares_sum_to_one(kinds: int, columns: int, cv: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = np.exp(rng.normal(0, cv, (150, kinds)))
    multiplied = Multiplied(first, first**2, np.exp(rng.normal(0, 0.1, (150, columns))), np.ones((150, 1)))
    found = nested_shares(rng.uniform(0, 9, (kinds, 4, columns)), rng.lognormal(0, cv, (kinds, 20)), multiplied,
                          quick=np.full(columns, cv), slow=0.1)  # fmt: skip
    np.testing.assert_allclose(sum(found.values()), 1.0)
    assert all((part >= 0).all() for part in found.values())


def test_sobol_indices_of_a_product_are_those_of_its_formula() -> None:
    cvs = {"users": 0.5, "tasks per user": 0.3}
    rng = np.random.default_rng(2)

    def sample() -> dict[str, np.ndarray]:
        sds = {name: np.sqrt(np.log1p(cv**2)) for name, cv in cvs.items()}
        return {name: np.exp(rng.normal(-sd * sd / 2, sd, 40_000)) for name, sd in sds.items()}

    found = sobol(lambda of: np.column_stack((of["users"] * of["tasks per user"], np.ones(40_000))), sample(), sample())
    whole = 1.25 * 1.09 - 1
    assert found["users"][0][0] == pytest.approx(0.25 / whole, abs=0.03)
    assert found["users"][1][0] == pytest.approx(0.25 * 1.09 / whole, abs=0.03)
    assert found["tasks per user"][0][0] == pytest.approx(0.09 / whole, abs=0.03)
    assert found["users"][0][1] == found["users"][1][1] == 0.0


def test_the_kind_with_the_variance_gets_the_runs() -> None:
    rng = np.random.default_rng(3)
    values = {"triage": rng.lognormal(5, 1.0, 20), "steady": rng.normal(100, 5, 20)}
    found = runs_to_record(values, {"triage": 1_000.0, "steady": 1_000.0}, target=0.1)
    assert found["task"][0] == "triage"
    assert found["variance_share"][0] > 0.9
    assert list(found["more"] > 0) == [True, False]


@given(st.lists(st.tuples(st.floats(0.1, 1e6), st.integers(2, 50)), min_size=1, max_size=5), st.floats(0.01, 1.0))
def test_the_wanted_runs_meet_the_target(kinds: list[tuple[float, int]], target: float) -> None:
    rng = np.random.default_rng(len(kinds))
    values = {str(number): rng.lognormal(0, 1, runs) for number, (_, runs) in enumerate(kinds)}
    volumes = {str(number): volume for number, (volume, _) in enumerate(kinds)}
    found = runs_to_record(values, volumes, target=target).set_index("task")
    mean = sum(volumes[kind] * values[kind].mean() for kind in volumes)
    variance = sum((volumes[kind] * values[kind].std(ddof=1)) ** 2 / found.loc[kind, "runs_wanted"] for kind in volumes)
    assert 1.645 * np.sqrt(variance) <= target * mean * (1 + 1e-9)
    assert (found["more"] >= 0).all()


@pytest.mark.parametrize("name", list(LEAST_PER_TASK))
def test_a_tasks_quantile_is_refused_below_the_runs_that_bear_it(name: str) -> None:
    least = LEAST_PER_TASK[name]
    assert name not in task_quantiles(np.arange(least - 1.0))
    assert name in task_quantiles(np.arange(float(least)))
    level = {"p90": 0.9, "p95": 0.95, "p99": 0.99}[name]
    assert 1 - level**least >= 0.9 > 1 - level ** (least - 1)


def test_one_run_and_a_target_of_zero_are_refused_with_the_fix() -> None:
    with pytest.raises(PlanError, match="record at least 10"):
        runs_to_record({"a": np.ones(1)}, {"a": 1.0})
    with pytest.raises(PlanError, match=r"as 0\.15"):
        runs_to_record({"a": np.ones(5)}, {"a": 1.0}, target=0.0)
