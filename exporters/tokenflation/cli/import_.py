"""`tokenflation import`: adds traces of other tools to a store. Shows progress on a terminal."""

import csv
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import click

from tokenflation.cli.views.words import printable
from tokenflation.sdk.importers import FORMATS, ImportSummary, import_paths
from tokenflation.sdk.importers.files.formats import Skipped
from tokenflation.sdk.words import many

__all__ = ["command"]

_SHOWN = 5
"""Places shown of each reason."""


def _list_formats(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not context.resilient_parsing:
        for one in FORMATS:
            click.echo(f"{one.name}: {one.title}")
        context.exit()


# `readable=False` leaves it to us to say what cannot be read and why: bad input is exit code 1, misuse is 2.
@click.command("import")
@click.argument("paths", nargs=-1, required=True, type=click.Path(readable=False, path_type=Path))
@click.option("--store", required=True, metavar="DB", type=click.Path(readable=False, path_type=Path),
              help="Store to add to.")  # fmt: skip
@click.option(
    "--task", metavar="KIND", help="Kind of the tasks; default: what the log says, else the tool's or the file's name."
)
@click.option("--skipped", "left_out", metavar="FILE", type=click.File("w", encoding="utf-8", lazy=False),
              help="Write all that was left out to FILE: CSV with `where`, `what`, `reason`, `detail`.")  # fmt: skip
@click.option("--formats", is_flag=True, is_eager=True, expose_value=False, callback=_list_formats,
              help="List the formats that are known, and exit.")  # fmt: skip
def command(paths: tuple[Path, ...], store: Path, task: str | None, left_out: TextIO | None) -> None:
    """Read logs and traces of other tools into a store.

    PATHS are files, folders and archives (tar, zip; files packed as .xz, .gz or .zst), or - for standard input. The
    format is found by content; `tokenflation import --formats` lists those that are known. A record that cannot be read
    is skipped and named; what the store has already is left as it is, and of a session that has grown the new calls are
    added.
    """
    if task == "":
        raise click.UsageError("--task needs a name that is not empty.")
    started = time.perf_counter()
    with _progress() as progress:
        summary = import_paths(paths, store, task=task, progress=progress, left_out=_lister(left_out))
    _show(summary, store, time.perf_counter() - started, listed=left_out is not None)


def _lister(file: TextIO | None) -> Callable[[Skipped], None] | None:
    """Return what writes one row for each that is left out; None without a file."""
    if file is None:
        return None
    rows = csv.writer(file)
    rows.writerow(("where", "what", "reason", "detail"))
    return lambda one: rows.writerow((one.where, one.what, one.reason, one.detail))


def _show(summary: ImportSummary, store: Path, spent_s: float, *, listed: bool) -> None:
    added = f"{many(summary.tasks, 'task')} and {many(summary.calls, 'call')} added"
    if summary.sub_agent_runs:
        added += f", {summary.sub_agent_calls:,} of them in {many(summary.sub_agent_runs, 'sub-agent run')}"
    if summary.grown:
        added += f"; {many(summary.grown, 'task')} of the store had grown"
    click.echo(f"{store}: {added}")
    if summary.calls:
        sides = (("input", summary.input_tokens, summary.calls_without_input),
                 ("output", summary.output_tokens, summary.calls_without_output))  # fmt: skip
        click.echo(", ".join(_tokens(side, tokens, silent, summary.calls) for side, tokens, silent in sides))
    click.echo(f"{many(summary.tool_calls, 'tool call')}, {many(summary.compactions, 'compaction')}")
    for title, files in sorted(summary.formats.items()):
        click.echo(f"took {many(files, 'file')}: {title}")
    for what, counts in (("session", summary.skipped), ("record", summary.broken), ("file", summary.foreign)):
        for reason, count in sorted(counts.items()):
            click.echo(f"skipped {many(count, what)}: {reason}")
            named = [one for one in summary.problems if (one.what, one.reason) == (what, reason)]
            for problem in named[:_SHOWN]:
                click.echo(printable(f"  {problem.where}" + (f": {problem.detail}" if problem.detail else "")))
            if named[_SHOWN:]:
                where = "they stand in the file of --skipped" if listed else "--skipped FILE lists all"
                click.echo(f"  and {count - _SHOWN:,} more; {where}")
    size_mb = store.stat().st_size / 1e6
    click.echo(f"{many(summary.files, 'file')} in {spent_s:.1f} s; the store has {size_mb:.1f} MB")


def _tokens(side: str, tokens: int, silent: int, calls: int) -> str:
    """Return one side's sum, and how many calls it lacks; no sum where no call reports any."""
    if silent == calls:
        return f"{side} tokens not reported by the log"
    lacks = f" ({silent:,} of {many(calls, 'call')} without: the log does not report it)" if silent else ""
    return f"{side} {many(tokens, 'token')}{lacks}"


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None] | None]:
    """Yield what draws a progress bar on standard error, or None where no one watches or rich is not installed."""
    if not sys.stderr.isatty():
        yield None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ModuleNotFoundError:
        yield None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        row = bar.add_task("importing", total=None)
        yield lambda done, total: bar.update(row, completed=done, total=total)
