"""Findings on what was done twice or for nothing: repeated tool calls, loops, failures, requests asked again. Pure."""

from collections.abc import Iterator

import pandas as pd

from tokenflation.analysis.findings.finding import (
    AT_LEAST,
    AT_MOST,
    Finding,
    most_calls,
    most_tasks,
    named,
)
from tokenflation.analysis.frames import prepared
from tokenflation.analysis.plain import plain_rows
from tokenflation.analysis.structure.success import expensive_failures
from tokenflation.analysis.structure.tools import known_tool_calls
from tokenflation.analysis.structure.waste import waste
from tokenflation.sdk.words import many

__all__ = ["failed_calls", "failed_tasks", "failed_tools", "loops", "repeated_requests", "repeated_tools"]

_BOTH = "input and output tokens, not used"
_RUN = ["task", "task_id", "agent_run_id"]
_FAILED_BY = {"outcome": "outcome", "scope": "an exception", "last call": "the last call"}


def repeated_tools(calls: pd.DataFrame, tool_calls: pd.DataFrame | None, flags: pd.DataFrame) -> Iterator[Finding]:
    """Yield the tools that an agent run asked for again with the same arguments; `flags` of `flags.step_flags`."""
    known = known_tool_calls(calls, tool_calls)
    places = flags[flags["flag"] == "reflection"]
    for (task, tool), rows in known.groupby(["task", "tool"], sort=True):
        again = rows[rows["repeated"]]
        if again.empty:
            continue
        results = again["result_tokens"].dropna()
        client = rows[rows["has_arguments"]]
        where = places[
            (places["task"] == task) & places["tools"].str.split(", ").map(lambda names, tool=tool: tool in names)
        ]
        yield Finding(
            finding="repeated_tools",
            task=str(task),
            tool=str(tool),
            sentence=f"{len(again):,} of {many(len(client), 'call')} of the tool `{tool}` in {named(str(task))} repeat one of "
            "the same agent run with the same arguments.",
            advice="Remember results in the program, or tell the agent what it has looked up already.",
            saved_tokens=int(results.sum()) if len(results) else None,
            saved_unit="input tokens, not sent",
            saved_is=AT_LEAST,
            estimate=f"The results of the repetitions, each counted once ({len(results):,} of {len(again):,} known); the steps "
            "that ask for them and the calls that carry them come on top. Some repetitions have a reason: a file that "
            "changed, a job that is waited for.",
            counted_calls=len(client),
            calls=len(rows),
            task_ids=tuple(map(str, again["task_id"].value_counts(sort=True).index[:3])),
            call_ids=tuple(map(str, where["call_id"].iloc[:3])),
        )


def loops(calls: pd.DataFrame, flags: pd.DataFrame) -> Iterator[Finding]:
    """Yield the kinds of tasks with stretches in which the same steps stand three times and more."""
    found = flags[flags["flag"] == "loop"]
    if found.empty:
        return
    frame = _sized(calls)
    ends = found[[*_RUN, "step", "last_step", "period", "times"]].rename(columns={"step": "first_step"})
    inside = frame.merge(ends, on=_RUN)
    inside = inside[(inside["step"] >= inside["first_step"]) & (inside["step"] <= inside["last_step"])]
    # The first round of each is no repetition.
    inside = inside.sort_values("step", kind="stable")
    inside = inside[inside.groupby([*_RUN, "first_step"]).cumcount() >= inside["period"]]
    for task, rows in inside.groupby("task", sort=True):
        own = found[found["task"] == task]
        known = rows["tokens"].dropna()
        rounds = many(int(own["times"].max()), "round")
        yield Finding(
            finding="loop",
            task=str(task),
            sentence=f"{many(len(own), 'stretch', 'stretches')} of {named(str(task))} went round in a circle, the longest "
            f"{rounds} of {', '.join(f'`{name}`' for name in str(own['tools'].iloc[int(own['times'].to_numpy().argmax())]).split(', '))}.",
            advice="Stop an agent that asks for the same thing a third time, or tell it that it does.",
            saved_tokens=int(known.sum()) if len(known) else None,
            saved_unit=_BOTH,
            saved_is=AT_MOST,
            estimate="All calls of a loop beyond its first round. To wait for something looks the same.",
            counted_calls=len(known),
            calls=len(rows),
            task_ids=most_tasks(rows.assign(tokens=rows["tokens"].fillna(0)), "tokens"),
            call_ids=tuple(map(str, own["call_id"].iloc[:3])),
        )


def failed_tools(calls: pd.DataFrame, tool_calls: pd.DataFrame | None) -> Iterator[Finding]:
    """Yield the kinds of tasks with steps all of whose tool calls failed."""
    names = ("call_id", "kind", "name", "failed")
    asked = pd.DataFrame(list(plain_rows(tool_calls, names)), columns=list(names))
    asked = asked[asked["kind"] == "client"]
    if not asked["failed"].notna().any():
        return
    step = asked.assign(bad=asked["failed"].eq(1), known=asked["failed"].notna())
    step = step.groupby("call_id", sort=False).agg(bad=("bad", "all"), known=("known", "all")).reset_index()
    frame = _sized(calls).merge(step[step["known"]], on="call_id")
    tools = asked[asked["failed"].eq(1)].groupby("call_id")["name"].first()
    for task, rows in frame.groupby("task", sort=True):
        bad = rows[rows["bad"]]
        known = bad["tokens"].dropna()
        if bad.empty:
            continue
        top = bad["call_id"].map(tools).value_counts()
        yield Finding(
            finding="failed_tools",
            task=str(task),
            sentence=f"{len(bad):,} of {many(len(rows), 'step')} of {named(str(task))} with tool calls brought errors and nothing "
            f"else, most of the tool `{top.index[0]}` ({many(int(top.iloc[0]), 'time')}).",
            advice="Say in the tool's definition what fails, check arguments before the model sees an error, or mend the tool.",
            saved_tokens=int(known.sum()) if len(known) else None,
            saved_unit=_BOTH,
            saved_is=AT_MOST,
            estimate="The whole call that asked for a tool that failed. An error can also be news that the agent needs.",
            counted_calls=len(known),
            calls=len(bad),
            task_ids=most_tasks(bad.assign(tokens=bad["tokens"].fillna(0)), "tokens"),
            call_ids=most_calls(bad.assign(tokens=bad["tokens"].fillna(0)), "tokens"),
        )


def failed_calls(calls: pd.DataFrame) -> Iterator[Finding]:
    """Yield the kinds of tasks with calls that came to no whole answer, or had to be tried again."""
    lost = waste(calls)
    sized = _sized(calls)
    for task, rows in lost.groupby("task", sort=True):
        failed, retries = int(rows["failed_calls"].sum()), int(rows["retries"].sum())
        if not failed and not retries:
            continue
        reporting = int(rows["failed_with_usage"].sum())
        bad = sized[(sized["task"] == task) & ((sized["status"] != "ok") | (sized["attempts"] > 1))]
        yield Finding(
            finding="failed_calls",
            task=str(task),
            sentence=_failures(named(str(task)), failed, retries)
            + _lost_time(rows, int((bad["status"] == "ok").sum())),
            advice="Look at the kinds of errors (`tokenflation tree DB TASK_ID`): limits of rate, time or context each have their own cure.",
            saved_tokens=int(rows["failed_tokens"].fillna(0).sum()) if reporting else None,
            saved_unit=_BOTH,
            saved_is=AT_LEAST,
            estimate=(f"What failed calls report ({reporting:,} of {failed:,}). " if failed else "")
            + "No provider reports the tokens of an attempt that came to no answer.",
            counted_calls=reporting,
            calls=failed or len(bad),
            task_ids=tuple(map(str, bad["task_id"].value_counts().index[:3])),
            call_ids=tuple(map(str, bad["call_id"].iloc[:3])),
        )


def _failures(kind: str, failed: int, retries: int) -> str:
    if not failed:
        return f"{many(retries, 'attempt')} of {kind} had to be repeated"
    repeated = f" and {many(retries, 'attempt')} had to be repeated" if retries else ""
    return f"{many(failed, 'call')} of {kind} failed{repeated}"


def _lost_time(rows: pd.DataFrame, retried: int) -> str:
    """Return what a kind's failures and retries took, as far as their ends are known, as the end of a sentence."""
    unknown = int(rows["failed_without_end"].sum()) + retried - int(rows["retry_ns_known"].sum())
    seconds = (int(rows["retry_ns"].fillna(0).sum()) + int(rows["failed_ns"].sum())) / 1e9
    if unknown and not seconds:
        return "; how long that took is not known."
    took = f"{seconds:,.0f} s" if seconds >= 9.5 else f"{seconds:.2g} s"
    return f"; that took {'at least ' if unknown else ''}{took}."


def repeated_requests(calls: pd.DataFrame) -> Iterator[Finding]:
    """Yield the kinds of tasks that sent a request again that had been answered."""
    for task, rows in waste(calls).groupby("task", sort=True):
        again = int(rows["repeated_calls"].sum())
        if not again:
            continue
        known, total = int(rows["requests_known"].sum()), int(rows["calls"].sum())
        yield Finding(
            finding="repeated_requests",
            task=str(task),
            sentence=f"{many(again, 'request')} of {named(str(task))} had been answered before in the same task, word for word the same.",
            advice="Keep the first answer, unless you ask for several samples on purpose.",
            saved_tokens=int(rows["repeated_tokens"].fillna(0).sum()) or None,
            saved_unit=_BOTH,
            saved_is=AT_MOST,
            estimate="All tokens of the later ones. A second sample of the same request can be meant.",
            counted_calls=known,
            calls=total,
            task_ids=tuple(map(str, rows.nlargest(3, "repeated_calls").query("repeated_calls > 0")["task_id"])),
        )


def failed_tasks(calls: pd.DataFrame, outcomes: pd.DataFrame | None) -> Iterator[Finding]:
    """Yield the kinds of tasks of which some failed."""
    failed = expensive_failures(calls, outcomes)
    tasks = calls.groupby("task")["task_id"].nunique()
    for task, rows in failed.groupby("task", sort=True):
        known = rows["tokens"].dropna()
        by = ", ".join(
            f"{count:,} by {_FAILED_BY[str(how)]}" for how, count in rows["failed_by"].value_counts().items()
        )
        yield Finding(
            finding="failed_tasks",
            task=str(task),
            sentence=f"{len(rows):,} of {many(int(tasks.loc[task]), 'task')} of {named(str(task))} failed ({by}).",
            advice="Start with the most expensive ones; a limit on tokens (`task(max_tokens=)`) ends them earlier.",
            saved_tokens=int(known.sum()) if len(known) else None,
            saved_unit=_BOTH,
            saved_is=AT_MOST,
            estimate="All tokens of the tasks that failed. Tasks of which nothing says how they ended are not counted, and baselines are left out.",
            counted_calls=int(rows["calls_with_usage"].sum()),
            calls=int(rows["calls"].sum()),
            task_ids=tuple(map(str, rows["task_id"].iloc[:3])),
        )


def _sized(calls: pd.DataFrame) -> pd.DataFrame:
    """Return the calls with their input and output tokens together, missing where a call reports neither."""
    names = ("call_id", *_RUN, "step", "status", "attempts", "input_tokens", "output_tokens")
    frame = prepared(calls, names, "findings")
    return frame.assign(tokens=frame[["input_tokens", "output_tokens"]].sum(axis=1, min_count=1).astype("Int64"))
