"""Makes Weka session traces for the importer's tests."""

import json
from pathlib import Path
from typing import Any


def request(t: float, **fields: Any) -> dict[str, Any]:
    """Return a plain request of 640 tokens; `input` and `output` stand for the fields `in` and `out`."""
    given: dict[str, Any] = {
        "t": t,
        "type": "n",
        "model": "m",
        "in": 640,
        "out": 50,
        "stop": "end_turn",
        "api_time": 0.2,
    }
    return given | fields


def marker(t: float, requests: list[Any], **fields: Any) -> dict[str, Any]:
    """Return the marker of a sub-agent."""
    given = {"t": t, "type": "subagent", "agent_id": "agent_001", "subagent_type": "Explore", "requests": requests}
    return given | fields


def session(*requests: Any, **fields: Any) -> dict[str, Any]:
    """Return a session of these requests."""
    given = {"id": "s1", "models": ["m"], "block_size": 64, "hash_id_scope": "local", "requests": list(requests)}
    return given | fields


def write_lines(path: Path, *sessions: Any) -> Path:
    """Write one session per line and return the path."""
    path.write_text("".join(json.dumps(one) + "\n" for one in sessions))
    return path
