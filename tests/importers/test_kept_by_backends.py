"""Traces as backends hand them out again: Tempo's and Jaeger's answers, Zipkin's spans, and Haystack's."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.importers.spans import CHAT, request, rows, span, usage

from tokenflation.sdk.importers import import_paths

_AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
_TOOL = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "look", "gen_ai.tool.call.id": "call_1"}
_ENDS = {"gen_ai.response.finish_reasons": ["tool_calls"], "gen_ai.response.id": "c1"}
SPANS = (
    span(1, "invoke_agent planner", lasts=9.0, _=_AGENT),
    span(2, parent=1, at=1.0, _={**CHAT, **usage(11, 3), **_ENDS, "gen_ai.usage.cache_read.input_tokens": 4}),
    span(3, "execute_tool look", parent=1, at=2.5, _=_TOOL),
    span(4, parent=1, at=4.0, status=2, _={**CHAT, "error.type": "BadRequestError"}),
)
_COLUMNS = (
    "call_id, parent_id, task, agent, step, status, error_type, response_id, input_tokens, cache_read_tokens, "
    "output_tokens, finish_reasons, tool_calls, provider, model, extra, started_at_ns, ended_at_ns"
)


def _plain(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    def inner(value: Mapping[str, Any]) -> Any:
        ((kind, one),) = value.items()
        return int(one) if kind == "intValue" else [*map(inner, one["values"])] if kind == "arrayValue" else one

    return {pair["key"]: inner(pair["value"]) for pair in pairs}


def _us(one: Mapping[str, Any]) -> tuple[int, int]:
    started, ended = int(one["startTimeUnixNano"]) // 1000, int(one["endTimeUnixNano"]) // 1000
    return started, ended - started


def _jaeger(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a span as Jaeger's model.go has it, its attributes as the collector's translator puts them."""
    types = {bool: "bool", int: "int64", str: "string", list: "string"}
    said = _plain(one["attributes"]) | {"otel.scope.name": one["_library"]}
    said |= {"otel.status_code": "ERROR", "error": True} if one["status"]["code"] == 2 else {}
    tags = [{"key": key, "type": types[type(value)], "value": json.dumps(value) if isinstance(value, list) else value}
            for key, value in said.items()]  # fmt: skip
    around = {"refType": "CHILD_OF", "traceID": one["traceId"], "spanID": one["parentSpanId"]}
    started, lasted = _us(one)
    return {
        "traceID": one["traceId"], "spanID": one["spanId"], "flags": 1, "operationName": one["name"],
        "references": [around] if one["parentSpanId"] else [], "startTime": started, "duration": lasted, "tags": tags,
        "logs": [], "processID": "p1", "warnings": None,
    }  # fmt: skip


def _zipkin(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a span as opentelemetry-exporter-zipkin-json 1.45 writes it."""
    said = _plain(one["attributes"]) | {"service.name": "shop", "otel.scope.name": one["_library"]}
    said |= {"otel.status_code": "ERROR", "error": ""} if one["status"]["code"] == 2 else {}
    tags = {key: json.dumps(value) if isinstance(value, list) else str(value) for key, value in said.items()}
    started, lasted = _us(one)
    return {
        "traceId": one["traceId"], "id": one["spanId"], "name": one["name"], "timestamp": started, "duration": lasted,
        "localEndpoint": {"serviceName": "unknown_service"}, "kind": "CLIENT", "tags": tags, "annotations": None,
    } | ({"parentId": one["parentSpanId"]} if one["parentSpanId"] else {})  # fmt: skip


_OTLP = request(*SPANS)
_PROCESSES = {"p1": {"serviceName": "shop", "tags": []}}
_ANSWERS: dict[str, Callable[[], Any]] = {
    "tempo": lambda: {"batches": _OTLP["resourceSpans"]},
    "tempo 2": lambda: {"trace": _OTLP, "metrics": {}},
    "jaeger 3": lambda: {"result": _OTLP},
    "jaeger": lambda: {
        "data": [{"traceID": "t", "spans": [*map(_jaeger, SPANS)], "processes": _PROCESSES}],
        "errors": None,
    },
    "zipkin": lambda: [_zipkin(one) for one in SPANS],
    "zipkin traces": lambda: [[_zipkin(one) for one in SPANS[:2]], [_zipkin(one) for one in SPANS[2:]]],
}


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("backend", _ANSWERS)
def test_a_trace_that_a_backend_hands_out_gives_the_rows_of_its_spans(
    tmp_path: Path, backend: str, indent: int | None
) -> None:
    (tmp_path / "otlp.json").write_text(json.dumps(_OTLP))
    (tmp_path / "kept.json").write_text(json.dumps(_ANSWERS[backend](), indent=indent))
    for name in ("otlp", "kept"):
        import_paths([tmp_path / f"{name}.json"], tmp_path / f"{name}.db")
    assert rows(tmp_path / "kept.db", _COLUMNS) == rows(tmp_path / "otlp.db", _COLUMNS)
    tools = "call_id, tool_call_id, name, executed"
    assert rows(tmp_path / "kept.db", tools, "tool_calls") == rows(tmp_path / "otlp.db", tools, "tool_calls")


def test_our_own_span_says_all_of_its_row_in_texts_too(tmp_path: Path) -> None:
    said = {"tokenflation.api": "openai.chat", "tokenflation.attempts": 2, **CHAT, **usage(11, 3), **_ENDS}
    own = span(7, library="tokenflation", _=said)
    (tmp_path / "otlp.json").write_text(json.dumps(request(own)))
    (tmp_path / "kept.json").write_text(json.dumps([_zipkin(own)]))
    for name in ("otlp", "kept"):
        import_paths([tmp_path / f"{name}.json"], tmp_path / f"{name}.db")
    found = rows(tmp_path / "kept.db", f"{_COLUMNS}, attempts")
    assert found == rows(tmp_path / "otlp.db", f"{_COLUMNS}, attempts")
    assert found[0][8] == 11


def test_haystacks_own_spans_are_named_with_what_to_do(tmp_path: Path) -> None:
    pipeline = span(1, "haystack.pipeline.run", library="haystack")
    component = span(2, "haystack.component.run", parent=1, _={"haystack.component.type": "OpenAIChatGenerator"})
    (tmp_path / "a.json").write_text(json.dumps(request(pipeline, component)))
    found = import_paths([tmp_path / "a.json"], tmp_path / "runs.db")
    (reason,) = found.skipped
    assert reason.startswith("Haystack's own spans")
    assert "tokenflation run" in reason
