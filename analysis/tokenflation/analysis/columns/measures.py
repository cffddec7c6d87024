"""The measures of a profile, each with its definition, unit and source. Knows nothing of how they are computed.

All come from calls alone. A number that a provider does not report is missing, never 0: where a measure needs two
numbers of a call, it is over the calls that report both, and its coverage says which share of the calls that is.
"""

from dataclasses import dataclass
from typing import Literal

__all__ = ["MEASURES", "QUANTILES", "RATIOS", "STATISTICS", "Measure"]

QUANTILES: dict[str, float] = {"p10": 0.1, "p50": 0.5, "p90": 0.9, "p99": 0.99}
"""Quantiles of a profile; between two samples they are interpolated linearly (SQL's percentile_cont,
NumPy's default).
"""

STATISTICS: tuple[str, ...] = ("mean", *QUANTILES, "sum")
"""Statistics of a profile, in order; a ratio has no sum."""

_PROVIDER = "usage of the provider"
_SPLIT = "recorder's split of the input"
_SHAPE = "structure of the calls"


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of a profile; its columns are `<name>_<statistic>`."""

    name: str
    unit: Literal["count", "tokens", "x", "fraction", "s"]
    label: str
    """What tables call it."""
    column: str = ""
    """Column of the tasks that it reads; its name where empty."""
    ratio: tuple[str, str] | None = None
    """Task columns it is the ratio of: then `_mean` is the ratio of their sums, so that a big task weighs what it
    costs.
    """
    over_calls: bool = False
    """Its quantiles are over all calls of the kind, not over its tasks."""
    total: bool = True
    """It has a `_sum`: adding it up over tasks means something."""
    covered: str = ""
    """Task column that counts the calls it can speak of; `_coverage` is their share. All calls where empty."""
    meaning: str = ""
    """Its definition."""
    source: str = _PROVIDER
    """Where its numbers come from."""

    @property
    def reads(self) -> str:
        """Return the column of the tasks that it reads."""
        return self.column or self.name


def _count(name: str, label: str, meaning: str, source: str = _SHAPE) -> Measure:
    return Measure(name, "count", label, meaning=meaning, source=source)


def _tokens(name: str, label: str, covered: str, meaning: str, source: str = _PROVIDER) -> Measure:
    return Measure(name, "tokens", label, covered=covered, meaning=meaning, source=source)


def _share(name: str, label: str, ratio: tuple[str, str], covered: str, meaning: str,
           source: str = _PROVIDER) -> Measure:  # fmt: skip
    return Measure(name, "fraction", label, ratio=ratio, covered=covered, meaning=meaning, source=source)


def _of_billed(part: str, label: str, meaning: str) -> Measure:
    return _share(f"{part}_of_billed", label, (f"{part}_tokens", "billed_tokens"), "calls_with_billed",
                  f"{meaning} / (input + output); the shares of billed tokens add up to 1")  # fmt: skip


def _coverage(name: str, label: str, meaning: str) -> Measure:
    return _share(f"{name}_share", label, (f"{name}_calls", "calls"), "", f"{meaning} / calls; the three add up to 1")


MEASURES: tuple[Measure, ...] = (
    _count("calls", "calls", "calls, failed ones too"),
    _count("failed_calls", "failed calls", "calls whose status is error, cut or cancelled"),
    _count("attempts", "HTTP attempts", "HTTP attempts of all calls"),
    _count("calls_with_usage", "calls with usage", "calls that report input and output tokens", _PROVIDER),
    _coverage("reported", "usage reported", "calls with the final counts of input and output"),
    _coverage("partial", "usage in part", "calls with one of the two counts, or with counts of a cut answer"),
    _coverage("unreported", "usage not reported", "calls with neither count"),
    _count("tool_calls", "tool calls", "client tool calls that the answers ask for"),
    _count("agent_runs", "agent runs", "agent runs with at least one call"),
    _count("sub_agent_runs", "sub-agent runs", "agent runs inside another one (depth > 0)"),
    _count("sub_agent_calls", "sub-agent calls", "calls inside another agent run (depth > 0)"),
    Measure("depth", "count", "depth", total=False, meaning="levels of the deepest call", source=_SHAPE),
    _tokens("input_tokens", "input tokens", "calls_with_input", "prompt tokens, cached ones included"),
    _tokens("output_tokens", "output tokens", "calls_with_output", "generated tokens, reasoning included"),
    Measure("peak_context_tokens", "tokens", "peak context", total=False, covered="calls_with_input",
            meaning="largest input of one call"),
    Measure("input_over_peak_context", "x", "input / peak context", ratio=("input_tokens", "peak_context_tokens"),
            covered="calls_with_input", meaning="input tokens / peak context: how often the context was read"),
    Measure("accumulated_over_trajectory", "x", "accumulated / trajectory",
            ratio=("accumulated_tokens", "trajectory_tokens"), covered="calls_with_input",
            meaning="input + output of the calls that report input / the same of the longest call of each agent run, "
            "summed: what was billed for each token that stands in a trajectory; a compaction hides what it dropped"),
    Measure("input_output_ratio", "x", "input : output", ratio=("paired_input_tokens", "paired_output_tokens"),
            covered="calls_with_usage", meaning="input tokens / output tokens, of the calls that report both"),
    Measure("isl", "tokens", "input of a call (ISL)", ratio=("input_tokens", "calls_with_input"), over_calls=True,
            covered="calls_with_input", meaning="input tokens of one call"),
    Measure("osl", "tokens", "output of a call (OSL)", ratio=("output_tokens", "calls_with_output"), over_calls=True,
            covered="calls_with_output", meaning="output tokens of one call"),
    Measure("task_isl", "tokens", "mean ISL of a task", "isl", ("input_tokens", "calls_with_input"),
            covered="calls_with_input", meaning="input tokens / calls that report them"),
    Measure("task_osl", "tokens", "mean OSL of a task", "osl", ("output_tokens", "calls_with_output"),
            covered="calls_with_output", meaning="output tokens / calls that report them"),
    _tokens("cache_read_tokens", "cache reads", "calls_with_cache", "input read from the provider's prefix cache"),
    _tokens("cache_write_tokens", "cache writes", "calls_with_cache_writes", "input written to the provider's prefix cache"),
    _tokens("fresh_tokens", "fresh input", "calls_with_cache",
            "input neither read from the cache nor written to it, of the calls that report reads"),
    _share("cache_hit_rate", "cache hits by tokens", ("cache_read_tokens", "cache_reported_input_tokens"),
           "calls_with_cache", "cache reads / input, of the calls that report both"),
    _tokens("shared_prefix_tokens", "shared prefix", "calls_with_shared_prefix", "leading tokens that an earlier call had too, in whole blocks",
            "prefix blocks of the recorder"),
    _share("cache_hit_rate_blocks", "cache hits by blocks", ("shared_blocks", "prefix_blocks"), "calls_with_shared_blocks",
           "leading blocks that an earlier call had too / blocks of the prompt (as the source counts them, else input / "
           "block size, rounded up), of the calls that know both", "prefix blocks of the recorder"),
    _tokens("reasoning_tokens", "reasoning tokens", "calls_with_reasoning", "output spent before the answer"),
    _share("reasoning_share", "reasoning share", ("reasoning_tokens", "reasoning_reported_output_tokens"),
           "calls_with_reasoning", "reasoning / output, of the calls that report both"),
    _share("reasoning_unreported_share", "reasoning unknown", ("reasoning_unreported_output_tokens", "output_tokens"),
           "calls_with_output", "output of the calls that do not report reasoning / output"),
    _of_billed("cache_read", "billed: cache reads", "cache reads"),
    _of_billed("cache_write", "billed: cache writes", "cache writes"),
    _of_billed("fresh", "billed: fresh input", "fresh input"),
    _of_billed("cache_unreported_input", "billed: cache unknown", "input of the calls that report no reads"),
    _of_billed("visible", "billed: answers", "output that is not reasoning, of the calls that report reasoning"),
    _of_billed("reasoning", "billed: reasoning", "reasoning"),
    _of_billed("reasoning_unreported_output", "billed: reasoning unknown",
               "output of the calls that do not report reasoning"),
    _tokens("system_tokens", "input: system prompt", "calls_with_parts", "system prompts", _SPLIT),
    _tokens("tool_definition_tokens", "input: tool definitions", "calls_with_parts", "tool definitions", _SPLIT),
    _tokens("resent_tokens", "input: re-sent history", "calls_with_parts",
            "history that an earlier call sent or produced", _SPLIT),
    _tokens("tool_result_tokens", "input: tool results", "calls_with_parts",
            "tool results in the first request that brings them", _SPLIT),
    _tokens("new_tokens", "input: new", "calls_with_parts", "everything else", _SPLIT),
    _share("observation_share", "observation share", ("tool_result_tokens", "parts_input_tokens"), "calls_with_parts",
           "tool results in the first request that brings them / input", _SPLIT),
    _share("fixed_overhead_share", "fixed overhead", ("overhead_tokens", "parts_input_tokens"), "calls_with_parts",
           "(system prompt + tool definitions) / input: what each call pays before it says anything", _SPLIT),
    Measure("duration_s", "s", "duration", covered="calls_with_duration",
            meaning="first start to last known end, of tasks whose end is known", source="clock of the recorder"),
)  # fmt: skip
"""The measures of a profile, in the order in which they are shown."""

RATIOS: tuple[Measure, ...] = tuple(measure for measure in MEASURES if measure.ratio is not None)
"""Those whose mean is a ratio of sums; they have an interval too, `<name>_low` and `<name>_high`."""
