"""What a user calls the kinds of tasks in a store: kept beside the rows, which stay as they were recorded.

Reading applies them (`renamed_task`), to rows that came before and after. Knows nothing of how kinds are found.
"""

import os
import sqlite3
from contextlib import closing
from fnmatch import fnmatchcase
from pathlib import Path

from tokenflation.sdk.errors import StoreError
from tokenflation.sdk.store.cells import check_cells
from tokenflation.sdk.store.opening import reader
from tokenflation.sdk.store.statements import renamed_sql

__all__ = ["RENAMED_TASK", "rename_task", "task_kinds"]

RENAMED_TASK = renamed_sql("calls.task")
"""SQL in place of the column `calls.task`."""


def task_kinds(path: str | os.PathLike[str]) -> list[dict[str, object]]:
    """Return the kinds of tasks, most tasks first: `task` as recorded, `name`, `tasks`, `calls`, `agents`, `depth`.

    Raises:
        StoreError: the store cannot be read.
    """
    query = (
        f"select task, {RENAMED_TASK} as name, count(distinct task_id) as tasks, count(*) as calls,"
        " count(distinct agent_run_id) as agent_runs, max(depth) as depth from calls group by task order by tasks desc, task"
    )
    connect = reader(path)
    try:
        with closing(connect()) as connection:
            check_cells(connection, path, ("calls", "task_names"), nested=False)
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute(query)]
    except sqlite3.Error as error:
        raise StoreError(f"{path} cannot be read: {error}. Restore it from a copy.") from error


def rename_task(path: str | os.PathLike[str], old: str, new: str) -> None:
    """Call a kind of task otherwise from now on; `old` is its recorded kind or its present name, or a pattern of them.

    A pattern is a shell's, `task-????` for one, and is one only where no kind has it for a name.
    A name that other kinds have too makes them one kind. The recorded kind as `new` takes the name back.

    Raises:
        StoreError: no such kind is in the store, the new name is empty, or the store cannot be written.
    """
    if not new.strip():
        raise StoreError("A kind of task needs a name that is not empty: give --rename OLD NEW.")
    kinds = [(str(row["task"]), str(row["name"])) for row in task_kinds(path)]
    found = [task for task, name in kinds if old in (task, name)]
    found = found or [task for task, name in kinds if fnmatchcase(task, old) or fnmatchcase(name, old)]
    if not found:
        known = ", ".join(repr(row["name"]) for row in task_kinds(path)) or "none"
        raise StoreError(f"{path} holds no task of the kind {old!r}; it has {known}.")
    try:
        with closing(sqlite3.connect(Path(path), timeout=30)) as connection, connection:
            for task in found:
                connection.execute("DELETE FROM task_names WHERE task = ?", (task,))
                if task != new:
                    connection.execute("INSERT INTO task_names (task, name) VALUES (?, ?)", (task, new))
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} cannot be written: {error}. Check that it may be, and that it is not locked."
        ) from error
