"""`tokenflation structure DB`: who starts whom, what waits for what, what is repeated, wasted and lost."""

from pathlib import Path
from typing import Any

import click
import pandas as pd
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.comparison.costs import read_prices, with_cost
from tokenflation.analysis.comparison.ledger import ledger
from tokenflation.analysis.context.steps import context_steps
from tokenflation.analysis.predictability import predictability
from tokenflation.analysis.profiles.uneven import uneven_kinds, uneven_remarks
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.analysis.structure.flags import run_flags, step_flags
from tokenflation.analysis.structure.rows import (
    calls_alone,
    censored_remarks,
    load_censored,
    load_outcomes,
    load_structure,
)
from tokenflation.analysis.structure.shape import shape
from tokenflation.analysis.structure.success import expensive_failures, success_curve
from tokenflation.analysis.structure.summary import structure_summary
from tokenflation.analysis.structure.tasks import structure_tasks
from tokenflation.analysis.structure.tools import tools
from tokenflation.cli.views.kinds import of_kind
from tokenflation.cli.views.output import emit
from tokenflation.cli.views.structure import StructureView

__all__ = ["run"]


def run(store: str, kind: str | None, grain: str, prices: Path | None, as_json: bool, as_csv: bool) -> None:
    """Do what `tokenflation structure` asks."""
    if grain != "kind" and not (as_json or as_csv):
        raise click.UsageError(f"--per {grain} is for --json or --csv; give one of them.")
    calls = of_kind(analysis.load(store), kind)
    tool_calls, spans = load_structure(store)
    outcomes = load_outcomes(store)
    if grain != "kind":
        emit(_frame(grain, calls, tool_calls, spans, outcomes), as_json, as_csv, Text)
        return
    table = None if prices is None else read_prices(prices)
    costs = None if table is None else with_cost(ledger(calls, table.of_calls(calls)))
    tasks = structure_tasks(calls, tool_calls, spans)
    frame = structure_summary(calls, tool_calls, spans, outcomes, costs, tasks=tasks, rng=interval_rng())
    emit(
        frame,
        as_json,
        as_csv,
        lambda: StructureView(
            kinds=frame,
            tools=_tools(calls, tool_calls),
            failures=expensive_failures(calls, outcomes),
            remarks=(
                *censored_remarks(calls, load_censored(store)),
                *uneven_remarks(uneven_kinds(calls)),
                *filter(None, [calls_alone(store)]),
            ),
            currency="" if table is None else table.currency,
            store=store,
        ),
    )


def _frame(
    grain: str, calls: pd.DataFrame, tool_calls: pd.DataFrame, spans: pd.DataFrame, outcomes: pd.DataFrame
) -> pd.DataFrame:
    makers: dict[str, Any] = {
        "task": lambda: structure_tasks(calls, tool_calls, spans),
        "run": lambda: run_flags(calls, tool_calls),
        "flag": lambda: step_flags(calls, tool_calls),
        "tool": lambda: _tools(calls, tool_calls),
        "failure": lambda: expensive_failures(calls, outcomes),
        "curve": lambda: success_curve(calls, outcomes),
        "predictability": lambda: predictability(shape(calls, tool_calls, spans)),
    }
    made: pd.DataFrame = makers[grain]()
    return made


def _tools(calls: pd.DataFrame, tool_calls: pd.DataFrame) -> pd.DataFrame:
    told = calls["input_tokens"].notna().any()
    return tools(calls, tool_calls, steps=context_steps(calls, windows={}) if told else None)
