"""`tokenflation forecast`: what a fleet of the recorded tasks asks for, by hour and a day. Knows nothing of the model."""

import json
from collections.abc import Mapping
from typing import Any

import click
from click.core import ParameterSource

from tokenflation.sdk.errors import MissingExtra, PlanError

try:
    import numpy as np
    import pandas as pd
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text
except ModuleNotFoundError as error:
    raise MissingExtra("`tokenflation forecast`", "analysis") from error

from tokenflation import analysis as an
from tokenflation.analysis.baselines import choose_baselines, without_baselines
from tokenflation.analysis.plan import SHAPES
from tokenflation.analysis.structure_rows import censored_remarks, load_censored
from tokenflation.cli._history import with_history
from tokenflation.cli._output import emit, human, json_rows, output_options
from tokenflation.exporters.demand import write_demand

__all__ = ["command"]

_SHOWN = ("prefill_tokens_per_s", "prefill_no_cache_tokens_per_s", "decode_tokens_per_s", "requests_per_s",
          "concurrent_calls", "active_tasks", "kv_tokens", "kv_bytes")  # fmt: skip
_NAMES = {"prefill_tokens_per_s": "prefill, cache used", "prefill_no_cache_tokens_per_s": "prefill, no cache",
          "decode_tokens_per_s": "decode", "requests_per_s": "requests", "concurrent_calls": "calls in flight",
          "active_tasks": "tasks in progress", "kv_tokens": "context held", "kv_bytes": "KV cache held",
          "tasks": "tasks", "calls": "calls", "input_tokens": "input", "prefill_tokens": "input to compute",
          "output_tokens": "output"}  # fmt: skip


@click.command("forecast")
@click.argument("store", metavar="DB", required=False)
@click.option(
    "--tasks-per-day", type=float, metavar="N", help="Tasks a day of all kinds together, in the recorded mix."
)
@click.option("--kind", "kinds", multiple=True, metavar="KIND=N", help="Tasks a day of one kind; repeat for others.")
@click.option("--plan", "plan_file", type=click.Path(), metavar="FILE",
              help="A plan in YAML, in place of all options above and below but --seed; see `tokenflation plan init`.")  # fmt: skip
@click.option("--shape", type=click.Choice(list(SHAPES)), default="flat", show_default=True, help="Shape of a day.")
@click.option("--modulation", type=float, default=0.0, show_default=True, metavar="CV",
              help="Slow random swing of the whole load; 0 is Poisson arrivals.")  # fmt: skip
@click.option("--growth-per-day", type=float, default=0.0, show_default=True, metavar="F", help="Growth of the volume.")
@click.option("--days", type=int, default=1, show_default=True, help="Days to look ahead.")
@click.option("--kv-bytes-per-token", type=float, metavar="B", help="Also give KV cache in bytes.")
@click.option("--level", type=float, default=0.9, show_default=True, help="Probability that an interval claims.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the prototypes' draws.")
@click.option("-o", "--output", type=click.Path(dir_okay=False), metavar="FILE",
              help="Also write the long table as .parquet, .csv or .json, and a manifest beside it.")  # fmt: skip
@output_options
@with_history
def command(store: str, tasks_per_day: float | None, kinds: tuple[str, ...], plan_file: str | None, shape: str, modulation: float,
            growth_per_day: float, days: int, kv_bytes_per_token: float | None, level: float, seed: int, output: str | None,
            as_json: bool, as_csv: bool) -> None:  # fmt: skip
    """Say what a fleet asks for: prefill and decode tokens per second, calls in flight, by hour, with intervals."""
    if (tasks_per_day is not None) + bool(kinds) + (plan_file is not None) != 1:
        raise click.UsageError("give one of --tasks-per-day N, --plan FILE, or one or more --kind KIND=N.")
    if plan_file is not None:
        plan = _read_plan(plan_file)
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
    lower_bounds = censored_remarks(calls, load_censored(store))
    demand = an.forecast(calls, plan, rng=np.random.default_rng(seed))
    manifest = {**demand.attrs["manifest"], "seed": seed}
    manifest["assumptions"] = [*remarks, *manifest["assumptions"]]
    manifest["warnings"] = [*lower_bounds, *manifest["warnings"]]
    if output is not None:
        demand.attrs["manifest"] = manifest
        write_demand(demand, output, seed=seed)
    if as_json and not as_csv:
        totals, buckets = demand[demand["bucket_start"] < 0], demand[demand["bucket_start"] >= 0]
        answer = {"manifest": manifest, "totals": json_rows(totals.drop(columns="bucket_start")),
                  "buckets": json_rows(buckets)}  # fmt: skip
        click.echo(json.dumps(answer, indent=2, allow_nan=False))
        return
    emit(demand, as_json, as_csv, lambda: _page(demand, manifest))


def _read_plan(path: str) -> an.Plan:
    """Return the plan of the file; refuse options that it stands in for rather than ignore them."""
    context = click.get_current_context()
    for name in ("shape", "modulation", "growth_per_day", "days", "kv_bytes_per_token", "level"):
        if context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(f"{option} and --plan exclude each other; write it into the plan.")
    try:
        from tokenflation.analysis.plan_file import read_plan
    except ModuleNotFoundError as error:
        raise MissingExtra("--plan", "analysis") from error
    return read_plan(path)


def _fleet(calls: pd.DataFrame, *, everything: bool) -> tuple[pd.DataFrame, list[str]]:
    """Return the calls whose tasks make the fleet: without a baseline, which was recorded to compare with."""
    if everything:
        return calls, []
    fleet, left_out = without_baselines(calls, choose_baselines(calls))
    return fleet, [f"{left_out} --kind puts it in."] if left_out else []


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


def _page(demand: pd.DataFrame, manifest: dict[str, Any]) -> RenderableType:
    parts: list[RenderableType] = [
        _support(manifest),
        Text(),
        _totals(demand, manifest),
        Text(),
        _busiest(demand, manifest),
    ]
    for title, key, style in (("Mind", "warnings", "bold"), ("Next", "advice", ""), ("Assumed", "assumptions", "")):
        if manifest[key]:
            parts += [
                Text(),
                Text(f"{title}:", style="bold"),
                *(Text(f"- {one}", style=style) for one in manifest[key]),
            ]
    return Group(*parts)


def _support(manifest: dict[str, Any]) -> Table:
    table = Table(title="What it rests on", title_justify="left", title_style="bold")
    table.add_column("task kind")
    for name in ("runs", "tasks a day", "mean known to", "top tenth takes"):
        table.add_column(name, justify="right")
    for kind in manifest["kinds"]:
        half, top = kind["half_width"], kind["top_tenth_share"]
        known = f"± {half:.0%}" if half is not None else "unknown"
        share = f"{top:.0%} of input" if top is not None else "unknown"
        table.add_row(Text(kind["task"]), f"{kind['runs']:,}", human(kind["tasks_per_day"]), known, share)
    return table


def _totals(demand: pd.DataFrame, manifest: dict[str, Any]) -> Table:
    whole = demand[(demand["bucket_start"] < 0) & ~demand["statistic"].str.contains("_peak_")]
    rows = whole.pivot_table(index="resource", columns="statistic", values="value", sort=False)
    table = Table(title="A day in all", title_justify="left", title_style="bold")
    table.add_column("")
    for name in ("mean", f"{manifest['level']:.0%} interval of the mean"):
        table.add_column(name, justify="right")
    for resource, row in rows.iterrows():
        unit = " tokens" if "tokens" in str(resource) or str(resource) == "prefill_tokens" else ""
        table.add_row(_NAMES[str(resource)], human(row["mean"]) + unit, _interval(row))
    return table


def _busiest(demand: pd.DataFrame, manifest: dict[str, Any]) -> Table:
    by_hour = demand[demand["bucket_start"] >= 0]
    title = (
        "The busiest hour" if len(set(manifest["day_weights"])) > 1 or manifest["days"] > 1 else "Any hour (flat day)"
    )
    table = Table(title=title, title_justify="left", title_style="bold",
                  caption="p50, p95, p99: of the load at one instant, prototypes included. Day's peak: the highest one-minute "
                  "instant of the busiest day, not passed in 95 of 100 days.",
                  caption_justify="left")  # fmt: skip
    for name in ("", "unit"):
        table.add_column(name)
    for name in ("mean", f"{manifest['level']:.0%} interval of the mean", "p50", "p95", "p99", "day's peak"):
        table.add_column(name, justify="right")
    highest = demand[demand["statistic"] == "day_peak_p95"].set_index("resource")["value"]
    for resource in _SHOWN:
        mine = by_hour[by_hour["resource"] == resource]
        if mine.empty:
            continue
        wide = mine.pivot_table(index="bucket_start", columns="statistic", values="value")
        row = wide.iloc[int(wide["mean"].to_numpy().argmax())]
        cells = (human(row[name]) for name in ("p50", "p95", "p99"))
        peak = human(highest.get(resource))
        table.add_row(_NAMES[resource], mine["unit"].iloc[0], human(row["mean"]), _interval(row), *cells, peak)
    return table


def _interval(row: "pd.Series[float]") -> str:
    if "mean_low" not in row.index or pd.isna(row["mean_low"]):
        return "too few runs"
    return f"{human(row['mean_low'])} – {human(row['mean_high'])}"
