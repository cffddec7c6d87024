"""`tokenflation demo`: records an example agent on a real local model, checks the recording, and shows what follows."""

from pathlib import Path
from typing import Any

import click

from tokenflation.cli.options.ranges import Number, Whole

__all__ = ["command"]


@click.command("demo")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-out"), show_default=True,
              help="Folder for the store, the traces and the report; made if absent.")  # fmt: skip
@click.option(
    "--runs",
    type=Whole(min=1),
    metavar="N",
    default=10,
    show_default=True,
    help="Tasks of each of three kinds.",
)
@click.option("--model", type=click.Path(path_type=Path), help="A .gguf file to use in place of the installed weights.")
@click.option("--replay", "replayed", is_flag=True, help="Replay a recorded provider; no model runs.")
@click.option("--pace", type=Number(min=0), default=1.0, show_default=True, metavar="F",
              help="With --replay: seconds to let pass per recorded second; 0 answers at once.")  # fmt: skip
@click.option("--record-provider", "recording", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="Also write what the model's server answers to FILE, for --replay.")  # fmt: skip
def command(**given: Any) -> None:
    """Record, profile and forecast an example agent on a real local model.

    A planner with tools and sub-agents does three kinds of task, and answers each question once without an agent. The
    recorded token counts are checked, call by call, against what the model's server itself reported: exit code 1 if
    they differ.
    """
    from tokenflation.cli.work.demo import run

    run(**given)
