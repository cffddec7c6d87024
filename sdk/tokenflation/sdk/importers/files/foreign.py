"""Names files of coding agents that are not imported, and what is to be done instead. Looks at a file's beginning only.

What they store, by their sources: Cline and Roo Code `ui_messages.json`, whose input counts hold the cached tokens or
leave them out as the provider's handler does; Crush and Goose sums of a session; aider's chat history rounded counts.
"""

import re
from collections.abc import Callable

from tokenflation.sdk.importers.files.formats import Head

__all__ = ["SQLITE", "UNREAD_DATABASE", "foreign"]

SQLITE = b"SQLite format 3\0"
"""What a database begins with."""
UNREAD_DATABASE = "a database: what tokenflation recorded is read where it is, by `tokenflation profile` and the others"
"""And what is said of one that nobody knows."""

_CLINE = (
    "a task of Cline's or Roo Code's extension, which is not read: its input counts hold the cached tokens with some "
    "providers only"
)


def _table(*columns: bytes) -> Callable[[Head], bool]:
    return lambda head: head.start.startswith(SQLITE) and all(one in head.start for one in columns)


def _named(*patterns: str) -> Callable[[Head], bool]:
    return lambda head: any(re.fullmatch(one, head.name) for one in patterns)


_KNOWN: tuple[tuple[Callable[[Head], bool], str], ...] = (
    (_named(r"ui_messages\.json", r"api_conversation_history\.json"), _CLINE),
    (
        _named(r"\.?aider\.chat\.history\.md", r"\.?aider\.input\.history"),
        "aider's chat history, without exact counts: start aider with --analytics-log FILE and import that file",
    ),
    (
        lambda head: head.name == "session-store.db" and head.start.startswith(SQLITE),
        "Copilot CLI's index of its sessions: import the folder `session-state` beside it",
    ),
    (
        _table(b"accumulated_total_tokens", b"working_dir"),
        "Goose's database, which is not read: import what Goose sends by OpenTelemetry, if its spans have token counts",
    ),
    (
        lambda head: head.name == "crush.db" and head.start.startswith(SQLITE),
        "Crush's database, which has sums of sessions but no counts of single calls: nothing in it can be imported",
    ),
    (
        lambda head: head.name == "mlflow.db" and head.start.startswith(SQLITE),
        "MLflow's database, which is not read: import each trace's `to_json()` of `mlflow.search_traces`, one a line",
    ),
    (
        lambda head: head.name == "phoenix.db" and head.start.startswith(SQLITE),
        "Phoenix's database, which is not read: import what its client's `get_spans_dataframe()` gives, as Parquet",
    ),
    (
        lambda head: head.name.startswith("T-") and {"v", "id", "messages", "created"} <= head.keys,
        "an Amp thread, which is not read",
    ),
    (
        lambda head: any({"working_dir", "accumulated_total_tokens"} <= one.keys() for one in head.objects[:1]),
        "a Goose session, which has sums but no counts of single calls: nothing in it can be imported",
    ),
)


def foreign(head: Head) -> str | None:
    """Return what a file is that no importer reads, in words that stand for all such files; None if it is not known."""
    return next((what for is_one, what in _KNOWN if is_one(head)), None)
