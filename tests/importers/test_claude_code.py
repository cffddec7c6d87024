"""Claude Code's session logs: calls out of lines, sub-agents, retries, compactions."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bench.importer_truth import FOLDER, compare
from tests.importers.claude_logs import SESSION, STORY, answer, result, system, tool, user, write

from tokenflation.sdk.importers import import_paths
from tokenflation.sdk.importers.rows.tally import ImportSummary


class Imported:
    """A store with the sessions of some records."""

    def __init__(self, folder: Path, records: list[Any], name: str = "session.jsonl") -> None:
        self.store = folder / "runs.db"
        self.folder = folder
        self.summary = self.add(records, name)

    def add(self, records: list[Any], name: str) -> ImportSummary:
        return import_paths([write(self.folder / name, records)], self.store)

    def rows(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.store)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()


def test_lines_of_one_message_are_one_call_whose_usage_counts_once(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    assert (found.summary.tasks, found.summary.calls, found.summary.input_tokens) == (1, 4, 3 * 115 + 106)
    calls = found.rows(
        "SELECT response_id, input_tokens, cache_read_tokens, cache_write_tokens, depth, step, tool_calls FROM calls"
    )
    assert calls == [
        ("msg_1", 115, 100, 5, 0, 0, 1),
        ("msg_side", 106, 100, 5, 1, 0, 1),
        ("msg_2", 115, 100, 5, 0, 1, 0),
        ("msg_3", 115, 100, 5, 0, 2, 0),
    ]


def test_output_without_a_stop_reason_is_not_reported(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    assert found.summary.calls_without_output == 4
    assert found.rows("SELECT output_tokens, usage_source, extra ->> 'output_tokens_logged' FROM calls LIMIT 1") == [
        (None, "partial", 9)
    ]


def test_output_with_a_stop_reason_is_final(tmp_path: Path) -> None:
    lines = [user("u", None, 0), answer("a", "u", 1, "m1", usage={"output_tokens": 77}, stop="end_turn")]
    found = Imported(tmp_path, lines)
    assert found.rows("SELECT output_tokens, finish_reasons, usage_complete FROM calls") == [(77, '["end_turn"]', 1)]


def test_thinking_is_part_of_a_final_output_and_what_ran_inside_the_call_is_billed_beside_it(tmp_path: Path) -> None:
    inside = [{"type": "advisor_message", "input_tokens": 2000, "output_tokens": 300, "cache_read_input_tokens": 500},
              {"type": "message", "input_tokens": 10, "output_tokens": 77, "cache_read_input_tokens": 100,
               "cache_creation_input_tokens": 5}]  # fmt: skip
    usage = {"output_tokens": 77, "output_tokens_details": {"thinking_tokens": 30}}
    lines = [
        user("u", None, 0),
        answer("a", "u", 1, "m1", usage=usage | {"iterations": inside[:1]}),
        answer("b", "a", 2, "m1", usage=usage | {"iterations": inside}, stop="end_turn"),
        answer("c", "b", 3, "m2", usage={"output_tokens": 5, "iterations": inside[1:]}, stop="end_turn"),
    ]
    found = Imported(tmp_path, lines)
    extra = (
        "extra ->> 'billed_input_tokens', extra ->> 'billed_output_tokens', extra ->> 'advisor_message_input_tokens'"
    )
    assert found.rows(f"SELECT input_tokens, output_tokens, reasoning_tokens, {extra} FROM calls ORDER BY step") == [
        (115, 77, 30, 2615, 377, 2500),
        (115, 5, None, None, None, None),
    ]


def test_a_few_final_outputs_among_many_that_are_not_are_no_sample(tmp_path: Path) -> None:
    lines = [answer(f"a{n}", None, n, f"m{n}", stop="tool_use" if n == 0 else None) for n in range(4)]
    assert Imported(tmp_path, lines).rows("SELECT count(output_tokens) FROM calls") == [(0,)]


def test_a_sub_agent_is_a_run_inside_the_tool_call_that_started_it(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    ((agent, run, inside, asked),) = found.rows(
        "SELECT agent, agent_run_id, inside_tool_call_id, inside_call_id FROM calls WHERE depth = 1"
    )
    assert (agent, inside) == ("Explore", "t1")
    assert found.rows(f"SELECT response_id FROM calls WHERE call_id = '{asked}'") == [("msg_1",)]
    assert found.rows("SELECT name, agent_run_id, executed, failed, result_bytes FROM tool_calls ORDER BY name") == [
        ("Read", None, 1, 1, 12),
        ("Task", run, 1, 0, 4),
    ]
    names = found.rows("SELECT kind, name, depth FROM spans ORDER BY depth, kind DESC")
    assert names[:2] == [("task", "claude-code", 0), ("agent", "main", 0)]
    assert ("agent", "Explore", 1) in names


def test_sub_agents_in_progress_lines_and_in_files_of_their_own_are_the_same_calls(tmp_path: Path) -> None:
    asked = answer("a1", None, 1, "msg_1", tool("Task", "t1", prompt="look"))
    inner = answer("s1", None, 3, "msg_side")
    progress = {
        "type": "progress", "uuid": "p1", "parentUuid": "a1", "timestamp": inner["timestamp"],
        "sessionId": inner["sessionId"], "parentToolUseID": "t1",
        "data": {"type": "agent_progress", "agentId": "b1", "message": inner},
    }  # fmt: skip
    write(tmp_path / "agent-b1.jsonl", [inner | {"isSidechain": True, "agentId": "b1"}])
    write(tmp_path / "main.jsonl", [asked, progress])
    summary = import_paths([tmp_path], tmp_path / "runs.db")
    assert (summary.tasks, summary.calls, summary.sub_agent_calls, summary.sub_agent_runs) == (1, 2, 1, 1)


def test_api_errors_are_failed_attempts_of_the_call_after_them(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    assert found.rows("SELECT response_id, attempts, duration_s FROM calls WHERE attempts > 1") == [("msg_2", 2, 5.0)]
    assert found.rows("SELECT attempt, status_code, error_type FROM attempts ORDER BY attempt") == [
        (0, 529, "http_529"),
        (1, None, None),
    ]


def test_a_call_that_never_succeeds_is_recorded_as_failed(tmp_path: Path) -> None:
    gone = answer("a", "e", 9, "id", isApiErrorMessage=True, error="rate_limit")
    gone["message"]["model"] = "<synthetic>"
    lines = [
        user("u", None, 0),
        answer("ok", "u", 1, "msg_1"),
        user("u2", "ok", 2),
        system("e", "u2", 3, "api_error", retryInMs=1, error={"status": 429}),
        gone,
        system("f", "a", 20, "api_error", retryInMs=1, error={"status": 500}),
    ]
    found = Imported(tmp_path, lines)
    assert found.rows("SELECT status, error_type, attempts, input_tokens, model FROM calls ORDER BY step") == [
        ("ok", None, 1, 115, "claude-x"),
        ("error", "http_429", 2, None, None),
        ("error", "http_500", 1, None, None),
    ]
    assert found.rows("SELECT count(*) FROM attempts WHERE error_type IS NOT NULL") == [(3,)]


def test_what_the_program_says_itself_is_no_call(tmp_path: Path) -> None:
    said = answer("a", None, 9, "id")
    said["message"]["model"] = "<synthetic>"
    assert Imported(tmp_path, [answer("b", None, 1, "msg_1"), said]).summary.calls == 1


def test_a_compaction_is_what_the_next_call_continues_by(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    assert found.summary.compactions == 1
    assert found.rows(
        "SELECT a.response_id, b.response_id, a.continues_evidence, a.extra ->> '$.compactions[0].pre_tokens' "
        "FROM calls a JOIN calls b ON a.continues_call_id = b.call_id ORDER BY a.step"
    ) == [("msg_2", "msg_1", "history", None), ("msg_3", "msg_2", "compaction", 9)]


def test_going_back_in_the_conversation_makes_a_branch(tmp_path: Path) -> None:
    lines = [
        user("u", None, 0), answer("a", "u", 1, "m1"), user("b", "a", 2), answer("c", "b", 3, "m2"),
        user("d", "a", 4), answer("e", "d", 5, "m3"),
    ]  # fmt: skip
    found = Imported(tmp_path, lines)
    assert found.rows("SELECT response_id, branch FROM calls WHERE branch IS NOT NULL ORDER BY step") == [
        ("m2", 0),
        ("m3", 1),
    ]


def test_times_are_those_of_the_records_around_a_call(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    assert found.rows("SELECT response_id, duration_s, prompted_by FROM calls ORDER BY started_at_ns") == [
        ("msg_1", 5.0, "user"),
        ("msg_side", 2.0, "user"),
        ("msg_2", 5.0, "tool"),
        ("msg_3", 3.0, "user"),
    ]
    assert found.rows("SELECT (ended_at_ns - started_at_ns) / 1e9 FROM tool_calls WHERE name = 'Task'") == [(5.0,)]


def test_the_order_of_the_lines_and_their_repetition_do_not_matter(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    plain = Imported(tmp_path / "a", STORY)
    mixed = [*STORY, *STORY]
    random.Random(5).shuffle(mixed)
    turned = Imported(tmp_path / "b", mixed)
    columns = "call_id, response_id, input_tokens, depth, agent, status, attempts, tool_calls, continues_evidence"
    query = f"SELECT {columns} FROM calls ORDER BY call_id"
    assert turned.rows(query) == plain.rows(query)


def test_a_session_that_has_grown_adds_its_new_calls_only(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY[:8])
    grown = found.add(STORY, "session.jsonl")
    assert (found.summary.calls, grown.calls, grown.input_tokens) == (2, 2, 230)
    assert found.add(STORY, "session.jsonl").skipped == {"already in the store": 1}
    assert found.rows("SELECT count(*), count(DISTINCT agent_run_id) FROM calls") == [(4, 2)]


def test_a_resumed_session_that_repeats_calls_adds_its_own_only(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    again = [{**one, "sessionId": "other"} for one in STORY] + [
        result("x", "a4", 30, "t9") | {"sessionId": "other"},
        answer("y", "x", 31, "msg_4", sessionId="other"),
    ]
    resumed = found.add(again, "resumed.jsonl")
    assert (resumed.calls, resumed.input_tokens, resumed.tool_calls) == (1, 115, 0)
    assert found.rows("SELECT count(*), sum(input_tokens) FROM calls") == [(5, 566)]


def test_a_record_that_cannot_be_used_is_named_and_costs_nothing_else(tmp_path: Path) -> None:
    broken = {"type": "assistant", "uuid": "z", "parentUuid": None, "sessionId": "s", "message": 5}
    found = Imported(tmp_path, [STORY[1], "{not json", broken, "[1]", *STORY[1:]])
    assert found.summary.calls == 4
    assert found.summary.broken == {"not JSON": 1, "an answer without its message": 1, "no JSON object": 1}
    assert [problem.where.rsplit(":", 1)[1] for problem in found.summary.problems] == ["2", "3", "4"]


def test_a_session_that_repeats_anothers_compaction_counts_its_own_only(tmp_path: Path) -> None:
    found = Imported(tmp_path, STORY)
    fork = [{**one, "sessionId": "fork"} for one in STORY] + [answer("f", "a4", 30, "msg_4", sessionId="fork")]
    assert (found.summary.compactions, found.add(fork, "fork.jsonl").compactions) == (1, 0)


def test_a_sub_agent_has_the_name_it_was_asked_for_by(tmp_path: Path) -> None:
    asked = tool("Agent", "t1", subagent_type="code-reviewer", prompt="look")
    lines = [user("u", None, 0), answer("a", "u", 1, "m1", asked)]
    inner = [user("s", None, 2, "look", isSidechain=True), answer("t", "s", 3, "m2", isSidechain=True)]
    found = Imported(tmp_path, lines + inner)
    assert found.rows("SELECT agent, depth FROM calls ORDER BY depth") == [("main", 0), ("code-reviewer", 1)]


def test_what_lies_beside_a_sub_agents_log_names_it_and_its_tool_call(tmp_path: Path) -> None:
    lines = [user("u", None, 0), answer("a", "u", 1, "m1", tool("Agent", "t1"), tool("Agent", "t2"))]
    inner = [{**answer("t", None, 3, "m2"), "isSidechain": True, "agentId": "a1b2"}]
    folder = tmp_path / "logs" / SESSION / "subagents"
    folder.mkdir(parents=True)
    write(tmp_path / "logs" / f"{SESSION}.jsonl", lines)
    write(folder / "agent-a1b2.jsonl", inner)
    write(folder / "agent-a1b2.meta.json", [{"agentType": "code-reviewer", "toolUseId": "t1", "spawnDepth": 1}])
    summary = import_paths([tmp_path / "logs"], tmp_path / "runs.db")
    assert summary.foreign == {}
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        found = connection.execute("SELECT agent, inside_tool_call_id FROM calls WHERE depth = 1").fetchall()
    assert found == [("code-reviewer", "t1")]


@pytest.mark.shared_data
def test_real_sessions_equal_the_truth_in_every_cell() -> None:
    if not (FOLDER / "truth_sessions.csv").exists():
        pytest.skip(f"{FOLDER} is not there")
    cells, wrong, also = compare(FOLDER)
    assert wrong == []
    assert cells > 30_000
    assert also["outputs"] == 0
    assert also["summary"].broken == {}
