"""Where uncertainty comes from: exact shares, Sobol indices against sampling, Neyman's allocation, refusals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflation.analysis.attribution import (
    LEAST_PER_TASK,
    nested_shares,
    runs_to_record,
    sensitivity,
    task_quantiles,
)
from tokenflation.sdk.errors import PlanError


def test_the_three_shares_are_those_of_a_nested_simulation() -> None:
    rng = np.random.default_rng(1)
    means, cv = rng.lognormal(3, 0.2, (4_000, 1)), 0.3
    found = nested_shares(means, np.sqrt(3 * means), cv)
    volume = rng.gamma(1 / cv**2, cv**2, (400, 1))
    inner = means[:, 0] * volume
    load, within, across = (3 * inner).mean(), inner.var(axis=1).mean(), inner.mean(axis=1).var()
    total = load + within + across
    for name, part in (("load", load), ("prototypes", within), ("assumptions", across)):
        assert found[name][0] == pytest.approx(part / total, abs=0.05)
    assert sum(part[0] for part in found.values()) == pytest.approx(1.0)


def test_sobol_indices_are_those_of_a_sample() -> None:
    cvs = {"users": 0.5, "tasks per user": 0.3}
    rng = np.random.default_rng(2)
    users, rate = (
        np.exp(rng.normal(-s * s / 2, s, 400_000)) for s in (np.sqrt(np.log1p(cv**2)) for cv in cvs.values())
    )
    whole = (users * rate).var()
    found = sensitivity(cvs).set_index("assumption")
    assert found.loc["users", "sobol_first"] == pytest.approx(users.var() / whole, rel=0.03)
    assert found.loc["users", "p90"] == pytest.approx(np.quantile(users, 0.9), rel=0.01)
    assert found.loc["users", "sobol_total"] == pytest.approx(1 - found.loc["tasks per user", "sobol_first"])


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
    with pytest.raises(PlanError, match="'users'"):
        sensitivity({"users": -1.0})
