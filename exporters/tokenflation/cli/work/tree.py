"""`tokenflation tree DB [TASK_ID]`: what one task did, as a tree with calls, tokens, tools and time."""

import difflib

import pandas as pd
from rich.console import Group
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.structure.flags import flagged, step_flags
from tokenflation.analysis.structure.folding import folded
from tokenflation.analysis.structure.rows import calls_alone, load_structure
from tokenflation.analysis.structure.trees import Node, tree_rows, trees
from tokenflation.cli.views.kinds import of_kind
from tokenflation.cli.views.output import emit
from tokenflation.cli.views.tree import TaskList, TreeView
from tokenflation.cli.views.words import printable
from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.words import many

__all__ = ["run"]

_MOST_CHILDREN = 12
_MOST_TASKS = 10
_MOST_COMPARED = 5_000


def run(store: str, task_id: str | None, kind: str | None, full: bool, as_json: bool, as_csv: bool) -> None:
    """Do what `tokenflation tree` asks."""
    calls = of_kind(analysis.load(store), kind)
    tasks = _largest_first(analysis.tasks(calls))
    if task_id is None and (as_json or as_csv):
        emit(tasks, as_json, as_csv, Text)
        return
    place = 0 if task_id is None else _place(tasks, task_id)
    tree = _tree(store, calls, str(tasks["task"].iloc[place]), str(tasks["task_id"].iloc[place]))
    others = tasks if task_id is None and len(tasks) > 1 else tasks.head(0)
    view = TreeView(tree=tree if full else folded(tree, most=_MOST_CHILDREN), whole=tree)
    listed = [TaskList(tasks=others.head(_MOST_TASKS), more=max(0, len(others) - _MOST_TASKS), store=store)]
    remarks = [Text(one, style="dim") for one in (calls_alone(store),) if one]
    emit(
        _rows(tree, as_json or as_csv), as_json, as_csv, lambda: Group(view, *remarks, *(listed if len(others) else []))
    )


def _rows(tree: Node, wanted: bool) -> pd.DataFrame:
    return tree_rows(tree) if wanted else pd.DataFrame()


def _largest_first(tasks: pd.DataFrame) -> pd.DataFrame:
    """Return the tasks in falling order of input and output tokens; those that report none come last, by calls."""
    size = tasks["input_tokens"].fillna(0) + tasks["output_tokens"].fillna(0)
    order = tasks.assign(size=size).sort_values(["size", "calls"], ascending=False, kind="stable").index
    return tasks.loc[order].reset_index(drop=True)


def _tree(store: str, calls: pd.DataFrame, task: str, task_id: str) -> Node:
    own = calls[(calls["task"] == task) & (calls["task_id"] == task_id)]
    tool_calls, spans = load_structure(store, task=task, task_id=task_id)
    return flagged(next(trees(own, tool_calls, spans)), step_flags(own, tool_calls))


def _place(tasks: pd.DataFrame, task_id: str) -> int:
    """Return the row of the task whose id is this, or the only one that begins with it."""
    ids = [str(id_) for id_ in tasks["task_id"]]
    found = [place for place, id_ in enumerate(ids) if id_ == task_id]
    found = found or [place for place, id_ in enumerate(ids) if task_id and id_.startswith(task_id)]
    if len(found) == 1:
        return found[0]
    names = [f"{printable(ids[place])} ({printable(str(tasks['task'].iloc[place]))})" for place in found[:5]]
    if found and len({ids[place] for place in found}) == 1:
        raise FrameError(f"Several kinds have a task {task_id!r}: {', '.join(names)}. Say which with --task KIND.")
    if found:
        raise FrameError(f"{len(found):,} task ids begin with {task_id!r}: {', '.join(names)}. Give more letters.")
    near = difflib.get_close_matches(task_id, ids[:_MOST_COMPARED], n=3, cutoff=0.5)
    near = list(dict.fromkeys([*near, *(id_ for id_ in ids if task_id and task_id in id_)]))[:3] or ids[:3]
    raise FrameError(
        f"There is no task {task_id!r} among the {many(len(ids), 'task')}. The nearest ids are: "
        f"{', '.join(printable(id_) for id_ in near)}. `tokenflation tree DB` lists the largest tasks."
    )
