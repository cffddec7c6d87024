"""Plain-language findings: where tokens are spent for nothing or twice, ranked by what could be saved, with evidence.

Pure.

Defines no metric of its own beyond the savings: what is re-sent, cached, repeated, failed or volatile is found by
`context`, `volatile`, `flags`, `tools`, `waste` and `success`; the rules stand in `findings.cache`, `findings.context`
and `findings.waste`. Every finding says how its saving is estimated. Findings overlap (a loop repeats tool calls), so
savings do not add up.
"""

from collections.abc import Iterable, Sequence

import pandas as pd

from tokenflation.analysis.comparison.baselines import choose_baselines
from tokenflation.analysis.context.steps import context_steps
from tokenflation.analysis.findings.cache import expired_cache, uncached_history, volatile_beginnings
from tokenflation.analysis.findings.context import large_results, long_histories, overhead, sub_agents, unused_tools
from tokenflation.analysis.findings.finding import FINDING_COLUMNS, Finding, finding_rows
from tokenflation.analysis.findings.waste import (
    failed_calls,
    failed_tasks,
    failed_tools,
    loops,
    repeated_requests,
    repeated_tools,
)
from tokenflation.analysis.frames import prepared
from tokenflation.analysis.structure.flags import step_flags
from tokenflation.sdk.errors import PlanError

__all__ = ["FINDINGS", "FINDING_COLUMNS", "findings"]

FINDINGS: dict[str, str] = {
    "volatile_prefix": "Changing beginning of the prompt",
    "expired_cache": "Cache had expired",
    "uncached_history": "History sent again and not read from the cache",
    "overhead": "Long instructions",
    "unused_tools": "Tool definitions of no use",
    "long_history": "Long history that nobody cut down",
    "large_results": "Large tool results",
    "sub_agents": "Openings of sub-agents",
    "repeated_tools": "Repeated tool calls",
    "loop": "Loops",
    "failed_tools": "Steps whose tools failed",
    "failed_calls": "Failed calls and retries",
    "repeated_requests": "The same request again",
    "failed_tasks": "Failed tasks",
}
"""The kinds of findings by key, with what people call them."""

_CALLS = ("call_id", "task", "input_tokens", "output_tokens")


def findings(
    calls: pd.DataFrame,
    tool_calls: pd.DataFrame | None = None,
    outcomes: pd.DataFrame | None = None,
    *,
    steps: pd.DataFrame | None = None,
    baselines: Sequence[str] | None = None,
    least_share: float = 0.001,
) -> pd.DataFrame:
    """Return one row per finding, what saves most tokens first; columns as in `findings.finding.FINDING_COLUMNS`.

    `calls` as `analysis.load` returns it (with `blocks=True`, beginnings that change are looked for too), `tool_calls`
    as `structure.rows.load_structure`, `outcomes` as `structure.rows.load_outcomes`, `steps` what
    `context.steps.context_steps` made of the same calls. `baselines` are kinds that were recorded to compare with
    (None: those that `comparison.baselines` chooses); that they fail is no finding, as no fleet runs them. A finding
    counts from `least_share` of all reported tokens on; one whose tokens no call reports stands last, without a saving.
    No finding is no proof that there is nothing to save: only what is recorded is seen.

    Raises:
        FrameError: `calls` is empty or lacks columns.
        PlanError: `least_share` is no fraction.
    """
    if not 0 <= least_share <= 1:
        raise PlanError(f"least_share is a fraction of all tokens, from 0 to 1, got {least_share:g}.")
    known = prepared(calls, _CALLS, "findings")
    tokens = (known["input_tokens"].fillna(0) + known["output_tokens"].fillna(0)).astype("int64")
    of_kind = tokens.groupby(known["task"]).sum()
    least = least_share * int(tokens.sum())
    compared = choose_baselines(calls).kinds if baselines is None else baselines
    kept = [
        one
        for one in _found(calls, tool_calls, outcomes, steps)
        if not (one.finding == "failed_tasks" and one.task in compared)
        and (one.saved_tokens is None or one.saved_tokens >= max(least, 1))
    ]
    return finding_rows(kept, of_kind)


def _found(
    calls: pd.DataFrame, tool_calls: pd.DataFrame | None, outcomes: pd.DataFrame | None, steps: pd.DataFrame | None
) -> Iterable[Finding]:
    flags = step_flags(calls, tool_calls)
    if steps is None and calls["input_tokens"].notna().any():
        # Windows of models are no matter here, and the package that knows them takes half a second.
        steps = context_steps(calls, windows={})
    if steps is not None and len(steps):
        yield from expired_cache(steps)
        yield from uncached_history(steps)
        yield from long_histories(steps)
        yield from sub_agents(steps, calls)
        yield from large_results(steps, tool_calls)
    yield from volatile_beginnings(calls)
    yield from overhead(calls)
    yield from unused_tools(calls)
    yield from repeated_tools(calls, tool_calls, flags)
    yield from loops(calls, flags)
    yield from failed_tools(calls, tool_calls)
    yield from failed_calls(calls)
    yield from repeated_requests(calls)
    yield from failed_tasks(calls, outcomes)
