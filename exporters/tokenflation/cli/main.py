"""The `tokenflation` command: finds a command's file by name and turns our errors into one clear line.

Knows nothing of what the commands do. Exit codes: 0 done, 1 the input is wrong, 2 usage, 130 stopped by
Ctrl-C, 143 by SIGTERM.
"""

import codecs
import contextlib
import difflib
import errno
import importlib
import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

import click

from tokenflation.cli.views.words import printable_lines
from tokenflation.sdk.errors import MissingExtra, TokenflationError

__all__ = ["main"]

# name -> (module, one line of help, the extra it needs). The help stands here too so that `tokenflation --help` imports
# none of them.
_COMMANDS = {
    "run": ("tokenflation.cli.run", "Run a Python program and record its model calls.", ""),
    "import": ("tokenflation.cli.import_", "Read traces of other tools into a store.", ""),
    "profile": ("tokenflation.cli.profile", "Show where the tokens of each task kind go.", "analysis"),
    "tasks": ("tokenflation.cli.tasks", "Show the kinds of tasks; rename them.", ""),
    "tree": ("tokenflation.cli.tree", "Show what one task did: agents, steps, tools, tokens, time.", "analysis"),
    "structure": (
        "tokenflation.cli.structure",
        "Show agents that start agents, time, tools, repetitions, waste, success.",
        "analysis",
    ),
    "inflation": ("tokenflation.cli.inflation", "Compare task kinds with a direct answer.", "analysis"),
    "context": ("tokenflation.cli.context", "Show how contexts grow, what is sent again, what is cut.", "analysis"),
    "cache": ("tokenflation.cli.cache", "Show what a prefix cache gave and could give.", "analysis"),
    "diff": ("tokenflation.cli.diff", "Say why two stores differ in what a task takes.", "analysis"),
    "forecast": ("tokenflation.cli.forecast", "Say what a fleet of these tasks will ask for.", "analysis"),
    "backtest": ("tokenflation.cli.backtest", "Say how forecasts of a recorded demand would have done.", "analysis"),
    "plan": ("tokenflation.cli.plan", "Write a plan of what a fleet will be asked to do.", "analysis"),
    "export": (
        "tokenflation.cli.export",
        "Write a trace for planners and load generators, or a flame graph.",
        "analysis",
    ),
    "report": ("tokenflation.cli.report", "Write one self-contained HTML page.", "report"),
    "serve": ("tokenflation.cli.serve", "Show the report as a page that follows its store.", "serve"),
    "info": ("tokenflation.cli.info", "Show what a store holds and what was lost.", ""),
    "demo": ("tokenflation.cli.demo", "Record, profile and forecast an example agent on a real local model.", "demo"),
}


_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_PLAIN = {"±": "+-", "×": "x", "›": ">", "…": "..."}


class _Lazy(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, _ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            near = " or ".join(map(repr, difflib.get_close_matches(name, _COMMANDS)))
            raise click.UsageError(f"No such command {name!r}.{f' Did you mean {near}?' if near else ''}", ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            # click would say "Aborted!" with the exit code of wrong input, which scripts take for an answer.
            _say_stopped(ctx.obj)
        except (ModuleNotFoundError, MissingExtra) as error:
            name = str(ctx.invoked_subcommand)
            extra = _COMMANDS[name][2]
            of_us = isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("tokenflation")
            if not extra or of_us:
                raise
            raise MissingExtra(f"`tokenflation {name}`", extra) from error

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line, _) in _COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tokenflation")
def _tokenflation() -> None:
    """Record what an agent asks of its models, profile it per task, and forecast what a fleet of it will need."""


def _plain(error: UnicodeError) -> tuple[str | bytes, int]:
    """Return what stands for characters that the output's encoding lacks: a sign alike, or the escape of a name's."""
    if isinstance(error, UnicodeEncodeError) and (sign := _PLAIN.get(error.object[error.start])):
        return sign, error.start + 1
    return codecs.backslashreplace_errors(error)


def _print_whatever_the_encoding() -> None:
    codecs.register_error("tokenflation.plain", _plain)
    if sys.stdout is None:  # closed by whoever started us
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
    if isinstance(sys.stdout, io.TextIOWrapper) and not sys.stdout.encoding.lower().startswith("utf"):
        sys.stdout.reconfigure(errors="tokenflation.plain")


@contextlib.contextmanager
def _stopped_by_signals(came: list[int]) -> Iterator[None]:
    """Let SIGTERM end a command as Ctrl-C does, with all that it has open closed; note in `came` which of them came.

    A second one does what it did before.
    """
    before: dict[int, Any] = {}

    def stop(number: int, _frame: FrameType | None) -> NoReturn:
        came.append(number)
        signal.signal(number, before[number])
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) == usual:
                before[number] = usual
                signal.signal(number, stop)
    try:
        yield
    finally:
        for changed, handler in before.items():
            signal.signal(changed, handler)


def _say_stopped(came: Sequence[int]) -> NoReturn:
    number = came[0] if came else signal.SIGINT
    click.echo(f"\ntokenflation: stopped by {'Ctrl-C' if number == signal.SIGINT else 'SIGTERM'}.", err=True)
    sys.exit(128 + number)  # as shells count


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; raises SystemExit with the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    of_program = given[:1] == ["run"]  # the output, the signals and what is raised are the program's
    if not of_program:
        _print_whatever_the_encoding()
    came: list[int] = []
    with contextlib.nullcontext() if of_program else _stopped_by_signals(came):
        try:
            _tokenflation.main(
                args=list(arguments) if arguments is not None else None, prog_name="tokenflation", obj=came
            )
        except Exception as error:
            if came:  # what a signal breaks off may say so in words of its own
                _say_stopped(came)
            if isinstance(error, TokenflationError):
                click.echo(f"tokenflation: {printable_lines(str(error))}", err=True)
                sys.exit(1)
            if of_program or not isinstance(error, OSError) or error.errno not in _FULL:
                raise
            click.echo(f"tokenflation: the output cannot be written: {error.strerror}. Free some room.", err=True)
            # Else Python tries again as it ends, and says so.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)


if __name__ == "__main__":
    main()
