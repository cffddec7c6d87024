"""From recorded calls to what a task costs: load, group into tasks, profile, compare. Frames in, new frames out.

calls   = load("runs.db")                              one row per call
tasks   = tasks(calls)                                 one row per task
profile = profile(calls)                               one row per task kind
factor  = inflation(calls, baseline="answer-once")     one row per task kind
"""

from tokenflation.sdk.errors import MissingExtra

try:
    from tokenflation.analysis.inflation import inflation
    from tokenflation.analysis.profile import profile
    from tokenflation.analysis.reduce import tasks
    from tokenflation.analysis.sources import load
except ModuleNotFoundError as error:
    if (error.name or "").startswith("tokenflation"):
        raise
    raise MissingExtra("tokenflation.analysis", "analysis") from error

__all__ = ["inflation", "load", "profile", "tasks"]
