"""`--plan FILE` of any command: reads the plan, and refuses options that it stands in for rather than ignore them."""

from collections.abc import Iterable

import click
from click.core import ParameterSource

from tokenflation.analysis.planning.plan import Plan
from tokenflation.sdk.errors import MissingExtra

__all__ = ["plan_in", "refuse_given"]


def plan_in(path: str, *, stands_in_for: Iterable[str] = ()) -> Plan:
    """Return the plan of a file; `stands_in_for` names the parameters of this command that it holds itself.

    Raises:
        click.UsageError: one of them is given too.
        PlanError: the file cannot be read, or holds no plan.
    """
    refuse_given(stands_in_for, "{option} and --plan exclude each other; write it into the plan.")
    try:
        from tokenflation.analysis.planning.file import read_plan
    except ModuleNotFoundError as error:
        raise MissingExtra("--plan", "analysis") from error
    return read_plan(path)


def refuse_given(names: Iterable[str], message: str) -> None:
    """Raise click.UsageError with `message` if one of these parameters stands on the command line.

    `{option}` in the message is the first that does, as it is written there.
    """
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            options = [one.opts[0] for one in context.command.params if one.name == name]
            raise click.UsageError(message.format(option=options[0] if options else name))
