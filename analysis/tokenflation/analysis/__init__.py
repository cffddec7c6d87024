"""From recorded calls to what a task costs: load, group into tasks, profile, compare. Frames in, new frames out.

calls   = load("runs.db")                              one row per call
tasks   = tasks(calls)                                 one row per task
profile = profile(calls)                               one row per task kind
parts   = shares(calls, by="agent")                    one row per task kind and part
factor  = inflation(calls, baseline="answer-once")     one row per task kind
change  = diff(calls, other_calls)                     one row per factor, of each kind and of all
prices  = read_prices("prices.csv")                    the user's own; costs(calls, prices): one row per task kind
demand  = forecast(calls, Plan(tasks_per_day=1e6))     one row per bucket, resource and statistic
"""

from tokenflation.sdk.errors import MissingExtra

try:
    from tokenflation.analysis.costs import costs, read_prices
    from tokenflation.analysis.difference import diff
    from tokenflation.analysis.forecast import forecast
    from tokenflation.analysis.inflation import inflation
    from tokenflation.analysis.plan import Plan
    from tokenflation.analysis.profile import profile
    from tokenflation.analysis.prototypes import mean_interval
    from tokenflation.analysis.reduce import tasks
    from tokenflation.analysis.shares import shares
    from tokenflation.analysis.sources import load
except ModuleNotFoundError as error:
    if (error.name or "").startswith("tokenflation"):
        raise
    raise MissingExtra("tokenflation.analysis", "analysis") from error

__all__ = [
    "Plan",
    "costs",
    "diff",
    "forecast",
    "inflation",
    "load",
    "mean_interval",
    "profile",
    "read_prices",
    "shares",
    "tasks",
]
