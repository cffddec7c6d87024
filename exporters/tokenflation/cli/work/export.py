"""`tokenflation export`: writes a store's calls as a trace that planners and load generators read, or a flame graph."""

import json
import shlex
import sys
from pathlib import Path

import click
import pandas as pd
from click.core import ParameterSource

from tokenflation.analysis import load
from tokenflation.analysis.comparison.baselines import choose_baselines
from tokenflation.analysis.comparison.baselines import without_baselines as fleet_of
from tokenflation.analysis.structure.rows import load_structure
from tokenflation.cli.views.words import printable_lines
from tokenflation.exporters import FORMATS, WriteSummary, write
from tokenflation.exporters.registry import FlameFormat, TableFormat
from tokenflation.sdk.errors import ExportError
from tokenflation.sdk.words import many

__all__ = ["run"]


def run(
    store: str, out: str, format_: str, block_size: int | None, kinds: tuple[str, ...], task_id: str | None,
    without_baselines: bool, sessions: bool, quiet_s: float, as_json: bool,
) -> None:  # fmt: skip
    """Do what `tokenflation export` asks."""
    form = FORMATS[format_]
    _check_given(format_, form)
    if isinstance(form, TableFormat):
        if kinds or task_id is not None:
            raise click.UsageError("parquet holds all calls of DB: --task and --task-id are for the other formats.")
        sealed = _sealed(form, store, Path(out), quiet_s)
        click.echo(json.dumps(sealed.to_dict(), indent=2) if as_json else _told(sealed))
        return
    flames = isinstance(form, FlameFormat)
    calls = load(store, blocks=not flames)
    if kinds:
        known = sorted(set(calls["task"]))
        calls = calls[calls["task"].isin(kinds)]
        if calls.empty:
            raise ExportError(f"{store} has no task of kind {', '.join(kinds)}; it has {', '.join(known[:20])}.")
    elif task_id is None and not flames:
        calls = _fleet(calls, without_baselines)
    if task_id is not None:
        calls = calls[calls["task_id"] == task_id]
        if calls.empty:
            raise ExportError(
                f"{store} has no such task {task_id!r}; `tokenflation tree {shlex.quote(store)}` lists the largest ones."
            )
    tool_calls, spans = load_structure(store, task_id=task_id) if flames else (None, None)
    tasks = len(calls[["task", "task_id"]].drop_duplicates())
    # Standard output carries the result alone, so the bar goes to standard error, and only to a terminal.
    with click.progressbar(length=tasks, label="tasks", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        summary = write(
            calls, out, format=format_, block_size=block_size, sessions=sessions, tool_calls=tool_calls, spans=spans,
            progress=lambda *_: bar.update(1),
        )  # fmt: skip
    click.echo(json.dumps(summary.to_dict(), indent=2) if as_json else _told(summary))


def _check_given(name: str, form: object) -> None:
    """Raise UsageError where an option was given that says nothing of this format: it would be passed over."""
    traces = [known for known, one in FORMATS.items() if not isinstance(one, (FlameFormat, TableFormat))]
    is_trace = name in traces
    for_traces = f"for {' and '.join(traces)}"
    options = (
        ("block_size", "--block-size", is_trace, for_traces),
        ("without_baselines", "--without-baselines", is_trace, for_traces),
        ("sessions", "--sessions", name == "mooncake", "for mooncake"),
        ("quiet_s", "--quiet-s", isinstance(form, TableFormat), "for parquet"),
    )
    context = click.get_current_context()
    for parameter, option, holds, which in options:
        if not holds and context.get_parameter_source(parameter) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{option} is {which}; --format {name} has no use for it.")


def _fleet(calls: pd.DataFrame, without: bool) -> pd.DataFrame:
    """Return the calls to write; what was recorded to compare with is named, and left out where that is asked for."""
    baselines = choose_baselines(calls)
    fleet, left_out = fleet_of(calls, baselines)
    if left_out and not without:
        names = ", ".join(baselines.kinds)
        click.echo(
            f"The baseline, {printable_lines(names)}, is part of the trace; --without-baselines leaves it out.",
            err=True,
        )
        return calls
    if left_out:
        click.echo(printable_lines(left_out), err=True)
    return fleet


def _sealed(form: TableFormat, store: str, out: Path, quiet_s: float) -> WriteSummary:
    with click.progressbar(length=1, label="calls", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:

        def shown(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        return form.seal(store, out, quiet_s=quiet_s, progress=shown)


def _told(summary: WriteSummary) -> str:
    """Return the summary for people."""
    nested = f" ({many(summary.sub_agent_runs, 'sub-agent run')})" if summary.sub_agent_runs else ""
    counts = f"{many(summary.sessions, 'task')}{nested}, {many(summary.calls, 'call')}"
    lines = [
        f"{summary.path}: {summary.format}, {counts}, {_tokens(summary)}",
        *([f"block ids: {summary.blocks:,}, of {summary.block_size} tokens"] if summary.blocks else []),
        *(f"note: {note}" for note in summary.notes),
    ]
    if summary.skipped_call_ids:
        more = ", ..." if summary.skipped_calls > len(summary.skipped_call_ids) else ""
        lines.append(f"skipped: {', '.join(summary.skipped_call_ids)}{more}")
    return "\n".join(lines)


def _tokens(summary: WriteSummary) -> str:
    """Return the sums of both sides, or that nobody reports one: that is no 0."""
    if summary.input_tokens is not None and summary.output_tokens is not None:
        return f"{summary.input_tokens:,} input and {summary.output_tokens:,} output tokens"
    sides = (("input", summary.input_tokens), ("output", summary.output_tokens))
    return ", ".join(
        f"{name} tokens not reported" if sum_ is None else f"{sum_:,} {name} tokens" for name, sum_ in sides
    )
