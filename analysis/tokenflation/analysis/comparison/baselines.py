"""Decides which task kinds are baselines, and leaves them out of the fleet: the only place that does. Does no I/O.

A baseline was recorded to compare with: the same work answered once (a direct answer, one retrieval-augmented call). It
is no part of the work that a fleet does.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

from tokenflation.analysis.frames import prepared
from tokenflation.sdk.errors import FrameError

__all__ = ["INTRINSIC", "SINGLE_CALLS_SQL", "Baselines", "choose_baselines", "direct_kinds", "without_baselines"]

INTRINSIC = "first request + final answer"
"""Name of the intrinsic baseline: input of a task's first request and visible output of its final answer."""

_MOST_NAMES = 5

SINGLE_CALLS_SQL = """
select task from (select task, task_id, count(*) as calls from calls group by task, task_id) as grouped
group by task having max(calls) = 1 and task not like 'task-%' order by task
"""
"""The kinds that somebody named and whose every task is one call, out of a relation `calls`.

What the recorder names `task-...` is whatever else a program asks: a guardrail, a title, embeddings.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """The kinds to compare with, and why it is these."""

    kinds: tuple[str, ...]
    """Measured kinds; none where tasks can only be compared with parts of themselves."""
    why: str
    """A sentence for people."""

    @property
    def names(self) -> tuple[str, ...]:
        """What `inflation` takes: the kinds, or the intrinsic baseline where there are none."""
        return self.kinds or (INTRINSIC,)


def choose_baselines(calls: pd.DataFrame, named: Sequence[str] = ()) -> Baselines:
    """Return the baselines: those that a user gives, else the only named kind whose every task is one call, else none.

    `INTRINSIC` may be named beside kinds, and is no kind; `Baselines.kinds` then lacks it.

    Raises:
        FrameError: a kind that is named has no task, or `calls` lacks columns.
    """
    direct = direct_kinds(calls)
    kinds = sorted(str(kind) for kind in calls["task"].unique())
    if named:
        if unknown := [name for name in named if name not in kinds and name != INTRINSIC]:
            raise FrameError(
                f"there is no task of the baseline kind {unknown[0]!r}; the kinds here are {kinds[:20]}. Record the same "
                "work answered once, in a task of a kind of its own, and name that kind."
            )
        wanted = tuple(dict.fromkeys(name for name in named if name != INTRINSIC))
        return Baselines(kinds=wanted, why=f"{_listed(wanted)}, as named." if wanted else f"{INTRINSIC}, as named.")
    if len(direct) == 1 and len(kinds) > 1:
        return Baselines(kinds=(direct[0],), why=f"{direct[0]}, the only named kind whose every task is one call.")
    found = f"there are {len(direct)} such kinds ({_listed(direct)})" if len(direct) > 1 else "there is no such kind"
    if len(kinds) == len(direct) == 1:
        found = "there is no other kind to compare with it"
    return Baselines(
        kinds=(),
        why=f"{INTRINSIC} of the same task: a kind is taken for a measured baseline if it was named and each of its tasks is a "
        f"single call, and {found}. Record the same work answered once, in a task of a kind of its own, or name the kind with --baseline.",
    )


def without_baselines(calls: pd.DataFrame, baselines: Baselines | None = None) -> tuple[pd.DataFrame, str]:
    """Return the calls of the fleet and a sentence on what was left out: nothing where only baselines were recorded.

    None leaves out those that `choose_baselines` finds.
    """
    kinds = (baselines or choose_baselines(calls)).kinds
    fleet = calls[~calls["task"].isin(kinds)]
    if len(fleet) == len(calls) or fleet.empty:
        return calls, ""
    plural, verb = ("", "is") if len(kinds) == 1 else ("s", "are")
    return fleet, f"The baseline{plural}, {_listed(kinds)}, {verb} no part of the fleet."


def direct_kinds(calls: pd.DataFrame) -> list[str]:
    """Return the named kinds whose every task is one call: those that can serve as a baseline, in order."""
    with duckdb.connect() as connection:
        connection.register("calls", prepared(calls, ("task", "task_id"), "direct_kinds"))
        return [str(row[0]) for row in connection.execute(SINGLE_CALLS_SQL).fetchall()]


def _listed(names: Sequence[str]) -> str:
    left = len(names) - _MOST_NAMES
    return f"{', '.join(names[:_MOST_NAMES])} and {left:,} more" if left > 0 else ", ".join(names)
