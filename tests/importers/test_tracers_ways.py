"""Spans as the newest tracers write them, where these differ from the conventions: each shape was seen in real ones."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers.spans import request, rows, span, usage, write_requests

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers import import_paths

LLM = {"openinference.span.kind": "LLM", "llm.model_name": "m-1"}
AGENT = {"openinference.span.kind": "AGENT"}


def imported(folder: Path, *spans: dict[str, Any]) -> Path:
    store = folder / "runs.db"
    import_paths([write_requests(folder / "traces.jsonl", request(*spans, service="unknown_service"))], store)
    return store


@pytest.mark.parametrize(("total", "whole"), [(142, 120), (182, 160)], ids=["inside", "beside"])
def test_the_total_of_strands_says_where_its_cached_tokens_are(tmp_path: Path, total: int, whole: int) -> None:
    counts = usage(120, 22) | {"gen_ai.usage.total_tokens": total, "gen_ai.usage.cache_read_input_tokens": 40}
    said = {"gen_ai.operation.name": "chat", "gen_ai.system": "strands-agents", **counts}
    first = {"gen_ai.server.time_to_first_token": 250}
    store = imported(tmp_path, span(1, "chat", library="strands.telemetry.tracer", _=said | first))
    assert rows(store, "input_tokens, cache_read_tokens, ttfc_s, provider") == [(whole, 40, 0.25, "unknown")]


def test_totals_on_an_agents_span_that_names_the_model_are_no_call(tmp_path: Path) -> None:
    around = {"traceloop.span.kind": "agent", "gen_ai.request.model": "m-1", "gen_ai.agent.name": "planner"}
    file = write_requests(tmp_path / "traces.jsonl", request(span(1, "planner.agent", _=around | usage(265, 46))))
    summary = import_paths([file], tmp_path / "runs.db")
    assert summary.calls == 0
    assert [one.reason for one in summary.problems] == [
        "without model calls, its token counts are on spans around them"
    ]


def test_a_method_that_prepares_a_request_is_no_call(tmp_path: Path) -> None:
    counted = LLM | {"llm.token_count.prompt": 146, "llm.token_count.completion": 22}
    asked = span(3, "OpenAI.astream_chat", 1, at=0.2, _=counted, lasts=0.1)
    chunk_ns = int(asked["startTimeUnixNano"]) + 10**9
    asked["events"] = [{"name": "First Token Stream Event", "timeUnixNano": str(chunk_ns)}]
    run = span(1, "FunctionAgent.run", _={"openinference.span.kind": "CHAIN"}, lasts=3)
    store = imported(tmp_path, run, span(2, "OpenAI._prepare_chat_with_tools", 1, at=0.1, lasts=0.01, _=LLM), asked)
    assert rows(store, "task, input_tokens, ttfc_s, duration_s") == [("FunctionAgent", 146, 1.0, 1.0)]


def test_langsmiths_spans_have_their_answers_whole(tmp_path: Path) -> None:
    call = {"name": "search", "args": {}, "id": "call_1", "type": "tool_call"}
    parts = {"input_token_details": {"cache_read": 36}, "output_token_details": {"reasoning": 5}}
    counted = {"input_tokens": 108, "output_tokens": 22, "total_tokens": 130, **parts}
    message = {"kwargs": {"usage_metadata": counted, "tool_calls": [call]}}
    ended = {"finish_reason": "tool_calls"}
    answer = {"generations": [[{"generation_info": ended, "message": message}]], "llm_output": {"id": "resp_2"}}
    asked = {"gen_ai.operation.name": "chat", "langsmith.span.kind": "llm", "gen_ai.completion": json.dumps(answer)}
    agent = {"langsmith.span.kind": "chain", "langsmith.metadata.lc_agent_name": "planner"}
    agent["gen_ai.operation.name"] = "chain"
    run, model = span(1, "planner", _=agent), span(2, "ChatOpenAI", 1, _=asked | usage(108, 22))
    store = imported(tmp_path, run, model)
    assert rows(store, "agent, input_tokens, cache_read_tokens, output_tokens, reasoning_tokens") == [
        ("planner", 108, 36, 22, 5)
    ]
    assert rows(store, "response_id, finish_reasons") == [("resp_2", '["tool_calls"]')]
    assert rows(store, "name, tool_call_id", "tool_calls") == [("search", "call_1")]


def test_a_crews_number_is_no_kind_of_task_and_its_tools_title_their_tools_name(tmp_path: Path) -> None:
    crew = span(1, "Crew_c208c22f-3be1-48b2-874a-7104f6efae96.kickoff", _={"openinference.span.kind": "CHAIN"})
    asked = {f"llm.output_messages.0.message.tool_calls.0.tool_call.{name}": value
             for name, value in {"id": "call_1", "function.name": "delegate_work_to_coworker"}.items()}  # fmt: skip
    ran = {"openinference.span.kind": "TOOL", "tool.name": "Delegate work to coworker"}
    store = imported(
        tmp_path, crew, span(2, "writer._execute_core", 1, _=AGENT, lasts=3),
        span(3, "ChatCompletion", 2, _=LLM | asked), span(4, "Delegate work to coworker.run", 2, at=1.5, _=ran),
    )  # fmt: skip
    assert rows(store, "task, agent") == [("writer", "writer")]
    assert rows(store, "name, tool_call_id, executed", "tool_calls") == [("delegate_work_to_coworker", "call_1", 1)]


def test_a_run_that_every_program_calls_alike_is_named_by_its_agent(tmp_path: Path) -> None:
    workflow = {"traceloop.span.kind": "workflow", "gen_ai.workflow.name": "Agent Workflow"}
    agent = {"traceloop.span.kind": "agent", "gen_ai.agent.name": "planner"}
    call = {"gen_ai.operation.name": "chat", "gen_ai.response.finish_reasons": ["FinishReason.TOOL_CALLS"]}
    store = imported(tmp_path, span(1, "Agent Workflow", _=workflow), span(2, "planner.agent", 1, _=agent),
                     span(3, "chat", 2, _=call | usage(9, 1)))  # fmt: skip
    assert rows(store, "task, agent, finish_reasons, tool_calls") == [("planner", "planner", '["tool_calls"]', 1)]


def test_langfuses_spans_of_langchain_name_agents_and_provider_in_their_metadata(tmp_path: Path) -> None:
    said = "langfuse.observation"
    run = {f"{said}.type": "chain", f"{said}.metadata.lc_agent_name": '"planner"'}
    call = {f"{said}.type": "generation", f"{said}.metadata.ls_provider": '"openai"', f"{said}.model.name": "m-1"}
    call[f"{said}.usage_details"] = json.dumps({"input": 72, "input_cache_read": 36, "output": 22, "total": 130})
    store = imported(tmp_path, span(1, "planner", _=run, library="langfuse-sdk"),
                     span(2, "ChatOpenAI", 1, _=call, library="langfuse-sdk"))  # fmt: skip
    assert rows(store, "agent, provider, input_tokens, cache_read_tokens") == [("planner", "openai", 108, 36)]


def test_langfuses_export_of_langchain_names_agents_in_its_metadata(tmp_path: Path) -> None:
    times = {"startTime": "2026-01-01T00:00:00Z", "endTime": "2026-01-01T00:00:01Z", "traceId": "t-1"}
    run = {"id": "o-1", "type": "CHAIN", "name": "planner", "metadata": {"lc_agent_name": "planner"}, **times}
    call = {"id": "o-2", "type": "GENERATION", "parentObservationId": "o-1", "usageDetails": {"input": 9}, **times}
    file = tmp_path / "observations.json"
    file.write_text(json.dumps([run, call]))
    import_paths([file], tmp_path / "runs.db")
    assert rows(tmp_path / "runs.db", "agent, input_tokens") == [("planner", 9)]


def test_openinference_keeps_what_was_asked_for_among_the_parameters(tmp_path: Path) -> None:
    asked = LLM | {"llm.invocation_parameters": '{"model": "m", "stream": true}'}
    refused = {"openinference.span.kind": "LLM", "llm.invocation_parameters": '{"model": "m"}'}
    embedded = {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "e-1"}
    store = imported(tmp_path, span(1, "ChatCompletion", _=asked), span(2, "ChatCompletion", at=2, status=2, _=refused),
                     span(3, "CreateEmbeddings", at=4, _=embedded))  # fmt: skip
    assert rows(store, "model, response_model, stream, status") == [
        ("m", "m-1", 1, "ok"), ("m", None, 0, "error"), ("e-1", None, 0, "ok")
    ]  # fmt: skip


@pytest.mark.parametrize(("streamed", "calls"), [(True, 1), (False, 2)])
def test_two_spans_of_a_librarys_are_one_call_if_all_but_the_stream_is_the_same(
    tmp_path: Path, streamed: bool, calls: int
) -> None:
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}])
    said = {"gen_ai.operation.name": "chat", "gen_ai.response.id": "r-1", "gen_ai.input.messages": asked, **usage(9, 4)}
    first = span(1, "openai.response", _=said | {"gen_ai.is_streaming": streamed}, trace="a" * 32)
    second = span(2, "openai.response", _=said | {"gen_ai.is_streaming": False}, at=0.001, lasts=4, trace="b" * 32)
    assert len(rows(imported(tmp_path, first, second), "call_id")) == calls


def test_the_root_of_an_agents_run_is_no_agent_of_mlflows(tmp_path: Path) -> None:
    root = span(1, "AgentRunner.run", _={"mlflow.spanType": '"AGENT"'}, lasts=3)
    agent = span(2, "planner", 1, _={"mlflow.spanType": '"AGENT"'}, lasts=2)
    call = span(3, "Response", 2, _={"mlflow.spanType": '"CHAT_MODEL"'})
    assert rows(imported(tmp_path, root, agent, call), "task, agent, depth") == [("planner", "planner", 0)]


@pytest.mark.parametrize(("name", "way"), [("mlflow.db", "search_traces"), ("phoenix.db", "get_spans_dataframe")])
def test_a_tracers_database_is_named_with_what_to_import_instead(tmp_path: Path, name: str, way: str) -> None:
    with closing(sqlite3.connect(tmp_path / name)) as connection:
        connection.execute("CREATE TABLE spans (id TEXT)")
    with pytest.raises(ImportSourceError, match=way):
        import_paths([tmp_path / name], tmp_path / "runs.db")


def _ai_sdk(operation: str, **more: Any) -> dict[str, Any]:
    return {"ai.operationId": f"ai.{operation}", "ai.telemetry.functionId": "planner", **more}


def test_the_ai_sdks_calls_have_the_tools_inside_that_they_asked_for(tmp_path: Path) -> None:
    model = {"ai.model.provider": "openai.responses", "ai.usage.inputTokens": 92, "ai.usage.outputTokens": 22}
    asked = json.dumps([{"toolCallId": "call_1", "toolName": "reader"}])
    first = _ai_sdk(
        "streamText.doStream", **model, **{"ai.response.toolCalls": asked, "ai.response.msToFirstChunk": 500}
    )
    tool = _ai_sdk("toolCall", **{"ai.toolCall.name": "reader", "ai.toolCall.id": "call_1"})
    inner = _ai_sdk("generateText") | {"ai.telemetry.functionId": "reader"}
    store = imported(
        tmp_path, span(1, "ai.streamText", _=_ai_sdk("streamText"), lasts=9),
        span(2, "ai.streamText.doStream", 1, _=first, lasts=8), span(3, "ai.toolCall", 2, at=2, _=tool, lasts=5),
        span(4, "ai.generateText", 3, at=3, _=inner, lasts=3),
        span(5, "ai.generateText.doGenerate", 4, at=3, _=_ai_sdk("generateText.doGenerate", **model)),
    )  # fmt: skip
    assert rows(store, "task, agent, depth, provider, input_tokens, stream, ttfc_s, tool_calls") == [
        ("planner", "planner", 0, "openai", 92, 1, 0.5, 1), ("planner", "reader", 1, "openai", 92, 0, None, 0)
    ]  # fmt: skip
    assert rows(store, "name, tool_call_id, executed", "tool_calls") == [("reader", "call_1", 1)]


def test_a_span_around_calls_and_their_tools_is_their_sum(tmp_path: Path) -> None:
    chat = {"gen_ai.operation.name": "chat"}
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "reader"}
    store = imported(
        tmp_path, span(1, "chat", _=chat | usage(110, 12), lasts=9), span(2, "chat", 1, _=chat | usage(10, 2)),
        span(3, "execute_tool reader", 1, at=2, _=tool, lasts=3), span(4, "chat", 3, at=2, _=chat | usage(100, 10)),
    )  # fmt: skip
    assert rows(store, "input_tokens") == [(10,), (100,)]


def test_the_ai_sdk_tells_of_a_streams_first_chunk_in_its_own_words(tmp_path: Path) -> None:
    said = {"gen_ai.operation.name": "chat", "gen_ai.client.operation.time_to_first_chunk": 0.25}
    ended = {"gen_ai.provider.name": "google.vertex.chat", "gen_ai.response.finish_reasons": ["tool-calls"]}
    store = imported(tmp_path, span(1, "chat m-1", _=said | ended | usage(9, 1)))
    assert rows(store, "stream, ttfc_s, provider, tool_calls") == [(1, 0.25, "gcp.vertex_ai", 1)]


@pytest.mark.parametrize(
    ("details", "cached"),
    [
        ("{'prompt_tokens_details': {'cached_tokens': 64}, 'total_tokens': 350}", 64),
        ("{" * 9_999, None),
        ("{1: x}", None),
    ],
)
def test_litellms_spans_have_the_details_of_usage_in_pythons_words(
    tmp_path: Path, details: str, cached: int | None
) -> None:
    said = {"gen_ai.request.model": "m-1", "llm.request.type": "completion", "metadata.usage_object": details}
    store = imported(tmp_path, span(1, "litellm_request", _=said | usage(200, 150), library="litellm"))
    assert rows(store, "input_tokens, cache_read_tokens, output_tokens") == [(200, cached, 150)]


def printed(number: int, name: str, parent: int | None, **attributes: Any) -> dict[str, Any]:
    """Return a span as `ReadableSpan.to_json` has it."""
    context = {"trace_id": f"0x{7:032x}", "span_id": f"0x{number:016x}", "trace_state": "[]"}
    return {
        "name": name, "context": context, "kind": "SpanKind.CLIENT",
        "parent_id": None if parent is None else f"0x{parent:016x}", "start_time": "2026-01-01T00:00:00.250000Z",
        "end_time": "2026-01-01T00:00:01.500000Z", "status": {"status_code": "ERROR" if number == 3 else "UNSET"},
        "attributes": attributes.pop("_"), "events": [], "links": [],
        "resource": {"attributes": {"service.name": "unknown_service"}, "schema_url": ""},
    }  # fmt: skip


@pytest.mark.parametrize("indent", [4, None])
def test_what_pythons_console_exporter_prints_is_read(tmp_path: Path, indent: int | None) -> None:
    called = LLM | {"llm.token_count.prompt": 9, "llm.token_count.completion": 2}
    spans = [printed(2, "ChatCompletion", 4, _=called), printed(3, "ChatCompletion", 4, _=LLM | {"error.type": "APIError"}),
             printed(4, "planner", 1, _=AGENT), printed(1, "Agent workflow", None, _=AGENT)]  # fmt: skip
    metrics = {"resource_metrics": []}
    file, store = tmp_path / "console.txt", tmp_path / "runs.db"
    file.write_text("".join(json.dumps(one, indent=indent) + "\n" for one in [*spans, metrics]))
    assert import_paths([file], store).problems == ()
    assert rows(
        store, "task, agent, depth, input_tokens, output_tokens, status, error_type, duration_s, parent_id"
    ) == [
        ("planner", "planner", 0, 9, 2, "ok", None, 1.25, f"{4:016x}"),
        ("planner", "planner", 0, None, None, "error", "APIError", 1.25, f"{4:016x}"),
    ]
    assert import_paths([file], store).calls == 0
