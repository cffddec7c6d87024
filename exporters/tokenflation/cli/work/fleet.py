"""Reads the calls of a fleet from a store: baselines are left out, and told. Knows nothing of forecasts."""

import click
import pandas as pd

from tokenflation import analysis as an
from tokenflation.analysis.comparison.baselines import without_baselines

__all__ = ["fleet_of"]


def fleet_of(store: str, *, asked: str | None = None) -> pd.DataFrame:
    """Return the calls of a store but for its baselines', which are told.

    Where the kind that is asked for is a baseline, its calls are in.
    """
    calls = an.load(store)
    fleet, left_out = without_baselines(calls)
    if asked in set(calls["task"].astype(str)) - set(fleet["task"].astype(str)):
        return calls
    if left_out:
        click.echo(left_out, err=True)
    return fleet
