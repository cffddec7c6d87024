"""Qwen Code's recorded chats: lines as version 0.15.10 writes them, with other numbers."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.importers.claude_logs import at

from tokenflation.sdk.importers import import_paths


def _line(second: float, kind: str, **fields: Any) -> dict[str, Any]:
    place = {"uuid": f"u{second}", "parentUuid": None, "sessionId": "s-1", "timestamp": at(second), "type": kind}
    return place | {"cwd": "/w", "version": "0.15.10"} | fields


def _parts(second: float, kind: str, *parts: Any, **fields: Any) -> dict[str, Any]:
    role = "model" if kind == "assistant" else "user"
    return _line(second, kind, message={"role": role, "parts": list(parts)}, **fields)


def _told(second: float, name: str, **event: Any) -> dict[str, Any]:
    said = {"event.name": f"qwen-code.{name}", "event.timestamp": at(second)} | event
    return _line(second + 0.1, "system", subtype="ui_telemetry", systemPayload={"uiEvent": said})


def _answered(second: float, response_id: str, given: int, made: int, thoughts: int, total: int, **more: Any) -> Any:
    return _told(
        second, "api_response", response_id=response_id, model="qwen-x", status_code=200, duration_ms=2000,
        input_token_count=given, output_token_count=made, cached_content_token_count=5, thoughts_token_count=thoughts,
        total_token_count=total, prompt_id="p", auth_type="openai", **more,
    )  # fmt: skip


def _asks(tool_id: str, name: str) -> dict[str, Any]:
    return {"functionCall": {"id": tool_id, "name": name, "args": {}}}


def _result(second: float, tool_id: str, status: str = "success") -> dict[str, Any]:
    part = {"functionResponse": {"id": tool_id, "name": "x", "response": {"output": "ok"}}}
    return _parts(second, "tool_result", part, toolCallResult={"callId": tool_id, "status": status})


_INNER = {"subagent_name": "code-reviewer", "prompt_id": "s-1#code-reviewer-a1b2#0"}
CHAT = [
    _parts(0, "user", {"text": "go"}),
    _answered(3, "r1", 100, 10, 4, 110),
    _parts(3.2, "assistant", _asks("t1", "run_shell_command"), _asks("t2", "agent"), usageMetadata={}),
    _result(4, "t1", "error"),
    _answered(7, "r2", 50, 6, 0, 56),
    _answered(10, "r3", 130, 12, 8, 150),
    _parts(10.2, "assistant", {"text": "done"}),
]
CHAT[4]["systemPayload"]["uiEvent"] |= _INNER
CHAT[5:5] = [
    _told(8, "tool_call", response_id="r2", function_name="ls", success=True, content_length=9),
    _result(9, "t2"),
]


def _imported(tmp_path: Path, lines: list[Any]) -> Any:
    (tmp_path / "chat.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    return import_paths([tmp_path / "chat.jsonl"], tmp_path / "runs.db")


def _rows(tmp_path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        return connection.execute(query).fetchall()


def test_each_response_is_one_call_whose_thoughts_are_counted_once(tmp_path: Path) -> None:
    assert _imported(tmp_path, CHAT).formats == {"Qwen Code chat": 1}
    columns = "response_id, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens, duration_s, prompted_by"
    assert _rows(tmp_path, f"SELECT {columns} FROM calls ORDER BY started_at_ns") == [
        ("r1", 100, 5, 10, 4, 2.0, "user"),
        ("r2", 50, 5, 6, 0, 2.0, "user"),
        ("r3", 130, 5, 20, 8, 2.0, "tool"),
    ]


def test_a_sub_agent_runs_inside_the_open_tool_call_that_starts_agents(tmp_path: Path) -> None:
    _imported(tmp_path, CHAT)
    assert _rows(tmp_path, "SELECT agent, depth, inside_tool_call_id FROM calls WHERE depth > 0") == [
        ("code-reviewer", 1, "t2")
    ]
    assert _rows(tmp_path, "SELECT name, executed, failed, agent_run_id IS NULL FROM tool_calls ORDER BY name") == [
        ("agent", 1, 0, 0),
        ("ls", 1, 0, 1),
        ("run_shell_command", 1, 1, 1),
    ]


def test_what_it_writes_beside_the_log_of_a_sub_agent_is_not_taken_for_claude_codes(tmp_path: Path) -> None:
    about = {"agentId": "a-1", "agentType": "general-purpose", "parentSessionId": "s-1", "toolUseId": "t2", "depth": 0}
    _imported(tmp_path, CHAT)
    (tmp_path / "agent-a-1.meta.json").write_text(json.dumps(about, indent=2))
    files = [tmp_path / "chat.jsonl", tmp_path / "agent-a-1.meta.json"]
    assert import_paths(files, tmp_path / "both.db").formats == {"Qwen Code chat": 1}


def test_a_chat_that_has_grown_adds_its_new_calls_only(tmp_path: Path) -> None:
    assert _imported(tmp_path, CHAT[:5]).calls == 2
    assert (_imported(tmp_path, CHAT).calls, _imported(tmp_path, CHAT).calls) == (1, 0)


def test_a_call_behind_a_compression_continues_by_its_summary(tmp_path: Path) -> None:
    cut = _line(11, "system", subtype="chat_compression", systemPayload={"info": {"compressionStatus": 1}})
    assert _imported(tmp_path, [*CHAT, cut, _answered(14, "r4", 40, 4, 0, 44)]).compactions == 1
    found = _rows(tmp_path, "SELECT continues_evidence FROM calls WHERE depth = 0 ORDER BY step")
    assert found == [(None,), ("history",), ("compaction",)]
