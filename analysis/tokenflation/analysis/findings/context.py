"""Findings on what a context holds: instructions, tools that nobody asks for, large results, long histories, openings.

Pure.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from tokenflation.analysis.findings.finding import (
    AT_MOST,
    ESTIMATE,
    Finding,
    most_calls,
    most_tasks,
    named,
)
from tokenflation.analysis.frames import prepared
from tokenflation.analysis.plain import plain_rows
from tokenflation.analysis.structure.tools import later_calls
from tokenflation.sdk.words import many, percent

__all__ = ["LARGE_RESULT_TOKENS", "large_results", "long_histories", "overhead", "sub_agents", "unused_tools"]

LARGE_RESULT_TOKENS = 4_000
"""Tokens from which on a tool result is called large: three pages of text."""
_OVERHEAD_SHARE = 0.25
_LEAST_STEPS = 10
"""Of an agent run whose history might have been cut down."""
_LEAST_GROWTH = 3.0
"""Its largest context over its first one."""
_LEAST_COMPACTIONS = 3
_KEPT_SHARE = 0.5
_NOT_SENT = "input tokens, not sent"
_KEY = ["task", "agent"]
_RUN = ["task", "task_id", "agent", "agent_run_id"]


def overhead(calls: pd.DataFrame) -> Iterator[Finding]:
    """Yield the agents of whose input a quarter or more is system prompt and tool definitions."""
    for task, agent, rows, known in _with_instructions(calls):
        system, tools = int(known["system_tokens"].sum()), int(known["tool_definition_tokens"].sum())
        total = int(known["input_tokens"].sum())
        if len(known) < 2 or not total or (system + tools) / total < _OVERHEAD_SHARE:
            continue
        each = round((system + tools) / len(known))
        yield Finding(
            finding="overhead",
            task=task,
            agent=agent,
            sentence=f"{percent((system + tools) / total)} of the input of {named(task, agent)} are the same instructions "
            f"again: {_instructions(system, tools)}, about {each:,} in each of {many(len(known), 'call')}.",
            advice="Shorten the instructions, or give an agent only the tools that it needs.",
            saved_tokens=(system + tools) // 2,
            saved_unit=_NOT_SENT,
            saved_is=ESTIMATE,
            estimate="Half of them, as a yardstick: what can go only you can say. A cache makes them cheaper, not fewer.",
            counted_calls=len(known),
            calls=len(rows),
            task_ids=most_tasks(known, "instructions"),
            call_ids=most_calls(known, "instructions"),
        )


def unused_tools(calls: pd.DataFrame) -> Iterator[Finding]:
    """Yield the agents that are sent tool definitions in several calls and ask for no tool in any."""
    for task, agent, rows, known in _with_instructions(calls):
        sent = known[known["tool_definition_tokens"] > 0]
        if len(sent) < 2 or int(rows["tool_calls"].sum()) or not (rows["status"] == "ok").any():
            continue
        tools = int(sent["tool_definition_tokens"].sum())
        yield Finding(
            finding="unused_tools",
            task=task,
            agent=agent,
            sentence=f"{named(task, agent)} was sent {tools:,} tokens of definitions of tools, or of a schema for its answers, "
            f"in {many(len(sent), 'call')} and never asked for a tool.",
            advice="If they are tools, leave them out where nothing is to be looked up or done.",
            saved_tokens=tools,
            saved_unit=_NOT_SENT,
            saved_is=AT_MOST,
            estimate="All its tool definitions; a schema that the answer must have is counted among them and has to stay.",
            counted_calls=len(known),
            calls=len(rows),
            task_ids=most_tasks(sent, "tool_definition_tokens"),
            call_ids=most_calls(sent, "tool_definition_tokens"),
        )


def _with_instructions(calls: pd.DataFrame) -> Iterator[tuple[str, str, pd.DataFrame, pd.DataFrame]]:
    """Yield kind, agent, its calls, and those of which system prompt and tool definitions are known."""
    names = (
        *_KEY, "task_id", "call_id", "status", "tool_calls", "input_tokens", "system_tokens", "tool_definition_tokens",
    )  # fmt: skip
    frame = prepared(calls, names, "findings")
    frame["instructions"] = frame["system_tokens"] + frame["tool_definition_tokens"]
    for (task, agent), rows in frame.groupby(_KEY, sort=True):
        known = rows[rows["instructions"].notna() & rows["input_tokens"].notna()]
        if len(known):
            yield str(task), str(agent), rows, known.astype({"instructions": "int64"})


def large_results(steps: pd.DataFrame, tool_calls: pd.DataFrame | None) -> Iterator[Finding]:
    """Yield the tools whose results are large and stay in the history of later calls; `steps` of `context_steps`."""
    asked = pd.DataFrame(
        list(plain_rows(tool_calls, ("call_id", "name", "kind", "result_tokens"))), columns=["call_id", "tool", "kind", "result"]
    )  # fmt: skip
    known = asked[asked["result"].notna() & (asked["kind"] == "client")].astype({"result": "int64"})
    large = known[known["result"] > LARGE_RESULT_TOKENS]
    if large.empty:
        return
    at = later_calls(steps)
    found = large.merge(at, on="call_id")
    found["saved"] = (found["result"] - LARGE_RESULT_TOKENS) * found["later"]
    results = (
        known.merge(at[["call_id", "task", "agent"]], on="call_id").groupby(["task", "agent", "tool"]).size().to_dict()
    )
    for (task, agent, tool), rows in found.groupby(["task", "agent", "tool"], sort=True):
        carried, all_of_it = int(rows["later"].sum()), int(rows["result"].sum())
        yield Finding(
            finding="large_results",
            task=str(task),
            agent=str(agent),
            tool=str(tool),
            sentence=f"{len(rows):,} of {many(results[task, agent, tool], 'result')} of the tool `{tool}` in "
            f"{named(str(task), str(agent))} had more than {LARGE_RESULT_TOKENS:,} tokens, {all_of_it:,} together, and "
            f"were carried along {many(carried, 'time')}.",
            advice="Let the tool return less (a page, a filter, a summary), or drop the result once it was read.",
            saved_tokens=int(rows["saved"].sum()),
            saved_unit=_NOT_SENT,
            saved_is=ESTIMATE,
            estimate=f"What is above {LARGE_RESULT_TOKENS:,} tokens, in each later call of the agent run up to the next "
            "compaction. Tokens of a result are in proportion to its bytes.",
            counted_calls=int(rows["call_id"].nunique()),
            calls=int(rows["call_id"].nunique()),
            task_ids=most_tasks(rows, "saved"),
            call_ids=most_calls(rows, "saved"),
        )


def long_histories(steps: pd.DataFrame) -> Iterator[Finding]:
    """Yield the agents with runs of ten steps and more whose context tripled and was never cut down."""
    order = steps.sort_values(["step", "started_at_ns"], kind="stable")
    kept, how = _kept_share(steps)
    runs = order.groupby(_RUN, sort=False).agg(
        steps=("input_tokens", "size"), first=("input_tokens", "first"), peak=("input_tokens", "max"), cuts=("compactions", "sum")
    )  # fmt: skip
    place = order.groupby(_RUN, sort=False).cumcount()
    keyed = pd.MultiIndex.from_frame(order[_RUN])
    middle = (runs["steps"] // 2 - 1).reindex(keyed).to_numpy() == place.to_numpy()
    at_middle = order[middle].set_index(_RUN)["input_tokens"]
    runs["middle"] = at_middle.reindex(runs.index)
    candidates = runs[
        (runs["steps"] >= _LEAST_STEPS) & (runs["cuts"] == 0) & (runs["peak"] >= _LEAST_GROWTH * runs["first"])
    ]
    after = np.maximum(candidates["first"].astype("float64"), kept * candidates["middle"].astype("float64"))
    later = candidates["steps"] - candidates["steps"] // 2
    # To write the summary the history is read once more.
    saved = (candidates["middle"].astype("float64") - after) * later - candidates["middle"].astype("float64")
    worth = candidates.assign(saved=saved.round().astype("int64")).query("saved > 0").reset_index()
    of_agent = steps.groupby(_KEY).size().to_dict()
    for (task, agent), rows in worth.groupby(_KEY, sort=True):
        counted = int(rows["steps"].sum())
        yield Finding(
            finding="long_history",
            task=str(task),
            agent=str(agent),
            sentence=f"{many(len(rows), 'agent run')} of {named(str(task), str(agent))} grew to {int(rows['peak'].median()):,} tokens "
            f"of context (median of the peaks) in {many(int(rows['steps'].median()), 'step')}, and the history was never cut down.",
            advice="Summarise or drop old steps half-way, or split the work into tasks of their own.",
            saved_tokens=int(rows["saved"].sum()),
            saved_unit=_NOT_SENT,
            saved_is=ESTIMATE,
            estimate=f"One compaction at the middle step of each run, to {percent(kept)} of the context there ({how}) and never "
            "below the first one, less reading the history once more. What the agent would look up again is not counted.",
            counted_calls=counted,
            calls=of_agent[task, agent],
            task_ids=most_tasks(rows, "saved"),
        )


def _kept_share(steps: pd.DataFrame) -> tuple[float, str]:
    """Return the share of a context that a compaction leaves, and where it comes from."""
    cut = steps[(steps["compactions"] > 0) & (steps["grown_tokens"] < 0)]
    if len(cut) < _LEAST_COMPACTIONS:
        return _KEPT_SHARE, f"assumed: fewer than {_LEAST_COMPACTIONS} compactions are recorded"
    size = cut["input_tokens"].astype("float64")
    share = size / (size - cut["grown_tokens"].astype("float64"))
    return float(share.median()), f"median of {many(len(cut), 'recorded compaction')}"


def _instructions(system: int, tools: int) -> str:
    if not (system and tools):
        return f"{many(system or tools, 'token')} of {'system prompts' if system else 'tool definitions'}"
    return f"{many(system, 'token')} of system prompts and {tools:,} of tool definitions"


def _percent(fraction: float) -> str:
    return "less than 1 %" if 0 < fraction < 0.005 else percent(fraction)


def sub_agents(steps: pd.DataFrame, calls: pd.DataFrame) -> Iterator[Finding]:
    """Yield what sub-agents send in every call only to begin anew: the context of their first call."""
    depth = prepared(calls, ("call_id", "depth"), "findings").drop_duplicates("call_id").set_index("call_id")["depth"]
    inner = steps[steps["call_id"].map(depth) > 0].sort_values(["step", "started_at_ns"], kind="stable")
    if inner.empty:
        return
    first = inner.groupby(_RUN, sort=False)["input_tokens"].transform("first")
    inner = inner.assign(opening=np.minimum(first, inner["input_tokens"]).astype("int64"))
    of_kind = steps.groupby("task")["input_tokens"].sum()
    calls_of_kind = steps.groupby("task").size()
    for task, rows in inner.groupby("task", sort=True):
        runs = len(rows[_RUN].drop_duplicates())
        total = int(rows["input_tokens"].sum())
        if not total:
            continue
        yield Finding(
            finding="sub_agents",
            task=str(task),
            sentence=f"{many(runs, 'sub-agent run')} of {named(str(task))} sent {total:,} tokens "
            f"({_percent(total / int(of_kind.loc[task]))} of the input); {int(rows['opening'].sum()):,} of them are openings: "
            f"instructions, tools and briefing, sent with {f'each of {len(rows):,} calls' if len(rows) > 1 else 'its only call'}.",
            advice="Let one sub-agent do several small jobs, give it fewer tools, or do small jobs in the outer agent.",
            saved_tokens=int(rows["opening"].sum()),
            saved_unit=_NOT_SENT,
            saved_is=AT_MOST,
            estimate="The input of each sub-agent run's first call, in every call of the run. The outer agent would have "
            "carried more instead.",
            counted_calls=len(rows),
            calls=int(calls_of_kind.loc[task]),
            task_ids=most_tasks(rows, "opening"),
            call_ids=most_calls(rows, "opening"),
        )
