"""`tokenflation inflation DB`: how many times the tokens of a direct answer each task kind takes, and why."""

from typing import Any

import click
import numpy as np
import pandas as pd
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tokenflation import analysis
from tokenflation.analysis.inflation import direct_kinds
from tokenflation.analysis.prototypes import LEAST_RUNS
from tokenflation.cli._output import emit, human, output_options
from tokenflation.sdk.errors import FrameError

__all__ = ["command"]

# Any fixed seed will do: the same store must print the same interval.
_SEED = 20261121


@click.command("inflation")
@click.argument("store", metavar="DB")
@click.option("--baseline", metavar="KIND", help="Task kind to compare with; default: the one of single calls only.")
@output_options
def command(store: str, baseline: str | None, as_json: bool, as_csv: bool) -> None:
    """Compare each task kind with a measured baseline: the same work answered directly, without an agent.

    Billed tokens are input + output; computed tokens leave out the input read from a prefix cache. Every factor is a
    ratio of means over tasks, with its 90 % interval.
    """
    calls = analysis.load(store)
    if baseline is None:
        baseline = _only_direct_kind(calls)
        click.echo(f"Baseline: {baseline} (the only task kind whose every task is one call).", err=True)
    frame = analysis.inflation(calls, baseline=baseline, rng=np.random.default_rng(_SEED))
    emit(frame, as_json, as_csv, lambda: _tables(frame))


def _only_direct_kind(calls: pd.DataFrame) -> str:
    found = direct_kinds(calls)
    if len(found) == 1:
        return found[0]
    why = f"{len(found)} kinds do: {found}" if found else "no kind does"
    raise FrameError(
        f"inflation needs --baseline KIND: it picks one by itself only if exactly one kind has a single call in each of "
        f"its tasks, and here {why}. The kinds are {sorted(calls['task'].unique())}."
    )


def _tables(frame: pd.DataFrame) -> RenderableType:
    baseline = frame["baseline"].iloc[0]
    factors = Table(title=Text(f"Tokens per task, times those of {baseline}"), title_justify="left", title_style="bold")
    for name in ("task kind", "tasks"):
        factors.add_column(name, justify="right" if name == "tasks" else "left")
    for name in ("billed", "computed", "input", "output"):
        factors.add_column(name, justify="right")
    drivers = Table(title="What the factors are made of (they multiply)", title_justify="left", title_style="bold")
    for name in (
        "task kind",
        "calls per task",
        "input per call",
        "output per call",
        "input reported",
        "cache known by",
    ):
        drivers.add_column(name, justify="left" if name in ("task kind", "cache known by") else "right")
    for row in frame.to_dict("records"):
        factors.add_row(
            Text(row["task"]),
            f"{row['tasks']:,}",
            *(_factor(row, name) for name in ("billed", "computed", "input", "output")),
        )
        drivers.add_row(
            Text(row["task"]),
            *(
                _times(row[f"driver_{name}"])
                for name in ("calls", "input_per_call", "output_per_call", "input_reported")
            ),
            row["cached_source"],
        )
    return Group(factors, drivers, Text(_note(frame), style="dim"))


def _factor(row: dict[Any, Any], name: str) -> str:
    value, low, high = (row[f"inflation_{name}{end}"] for end in ("", "_low", "_high"))
    interval = "" if pd.isna(low) or low == high else f"\n{human(low)} to {human(high)}"
    return _times(value) + interval


def _times(value: float) -> str:
    return "-" if pd.isna(value) else f"{human(value)}x"


def _note(frame: pd.DataFrame) -> str:
    notes = [
        "Ratios of means, with 90 % intervals below them. Billed = input + output; computed = billed - cached.",
    ]
    if frame["inflation_billed_low"].isna().any():
        notes.append(f"No interval where a side has fewer than {LEAST_RUNS} tasks with usage: record more.")
    silent = int(frame["tasks_without_usage"].sum())
    if silent:
        notes.append(f"{silent:,} tasks report no usage and are left out.")
    if frame["cached_source"].str.contains("none").any():
        notes.append("Where nobody knows what was cached, computed counts the input in full.")
    return " ".join(notes)
