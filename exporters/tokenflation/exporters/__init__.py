"""Writes recorded calls as traces that planners and load generators read.

from tokenflation.exporters import write
write(calls, "trace.jsonl", format="weka")
"""

from tokenflation.sdk.errors import MissingExtra

try:
    from tokenflation.exporters.registry import FORMATS, write
    from tokenflation.exporters.summary import WriteSummary
except ModuleNotFoundError as error:
    if (error.name or "").startswith("tokenflation"):
        raise
    raise MissingExtra("tokenflation.exporters", "analysis") from error

__all__ = ["FORMATS", "WriteSummary", "write"]
