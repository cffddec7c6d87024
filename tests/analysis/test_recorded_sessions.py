"""The figures of 362 recorded coding-agent sessions, from the file to the command's JSON."""

import json
from pathlib import Path

import pytest

from tokenflation.analysis import inflation, load, tasks
from tokenflation.cli import main

SESSIONS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "agent_sessions" / "sessions.jsonl.xz"

pytestmark = [
    pytest.mark.shared_data,
    pytest.mark.skipif(not SESSIONS.exists(), reason="needs ../shared/data/agent_sessions/sessions.jsonl.xz"),
]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sessions") / "runs.db"
    _tokenflation("import", str(SESSIONS), "--store", str(path))
    return path


def _tokenflation(*arguments: str) -> None:
    try:
        main(arguments)
    except SystemExit as ended:
        assert not ended.code, f"tokenflation {arguments} exited with {ended.code}"  # noqa: PT017  # not about raising


def test_profile_prints_the_figures_of_the_recorded_sessions(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()

    _tokenflation("profile", str(store), "--json")

    [row] = json.loads(capsys.readouterr().out)
    sums = {"calls": 24_665, "sub_agent_calls": 348, "sub_agent_runs": 32}
    sums |= {"input_tokens": 3_113_816_958, "output_tokens": 10_837_727}
    assert row["tasks"] == 362
    assert {name: row[f"{name}_sum"] for name in sums} == sums
    assert [row[f"calls_{q}"] for q in ("p10", "p50", "p90")] == pytest.approx([7, 44, 155.9])
    assert [round(row[f"input_tokens_{q}"]) for q in ("p10", "p50", "p90")] == [717_984, 5_057_424, 21_400_536]
    ratios = [row[f"input_over_peak_context_{q}"] for q in ("p10", "p50", "p90")]
    assert ratios == pytest.approx([6.02, 32.6, 93.0], rel=1e-3)
    assert row["cache_hit_rate_blocks_mean"] == pytest.approx(0.9637, abs=5e-5)


def test_a_prefix_cache_divides_what_these_sessions_compute(store: Path) -> None:
    calls = load(store)
    [kind] = calls["task"].unique()

    row = inflation(calls, baseline=kind).iloc[0]

    assert row["cached_source"] == "blocks"
    assert 10 < row["billed_tokens_mean"] / row["computed_tokens_mean"] < 30


def test_every_session_keeps_its_structure(store: Path) -> None:
    frame = tasks(load(store))

    assert (frame["calls"] >= frame["agent_runs"]).all()
    assert set(frame["depth"]) == {0, 1}
    assert (frame["cached_tokens"] <= frame["input_tokens"]).all()
