"""Runs that something cut short, whose use is a lower bound: which they are, and what longer runs say of the rest.

The mass of a cut run is shared out over the runs that used more, as a product-limit estimate does (redistribution to
the right): finished runs get the weights of the Kaplan-Meier law of what a run uses, so that the mean of anything they
have is right as long as what cuts a run does not depend on what it still had to do. Pure; knows nothing of plans.
Sources: E. L. Kaplan and P. Meier, "Nonparametric estimation from incomplete observations" (1958); B. Efron, "The two
sample problem with censored data" (1967); W. Stute and J.-L. Wang, "The jackknife estimate of a Kaplan-Meier integral"
(1994).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

__all__ = ["CENSORED_BY", "Shares", "even_shares", "marked", "run_shares", "runs_cut", "survival_weights"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

CENSORED_BY = "censored_by"
"""Column of calls that says what cut their run short: a limit's name; NULL where nothing did."""
_BROKEN = "broken off"
_TASK = ["task", "task_id"]
_MOST_LEFT_OUT = 250


@dataclass(frozen=True, slots=True)
class Shares:
    """How much each run of one kind counts; the shares sum to 1."""

    weights: Floats
    left_out: Floats | None = None
    """The weights with each group of runs left out, shape (groups, runs); None where all runs are alike."""
    beyond: float = 0.0
    """The share of runs cut after the longest finished one: for them the largest cut runs stand, a lower bound."""

    def relative_error(self, values: Floats) -> Floats | None:
        """Return the standard error of columns' weighted means over the means, by the jackknife; None if all alike."""
        if self.left_out is None:
            return None
        mean = self.weights @ values
        found = self.left_out @ values
        groups = len(found)
        square = (groups - 1) / groups * ((found - found.mean(axis=0)) ** 2).sum(axis=0)
        return np.asarray(np.sqrt(square) / np.where(mean > 0, mean, 1.0), dtype=np.float64)


def even_shares(count: int) -> Shares:
    """Return shares of runs that all count alike."""
    return Shares(np.full(count, 1.0 / count))


def marked(calls: pd.DataFrame, censored: pd.DataFrame | None) -> pd.DataFrame:
    """Return the calls with the column `censored_by`: what cut the run that they are of.

    `censored` has one row per cut task: `task`, `task_id`, `censored_by`, as `structure.rows.load_censored` reads it.
    """
    if censored is None or censored.empty:
        return calls
    known = censored.drop_duplicates(_TASK).set_index(_TASK)[CENSORED_BY].astype("object")
    found = pd.Series(known.reindex(pd.MultiIndex.from_frame(calls[_TASK])).to_numpy(), calls.index)
    if CENSORED_BY in calls.columns:
        found = found.where(found.notna(), calls[CENSORED_BY])
    return calls.assign(**{CENSORED_BY: found})


def runs_cut(calls: pd.DataFrame) -> "pd.Series[str]":
    """Return what cut each task cut short, by `task` and `task_id`: what `censored_by` says, or a broken last call."""
    nothing = pd.Series(None, calls.index, dtype="object")
    found = calls[_TASK].assign(by=calls.get(CENSORED_BY, nothing).astype("object")).dropna(subset="by")
    if "status" in calls.columns:
        last = calls.sort_values("started_at_ns", kind="stable").drop_duplicates(_TASK, keep="last")
        broken = last.loc[(last["status"] == "cut").fillna(False).astype(bool), _TASK]
        found = pd.concat([found, broken.assign(by=pd.Series(_BROKEN, broken.index, dtype="object"))])
    return found.drop_duplicates(_TASK).set_index(_TASK)["by"]


def survival_weights(amount: Floats, cut: Bools) -> tuple[Floats, float]:
    """Return each run's mass in the Kaplan-Meier law of what runs use, and the mass beyond the longest finished run.

    `amount` is what each run had used when it was `cut`, or before the call that finished it: a limit stops a run
    between two calls, so a run that was cut at some amount would have made at least one call more from there. The mass
    beyond is shared by the cut runs there.
    """
    count = len(amount)
    # So of a run that was cut where the last call of another began, the mass goes to that other one too.
    order = np.lexsort((~cut, amount))
    finished = ~cut[order]
    at_risk = np.arange(count, 0, -1)
    left = np.cumprod(np.where(finished, 1.0 - 1.0 / at_risk, 1.0))
    before = np.concatenate(([1.0], left[:-1]))
    weights = np.where(finished, before / at_risk, 0.0)
    after = np.arange(count) > int(finished.nonzero()[0].max(initial=-1))
    beyond = float(left[-1]) if after.any() else 0.0
    if beyond > 0:
        weights[after] = beyond / after.sum()
    found = np.empty(count)
    found[order] = weights
    return found, beyond


def run_shares(amount: Floats, cut: Bools) -> Shares:
    """Return how much each run of a kind counts; arguments as of `survival_weights`."""
    count = len(amount)
    if not cut.any() or count < 2:
        return even_shares(count)
    weights, beyond = survival_weights(amount, cut)
    groups = min(count, _MOST_LEFT_OUT)
    group = np.empty(count, dtype=np.int64)
    group[np.argsort(amount, kind="stable")] = np.arange(count) % groups
    left_out = np.zeros((groups, count))
    for number in range(groups):
        keep = group != number
        left_out[number, keep] = survival_weights(amount[keep], cut[keep])[0]
    return Shares(weights, left_out, beyond)
