"""What each call adds to its context: prefix, append, what is fresh in it, what was sent before, where it was cut down.

The words are TraceLab's (arXiv 2606.30560; tracelab.cs.washington.edu: prefix_append_distribution,
adjusted_prefix_append, redundant_prefill, total_input_growth). Does no I/O; `growth.py` sums the rows up.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenflation.analysis.columns.context import APPEND_COLUMNS, CONTEXT_STEP_COLUMNS
from tokenflation.analysis.frames import from_arrays, prepared
from tokenflation.sdk.errors import FrameError, PlanError

__all__ = [
    "APPEND_GROUPS",
    "JITTER_TOKENS",
    "NEAR_WINDOW",
    "append_summary",
    "context_steps",
    "cut_down",
    "in_contexts",
    "known_windows",
]

NEAR_WINDOW = 0.8
"""Share of the context window from which on a call is near overflow."""

APPEND_GROUPS: tuple[str, ...] = ("task", "agent", "provider", "model", "prompted_by")
"""What calls can be grouped by."""

JITTER_TOKENS = 1024
"""A fall by so much is accounting. Source: TraceLab, total_input_growth, "micro-reduction"."""
_COMPACTED_SHARE = 0.5
"""A context that falls to this share of the one before was cut down: the falls of 24,665 calls of 362 recorded coding
sessions have two humps, around a loss of 80 % and below 20 %, and the valley between them is at half. Of 40 others it
finds the 17 compactions that they mark, and no more."""

_NEEDED = (
    "call_id", "task", "task_id", "agent", "agent_run_id", "step", "provider", "model", "response_model", "prompted_by",
    "started_at_ns", "input_tokens", "cache_read_tokens", "output_tokens", "reasoning_tokens", "block_tokens",
    "shared_blocks", "continues_call_id", "continues_evidence", "instructions_hash", "extra",
)  # fmt: skip
_MARK = '"gen_ai.conversation.compacted":true'
Floats = npt.NDArray[np.float64]


def context_steps(
    calls: pd.DataFrame, *, windows: Mapping[str, int] | None = None, reasoning_is_resent: bool = True
) -> pd.DataFrame:
    """Return one row per call that reports its input, in order; columns as in `columns.context.CONTEXT_STEP_COLUMNS`.

    Calls that generate nothing (embeddings, rankings) are left out where others generate: they are in no context.

    The previous call is the one whose history this one extends, as recorded; where a source does not say, the one
    before it in its agent run with the same model. With L the input, P the previous input and A the previous answer:

    * `append = L - prefix`, and `adjusted_append = max(0, append - A)`; a first call has no answer to take off;
    * `fresh = clip(max(0, L - P) - A, 0, append)`, of a first call its append;
    * re-sent is what `shared_blocks` says, else `min(L, P)`, nothing of it after a fall that looks like compaction.

    `reasoning_is_resent=False` leaves reasoning out of A: some models never see theirs again. `windows` gives context
    windows by model; without it, those that `known_windows` knows. A model that took more has a window unknown to us.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call reports its input.
    """
    rows = prepared(calls, _NEEDED, "context_steps")
    rows = rows[in_contexts(calls)].reset_index(drop=True)
    rows["model"] = rows["response_model"].fillna(rows["model"])
    before = _before(rows)
    number = {name: _numbers(rows[name]) for name in ("input_tokens", "output_tokens", "reasoning_tokens")}
    if np.isnan(number["input_tokens"]).all():
        raise FrameError(
            f"No call reports its input tokens (calls: {len(rows):,}), so nothing is known of contexts. "
            "`tokenflation info DB` shows what a store holds."
        )
    answer = number["output_tokens"]
    if not reasoning_is_resent:
        answer = answer - np.nan_to_num(number["reasoning_tokens"])
    size, first = number["input_tokens"], before < 0
    sizes_before = np.where(first, 0.0, size[np.maximum(before, 0)])
    answer_before = np.where(first, 0.0, answer[np.maximum(before, 0)])
    grown = np.where(first, np.nan, size - sizes_before)
    change = _change(first, grown, sizes_before)
    marks = _marks(rows)
    inferred = (change == "compacted") & (marks == 0)
    prefix, prefix_source, shared = _prefix(rows, size)
    append = size - prefix
    most = np.where(np.isnan(append), size, append)
    grown_or_all = np.where(first, size, np.maximum(grown, 0.0))
    kept = np.where(change == "compacted", 0.0, np.minimum(size, sizes_before))
    resent = np.where(np.isnan(shared), kept, shared)
    window = _window(rows["model"], size, windows)
    values = {name: rows[name].to_numpy() for name in CONTEXT_STEP_COLUMNS if name in rows} | {
        "model": _texts(rows["model"]),
        "prompted_by": _texts(rows["prompted_by"]),
        "output_tokens": _whole(number["output_tokens"]),
        "previous_call_id": np.ma.masked_array(rows["call_id"].to_numpy(object)[np.maximum(before, 0)], first),
        "grown_tokens": _whole(grown),
        "change": np.ma.masked_array(change, change == ""),
        "compactions": np.where(marks > 0, marks, inferred.astype(np.int64)),
        "compaction_source": np.ma.masked_array(
            np.where(marks > 0, "explicit", "inferred").astype(object), (marks == 0) & ~inferred
        ),
        "prefix_tokens": _whole(prefix),
        "prefix_source": prefix_source,
        "append_tokens": _whole(append),
        "adjusted_append_tokens": _whole(np.maximum(append - answer_before, 0.0)),
        "fresh_tokens": _whole(np.clip(grown_or_all - answer_before, 0.0, most)),
        "resent_input_tokens": _whole(resent),
        "resent_source": np.where(~np.isnan(shared), "blocks", np.where(np.isnan(resent), "none", "growth")),
        "context_window": _whole(window),
        "window_share": size / window,
    }
    told = ~np.isnan(size)
    return from_arrays({name: array[told] for name, array in values.items()}, tuple(CONTEXT_STEP_COLUMNS.values()))


def in_contexts(calls: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return which calls stand in a context: not those that generate nothing (embeddings, rankings), if others do."""
    silent = (calls["output_tokens"] == 0).fillna(False) & calls["continues_call_id"].isna()
    if "api" in calls:
        silent |= calls["api"].astype("str").str.contains("embed|rerank", regex=True).fillna(False)
    found = ~silent.to_numpy(bool)
    return found if found.any() else ~found


def append_summary(steps: pd.DataFrame, *, by: Sequence[str] = ("provider", "prompted_by")) -> pd.DataFrame:
    """Return one row per group of `context_steps`: `by`, then the columns of `columns.context.APPEND_COLUMNS`.

    Prefill amplification is how many tokens are computed for one that is fresh: `sum(append) / sum(fresh)` over the
    calls that go on with a history whose last input and answer are known. With prefixes known by blocks alone it is
    that of an ideal cache, so the calls of each source are counted. Cache efficiency is the share of what was sent
    again that the provider read. What it read beyond that others had put into its cache: another task or agent that
    begins alike, or the answer before, which comes back as input. So `resent_read = resent_input - missed + beyond`.
    Sources: TraceLab, redundant_prefill (5.3 over 4,265 sessions); FORECAST model, section 2.1.

    Raises:
        PlanError: `by` names something that is not in `APPEND_GROUPS`.
    """
    unknown = [name for name in by if name not in APPEND_GROUPS]
    if unknown:
        raise PlanError(f"Calls cannot be grouped by {unknown}; give some of {list(APPEND_GROUPS)}.")
    cached = steps["prefix_tokens"].notna()
    both = cached & steps["adjusted_append_tokens"].notna() & steps["previous_call_id"].notna()
    # How much is fresh needs the input of the call before too, not its answer alone.
    amplified = both & steps["fresh_tokens"].notna()
    read = steps["prefix_tokens"].where((steps["prefix_source"] == "provider") & steps["resent_input_tokens"].notna())
    resent = steps["resent_input_tokens"].where(read.notna())
    values = pd.DataFrame(
        {
            "calls": 1,
            "calls_by_provider": (steps["prefix_source"] == "provider").astype("int64"),
            "calls_by_blocks": (steps["prefix_source"] == "blocks").astype("int64"),
            "input_tokens": steps["input_tokens"].where(cached).astype("Int64"),
            "prefix_tokens": steps["prefix_tokens"],
            "append_tokens": steps["append_tokens"],
            "calls_adjusted": both.astype("int64"),
            "adjusted_append_tokens": steps["adjusted_append_tokens"].where(both),
            "amplified_append_tokens": steps["append_tokens"].where(amplified),
            "fresh_tokens": steps["fresh_tokens"].where(amplified),
            "calls_read_and_resent": read.notna().astype("int64"),
            "resent_input_tokens": resent,
            "resent_read_tokens": read,
            "missed_tokens": (resent - read).clip(lower=0),
            "beyond_tokens": (read - resent).clip(lower=0),
        }
    )
    keyed = pd.concat([steps[list(by)], values], axis=1).assign(_all=0)
    sums = keyed.groupby(list(by) or ["_all"], sort=True, dropna=False)[list(values)].sum(min_count=1).reset_index()
    fresh = _numbers(sums["fresh_tokens"])
    sums["prefill_amplification"] = _numbers(sums["amplified_append_tokens"]) / np.where(fresh > 0, fresh, np.nan)
    again = _numbers(sums["resent_input_tokens"])
    sums["cache_efficiency"] = 1 - _numbers(sums["missed_tokens"]) / np.where(again > 0, again, np.nan)
    return sums[[*by, *APPEND_COLUMNS]]


def known_windows(models: Iterable[str]) -> dict[str, int]:
    """Return the context windows, in tokens, of the models that the package genai-prices knows."""
    from genai_prices import data_snapshot  # half a second, and only who asks for windows pays it

    found = {}
    snapshot = data_snapshot.get_snapshot()
    for model in models:
        try:
            _, info = snapshot.find_provider_model(model, None, None, None)
        except LookupError:
            continue
        if info.context_window:
            found[model] = int(info.context_window)
    return found


def _before(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return the position of the previous call of each, -1 where there is none."""
    position = pd.Series(np.arange(len(rows)), rows.index)
    named = rows["continues_call_id"].map(pd.Series(position.to_numpy(), rows["call_id"].to_numpy())).fillna(-1)
    order = rows.sort_values(["step", "started_at_ns"], kind="stable").index
    told = position.loc[order][rows.loc[order, "input_tokens"].notna()]
    run = [rows.loc[told.index, name] for name in ("task", "task_id", "agent_run_id", "model")]
    earlier = told.groupby(run, dropna=False, sort=False).shift(fill_value=-1).reindex(rows.index, fill_value=-1)
    # A recorder that saw the messages and names no call knows that there is none.
    silent = rows["continues_call_id"].isna() & rows["instructions_hash"].isna() & (rows["step"] > 0)
    return np.where(silent, earlier, named).astype(np.int64)


def _change(first: npt.NDArray[np.bool_], grown: Floats, before: Floats) -> npt.NDArray[np.object_]:
    return np.select(
        [first, np.isnan(grown), grown >= 0, grown >= -JITTER_TOKENS, before + grown <= _COMPACTED_SHARE * before],
        ["first", "", "grew", "jitter", "compacted"],
        "reduced",
    ).astype(object)


def cut_down(rows: pd.DataFrame) -> npt.NDArray[np.bool_]:
    """Return before which calls the record says that the history was cut down: its `extra`, or `continues_evidence`."""
    flat = rows["extra"].str.replace(" ", "", regex=False)
    said = flat.str.contains(_MARK, regex=False) | (rows["continues_evidence"] == "compaction")
    return said.to_numpy(bool)


def _marks(rows: pd.DataFrame) -> npt.NDArray[np.int64]:
    """Return how often the record says that the history was cut down before each call."""
    marks = cut_down(rows).astype(np.int64)
    for at in np.flatnonzero(marks):
        several = json.loads(rows["extra"].iloc[at]).get("compactions")
        marks[at] = len(several) if isinstance(several, list) and several else 1
    return marks


def _prefix(rows: pd.DataFrame, size: Floats) -> tuple[Floats, npt.NDArray[np.object_], Floats]:
    """Return prefix and its source, and the tokens of the shared blocks."""
    read = _numbers(rows["cache_read_tokens"])
    shared = np.minimum(_numbers(rows["shared_blocks"]) * rows["block_tokens"].to_numpy(np.float64), size)
    source = np.select([~np.isnan(read), ~np.isnan(shared)], ["provider", "blocks"], "none").astype(object)
    return np.where(np.isnan(read), shared, np.minimum(read, size)), source, shared


def _window(models: "pd.Series[str]", size: Floats, windows: Mapping[str, int] | None) -> Floats:
    peaks = pd.Series(size, models.index).groupby(models).max()
    known = known_windows(map(str, peaks.index)) if windows is None else windows
    fits = {model: float(known[str(model)]) for model, peak in peaks.items() if peak <= known.get(str(model), -1)}
    return models.map(fits).to_numpy(np.float64, na_value=np.nan)


def _numbers(column: "pd.Series[Any]") -> Floats:
    return column.to_numpy(np.float64, na_value=np.nan)


def _whole(values: Floats) -> "np.ma.MaskedArray[Any, np.dtype[np.int64]]":
    gone = np.isnan(values)
    return np.ma.masked_array(np.where(gone, 0, values).astype(np.int64), gone)


def _texts(column: "pd.Series[Any]") -> "np.ma.MaskedArray[Any, np.dtype[np.object_]]":
    return np.ma.masked_array(column.to_numpy(object), column.isna())
