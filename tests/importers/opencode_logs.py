"""A session of opencode, laid out as versions 1.1 (files), 1.18 (database) and their `export` write it."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

START_MS = 1_790_000_000_000
_TABLES = """
CREATE TABLE `session` (
  `id` text PRIMARY KEY, `project_id` text NOT NULL, `parent_id` text, `directory` text NOT NULL, `title` text NOT NULL,
  `version` text NOT NULL, `time_created` integer NOT NULL, `time_updated` integer NOT NULL);
CREATE TABLE `message` (`id` text PRIMARY KEY, `session_id` text NOT NULL, `time_created` integer NOT NULL,
  `time_updated` integer NOT NULL, `data` text NOT NULL);
CREATE TABLE `part` (`id` text PRIMARY KEY, `message_id` text NOT NULL, `session_id` text NOT NULL,
  `time_created` integer NOT NULL, `time_updated` integer NOT NULL, `data` text NOT NULL);
"""

Told = dict[str, Any]


def session(name: str, second: float = 0, **info: Any) -> Told:
    """Return a session without messages."""
    about = {"id": f"ses_{name}", "projectID": "global", "directory": "/w", "title": "t", "version": "1.18.33"}
    return {"info": about | {"time": {"created": START_MS + round(second * 1000)}} | info, "messages": []}


def says(told: Told, second: float, *parts: Told, **info: Any) -> Told:
    """Add a message of the user's to a session."""
    session_id = told["info"]["id"]
    id_ = f"msg_{session_id[4:]}{len(told['messages']):03}"
    about = {"id": id_, "sessionID": session_id, "role": "user", "time": {"created": START_MS + round(second * 1000)}}
    ids = [{"id": f"prt_{id_[4:]}{n:03}", "sessionID": session_id, "messageID": id_} for n in range(len(parts))]
    message = {"info": about | info, "parts": [one | part for one, part in zip(ids, parts, strict=True)]}
    told["messages"].append(message)
    return message


def answers(told: Told, second: float, tokens: Told | None, *parts: Told, **info: Any) -> Told:
    """Add an assistant's message, which takes two seconds, to a session; without tokens none were reported."""
    zeros = counted(0, 0, 0, 0, 0)
    end = [] if tokens is None else [{"type": "step-finish", "reason": "stop", "cost": 0, "tokens": tokens}]
    about = {"role": "assistant", "agent": "build", "mode": "build", "modelID": "m-x", "providerID": "local", "cost": 0}
    message = says(told, second, {"type": "step-start"}, *parts, *end, **(about | {"tokens": tokens or zeros} | info))
    if tokens is not None:
        message["info"]["time"] = {"created": ms(second), "completed": ms(second + 9)}
    return message


def counted(given: int, read: int, written: int, made: int, thought: int, **total: int) -> Told:
    """Return tokens as they stand there: the cache outside of the input."""
    return {"input": given, "output": made, "reasoning": thought, "cache": {"read": read, "write": written}} | total


def word(second: float) -> Told:
    """Return a text that ends then."""
    return {"type": "text", "text": "word", "time": {"start": ms(second), "end": ms(second)}}


def tool(name: str, second: float, status: str = "completed", **state: Any) -> Told:
    """Return a tool's part that runs for five seconds."""
    times = {"start": ms(second), "end": ms(second + 5)}
    said = {"output": "four"} if status == "completed" else {"error": "no"}
    return {"type": "tool", "callID": f"{name}-1", "tool": name,
            "state": {"status": status, "input": {"a": 1}, "time": times} | said | state}  # fmt: skip


def ms(second: float) -> int:
    """Return the time so many seconds after the start."""
    return START_MS + round(second * 1000)


def story() -> list[Told]:
    """Return a session with a sub-agent and a compaction, that sub-agent, and a fork that goes on from there."""
    main, inner = session("1"), session("2", 3, parentID="ses_1")
    says(main, 0, {"type": "text", "text": "go"})
    runs = {"metadata": {"sessionId": "ses_2", "parentSessionId": "ses_1"}}
    answers(main, 1, counted(60, 30, 10, 7, 5, total=112), word(2), tool("task", 2.5, **runs), tool("read", 3, "error"))
    says(inner, 3, {"type": "text", "text": "look"})
    answers(inner, 4, counted(20, 0, 0, 3, 0, total=23), word(5), agent="explore", mode="explore")
    says(main, 11, {"type": "compaction", "auto": True})
    answers(
        main, 12, counted(100, 0, 0, 9, 0, total=109), word(13), agent="compaction", mode="compaction", summary=True
    )
    says(main, 14, {"type": "text", "text": "Continue", "synthetic": True})
    answers(main, 15, counted(15, 5, 0, 2, 0, total=22), word(16))
    fork = session("3", 30)
    for copied in main["messages"]:
        message = says(fork, 0, *(_bare(part) for part in copied["parts"]))
        message["info"] = copied["info"] | {"id": message["info"]["id"], "sessionID": "ses_3"}
    says(fork, 31, {"type": "text", "text": "and"})
    answers(fork, 32, counted(40, 0, 0, 4, 0, total=44), word(33))
    return [main, inner, fork]


def _bare(part: Told) -> Told:
    return {name: value for name, value in part.items() if name not in ("id", "sessionID", "messageID")}


def database(path: Path, sessions: list[Told]) -> Path:
    """Write them into a database."""
    with closing(sqlite3.connect(path)) as connection:
        fill(connection, sessions)
    return path


def fill(connection: sqlite3.Connection, sessions: list[Told]) -> None:
    """Write them into an empty database that is open."""
    connection.executescript(_TABLES)
    for told in sessions:
        info = told["info"]
        at_ms = info["time"]["created"]
        row = (info["id"], "global", info.get("parentID"), "/w", "t", info["version"], at_ms, at_ms)
        connection.execute("INSERT INTO session VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row)
        for message in told["messages"]:
            _insert(connection, "message", message["info"], (info["id"],), message["info"]["time"]["created"])
            for part in message["parts"]:
                _insert(connection, "part", part, (message["info"]["id"], info["id"]), at_ms)
    connection.commit()


def _insert(connection: sqlite3.Connection, table: str, told: Told, places: tuple[str, ...], at_ms: int) -> None:
    kept = {name: value for name, value in told.items() if name not in ("id", "sessionID", "messageID")}
    row = (told["id"], *places, at_ms, at_ms, json.dumps(kept))
    connection.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def files(folder: Path, sessions: list[Told]) -> Path:
    """Write them as files."""
    for told in sessions:
        _write(folder / "storage/session/global", told["info"])
        _write(folder / "storage/session_diff", told["info"]["id"], [])
        for message in told["messages"]:
            _write(folder / "storage/message" / told["info"]["id"], message["info"])
            for part in message["parts"]:
                _write(folder / "storage/part" / message["info"]["id"], part)
    return folder


def _write(folder: Path, told: Told | str, content: Any = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = told if isinstance(told, str) else told["id"]
    (folder / f"{name}.json").write_text(json.dumps(told if content is None else content, indent=2))


def exports(folder: Path, sessions: list[Told]) -> Path:
    """Write them as `opencode export` does, each to a file."""
    for told in sessions:
        _write(folder, f"export-{told['info']['id']}", told)
    return folder
