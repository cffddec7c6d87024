"""The section that takes single tasks apart: the largest one of each kind, agent by agent and step by step."""

from collections.abc import Iterator
from html import escape

import pandas as pd

from tokenflation.analysis.structure.folding import folded
from tokenflation.analysis.structure.trees import Node, Totals, trees, walk
from tokenflation.exporters.report.figures.task import MAX_LEVELS, label_of, legend_of, task_figure
from tokenflation.exporters.report.markup import Section, chart, note, table
from tokenflation.exporters.report.names import listed, shown_name
from tokenflation.exporters.report.numbers import NOT_REPORTED, count, exact, seconds
from tokenflation.sdk.words import many

__all__ = ["task_section"]

_MAX_TASKS = 4
_MAX_NODES = 400
_MAX_CHOICES = 500
_INDENT = "\N{EM SPACE}"


def task_section(
    calls: pd.DataFrame,
    tool_calls: pd.DataFrame | None,
    spans: pd.DataFrame | None,
    chosen: str | None = None,
    known: pd.DataFrame | None = None,
) -> Section:
    """Return the icicle of the largest task of each kind that has tasks of several calls, at most four kinds.

    A server passes `chosen`, the id of a task to show instead, or "" for none: then there is a form to choose one.
    Where `calls` are a sample, `known` has every task: `task`, `task_id`, `calls`, `tokens`, `started`.
    """
    charts = []
    largest = _largest(calls)
    wanted = _with_id(calls, chosen) if chosen else []
    picker = [_picker(_known(calls) if known is None else known, chosen)] if chosen is not None else []
    if chosen and not wanted:
        picker.append(
            note(f"No task of this store has the id {shown_name(chosen)}. Below: the largest of each kind.", "warning")
        )
    largest = wanted or largest
    for place, (kind, task_id) in enumerate(largest[:_MAX_TASKS]):
        own = calls[(calls["task"] == kind) & (calls["task_id"] == task_id)]
        whole = next(trees(own, tool_calls, spans))
        small, name = _small(whole), shown_name(task_id)
        label = (
            f"Icicle of the task {name} of kind {kind}: {many(whole.total.calls, 'call')}, each as wide as its input and "
            "output tokens, below the agent runs, steps and tool calls they are inside of."
        )
        remark = " ".join(_remarks(whole))
        figure, data, legend = task_figure(small), _data(small), legend_of(small)
        charts.append(chart(f"task-{place}", f"{kind}: {name}", label, figure, data, remark, legend))
    if not charts:
        body = [*picker, note(_without_tasks(calls), "empty")]
    else:
        left = largest[_MAX_TASKS:]
        body = [*picker, f'<div class="charts">{"".join(charts)}</div>']
        body += [note(f"Not drawn, with fewer tokens: {listed([kind for kind, _ in left])}.")] if left else []
    return Section(
        key="tasks",
        title="Inside a task",
        lede="The largest task of each kind: what an agent run asked for, and which sub-agents its tool calls started. Width "
        "is input and output tokens, as billed; what has nothing below it is a call's own. `tokenflation tree DB TASK_ID` "
        "shows any task, `tokenflation export --format speedscope` all of them.",
        body=body,
    )


def _without_tasks(calls: pd.DataFrame) -> str:
    """Return why no task can be drawn, and what to do: a store of loops may lack their tokens alone."""
    if calls[["input_tokens", "output_tokens"]].notna().any(axis=None):
        return (
            "No task of this store has several calls that report their tokens. Record an agent that calls a tool and goes "
            "on: `tokenflation run --store DB SCRIPT`."
        )
    return (
        "No call of this store reports its tokens, which are the widths here. `tokenflation tree DB` shows the steps of a "
        "task without them."
    )


def _with_id(calls: pd.DataFrame, task_id: str) -> list[tuple[str, str]]:
    """Return (kind, id) of the tasks with that id; ids are unique within a kind only."""
    kinds = calls.loc[calls["task_id"] == task_id, "task"].drop_duplicates()
    return [(str(kind), task_id) for kind in kinds]


def _known(calls: pd.DataFrame) -> pd.DataFrame:
    tasks = calls.assign(tokens=calls["input_tokens"].fillna(0) + calls["output_tokens"].fillna(0)).groupby(
        ["task", "task_id"], sort=False
    )
    found = tasks.agg(started=("started_at_ns", "min"), calls=("task_id", "size"), tokens=("tokens", "sum"))
    return found.reset_index()


def _picker(tasks: pd.DataFrame, chosen: str) -> str:
    """Return a form that asks for a task by its id, the latest ones to choose from."""
    latest = tasks.sort_values("started", ascending=False, kind="stable").head(_MAX_CHOICES)
    options = "".join(
        f'<option value="{escape(str(row["task_id"]))}">{escape(str(row["task"]))}, '
        f"{many(int(row['calls']), 'call')}, {escape(count(row['tokens']))} tokens</option>"
        for row in latest.to_dict("records")
    )
    more = f" (the latest {exact(_MAX_CHOICES)} are listed; any id can be typed)" if len(tasks) > _MAX_CHOICES else ""
    return (
        f'<form class="picker" method="get" action="/#tasks"><label for="task-id">Task{more}</label>'
        f'<input id="task-id" name="task" list="task-ids" value="{escape(chosen)}" autocomplete="off" spellcheck="false">'
        f'<datalist id="task-ids">{options}</datalist><button type="submit">Show</button></form>'
    )


def _largest(calls: pd.DataFrame) -> list[tuple[str, str]]:
    """Return (kind, id) of the task of most tokens per kind, the largest first, without kinds of single calls."""
    sized = calls[["task", "task_id"]].assign(
        tokens=(calls["input_tokens"].fillna(0) + calls["output_tokens"].fillna(0)).astype("int64"), calls=1
    )
    tasks = sized.groupby(["task", "task_id"], sort=False)[["tokens", "calls"]].sum().reset_index()
    several = tasks[(tasks["calls"] > 1) & (tasks["tokens"] > 0)]
    order = several.groupby("task")["tokens"].sum().sort_values(ascending=False, kind="stable").index
    best = several.sort_values("tokens", ascending=False, kind="stable").drop_duplicates("task").set_index("task")
    return [(str(kind), str(best.loc[kind, "task_id"])) for kind in order]


def _small(task: Node) -> Node:
    """Return the tree folded until a page can hold it."""
    small = task
    for most in (24, 12, 6, 3):
        small = folded(task, most=most)
        if sum(1 for _ in walk(small)) <= _MAX_NODES:
            break
    return small


def _data(task: Node) -> str:
    rows: list[tuple[str, ...]] = []
    nests = any(node.own.calls and node.own != node.total for _, node, _ in walk(task))
    for level, node, _ in walk(task):
        if level < MAX_LEVELS and node.total.calls and len(rows) < _MAX_NODES:
            own = _tokens(node.own) if node.own.calls and node.own != node.total else ("", "")
            cells = (exact(node.total.calls), *_tokens(node.total), *(own if nests else ()), seconds(node.duration_s))
            rows.append((f"{_INDENT * level}{label_of(node)}", *cells))
    caption = f"{task.name}, {shown_name(task.id)}: tokens of each part, sub-agents included"
    owns = ["own input", "own output"] if nests else []
    header = ["inside the task", "calls", "input", "output", *owns, "time"]
    return table(f"{caption}; own leaves them out" if nests else caption, header, rows, nested=True)


def _tokens(totals: Totals) -> tuple[str, str]:
    """Return input and output; with a plus where some of the calls report none."""
    given = (totals.input_tokens, totals.calls_with_input), (totals.output_tokens, totals.calls_with_output)
    known, output = (
        f"{exact(tokens)}{'+' if calls < totals.calls else ''}" if calls else NOT_REPORTED for tokens, calls in given
    )
    return known, output


def _remarks(task: Node) -> Iterator[str]:
    total = task.total
    nodes = [(level, node) for level, node, _ in walk(task)]
    runs = sum(node.kind == "agent" for _, node in nodes)
    depth = max(node.depth for _, node in nodes if node.kind == "step")
    given = (total.input_tokens, total.calls_with_input), (total.output_tokens, total.calls_with_output)
    tokens, output = (count(value) if calls else NOT_REPORTED for value, calls in given)
    yield f"{many(total.calls, 'call')} in {many(runs, 'agent run')}, depth {depth}; tokens: input {tokens}, output {output}."
    for side, (_, calls) in zip(("Input", "Output"), given, strict=True):
        if 0 < calls < total.calls:
            yield f"{side} of {many(total.calls - calls, 'call')} is {NOT_REPORTED}: counted, without a width."
    unsure = sum(node.placed_by == "open" for _, node in nodes)
    if unsure:
        yield f"Nothing tells what started {many(unsure, 'agent run')}: drawn at the task."
    deeper = sum(level >= MAX_LEVELS and node.kind == "step" for level, node in nodes)
    if deeper:
        yield f"{many(deeper, 'call')} nested too deep to draw: part of the widths above."
