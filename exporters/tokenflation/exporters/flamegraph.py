"""Flame graphs of tokens: one stack per call, from its task down to its step, with what the call took.

The width of a frame is the sum over the calls below it, as in a profile of a program; here the program is an agent and
what it spends are tokens. Knows nothing of the formats that viewers read.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tokenflation.analysis.columns.tasks import DATED_FROM_NS
from tokenflation.analysis.structure.trees import Node, Totals, added, trees, walk
from tokenflation.exporters.files import atomic_file
from tokenflation.exporters.summary import WriteSummary, with_progress
from tokenflation.sdk.errors import ExportError, FrameError
from tokenflation.sdk.words import many

__all__ = ["Encode", "Flames", "Sample", "flames_of", "write_flames"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One call: the frames around it, outermost first, and what it took."""

    stack: tuple[str, ...]
    totals: Totals
    """Of the call alone; what it does not report is None."""
    task_id: str
    agent_run_id: str
    model: str | None
    status: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Flames:
    """All samples, task by task and in each in the order of its tree; and the time that those with a date span."""

    samples: Sequence[Sample]
    total: Totals
    started_at_ns: int
    ended_at_ns: int
    tasks: int
    sub_agent_runs: int
    open_runs: int
    """Agent runs whose place nothing tells: they stand at their task."""


Encode = Callable[[Flames], bytes]
"""Makes a file's bytes."""


def flames_of(found: Iterator[Node]) -> Flames:
    """Return one sample per call of the trees given.

    Raises:
        ExportError: there is no tree.
    """
    samples: list[Sample] = []
    tasks = sub_agent_runs = open_runs = 0
    times: list[int] = []
    for task in found:
        tasks += 1
        stacks: list[tuple[str, ...]] = []
        run = ""
        runs: list[str] = []
        for level, node, around in walk(task):
            # The nodes around this one are those last seen at the levels above it.
            stacks[level:] = [(*(stacks[level - 1] if level else ()), _frame(node, around))]
            run = node.id if node.kind == "agent" else runs[level - 1] if level else ""
            runs[level:] = [run]
            sub_agent_runs += node.kind == "agent" and node.depth > 0
            open_runs += node.placed_by == "open"
            if node.kind == "step":
                samples.append(_sample(node, stacks[level], task.id, run))
                times += [time for time in (node.started_at_ns, node.ended_at_ns) if time is not None]
    if not samples:
        raise ExportError("There are no calls to export; check the store with `tokenflation info` and the task filter.")
    dated = [time for time in times if time >= DATED_FROM_NS] or times
    return Flames(
        samples=samples,
        total=added([sample.totals for sample in samples]),
        started_at_ns=min(dated),
        ended_at_ns=max(dated),
        tasks=tasks,
        sub_agent_runs=sub_agent_runs,
        open_runs=open_runs,
    )


def write_flames(
    calls: pd.DataFrame,
    tool_calls: pd.DataFrame | None,
    spans: pd.DataFrame | None,
    *,
    path: Path,
    name: str,
    encode: Encode,
    progress: Callable[[int, int], None] | None,
) -> WriteSummary:
    """Write the flame graph of all tasks in `calls` to one file, whole or not at all; see `registry.write`.

    Raises:
        ExportError: there are no calls, columns are missing, or the file cannot be written.
    """
    try:
        flames = flames_of(with_progress(trees(calls, tool_calls, spans), calls, progress))
    except FrameError as error:
        raise ExportError(str(error)) from error
    content = encode(flames)
    with atomic_file(path) as file:
        file.write(content)
    return WriteSummary(
        format=name,
        path=str(path),
        sessions=flames.tasks,
        calls=flames.total.calls,
        sub_agent_runs=flames.sub_agent_runs,
        input_tokens=flames.total.input_tokens,
        output_tokens=flames.total.output_tokens,
        block_size=0,
        blocks=0,
        skipped_calls=0,
        skipped_call_ids=(),
        notes=tuple(_notes(flames)),
    )


def _frame(node: Node, around: Node | None) -> str:
    # Viewers add up frames of one name wherever they stand: a step needs its agent's.
    text = f"{around.name if around else ''} step {node.step}" if node.kind == "step" else f"{node.kind} {node.name}"
    text = text.strip()
    # A lone surrogate, which no file format may hold, becomes a question mark.
    return text.encode("utf-8", "replace").decode()


def _sample(step: Node, stack: tuple[str, ...], task_id: str, run_id: str) -> Sample:
    return Sample(
        stack=stack,
        totals=step.own,
        task_id=task_id,
        agent_run_id=run_id,
        model=step.model,
        status=step.status or "ok",
    )


def _notes(flames: Flames) -> Iterator[str]:
    total = flames.total
    for side, known in (("input", total.calls_with_input), ("output", total.calls_with_output)):
        silent = total.calls - known
        if silent:
            report = "reports" if silent == 1 else "report"
            yield f"{silent:,} of {many(total.calls, 'call')} {report} no {side}: no width in {side} tokens, counted among calls"
    if flames.open_runs:
        yield f"{many(flames.open_runs, 'agent run')} of unknown place: written at their task"
