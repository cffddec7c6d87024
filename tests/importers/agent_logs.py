"""Lines of coding agents' logs as their sources document them; each constant says which."""

import json
from typing import Any

from tests.importers.claude_logs import at


def codex_line(second: float, kind: str, **payload: Any) -> dict[str, Any]:
    """Return a line of a rollout: github.com/openai/codex, `codex-rs/protocol/src/protocol.rs`, `RolloutLine`."""
    payload = {("type" if name == "type_" else name): value for name, value in payload.items()}
    return {"timestamp": at(second), "type": kind, "payload": payload}


def codex_usage(second: float, last: tuple[int, int, int, int], total: int) -> dict[str, Any]:
    """Return a `token_count` event: input, cached, output and reasoning tokens of the last call."""
    names = ("input_tokens", "cached_input_tokens", "output_tokens", "reasoning_output_tokens")
    usage = dict(zip(names, last, strict=True)) | {"total_tokens": last[0] + last[2]}
    info = {"last_token_usage": usage, "total_token_usage": {"total_tokens": total, "input_tokens": total}}
    return codex_line(second, "event_msg", type_="token_count", info=info)


CODEX = [
    codex_line(0, "session_meta", id="thread-1", timestamp=at(0), cli_version="0.156.1", source="cli"),
    codex_line(0, "turn_context", model="gpt-x", cwd="/w"),
    codex_line(1, "response_item", type_="message", role="user", content=[{"type": "input_text", "text": "go"}]),
    codex_line(1, "event_msg", type_="user_message", message="go"),
    codex_line(3, "response_item", type_="reasoning", summary=[], content=None),
    codex_line(4, "response_item", type_="function_call", name="exec_command", arguments='{"cmd":"ls"}', call_id="c1"),
    codex_usage(4.1, (1000, 600, 50, 20), 1050),
    codex_usage(4.2, (1000, 600, 50, 20), 1050),
    codex_line(5, "response_item", type_="function_call_output", call_id="c1", output="total 0"),
    codex_line(6, "event_msg", type_="stream_error", message="disconnected"),
    codex_line(
        8, "response_item", type_="message", role="assistant", content=[{"type": "output_text", "text": "done"}]
    ),
    codex_usage(8.1, (1200, 1000, 30, 0), 2280),
    codex_line(9, "compacted", message="so far"),
    codex_line(10, "response_item", type_="message", role="user", content=[]),
    codex_line(12, "response_item", type_="message", role="assistant", content=[]),
    codex_usage(12.1, (400, 0, 10, 5), 2690),
]
"""A session of three calls: the second was tried twice, the third comes after a compaction."""

CODEX_SUB_AGENT = [
    codex_line(
        20, "session_meta", id="thread-2", timestamp=at(20),
        source={"subagent": {"thread_spawn": {"parent_thread_id": "thread-1", "depth": 1, "agent_role": "explorer"}}},
    ),
    codex_line(21, "response_item", type_="message", role="user", content=[]),
    codex_line(22, "response_item", type_="message", role="assistant", content=[]),
    codex_usage(22.1, (70, 0, 7, 0), 77),
]  # fmt: skip

GEMINI_ABOUT = {"sessionId": "g-1", "projectHash": "h", "startTime": at(0), "lastUpdated": at(9), "kind": "main"}
GEMINI_TOKENS = {"input": 900, "output": 40, "cached": 300, "thoughts": 25, "tool": 10, "total": 975}


def gemini_message(message_id: str, second: float, kind: str = "gemini", **fields: Any) -> dict[str, Any]:
    """Return a message: github.com/google-gemini/gemini-cli, `packages/core/src/services/chatRecordingTypes.ts`."""
    return {"id": message_id, "timestamp": at(second), "type": kind, "content": [{"text": "x"}]} | fields


GEMINI = [
    GEMINI_ABOUT,
    gemini_message("m1", 1, "user"),
    gemini_message("m2", 3, model="gemini-x"),
    gemini_message(
        "m2", 3, model="gemini-x", tokens=GEMINI_TOKENS,
        toolCalls=[{"id": "t1", "name": "codebase_investigator", "args": {"a": 1}, "status": "success", "result": [],
                    "timestamp": at(4), "agentId": "sub-1"}],
    ),
    {"$set": {"lastUpdated": at(6)}},
    gemini_message("m3", 6, model="gemini-x", tokens={"input": 1000, "output": 5, "cached": 0, "total": 1005}),
    {"$rewindTo": "m3"},
]  # fmt: skip

GEMINI_SUB_AGENT = [
    GEMINI_ABOUT | {"sessionId": "sub-1", "kind": "subagent"},
    gemini_message("s1", 3.5, model="gemini-y", tokens={"input": 50, "output": 6, "cached": 0, "total": 56}),
]


def atif_step(step_id: int, source: str, **fields: Any) -> dict[str, Any]:
    """Return a step: github.com/harbor-framework/harbor, `rfcs/0001-trajectory-format.md`."""
    return {"step_id": step_id, "source": source, "message": "m", "timestamp": at(step_id)} | fields


ATIF = {
    "schema_version": "ATIF-v1.7",
    "session_id": "run-1",
    "trajectory_id": "top",
    "agent": {"name": "terminus", "version": "2", "model_name": "model-x"},
    "steps": [
        atif_step(1, "user"),
        atif_step(2, "agent", is_copied_context=True, metrics={"prompt_tokens": 999}),
        atif_step(
            3, "agent",
            metrics={"prompt_tokens": 500, "completion_tokens": 40, "cached_tokens": 200, "cost_usd": 0.5,
                     "extra": {"reasoning_tokens": 9}},
            tool_calls=[{"tool_call_id": "t1", "function_name": "delegate", "arguments": {"to": "b"}}],
            observation={"results": [{"source_call_id": "t1", "content": "ok",
                                      "subagent_trajectory_ref": [{"trajectory_id": "inner"}]}]},
        ),
        atif_step(4, "agent", llm_call_count=0),
        atif_step(5, "agent", metrics={"prompt_tokens": 600, "completion_tokens": 10, "cached_tokens": 500}),
    ],
    "subagent_trajectories": [
        {"schema_version": "ATIF-v1.7", "trajectory_id": "inner", "agent": {"name": "helper", "version": "1"},
         "steps": [atif_step(1, "agent", metrics={"prompt_tokens": 30, "completion_tokens": 3})]},
    ],
    "final_metrics": {"total_prompt_tokens": 1100, "total_completion_tokens": 50, "total_cached_tokens": 700},
}  # fmt: skip

TRACELAB = [
    {"provider": "codex", "session_id": "codex:s", "round_index": number, "round_id": f"r{number}", "model": "gpt-x",
     "input_tokens_total": 100 + number, "prefix_tokens": 60, "newly_append_tokens": 40 + number, "output_tokens": 10,
     "reasoning_output_tokens": 4, "claude_cache_creation_input_tokens": None,
     "timing_events": [
         {"event_type": "tool_result" if number else "user_message", "timestamp": at(10 * number)},
         {"event_type": "tool_call", "timestamp": at(10 * number + 4)}],
     "tools": [{"tool_index": 0, "tool_name": "exec_command", "tool_call_id": f"c{number}",
                "emitted_at": at(10 * number + 4), "result_at": at(10 * number + 7), "is_error": bool(number)}]}
    for number in range(2)
]  # fmt: skip
"""Rows of github.com/uw-syfi/TraceLab, as `skills/coding-trace-normalize/SKILL.md` defines them."""


def as_lines(records: Any) -> str:
    """Return one JSON document a line."""
    return "".join(json.dumps(one) + "\n" for one in records)
