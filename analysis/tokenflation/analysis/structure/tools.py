"""What each tool of each task kind is asked for, answers and takes: counts, failures, bytes, tokens, seconds. Pure.

Time is from the end of the answer that asks for the tool to the start of the call that brings its result, or the tool
run's own where spans or MCP recorded it (`timed_by_run`). Source: metric 18 of the inference profile.
"""

from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.columns.structure import TOOL_COLUMNS
from tokenflation.analysis.frames import from_records, prepared
from tokenflation.analysis.plain import plain_rows

__all__ = ["known_tool_calls", "later_calls", "tools"]

_CALLS = ("call_id", "task", "task_id", "agent_run_id", "step", "started_at_ns")
_TOOLS = (
    "call_id", "name", "kind", "executed", "failed", "arguments_bytes", "result_bytes", "result_tokens", "started_at_ns",
    "ended_at_ns", "agent_run_id", "arguments_hash", "run_span_id",
)  # fmt: skip
_NUMBERS = ("executed", "failed", "arguments_bytes", "result_bytes", "result_tokens")


def known_tool_calls(calls: pd.DataFrame, tool_calls: pd.DataFrame | None) -> pd.DataFrame:
    """Return one row per tool call of these calls, in order of request, with what is counted of it.

    Columns: `call_id`, `task`, `task_id`, `agent_run_id` (who asked), `tool`, `server` (bool), `repeated` (bool),
    `has_arguments` (bool), `started_run` (bool: it started an agent run), `own_times` (bool), `tool_s` (NaN where not
    known), and the store's `executed`, `failed`, `arguments_bytes`, `result_bytes`, `result_tokens`, which may be
    missing.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    of_calls = prepared(calls, _CALLS, "tools").drop_duplicates("call_id")
    rows = pd.DataFrame(list(plain_rows(tool_calls, _TOOLS)), columns=list(_TOOLS), dtype=object)
    rows = rows.rename(columns={"agent_run_id": "sub_run", "started_at_ns": "asked_at_ns", "name": "tool"})
    rows = rows.astype({"call_id": "str"}).merge(of_calls, on="call_id")
    rows = rows.sort_values(["started_at_ns", "step"], kind="stable", ignore_index=True)
    known = rows["arguments_hash"].notna() & (rows["kind"] == "client")
    again = rows.loc[known, ["task", "task_id", "agent_run_id", "tool", "arguments_hash"]].duplicated()
    # A float holds a time since 1970 only to some hundred ns: whole numbers are subtracted.
    seconds = (rows["ended_at_ns"].astype("Int64") - rows["asked_at_ns"].astype("Int64")).astype("Float64") / 1e9
    flags = {
        "server": rows["kind"] == "server",
        "repeated": again.reindex(rows.index, fill_value=False),
        "has_arguments": known,
        "started_run": rows["sub_run"].notna(),
        "own_times": rows["run_span_id"].notna(),
    }
    found = rows[["call_id", "task", "task_id", "agent_run_id", "tool"]].astype("str")
    found = found.assign(**{name: flag.astype(bool) for name, flag in flags.items()})
    found = found.assign(tool_s=seconds.clip(lower=0).astype("float64"))
    return found.assign(**{name: rows[name].astype("Int64") for name in _NUMBERS})


def later_calls(steps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per call of `context.steps.context_steps`, with the calls that read what its answer leads to.

    Columns: `call_id`, `task`, `task_id`, `agent`, and `later`: the calls of its agent run after it, up to the next
    compaction, as calls between two compactions carry the same history.
    """
    order = steps.sort_values(["step", "started_at_ns"], kind="stable")
    run = ["task", "task_id", "agent", "agent_run_id"]
    stretch = order.groupby(run, sort=False)["compactions"].cumsum().rename("stretch")
    later = order.groupby([*(order[name] for name in run), stretch], sort=False).cumcount(ascending=False)
    return order[["call_id", "task", "task_id", "agent"]].assign(later=later).drop_duplicates("call_id")


def tools(calls: pd.DataFrame, tool_calls: pd.DataFrame | None, *, steps: pd.DataFrame | None = None) -> pd.DataFrame:
    """Return one row per task kind and tool, those asked for most first; columns as in `TOOL_COLUMNS`.

    `calls` as `analysis.load` returns it, `tool_calls` the store's table of that name; a source that names no tool
    calls (a Weka trace, Parquet of calls alone) gives no row. `steps` is what `context.steps.context_steps` makes of
    the same calls; without it nothing is known of what later calls carry.

    Raises:
        FrameError: `calls` is empty or lacks columns.
    """
    known = known_tool_calls(calls, tool_calls)
    known["carried"] = _carried(known, steps)
    inputs = {} if steps is None else steps.groupby("task")["input_tokens"].sum().to_dict()
    rows = [
        _row(str(task), str(tool), group, inputs.get(task))
        for (task, tool), group in known.groupby(["task", "tool"], sort=True)
    ]
    rows.sort(key=lambda values: (values["task"], -values["requested"], values["tool"]))
    return from_records(rows, TOOL_COLUMNS)


def _carried(known: pd.DataFrame, steps: pd.DataFrame | None) -> "pd.Series[Any]":
    """Return the tokens that each result takes in all calls that read it; missing where one of both is not known."""
    if steps is None:
        return pd.Series(pd.NA, index=known.index, dtype="Int64")
    later = known["call_id"].map(later_calls(steps).set_index("call_id")["later"]).astype("Int64")
    return (known["result_tokens"] * later).mask(known["server"])


def _row(task: str, tool: str, group: pd.DataFrame, input_tokens: int | None) -> dict[str, Any]:
    client = group[~group["server"]]
    times = group["tool_s"].dropna().to_numpy(np.float64)
    failure_known = int(client["failed"].notna().sum())
    failed = int((client["failed"] == 1).sum())
    executed = int((client["executed"] > 0).sum())
    carried = _sum(group["carried"])
    return {
        "task": task,
        "tool": tool,
        "tasks": group["task_id"].nunique(),
        "requested": len(group),
        "server_side": int(group["server"].sum()),
        "executed": executed,
        "unanswered": len(client) - executed,
        "repeated": int(group["repeated"].sum()),
        "arguments_known": int(group["has_arguments"].sum()),
        "failed": failed,
        "failure_known": failure_known,
        "error_rate": failed / failure_known if failure_known else None,
        "sub_agent_runs": int(group["started_run"].sum()),
        **{name: _sum(group[name]) for name in ("arguments_bytes", "result_bytes", "result_tokens")},
        "results_known": int(group["result_tokens"].notna().sum()),
        "carried_tokens": carried,
        "carried_input_share": carried / input_tokens if carried is not None and input_tokens else None,
        "tool_s": float(times.sum()) if len(times) else None,
        "timed": len(times),
        "timed_by_run": int((group["own_times"] & group["tool_s"].notna()).sum()),
        "tool_s_p50": float(np.quantile(times, 0.5)) if len(times) else None,
        "tool_s_p90": float(np.quantile(times, 0.9)) if len(times) else None,
    }


def _sum(values: "pd.Series[Any]") -> int | None:
    return int(values.sum()) if values.notna().any() else None
