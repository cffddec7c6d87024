"""Spans as the newest tracers write them, where these differ from the conventions: each shape was seen in real ones."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.importers.spans import request, rows, span, usage, write_requests

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
