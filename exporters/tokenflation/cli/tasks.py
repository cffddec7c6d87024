"""`tokenflation tasks`: the kinds of tasks in a store, and what the user calls them. Needs no optional package."""

import csv
import json
import sys
from pathlib import Path

import click

from tokenflation.cli.views.words import printable
from tokenflation.sdk.store.names import rename_task, task_kinds

__all__ = ["command"]

_FIELDS = ("task", "name", "tasks", "calls", "agent_runs", "depth")
_COLUMNS = ("name", "recorded as", "tasks", "calls", "agent runs", "depth")


# `readable=False` leaves it to us to say what cannot be read and why: bad input is exit code 1, misuse is 2.
@click.command("tasks")
@click.argument("db", type=click.Path(readable=False, path_type=Path))
@click.option(
    "--rename",
    nargs=2,
    metavar="OLD NEW",
    multiple=True,
    help="Call a kind of task otherwise, or all that a pattern such as 'task-????' fits; may be given again.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: a list with one object per kind.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
def command(db: Path, rename: tuple[tuple[str, str], ...], as_json: bool, as_csv: bool) -> None:
    """Show the kinds of tasks in a store; rename them.

    Without scopes, a kind is named by its agent, where the system prompt gives that a name, or by a fingerprint of the
    system prompt and the tools, such as task-3f2a; of what has no messages, by what it asks for: task-embeddings. The
    new name holds for what is recorded already and what comes.
    """
    if as_json and as_csv:
        raise click.UsageError("--json and --csv exclude each other; give one of them.")
    for old, new in rename:
        rename_task(db, old, new)
    kinds = task_kinds(db)
    if as_json:
        click.echo(json.dumps(kinds, indent=2))
        return
    if as_csv:
        writer = csv.DictWriter(sys.stdout, _FIELDS, lineterminator="\n")  # as the other commands' lines end
        writer.writeheader()
        writer.writerows(kinds)
        return
    if not kinds:
        click.echo("no tasks: record with `tokenflation run` or `tokenflation import` first")
        return
    rows = [
        (
            printable(str(kind["name"])),
            "" if kind["task"] == kind["name"] else printable(str(kind["task"])),
            *(f"{kind[name]:,}" for name in ("tasks", "calls", "agent_runs", "depth")),
        )
        for kind in kinds
    ]
    columns = list(zip(_COLUMNS, *rows, strict=True))
    if not any(columns[1][1:]):
        del columns[1]  # nothing was renamed
    # Names stand at the left, numbers at the right.
    aligned = []
    for column in columns:
        width = max(map(len, column))
        named = column[0] in _COLUMNS[:2]
        aligned.append([cell.ljust(width) if named else cell.rjust(width) for cell in column])
    for row in zip(*aligned, strict=True):
        click.echo("  ".join(row).rstrip())
