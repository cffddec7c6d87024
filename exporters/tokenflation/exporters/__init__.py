"""Writes recorded calls as traces that planners and load generators read.

from tokenflation.exporters import write
write(calls, "trace.jsonl", format="weka")
"""

from tokenflation.exporters.registry import FORMATS, write
from tokenflation.exporters.summary import WriteSummary

__all__ = ["FORMATS", "WriteSummary", "write"]
