"""OTLP traces as JSON: every vocabulary's token counts, one row for each call, and the tree of agents and tools."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.importers.spans import CHAT, TRACE, many, request, rows, span, usage, write_requests

from tokenflation.sdk.importers import import_paths

TOKENS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens"
OI = {"openinference.span.kind": "LLM", "llm.model_name": "m-1", "llm.provider": "openai"}


def take(tmp_path: Path, store: Path, *spans: dict[str, Any]) -> Any:
    return import_paths([write_requests(tmp_path / "traces.jsonl", request(*spans))], store)


@pytest.mark.parametrize(
    ("attributes", "tokens"),
    [
        (
            {
                **CHAT, **usage(200, 150), "gen_ai.usage.cache_read.input_tokens": 64,
                "gen_ai.usage.cache_write.input_tokens": 10, "gen_ai.usage.reasoning.output_tokens": 100,
            },
            (200, 64, 10, 150, 100),
        ),
        (
            {
                "gen_ai.system": "openai", "llm.request.type": "chat", "gen_ai.usage.prompt_tokens": 200,
                "gen_ai.usage.completion_tokens": 150, "gen_ai.usage.cache_read_input_tokens": 64,
                "gen_ai.usage.reasoning_tokens": 100,
            },
            (200, 64, None, 150, 100),
        ),
        (
            {
                **OI, "llm.token_count.prompt": 200, "llm.token_count.completion": 150,
                "llm.token_count.prompt_details.cache_read": 64, "llm.token_count.prompt_details.cache_write": 0,
                "llm.token_count.completion_details.reasoning": 100, "llm.token_count.total": 350,
            },
            (200, 64, 0, 150, 100),
        ),
        (
            {**CHAT, **usage(200, 150), "gen_ai.usage.details.cache_read_tokens": 64,
             "gen_ai.usage.details.reasoning_tokens": 100},
            (200, 64, None, 150, 100),
        ),
        (
            {**CHAT, **usage(200, 150), "gen_ai.usage.raw": json.dumps({
                "prompt_tokens": 200, "completion_tokens": 150, "prompt_tokens_details": {"cached_tokens": 64},
                "completion_tokens_details": {"reasoning_tokens": 100}})},
            (200, 64, None, 150, 100),
        ),
        (
            {"langfuse.observation.type": "generation", "langfuse.observation.usage_details": json.dumps(
                {"input": 136, "input_cached_tokens": 64, "output": 50, "output_reasoning": 100, "total": 350})},
            (200, 64, None, 150, 100),
        ),
        (
            {"mlflow.spanType": '"CHAT_MODEL"', "mlflow.chat.tokenUsage": json.dumps(
                {"input_tokens": 200, "output_tokens": 150, "total_tokens": 350, "cache_read_input_tokens": 64})},
            (200, 64, None, 150, None),
        ),
        (
            {**CHAT, **usage(200, 150), "gen_ai.usage.cache.read_input_tokens": 64,
             "gen_ai.usage.cache.creation_input_tokens": 8, "gen_ai.usage.completion_tokens_details.reasoning": 100},
            (200, 64, 8, 150, 100),
        ),
        (
            {"ai.operationId": "ai.generateText.doGenerate", "operation.name": "ai.generateText.doGenerate",
             "ai.usage.inputTokens": 200, "ai.usage.outputTokens": 150, "ai.usage.inputTokenDetails.cacheReadTokens": 64,
             "ai.usage.inputTokenDetails.cacheWriteTokens": 8, "ai.usage.outputTokenDetails.reasoningTokens": 100},
            (200, 64, 8, 150, 100),
        ),
        (
            {**CHAT, "gen_ai.provider.name": "gcp.vertex_ai", **usage(200, 50), "gen_ai.usage.total_tokens": 350},
            (200, None, None, 150, 100),
        ),
        (
            {**CHAT, "gen_ai.usage.partial.input_tokens": 200, "gen_ai.usage.partial.cache_read.input_tokens": 64,
             "gen_ai.usage.partial.cache_creation.input_tokens": 8, "gen_ai.usage.partial.output_tokens": 1},
            (200, 64, 8, None, None),
        ),
        ({**CHAT, "gen_ai.usage.output_tokens": 7}, (None, None, None, 7, None)),
        ({**CHAT}, (None, None, None, None, None)),
    ],
    ids=["conventions", "older names", "openinference", "pydantic-ai", "logfire", "langfuse", "mlflow", "openlit", "ai sdk", "vertex",
         "claude agent sdk", "partial", "none"],
)  # fmt: skip
def test_a_calls_tokens_are_what_its_span_says_and_nothing_else(
    tmp_path: Path, store: Path, attributes: dict[str, Any], tokens: tuple[int | None, ...]
) -> None:
    take(tmp_path, store, span(1, _=attributes))
    assert rows(store, TOKENS) == [tokens]
    known = sum(tokens[at] is not None for at in (0, 3))
    assert rows(store, "usage_source") == [(("absent", "partial", "provider")[known],)]


@pytest.mark.parametrize(
    ("library", "attributes"),
    [
        # OpenLLMetry keeps Converse's `inputTokens`, which leave the cached ones out.
        ("opentelemetry.instrumentation.bedrock", {"gen_ai.provider.name": "aws.bedrock", **usage(1050, 150)}),
        # More cached than input tokens: they cannot be inside it.
        ("any", usage(50, 150)),
        # Strands gives a total that has the cached ones beside the input.
        ("any", {**usage(1050, 150), "gen_ai.usage.total_tokens": 2500}),
    ],
    ids=["listed tracer", "contradiction", "total"],
)
def test_cached_tokens_that_were_left_out_of_the_input_are_added(
    tmp_path: Path, store: Path, library: str, attributes: dict[str, Any]
) -> None:
    cached = {"gen_ai.usage.cache_read_input_tokens": 1000, "gen_ai.usage.cache_creation_input_tokens": 300}
    take(tmp_path, store, span(1, library=library, _={**CHAT, **attributes, **cached}))
    given = attributes["gen_ai.usage.input_tokens"]
    assert rows(store, TOKENS) == [(given + 1300, 1000, 300, 150, None)]
    assert json.loads(rows(store, "extra")[0][0])["raw_input_tokens"] == given


def test_cached_tokens_are_inside_the_input_where_the_conventions_are_followed(tmp_path: Path, store: Path) -> None:
    cached = {"gen_ai.usage.cache_read.input_tokens": 1000, "gen_ai.usage.cache_creation.input_tokens": 300}
    take(
        tmp_path,
        store,
        span(1, library="opentelemetry.instrumentation.anthropic", _={**CHAT, **usage(1350, 9), **cached}),
    )
    assert rows(store, TOKENS) == [(1350, 1000, 300, 9, None)]


def test_totals_on_spans_around_calls_never_add(tmp_path: Path, store: Path) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner", **usage(500, 40)}
    chain = {"openinference.span.kind": "CHAIN", "llm.token_count.prompt": 500, "llm.token_count.completion": 40}
    summary = take(
        tmp_path,
        store,
        span(1, "triage", lasts=9.0, _=chain),
        span(2, "invoke_agent planner", 1, 0.1, 8.0, _=agent),
        span(3, parent=2, at=1.0, _={**CHAT, **usage(200, 20)}),
        span(4, parent=2, at=3.0, _={**CHAT, **usage(300, 20)}),
    )
    assert (summary.tasks, summary.calls, summary.input_tokens, summary.output_tokens) == (1, 2, 500, 40)
    assert rows(store, "task, task_id, agent, depth, step") == [("triage", TRACE, "planner", 0, n) for n in (0, 1)]


def test_a_call_that_only_an_agents_span_counts_is_no_call_and_is_reported(tmp_path: Path, store: Path) -> None:
    agent = {"gen_ai.operation.name": "invoke_agent", **usage(500, 40)}
    summary = take(tmp_path, store, span(1, _=agent), span(2, trace=TRACE[::-1], _=CHAT))
    assert summary.skipped == {"without model calls, its token counts are on spans around them": 1}
    assert rows(store, "input_tokens") == [(None,)]


def test_two_instrumentations_of_a_call_give_one_row_that_says_what_either_says(tmp_path: Path, store: Path) -> None:
    inner = {**CHAT, **usage(200, 150), "gen_ai.response.id": "r-1"}
    outer = {
        **OI,
        "llm.token_count.prompt": 200,
        "llm.token_count.prompt_details.cache_read": 64,
        "llm.finish_reason": "stop",
    }
    take(tmp_path, store, span(1, library="oi", lasts=2.0, _=outer), span(2, parent=1, at=0.1, library="otel", _=inner))
    assert rows(store, f"call_id, parent_id, finish_reasons, {TOKENS}") == [
        (f"{2:016x}", f"{1:016x}", '["stop"]', 200, 64, None, 150, None)
    ]


@pytest.mark.parametrize("traces", [(TRACE, TRACE), (TRACE, TRACE[::-1])], ids=["one trace", "a trace each"])
def test_spans_beside_each_other_with_one_response_are_one_call(
    tmp_path: Path, store: Path, traces: tuple[str, str]
) -> None:
    one = span(
        1, at=0.0, lasts=2.0, library="a", trace=traces[0], _={**CHAT, **usage(200, 151), "gen_ai.response.id": "r-1"}
    )
    two = span(
        2, at=0.1, lasts=1.0, library="b", trace=traces[1], _={**CHAT, **usage(200, 150), "gen_ai.response.id": "r-1"}
    )
    summary = take(tmp_path, store, one, two)
    assert (summary.tasks, summary.calls, summary.skipped) == (1, 1, {})
    assert rows(store, "output_tokens") == [(150,)], "the shorter is nearer to the wire"


def test_two_calls_at_once_that_a_server_gives_one_response_id_stay_two(tmp_path: Path, store: Path) -> None:
    same = {**CHAT, "gen_ai.response.id": "chatcmpl-1"}
    first = span(1, at=0.0, lasts=5.0, library="opentelemetry.instrumentation.openai_v2", _={**same, **usage(100, 10)})
    other = span(2, at=1.0, lasts=5.0, library="openinference.instrumentation.groq", _={**same, **usage(250, 40)})
    import_paths([write_requests(tmp_path / "t.jsonl", request(first, other))], store)
    assert rows(store, "input_tokens, output_tokens") == [(100, 10), (250, 40)]


def test_equal_calls_of_one_library_at_the_same_time_stay_two(tmp_path: Path, store: Path) -> None:
    one, two = (span(n, parent=9, at=n / 10, lasts=2.0 - n / 2, _={**CHAT, **usage(200, 150)}) for n in (1, 2))
    assert take(tmp_path, store, one, two).calls == 2


def test_a_span_around_several_calls_is_left_out_whatever_it_says(tmp_path: Path, store: Path) -> None:
    inner = [span(n, parent=1, at=float(n), lasts=0.5, _={**CHAT, **usage(100, 10)}) for n in (2, 3)]
    summary = take(tmp_path, store, span(1, lasts=9.0, _={**CHAT, **usage(200, 20)}), *inner)
    assert (summary.calls, summary.input_tokens) == (2, 200)


def test_what_a_stream_used_is_read_from_the_log_of_its_end(tmp_path: Path, store: Path) -> None:
    asked = json.dumps([{"role": "user", "parts": [{"type": "text", "content": "hi"}]}])
    begun = {**CHAT, "gen_ai.input.messages": asked, "logfire.span_type": "span"}
    ended = {**begun, **usage(200, 150), "logfire.span_type": "log", "duration": 1.5}
    summary = take(
        tmp_path,
        store,
        span(1, at=0.0, lasts=0.5, library="logfire.openai", _=begun),
        span(2, at=2.0, lasts=0.0, library="logfire.openai", trace=TRACE[::-1], _=ended),
    )
    assert (summary.tasks, summary.skipped) == (1, {})
    assert rows(store, "call_id, stream, duration_s, input_tokens, output_tokens") == [(f"{1:016x}", 1, 2.0, 200, 150)]


def test_a_failed_call_is_an_error_with_its_class_and_no_message(tmp_path: Path, store: Path) -> None:
    failed = span(1, status=2, _={**CHAT, "error.type": "<class 'openai.RateLimitError'>"})
    take(tmp_path, store, failed, span(2, at=3.0, status=2, _={**CHAT, "error.type": "no words, please"}))
    assert rows(store, "status, error_type, usage_source") == [
        ("error", "RateLimitError", "absent"),
        ("error", "error", "absent"),
    ]


def test_agents_inside_tools_get_depths_steps_and_the_tool_calls_they_answer(tmp_path: Path, store: Path) -> None:
    def agent(name: str) -> dict[str, str]:
        return {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name}

    asks = json.dumps([{"role": "assistant", "parts": [{"type": "tool_call", "id": "c-1", "name": "research"}]}])
    tool = {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": "research", "gen_ai.tool.call.id": "c-1"}
    take(
        tmp_path,
        store,
        span(1, "invoke_agent planner", lasts=9.0, _=agent("planner")),
        span(2, parent=1, at=0.1, _={**CHAT, **usage(100, 10), "gen_ai.output.messages": asks}),
        span(3, "execute_tool research", 1, 1.5, 4.0, _=tool),
        span(4, "invoke_agent reader", 3, 1.6, 3.5, _=agent("reader")),
        span(5, parent=4, at=1.7, _={**CHAT, **usage(50, 5)}),
        span(6, parent=1, at=6.0, _={**CHAT, **usage(130, 10)}),
    )
    assert rows(
        store, "task, agent, depth, step, inside_call_id, inside_tool_call_id, tool_calls, structure_source"
    ) == [
        ("planner", "planner", 0, 0, None, None, 1, "span"),
        ("planner", "reader", 1, 0, f"{2:016x}", "c-1", 0, "span"),
        ("planner", "planner", 0, 1, None, None, 0, "span"),
    ]
    assert rows(store, "call_id, tool_call_id, name, executed, failed, agent_run_id, run_span_id", "tool_calls") == [
        (f"{2:016x}", "c-1", "research", 1, 0, f"{4:016x}", f"{3:016x}")
    ]
    assert rows(store, "kind, name, depth", "spans") == [
        ("agent", "planner", 0), ("tool", "research", 0), ("agent", "reader", 1),
    ]  # fmt: skip


def _claudes(number: int, kind: str, parent: int | None, at: float, lasts: float, **more: Any) -> dict[str, Any]:
    """Return a span as code.claude.com/docs/en/monitoring-usage ("Traces") has it."""
    said = {"span.type": kind, "session.id": "s", **({"gen_ai.request.model": "m-1"} if kind == "llm_request" else {})}
    library = "com.anthropic.claude_code.tracing"
    return span(number, f"claude_code.{kind}", parent, at, lasts, library=library, _=said | more)


def test_claude_codes_own_spans_give_calls_tools_and_sub_agents(tmp_path: Path, store: Path) -> None:
    counts = {"input_tokens": 2, "cache_read_tokens": 900, "cache_creation_tokens": 98, "output_tokens": 50}
    take(tmp_path, store,
         _claudes(1, "interaction", None, 0, 20),
         _claudes(2, "llm_request", 1, 0, 3, **counts, ttft_ms=700, stop_reason="tool_use", **{"gen_ai.system": "anthropic"}),
         _claudes(3, "tool", 1, 3, 10, tool_name="Agent", tool_use_id="toolu_1"),
         _claudes(4, "tool.execution", 3, 3, 10),
         _claudes(5, "llm_request", 4, 4, 2, **(counts | {"cache_read_tokens": 0}), agent_id="a-1"),
         _claudes(6, "llm_request", 1, 14, 1, input_tokens=5, output_tokens=0, success=False),
         span(7, "claude_code.llm_request", 1, 16, 1, _={"model": "m-1", "input_tokens": "6", "output_tokens": "7"}))  # fmt: skip
    assert rows(store, f"agent, depth, status, ttft_s, finish_reasons, {TOKENS}") == [
        ("main", 0, "ok", 0.7, '["tool_use"]', 1000, 900, 98, 50, None),
        ("subagent", 1, "ok", None, "[]", 100, 0, 98, 50, None),
        ("main", 0, "error", None, "[]", 5, None, None, 0, None),
        ("main", 0, "ok", None, "[]", 6, None, None, 7, None),
    ]
    assert rows(store, "tool_call_id, name", "tool_calls") == [("toolu_1", "Agent")]
    assert rows(store, "DISTINCT provider, model") == [("anthropic", "m-1")]
    assert rows(store, "DISTINCT task, task_id") == [("shop", TRACE)]


def test_tools_that_claude_codes_sub_agents_run_are_theirs_also_while_the_main_thread_goes_on(
    tmp_path: Path, store: Path
) -> None:
    counts, sub = {"input_tokens": 2, "output_tokens": 50, "stop_reason": "tool_use"}, {"agent_id": "a-1"}
    take(tmp_path, store,
         _claudes(1, "interaction", None, 0, 20),
         _claudes(2, "llm_request", 1, 0, 3, **counts),
         _claudes(3, "tool", 1, 3, 0.1, tool_name="Agent", tool_use_id="toolu_1"),
         _claudes(4, "tool.execution", 3, 3, 0.1),
         _claudes(5, "llm_request", 4, 3.1, 2, **counts, **sub, query_source_safe="agent.builtin.Explore"),
         _claudes(6, "llm_request", 1, 3.2, 3, **counts | {"stop_reason": "end_turn"}),
         _claudes(7, "tool", 4, 5.1, 1, tool_name="Bash", tool_use_id="toolu_2", **sub))  # fmt: skip
    assert rows(store, "agent, inside_call_id, inside_tool_call_id, tool_calls") == [
        ("main", None, None, 1),
        ("Explore", f"{2:016x}", "toolu_1", 1),
        ("main", None, None, 0),
    ]
    assert sorted(rows(store, "tool_call_id, call_id, agent_run_id", "tool_calls")) == [
        ("toolu_1", f"{2:016x}", "a-1"),
        ("toolu_2", f"{5:016x}", None),
    ]
    assert rows(store, "name, agent_run_id, depth", "spans") == [
        ("shop", None, 0), ("Agent", None, 0), ("Bash", "a-1", 1),
    ]  # fmt: skip


def test_claude_codes_spans_tell_tries_of_a_call_and_in_the_execution_inside_that_a_tool_failed(
    tmp_path: Path, store: Path
) -> None:
    failed = _claudes(4, "tool.execution", 3, 3, 1, success=False, **{"error.type": "Error:ShellError"})
    take(tmp_path, store,
         _claudes(1, "interaction", None, 0, 20),
         _claudes(2, "llm_request", 1, 0, 3, input_tokens=2, output_tokens=5, attempt=3),
         _claudes(3, "tool", 1, 3, 1, tool_name="Bash", tool_use_id="toolu_1"),
         failed | {"status": {"code": 2, "message": "ShellError"}},
         _claudes(5, "tool", 1, 4, 1, tool_name="Read", tool_use_id="toolu_2"),
         _claudes(6, "tool.execution", 5, 4, 1, success=True))  # fmt: skip
    assert rows(store, "attempts") == [(3,)]
    assert sorted(rows(store, "name, failed", "tool_calls")) == [("Bash", 1), ("Read", 0)]


def test_a_second_import_adds_nothing_and_rotated_files_are_one_trace(tmp_path: Path, store: Path) -> None:
    folder = tmp_path / "traces"
    folder.mkdir()
    agent = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "planner"}
    spans = [span(n, parent=1, at=float(n), lasts=0.5, _={**CHAT, **usage(100, 10)}) for n in (2, 3)]
    write_requests(folder / "a.jsonl", request(spans[0]))
    write_requests(folder / "b.jsonl", request(span(1, "invoke_agent planner", lasts=9.0, _=agent)), request(spans[1]))
    assert import_paths([folder], store).calls == 2
    assert rows(store, "task_id, agent, step") == [(TRACE, "planner", 0), (TRACE, "planner", 1)]
    again = import_paths([folder], store)
    assert (again.tasks, again.calls, again.skipped) == (0, 0, {"already in the store": 1})


def test_damage_is_named_with_file_and_line_and_costs_nothing_else(tmp_path: Path, store: Path) -> None:
    file = tmp_path / "traces.jsonl"
    good = [json.dumps(one) for one in many([span(n, at=float(n), _={**CHAT, **usage(10, 1)}) for n in (1, 2, 3)])]
    nameless = json.dumps(request({**span(4), "spanId": ""}))
    file.write_text(
        "\n".join([good[0], good[1][:200], good[1], good[1], nameless, '{"resourceMetrics": []}', "[]", good[2]])
    )
    summary = import_paths([file], store)
    assert (summary.calls, summary.input_tokens) == (3, 30)
    assert {(one.where, one.reason) for one in summary.problems} == {
        (f"{file}:2", "not JSON"),
        (f"{file}:4", "a span that the files hold more than once"),
        (f"{file}:5", "a span without its ids"),
        (f"{file}:7", "no JSON object"),
    }


def test_traces_of_other_work_are_counted_and_left_out(tmp_path: Path, store: Path) -> None:
    http = span(9, "GET /", trace=TRACE[::-1], _={"http.request.method": "GET"})
    summary = take(tmp_path, store, http, span(1, _={**CHAT, **usage(10, 1)}))
    assert (summary.tasks, summary.skipped) == (1, {"a session without calls": 1})
    assert rows(store, "task") == [("shop",)], "a lone call is named after its service"


def test_protobufs_own_json_and_the_old_names_of_scopes_are_read(tmp_path: Path, store: Path) -> None:
    one = span(1, _={**CHAT, **usage(10, 1)})
    inner = {
        "trace_id": "W47/95gDgQPSabYzgT/GDA==", "span_id": "AAAAAAAAAAE=", "name": "chat",
        "start_time_unix_nano": int(one["startTimeUnixNano"]), "attributes": one["attributes"],
    }  # fmt: skip
    document = {"resource_spans": [{"instrumentationLibrarySpans": [{"spans": [inner]}]}]}
    (tmp_path / "t.json").write_text(json.dumps(document, indent=1))
    import_paths([tmp_path / "t.json"], store)
    assert rows(store, "call_id, trace_id, input_tokens, duration_s") == [(f"{1:016x}", TRACE, 10, None)]


def test_a_task_of_our_own_spans_keeps_its_outcome_its_score_and_the_limit_that_cut_it(
    tmp_path: Path, store: Path
) -> None:
    told = {"outcome": False, "score": 0.25, "censored_by": "max_calls"}
    ours = {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": "triage"}
    ending = {f"tokenflation.task.{name}": value for name, value in told.items()}
    wrong = {"tokenflation.task.outcome": "no", "tokenflation.task.score": True, "tokenflation.task.censored_by": "me"}
    for number, said in ((1, ending), (3, wrong)):
        task = span(number, "triage", library="tokenflation", trace=f"{number:032x}", _={**ours, **said})
        call = span(
            number + 1, parent=number, library="tokenflation", trace=f"{number:032x}", _={**CHAT, **usage(9, 1)}
        )
        take(tmp_path, store, task, call)
    assert rows(store, "name, outcome, score, censored_by", "spans") == [
        ("triage", 0, 0.25, "max_calls"), ("triage", None, None, None),
    ]  # fmt: skip
