"""OTLP documents in the shape of opentelemetry.io/docs/specs/otlp ("JSON Protobuf Encoding"), and what came of them."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

TRACE = "5b8efff798038103d269b633813fc60c"
START_NS = 1_760_000_000_000_000_000
CHAT = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "openai", "gen_ai.request.model": "m-1"}


def value_of(value: Any) -> dict[str, Any]:
    """Return an AnyValue."""
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list):
        return {"arrayValue": {"values": [value_of(one) for one in value]}}
    return {"stringValue": str(value)}


def span(
    number: int, name: str = "chat m-1", parent: int | None = None, at: float = 0.0, lasts: float = 1.0, trace: str = TRACE,
    status: int = 1, library: str = "lib", **attributes: Any
) -> dict[str, Any]:  # fmt: skip
    """Return a span: `at` and `lasts` are seconds; attributes are given with `__` for dots or as a `_` dict."""
    given = attributes.pop("_", {})
    started = START_NS + round(at * 1e9)
    return {
        "traceId": trace,
        "spanId": f"{number:016x}",
        "parentSpanId": "" if parent is None else f"{parent:016x}",
        "name": name,
        "kind": 3,
        "startTimeUnixNano": str(started),
        "endTimeUnixNano": str(started + round(lasts * 1e9)),
        "attributes": [{"key": key, "value": value_of(value)} for key, value in given.items()],
        "status": {"code": status},
        "_library": library,
    }


def request(*spans: dict[str, Any], service: str = "shop") -> dict[str, Any]:
    """Return an ExportTraceServiceRequest."""
    scopes: dict[str, list[dict[str, Any]]] = {}
    for one in spans:
        scopes.setdefault(one["_library"], []).append({key: one[key] for key in one if key != "_library"})
    resource = {"attributes": [{"key": "service.name", "value": value_of(service)}]}
    scope_spans = [{"scope": {"name": name}, "spans": some} for name, some in scopes.items()]
    return {"resourceSpans": [{"resource": resource, "scopeSpans": scope_spans}]}


def write_requests(path: Path, *requests: dict[str, Any]) -> Path:
    """Write one request a line, as the collector's file exporter does."""
    path.write_text("".join(json.dumps(one) + "\n" for one in requests))
    return path


def rows(store: Path, columns: str, table: str = "calls") -> list[tuple[Any, ...]]:
    """Return columns of the store's rows in order of start."""
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(f"SELECT {columns} FROM {table} ORDER BY started_at_ns, rowid").fetchall()


def usage(input_tokens: int, output: int, **more: int) -> dict[str, int]:
    """Return the conventions' usage attributes."""
    return {"gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output, **more}


def many(spans: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one request for each span."""
    return [request(one) for one in spans]
