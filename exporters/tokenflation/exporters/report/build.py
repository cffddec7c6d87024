"""Gathers all that a page shows of a store: one analysis after the other, and a sentence where one cannot be made.

Reads the store; knows nothing of HTML.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from tokenflation import analysis
from tokenflation.analysis.comparison.baselines import Baselines, choose_baselines, without_baselines
from tokenflation.analysis.context.growth import context_kinds
from tokenflation.analysis.context.kvcache import TTLS_S, cache_summary, hits_by_bytes, hits_by_ttl
from tokenflation.analysis.context.pauses import hits_by_pause
from tokenflation.analysis.context.prefix import has_hashes
from tokenflation.analysis.context.steps import context_steps
from tokenflation.analysis.context.volatile import volatile_prefixes, volatile_sentence
from tokenflation.analysis.findings import findings
from tokenflation.analysis.refusing import store_errors
from tokenflation.analysis.statistics.censoring import marked
from tokenflation.analysis.statistics.seeds import interval_rng
from tokenflation.analysis.streams import is_store
from tokenflation.analysis.structure.rows import calls_alone, censored_remarks, load_censored, load_outcomes
from tokenflation.analysis.structure.summary import structure_summary
from tokenflation.analysis.structure.tools import tools
from tokenflation.exporters.report.names import shown_name, with_shown_names
from tokenflation.exporters.report.page import Report
from tokenflation.exporters.report.sampling import calls_of_tasks, take
from tokenflation.exporters.report.sections.cache import Cache
from tokenflation.sdk.errors import FrameError, PlanError
from tokenflation.sdk.store.cells import check_cells
from tokenflation.sdk.store.losses import read_losses
from tokenflation.sdk.store.migrations import read_version
from tokenflation.sdk.store.opening import reader

__all__ = ["BUCKET_S", "MOST_CALLS", "build_report", "with_task"]

BUCKET_S = 900
"""Seconds of a bucket of the day whose demand is drawn."""
MOST_CALLS = 100_000
"""Calls above which a page is made of a sample: all of them would take minutes."""
_FORECAST_SEED = 0  # of `tokenflation forecast` without --seed, so that both show one interval
_TTLS_S = sorted({*TTLS_S, 60.0, 900.0})
_MAX_VOLATILE = 5
_MOST_KINDS = 300
"""Task kinds above which those with most tokens alone are taken apart: each takes hundredths of a second."""
_NAMES = ("task", "agent", "model")


def build_report(
    store: str,
    *,
    named: Sequence[str] = (),
    plan: analysis.Plan | None = None,
    kv_bytes_per_token: float | None = None,
    most_calls: int | None = MOST_CALLS,
    plan_name: str = "",
    strict: bool = True,
) -> Report:
    """Return everything that the page of a store shows; a part that cannot be made comes with the reason.

    `named` are the baselines to compare with, `plan` the fleet whose demand is drawn (default: a million tasks a
    business day), also of what `kv_bytes_per_token` is where it is not given. Of a store with more calls than
    `most_calls`, totals, task kinds and percentiles are of all of them, and everything else of whole tasks taken at
    random; None: of all. With `plan_name`, the plan's whole forecast is shown under that name; it may name kinds of
    which no run was recorded only where this is not `strict`.

    Raises:
        StoreError: the store cannot be read, or holds no call.
        FrameError: a baseline in `named` is not there.
        PlanError: the plan does not fit the store, in a `strict` report.
    """
    taken = take(store, most_calls)
    calls = with_shown_names(taken.calls, _NAMES)
    lost, schema = _held(store)
    baselines = choose_baselines(calls, tuple(shown_name(name) for name in named))
    kinds = _heaviest(calls, baselines.kinds)
    part = calls if kinds is None else calls[calls["task"].isin(kinds)]
    factors, no_factors = _factors(part, baselines, strict=bool(named))
    fleet = plan or analysis.Plan(tasks_per_day=1_000_000, day_shape="business_day", bucket_s=BUCKET_S)
    censored = with_shown_names(load_censored(store), _NAMES)
    demand, no_demand, remarks = _demand(calls, censored, fleet, baselines, planned=bool(plan_name), strict=strict)
    tool_calls, spans = (with_shown_names(frame, ("name",)) for frame in (taken.tool_calls, taken.spans))
    outcomes = with_shown_names(load_outcomes(store), _NAMES)
    steps = context_steps(calls) if calls["input_tokens"].notna().any() else None
    its_steps = steps if steps is None or kinds is None else steps[steps["task"].isin(kinds)]
    return Report(
        name=Path(store).name,
        calls=calls,
        profile=with_shown_names(analysis.profile(store), _NAMES) if taken.is_sample else analysis.profile(calls),
        facts=taken.facts,
        sample=(taken.tasks, taken.all_tasks) if taken.is_sample else None,
        kinds=None if kinds is None else (len(kinds), calls["task"].nunique()),
        largest=None if taken.largest is None else with_shown_names(taken.largest, _NAMES),
        known=None if taken.known is None else with_shown_names(taken.known, _NAMES),
        factors=factors,
        no_factors=no_factors,
        demand=demand,
        no_demand=no_demand,
        plan=plan_name,
        remarks=remarks,
        lost=lost,
        schema=schema,
        alone=calls_alone(store),
        tool_calls=tool_calls,
        spans=spans,
        findings=findings(part, tool_calls, outcomes, steps=its_steps, baselines=baselines.kinds),
        contexts=None if its_steps is None else context_kinds(part, steps=its_steps, rng=interval_rng()),
        cache=None if steps is None else _cache(calls, steps, kv_bytes_per_token or fleet.kv_bytes_per_token),
        structure=structure_summary(part, tool_calls, spans, outcomes, rng=interval_rng()),
        tools=tools(calls, tool_calls, steps=steps),
    )


def with_task(report: Report, store: str, task_id: str) -> Report:
    """Return the report with the calls of that task, where it is made of a sample that may lack them.

    Raises:
        StoreError: the store cannot be read.
    """
    if report.known is None or (report.calls["task_id"] == task_id).any():
        return report
    wanted = report.known.loc[report.known["task_id"] == task_id]
    if wanted.empty:
        return report
    calls, tool_calls, spans = calls_of_tasks(store, wanted)
    return replace(
        report,
        largest=with_shown_names(calls, _NAMES),
        tool_calls=with_shown_names(tool_calls, ("name",)),
        spans=with_shown_names(spans, ("name",)),
    )


def _heaviest(calls: pd.DataFrame, compared: Sequence[str]) -> list[str] | None:
    """Return the kinds to take apart, those they are compared with among them; None: all, as there are few."""
    if calls["task"].nunique() <= _MOST_KINDS:
        return None
    tokens = calls["input_tokens"].fillna(0) + calls["output_tokens"].fillna(0)
    heavy = tokens.groupby(calls["task"]).sum().nlargest(_MOST_KINDS)
    return list(dict.fromkeys([*map(str, heavy.index), *compared]))


def _held(store: str) -> tuple[dict[str, int], str]:
    """Return the records lost, by reason, and the schema; nothing where the source is no SQLite store.

    Raises:
        StoreError: the store cannot be read.
    """
    path = Path(store)
    if not is_store(path):
        return {}, ""
    # `info` counts everything, which takes seconds where there is much.
    lost = Counter(dict(read_losses(path)))
    with store_errors(path), closing(reader(path)()) as connection:
        check_cells(connection, path, ("drops",))
        for reason, number in connection.execute("select reason, sum(count) from drops group by reason"):
            lost[reason] += int(number)
        version = read_version(connection)
    return {reason: number for reason, number in sorted(lost.items()) if number}, f"store schema {version}"


def _factors(calls: pd.DataFrame, baselines: Baselines, *, strict: bool) -> tuple[pd.DataFrame | None, str]:
    """Return the inflation against the baselines, or None and the sentence that says why; `strict` raises instead."""
    try:
        return analysis.inflation(calls, baseline=baselines.names, rng=interval_rng()), ""
    except FrameError as error:
        if strict:
            raise
        return None, str(error)


def _demand(
    calls: pd.DataFrame,
    censored: pd.DataFrame,
    plan: analysis.Plan,
    baselines: Baselines,
    *,
    planned: bool,
    strict: bool,
) -> tuple[pd.DataFrame | None, str, tuple[str, ...]]:
    """Return the demand of the agent kinds, or None and why there is none, and what was assumed on the way."""
    left_out = ""
    # A plan that names its kinds means those, a baseline among them too.
    if not (planned and isinstance(plan.tasks_per_day, Mapping)):
        calls, left_out = without_baselines(calls, baselines)
    remarks = (left_out,) if left_out else ()
    try:
        demand = analysis.forecast(
            marked(calls, censored), plan, rng=np.random.default_rng(_FORECAST_SEED), bands=planned
        )
        manifest = demand.attrs["manifest"]
        manifest["warnings"] = [*censored_remarks(calls, censored, plan.kinds), *manifest["warnings"]]
        return demand, "", remarks
    except (FrameError, PlanError) as error:
        # What is the recording's fault as well (one run, too many kinds) leaves the page without a fleet.
        if strict and not isinstance(error, FrameError):
            raise
        return None, f"There is no forecast: {error}", ()


def _cache(calls: pd.DataFrame, steps: pd.DataFrame, kv_bytes_per_token: float | None) -> Cache:
    hashed = has_hashes(calls)
    places = volatile_prefixes(calls).head(_MAX_VOLATILE) if hashed else pd.DataFrame()
    return Cache(
        whole=cache_summary(calls, by=(), rng=interval_rng()),
        models=cache_summary(calls),
        triggers=cache_summary(calls, by=("prompted_by",)),
        pauses=hits_by_pause(steps),
        ttl=hits_by_ttl(calls, ttls_s=_TTLS_S) if hashed else None,
        sizes=hits_by_bytes(calls, kv_bytes_per_token=kv_bytes_per_token) if hashed else None,
        volatile=tuple(volatile_sentence(place) for _, place in places.iterrows()),
    )
