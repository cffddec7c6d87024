"""Of very many task kinds the page takes apart those with most tokens, and says so; what is of all kinds stays so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from tests.analysis.conftest import frame_of, write_store
from tests.analysis.trees import call

from tokenflation import analysis as an
from tokenflation.analysis.comparison.baselines import choose_baselines
from tokenflation.cli.main import _tokenflation
from tokenflation.exporters.report import build, build_report, page_parts
from tokenflation.exporters.report.sections.demand import demand_section
from tokenflation.exporters.report.sections.forecast import forecast_section

KINDS = 8


def _store(folder: Path) -> str:
    """Return a store of kinds of which each has more tokens than the one before, and of one answered once."""
    rows = [
        call(f"k{kind}t{task}c{step}", f"r{kind}-{task}", step, 100 * kind + 10 * task + step, task=f"kind-{kind}",
             task_id=f"{kind}-{task}", input_tokens=1_000 * (kind + 1) * (step + 1))
        for kind in range(KINDS) for task in range(2) for step in range(2)
    ]  # fmt: skip
    once = [call(f"o{task}", f"o{task}", 0, 5_000 + task, task="once", task_id=f"o-{task}") for task in range(2)]
    return str(write_store(folder / "runs.db", [*rows, *once]))


def test_kinds_with_most_tokens_are_taken_apart_beside_what_they_are_compared_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = build_report(_store(tmp_path))
    monkeypatch.setattr(build, "_MOST_KINDS", 3)
    report = build_report(str(tmp_path / "runs.db"))
    heavy = {"kind-7", "kind-6", "kind-5", "once"}
    for frame in (report.factors, report.structure, report.contexts):
        assert frame is not None
        assert set(frame["task"]) == heavy
    assert report.findings is not None
    assert set(report.findings["task"]) <= heavy
    assert whole.factors is not None
    assert report.factors is not None
    assert report.factors.equals(whole.factors[whole.factors["task"].isin(heavy)].reset_index(drop=True))
    assert (report.profile.equals(whole.profile), whole.kinds) == (True, None)


def test_the_page_says_where_it_leaves_kinds_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "_MOST_KINDS", 3)
    parts = page_parts(build_report(_store(tmp_path)))
    told = f"Task kinds: the 4 with most tokens, of {KINDS + 1}."
    assert [key for key in parts if told in parts[key]] == ["findings", "growth", "structure", "inflation"]


def test_more_kinds_than_are_forecast_leave_the_page_without_a_fleet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tokenflation.analysis.fleet.planned.MOST_KINDS", 3)
    report = build_report(_store(tmp_path))
    assert report.demand is None
    assert "of 8 task kinds; more than 3 are not forecast" in report.no_demand


@pytest.mark.parametrize("section", [demand_section, forecast_section])
def test_a_section_copies_nothing_of_a_manifest_that_names_each_kind(section: Any, tmp_path: Path) -> None:
    class Kept(dict[str, Any]):
        def __deepcopy__(self, _memo: object) -> "Kept":
            raise AssertionError("copied")

    calls = an.load(_store(tmp_path))
    demand = an.forecast(calls, an.Plan(tasks_per_day=1e5), rng=np.random.default_rng(0), bands=True)
    demand.attrs["manifest"] = Kept(demand.attrs["manifest"])
    assert section(demand, "").body


def test_of_many_kinds_of_single_calls_few_are_named() -> None:
    rows = [call(f"c{kind}", f"r{kind}", 0, kind, task=f"kind-{kind:02}", task_id=f"t{kind}") for kind in range(30)]
    why = choose_baselines(frame_of(rows)).why
    assert "there are 30 such kinds (kind-00, kind-01, kind-02, kind-03, kind-04 and 25 more)" in why


def test_the_page_and_the_profile_say_where_prompts_may_have_made_kinds_of_one(tmp_path: Path) -> None:
    rows = [
        call(f"c{number}", f"r{number}", 0, 100 * number, task=f"task-{number:04x}", task_id=f"t-{number}")
        for number in range(5)
    ]
    store = str(write_store(tmp_path / "runs.db", rows))
    told = "5 kinds (task-0000, task-0001, task-0002 and 2 more) have 5 tasks in all"

    parts = page_parts(build_report(store))
    profiled = CliRunner().invoke(_tokenflation, ["profile", store], catch_exceptions=False)

    assert told in parts["kinds"]
    assert told in " ".join(profiled.output.split())
