"""Runs as paths: what one task asks for at each second after it starts, as disjoint segments of its total load.

Parallel calls are added before anything is squared: squaring call by call would lose what parallel sub-agents cost.
Knows nothing of arrivals. Source: FORECAST model, section "objects and units": a run is a marked shot.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.fleet.call_times import (
    LEAST_S,
    Notes,
    answering_models,
    cached_tokens,
    call_times,
    continued,
    model_names,
    note,
    noted,
    numbers,
    retimed,
    starts,
)
from tokenflation.analysis.planning.parts import Timing
from tokenflation.analysis.planning.serving import Serving, by_call
from tokenflation.sdk.errors import FrameError

__all__ = ["RESOURCES", "SERVED", "Path", "Runs", "runs_of", "summed"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOURCES: dict[str, str] = {
    "active_tasks": "tasks",
    "concurrent_calls": "calls",
    "prefill_tokens_per_s": "tokens/s",
    "prefill_no_cache_tokens_per_s": "tokens/s",
    "decode_tokens_per_s": "tokens/s",
    "kv_tokens": "tokens",
    "kv_warm_tokens": "tokens",
}
"""Loads at an instant, and their units. Prefill is what must be computed: input without what the prefix cache gives.

`kv_tokens` is context of calls in flight (hot); `kv_warm_tokens` is held between two calls, for the one that goes on.
"""
SERVED: dict[str, str] = {
    "kv_bytes": "bytes",
    "kv_warm_bytes": "bytes",
    "flop_per_s": "FLOP/s",
    "prefill_flop_per_s": "FLOP/s",
    "decode_flop_per_s": "FLOP/s",
}
"""Loads that the served model's shape adds, and their units."""

_LONGEST_S = 3653 * 86_400.0
"""What lasts longer has a wrong date, and a forecast of it would take for ever."""
_NEEDED = ("task", "task_id", "started_at_ns", "duration_s", "ttft_s", "input_tokens", "output_tokens", "model")


@dataclass(frozen=True, slots=True)
class Path:
    """Segments of one resource over all runs: run number, start and end in s since its task began, and the load."""

    run: Ints
    start_s: Floats
    end_s: Floats
    load: Floats

    def integrals(self, runs: int) -> Floats:
        """Return load times seconds of each run."""
        found = np.bincount(self.run, weights=self.load * (self.end_s - self.start_s), minlength=runs)
        return found.astype(np.float64)


@dataclass(frozen=True, slots=True)
class Runs:
    """The recorded runs of all task kinds, ready for the demand model."""

    kinds: tuple[str, ...]
    kind_of_run: Ints
    paths: dict[str, Path]
    call_run: Ints
    call_start_s: Floats
    totals: pd.DataFrame
    """One row per run: `calls`, `input_tokens`, `prefill_tokens`, `output_tokens`, and `flop` where the model's shape
    is known.
    """
    reported: pd.DataFrame
    """One row per run: whether any of its calls reports `input_tokens`, `output_tokens`; what none does counts as 0
    above.
    """
    longest_s: float
    assumptions: tuple[str, ...]


def runs_of(calls: pd.DataFrame, *, timing: Timing | None = None, kv_ttl_s: float = 300.0,
            serving: Serving | Mapping[str, Serving] | None = None, cache_kept: float = 1.0,
            of: Collection[str] | None = None) -> Runs:  # fmt: skip
    """Return the runs in `calls` (one row per call) as paths; with `timing`, as a fleet so fast would run them.

    Re-timed, a call starts as long after the calls that ended before it as it did, and what overlapped it shifts alike.
    A call's context stays warm for `kv_ttl_s` at most, until the call that goes on from it starts. With `serving`, the
    loads `SERVED` come too (bytes only where the shape tells them).

    Cached tokens are the provider's where reported, else the blocks that an earlier call of the task had. Where a call
    has no duration or no time to first token, it gets what the recorded ones suggest; `assumptions` says for how many
    of the calls of the kinds `of` (of all without it): what others lack touches no load of theirs.
    Of the cached tokens the fleet's cache holds `cache_kept`; what it does not is computed, and takes time if re-timed.

    Raises:
        FrameError: columns are missing, there is no call, or a task lasts more than ten years.
        PlanError: `serving` lacks a recorded model.
    """
    _check(calls)
    codes, keys = pd.factorize(pd.MultiIndex.from_frame(calls[["task", "task_id"]]))
    run, count = codes.astype(np.int64), len(keys)
    kind_names = [str(key[0]) for key in keys]
    number_of = {name: number for number, name in enumerate(dict.fromkeys(kind_names))}
    kinds = tuple(number_of)
    kind_of_run = np.array([number_of[name] for name in kind_names], dtype=np.int64)
    notes: Notes = []
    tokens_in, tokens_out = numbers(calls, "input_tokens"), numbers(calls, "output_tokens")
    note(notes, np.isnan(tokens_in), "no input count: counted as no tokens")
    note(notes, np.isnan(tokens_out), "no output count: counted as no tokens")
    known = {"input_tokens": ~np.isnan(tokens_in), "output_tokens": ~np.isnan(tokens_out)}
    reported = {name: np.bincount(run, weights=flags, minlength=count) > 0 for name, flags in known.items()}
    tokens_in, tokens_out = np.nan_to_num(tokens_in), np.nan_to_num(tokens_out)
    cached = np.minimum(cached_tokens(calls, tokens_in, notes), tokens_in)
    computed = tokens_in - cache_kept * cached
    start_s = starts(calls, run, count)
    if timing is None or (numbers(calls, "duration_s") > 0).any():
        # By a plan's timing, recorded ends and starts still tell the gaps; recorded first tokens tell nothing.
        duration_s, prefill_s = call_times(calls, computed, tokens_out, notes, notes if timing is None else [])
    else:
        # Without any recorded duration only starts are known: they stay.
        duration_s = prefill_s = np.zeros(len(run))
    _check_dates(calls, start_s + duration_s)
    before = continued(calls, run, start_s, start_s + duration_s, notes)
    if timing is not None:
        was_s = duration_s
        prefill_s = np.maximum(timing.ttft_s + timing.ttft_s_per_token * computed, LEAST_S)
        duration_s = prefill_s + np.maximum(timing.tpot_s * np.maximum(tokens_out - 1, 0.0), LEAST_S)
        start_s = retimed(run, start_s, was_s, duration_s)
    first_token_s, end_s = start_s + prefill_s, start_s + duration_s
    decode_s = np.maximum(duration_s - prefill_s, LEAST_S)
    warm = _warm(before, start_s, end_s, kv_ttl_s)
    gap, held = warm > end_s, tokens_in + tokens_out
    # The context grows while it is answered; half of the answer is its mean over the decode.
    context = tokens_in + tokens_out / 2
    twice, begin_s, turn_s = np.tile(run, 2), np.append(start_s, first_token_s), np.append(first_token_s, end_s)
    finish = np.zeros(count)
    np.maximum.at(finish, run, end_s)
    every = np.arange(count, dtype=np.int64)
    paths = {
        "active_tasks": Path(every, np.zeros(count), finish, np.ones(count)),
        "concurrent_calls": summed(run, start_s, end_s, np.ones(len(run))),
        "prefill_tokens_per_s": summed(run, start_s, first_token_s, computed / prefill_s),
        "prefill_no_cache_tokens_per_s": summed(run, start_s, first_token_s, tokens_in / prefill_s),
        "decode_tokens_per_s": summed(run, first_token_s, first_token_s + decode_s, tokens_out / decode_s),
        "kv_tokens": summed(twice, begin_s, turn_s, np.append(tokens_in, context)),
        "kv_warm_tokens": summed(run[gap], end_s[gap], warm[gap], held[gap]),
    }
    totals = {"input_tokens": tokens_in, "prefill_tokens": computed, "output_tokens": tokens_out}
    if serving is not None:
        model = _served(calls, serving)
        linear, per_decoded, per_computed, kv_bytes = by_call(serving, model)
        reading = computed * (linear + per_computed * (tokens_in - computed / 2)) / prefill_s
        writing = tokens_out * (linear + per_decoded * context) / decode_s
        worked_s = np.append(first_token_s, first_token_s + decode_s)
        paths["flop_per_s"] = summed(twice, begin_s, worked_s, np.append(reading, writing))
        paths["prefill_flop_per_s"] = summed(run, start_s, first_token_s, reading)
        paths["decode_flop_per_s"] = summed(run, first_token_s, first_token_s + decode_s, writing)
        if not np.isnan(kv_bytes).any():
            paths["kv_bytes"] = summed(twice, begin_s, turn_s, np.append(tokens_in, context) * np.tile(kv_bytes, 2))
            paths["kv_warm_bytes"] = summed(run[gap], end_s[gap], warm[gap], (held * kv_bytes)[gap])
        totals["flop"] = reading * prefill_s + writing * decode_s
    return Runs(
        kinds=kinds,
        kind_of_run=kind_of_run,
        paths=paths,
        call_run=run,
        call_start_s=start_s,
        totals=_totals(run, count, totals),
        reported=pd.DataFrame(reported),
        longest_s=float(max(finish.max(), warm.max())),
        assumptions=noted(
            notes, np.ones(len(calls), dtype=bool) if of is None else calls["task"].astype(str).isin(of).to_numpy()
        ),
    )


def _served(calls: pd.DataFrame, serving: Serving | Mapping[str, Serving]) -> NDArray[np.object_]:
    """Return the name by which `serving` may know each call's model: the one that answered, else the one asked for."""
    asked, answering = model_names(calls), answering_models(calls)
    if isinstance(serving, Serving):
        return asked
    return np.where([str(name) in serving for name in answering], answering, asked)


def _check(calls: pd.DataFrame) -> None:
    missing = [name for name in _NEEDED if name not in calls.columns]
    if missing:
        raise FrameError(f"forecast() needs the columns {missing}; load calls with tokenflation.analysis.load(path).")
    if calls.empty:
        raise FrameError("forecast() needs recorded calls; the frame has none.")
    if calls[["input_tokens", "output_tokens"]].isna().all(axis=None):
        one = len(calls) == 1
        which = "the only call reports none" if one else f"none of the {len(calls):,} calls reports any"
        source = "It failed, or its log or server tells none" if one else "They failed, or no log or server tells any"
        raise FrameError(f"forecast() needs token counts; {which}. {source}: see `tokenflation info`.")


def _check_dates(calls: pd.DataFrame, end_s: Floats) -> None:
    last = int(end_s.argmax())
    if end_s[last] > _LONGEST_S:
        raise FrameError(
            f"The task {str(calls['task_id'].iloc[last])!r} lasts {end_s[last] / 86400:,.0f} days by the times of its calls: one "
            "of them is wrong. Correct it in the store, or leave the task out of the calls."
        )


def _warm(before: Ints, start_s: Floats, end_s: Floats, kv_ttl_s: float) -> Floats:
    """Return until when each call's context stays warm: the first start of a call that goes on from it, or the limit.

    A call that none goes on from is cold at its end: what may stay in the cache for nobody is no demand.
    """
    has = before >= 0
    first = np.full(len(start_s), np.inf)
    np.minimum.at(first, before[has], start_s[has])
    return np.where(np.isfinite(first), np.maximum(np.minimum(first, end_s + kv_ttl_s), end_s), end_s)


def _totals(run: Ints, count: int, columns: dict[str, Floats]) -> pd.DataFrame:
    sums = {name: np.bincount(run, weights=values, minlength=count) for name, values in columns.items()}
    return pd.DataFrame({"calls": np.bincount(run, minlength=count).astype(np.float64), **sums})


def summed(run: Ints, start_s: Floats, end_s: Floats, load: Floats) -> Path:
    """Return disjoint segments of the sum of all intervals of each run: a sweep over its starts and ends."""
    if not len(run):
        return Path(run, start_s, end_s, load)
    runs = np.concatenate((run, run))
    times = np.concatenate((start_s, end_s))
    steps = np.concatenate((load, -load))
    order = np.lexsort((times, runs))
    runs, times, steps = runs[order], times[order], steps[order]
    level = np.cumsum(steps)
    # Each run ends at level 0; taking that off again keeps rounding of one run out of the next.
    first = np.searchsorted(runs, runs)
    before = np.where(first > 0, level[first - 1], 0.0)
    level = level - before
    ends = np.append(times[1:], times[-1])
    same = np.append(runs[1:] == runs[:-1], False)
    open_ = np.cumsum(np.where(order < len(run), 1, -1))
    keep = same & (ends > times) & (open_ > 0) & (level > 0)
    return Path(runs[keep], times[keep], ends[keep], level[keep])
