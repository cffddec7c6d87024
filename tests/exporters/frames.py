"""Small frames of calls, made by hand: what `analysis.load(path, blocks=True)` returns, with columns a test needs."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from tokenflation.sdk.store.tables import TABLES

_NULLABLE = [c.name for c in TABLES[0].columns if c.kind == "int" and not c.required]


def rolling(*contents: str) -> bytes:
    """Return one rolling 8-byte hash per block content: equal hashes mean equal contents up to there."""
    hashes, last = b"", b""
    for content in contents:
        last = hashlib.blake2b(last + content.encode(), digest_size=8).digest()
        hashes += last
    return hashes


def call(**values: Any) -> dict[str, Any]:
    """Return a row of `calls`; `at_s` is the start in s after an arbitrary date, `extra` and `finish` are plain."""
    at_s, finish, extra = values.pop("at_s", 0.0), values.pop("finish", []), values.pop("extra", {})
    start = 1_700_000_000_000_000_000 + round(at_s * 1e9)
    duration_s = values.get("duration_s", 1.0)
    row: dict[str, Any] = {column.name: None for column in TABLES[0].columns}
    row |= {
        "trace_id": "0" * 32,
        "task": "fix",
        "task_id": "t1",
        "agent": "main",
        "agent_run_id": "run-main",
        "depth": 0,
    }
    row |= {"step": 0, "structure_source": "wire", "provider": "p", "api": "openai.chat", "model": "m", "stream": 0}
    row |= {"status": "ok", "attempts": 1, "usage_source": "provider", "usage_complete": 1, "tool_calls": 0}
    row |= {"input_tokens": 640, "output_tokens": 10, "block_tokens": 64, "duration_s": duration_s}
    row |= {"started_at_ns": start, "ended_at_ns": None if duration_s is None else start + round(duration_s * 1e9)}
    return row | {"finish_reasons": json.dumps(finish), "extra": json.dumps(extra)} | values


def frame(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Return the rows as a frame with the loader's types; calls without an id are numbered."""
    numbered = [row | {"call_id": row["call_id"] or f"{number:016x}"} for number, row in enumerate(rows)]
    calls = pd.DataFrame(numbered).astype(dict.fromkeys(_NULLABLE, "Int64"))
    return calls.astype({"duration_s": "float64", "ttft_s": "float64"})
