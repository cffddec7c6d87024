"""`tokenflation export`: writes a store's calls as a trace that planners and load generators read."""

import json
import sys

import click

from tokenflation.sdk.errors import ExportError, MissingExtra

try:
    from tokenflation.analysis import load
    from tokenflation.exporters import FORMATS, WriteSummary, write
except ModuleNotFoundError as error:
    if (error.name or "").startswith("tokenflation"):
        raise
    raise MissingExtra("`tokenflation export`", "analysis") from error

__all__ = ["command"]

_FORMAT_HELP = "; ".join(f"{name}: {form.meaning}" for name, form in FORMATS.items())


@click.command(name="export", short_help="Write a trace that planners and load generators read.")
@click.argument("store", metavar="DB")
@click.argument("out")
@click.option("--format", "format_", type=click.Choice(sorted(FORMATS)), required=True, help=_FORMAT_HELP)
@click.option("--block-size", type=click.IntRange(min=1), help="Tokens per block; 512 for mooncake, else the store's.")
@click.option(
    "--task", "kinds", metavar="KIND", multiple=True, help="Only tasks of this kind; may stand several times."
)
@click.option("--sessions", is_flag=True, help="mooncake: add session_id (readers differ in what it means).")
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON object.")
def command(
    store: str, out: str, format_: str, block_size: int | None, kinds: tuple[str, ...], sessions: bool, as_json: bool
) -> None:
    """Write the calls of DB to OUT, whole or not at all.

    OUT is a file; for weka it may be a folder (ending in a slash, or existing and empty): one file per task.
    """
    calls = load(store, blocks=True)
    if kinds:
        known = sorted(set(calls["task"]))
        calls = calls[calls["task"].isin(kinds)]
        if calls.empty:
            raise ExportError(f"{store} has no task of kind {', '.join(kinds)}; it has {', '.join(known[:20])}.")
    tasks = len(calls[["task", "task_id"]].drop_duplicates())
    # Standard output carries the result alone, so the bar goes to standard error, and only to a terminal.
    with click.progressbar(length=tasks, label="tasks", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
        summary = write(
            calls, out, format=format_, block_size=block_size, sessions=sessions, progress=lambda *_: bar.update(1)
        )
    click.echo(json.dumps(summary.to_dict(), indent=2) if as_json else _told(summary))


def _told(summary: WriteSummary) -> str:
    """Return the summary for people."""
    nested = f" ({summary.sub_agent_runs:,} sub-agent runs)" if summary.sub_agent_runs else ""
    total = f"{summary.input_tokens:,} input and {summary.output_tokens:,} output tokens"
    lines = [
        f"{summary.path}: {summary.format}, {summary.sessions:,} tasks{nested}, {summary.calls:,} calls, {total}",
        f"block ids: {summary.blocks:,}, of {summary.block_size} tokens",
        *(f"note: {note}" for note in summary.notes),
    ]
    if summary.skipped_call_ids:
        more = ", ..." if summary.skipped_calls > len(summary.skipped_call_ids) else ""
        lines.append(f"skipped: {', '.join(summary.skipped_call_ids)}{more}")
    return "\n".join(lines)
