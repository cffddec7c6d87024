"""What an export is asked for and what it did: the options, the counts made on the way, and the summary.

Knows nothing of any format.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

import pandas as pd

from tokenflation.sdk.words import many, percent

__all__ = ["ExportOptions", "Tally", "WriteSummary", "notes_of", "with_progress"]

_T = TypeVar("_T")

_NAMED = 10
"""Skipped calls that are named one by one; the rest are only counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """What the user chose for one format alone."""

    sessions: bool = False
    """Mooncake only: write `session_id`."""
    start_offsets_s: Mapping[str, float] = field(default_factory=dict)
    """Mooncake only: task id to the time its first call arrives, s from the start of the trace."""


@dataclass(slots=True)
class Tally:
    """Counts that grow while an export is written; one per export."""

    calls: int = 0
    sub_agent_runs: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    blocks: int = 0
    synthesised: int = 0
    """Calls without hashes, whose ids repeat the recorded number of shared blocks."""
    cache_reads: int = 0
    """Calls with neither hashes nor shared-block counts, whose ids repeat what the provider read from its cache."""
    unshared: int = 0
    """Calls with none of the three: every id is new."""
    short_shared: int = 0
    """Calls whose recorded shared blocks no earlier call is long enough for."""
    hidden_calls: int = 0
    """Calls that share with an earlier call a beginning which ends inside a block of the file."""
    hidden_tokens: int = 0
    """What they share beyond the last whole block, in tokens; the file does not show it."""
    openings: dict[tuple[str, str], bytes] = field(default_factory=dict)
    """Block hashes of the last prompt that began an agent run, by kind of task and name of the agent."""
    between_calls: int = 0
    """Calls that begin as calls of other tasks do, where ids hold within one task."""
    between_tokens: int = 0
    """What they share with other tasks beyond what they share with their own, in tokens; the file does not show it."""
    padded: int = 0
    trimmed: int = 0
    no_output: int = 0
    empty_output: int = 0
    least_output: int = 0
    """Tokens that an answer of none, or of an unknown number, is written as."""
    unnamed_models: set[str] = field(default_factory=set)
    """Models of the calls written, where the format names none."""
    flattened_runs: int = 0
    in_turn: int = 0
    merged_sessions: int = 0
    promoted_sessions: int = 0
    unstreamed: int = 0
    """Streamed calls of sub-agents, written as plain ones."""
    undated_sessions: int = 0
    empty_sub_agents: int = 0
    skipped: int = 0
    skipped_sessions: int = 0
    skipped_ids: list[str] = field(default_factory=list)

    def add(self, input_tokens: int, output_tokens: int | None) -> None:
        """Count a call that is written."""
        self.calls += 1
        self.input_tokens += input_tokens
        self.output_tokens += max(output_tokens or 0, self.least_output)
        self.no_output += output_tokens is None
        self.empty_output += output_tokens == 0

    def skip(self, call_id: str) -> None:
        """Count a call that cannot be written, and keep the names of the first few."""
        self.skipped += 1
        if len(self.skipped_ids) < _NAMED:
            self.skipped_ids.append(call_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteSummary:
    """What was written, what was not, and what a reader of the file must know."""

    format: str
    path: str
    sessions: int
    calls: int
    sub_agent_runs: int
    """Agent runs written as sub-agents; 0 where the format has none."""
    input_tokens: int | None
    """Of all calls together, as written; None where no call reports them and the format says so."""
    output_tokens: int | None
    """The same of outputs: one of 0, or of an unknown number, counts as what the format writes for it."""
    block_size: int
    """Tokens per block in the file."""
    blocks: int
    """Block ids written."""
    skipped_calls: int
    """Calls that cannot be written: no input count, or an input of 0 tokens."""
    skipped_call_ids: tuple[str, ...]
    """The first ten of them."""
    notes: tuple[str, ...]
    """One sentence for everything in the file that was not recorded as such."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain JSON values."""
        return asdict(self)


_NOTES = (
    ("skipped", "call", "skipped: no input count, or 0 input tokens, which readers refuse"),
    ("skipped_sessions", "task", "left out: no call with an input count"),
    ("synthesised", "call", "without prefix hashes: block ids made up to repeat the recorded number of shared blocks"),
    (
        "cache_reads",
        "call",
        "without prefix hashes: block ids made up to repeat the tokens that the provider read from its cache",
    ),
    (
        "unshared",
        "call",
        "with neither prefix hashes nor counts of what was shared: their blocks are shared with no earlier call",
    ),
    ("short_shared", "call", "sharing more blocks than any earlier written call has: only those that there are"),
    ("padded", "call", "with fewer hashes than ceil(input / block): new ids for the blocks at the end"),
    ("trimmed", "call", "with more hashes than ceil(input / block): the surplus left out"),
    ("no_output", "call", "with no output count: written as {least}, so that what they decode is not in the trace"),
    (
        "empty_output",
        "call",
        "with 0 output tokens (an embedding's, for one): written as {least}; load generators ask for 1 or more",
    ),
    ("flattened_runs", "agent run", "deeper than one level: written inside the sub-agent that was running"),
    ("in_turn", "call", "begun while another of its task ran: Dynamo sends them one after another (--sessions)"),
    ("merged_sessions", "task", "with several outermost agent runs: written as one list, in order of time"),
    ("promoted_sessions", "task", "whose outermost calls have no input count: the next level written as outermost"),
    (
        "unstreamed",
        "streamed call",
        "of sub-agents: written as plain, without time to first token: inference-perf takes no other",
    ),
    ("empty_sub_agents", "sub-agent", "of the source without calls: left out, since Dynamo refuses the file with them"),
    (
        "undated_sessions",
        "task",
        "imported without a date: arriving at 0; from Python, write(start_offsets_s=) spreads them",
    ),
)


def notes_of(tally: Tally, *, block_size: int, block_tokens: int) -> tuple[str, ...]:
    """Return one sentence per count that is not 0; sizes of a block, of the file and of the store are in tokens."""
    counted = ((getattr(tally, name), noun, text) for name, noun, text in _NOTES)
    notes = [f"{many(count, noun)} {text.format(least=tally.least_output)}" for count, noun, text in counted if count]
    if len(tally.unnamed_models) > 1:
        notes.append(
            f"calls of {len(tally.unnamed_models)} models: the format names none, so that readers take them for one"
        )
    if tally.hidden_calls:
        share = tally.hidden_tokens / tally.input_tokens
        notes.append(
            f"{many(tally.hidden_calls, 'call')} sharing a beginning that ends inside a block of "
            f"{block_size:,} tokens: {tally.hidden_tokens:,} tokens of reuse ({percent(share)} of the input) do not show; "
            f"blocks of {block_tokens:,} keep them"
        )
    if tally.between_calls:
        share = tally.between_tokens / tally.input_tokens
        notes.append(
            f"{many(tally.between_calls, 'call')} beginning as calls of other tasks do: {tally.between_tokens:,} tokens or "
            f"more of reuse ({percent(share)} of the input) do not show, since ids of this format hold within one task; "
            f"mooncake with blocks of {block_tokens:,} keeps them"
        )
    return tuple(notes)


def with_progress(
    found: Iterator[_T], calls: pd.DataFrame, progress: Callable[[int, int], None] | None
) -> Iterator[_T]:
    """Yield what is found of each task, and tell `progress` of how many, and of how many there are."""
    if progress is None:
        yield from found
        return
    total = len(calls.filter(["task", "task_id"]).drop_duplicates())
    for done, one in enumerate(found, start=1):
        yield one
        progress(done, total)
