"""The command line: one file per command for what it takes, light; what it does is loaded only when it runs."""

from tokenflation.cli.main import main

__all__ = ["main"]
