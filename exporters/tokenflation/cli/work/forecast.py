"""`tokenflation forecast`: what a fleet of the recorded tasks asks for, by hour and a day.

Knows nothing of the model.
"""

from collections.abc import Mapping
from typing import Any

import click
import numpy as np
import pandas as pd
from rich.console import Group, RenderableType

from tokenflation import analysis as an
from tokenflation.analysis.comparison.baselines import without_baselines
from tokenflation.analysis.planning.parts import nearest
from tokenflation.analysis.statistics.censoring import marked
from tokenflation.analysis.structure.rows import censored_remarks, load_censored
from tokenflation.cli.options.plan import plan_in
from tokenflation.cli.options.questions import compared, fits_of, read_fits, read_what_ifs, said_of, under
from tokenflation.cli.views.explain import explained
from tokenflation.cli.views.forecast import fits_table, forecast_page, listed, what_if_tables
from tokenflation.cli.views.output import emit, json_rows
from tokenflation.cli.work.history import with_history
from tokenflation.exporters.demand import check_ending, plan_given, write_demand
from tokenflation.sdk.errors import PlanError

__all__ = ["run"]


_IN_A_PLAN = ("shape", "modulation", "growth_per_day", "days", "kv_bytes_per_token", "level")


@with_history
def run(store: str, tasks_per_day: float | None, kinds: tuple[str, ...], plan_file: str | None, shape: str, modulation: float,
            growth_per_day: float, days: int, kv_bytes_per_token: float | None, level: float, seed: int, output: str | None,
            what_ifs: tuple[str, ...], fits: tuple[str, ...], explain: bool, target: float, as_json: bool,
            as_csv: bool) -> None:  # fmt: skip
    """Do what `tokenflation forecast` asks."""
    if as_csv and bool(what_ifs) + bool(fits) + explain > 1:
        raise click.UsageError(
            "--csv prints one table; give one of --what-if, --fits and --explain, or --json for all."
        )
    if output is not None:
        check_ending(output)
    changes, limits = read_what_ifs(what_ifs), read_fits(fits)
    if plan_file is not None:
        plan = plan_in(plan_file, stands_in_for=_IN_A_PLAN)
    else:
        plan = an.Plan(
            tasks_per_day=tasks_per_day if tasks_per_day is not None else _volumes(kinds),
            day_shape=shape,
            modulation_cv=modulation,
            growth_per_day=growth_per_day,
            days=days,
            kv_bytes_per_token=kv_bytes_per_token,
            level=level,
        )
    calls, remarks = _fleet(an.load(store), everything=isinstance(plan.tasks_per_day, Mapping))
    if kinds:
        _refuse_unknown(_volumes(kinds), calls)
    censored = load_censored(store)
    lower_bounds, calls = censored_remarks(calls, censored, plan.kinds), marked(calls, censored)
    setups = {"base": (calls, plan)} | {one.text: under(one, calls, plan) for one in changes}
    forecasts = {
        name: an.forecast(of, planned, rng=np.random.default_rng(seed), target=target)
        for name, (of, planned) in setups.items()
    }
    manifest = {**forecasts["base"].attrs["manifest"], "seed": seed, "plan": plan_given(plan)}
    # Without their manifests, which pandas copies, each kind of them, at every step.
    forecasts = {name: pd.DataFrame(one) for name, one in forecasts.items()}
    demand = forecasts["base"]
    manifest["assumptions"] = [*remarks, *manifest["assumptions"]]
    manifest["warnings"] = [*lower_bounds, *manifest["warnings"]]
    said = {one.text: said_of(one, calls, plan) for one in changes}
    if said:
        manifest["what_ifs"] = said
    if output is not None:
        _write(forecasts, manifest, output, seed)
    answers: dict[str, pd.DataFrame] = {}
    if changes:
        answers["what_if"] = compared(forecasts)
    if limits:
        answers["fits"] = fits_of(limits, setups, seed=seed)
    told = explained(demand, manifest, plan, calls) if explain else {}
    if told and as_csv:
        answers["explain"] = pd.DataFrame([(title, one) for title, all_ in told.items() for one in all_],
                                          columns=["about", "sentence"])  # fmt: skip
    emit(next(iter(answers.values()), demand), as_json, as_csv,
         lambda: _page(demand, manifest, answers, told, said),
         answer=lambda: _answer(demand, manifest, answers, told))  # fmt: skip


def _answer(demand: pd.DataFrame, manifest: Mapping[str, Any], answers: Mapping[str, pd.DataFrame],
            told: Mapping[str, list[str]]) -> dict[str, Any]:  # fmt: skip
    """Return what JSON holds: the rows of the long table by what they are of, then the answers to what was asked."""
    totals = demand["bucket_start"] < 0
    windows = demand["resource"].str.contains("_per_(?:hour|day|month)$")
    found = {
        "manifest": manifest,
        "totals": json_rows(demand[totals].drop(columns="bucket_start")),
        "windows": json_rows(demand[windows]),
        "buckets": json_rows(demand[~totals & ~windows]),
    }
    return found | {name: json_rows(one) for name, one in answers.items()} | ({"explain": told} if told else {})


def _page(demand: pd.DataFrame, manifest: Mapping[str, Any], answers: Mapping[str, pd.DataFrame],
          told: Mapping[str, list[str]], said: Mapping[str, list[str]]) -> RenderableType:  # fmt: skip
    """Return what people see: the forecast, or its explanation, then the answers to what was asked."""
    parts = forecast_page(demand, manifest)
    if told:
        parts = [one for title, sentences in told.items() for one in listed(title, sentences)][1:]
        parts += listed("Mind", manifest["warnings"], "bold")
    if "what_if" in answers:
        parts += what_if_tables(answers["what_if"], said, manifest)
    if "fits" in answers:
        parts += fits_table(answers["fits"])
    return Group(*parts)


def _write(forecasts: Mapping[str, pd.DataFrame], manifest: dict[str, Any], output: str, seed: int) -> None:
    """Write the long table, of what-ifs too where there are some, told apart by a first column `what_if`."""
    demand = forecasts["base"]
    if len(forecasts) > 1:
        demand = pd.concat([one.assign(what_if=name) for name, one in forecasts.items()], ignore_index=True)
        demand = demand[["what_if", *forecasts["base"].columns]]
    demand.attrs["manifest"] = manifest
    write_demand(demand, output, seed=seed)


def _fleet(calls: pd.DataFrame, *, everything: bool) -> tuple[pd.DataFrame, list[str]]:
    """Return the calls whose tasks make the fleet: without a baseline, which was recorded to compare with."""
    if everything:
        return calls, []
    fleet, left_out = without_baselines(calls)
    return fleet, [f"{left_out} --kind puts it in."] if left_out else []


def _refuse_unknown(volumes: Mapping[str, float], calls: pd.DataFrame) -> None:
    """Raise PlanError for a --kind that was not recorded, in the words of the option and not of a plan."""
    recorded = list(calls["task"].astype(str).unique()) if len(calls) else []
    for kind in volumes:
        if recorded and kind not in recorded:
            raise PlanError(f"--kind names {kind!r}, of which no run was recorded{nearest(kind, recorded)}")


def _volumes(kinds: tuple[str, ...]) -> dict[str, float]:
    found: dict[str, float] = {}
    for given in kinds:
        kind, equals, volume = given.rpartition("=")
        if kind in found:
            raise PlanError(f"--kind names {kind!r} twice; give each kind one volume.")
        try:
            found[kind] = float(volume)
        except ValueError:
            equals = ""
        if not equals or not kind:
            raise PlanError(f"--kind {given!r} is not KIND=N; write --kind triage=20000, for example.")
    return found
