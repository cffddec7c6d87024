"""Finds what keeps prompts from sharing their beginning: a timestamp or an id in front of what stays the same.

Two kinds of calls should begin as an earlier one did. A call that goes on with a history: with all of the prompt
before, unless that was cut down or another agent, with instructions of its own, takes over. The first call of an
agent run: with the system prompt and tool definitions of the run before it of the same agent, if they are of equal
size. Where such a call parts from every earlier one sooner, something changes there. Knows no text: it names the
block and the part of the prompt.

The order is that of the recorded prompt: system prompt, tool definitions, messages. A provider that puts the tools
first (docs.anthropic.com, "Prompt caching": tools, system, messages) keeps their blocks when the system prompt changes:
what it read from its cache all the same is not lost.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from tokenflation.analysis.columns.context import VOLATILE_COLUMNS
from tokenflation.analysis.context.prefix import hashed_calls, reuse_segments
from tokenflation.analysis.context.steps import JITTER_TOKENS, cut_down
from tokenflation.analysis.frames import from_records
from tokenflation.sdk.words import percent

__all__ = ["volatile_prefixes", "volatile_sentence"]

_MORE = (
    "system_tokens", "tool_definition_tokens", "instructions_hash", "continues_call_id", "continues_evidence", "extra",
)  # fmt: skip
_SIZE_TOLERANCE = 0.05
_TOOL_DENSITY = (0.4, 1.5)
"""Tokens per byte of tool definitions against those of a system prompt, from least to most: `parts.Splitter`."""
_LEAST_SHARE = 0.01
_UNNAMED = "agent"
"""Name of an agent that nobody named."""

Ints = npt.NDArray[np.int64]


def volatile_prefixes(calls: pd.DataFrame, *, least_share: float = _LEAST_SHARE) -> pd.DataFrame:
    """Return one row per agent, model and part of the prompt that changes; as in `columns.context.VOLATILE_COLUMNS`.

    What costs most tokens comes first. A place counts if at least two calls part there and they lose `least_share` of
    what the agent's calls should have shared. Runs are compared only where their instructions are recorded as hashes;
    block ids of other tools' traces mean nothing outside of one session.

    Raises:
        FrameError: `calls` is empty, lacks columns, or no call has both block hashes and input tokens.
    """
    rows = hashed_calls(calls, "volatile_prefixes", _MORE)
    shared = np.zeros(len(rows), np.int64)
    segments = reuse_segments(calls)
    np.add.at(shared, segments["call"].to_numpy(), segments["blocks"].to_numpy())
    before, expected = _expected(rows)
    read = rows["cache_read_tokens"].to_numpy(np.float64, na_value=0) // rows["block_tokens"].to_numpy(np.int64)
    lost = np.maximum(expected - np.maximum(shared, read.astype(np.int64)), 0)
    found = rows.assign(expected=expected, block=shared, lost=lost)
    found["part"] = _parts(rows, before, shared)
    # The same instructions cannot part: their end is only estimated, and the estimate gets better.
    found.loc[found["continues_call_id"].isna() & _same_instructions(rows, before), "lost"] = 0
    keys = ["task", "agent", "provider", "model", "block_tokens"]
    found = found[expected > 0]
    places = []
    for _, group in found.groupby(keys, sort=False, dropna=False):
        cacheable = int((group["expected"] * group["block_tokens"]).sum())
        parted = group[group["lost"] > 0]
        # Whatever changes first hides the rest of the instructions: they have one place, and the history another.
        for _, one in parted.groupby(parted["part"] == "history", sort=True):
            if len(one) > 1:
                places.append(_place(one, len(group), cacheable))
    kept = [place for place in places if place["lost_share"] >= least_share]
    kept.sort(key=lambda place: -place["lost_tokens"])
    return from_records(kept, VOLATILE_COLUMNS)


def volatile_sentence(place: "pd.Series[Any]") -> str:
    """Return a row of `volatile_prefixes` as one sentence."""
    calls, parted, block, size = (int(place[name]) for name in ("calls", "parted_calls", "block", "block_tokens"))
    which = "every call" if parted == calls else f"{parted:,} of {calls:,} calls"
    if place["block_calls"] == parted:
        where = f"Block {block:,} (tokens {block * size:,} to {(block + 1) * size - 1:,}) differs"
    else:
        where = f"A block from {place['first_block']:,} to {place['last_block']:,} (mostly {block:,}) differs"
    of = str(place["task"]) if place["agent"] in (place["task"], _UNNAMED) else f"{place['task']} / {place['agent']}"
    what = {
        "system_prompt": "something in the system prompt changes",
        "tool_definitions": "something in the tool definitions changes",
        "instructions": "something in the system prompt or the tool definitions changes",
        "history": "something in the earlier messages changes",
    }[str(place["part"])]
    share = percent(place["lost_share"]) if place["lost_share"] >= 0.01 else "less than 1 %"
    cost = f"{share} of the cacheable prefix ({place['lost_tokens']:,} tokens)"
    return f"{where} in {which} of `{of}`: {what}; it costs you {cost}."


def _place(parted: pd.DataFrame, calls: int, cacheable: int) -> dict[str, Any]:
    counts = parted["block"].value_counts()
    most = int(counts.max())
    block = int(counts[counts == most].index.min())
    first = parted[parted["block"] == block].iloc[0]
    lost = int((parted["lost"] * parted["block_tokens"]).sum())
    return {
        **{name: first[name] for name in ("task", "agent", "provider", "part")},
        "model": None if pd.isna(first["model"]) else first["model"],
        "calls": calls,
        "parted_calls": len(parted),
        "block": block,
        "block_calls": most,
        "first_block": int(parted["block"].min()),
        "last_block": int(parted["block"].max()),
        "block_tokens": int(first["block_tokens"]),
        "cacheable_tokens": cacheable,
        "lost_tokens": lost,
        "lost_share": lost / cacheable,
    }


def _expected(rows: pd.DataFrame) -> tuple[Ints, Ints]:
    """Return for each call the one that it should begin as (-1: none), and how many blocks they should share."""
    domain = ["provider", "model", "block_tokens"]
    position = pd.Series(np.arange(len(rows)), rows.index)
    run = [rows[name] for name in ("task", "task_id", "agent_run_id", *domain)]
    recorded = rows["instructions_hash"].notna()
    named = rows["continues_call_id"].map(pd.Series(position.to_numpy(), rows["call_id"].to_numpy())).fillna(-1)
    earlier = position.groupby(run, dropna=False).shift(fill_value=-1)
    going_on = named.where(recorded, earlier).to_numpy(np.int64)
    first = recorded & rows["continues_call_id"].isna()
    agent = [rows[name] for name in ("task", "agent", *domain)]
    runs = position[first].groupby([one[first] for one in agent], dropna=False).shift(fill_value=-1)
    size = rows["input_tokens"].to_numpy(np.int64)
    fixed = (rows["system_tokens"] + rows["tool_definition_tokens"]).to_numpy(np.float64, na_value=np.nan)
    block = rows["block_tokens"].to_numpy(np.int64)
    before = np.where(first, runs.reindex(rows.index, fill_value=-1).to_numpy(np.int64), going_on)
    other = np.maximum(before, 0)
    same = np.logical_and.reduce([_equal(rows[name], other) for name in domain])
    # A prompt may shrink a little and still go on.
    extends = (size >= size[other] - JITTER_TOKENS) & ~cut_down(rows)
    alike = np.abs(fixed - fixed[other]) <= np.maximum(block, _SIZE_TOLERANCE * fixed)
    taken_over = ~_equal(rows["agent_run_id"], other) & ~_equal(rows["instructions_hash"], other)
    history = np.where(extends & ~taken_over, np.minimum(size[other], size) // block, 0)
    instructions = np.where(alike, np.fmin(fixed, fixed[other]), 0) // block
    blocks = np.where(first, instructions, history)
    return before, np.where((before >= 0) & same, blocks, 0).astype(np.int64)


def _equal(column: "pd.Series[Any]", other: Ints) -> npt.NDArray[np.bool_]:
    codes = pd.factorize(column)[0]
    return np.asarray(codes == codes[other])


def _same_instructions(rows: pd.DataFrame, before: Ints) -> npt.NDArray[np.bool_]:
    known = rows["instructions_hash"].notna().to_numpy(bool)
    return known & (before >= 0) & _equal(rows["instructions_hash"], np.maximum(before, 0))


def _parts(rows: pd.DataFrame, before: Ints, shared: Ints) -> npt.NDArray[np.object_]:
    """Return the part of the prompt that the first block behind the shared ones lies in."""
    system, tools = (
        rows[name].to_numpy(np.float64, na_value=0) for name in ("system_tokens", "tool_definition_tokens")
    )
    at = shared * rows["block_tokens"].to_numpy(np.int64)
    # Blocks are cut as if system prompt and tools had the same tokens per byte: the border lies between these places.
    with np.errstate(invalid="ignore"):
        low, high = ((system + tools) * system / (system + tools / density) for density in _TOOL_DENSITY)
    block = rows["block_tokens"].to_numpy(np.int64)
    recorded = rows["instructions_hash"].notna().to_numpy(bool)
    changed = np.where(recorded, ~_same_instructions(rows, before), at < system + tools)
    inside = np.select(
        [tools == 0, system == 0, ~recorded, at + block <= low, at >= high],
        ["system_prompt", "tool_definitions", "instructions", "system_prompt", "tool_definitions"],
        "instructions",
    )
    return np.where(changed, inside, "history").astype(object)
