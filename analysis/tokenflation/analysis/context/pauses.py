"""How much of a history the cache still had, by the time since the call before: where a time to live shows in a log.

Pure.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from tokenflation.analysis.frames import from_rows
from tokenflation.sdk.store.tables import Column, by_name

__all__ = ["PAUSES_S", "PAUSE_COLUMNS", "hits_by_pause", "missed_tokens"]

PAUSES_S: tuple[float, ...] = (0.0, 60.0, 300.0, 900.0, 3600.0, math.inf)
"""Borders between the rows of `hits_by_pause`, in seconds: among them the five minutes and the hour that providers
sell.
"""

PAUSE_COLUMNS: dict[str, Column] = by_name(
    Column("provider", "text", "who served the calls", required=True),
    Column("model", "text", "the model, whose cache it is"),
    Column("from_s", "float", "s; start of the call before to start of the call, at least", required=True),
    Column("to_s", "float", "s; less than; NULL = any longer"),
    Column("calls", "int", "calls that go on with a history after such a time and report cache reads", required=True),
    Column("resent_tokens", "int", "tokens; of their input, what the call before had as input too", required=True),
    Column("missed_tokens", "int", "tokens; of them, those that the provider did not read from its cache", required=True),
    Column("hit_rate", "float", "fraction by tokens; 1 - missed_tokens / resent_tokens"),
)  # fmt: skip
"""The columns of one row per model and range of times, by name, in order."""


def missed_tokens(steps: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `context.steps.context_steps` that report re-sent and cached tokens, with two columns more.

    `missed` (tokens): re-sent and not read from the cache, at least 0. `pause_s`: from the start of the call that it
    goes on with to its own; NaN where none is known.
    """
    known = steps[(steps["prefix_source"] == "provider") & steps["resent_input_tokens"].notna()]
    started = pd.Series(steps["started_at_ns"].to_numpy(np.int64), steps["call_id"].to_numpy(object))
    before = known["previous_call_id"].map(started[~started.index.duplicated()]).astype("Int64")
    # The difference of two unix times in ns fits a float; each of them does not.
    pause_s = (known["started_at_ns"].astype("Int64") - before).to_numpy(np.float64, na_value=np.nan) / 1e9
    missed = (known["resent_input_tokens"] - known["prefix_tokens"]).clip(lower=0).astype("int64")
    return known.assign(missed=missed, pause_s=pause_s)


def hits_by_pause(steps: pd.DataFrame) -> pd.DataFrame:
    """Return one row per provider, model and range of `PAUSES_S` with calls in it; columns as in `PAUSE_COLUMNS`.

    Realised, not simulated: what providers reported. `steps` is what `context.steps.context_steps` returns. Empty where
    no call reports its cache reads, or none goes on with a history.
    """
    rows = missed_tokens(steps)
    rows = rows[rows["pause_s"] >= 0]
    place = np.searchsorted(np.array(PAUSES_S), rows["pause_s"].to_numpy(np.float64), side="right") - 1
    return from_rows(_rows(rows.assign(place=place)), tuple(PAUSE_COLUMNS.values()))


def _rows(rows: pd.DataFrame) -> Iterator[tuple[Any, ...]]:
    keys: Any
    for keys, group in rows.groupby(["provider", "model", "place"], sort=True, dropna=False):
        provider, model, place = keys
        again, missed = int(group["resent_input_tokens"].sum()), int(group["missed"].sum())
        low, high = PAUSES_S[int(place)], PAUSES_S[int(place) + 1]
        yield (
            provider,
            None if pd.isna(model) else model,
            low,
            high if math.isfinite(high) else None,
            len(group),
            again,
            missed,
            1 - missed / again if again else None,
        )
