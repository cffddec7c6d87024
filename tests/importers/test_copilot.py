"""GitHub Copilot CLI's session logs: lines as version 1.0.102 writes them, with other numbers."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers.agent_logs import as_lines
from tests.importers.claude_logs import at
from tests.importers.spans import request, span

from tokenflation.sdk.importers import import_paths

_COUNTS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens"


def _line(second: float, kind: str, agent: str | None = None, **data: Any) -> dict[str, Any]:
    inner = {} if agent is None else {"agentId": agent}
    return {"type": kind, "data": data, "id": f"{kind}-{second}", "timestamp": at(second), "parentId": None} | inner


def _used(second: float, number: int, counts: tuple[int, ...], agent: str | None = None) -> dict[str, Any]:
    names = ("inputTokens", "cacheReadTokens", "cacheWriteTokens", "outputTokens", "reasoningTokens")
    usage = dict(zip(names, counts, strict=True)) | {
        "model": "m-x", "duration": 2000, "timeToFirstTokenMs": 500.0, "modelProvider": "other",
        "providerType": "openai", "apiCallId": f"answer-{number}", "apiEndpoint": "/chat/completions",
        "finishReason": "stop", "accounting": {"sourceSessionId": agent or "s-1", "sequence": number},
    }  # fmt: skip
    return _line(second, "session.usage_record", agent, usage=usage)


def _said(second: float, number: int, *tools: tuple[str, str], agent: str | None = None) -> dict[str, Any]:
    asked = [{"toolCallId": tool_id, "name": name, "arguments": {"a": 1}} for tool_id, name in tools]
    return _line(second, "assistant.message", agent, messageId=f"m{number}", model="m-x", toolRequests=asked,
                 outputTokens=7, apiCallId=f"answer-{number}")  # fmt: skip


def _done(second: float, tool_id: str, *, success: bool = True) -> dict[str, Any]:
    result = {"result": {"content": "four"}} if success else {"error": {"message": "no"}}
    return _line(second, "tool.execution_complete", toolCallId=tool_id, success=success, **result)


START = [
    _line(0, "session.start", sessionId="s-1", producer="copilot-agent", copilotVersion="1.0.102"),
    _line(1, "user.message", content="go"),
    _line(2, "assistant.turn_start", turnId="0"),
]
LOG = [
    *START,
    _used(5, 1, (100, 30, 10, 12, 5)),
    _said(5, 1, ("t1", "task"), ("t2", "bash")),
    _line(6, "tool.execution_start", toolCallId="t1"),
    _line(6, "subagent.started", "agent-1", toolCallId="t1", agentName="explore"),
    _line(6, "user.message", "agent-1", content="look"),
    _line(6, "assistant.turn_start", "agent-1", turnId="0"),
    _used(9, 9, (20, 0, 0, 3, 0), "agent-1"),
    _said(9, 9, agent="agent-1"),
    _done(10, "t2", success=False),
    _done(11, "t1"),
    _line(12, "assistant.turn_start", turnId="1"),
    _line(12, "session.compaction_start", compactionAttemptId="c"),
    _used(15, 2, (150, 5, 0, 8, 0)),
    _said(15, 2),
    _line(20, "session.compaction_complete", success=True, compactionAttemptId="c", compactionTokensUsed={
        "requestCount": 1, "inputTokens": 90, "outputTokens": 9, "cacheReadTokens": 4, "cacheWriteTokens": 0,
        "duration": 1000, "model": "m-x"}),
    _line(21, "user.message", content="and"),
    _used(24, 3, (40, 0, 0, 4, 0)),
    _said(24, 3),
]  # fmt: skip


def _import(tmp_path: Path, lines: list[dict[str, Any]], query: str) -> list[tuple[Any, ...]]:
    log, store = tmp_path / "events.jsonl", tmp_path / "runs.db"
    log.write_text(as_lines(lines))
    import_paths([log], store)
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


def _calls(columns: str) -> str:
    return f"SELECT {columns} FROM calls ORDER BY started_at_ns"


def test_each_usage_record_is_one_call_and_so_is_a_compaction(tmp_path: Path) -> None:
    assert _import(tmp_path, LOG, _calls(f"{_COUNTS}, duration_s, ttft_s, prompted_by")) == [
        (100, 30, 10, 12, 5, 2.0, 0.5, "user"),
        (20, 0, 0, 3, 0, 2.0, 0.5, "user"),
        (90, 4, 0, 9, None, 1.0, None, None),
        (150, 5, 0, 8, 0, 2.0, 0.5, "tool"),
        (40, 0, 0, 4, 0, 2.0, 0.5, "user"),
    ]


def test_a_sub_agent_stands_in_its_tool_call(tmp_path: Path) -> None:
    query = "SELECT agent, depth, inside_tool_call_id FROM calls WHERE depth"
    assert _import(tmp_path, LOG, query) == [("explore", 1, "t1")]
    tools = "SELECT name, failed, result_bytes, agent_run_id IS NOT NULL FROM tool_calls ORDER BY name"
    assert _import(tmp_path, LOG, tools) == [("bash", 1, 2, 0), ("task", 0, 4, 1)]


def test_the_call_behind_an_applied_compaction_continues_by_its_summary(tmp_path: Path) -> None:
    query = _calls("continues_evidence, extra ->> '$.\"gen_ai.conversation.compacted\"'")
    assert _import(tmp_path, LOG, query)[-1] == ("compaction", 1)


@pytest.mark.parametrize("kind", ["session.error", "abort"])
def test_a_turn_that_ends_without_usage_is_a_call_without_counts(tmp_path: Path, kind: str) -> None:
    more = {"statusCode": 429} if kind == "session.error" else {"reason": "user_abort"}
    found = _import(tmp_path, [*START, _line(5, kind, **more)], _calls("status, error_type, input_tokens"))
    assert found == [("error", "http_429", None) if kind == "session.error" else ("cancelled", "user_abort", None)]


def test_of_a_version_without_usage_records_what_the_messages_tell_is_taken(tmp_path: Path) -> None:
    older = [one for one in LOG[:5] if one["type"] != "session.usage_record"]
    query = _calls("input_tokens, output_tokens, usage_source, tool_calls")
    assert _import(tmp_path, older, query) == [(None, 7, "partial", 2)]


def test_a_session_that_has_grown_adds_its_new_calls_only(tmp_path: Path) -> None:
    _import(tmp_path, LOG[:5], _calls("call_id"))
    assert len(_import(tmp_path, LOG, _calls("call_id"))) == 5


def test_without_its_first_line_a_session_is_the_same(tmp_path: Path) -> None:
    _import(tmp_path, LOG, _calls("call_id"))
    before = _import(tmp_path, LOG[1:], _calls("call_id, task_id"))
    assert (len(before), {task_id for _, task_id in before}) == (5, {"s-1"})


@pytest.mark.parametrize("telemetry_first", [True, False])
def test_a_call_in_the_log_and_in_telemetry_is_one_call(tmp_path: Path, telemetry_first: bool) -> None:
    log, otel, store = tmp_path / "events.jsonl", tmp_path / "otel.jsonl", tmp_path / "runs.db"
    log.write_text(as_lines(LOG))
    said = {"gen_ai.operation.name": "chat", "gen_ai.conversation.id": "s-1", "gen_ai.request.model": "m-x"}
    spans = [
        span(number, library="github.copilot", _=said | {
            "gen_ai.response.id": f"answer-{number}", "gen_ai.usage.input_tokens": given,
            "gen_ai.usage.output_tokens": made})
        for number, given, made in ((1, 100, 12), (9, 20, 3))
    ]  # fmt: skip
    otel.write_text(json.dumps(request(*spans)))
    added = [import_paths([file], store).calls for file in ([otel, log] if telemetry_first else [log, otel])]
    assert added == ([2, 3] if telemetry_first else [5, 0])
