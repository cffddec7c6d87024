"""Record what an agent asks of its models: `instrument()` once, scopes where you want names.

Importing this package imports no client, no database layer and no analysis, and changes nothing.
"""

from tokenflation.sdk.errors import LimitReached, TokenflationError
from tokenflation.sdk.instrument import Instrumentation, active, instrument, span_processor, transport
from tokenflation.sdk.scoping.scopes import agent, outcome, task, tool

__all__ = [
    "Instrumentation",
    "LimitReached",
    "TokenflationError",
    "active",
    "agent",
    "instrument",
    "outcome",
    "span_processor",
    "task",
    "tool",
    "transport",
]
