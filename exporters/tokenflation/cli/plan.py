"""`tokenflation plan init`: a commented plan of the recorded task kinds, to be edited.

Knows nothing of the demand model.
"""

from typing import Any

import click

from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.group("plan")
def command() -> None:
    """Write a plan of what a fleet will be asked to do."""


@command.command("init")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE",
              help="Write it here; without it, print it. A file that is there is not replaced.")  # fmt: skip
def _init(**given: Any) -> None:
    """Write a commented YAML plan with the task kinds of the store."""
    check_there(given["store"])
    from tokenflation.cli.work.plan import run

    run(**given)
