"""Trajectories over several files or APIs: Terminus 2 (ATIF), mini-swe-agent, OpenHands, as their sources write them.

Sources: github.com/harbor-framework/harbor, `src/harbor/agents/terminus_2/terminus_2.py` (session ids, names of files);
github.com/SWE-agent/mini-swe-agent, `src/minisweagent/models/litellm_response_model.py` and `litellm_model.py`;
github.com/OpenHands/OpenHands, `openhands/llm/metrics.py` and `evaluation/utils/shared.py`.
"""

import json
import sqlite3
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from tests.importers.agent_logs import atif_step

from tokenflation.sdk.importers import import_paths
from tokenflation.sdk.store.contents import info

_PARTS = ("summary", "questions", "answers")


def _atif(added: str, steps: list[dict[str, Any]]) -> str:
    agent = {"name": "terminus-2", "version": "2", "model_name": "model-x"}
    return json.dumps(
        {"schema_version": "ATIF-v1.6", "session_id": f"0a-1b{added}", "agent": agent, "steps": steps}, indent=1
    )


def _asked(step_id: int, tokens: int) -> dict[str, Any]:
    return atif_step(step_id, "agent", metrics={"prompt_tokens": tokens, "completion_tokens": 1})


_REFS = [
    {"session_id": f"0a-1b-summarization-1-{part}", "trajectory_path": f"trajectory.summarization-1-{part}.json"}
    for part in _PARTS
]
TERMINUS = {
    "trajectory.json": _atif("", [
        atif_step(1, "user"), _asked(2, 100),
        atif_step(3, "system", observation={"results": [{"subagent_trajectory_ref": _REFS}]}),
    ]),
    "trajectory.cont-1.json": _atif("-cont-1", [atif_step(1, "user", is_copied_context=True), _asked(2, 40), _asked(3, 50)]),
    **{
        f"trajectory.summarization-1-{part}.json": _atif(f"-summarization-1-{part}", [
            atif_step(1, "agent", is_copied_context=True), _asked(2, tokens)])
        for part, tokens in zip(_PARTS, (7, 8, 9), strict=True)
    },
}  # fmt: skip


def _rows(store: Path, query: str) -> list[tuple[Any, ...]]:
    connection = sqlite3.connect(store)
    found = connection.execute(query).fetchall()
    connection.close()
    return found


def _write(folder: Path, files: dict[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(content)
    return folder


def test_a_session_that_summarises_itself_is_one_task_over_all_its_files(tmp_path: Path) -> None:
    summary = import_paths([_write(tmp_path / "logs", TERMINUS)], tmp_path / "runs.db")
    assert (summary.tasks, summary.calls, summary.input_tokens, summary.compactions) == (1, 6, 214, 1)
    query = "SELECT depth, step, input_tokens, continues_evidence FROM calls ORDER BY depth, input_tokens DESC"
    assert _rows(tmp_path / "runs.db", query) == [
        (0, 0, 100, None),
        (0, 2, 50, "history"),
        (0, 1, 40, "compaction"),
        (1, 0, 9, None),
        (1, 0, 8, None),
        (1, 0, 7, None),
    ]


@pytest.mark.parametrize("order", list(permutations(["trajectory.json", "trajectory.cont-1.json"])))
def test_its_files_one_by_one_give_the_same_calls_as_together(tmp_path: Path, order: tuple[str, ...]) -> None:
    import_paths([_write(tmp_path / "logs", TERMINUS)], tmp_path / "whole.db")
    for name in (*order, *TERMINUS):
        import_paths([tmp_path / "logs" / name], tmp_path / "parts.db")
    ids = "SELECT call_id, task_id, input_tokens FROM calls ORDER BY call_id"
    assert _rows(tmp_path / "parts.db", ids) == _rows(tmp_path / "whole.db", ids)


def test_its_trajectories_in_one_file_give_the_same_calls_as_in_files_of_their_own(tmp_path: Path) -> None:
    import_paths([_write(tmp_path / "logs", TERMINUS)], tmp_path / "whole.db")
    lines = [json.dumps(json.loads(content)) for content in (*TERMINUS.values(), TERMINUS["trajectory.json"])]
    (tmp_path / "all.jsonl").write_text("\n".join(lines))
    import_paths([tmp_path / "all.jsonl"], tmp_path / "lines.db")
    rows = "SELECT call_id, task_id, depth, step, input_tokens, continues_evidence FROM calls ORDER BY call_id"
    assert _rows(tmp_path / "lines.db", rows) == _rows(tmp_path / "whole.db", rows)


def _response(number: int, tokens: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"resp_{number}", "object": "response", "created_at": 1767225600 + number, "model": "gpt-x", "status": "completed",
        "output": [{"type": "reasoning", "id": "rs"},
                   {"type": "function_call", "id": "fc", "call_id": f"call_{number}", "name": "bash", "arguments": "{}"}],
        "usage": {"input_tokens": tokens, "input_tokens_details": {"cached_tokens": 60}, "output_tokens": 20,
                  "output_tokens_details": {"reasoning_tokens": 5}, "total_tokens": tokens + 20},
    } | more  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), [("support.json", "support"), ("a.traj.json", "mini-swe-agent")])
def test_a_bare_list_of_messages_is_of_the_kind_that_its_file_is_named_after(
    tmp_path: Path, name: str, kind: str
) -> None:
    (tmp_path / name).write_text(json.dumps([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]))
    import_paths([tmp_path / name], tmp_path / "runs.db")
    assert info(tmp_path / "runs.db")["tasks"] == {kind: 1}


def test_mini_swe_agents_responses_are_calls_even_where_the_answer_was_not_understood(tmp_path: Path) -> None:
    messages = [
        {"role": "system", "content": "s"}, {"role": "user", "content": "q"},
        _response(1, 100, extra={"cost": 0.5, "timestamp": 1767225601.5}),
        {"type": "function_call_output", "call_id": "call_1", "output": "four"},
        {"role": "user", "content": "No tool call", "extra": {"interrupt_type": "FormatError", "cost": 0.25,
                                                              "response": _response(2, 200)}},
        {"role": "user", "content": "No tool call", "extra": {"interrupt_type": "FormatError", "response": "Response()"}},
        {"role": "exit", "content": "", "extra": {"exit_status": "Submitted"}},
    ]  # fmt: skip
    run = {"info": {"model_stats": {"api_calls": 3, "instance_cost": 0.75}}, "messages": messages,
           "trajectory_format": "mini-swe-agent-1.1"}  # fmt: skip
    (tmp_path / "run.traj.json").write_text(json.dumps(run, indent=2))
    import_paths([tmp_path / "run.traj.json"], tmp_path / "runs.db")
    tokens = "input_tokens, cache_read_tokens, output_tokens, reasoning_tokens"
    query = f"SELECT api, {tokens}, extra ->> 'cost', tool_calls FROM calls ORDER BY step"
    assert _rows(tmp_path / "runs.db", query) == [
        ("openai.responses", 100, 60, 20, 5, 0.5, 1),
        ("openai.responses", 200, 60, 20, 5, 0.25, 1),
        ("openai.chat", None, None, None, None, None, 0),
    ]
    assert _rows(tmp_path / "runs.db", "SELECT tool_call_id, executed, result_bytes FROM tool_calls") == [
        ("call_1", 1, 4),
        ("call_2", None, None),
    ]


def _usage(response: str, prompt: int, read: int, made: int) -> dict[str, Any]:
    return {"model": "m-1", "prompt_tokens": prompt, "completion_tokens": made, "cache_read_tokens": read,
            "cache_write_tokens": 0, "context_window": 9, "per_turn_token": prompt + made, "response_id": response}  # fmt: skip


def _metrics(*usages: dict[str, Any]) -> dict[str, Any]:
    return {
        "accumulated_cost": 0.25 * len(usages), "token_usages": list(usages),
        "accumulated_token_usage": {"prompt_tokens": sum(one["prompt_tokens"] for one in usages)},
        "costs": [{"model": "m-1", "cost": 0.25, "timestamp": 1757015000.0 + 10 * n} for n in range(len(usages))],
        "response_latencies": [{"model": "m-1", "latency": 2.0, "response_id": one["response_id"]} for one in usages],
    }  # fmt: skip


def test_an_openhands_evaluation_gives_a_task_a_line_with_its_tools_and_outcome(tmp_path: Path) -> None:
    asked = {"function_name": "execute_bash", "tool_call_id": "t1", "model_response": {"id": "r1"}}
    line = {
        "instance_id": "repo-1", "metrics": _metrics(_usage("r1", 100, 0, 5), _usage("r2", 150, 90, 7)),
        "test_result": {"report": {"resolved": True}},
        "history": [
            {"action": "run", "args": {"command": "ls"}, "timestamp": "2025-09-04T19:43:20", "tool_call_metadata": asked},
            {"observation": "run", "content": "four", "timestamp": "2025-09-04T19:43:22", "tool_call_metadata": asked},
        ],
    }  # fmt: skip
    old = {"instance_id": "repo-2", "history": [], "metrics": {"accumulated_cost": 0.3, "costs": [0.1, 0.2]}}
    (tmp_path / "output.jsonl").write_text("".join(json.dumps(one) + "\n" for one in (line, old)))
    summary = import_paths([tmp_path], tmp_path / "runs.db")
    assert (summary.tasks, summary.calls, summary.input_tokens, summary.calls_without_input) == (2, 4, 250, 2)
    query = (
        "SELECT input_tokens, cache_read_tokens, output_tokens, duration_s, extra ->> 'cost' FROM calls ORDER BY 5, 1"
    )
    assert _rows(tmp_path / "runs.db", query) == [
        (None, None, None, None, 0.1), (None, None, None, None, 0.2), (100, 0, 5, 2.0, 0.25), (150, 90, 7, 2.0, 0.25),
    ]  # fmt: skip
    tools = "SELECT name, executed, result_bytes, (ended_at_ns - started_at_ns) / 1e9 FROM tool_calls"
    assert _rows(tmp_path / "runs.db", tools) == [("execute_bash", 1, 4, 2.0)]
    assert _rows(tmp_path / "runs.db", "SELECT outcome FROM spans WHERE kind = 'task' ORDER BY 1") == [(None,), (1,)]


def test_an_openhands_state_and_the_completion_logs_of_its_conversation_are_the_same_calls(tmp_path: Path) -> None:
    used = {
        "condenser": _metrics(_usage("r3", 40, 0, 4)),
        "agent": _metrics(_usage("r1", 100, 0, 5), _usage("r2", 150, 90, 7)),
    }
    (tmp_path / "base_state.json").write_text(json.dumps({"id": "c", "agent": {}, "stats": {"usage_to_metrics": used}}))
    import_paths([tmp_path / "base_state.json"], tmp_path / "runs.db")
    query = "SELECT agent, depth, step, input_tokens FROM calls ORDER BY agent DESC, step"
    found = [("main", 0, 0, 100), ("main", 0, 1, 150), ("condenser", 0, 0, 40)]
    assert _rows(tmp_path / "runs.db", query) == found
    log = {
        "messages": [{"role": "user", "content": "q"}],
        "timestamp": 1757015000.0,
        "latency_sec": 2.0,
        "response": {
            "id": "r1",
            "model": "m-1",
            "choices": [],
            "usage": {"prompt_tokens": 100, "completion_tokens": 5},
        },
    }
    (tmp_path / "m-1-1757015000.0.json").write_text(json.dumps(log))
    import_paths([tmp_path / "m-1-1757015000.0.json"], tmp_path / "runs.db")
    assert _rows(tmp_path / "runs.db", query) == found
