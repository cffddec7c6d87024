"""Imported, exported and imported again: the same calls in the same agent runs at the same times."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tokenflation.analysis import load
from tokenflation.exporters import write
from tokenflation.sdk.importers import import_paths

_SESSIONS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "agent_sessions"

# Ids are digests of the file's content, and hashes of the ids in it: they differ by design. The block counts of the
# corpora leave out a prompt's partial last block, which an export must have.
_NOT_COMPARED = ["call_id", "trace_id", "parent_id", "agent_run_id", "block_hashes", "extra"]


def _imported(source: Path, store: Path) -> pd.DataFrame:
    import_paths([source], store, task="coding")
    return load(store, blocks=True)


def _comparable(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls in an order that does not depend on ids, agent runs numbered in that order within their task."""
    order = ["task_id", "started_at_ns", "depth", "step", "agent", "input_tokens", "output_tokens"]
    ordered = calls.sort_values(order, kind="stable").reset_index(drop=True)
    runs = ordered.groupby("task_id")["agent_run_id"].transform(lambda ids: pd.factorize(ids)[0])
    return ordered.drop(columns=_NOT_COMPARED).assign(run=runs.astype("int64"))


def _extras(calls: pd.DataFrame) -> list[dict[str, Any]]:
    order = ["task_id", "started_at_ns", "depth", "step", "agent", "input_tokens", "output_tokens"]
    return [json.loads(extra) for extra in calls.sort_values(order, kind="stable")["extra"]]


def _check_round_trip(source: Path, tmp_path: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    before = _imported(source, tmp_path / "before.db")
    write(before, tmp_path / "again.jsonl", format="weka")
    after = _imported(tmp_path / "again.jsonl", tmp_path / "after.db")

    pd.testing.assert_frame_equal(_comparable(after), _comparable(before))
    for one, other in zip(_extras(after), _extras(before), strict=True):
        # Some sources do not declare the models of their sub-agents; an export must.
        assert set(_declared(one)) >= set(_declared(other))
        assert one == other
    return before, after


def _declared(extra: dict[str, Any]) -> list[str]:
    return [str(name) for name in extra.get("session", {}).pop("models", [])]


def _request(t: float, in_: int, ids: list[int], **values: Any) -> dict[str, Any]:
    request = {"t": t, "type": "n", "model": "big", "in": in_, "out": 9, "hash_ids": ids, "stop": "tool_use"}
    return request | {"api_time": 1.25, "think_time": 0.5} | values


def _session(nested_from_s: float) -> dict[str, Any]:
    """Return a session with a sub-agent at 4 s, whose times count from `nested_from_s`."""
    nested = [
        _request(0.25 + nested_from_s, 200, [50, 51, 52, 53], model="small", out=0),
        _request(3.5 + nested_from_s, 260, [50, 51, 52, 53, 54], type="s", ttft=0.1, model="small", stop="end_turn"),
    ]
    marker = {"t": 4.0, "type": "subagent", "agent_id": "agent_x", "subagent_type": "Explore", "duration_ms": 9000}
    marker |= {"total_tokens": 480, "tool_use_count": 3, "status": "completed", "models": ["small"], "requests": nested}
    return {
        "id": "s/1",
        "models": ["big", "small", "declared"],
        "block_size": 64,
        "hash_id_scope": "local",
        "tool_tokens": 100,
        "system_tokens": 20,
        "requests": [
            _request(1.5, 640, list(range(10)), input_types=["text"], output_types=["text", "tool_use"]),
            marker | {"tool_tokens": 5, "system_tokens": 2},
            _request(20.000000001, 700, list(range(11)), api_time=None, think_time=None, input_types=["tool_result"]),
            _request(30.0, 100, [90, 91], stop="", type="s", ttft=None),
        ],
        "totals": {
            "parent_tokens": {"input": 1440, "output": 27},
            "subagent_tokens": {"input": 460, "output": 9},
            "combined_tokens": {"input": 1900, "output": 36},
            "subagent_count": 1,
        },
    }


@pytest.mark.parametrize("nested_from_s", [0.0, 4.0])
def test_a_session_with_a_sub_agent_comes_back_the_same(tmp_path: Path, nested_from_s: float) -> None:
    (tmp_path / "source.json").write_text(json.dumps(_session(nested_from_s)))

    before, after = _check_round_trip(tmp_path / "source.json", tmp_path)

    assert before.groupby("depth").size().to_dict() == {0: 3, 1: 2}
    assert after["started_at_ns"].tolist() == [
        1_500_000_000,
        4_250_000_000,
        7_500_000_000,
        20_000_000_001,
        30_000_000_000,
    ]


def test_an_export_of_an_export_is_the_same_file(tmp_path: Path) -> None:
    (tmp_path / "source.json").write_text(json.dumps(_session(0.0)))
    _check_round_trip(tmp_path / "source.json", tmp_path)

    write(load(tmp_path / "after.db", blocks=True), tmp_path / "third.jsonl", format="weka")

    assert (tmp_path / "third.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()


def test_sessions_without_a_date_all_arrive_at_zero_and_the_summary_says_so(tmp_path: Path) -> None:
    sessions = [_session(0.0) | {"id": name} for name in "ab"]
    (tmp_path / "source.jsonl").write_text("\n".join(map(json.dumps, sessions)))
    calls = _imported(tmp_path / "source.jsonl", tmp_path / "runs.db")

    summary = write(calls, tmp_path / "out.jsonl", format="mooncake", start_offsets_s={"b": 60.0})

    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["timestamp"] for row in rows] == [1500, 4250, 7500, 20000, 30000, 60000, 62750, 66000, 78500, 88500]
    assert any("1 task imported without a date" in note for note in summary.notes)


def test_a_sub_agent_without_calls_is_left_out_and_the_summary_says_so(tmp_path: Path) -> None:
    session = _session(0.0)
    session["requests"][1]["requests"] = []
    (tmp_path / "source.json").write_text(json.dumps(session))

    summary = write(_imported(tmp_path / "source.json", tmp_path / "runs.db"), tmp_path / "out.jsonl", format="weka")

    assert any("1 sub-agent of the source without calls" in note for note in summary.notes)


def _source(name: str) -> Path:
    path = _SESSIONS / name
    if not path.exists():
        pytest.skip(f"{path} is absent")
    return path


def _check_rows(calls: pd.DataFrame, path: Path) -> None:
    summary = write(calls, path, format="mooncake")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert all(len(row["hash_ids"]) == -(-row["input_length"] // 512) for row in rows)
    assert [row["timestamp"] for row in rows] == sorted(row["timestamp"] for row in rows)
    assert (len(rows), sum(row["input_length"] for row in rows)) == (len(calls), summary.input_tokens)


@pytest.mark.shared_data
def test_sixty_recorded_sessions_with_hashes_come_back_the_same(tmp_path: Path) -> None:
    before, _ = _check_round_trip(_source("sessions_with_block_hashes.jsonl.xz"), tmp_path)

    assert (before["task_id"].nunique(), len(before)) == (60, 1189)
    _check_rows(before, tmp_path / "out.jsonl")


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """Return a folder that is emptied at once: the files of all sessions take a gigabyte."""
    yield tmp_path
    for file in tmp_path.iterdir():
        file.unlink()


@pytest.mark.shared_data
def test_all_recorded_sessions_that_only_count_shared_blocks_come_back_the_same(large: Path) -> None:
    before, after = _check_round_trip(_source("sessions.jsonl.xz"), large)

    assert (before["task_id"].nunique(), len(before), (before["depth"] > 0).sum()) == (362, 24_665, 348)
    assert (after["input_tokens"].sum(), after["output_tokens"].sum()) == (3_113_816_958, 10_837_727)
    assert after["shared_blocks"].sum() == before["shared_blocks"].sum() > 0
    _check_rows(before, large / "out.jsonl")
