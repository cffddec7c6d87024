"""When calls of a run start and end and what they read from a cache, filled in where it was not recorded, or re-timed.

Knows nothing of loads. What is filled in is noted, with the number of calls.
"""

import itertools

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tokenflation.sdk.errors import FrameError
from tokenflation.sdk.words import many, percent

__all__ = [
    "LEAST_S",
    "Notes",
    "answering_models",
    "cached_tokens",
    "call_times",
    "continued",
    "model_names",
    "note",
    "noted",
    "numbers",
    "retimed",
    "starts",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Notes = list[tuple[NDArray[np.bool_], str]]
"""Which calls were filled in, and what they have instead of a record."""

LEAST_S = 1e-3
"""Shorter than this no phase of a call is taken to be, in s."""
_DEFAULT_PREFILL_SHARE = 0.2
_FASTEST_PER_S = 10_000.0
"""Tokens a second that no model writes for one call: what came faster was kept back, by a gateway or by the host."""


def starts(calls: pd.DataFrame, run: Ints, count: int) -> Floats:
    """Return when each call starts, in s since the first start of its run; a retried one by its last attempt."""
    started = calls["started_at_ns"].to_numpy(dtype=np.int64)
    origin = np.full(count, np.iinfo(np.int64).max)
    np.minimum.at(origin, run, started)
    begin: Floats = (started - origin[run]).astype(np.float64) / 1e9
    # After retries, what the model served is the last attempt: it ends with the call and lasts its duration.
    ended, duration_s = numbers(calls, "ended_at_ns"), numbers(calls, "duration_s")
    retried = (numbers(calls, "attempts") > 1) & ~np.isnan(ended) & ~np.isnan(duration_s)
    late = (ended - origin[run]) / 1e9 - duration_s
    return np.where(retried, np.maximum(late, begin), begin)


def cached_tokens(calls: pd.DataFrame, tokens_in: Floats, notes: Notes) -> Floats:
    """Return the tokens each call read from a prefix cache: as reported, or whole blocks of the task; else 0."""
    told = numbers(calls, "cache_read_tokens")
    blocks = numbers(calls, "shared_blocks") * numbers(calls, "block_tokens")
    from_blocks = np.isnan(told) & ~np.isnan(blocks)
    note(notes, from_blocks, "no cache count from the provider: the prefix an earlier call of the task had is taken")
    unknown = np.isnan(told) & np.isnan(blocks) & (tokens_in > 0)
    note(notes, unknown, "neither cache count nor prefix blocks: nothing is taken as cached")
    return np.nan_to_num(np.where(np.isnan(told), blocks, told))


def call_times(calls: pd.DataFrame, computed: Floats, tokens_out: Floats, notes: Notes,
               of_prefill: Notes | None = None) -> tuple[Floats, Floats]:  # fmt: skip
    """Return duration and prefill time of each call in s, filled in where they were not recorded.

    No filled-in prefill is faster than the fastest that was seen, as far as the call's recorded duration allows.
    What is noted of prefill goes to `of_prefill` if that is given: a caller may need durations alone.
    """
    # No call takes no time, and none ends before it began: such a time was not measured.
    duration_s, ttft_s = numbers(calls, "duration_s"), numbers(calls, "ttft_s")
    duration_s, ttft_s = np.where(duration_s > 0, duration_s, np.nan), np.where(ttft_s > 0, ttft_s, np.nan)
    kept_back = tokens_out - 1 > _FASTEST_PER_S * np.maximum(duration_s - ttft_s, LEAST_S)
    of_prefill = notes if of_prefill is None else of_prefill
    note(
        of_prefill,
        kept_back,
        f"a time to first token that counts as none: the rest came at once, at more than {_FASTEST_PER_S:,.0f} tokens/s",
    )
    ttft_s = np.where(kept_back, np.nan, ttft_s)
    models = answering_models(calls), model_names(calls)
    per_token = _by_model(duration_s / np.maximum(tokens_out, 1.0), *models)
    if np.isnan(per_token).all():
        raise FrameError("forecast() needs durations; no call of this frame has one. Record them, import them, "
                         "or give the fleet's: plan.timing with ttft_s and tpot_s, in seconds.")  # fmt: skip
    note(notes, np.isnan(duration_s), "no duration: the model's median seconds per output token are taken")
    unknown = np.isnan(duration_s)
    duration_s = np.where(unknown, per_token * np.maximum(tokens_out, 1.0), duration_s)
    duration_s = np.maximum(duration_s, 2 * LEAST_S)
    share = _by_model(ttft_s / duration_s, *models)
    default = np.isnan(share)
    note(
        of_prefill,
        default,
        f"no time to first token at all: {percent(_DEFAULT_PREFILL_SHARE)} of the duration is prefill",
    )
    filled = np.isnan(ttft_s) & ~default
    note(of_prefill, filled, "no time to first token: the median share of the duration of streamed calls is prefill")
    share = np.where(default, _DEFAULT_PREFILL_SHARE, share)
    least_s = _least_prefill(computed, ttft_s)
    duration_s = np.where(unknown, np.maximum(duration_s, least_s / np.maximum(share, LEAST_S)), duration_s)
    prefill_s = np.where(np.isnan(ttft_s), np.maximum(share * duration_s, least_s), ttft_s)
    return duration_s, np.clip(prefill_s, LEAST_S, duration_s - LEAST_S)


def _least_prefill(computed: Floats, ttft_s: Floats) -> Floats:
    """Return the seconds that each call's prefill takes at the highest speed seen in a streamed call; 0 if none was."""
    seen = (ttft_s > 0) & (computed > 0)
    if not seen.any():
        return np.zeros(len(computed))
    return np.asarray(computed / (computed[seen] / ttft_s[seen]).max(), dtype=np.float64)


def _by_model(values: Floats, answering: NDArray[np.object_], asked: NDArray[np.object_]) -> Floats:
    """Return the median of the known values of the model that answered, else of the one asked for, else of all rows.

    Two models may answer to one name, and a call that nobody answered names only the one that it asked for.
    """
    frame = pd.Series(values)
    of_asked = frame.groupby(asked).transform("median").fillna(frame.median())
    return frame.groupby(answering).transform("median").fillna(of_asked).to_numpy(dtype=np.float64)


def model_names(calls: pd.DataFrame) -> NDArray[np.object_]:
    """Return the model that each call asked for, else the one that answered, else an empty name.

    A request may name none: it goes to a server of one model.
    """
    return _first_named(calls, "model", "response_model")


def answering_models(calls: pd.DataFrame) -> NDArray[np.object_]:
    """Return the model that answered each call, else the one asked for, else an empty name: whose times and cache."""
    return _first_named(calls, "response_model", "model")


def _first_named(calls: pd.DataFrame, *columns: str) -> NDArray[np.object_]:
    names = pd.Series(None, index=calls.index, dtype="object")
    for column in columns:
        if column in calls.columns:
            names = names.where(names.notna(), calls[column].astype("object"))
    return np.asarray(names.where(names.notna(), "").to_numpy(), dtype=np.object_)


def numbers(calls: pd.DataFrame, column: str) -> Floats:
    """Return a column as floats, NaN where nothing was reported, as in all of a column that is not there."""
    if column not in calls.columns:
        return np.full(len(calls), np.nan)
    return calls[column].to_numpy(dtype=np.float64, na_value=np.nan)


def note(notes: Notes, which: NDArray[np.bool_], what: str) -> None:
    """Add to `notes` which calls have what."""
    notes.append((which, what))


def noted(notes: Notes, among: NDArray[np.bool_]) -> tuple[str, ...]:
    """Return how many of the calls `among` have what, a sentence each, without what none of them has."""
    counts = [(int((which & among).sum()), what) for which, what in notes]
    of = many(int(among.sum()), "call")
    return tuple(f"{count:,} of {of} {'has' if count == 1 else 'have'} {what}." for count, what in counts if count)


def retimed(run: Ints, start_s: Floats, was_s: Floats, now_s: Floats) -> Floats:
    """Return each call's start when durations change from `was_s` to `now_s`.

    Whatever had ended before a call started ends before it still, and the gap after the latest of them stays what it
    was: nothing tells which of them it waited for, so it waits for all. What had nothing before it starts as it did.
    """
    found = start_s.copy()
    order = np.lexsort((start_s, run))
    bounds = np.flatnonzero(np.diff(run[order], prepend=-1, append=-1))
    for low, high in itertools.pairwise(bounds.tolist()):
        mine = order[low:high]
        by_end = np.argsort(start_s[mine] + was_s[mine], kind="stable")
        ends = (start_s + was_s)[mine][by_end]
        place_of = np.empty(len(mine), dtype=np.int64)
        place_of[by_end] = np.arange(len(mine))
        # Of calls not placed yet nothing can be waited for: of those of no duration at the same instant, or itself.
        now_ends = np.full(len(mine), -np.inf)
        ended = np.searchsorted(ends, start_s[mine], side="right")
        for number, call in enumerate(mine.tolist()):
            before = now_ends[: ended[number]]
            latest = int(np.isfinite(before).nonzero()[0].max(initial=-1))
            if latest >= 0:
                found[call] = before.max() + (start_s[call] - ends[latest])
            now_ends[place_of[number]] = found[call] + now_s[call]
    return np.asarray(found, dtype=np.float64)


def continued(calls: pd.DataFrame, run: Ints, start_s: Floats, end_s: Floats, notes: Notes) -> Ints:
    """Return, for each call, the place of the call whose context it goes on from, -1 for none.

    By lineage (`continues_call_id`) where any was recorded; else the call of its run, agent run and answering model
    that had ended latest when it started.
    """
    known = "continues_call_id" in calls.columns and "call_id" in calls.columns
    if known and calls["continues_call_id"].notna().any():
        places = pd.Series(np.arange(len(calls)), index=calls["call_id"].to_numpy())
        places = places[~places.index.duplicated()]
        found = calls["continues_call_id"].map(places).fillna(-1).to_numpy(dtype=np.int64)
        other = (found >= 0) & (run[found] != run)
        return np.asarray(np.where(other, -1, found), dtype=np.int64)
    keys = [run, *(pd.factorize(calls[name])[0] for name in ("agent_run_id",) if name in calls.columns)]
    if "model" in calls.columns or "response_model" in calls.columns:
        keys.append(pd.factorize(answering_models(calls))[0])
    group = pd.factorize(pd.MultiIndex.from_arrays(keys))[0]
    found = np.full(len(calls), -1, dtype=np.int64)
    order = np.lexsort((start_s, group))
    bounds = np.flatnonzero(np.diff(group[order], prepend=-1, append=-1))
    for low, high in itertools.pairwise(bounds.tolist()):
        mine = order[low:high]
        by_end = mine[np.argsort(end_s[mine], kind="stable")]
        ended = np.searchsorted(end_s[by_end], start_s[mine], side="right")
        found[mine] = np.where(ended > 0, by_end[ended - 1], -1)
    found[found == np.arange(len(calls))] = -1
    note(notes, found >= 0, "no lineage: they are taken to go on from the latest call of their agent that had ended")
    return found
