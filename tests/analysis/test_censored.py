"""Runs that a limit cut: found in a store, and said where what they used is counted."""

import json
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.sdk.limited import asking

import tokenflation.sdk as tf
from tokenflation import analysis as an
from tokenflation.analysis.structure_rows import censored_remarks, load_censored
from tokenflation.cli import main

REMARK = "capped: a limit cut 2 of 12 runs, so what they used is a lower bound of what their task needs."


@pytest.fixture
def store(tmp_path: Path, provider: Provider) -> Path:
    """Return a store with 12 runs of two calls each, of which a limit cut the first two after one."""
    path = tmp_path / "runs.db"
    with tf.instrument(path), asking(provider) as ask:
        for number in range(12):
            try:
                with tf.task("capped", id=f"t{number:02}", max_calls=1 if number < 2 else 5):
                    ask(f"one {number}")
                    ask(f"two {number}")
            except tf.LimitReached:
                assert number < 2
    return path


def test_the_tasks_that_a_limit_cut_are_found(store: Path) -> None:
    assert load_censored(store).to_dict("list") == {"task_id": ["t00", "t01"], "censored_by": ["max_calls"] * 2}
    assert load_censored(f"sqlite:///{store}").to_dict("list") == load_censored(store).to_dict("list")


def test_each_kind_with_cut_runs_has_a_remark(store: Path) -> None:
    calls = an.load(store)
    assert censored_remarks(calls, load_censored(store)) == [REMARK]
    assert censored_remarks(calls, load_censored(store).iloc[:0]) == []


def test_a_source_without_scopes_has_none(tmp_path: Path) -> None:
    assert load_censored(tmp_path / "calls.parquet").empty


def test_profile_and_forecast_say_it(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["profile", str(store)], ["forecast", str(store), "--tasks-per-day", "1000", "--json"]):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 0
    shown = capsys.readouterr().out
    profile, _, forecast = shown.partition('{\n  "manifest"')
    assert "a limit cut 2 of 12 runs" in " ".join(profile.split())
    assert json.loads('{"manifest"' + forecast)["manifest"]["warnings"][0] == REMARK
