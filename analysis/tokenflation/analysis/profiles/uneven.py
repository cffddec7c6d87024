"""Says of which task kinds a few large tasks decide, so that no interval over whole tasks holds as often as it claims."""

import pandas as pd

from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.analysis.statistics.ratios import LEAST_EFFECTIVE

__all__ = ["uneven_kinds", "uneven_remarks"]


def uneven_kinds(calls: pd.DataFrame) -> pd.DataFrame:
    """Return one row per task kind: `task`, `tasks`, `effective_tasks` (`profile`), from columns of `calls` as `load` gives."""
    tokens = calls["input_tokens"].fillna(0).astype("float64") + calls["output_tokens"].fillna(0).astype("float64")
    sizes = tokens.groupby([calls["task"], calls["task_id"]]).sum()
    kinds = (sizes.groupby("task").sum() ** 2 / (sizes**2).groupby("task").sum()).rename("effective_tasks")
    return pd.concat([sizes.groupby("task").size().rename("tasks"), kinds], axis=1).reset_index()


def uneven_remarks(kinds: pd.DataFrame) -> list[str]:
    """Return a remark on each kind that has intervals, and fewer than `LEAST_EFFECTIVE` effective tasks.

    `kinds` has rows of `profile` or of `uneven_kinds`; a row without a task is of all kinds, and passed over.
    """
    few = kinds[kinds["task"].notna() & (kinds["tasks"] >= LEAST_RUNS) & (kinds["effective_tasks"] < LEAST_EFFECTIVE)]
    return [
        f"{row.task}: few of its {row.tasks:,} tasks have most of the tokens, as if there were {row.effective_tasks:.1f}. Its "
        "intervals rest on those, and hold the truth less often than they claim: record more tasks."
        for row in few.itertuples()
    ]
