"""`tokenflation diff A.db B.db`: what a task takes in B against A, by how much it changed, and what drives it."""

from typing import Any, Literal

import click
import pandas as pd

from tokenflation import analysis
from tokenflation.analysis.comparison.baselines import Baselines, choose_baselines, direct_kinds, without_baselines
from tokenflation.analysis.comparison.costs import read_prices
from tokenflation.analysis.comparison.difference import diff
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.cli.views.diff import page
from tokenflation.cli.views.output import emit, json_rows
from tokenflation.sdk.errors import FrameError

__all__ = ["run"]


def run(
    before: str, after: str, measure: Literal["billed", "computed", "cost"], price_file: str | None,
    method: Literal["lmdi", "shapley"], view: Literal["work", "calls"], total: bool, pooled: bool, with_baselines: bool,
    model_a: str | None, model_b: str | None, as_json: bool, as_csv: bool,
) -> None:  # fmt: skip
    """Do what `tokenflation diff` asks."""
    if measure == "cost" and price_file is None:
        raise click.UsageError("--measure cost needs --prices FILE: costs are by your prices, none are built in.")
    prices = None if price_file is None else read_prices(price_file)
    a, b = _of_model(analysis.load(before), model_a, before), _of_model(analysis.load(after), model_b, after)
    remarks: list[str] = []
    if not with_baselines:
        a, b, remarks = _fleets(a, b)
    found = diff(
        a, b, measure=measure, method=method, view=view, total=total, pooled=pooled, prices=prices,
        rng=interval_rng(),
    )  # fmt: skip
    manifest: dict[str, Any] = {**found.attrs["manifest"], "remarks": remarks}
    manifest["a"], manifest["b"] = {"store": before, **manifest["a"]}, {"store": after, **manifest["b"]}
    emit(found, as_json, as_csv, lambda: page(found, manifest),
         answer=lambda: {"manifest": manifest, "effects": json_rows(found)})  # fmt: skip


def _of_model(calls: pd.DataFrame, name: str | None, store: str) -> pd.DataFrame:
    """Return the calls of the tasks all of whose calls are of the model, by the name that answered or was asked for."""
    if name is None:
        return calls
    fits = (calls["response_model"] == name) | (calls["model"] == name)
    fits = fits.fillna(False).astype(bool)
    kept = calls[fits.groupby([calls["task"], calls["task_id"]]).transform("all")]
    if kept.empty:
        models = sorted({str(one) for one in calls["response_model"].fillna(calls["model"]).dropna()})
        raise FrameError(f"{store} has no task all of whose calls are of the model {name!r}; it has {models[:20]}.")
    return kept


def _fleets(a: pd.DataFrame, b: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    """Return both sides without baselines: a kind that is one on one side, and single calls on the other."""
    sides = (a, b)
    single = [set(direct_kinds(side)) for side in sides]
    all_kinds = [set(side["task"]) for side in sides]
    chosen = {kind for side in sides for kind in choose_baselines(side).kinds}
    kinds = tuple(sorted(kind for kind in chosen if all(kind in one or kind not in there
                                                        for one, there in zip(single, all_kinds, strict=True))))  # fmt: skip
    baselines = Baselines(kinds=kinds, why="")
    (a, said_a), (b, said_b) = (without_baselines(side, baselines) for side in sides)
    said = said_a or said_b
    return a, b, [f"{said} --with-baselines keeps it in."] if said else []
