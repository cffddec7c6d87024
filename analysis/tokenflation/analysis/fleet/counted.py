"""How much each recorded run counts for a planned fleet, where some were cut short, and what to say of that."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.paths import Runs
from tokenflation.analysis.planning.plan import Plan
from tokenflation.analysis.statistics.censoring import Shares, even_shares, run_shares, runs_cut
from tokenflation.analysis.statistics.prototypes import LEAST_RUNS
from tokenflation.sdk.errors import PlanError
from tokenflation.sdk.words import percent

__all__ = ["Counted", "counted"]

Floats = NDArray[np.float64]

_MOST_CUT = 0.5
_SOME, _MOST_BEYOND = 0.005, 0.05


@dataclass(frozen=True, slots=True)
class Counted:
    """The recorded runs of each kind, those that were cut short, and how much each counts."""

    counts: dict[str, int]
    cut: dict[str, int]
    """Runs that were cut, and do not count as they are."""
    shares: dict[str, Shares]
    of_run: Floats
    """Each run's share among those of its kind."""
    raised: dict[str, float]
    """By what share longer runs raise the mean input of a kind, where some were cut; negative where they lower it."""
    assumptions: tuple[str, ...]
    warnings: tuple[str, ...]

    def intervals(self, kinds: Iterable[str]) -> bool:
        """Return whether the runs of all these kinds bear an interval: enough finished, and few cut beyond those."""
        chosen = list(kinds)
        few = min((self.bearing(kind) for kind in chosen), default=0) < LEAST_RUNS
        return not few and all(self.shares[kind].beyond <= _MOST_BEYOND for kind in chosen)

    def bearing(self, kind: str) -> int:
        """Return how many finished runs of a kind there are for intervals to rest on."""
        return self.counts[kind] - self.cut[kind]


def counted(runs: Runs, calls: pd.DataFrame, recorded: pd.DataFrame, plan: Plan, volumes: dict[str, float]) -> Counted:
    """Return how much each run counts; `calls` are those that `runs` were made of, `recorded` those before any budget.

    A run that the plan's budget ends earlier than what cut it is whole.

    Raises:
        PlanError: more than half of the runs of a planned kind were cut.
    """
    key = ["task", "task_id"]
    ids = pd.MultiIndex.from_frame(calls[key].drop_duplicates())
    by = runs_cut(recorded)
    made, as_recorded = (frame.groupby(key, sort=False).size().reindex(by.index) for frame in (calls, recorded))
    by = by[(made == as_recorded).to_numpy()]
    is_cut = np.asarray(ids.isin(by.index), dtype=np.bool_)
    totals = runs.totals
    tokens = (totals["input_tokens"] + totals["output_tokens"]).to_numpy(dtype=np.float64)
    counts, cut, shares, raised = {}, {}, {}, {}
    of_run = np.zeros(len(ids))
    assumptions, warnings = [], []
    for number, kind in enumerate(runs.kinds):
        mine = runs.kind_of_run == number
        here = is_cut & mine
        many = int(here.sum())
        counts[kind], cut[kind] = int(mine.sum()), 0 if plan.limits_hold else many
        shares[kind] = even_shares(counts[kind])
        if many and kind in volumes and plan.limits_hold:
            assumptions.append(f"{kind}: the fleet's tasks are cut by the limits that cut {_of(many, counts[kind])}.")
        elif many and kind in volumes:
            if many > _MOST_CUT * counts[kind]:
                raise PlanError(_refused(kind, many, counts[kind]))
            limits = set(by.reindex(ids[here]))
            amount = totals["calls"].to_numpy(dtype=np.float64) if limits == {"max_calls"} else tokens
            last = np.ones(len(ids)) if limits == {"max_calls"} else _last_tokens(runs, calls)
            shares[kind] = run_shares((amount - np.where(is_cut, 0.0, last))[mine], is_cut[mine])
            tokens_in = totals["input_tokens"].to_numpy(dtype=np.float64)[mine]
            plain = float(tokens_in.mean())
            raised[kind] = float(shares[kind].weights @ tokens_in) / plain - 1 if plain > 0 else 0.0
            unit = "calls" if limits == {"max_calls"} else "tokens"
            assumptions.append(
                f"{kind}: longer runs stand in for what {_of(many, counts[kind])} had left to do when cut (Kaplan-Meier, by "
                f"{unit}); that {_moved(raised[kind])}."
            )
            if shares[kind].beyond > _SOME:
                warnings.append(_beyond(kind, shares[kind].beyond))
        of_run[mine] = shares[kind].weights
    return Counted(counts, cut, shares, of_run, raised, tuple(assumptions), tuple(warnings))


def _last_tokens(runs: Runs, calls: pd.DataFrame) -> Floats:
    """Return the tokens of the last call of each run."""
    each = calls[["input_tokens", "output_tokens"]].astype("Float64").fillna(0.0).sum(axis=1).to_numpy(dtype=np.float64)
    order = np.lexsort((runs.call_start_s, runs.call_run))
    ends = np.searchsorted(runs.call_run[order], np.arange(len(runs.kind_of_run)), side="right") - 1
    return np.asarray(each[order][ends], dtype=np.float64)


def _beyond(kind: str, share: float) -> str:
    bounds = "no interval is given" if share > _MOST_BEYOND else "intervals reach too low by that"
    return (
        f"{kind}: {percent(share)} of its runs were cut after the longest finished one, and nothing says what they had left to do: "
        f"means are lower bounds, and {bounds}. Record runs with a higher limit, or set limits_hold in the plan if the fleet "
        "has the same one."
    )


def _of(many: int, runs: int) -> str:
    return f"{many:,} of {runs:,} recorded {'run' if runs == 1 else 'runs'}"


def _moved(share: float) -> str:
    tenths = round(share * 1000)
    if not tenths:
        return "leaves the mean input as it is"
    return f"{'raises' if tenths > 0 else 'lowers'} the mean input by {percent(abs(tenths) / 1000, 1)}"


def _refused(kind: str, many: int, runs: int) -> str:
    what = "every recorded run was" if many == runs else f"{_of(many, runs)} were"
    return (
        f"plan.tasks_per_day names {kind!r}, of which {what} cut short: that says only how little such a task needs. Record "
        "runs that finish, with a higher limit or none; or set plan.limits_hold to true if the fleet's tasks are cut by the "
        "same limit."
    )
