"""Says where kinds that have no name hold few tasks each: prompts that differ from task to task may have made them."""

import re
from collections.abc import Mapping

from tokenflation.analysis.statistics.prototypes import LEAST_RUNS

__all__ = ["ONE_NAME", "scattered_remarks"]

ONE_NAME = "`tokenflation run --task NAME` as you record, or `tokenflation tasks DB --rename 'task-????' NAME`"
"""How to give kinds without a name one."""
_FINGERPRINT = re.compile(r"task-[0-9a-f]{4}")
_LEAST_KINDS = 4
_SHOWN = 3


def scattered_remarks(tasks: Mapping[str, int]) -> list[str]:
    """Return what to say of the kinds, with their numbers of tasks, that are named by the fingerprint of a prompt.

    Nothing, unless four of them and more have too few tasks for an interval.
    """
    few = {kind: count for kind, count in tasks.items() if count < LEAST_RUNS and _FINGERPRINT.fullmatch(kind)}
    if len(few) < _LEAST_KINDS:
        return []
    shown = ", ".join(list(few)[:_SHOWN])
    remark = (
        f"{len(few):,} kinds ({shown} and {len(few) - _SHOWN:,} more) have {sum(few.values()):,} tasks in all, each too few for "
        "an interval. A kind without a name is told by its system prompt and its tools: if these are one kind, in whose system "
        "prompt stands what differs from task to task (what was retrieved, a memory, a user's name), give them one name: "
        f"{ONE_NAME}."
    )
    return [remark]
