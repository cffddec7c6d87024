"""The columns of what the analysis says of contexts and caches: each once, with its unit and meaning.

Computes nothing.
"""

from tokenflation.sdk.store.tables import Column, by_name

__all__ = [
    "APPEND_COLUMNS",
    "BYTES_COLUMNS",
    "CACHE_COLUMNS",
    "CONTEXT_KIND_COLUMNS",
    "CONTEXT_RUN_COLUMNS",
    "CONTEXT_STEP_COLUMNS",
    "NEEDED_COLUMNS",
    "REUSE_COLUMNS",
    "SEGMENT_COLUMNS",
    "TTL_COLUMNS",
    "VOLATILE_COLUMNS",
]


SEGMENT_COLUMNS: dict[str, Column] = by_name(
    Column("call", "int", "position of the call among those with hashes, in order of start", required=True),
    Column("call_id", "text", "the call", required=True),
    Column("source_call_id", "text", "the call that used these blocks last before it", required=True),
    Column("first_block", "int", "position of the piece in the prompt, in blocks from 0", required=True),
    Column("blocks", "int", "blocks in the piece", required=True),
    Column("block_tokens", "int", "tokens per block", required=True),
    Column("tokens", "int", "tokens in the piece", required=True),
    Column("gap_s", "float", "s; start of the source to start of the call", required=True),
    Column("newer_blocks", "int", "distinct blocks used since the piece's first one was", required=True),
)
"""One row per reused piece of a prompt: leading blocks that the same earlier call used last."""

REUSE_COLUMNS: dict[str, Column] = by_name(
    Column("call_id", "text", "the call", required=True),
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task", required=True),
    Column("agent", "text", "name of the agent", required=True),
    Column("agent_run_id", "text", "id of the agent run", required=True),
    Column("step", "int", "order of the call in its agent run, from 0", required=True),
    Column("provider", "text", "who served the call", required=True),
    Column("model", "text", "model that answered, else the one asked for"),
    Column("prompted_by", "text", "user, tool or both; NULL = not recorded"),
    Column("started_at_ns", "int", "unix ns", required=True),
    Column("input_tokens", "int", "tokens; cached ones included", required=True),
    Column("block_tokens", "int", "tokens per block", required=True),
    Column("ideal_tokens", "int", "tokens; whole leading blocks that an earlier call of the model had", required=True),
    Column("own_task_tokens", "int", "tokens; of them, those that a call of the same task had", required=True),
    Column("other_task_tokens", "int", "tokens; the rest of them: only other tasks had those", required=True),
    Column("cache_read_tokens", "int", "tokens; realised: read from the cache, as the provider reports"),
    Column("lost_tokens", "int", "tokens; what ideal_tokens is above cache_read_tokens, at least 0"),
    Column(
        "unseen_tokens",
        "int",
        "tokens; what cache_read_tokens is above ideal_tokens: calls we did not see, or ends of blocks",
    ),
)
"""One row per call that has prefix hashes."""

CACHE_COLUMNS: dict[str, Column] = by_name(
    Column("calls", "int", "calls of the group", required=True),
    Column(
        "calls_with_cache_reads", "int", "of them, those whose provider reports input and cache reads", required=True
    ),
    Column("calls_with_blocks", "int", "of them, those with prefix hashes and input", required=True),
    Column("calls_with_both", "int", "of them, those with both", required=True),
    Column("cache_reported_input_tokens", "int", "tokens; input of the calls with cache reads"),
    Column("cache_read_tokens", "int", "tokens; read from the cache by them"),
    Column("realised_hit_rate", "float", "fraction by tokens; cache_read_tokens / cache_reported_input_tokens"),
    Column("realised_hit_rate_low", "float", "fraction; lower end of its interval, over tasks; NULL = below 10 tasks"),
    Column("realised_hit_rate_high", "float", "fraction; upper end of its interval"),
    Column("block_input_tokens", "int", "tokens; input of the calls with blocks"),
    Column("ideal_tokens", "int", "tokens; of it, what an infinite cache of the model would have had"),
    Column("other_task_tokens", "int", "tokens; of them, what only other tasks had sent"),
    Column("own_task_tokens", "int", "tokens; what the same task had sent, over the calls with own task"),
    Column("calls_with_own_task", "int", "of them, those with hashes, or with a count of shared blocks", required=True),
    Column("own_task_input_tokens", "int", "tokens; input of the calls with own task"),
    Column("ideal_hit_rate", "float", "fraction by tokens, the reuse bound; ideal_tokens / block_input_tokens"),
    Column("ideal_hit_rate_low", "float", "fraction; lower end of its interval, over tasks; NULL = below 10 tasks"),
    Column("ideal_hit_rate_high", "float", "fraction; upper end of its interval"),
    Column("own_task_hit_rate", "float", "fraction by tokens; own_task_tokens / own_task_input_tokens"),
    Column("both_input_tokens", "int", "tokens; input of the calls with both"),
    Column("lost_tokens", "int", "tokens; over the calls with both, what ideal is above realised"),
    Column("unseen_tokens", "int", "tokens; over the calls with both, what realised is above ideal"),
    Column("lost_share", "float", "fraction by tokens; lost_tokens / both_input_tokens"),
)
"""One row per group of calls: what the prefix cache gave, and what it could have given."""

TTL_COLUMNS: dict[str, Column] = by_name(
    Column("ttl_s", "float", "s; time to live since the last use; NULL = for ever", required=False),
    Column("calls", "int", "calls with prefix hashes and input", required=True),
    Column("input_tokens", "int", "tokens; their input", required=True),
    Column("hit_tokens", "int", "tokens; what a cache of this time to live and any size would have had", required=True),
    Column("hit_rate", "float", "fraction by tokens; hit_tokens / input_tokens"),
)
"""One row per group of calls and time to live."""

BYTES_COLUMNS: dict[str, Column] = by_name(
    Column("provider", "text", "who served the calls", required=True),
    Column("model", "text", "the model, whose cache it is"),
    Column("block_tokens", "int", "tokens per block; the cache holds whole ones", required=True),
    Column("cache_tokens", "int", "tokens that fit into the cache", required=True),
    Column("cache_bytes", "float", "bytes; cache_tokens x KV bytes per token; NULL where those are not given"),
    Column("calls", "int", "calls with prefix hashes and input", required=True),
    Column("input_tokens", "int", "tokens; their input", required=True),
    Column("hit_tokens", "int", "tokens; what a least-recently-used cache of this size would have had", required=True),
    Column("hit_rate", "float", "fraction by tokens; hit_tokens / input_tokens"),
    Column("share_of_ideal", "float", "fraction; hit_tokens / those of an infinite cache"),
)
"""One row per provider, model and size of cache."""

NEEDED_COLUMNS: dict[str, Column] = by_name(
    Column("provider", "text", "who served the calls", required=True),
    Column("model", "text", "the model, whose cache it is"),
    Column("block_tokens", "int", "tokens per block; the cache holds whole ones", required=True),
    Column("share_of_ideal", "float", "fraction of an infinite cache's hits to reach", required=True),
    Column("cache_tokens", "int", "tokens; the smallest cache that reaches it", required=True),
    Column("cache_bytes", "float", "bytes; cache_tokens x KV bytes per token; NULL where those are not given"),
    Column("hit_rate", "float", "fraction by tokens; of the calls with prefix hashes"),
)
"""One row per provider, model and share of the ideal."""

VOLATILE_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("agent", "text", "name of the agent", required=True),
    Column("provider", "text", "who served the calls", required=True),
    Column("model", "text", "the model, whose cache it is"),
    Column("part", "text", "system_prompt, tool_definitions, instructions (one of the two) or history", required=True),
    Column("calls", "int", "calls that should have begun as an earlier one did", required=True),
    Column("parted_calls", "int", "of them, those that part from all earlier calls in this part", required=True),
    Column("block", "int", "block at which most of them part, from 0", required=True),
    Column("block_calls", "int", "of the parted calls, those that part there", required=True),
    Column("first_block", "int", "earliest block at which one parts", required=True),
    Column("last_block", "int", "latest block at which one parts", required=True),
    Column("block_tokens", "int", "tokens per block", required=True),
    Column(
        "cacheable_tokens", "int", "tokens; what the calls should have had in common with earlier ones", required=True
    ),
    Column(
        "lost_tokens",
        "int",
        "tokens; of them, those behind the place where a call parts that the cache did not serve",
        required=True,
    ),
    Column("lost_share", "float", "fraction by tokens; lost_tokens / cacheable_tokens", required=True),
)
"""One row per part of an agent's prompts that changes although what is around it stays."""

CONTEXT_STEP_COLUMNS: dict[str, Column] = by_name(
    Column("call_id", "text", "the call", required=True),
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task", required=True),
    Column("agent", "text", "name of the agent", required=True),
    Column("agent_run_id", "text", "id of the agent run", required=True),
    Column("step", "int", "order of the call in its agent run, from 0", required=True),
    Column("provider", "text", "who served the call", required=True),
    Column("model", "text", "model that answered, else the one asked for"),
    Column("prompted_by", "text", "user, tool or both; NULL = not recorded"),
    Column("started_at_ns", "int", "unix ns", required=True),
    Column("input_tokens", "int", "tokens; cached ones included", required=True),
    Column("output_tokens", "int", "tokens; reasoning included"),
    Column("previous_call_id", "text", "the call whose history this one goes on with; NULL = none is known"),
    Column("grown_tokens", "int", "tokens; input above that of the previous call, negative where it shrank"),
    Column("change", "text", "first, grew, jitter, reduced or compacted; NULL = the previous input is not reported"),
    Column("compactions", "int", "times the history was cut down before this call", required=True),
    Column("compaction_source", "text", "explicit: a mark in the record; inferred: the context fell; NULL = none"),
    Column("prefix_tokens", "int", "tokens; read from the cache, else leading blocks that an earlier call had"),
    Column("prefix_source", "text", "provider, blocks or none", required=True),
    Column("append_tokens", "int", "tokens; input_tokens - prefix_tokens: what has to be computed"),
    Column("adjusted_append_tokens", "int", "tokens; append_tokens without the previous answer, at least 0"),
    Column("fresh_tokens", "int", "tokens; growth without the previous answer, from 0 to append_tokens"),
    Column("resent_input_tokens", "int", "tokens; input that an earlier call had as input too"),
    Column("resent_source", "text", "blocks, growth or none", required=True),
    Column("context_window", "int", "tokens; most the model accepts; NULL = not known"),
    Column("window_share", "float", "fraction; input_tokens / context_window"),
)
"""One row per call that reports its input."""

_CONTEXT_SUMS = (
    Column("calls", "int", "calls that report input", required=True),
    Column("input_tokens", "int", "tokens; sum over them", required=True),
    Column("compactions_explicit", "int", "times a mark says that the history was cut down", required=True),
    Column("compactions_inferred", "int", "times the context fell to half or less, without a mark", required=True),
    Column("reductions", "int", "times it fell otherwise by more than 1,024 tokens", required=True),
    Column("calls_with_resent", "int", "calls of which it is known what was re-sent", required=True),
    Column("resent_known_input_tokens", "int", "tokens; their input", required=True),
    Column("resent_input_tokens", "int", "tokens; of it, what an earlier call had as input too", required=True),
    Column("distinct_tokens", "int", "tokens; the rest of it: input for the first time", required=True),
    Column("input_over_distinct", "float", "x; re-send factor: resent_known_input_tokens / distinct_tokens"),
    Column("redundant_input_ratio", "float", "fraction; resent_input_tokens / resent_known_input_tokens"),
    Column("calls_near_window", "int", "calls that fill 80 % or more of the context window", required=True),
    Column("calls_with_window", "int", "calls whose model's context window is known", required=True),
)

CONTEXT_RUN_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("task_id", "text", "id of the task", required=True),
    Column("agent", "text", "name of the agent", required=True),
    Column("agent_run_id", "text", "id of the agent run", required=True),
    Column("steps", "int", "calls of the agent run, those without input too", required=True),
    *_CONTEXT_SUMS,
    Column("first_context_tokens", "int", "tokens; input of its first call", required=True),
    Column("last_context_tokens", "int", "tokens; input of its last call", required=True),
    Column("peak_context_tokens", "int", "tokens; its largest input", required=True),
    Column("input_over_peak_context", "float", "x; re-send factor: input_tokens / peak_context_tokens"),
    Column("growth_per_step", "float", "tokens per step; slope of the line through its inputs; NULL = refused"),
    Column("growth_exponent", "float", "dlog(input) / dlog(steps) at its length, from that line; NULL = refused"),
    Column("growth_exponent_fit", "float", "slope of log(input so far) against log(step); NULL = refused"),
    Column("growth_r2", "float", "fraction of the variance that the latter explains"),
    Column("growth_refused", "text", "why there is no exponent; NULL = there is one"),
)
"""One row per agent run with at least one call that reports input."""

CONTEXT_KIND_COLUMNS: dict[str, Column] = by_name(
    Column("task", "text", "kind of the task", required=True),
    Column("agent", "text", "name of the agent", required=True),
    Column("runs", "int", "agent runs with at least one call that reports input", required=True),
    Column("steps", "int", "calls of these runs, those without input too", required=True),
    *_CONTEXT_SUMS,
    Column("peak_context_tokens", "int", "tokens; largest input of one call", required=True),
    Column("peaks_tokens", "int", "tokens; sum of the largest inputs of the runs", required=True),
    Column("input_over_peak_context", "float", "x; re-send factor: input_tokens / peaks_tokens"),
    Column("input_over_peak_context_low", "float", "x; lower end of its interval, over tasks; NULL = below 10 tasks"),
    Column("input_over_peak_context_high", "float", "x; upper end of its interval"),
    Column("redundant_input_ratio_low", "float", "fraction; lower end of its interval, over tasks"),
    Column("redundant_input_ratio_high", "float", "fraction; upper end of its interval"),
    Column("growth_per_step", "float", "tokens per step; median over the runs that have one"),
    Column("run_growth_exponent", "float", "growth exponent within a run; median over the runs that have one"),
    Column("growth_exponent", "float", "slope of log(input of a run) against log(its steps); NULL = refused"),
    Column("growth_exponent_low", "float", "lower end of its interval, by leaving out each task"),
    Column("growth_exponent_high", "float", "upper end of its interval"),
    Column("growth_runs", "int", "runs that it rests on", required=True),
    Column("growth_refused", "text", "why there is no exponent; NULL = there is one"),
)
"""One row per kind of task and agent."""

APPEND_COLUMNS: dict[str, Column] = by_name(
    Column("calls", "int", "calls that report input", required=True),
    Column("calls_by_provider", "int", "of them, those whose prefix the provider reports", required=True),
    Column(
        "calls_by_blocks", "int", "of them, those whose prefix is the leading blocks an earlier call had", required=True
    ),
    Column("input_tokens", "int", "tokens; input of the calls with a prefix"),
    Column("prefix_tokens", "int", "tokens; part of it"),
    Column("append_tokens", "int", "tokens; the rest of it"),
    Column("calls_adjusted", "int", "calls with a prefix that go on with a known answer", required=True),
    Column("adjusted_append_tokens", "int", "tokens; over those calls"),
    Column(
        "amplified_append_tokens", "int", "tokens; append_tokens over those of them whose previous input is known too"
    ),
    Column("fresh_tokens", "int", "tokens; over the same calls"),
    Column("prefill_amplification", "float", "x; amplified_append_tokens / fresh_tokens"),
    Column(
        "calls_read_and_resent",
        "int",
        "calls that report cache reads, and of which what was re-sent is known",
        required=True,
    ),
    Column("resent_input_tokens", "int", "tokens; over those calls, input that an earlier call had as input too"),
    Column("resent_read_tokens", "int", "tokens; over those calls, read from the cache"),
    Column("missed_tokens", "int", "tokens; over those calls, what re-sent is above read: computed again"),
    Column(
        "beyond_tokens",
        "int",
        "tokens; over those calls, what read is above re-sent: of prompts of others that begin alike, or of answers",
    ),
    Column("cache_efficiency", "float", "fraction by tokens; 1 - missed_tokens / resent_input_tokens"),
)
"""One row per group of calls: what has to be computed, and how much of it is new."""
