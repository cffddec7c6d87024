"""`tokenflation serve DB`: the report as a page that follows its store, on this machine alone."""

from typing import Any

import click

from tokenflation.cli.options.ranges import Whole
from tokenflation.cli.options.stores import check_there

__all__ = ["command"]


@click.command("serve")
@click.argument("store", metavar="DB", type=click.Path(readable=False))
@click.option("--port", type=Whole(0, 65535), metavar="N", default=8321, show_default=True,
              help="Port on 127.0.0.1; 0: any that is free.")  # fmt: skip
@click.option("--plan", "plan_file", type=click.Path(), metavar="FILE",
              help="A plan in YAML whose forecast the page shows, and follows as you edit it; see `tokenflation plan init`.")  # fmt: skip
def command(**given: Any) -> None:
    """Show the calls of DB as a page that follows them, on this machine alone.

    The page is that of `tokenflation report`; any task can be taken apart. It listens on 127.0.0.1 only. Ctrl-C stops
    it.
    """
    check_there(given["store"])
    from tokenflation.cli.work.serve import run

    run(**given)
