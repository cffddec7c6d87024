"""Says what a store holds and what was lost. Needs nothing but the standard library's sqlite3."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.cells import check_cells
from tokenflation.sdk.store.journals.orphans import left_beside
from tokenflation.sdk.store.keys import key_id, read_key
from tokenflation.sdk.store.losses import read_losses
from tokenflation.sdk.store.opening import NoStoreError, reader
from tokenflation.sdk.store.statements import renamed_sql
from tokenflation.sdk.store.tables import TABLES

__all__ = ["info"]

# A trace without dates counts from its session's start, or gives an order only: such times lie in the first year of the
# epoch.
_DATED = f"started_at_ns >= {365 * 86400 * 10**9}"
_KINDS = (
    f"SELECT task, count(*) FROM (SELECT DISTINCT {renamed_sql('calls.task')} AS task, task_id FROM calls)"
    " GROUP BY task ORDER BY task"
)
_RUNS = """
    SELECT count(*) AS agent_runs, count(*) FILTER (WHERE depth > 0) AS sub_agent_runs,
           coalesce(sum(calls) FILTER (WHERE depth > 0), 0) AS sub_agent_calls
    FROM (SELECT max(depth) AS depth, count(*) AS calls FROM calls GROUP BY agent_run_id)
"""
# By the user's own id: one that is used again adds to the task that it named before.
_REOPENED = """
    SELECT count(*) AS reopened_tasks
    FROM (SELECT 1 FROM spans WHERE kind = 'task' GROUP BY name, task_id HAVING count(*) > 1)
"""
_LAST = "coalesce(ended_at_ns, started_at_ns)"
# A call without a date meets none: the times are those of the calls with a date, if any has one.
_TOTALS = f"""
    SELECT sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens,
           coalesce(sum(tool_calls), 0) AS tool_calls,
           coalesce(min(started_at_ns) FILTER (WHERE {_DATED}), min(started_at_ns)) AS first_started_at_ns,
           coalesce(max({_LAST}) FILTER (WHERE {_DATED}), max({_LAST})) AS last_ended_at_ns,
           count(*) FILTER (WHERE NOT {_DATED}) AS undated_calls,
           count(*) FILTER (WHERE NOT {_DATED} AND ended_at_ns IS NOT NULL) AS relative_calls
    FROM calls
"""
_MODELS = """
    SELECT provider, model, count(*) AS calls, sum(input_tokens) AS input_tokens, sum(output_tokens) AS output_tokens
    FROM calls GROUP BY provider, model ORDER BY calls DESC, model
"""
_ANSWERED = """
    SELECT provider, model, response_model FROM calls WHERE response_model IS NOT NULL AND response_model IS NOT model
    GROUP BY provider, model, response_model ORDER BY count(*) DESC, response_model
"""


def info(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a store holds, as plain values that JSON can carry.

    Keys: `path`, `file_bytes`, `schema_version`, `created_by`, `key_id`, `key_file` (ok, missing, other, unreadable),
    `rows` by table, `tasks` by task kind (as the user calls it), `reopened_tasks` (opened more than once under one id),
    `agent_runs`, `sub_agent_runs`, `sub_agent_calls`, `input_tokens` and `output_tokens` (sums over the calls that
    report them), `tool_calls` (what the answers ask for, be it named or not), `first_started_at_ns`, `last_ended_at_ns`
    (of the calls with a date, if any has one), `undated_calls`, `relative_calls` (of those, timed from their session's
    start), `models` (one object per provider and model as asked for; `answered_as` lists other names that answered),
    `usage_source` and `status` by value in calls, `drops` by reason, `lost` (their sum), `left_beside` (calls of killed
    programs that stand in `DB.underway-*` and could not be brought into the store). Where there is no store, but losses
    are noted or calls stand beside it, `file_bytes` is 0 and there are no rows.

    Raises:
        StoreError: as `open_store`.
    """
    file = Path(path).absolute()
    try:
        connect = reader(file)  # what a killed process left becomes rows
    except NoStoreError:
        found = {"path": str(path), "file_bytes": 0, "rows": {}, **_losses(dict(read_losses(file)), file)}
        if found["lost"] or found["left_beside"]:
            return found
        raise
    noted = dict(read_losses(file))
    try:
        with closing(connect()) as connection:
            connection.row_factory = sqlite3.Row
            connection.execute("BEGIN")  # all counts are of one moment
            check_cells(connection, file, nested=False)
            found = {"path": str(path), "file_bytes": _file_bytes(file), **_meta(connection, file)}
            found |= _contents(connection)
            for reason, count in connection.execute("SELECT reason, sum(count) FROM drops GROUP BY reason"):
                noted[reason] = noted.get(reason, 0) + count
    except sqlite3.Error as error:
        raise StoreError(f"{file} cannot be read: {error}. Restore it from a copy.") from error
    return found | _losses(noted, file)


def _contents(connection: sqlite3.Connection) -> dict[str, Any]:
    def counts(query: str) -> dict[str, int]:
        return dict(connection.execute(query).fetchall())

    def one(query: str) -> dict[str, Any]:
        return dict(connection.execute(query).fetchone())

    return {
        "rows": {table.name: one(f"SELECT count(*) AS rows FROM {table.name}")["rows"] for table in TABLES},
        "tasks": counts(_KINDS),
        **one(_REOPENED),
        **one(_RUNS),
        **one(_TOTALS),
        "models": _models(connection),
        **{
            name: counts(f"SELECT {name}, count(*) FROM calls GROUP BY {name} ORDER BY {name}")
            for name in ("usage_source", "status")
        },
    }


def _models(connection: sqlite3.Connection) -> list[dict[str, Any]]:
    answered: dict[tuple[Any, Any], list[str]] = {}
    for row in connection.execute(_ANSWERED):
        answered.setdefault((row["provider"], row["model"]), []).append(row["response_model"])
    rows = map(dict, connection.execute(_MODELS))
    return [row | {"answered_as": answered.get((row["provider"], row["model"]), [])} for row in rows]


def _meta(connection: sqlite3.Connection, path: Path) -> dict[str, Any]:
    values = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    return {
        "schema_version": int(values["schema_version"]),
        "created_by": values.get("created_by"),
        "key_id": values.get("key_id"),
        "key_file": _key_state(path, values.get("key_id")),
    }


def _losses(drops: dict[str, int], path: Path) -> dict[str, Any]:
    kept = {reason: count for reason, count in sorted(drops.items()) if count}
    return {"drops": kept, "lost": sum(kept.values()), "left_beside": left_beside(path)}


def _file_bytes(path: Path) -> int:
    """Return the bytes of the database and of what is written but not yet merged into it."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _key_state(path: Path, expected: str | None) -> str:
    try:
        key = read_key(path)
    except (OSError, StoreError):
        return "unreadable"
    if key is None:
        return "missing"
    return "ok" if key_id(key) == expected else "other"
