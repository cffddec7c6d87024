"""Runs as paths: what one task asks for at each second after it starts, as disjoint segments of its total load.

Parallel calls are added before anything is squared: squaring call by call would lose what parallel sub-agents cost.
Knows nothing of arrivals. Source: FORECAST model, section "objects and units": a run is a marked shot.
"""

import itertools
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.analysis.plan_parts import Timing
from tokenflation.sdk.errors import FrameError

__all__ = ["RESOURCES", "Path", "Runs", "runs_of", "summed"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESOURCES: dict[str, str] = {
    "active_tasks": "tasks",
    "concurrent_calls": "calls",
    "prefill_tokens_per_s": "tokens/s",
    "prefill_no_cache_tokens_per_s": "tokens/s",
    "decode_tokens_per_s": "tokens/s",
    "kv_tokens": "tokens",
}
"""Loads at an instant, and their units. Prefill is what must be computed: input without what the prefix cache gives."""

_LEAST_S = 1e-3
_DEFAULT_PREFILL_SHARE = 0.2
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
    """One row per run: `calls`, `input_tokens`, `prefill_tokens` and `output_tokens`."""
    longest_s: float
    assumptions: tuple[str, ...]


def runs_of(calls: pd.DataFrame, *, timing: Timing | None = None) -> Runs:
    """Return the runs in `calls` (one row per call) as paths; with `timing`, as a fleet that serves so fast would run them.

    Re-timed, a call starts as long after the calls that ended before it as it did, and what overlapped it shifts alike.

    Cached tokens are the provider's where reported, else the blocks that an earlier call of the task had. Where a call
    has no duration or no time to first token, it gets what the recorded ones suggest; `assumptions` says for how many.

    Raises:
        FrameError: columns are missing, or there is no call.
    """
    missing = [name for name in _NEEDED if name not in calls.columns]
    if missing:
        raise FrameError(f"forecast() needs the columns {missing}; load calls with tokenflation.analysis.load(path).")
    if calls.empty:
        raise FrameError("forecast() needs recorded calls; the frame has none.")
    if calls[["input_tokens", "output_tokens"]].isna().all(axis=None):
        raise FrameError(
            f"forecast() needs token counts; none of the {len(calls):,} calls reports any. They may all have failed: "
            "see `tokenflation info`."
        )
    codes, keys = pd.factorize(pd.MultiIndex.from_frame(calls[["task", "task_id"]]))
    run = codes.astype(np.int64)
    kind_names = [str(key[0]) for key in keys]
    kinds = tuple(dict.fromkeys(kind_names))
    kind_of_run = np.array([kinds.index(name) for name in kind_names], dtype=np.int64)
    notes: list[str] = []
    tokens_in, tokens_out = _numbers(calls, "input_tokens"), _numbers(calls, "output_tokens")
    _note(notes, np.isnan(tokens_in), "no input count: counted as no tokens")
    _note(notes, np.isnan(tokens_out), "no output count: counted as no tokens")
    tokens_in, tokens_out = np.nan_to_num(tokens_in), np.nan_to_num(tokens_out)
    cached = np.minimum(_cached(calls, tokens_in, notes), tokens_in)
    start_s = _starts(calls, run, len(keys))
    if timing is None or not calls["duration_s"].isna().all():
        duration_s, prefill_s = _times(calls, tokens_in - cached, tokens_out, notes)
    else:
        # Without any recorded duration only starts are known: they stay.
        duration_s = prefill_s = np.zeros(len(run))
    if timing is not None:
        was_s = duration_s
        prefill_s = np.maximum(timing.ttft_s + timing.ttft_s_per_token * (tokens_in - cached), _LEAST_S)
        duration_s = prefill_s + np.maximum(timing.tpot_s * np.maximum(tokens_out - 1, 0.0), _LEAST_S)
        start_s = _retimed(run, start_s, was_s, duration_s)
    first_token_s, end_s = start_s + prefill_s, start_s + duration_s
    decode_s = np.maximum(duration_s - prefill_s, _LEAST_S)
    one = np.ones(len(run))
    finish = np.zeros(len(keys))
    np.maximum.at(finish, run, end_s)
    every = np.arange(len(keys), dtype=np.int64)
    paths = {
        "active_tasks": Path(every, np.zeros(len(keys)), finish, np.ones(len(keys))),
        "concurrent_calls": summed(run, start_s, end_s, one),
        "prefill_tokens_per_s": summed(run, start_s, first_token_s, (tokens_in - cached) / prefill_s),
        "prefill_no_cache_tokens_per_s": summed(run, start_s, first_token_s, tokens_in / prefill_s),
        "decode_tokens_per_s": summed(run, first_token_s, first_token_s + decode_s, tokens_out / decode_s),
        # The context grows while it is answered; half of the answer is its mean over the decode.
        "kv_tokens": summed(run, start_s, end_s, tokens_in + tokens_out / 2),
    }
    return Runs(
        kinds=kinds,
        kind_of_run=kind_of_run,
        paths=paths,
        call_run=run,
        call_start_s=start_s,
        totals=_totals(run, len(keys), tokens_in, tokens_in - cached, tokens_out),
        longest_s=float(finish.max()),
        assumptions=tuple(notes),
    )


def _retimed(run: Ints, start_s: Floats, was_s: Floats, now_s: Floats) -> Floats:
    """Return each call's start when durations change: the gap after the latest call that had ended stays what it was."""
    found = start_s.copy()
    order = np.lexsort((start_s, run))
    bounds = np.flatnonzero(np.diff(run[order], prepend=-1, append=-1))
    for low, high in itertools.pairwise(bounds.tolist()):
        mine = order[low:high]
        by_end = mine[np.argsort(start_s[mine] + was_s[mine], kind="stable")]
        ends = (start_s + was_s)[by_end]
        for place in mine:
            ended = int(np.searchsorted(ends, start_s[place], side="right"))
            before = by_end[ended - 1] if ended else -1
            if before >= 0 and before != place:
                shift = found[before] + now_s[before] - (start_s[before] + was_s[before])
                found[place] = start_s[place] + shift
    return np.asarray(found, dtype=np.float64)


def _totals(run: Ints, count: int, tokens_in: Floats, prefill: Floats, tokens_out: Floats) -> pd.DataFrame:
    columns = {"input_tokens": tokens_in, "prefill_tokens": prefill, "output_tokens": tokens_out}
    sums = {name: np.bincount(run, weights=values, minlength=count) for name, values in columns.items()}
    return pd.DataFrame({"calls": np.bincount(run, minlength=count).astype(np.float64), **sums})


def summed(run: Ints, start_s: Floats, end_s: Floats, load: Floats) -> Path:
    """Return disjoint segments of the sum of all intervals of each run: a sweep over its starts and ends."""
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


def _starts(calls: pd.DataFrame, run: Ints, count: int) -> Floats:
    started = calls["started_at_ns"].to_numpy(dtype=np.int64)
    origin = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(origin, run, started)
    begin: Floats = (started - origin[run]).astype(np.float64) / 1e9
    if "ended_at_ns" in calls.columns and "attempts" in calls.columns:
        # After retries, what the model served is the last attempt: it ends with the call and lasts its duration.
        ended, duration_s = _numbers(calls, "ended_at_ns"), _numbers(calls, "duration_s")
        retried = (_numbers(calls, "attempts") > 1) & ~np.isnan(ended) & ~np.isnan(duration_s)
        late = (ended - origin[run]) / 1e9 - duration_s
        begin = np.where(retried, np.maximum(late, begin), begin)
    return begin


def _cached(calls: pd.DataFrame, tokens_in: Floats, notes: list[str]) -> Floats:
    told = _numbers(calls, "cache_read_tokens") if "cache_read_tokens" in calls.columns else np.full(len(calls), np.nan)
    blocks = np.full(len(calls), np.nan)
    if {"shared_blocks", "block_tokens"} <= set(calls.columns):
        blocks = _numbers(calls, "shared_blocks") * _numbers(calls, "block_tokens")
    from_blocks = np.isnan(told) & ~np.isnan(blocks)
    _note(notes, from_blocks, "no cache count from the provider: the prefix an earlier call of the task had is taken")
    unknown = np.isnan(told) & np.isnan(blocks) & (tokens_in > 0)
    _note(notes, unknown, "neither cache count nor prefix blocks: nothing is taken as cached")
    return np.nan_to_num(np.where(np.isnan(told), blocks, told))


def _times(calls: pd.DataFrame, computed: Floats, tokens_out: Floats, notes: list[str]) -> tuple[Floats, Floats]:
    """Return duration and prefill time of each call in s, filled in where they were not recorded.

    No filled-in prefill is faster than the fastest that was seen, as far as the call's recorded duration allows.
    """
    duration_s, ttft_s = _numbers(calls, "duration_s"), _numbers(calls, "ttft_s")
    model = calls["model"].astype("object").where(calls["model"].notna(), "").to_numpy()
    per_token = _by_model(duration_s / np.maximum(tokens_out, 1.0), model)
    if np.isnan(per_token).all():
        raise FrameError("forecast() needs durations; no call of this frame has one. Record them, import them, "
                         "or give the plan `timing`: ttft_s and tpot_s.")  # fmt: skip
    _note(notes, np.isnan(duration_s), "no duration: the model's median seconds per output token are taken")
    unknown = np.isnan(duration_s)
    duration_s = np.where(unknown, per_token * np.maximum(tokens_out, 1.0), duration_s)
    duration_s = np.maximum(duration_s, 2 * _LEAST_S)
    share = _by_model(ttft_s / duration_s, model)
    default = np.isnan(share)
    _note(notes, default, f"no time to first token at all: {_DEFAULT_PREFILL_SHARE:.0%} of the duration is prefill")
    filled = np.isnan(ttft_s) & ~default
    _note(notes, filled, "no time to first token: the median share of the duration of streamed calls is prefill")
    share = np.where(default, _DEFAULT_PREFILL_SHARE, share)
    least_s = _least_prefill(computed, ttft_s)
    duration_s = np.where(unknown, np.maximum(duration_s, least_s / np.maximum(share, _LEAST_S)), duration_s)
    prefill_s = np.where(np.isnan(ttft_s), np.maximum(share * duration_s, least_s), ttft_s)
    return duration_s, np.clip(prefill_s, _LEAST_S, duration_s - _LEAST_S)


def _least_prefill(computed: Floats, ttft_s: Floats) -> Floats:
    """Return the seconds that each call's prefill takes at the highest speed seen in a streamed call; 0 if none was."""
    seen = (ttft_s > 0) & (computed > 0)
    if not seen.any():
        return np.zeros(len(computed))
    return np.asarray(computed / (computed[seen] / ttft_s[seen]).max(), dtype=np.float64)


def _by_model(values: Floats, model: NDArray[np.object_]) -> Floats:
    """Return the median of the known values of each row's model; of all rows, where a model has none."""
    frame = pd.Series(values)
    medians = frame.groupby(model).transform("median")
    return medians.fillna(frame.median()).to_numpy(dtype=np.float64)


def _numbers(calls: pd.DataFrame, column: str) -> Floats:
    return calls[column].to_numpy(dtype=np.float64, na_value=np.nan)


def _note(notes: list[str], which: NDArray[np.bool_], what: str) -> None:
    count = int(which.sum())
    if count:
        notes.append(f"{count:,} of {len(which):,} calls have {what}.")
