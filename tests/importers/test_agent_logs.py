"""Codex, Gemini CLI, ATIF and TraceLab: lines as their projects document them."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers.agent_logs import (
    ATIF,
    CODEX,
    CODEX_SUB_AGENT,
    GEMINI,
    GEMINI_ABOUT,
    GEMINI_SUB_AGENT,
    TRACELAB,
    as_lines,
    atif_step,
    codex_line,
    codex_usage,
    gemini_message,
)
from tests.importers.claude_logs import at

from tokenflation.sdk.importers import import_paths

Rows = Callable[[str], list[Any]]


@pytest.fixture
def imported(tmp_path: Path) -> Callable[[dict[str, str]], Rows]:
    """Return what writes files, imports them and answers queries."""

    def load(files: dict[str, str]) -> Rows:
        folder = tmp_path / "logs"
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(content)
        import_paths([folder], tmp_path / "runs.db")
        return ask

    def ask(query: str) -> list[Any]:
        with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
            return connection.execute(query).fetchall()

    return load


TOKENS = "SELECT input_tokens, cache_read_tokens, output_tokens, reasoning_tokens FROM calls ORDER BY depth, step"


def test_codex_calls_are_its_token_counts_and_a_repeated_one_is_none(imported: Any) -> None:
    rows = imported({"rollout-1.jsonl": as_lines(CODEX)})
    assert rows(TOKENS) == [(1000, 600, 50, 20), (1200, 1000, 30, 0), (400, 0, 10, 5)]
    assert rows("SELECT task, model, api FROM calls LIMIT 1") == [("codex", "gpt-x", "openai.responses")]


def test_codex_times_retries_tools_and_compactions(imported: Any) -> None:
    rows = imported({"rollout-1.jsonl": as_lines(CODEX)})
    assert rows("SELECT duration_s, attempts, prompted_by, continues_evidence FROM calls ORDER BY step") == [
        (3.0, 1, "user", None),
        (3.0, 2, "tool", "history"),
        (2.0, 1, "user", "compaction"),
    ]
    assert rows("SELECT name, executed, result_bytes, (ended_at_ns - started_at_ns) / 1e9 FROM tool_calls") == [
        ("exec_command", 1, 7, 1.0)
    ]
    assert rows("SELECT error_type FROM attempts ORDER BY attempt") == [("stream_error",), (None,)]


def test_a_codex_sub_agent_runs_inside_the_call_that_spawned_it(imported: Any) -> None:
    spawn = [
        codex_line(13, "response_item", type_="function_call", name="spawn_agent", arguments="{}", call_id="c9"),
        codex_usage(13.1, (500, 0, 5, 0), 3200),
        codex_line(14, "response_item", type_="function_call_output", call_id="c9", output='{"agent_id":"thread-2"}'),
    ]
    rows = imported({"a.jsonl": as_lines([*CODEX, *spawn]), "b.jsonl": as_lines(CODEX_SUB_AGENT)})
    assert rows("SELECT agent, inside_tool_call_id, input_tokens FROM calls WHERE depth = 1") == [
        ("explorer", "c9", 70)
    ]
    assert rows("SELECT count(DISTINCT task_id), count(*) FROM calls") == [(1, 5)]


def _codex_thread(second: float, thread: str, parent: str, *lines: Any, source: Any = "cli") -> str:
    meta = codex_line(second, "session_meta", id=thread, session_id="thread-1", parent_thread_id=parent, source=source)
    spoken = codex_line(second + 1, "response_item", type_="message", role="assistant", content=[])
    return as_lines([meta, spoken, codex_usage(second + 2, (70, 0, 7, 0), 77), *lines])


def test_sub_agents_of_codex_sub_agents_belong_to_the_outermost_thread(imported: Any) -> None:
    spawned = [
        codex_line(22, "response_item", type_="function_call", name="spawn_agent", arguments="{}", call_id="c8"),
        codex_usage(22.5, (90, 0, 9, 0), 176),
        codex_line(23, "event_msg", type_="collab_agent_spawn_end", call_id="c8", new_thread_id="thread-3"),
    ]
    guardian = {"subagent": {"other": "guardian"}}
    rows = imported({
        "a.jsonl": _codex_thread(30, "thread-3", "thread-2", source=guardian),
        "b.jsonl": _codex_thread(20, "thread-2", "thread-1", *spawned),
        "c.jsonl": as_lines(CODEX),
    })  # fmt: skip
    assert rows("SELECT depth, agent, inside_tool_call_id, input_tokens FROM calls WHERE depth > 0 ORDER BY 1, 4") == [
        (1, "subagent", None, 70), (1, "subagent", None, 90), (2, "guardian", "c8", 70),
    ]  # fmt: skip
    assert rows("SELECT DISTINCT task_id FROM calls") == [("thread-1",)]


def test_a_codex_token_count_of_nothing_is_no_call(imported: Any) -> None:
    nothing = codex_usage(14, (0, 0, 0, 0), 0)
    rows = imported({"a.jsonl": as_lines([*CODEX[:2], nothing, *CODEX[2:]])})
    assert rows("SELECT count(*), sum(input_tokens) FROM calls") == [(3, 2600)]


def test_a_fork_of_codex_does_not_count_its_parents_calls_again(imported: Any) -> None:
    fork = [
        codex_line(30, "session_meta", id="fork", timestamp=at(30), forked_from_id="thread-1"),
        *[{**line, "timestamp": at(30.5)} for line in CODEX[1:8]],
        codex_line(31, "event_msg", type_="task_started", started_at=1772359231),
        codex_line(31, "response_item", type_="message", role="user", content=[]),
        codex_line(32, "response_item", type_="message", role="assistant", content=[]),
        codex_usage(32.1, (1500, 0, 15, 0), 2565),
    ]
    rows = imported({"fork.jsonl": as_lines(fork)})
    assert rows("SELECT input_tokens, extra ->> '$.session.calls_of_the_parent' FROM calls") == [(1500, 1)]


def test_codex_totals_alone_give_each_calls_growth(imported: Any) -> None:
    totals = [{"input_tokens": 10, "output_tokens": 1}, {"input_tokens": 30, "output_tokens": 5}]
    lines = [CODEX[0]] + [
        codex_line(n, "event_msg", type_="token_count", info={"total_token_usage": total})
        for n, total in enumerate(totals, start=1)
    ]
    rows = imported({"a.jsonl": as_lines(lines)})
    assert rows("SELECT input_tokens, output_tokens FROM calls ORDER BY step") == [(10, 1), (20, 4)]


def test_a_codex_call_without_its_token_count_waits_until_it_has_come(tmp_path: Path) -> None:
    file, store = tmp_path / "a.jsonl", tmp_path / "runs.db"
    file.write_text(as_lines(CODEX[:-1]))
    first = import_paths([file], store)
    file.write_text(as_lines(CODEX))
    assert (first.calls, import_paths([file], store).calls) == (2, 1)
    assert import_paths([file], store).skipped == {"already in the store": 1}


def test_gemini_thoughts_and_tool_prompts_stand_outside_and_are_added(imported: Any) -> None:
    rows = imported({"chats/session-1.jsonl": as_lines(GEMINI)})
    assert rows(TOKENS) == [(910, 300, 65, 25), (1000, 0, 5, None)]
    assert rows("SELECT task, task_id, prompted_by FROM calls ORDER BY step") == [
        ("gemini-cli", "g-1", "user"),
        ("gemini-cli", "g-1", "tool"),
    ]


def test_tools_results_that_gemini_keeps_as_the_users_messages_are_no_turn_of_the_user(imported: Any) -> None:
    came = gemini_message("r1", 5, "user") | {"content": [{"functionResponse": {"id": "t1", "response": {}}}]}
    rows = imported({"chats/session-1.jsonl": as_lines([*GEMINI[:5], came, *GEMINI[5:]])})
    assert rows("SELECT prompted_by FROM calls ORDER BY step") == [("user",), ("tool",)]


def test_a_gemini_sub_agents_file_is_a_run_inside_its_tool_call(imported: Any) -> None:
    rows = imported({"chats/session-1.jsonl": as_lines(GEMINI), "chats/g-1/sub-1.jsonl": as_lines(GEMINI_SUB_AGENT)})
    assert rows("SELECT agent, inside_tool_call_id, input_tokens, task_id FROM calls WHERE depth = 1") == [
        ("codebase_investigator", "t1", 50, "g-1")
    ]


def test_a_gemini_sub_agent_that_the_tool_for_all_of_them_started_has_its_own_name(imported: Any) -> None:
    tool = {"id": "t1", "name": "invoke_agent", "args": {"agent_name": "generalist", "prompt": "x"}, "agentId": "sub-1"}
    asking = gemini_message("m2", 3, model="gemini-x", tokens={"input": 9}, toolCalls=[tool | {"status": "success"}])
    rows = imported({"session-1.jsonl": as_lines([*GEMINI[:2], asking]), "g-1/sub-1.jsonl": as_lines(GEMINI_SUB_AGENT)})
    assert rows("SELECT agent, inside_tool_call_id FROM calls WHERE depth = 1") == [("generalist", "t1")]
    assert rows("SELECT name, agent_run_id IS NULL FROM tool_calls") == [("invoke_agent", 0)]


def test_an_older_gemini_chat_in_one_document_gives_the_same_calls_once(imported: Any) -> None:
    messages = [one for one in GEMINI if "id" in one]
    legacy = GEMINI_ABOUT | {"messages": messages}
    rows = imported({"a/session-1.json": json.dumps(legacy, indent=1), "a/session-1.jsonl": as_lines(GEMINI)})
    assert rows(TOKENS) == [(910, 300, 65, 25), (1000, 0, 5, None)]


def test_an_older_gemini_chat_that_a_tool_copied_to_a_name_for_lines_is_read_as_the_document_it_is(
    imported: Any,
) -> None:
    messages = [one for one in GEMINI if "id" in one]
    rows = imported({"full.jsonl": json.dumps(GEMINI_ABOUT | {"messages": messages}, indent=2)})
    assert rows(TOKENS) == [(910, 300, 65, 25), (1000, 0, 5, None)]


def test_atif_totals_are_its_final_metrics_and_copied_steps_are_no_calls(imported: Any) -> None:
    rows = imported({"trajectory.json": json.dumps(ATIF, indent=2)})
    query = "SELECT sum(input_tokens), sum(output_tokens), sum(cache_read_tokens), count(*) FROM calls WHERE depth = 0"
    said = ATIF["final_metrics"]
    assert isinstance(said, dict)
    assert rows(query) == [(*said.values(), 2)]
    assert rows("SELECT task, model, reasoning_tokens, extra ->> 'cost' FROM calls WHERE step = 0 AND depth = 0") == [
        ("terminus", "model-x", 9, 0.5)
    ]


def test_an_embedded_atif_trajectory_is_a_sub_agent(imported: Any) -> None:
    rows = imported({"trajectory.json": json.dumps(ATIF)})
    assert rows("SELECT agent, inside_tool_call_id, input_tokens FROM calls WHERE depth = 1") == [("helper", "t1", 30)]
    assert rows("SELECT name, executed, result_bytes, agent_run_id IS NOT NULL FROM tool_calls") == [
        ("delegate", 1, 2, 1)
    ]


def test_an_atif_sub_agent_in_a_file_of_its_own_is_found_by_its_path(imported: Any) -> None:
    ref = {"source_call_id": "t1", "subagent_trajectory_ref": [{"trajectory_path": "parts/inner.json"}]}
    asked = [{"tool_call_id": "t1", "function_name": "delegate", "arguments": {}}]
    top = {key: value for key, value in ATIF.items() if key != "subagent_trajectories"}
    top["steps"] = [atif_step(1, "agent", tool_calls=asked, observation={"results": [ref]})]
    inner = {"schema_version": "ATIF-v1.6", "session_id": "run-1", "agent": {"name": "helper", "version": "1"},
             "steps": [atif_step(1, "agent", metrics={"prompt_tokens": 30})]}  # fmt: skip
    rows = imported({"top.json": json.dumps(top), "parts/inner.json": json.dumps(inner)})
    assert rows("SELECT depth, agent FROM calls ORDER BY depth") == [(0, "main"), (1, "helper")]


def test_tracelab_rows_are_calls_with_their_prefix_as_cache_read(imported: Any) -> None:
    rows = imported({"trace.jsonl": as_lines(TRACELAB)})
    assert rows(TOKENS) == [(100, 60, 10, 4), (101, 60, 10, 4)]
    assert rows("SELECT task, provider, duration_s, prompted_by FROM calls ORDER BY step") == [
        ("codex", "openai", 4.0, "user"),
        ("codex", "openai", 4.0, "tool"),
    ]
    assert rows("SELECT executed, failed, (ended_at_ns - started_at_ns) / 1e9 FROM tool_calls ORDER BY failed") == [
        (1, 0, 3.0),
        (1, 1, 3.0),
    ]
