"""Makes Claude Code session logs for the importer's tests, laid out as the real ones are."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SESSION = "5e5510aa-0000-4000-8000-000000000001"


def at(second: float) -> str:
    """Return a time in the log's notation."""
    return f"2026-03-01T10:{int(second) // 60:02d}:{second % 60:06.3f}Z"


def _record(kind: str, uuid: str, parent: str | None, second: float, **fields: Any) -> dict[str, Any]:
    record = {"type": kind, "uuid": uuid, "parentUuid": parent, "timestamp": at(second), "sessionId": SESSION}
    return record | {"isSidechain": False, "version": "2.1.33"} | fields


def user(uuid: str, parent: str | None, second: float, content: Any = "do it", **fields: Any) -> dict[str, Any]:
    """Return what the user said."""
    return _record("user", uuid, parent, second, message={"role": "user", "content": content}, **fields)


def result(uuid: str, parent: str, second: float, tool: str, said: str = "ok", **fields: Any) -> dict[str, Any]:
    """Return the result of a tool call."""
    failed = fields.pop("is_error", False)
    block = {"type": "tool_result", "tool_use_id": tool, "content": said, "is_error": failed}
    return user(uuid, parent, second, [block], **fields)


def answer(
    uuid: str, parent: str | None, second: float, message: str, *blocks: Any, usage: Any = None, stop: str | None = None,
    **fields: Any,
) -> dict[str, Any]:  # fmt: skip
    """Return one line of an answer."""
    given = {"input_tokens": 10, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 5, "output_tokens": 3}
    body = {
        "id": message,
        "model": "claude-x",
        "role": "assistant",
        "stop_reason": stop,
        "usage": given | (usage or {}),
    }
    body["content"] = list(blocks) or [{"type": "text", "text": "well"}]
    return _record("assistant", uuid, parent, second, message=body, requestId=f"req_{message}", **fields)


def tool(name: str, tool_id: str, **arguments: Any) -> dict[str, Any]:
    """Return a block that asks for a tool."""
    return {"type": "tool_use", "id": tool_id, "name": name, "input": arguments}


def system(uuid: str, parent: str | None, second: float, subtype: str, **fields: Any) -> dict[str, Any]:
    """Return a record of the program itself."""
    return _record("system", uuid, parent, second, subtype=subtype, **fields)


def write(path: Path, records: Iterable[Any]) -> Path:
    """Write one record a line and return the path."""
    path.write_text("".join(f"{one if isinstance(one, str) else json.dumps(one)}\n" for one in records))
    return path


STORY = [
    {"type": "summary", "summary": "earlier", "leafUuid": "x"},
    user("u1", None, 0),
    answer("a1", "u1", 4, "msg_1"),
    answer("a2", "a1", 5, "msg_1", tool("Task", "t1", subagent_type="Explore", prompt="look around"), usage={"output_tokens": 9}),
    user("s1", None, 6, "look around", isSidechain=True),
    answer("s2", "s1", 8, "msg_side", tool("Read", "t2", path="a"), usage={"input_tokens": 1}, isSidechain=True),
    result("s3", "s2", 9, "t2", "no such file", is_error=True, isSidechain=True),
    result("r1", "a2", 10, "t1", "seen", toolUseResult={"agentId": "b1", "totalTokens": 116, "totalToolUseCount": 1}),
    system("e1", "r1", 12, "api_error", retryInMs=500, retryAttempt=1, error={"status": 529}),
    answer("a3", "e1", 15, "msg_2"),
    system("c1", None, 20, "compact_boundary", logicalParentUuid="a3", compactMetadata={"trigger": "auto", "preTokens": 9}),
    user("u2", "c1", 21, "so far", isCompactSummary=True),
    answer("a4", "u2", 24, "msg_3"),
]  # fmt: skip
"""Two main calls before a compaction and one after, a sub-agent of one call, one failed attempt."""
