"""A store, the user's own provider with an exporter in memory, and a look at both."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

Rows = Callable[[], list[dict[str, Any]]]

TOKENS = {
    "input_tokens": 200,
    "cache_read_tokens": 64,
    "output_tokens": 150,
}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def rows(store: Path) -> Rows:
    """Return a function that reads the calls of the store, in order."""

    def read() -> list[dict[str, Any]]:
        with closing(sqlite3.connect(store)) as connection:
            connection.row_factory = sqlite3.Row
            return [dict(row) for row in connection.execute("SELECT * FROM calls ORDER BY started_at_ns")]

    return read


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer_provider(exporter: InMemorySpanExporter) -> TracerProvider:
    """Return the provider that a user has, with an exporter of their own."""
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


def tokens_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in TOKENS}


def ours(spans: tuple[ReadableSpan, ...]) -> list[ReadableSpan]:
    return [span for span in spans if span.instrumentation_scope and span.instrumentation_scope.name == "tokenflation"]


def foreign(spans: tuple[ReadableSpan, ...]) -> list[ReadableSpan]:
    mine = ours(spans)
    return [span for span in spans if span not in mine]
