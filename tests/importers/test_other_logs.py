"""Recorded logs of other tools: what is imported equals what each file itself states."""

import json
import lzma
import sqlite3
import tarfile
import zipfile
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tokenflation.sdk.importers import import_paths

LOGS = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "logs"

pytestmark = pytest.mark.shared_data


@pytest.fixture
def logs(tmp_path: Path) -> Any:
    """Return what unpacks one of the archives and imports it: the folder, the store's rows by a query."""

    def unpack(name: str) -> tuple[Path, Any, Any]:
        archive = LOGS / name
        if not archive.exists():
            pytest.skip(f"{archive} is not there")
        folder = tmp_path / "unpacked"
        if name.endswith(".tar.xz"):
            with tarfile.open(archive) as tar:
                tar.extractall(folder, filter="data")
        summary = import_paths([archive], tmp_path / "runs.db")
        return folder, rows, summary

    def rows(query: str) -> list[Any]:
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
            return connection.execute(query).fetchall()

    return unpack


def test_aider_calls_and_tokens_are_those_of_its_message_send_events(logs: Any) -> None:
    folder, rows, _ = logs("aider.tar.xz")
    events = [json.loads(line) for line in (folder / "aider" / "sample-analytics.jsonl").read_text().splitlines()]
    sent = [event["properties"] for event in events if event["event"] == "message_send"]
    stated = [len(sent), *(sum(one[name] for one in sent) for name in ("prompt_tokens", "completion_tokens"))]
    query = "SELECT count(*), sum(input_tokens), sum(output_tokens), sum(extra ->> 'cost') FROM calls"
    ((calls, given, made, cost),) = rows(query)
    assert [calls, given, made] == stated
    assert given + made == sum(one["total_tokens"] for one in sent)
    assert cost == pytest.approx(sum(one["cost"] for one in sent))


def test_openhands_tokens_are_those_of_each_response(logs: Any) -> None:
    folder, rows, _ = logs("openhands.tar.xz")
    found = [json.loads(path.read_text()) for path in folder.rglob("*.json")]
    answers = [one for one in found if isinstance(one, dict)]
    usages = [one["response"]["usage"] for one in answers]
    query = "SELECT sum(input_tokens), sum(output_tokens), count(input_tokens) FROM calls WHERE task = 'openhands'"
    assert rows(query) == [
        (sum(one["prompt_tokens"] for one in usages), sum(one["completion_tokens"] for one in usages), len(usages))
    ]
    assert rows("SELECT max(step) FROM calls WHERE task = 'openhands'") == [(5,)]
    ((spent,),) = rows("SELECT sum(duration_s) FROM calls")
    assert spent == pytest.approx(sum(one.get("latency_sec") or 0 for one in answers))


def _stated_usage(folder: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return `model_usage` of each sample, by evaluation and sample."""
    stated = {}
    for path in [*folder.rglob("*.json"), *folder.rglob("*.eval")]:
        if path.suffix == ".eval":
            with zipfile.ZipFile(path) as archive:
                head = json.loads(archive.read("header.json"))
                samples = [json.loads(archive.read(one)) for one in archive.namelist() if one.startswith("samples/")]
        else:
            head = json.loads(path.read_text())
            samples = head.get("samples") or []
        for sample in samples:
            stated[head["eval"]["run_id"], f"{sample['id']}/{sample['epoch']}"] = sample.get("model_usage") or {}
    return stated


def test_inspect_ai_tokens_are_the_model_usage_that_each_sample_states(logs: Any) -> None:
    folder, rows, _ = logs("inspect_ai.tar.xz")
    usages = [one for usage in _stated_usage(folder).values() for one in usage.values()]
    query = (
        "SELECT sum(input_tokens), sum(output_tokens), sum(cache_read_tokens) FROM calls WHERE task_id IN (SELECT task_id "
        "FROM calls WHERE json_extract(extra, '$.session.model_usage') IS NOT NULL)"
    )
    assert rows(query) == [
        (
            sum(one["input_tokens"] for one in usages),
            sum(one["output_tokens"] for one in usages),
            sum(one.get("input_tokens_cache_read") or 0 for one in usages),
        )
    ]


def test_inspect_ai_samples_logged_with_and_without_their_events_have_their_calls_once(logs: Any) -> None:
    _, rows, summary = logs("inspect_ai.tar.xz")

    spans = rows("SELECT max(started_at_ns) - min(started_at_ns) FROM calls GROUP BY task, task_id")

    assert max(taken for (taken,) in spans) < 86_400 * 10**9
    assert len(spans) == summary.tasks


def test_inspect_ai_samples_without_events_name_the_model_of_their_one_answer(logs: Any) -> None:
    _, rows, _ = logs("inspect_ai.tar.xz")
    unlogged = rows("SELECT provider, model, response_model, input_tokens FROM calls WHERE duration_s IS NULL")
    assert ("openai", "openai/gpt-4o", "gpt-4o-2024-08-06", 323) in unlogged
    assert rows("SELECT count(*) FROM calls WHERE model IS NULL AND response_model IS NULL") == [(0,)]


def test_inspect_ai_scorers_are_runs_of_their_own_and_scores_are_outcomes(logs: Any) -> None:
    _, rows, _ = logs("inspect_ai.tar.xz")
    assert rows("SELECT count(*) FROM calls WHERE agent = 'scorer' AND depth = 0")[0][0] > 0
    assert {found for (found,) in rows("SELECT DISTINCT outcome FROM spans WHERE kind = 'task'")} >= {0, 1}


def test_swe_agent_calls_are_the_api_calls_it_states_and_their_tokens_stay_those_of_the_run(logs: Any) -> None:
    _, rows, _ = logs("swe_agent.tar.xz")
    stated = rows(
        "SELECT extra ->> '$.session.model_stats.api_calls', (SELECT count(*) FROM calls o WHERE o.task_id = c.task_id), "
        "extra ->> '$.session.model_stats.tokens_sent' FROM calls c WHERE step = 0 AND task = 'swe-agent'"
    )
    told = [(calls, found) for calls, found, sent in stated if calls]
    assert len(told) >= 5
    assert all(calls == found for calls, found in told)
    assert 122612 in [sent for _, _, sent in stated]
    assert rows("SELECT count(input_tokens) + count(output_tokens) FROM calls") == [(0,)]


def test_tau_bench_calls_are_its_assistant_messages_and_rewards_its_outcomes(logs: Any) -> None:
    _, rows, summary = logs("tau_bench_gpt4o_airline_tasks_0_24.json.xz")
    results = json.loads(lzma.decompress((LOGS / "tau_bench_gpt4o_airline_tasks_0_24.json.xz").read_bytes()))
    spoken = [message for one in results for message in one["traj"] if message["role"] == "assistant"]
    assert (summary.tasks, summary.calls) == (len(results), len(spoken))
    asked = sum(len(one.get("tool_calls") or []) for one in spoken)
    assert rows("SELECT count(*), sum(executed) FROM tool_calls")[0][0] == asked
    assert rows("SELECT sum(outcome), sum(score) FROM spans WHERE kind = 'task'") == [
        (sum(one["reward"] == 1 for one in results), sum(one["reward"] for one in results))
    ]


def test_tracelabs_raw_session_has_the_numbers_of_its_normalised_rows(logs: Any) -> None:
    # As published in TraceLab's example_sessions/sanitized/round_trace.jsonl: input, prefix, cache creation, output.
    published = [
        (32272, 27217, 2163, 931), (35740, 29380, 6358, 1016), (38592, 35738, 2852, 2475), (41131, 38590, 2539, 117),
        (41589, 41129, 458, 1275), (42876, 41587, 1287, 273), (44901, 42874, 1896, 232), (45279, 44770, 507, 2162),
        (47508, 45277, 2229, 90), (48305, 47506, 797, 852),
    ]  # fmt: skip
    _, rows, _ = logs("tracelab.tar.xz")
    query = "SELECT input_tokens, cache_read_tokens, cache_write_tokens, output_tokens FROM calls ORDER BY step"
    assert rows(query) == published
