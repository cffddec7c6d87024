"""What options choose from and are by default where the analysis says it, so that help and slips of the pen load none.

Tests hold each to what it is of.
"""

__all__ = ["CACHE_GROUPS", "CACHE_TABLES", "CONTEXT_TABLES", "FORMATS", "GRAINS", "INTRINSIC", "MOST_CALLS", "SHAPES"]

CACHE_GROUPS = ("provider", "model", "task", "agent", "prompted_by")
"""As `analysis.context.kvcache` groups calls."""
CACHE_TABLES = ("summary", "triggers", "resent", "ttl", "bytes", "needed", "volatile")
CONTEXT_TABLES = ("kinds", "runs", "steps", "append")
FORMATS = {
    "mooncake": "one line per call, ordered by arrival, for AIPerf, GuideLLM, vLLM and Dynamo",
    "parquet": "a folder of the calls themselves, tool calls and scopes beside them, for DuckDB, Spark and pandas",
    "pprof": "flame graph of tokens for go tool pprof and its viewers",
    "speedscope": "flame graph of tokens for speedscope.app",
    "weka": "one session per task, with sub-agents and think times, for AIPerf, inference-perf and Dynamo",
}
"""The formats of `exporters.registry`, and what each is."""
GRAINS = ("task", "run", "step", "call", "fleet")
"""What a row of `analysis.measured` is of."""
INTRINSIC = "first request + final answer"
"""As `analysis.comparison.baselines` names it."""
MOST_CALLS = 100_000
"""As `exporters.report` has it."""
SHAPES = ("flat", "business_day")
"""Days that `analysis.planning.plan` knows."""
