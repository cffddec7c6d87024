"""The rows of a store as the records that offline lineage takes. A helper of tests."""

import json
from pathlib import Path
from typing import Any, TypeVar

from tests.stored import rows

from tokenflation.sdk.records import Call, ToolRun

__all__ = ["EDGES", "rows_of"]

T = TypeVar("T")

EDGES = ("continues_call_id", "inside_call_id", "inside_tool_call_id")
"""The columns that lineage finds again."""


def rows_of(store: Path) -> tuple[list[Call], list[ToolRun]]:
    """Return the calls and the tool calls of a store."""
    calls = [_record(Call, row) for row in rows(store, "SELECT * FROM calls")]
    return calls, [_record(ToolRun, row) for row in rows(store, "SELECT * FROM tool_calls")]


def _record(kind: type[T], row: dict[str, Any]) -> T:
    given = {name: row[name] for name in kind.__struct_fields__ if name in row}  # type: ignore[attr-defined]
    read = {name: json.loads(given[name]) for name in ("answers", "extra") if given.get(name)}
    return kind(**given | read)
