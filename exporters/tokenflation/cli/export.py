"""`tokenflation export`: writes a store's calls as a trace that planners and load generators read, or a flame graph."""

from typing import Any

import click

from tokenflation.cli.options.choices import FORMATS
from tokenflation.cli.options.ranges import Number, Whole
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]

_FORMAT_HELP = "; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items())


@click.command(name="export", short_help="Write a trace for planners and load generators, or a flame graph.")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.argument("out", type=click.Path(readable=False))
@click.option("--format", "format_", type=click.Choice(sorted(FORMATS)), required=True, help=_FORMAT_HELP)
@click.option(
    "--block-size",
    type=Whole(min=1),
    metavar="N",
    help="Tokens per block, which most readers of mooncake must be told; 512 for mooncake, else the store's.",
)
@click.option(
    "--task", "kinds", metavar="KIND", multiple=True, help="Only tasks of this kind; may stand several times."
)
@click.option("--task-id", metavar="ID", help="Only the task of this id.")
@click.option("--without-baselines", is_flag=True, help="Leave out the kind that was recorded to compare with.")
@click.option(
    "--sessions",
    is_flag=True,
    help="mooncake: add session_id and delay, as Dynamo reads them (AIPerf adds prompts up).",
)
@click.option("--quiet-s", type=Number(min=0), default=3600.0, show_default=True, metavar="S",
              help="parquet: calls of a task that is not known to be over wait until it has been quiet so long.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print what was written as one JSON object.")
def command(**given: Any) -> None:
    """Write the calls of DB to OUT, whole or not at all.

    OUT is a file; for weka it may be a folder (ending in a slash, or existing and empty): one file per task, as AIPerf
    and inference-perf want them. Dynamo takes all in one .jsonl. For parquet it is a folder, new or of an
    earlier export, to which only what is new is added.
    """
    check_there(given["store"])
    from tokenflation.cli.work.export import run

    run(**given)
