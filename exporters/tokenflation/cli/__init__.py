"""The command line: one file per command, loaded only when that command runs, so that `run` starts without pandas."""

from tokenflation.cli.main import main

__all__ = ["main"]
