"""What a computed input token adds to a call's time, by recorded calls; and calls that compute more or fewer.

Knows nothing of plans. The median slope of time to first token over computed tokens, of all pairs of calls of one
model, is the pace, where the pairs agree that there is one. Sources: H. Theil, "A rank-invariant method of linear and
polynomial regression analysis" (1950); M. G. Kendall, "A new measure of rank correlation" (1938).
"""

import math
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.call_times import (
    LEAST_S,
    answering_models,
    cached_tokens,
    call_times,
    numbers,
    retimed,
    starts,
)

__all__ = ["prefill_pace", "repaced"]

Floats = NDArray[np.float64]

_LEAST_CALLS, _MOST_CALLS = 40, 1_000
_AGREED_Z = 2.0


def prefill_pace(calls: pd.DataFrame) -> dict[str, float]:
    """Return s per computed input token by model, of the models whose recorded times to first token tell it.

    At least 40 calls with such a time are needed, and more pairs that rise than chance gives (two standard errors). Of
    more than 1,000 calls an even selection by their tokens is taken.
    """
    computed, ttft_s = _computed(calls), numbers(calls, "ttft_s")
    model = answering_models(calls)
    found = {}
    for name in dict.fromkeys(model.tolist()):
        mine = (model == name) & (ttft_s > 0)
        if mine.sum() < _LEAST_CALLS:
            continue
        order = np.argsort(computed[mine], kind="stable")
        order = order[:: math.ceil(len(order) / _MOST_CALLS)]
        slope, agreed = _slope(computed[mine][order], ttft_s[mine][order])
        if agreed:
            found[str(name)] = slope
    return found


def _slope(tokens: Floats, taken_s: Floats) -> tuple[float, bool]:
    """Return the median slope of all pairs, and whether more of them rise than chance gives (Kendall's test)."""
    first, second = np.triu_indices(len(tokens), 1)
    wide, rise = tokens[second] - tokens[first], taken_s[second] - taken_s[first]
    slopes = rise[wide > 0] / wide[wide > 0]
    count = len(tokens)
    by_chance = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return (
        (float(np.median(slopes)), float(np.sign(slopes).sum()) > _AGREED_Z * by_chance)
        if len(slopes)
        else (0.0, False)
    )


def repaced(calls: pd.DataFrame, changed: pd.DataFrame) -> pd.DataFrame:
    """Return `changed`, the same calls with other cached tokens, as long as computing the difference makes them.

    The pace is that of `calls`; a model that tells none has the median of the others'. Later calls of a run start as
    long after those before them as they did. Calls without a recorded duration stay without one.
    """
    paces = prefill_pace(calls)
    if not paces:
        return changed
    usual = float(np.median(list(paces.values())))
    pace = np.array([paces.get(name, usual) for name in answering_models(calls).tolist()])
    more_s = pace * (_computed(changed) - _computed(calls))
    codes, keys = pd.factorize(pd.MultiIndex.from_frame(calls[["task", "task_id"]]))
    run = codes.astype(np.int64)
    start_s = starts(calls, run, len(keys))
    tokens_out = np.nan_to_num(numbers(calls, "output_tokens"))
    duration_s, prefill_s = call_times(calls, _computed(calls), tokens_out, [])
    # No prefill gets shorter than nothing.
    more_s = np.where(numbers(calls, "duration_s") > 0, np.maximum(more_s, LEAST_S - prefill_s), 0.0)
    later_s = retimed(run, start_s, duration_s, duration_s + more_s) - start_s
    found = changed.assign(
        started_at_ns=_moved(changed["started_at_ns"], later_s * 1e9),
        duration_s=changed["duration_s"] + more_s,
        ttft_s=changed["ttft_s"] + more_s,
    )
    if "ended_at_ns" in found.columns:
        found["ended_at_ns"] = _moved(changed["ended_at_ns"], (later_s + more_s) * 1e9)
    return found


def _computed(calls: pd.DataFrame) -> Floats:
    tokens_in = np.nan_to_num(numbers(calls, "input_tokens"))
    return tokens_in - np.minimum(cached_tokens(calls, tokens_in, []), tokens_in)


def _moved(times_ns: "pd.Series[Any]", by_ns: Floats) -> "pd.Series[Any]":
    return times_ns + pd.Series(np.round(by_ns).astype(np.int64), index=times_ns.index)
