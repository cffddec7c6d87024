"""Says which task kinds a few large tasks decide, so that no interval over whole tasks holds as often as it claims."""

import pandas as pd

from tokenflation.analysis.statistics.uneven import effective_tasks, few_decide

__all__ = ["uneven_kinds", "uneven_remarks"]


def uneven_kinds(calls: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task kind: `task`, `tasks`, `effective_tasks` (as in `profile`).

    Of `calls` as `load` gives it, the columns `task`, `task_id`, `input_tokens` and `output_tokens` are read.
    """
    tokens = calls["input_tokens"].fillna(0).astype("float64") + calls["output_tokens"].fillna(0).astype("float64")
    sizes = tokens.groupby([calls["task"], calls["task_id"]]).sum()
    kinds = pd.DataFrame({"size": sizes, "square": sizes**2}).groupby("task").agg(
        tasks=("size", "size"), total=("size", "sum"), squares=("square", "sum")
    )  # fmt: skip
    kinds["effective_tasks"] = effective_tasks(kinds["total"], kinds["squares"])
    return kinds[["tasks", "effective_tasks"]].reset_index()


def uneven_remarks(kinds: pd.DataFrame) -> list[str]:
    """Return a remark on each kind that has intervals, and in which few tasks decide (`statistics.uneven`).

    `kinds` has rows of `profile` or of `uneven_kinds`; a row without a task is of all kinds, and passed over.
    """
    named = kinds[kinds["task"].notna()]
    rows = zip(named["task"], named["tasks"], named["effective_tasks"], strict=True)
    return [remark for task, tasks, effective in rows for remark in few_decide(str(task), int(tasks), float(effective))]
