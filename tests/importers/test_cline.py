"""Sessions of Cline's command: documents as version 3.0.65 writes them, with other numbers."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tokenflation.sdk.importers import import_paths

START_MS = 1_790_000_000_000
_NAMES = ("inputTokens", "cacheReadTokens", "cacheWriteTokens", "outputTokens")


def _user(second: float, *blocks: dict[str, Any]) -> dict[str, Any]:
    said = list(blocks) or [{"type": "text", "text": "go"}]
    return {"id": f"u{second}", "role": "user", "content": said, "ts": START_MS + round(second * 1000)}


def _answer(second: float, counts: tuple[int, ...] | None, *blocks: dict[str, Any]) -> dict[str, Any]:
    metrics = {} if counts is None else {"metrics": dict(zip(_NAMES, counts, strict=True))}
    said = [{"type": "thinking", "thinking": "hm"}, *blocks]
    about = {"modelInfo": {"id": "m-x", "provider": "anthropic"}} | metrics
    return {"id": f"a{second}", "role": "assistant", "content": said, "ts": START_MS + round(second * 1000)} | about


def _session(session_id: str, agent: str, *messages: dict[str, Any]) -> dict[str, Any]:
    return {"version": 1, "updated_at": "2026-09-21T14:13:20Z", "agent": agent, "sessionId": session_id,
            "origin": {"source": "cli", "version": "3.0.65"}, "messages": list(messages)}  # fmt: skip


LEAD = _session(
    "s1", "lead", _user(0),
    _answer(2, (100, 30, 10, 12), {"type": "tool_use", "id": "t1", "name": "spawn_agent", "input": {"a": 1}}),
    _user(9, {"type": "tool_result", "tool_use_id": "t1", "content": [{"result": "x", "success": True}]}),
    _answer(12, (150, 100, 5, 8)), _user(20), _answer(21, None),
)  # fmt: skip
INNER = _session("s1__agent_1", "subagent", _user(3), _answer(6, (20, 0, 0, 3)))


def _import(tmp_path: Path, query: str) -> list[tuple[Any, ...]]:
    folder = tmp_path / "s1"
    folder.mkdir()
    (folder / "s1.json").write_text(
        json.dumps({"version": 1, "session_id": "s1", "messages_path": "p", "prompt": "go"})
    )
    (folder / "s1.messages.json").write_text(json.dumps(LEAD, indent=2))
    (folder / "agent_1.messages.json").write_text(json.dumps(INNER, indent=2))
    summary = import_paths([folder], tmp_path / "runs.db")
    assert (summary.tasks, summary.files, summary.foreign, summary.broken) == (1, 3, {}, {})
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        return connection.execute(query).fetchall()


def test_each_answer_is_one_call_and_one_without_counts_failed(tmp_path: Path) -> None:
    columns = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, duration_s, prompted_by, status"
    assert _import(tmp_path, f"SELECT {columns} FROM calls ORDER BY started_at_ns") == [
        (100, 30, 10, 12, 2.0, "user", "ok"),
        (20, 0, 0, 3, 3.0, "user", "ok"),
        (150, 100, 5, 8, 3.0, "tool", "ok"),
        (None, None, None, None, 1.0, "user", "error"),
    ]


def test_a_sub_agent_stands_in_the_tool_call_that_spawned_it(tmp_path: Path) -> None:
    query = """SELECT c.agent, c.depth, c.inside_tool_call_id, t.name, t.failed FROM calls c
               JOIN tool_calls t ON t.agent_run_id = c.agent_run_id WHERE c.depth"""
    assert _import(tmp_path, query) == [("subagent", 1, "t1", "spawn_agent", 0)]
