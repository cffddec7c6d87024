"""All that is known of the structure of each task, and of each kind as ratios of sums with intervals. Pure.

Puts together what `shape`, `timing`, `waste`, `flags` and `tools` find; defines nothing of its own.
"""

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.columns.structure_kinds import KIND_COLUMNS, KIND_RATIOS, TASK_STRUCTURE_COLUMNS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.statistics.of_tasks import ratios_of_sums
from tokenflation.analysis.statistics.ratios import agreed
from tokenflation.analysis.structure.flags import run_flags
from tokenflation.analysis.structure.shape import shape
from tokenflation.analysis.structure.timing import timing
from tokenflation.analysis.structure.tools import known_tool_calls
from tokenflation.analysis.structure.waste import waste
from tokenflation.sdk.errors import FrameError

__all__ = ["structure_kinds", "structure_tasks"]

Floats = NDArray[np.float64]

_KEY = ["task", "task_id"]
_RUN_SUMS = (
    "steps", "reasoning_steps", "reasoning_known", "tool_steps", "tool_calls", "compared_steps", "arguments_known", "repeated_tool_calls",
    "reflections", "loops", "loop_steps",
)  # fmt: skip
_PARTS = ("generation", "tool", "human_wait", "rest", "unknown")
_SIDES = {name for one in KIND_RATIOS for name in (*one.numerators, one.denominator) if name}
_IS_SHARE = np.array([one.unit == "fraction" for one in KIND_RATIOS])
_TIME_SHARES = [
    place for place, one in enumerate(KIND_RATIOS) if one.numerators in {(f"{part}_ns",) for part in _PARTS}
]


def structure_tasks(
    calls: pd.DataFrame, tool_calls: pd.DataFrame | None = None, spans: pd.DataFrame | None = None
) -> pd.DataFrame:
    """Return one row per task, in order of start; columns as in `columns.structure_kinds.TASK_STRUCTURE_COLUMNS`.

    The frames are those that `structure.trees` takes.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    frame = shape(calls, tool_calls, spans)
    runs = run_flags(calls, tool_calls).groupby(_KEY)[list(_RUN_SUMS)].sum()
    for other in (
        timing(calls, tool_calls),
        waste(calls),
        runs.reset_index(),
        _tool_sums(calls, tool_calls),
        _requests(calls),
    ):
        new = [name for name in other.columns if name in _KEY or name not in frame.columns]
        frame = frame.merge(other[new], on=_KEY, how="left")
    counts = [name for name, column in TASK_STRUCTURE_COLUMNS.items() if column.kind == "int" and column.required]
    frame[counts] = frame[counts].fillna(0).astype("int64")
    return frame[list(TASK_STRUCTURE_COLUMNS)]


def _tool_sums(calls: pd.DataFrame, tool_calls: pd.DataFrame | None) -> pd.DataFrame:
    rows = known_tool_calls(calls, tool_calls)
    client = ~rows["server"]
    counts = {
        "tool_rows": rows["tool"].notna(),
        "server_tool_calls": rows["server"],
        "executed_tool_calls": client & (rows["executed"].fillna(0) > 0),
        "unanswered_tool_calls": client & ~(rows["executed"].fillna(0) > 0),
        "failed_tool_calls": client & (rows["failed"].fillna(0) == 1),
        "tool_failure_known": client & rows["failed"].notna(),
    }
    flags = rows[_KEY].assign(**{name: flag.astype("int64") for name, flag in counts.items()})
    sums = flags.groupby(_KEY).sum()
    sizes = rows.groupby(_KEY)[["result_bytes", "result_tokens"]].sum(min_count=1)
    sizes.columns = ["tool_result_bytes", "tool_result_tokens"]
    return sums.join(sizes).reset_index()


def _requests(calls: pd.DataFrame) -> pd.DataFrame:
    """Return how often the user prompted an outermost agent run; missing where no call says who prompted it."""
    names = ("task", "task_id", "depth", "started_at_ns", "prompted_by", "continues_call_id", "history")
    frame = prepared(calls, names, "structure_tasks").sort_values("started_at_ns", kind="stable")
    # A new history in the midst of a task is prompted by the program, whatever role its messages have.
    begins = frame["history"].notna() & frame["continues_call_id"].isna() & frame.duplicated(_KEY)
    by_user = ((frame["prompted_by"] == "user") & ~begins).astype("Int64").where(frame["prompted_by"].notna())
    known = frame.assign(user_requests=by_user)
    return known[known["depth"] == 0].groupby(_KEY)["user_requests"].sum(min_count=1).reset_index()


def structure_kinds(tasks: pd.DataFrame, *, rng: np.random.Generator | None = None, level: float = 0.9) -> pd.DataFrame:
    """Return one row per task kind out of what `structure.tasks` returns; columns as in `KIND_COLUMNS`.

    Ratios are of sums over the tasks that report both of their sides. With `rng` they have intervals over whole tasks
    at `level`; without it, or with fewer than `prototypes.LEAST_RUNS` such tasks, they have none.

    Raises:
        FrameError: `tasks` lacks columns.
    """
    missing = [name for name in TASK_STRUCTURE_COLUMNS if name not in tasks.columns]
    if missing:
        raise FrameError(
            f"structure_kinds() needs columns {missing}. Give it the frame that structure_tasks() returns."
        )
    tops, bottoms = _sides(tasks)
    kinds = tasks.groupby("task", sort=True)
    rows = [
        _row(str(kind), group, (tops[kinds.indices[kind]], bottoms[kinds.indices[kind]]), rng, level)
        for kind, group in kinds
    ]
    return from_records(rows, KIND_COLUMNS)


def _row(
    kind: str, group: pd.DataFrame, sides: tuple[Floats, Floats], rng: np.random.Generator | None, level: float
) -> dict[str, Any]:
    timed = group[group["duration_ns"].notna()]
    path_s = timed["critical_path_ns"].to_numpy(np.float64) / 1e9
    row: dict[str, Any] = {
        "task": kind,
        "tasks": len(group),
        "tasks_with_tokens": int(group["tokens"].notna().sum()),
        "tasks_with_duration": len(timed),
        "tasks_with_loops": int((group["loops"] > 0).sum()),
        "depth_max": int(group["depth"].max()),
        "fan_out_max": int(group["fan_out_max"].max()),
        "concurrency_max": int(group["concurrency_max"].max()),
        "duration_s": _seconds(timed["duration_ns"]),
        "critical_path_s_p50": float(np.quantile(path_s, 0.5)) if len(path_s) else None,
        "critical_path_s_p90": float(np.quantile(path_s, 0.9)) if len(path_s) else None,
        "retry_s": _seconds(group["retry_ns"], group["failed_ns"]),
    }
    row |= {f"{part}_s": _seconds(timed[f"{part}_ns"]) for part in _PARTS}
    for name, column in KIND_COLUMNS.items():
        if column.kind == "int" and name not in row:
            row[name] = int(group[name].sum()) if group[name].notna().any() else None
    row |= _ratios(*sides, rng, level)
    if row["concurrency_max"] <= 1 and row["concurrency_mean"] == row["generation_share"]:
        # Calls that never meet are in flight as long as any is.
        row |= {f"concurrency_mean_{end}": row[f"generation_share_{end}"] for end in ("low", "high")}
    if row["failed_calls"] and not row["failed_with_usage"]:
        # What the tasks without failures report, nothing, would be taken for what the failures used.
        row |= dict.fromkeys(
            ("failed_tokens", "failed_token_share", "failed_token_share_low", "failed_token_share_high")
        )
    return row


def _sides(tasks: pd.DataFrame) -> tuple[Floats, Floats]:
    """Return numerator and denominator of all ratios, shape (tasks, ratios), NaN where one is not known.

    Of all kinds at once: to ask pandas for them kind by kind took most of the time where there are many.
    """
    known = tasks.astype(dict.fromkeys(_SIDES, "Float64"))
    above = [sum((known[name] for name in one.numerators), start=pd.Series(0.0, tasks.index)) for one in KIND_RATIOS]
    below = [known[one.denominator] if one.denominator else pd.Series(1.0, tasks.index) for one in KIND_RATIOS]
    tops, bottoms = (
        np.stack([one.to_numpy(np.float64, na_value=np.nan) for one in side], axis=1) for side in (above, below)
    )
    return tops, bottoms


def _ratios(tops: Floats, bottoms: Floats, rng: np.random.Generator | None, level: float) -> dict[str, float | None]:
    """Return all ratios of a kind with their intervals, so that parts of a whole agree."""
    value, low, high = ratios_of_sums(tops, bottoms, _IS_SHARE, rng=rng, level=level)
    lows, highs = agreed(low[None], high[None], _TIME_SHARES)
    columns = {"": value, "_low": lows[0], "_high": highs[0]}
    return {
        f"{ratio.name}{end}": None if np.isnan(values[place]) else float(values[place])
        for place, ratio in enumerate(KIND_RATIOS)
        for end, values in columns.items()
    }


def _seconds(*columns: "pd.Series[Any]") -> float | None:
    """Return nanoseconds as seconds, added up exactly before; None where nobody knows any."""
    # One by one: tasks with a call of 1970 among others of now soon last more nanoseconds together than 64 bits hold.
    known = [sum(map(int, column.dropna())) for column in columns if column.notna().any()]
    return sum(known) / 1e9 if known else None
