"""Gemini CLI's telemetry file: records of OpenTelemetry's JavaScript SDK, pretty-printed one after another.

The shapes are those that `JSON.stringify(record, null, 2)` gives of the SDK's log records and spans (sdk-logs 0.218 and
sdk-trace-base 2.7; `old` is 1.x), with the attributes of google-gemini/gemini-cli, packages/core/src/telemetry.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.importers.spans import rows

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers import import_paths

START_S = 1_760_000_000
TRACES = ("5b8efff798038103d269b633813fc60c", "6b8efff798038103d269b633813fc60d")
TOKENS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens"
COUNTS = {
    "input_token_count": 190, "output_token_count": 50, "cached_content_token_count": 64, "thoughts_token_count": 100,
    "tool_token_count": 10, "total_token_count": 350,
}  # fmt: skip
RESOURCE = {"_rawAttributes": [["service.name", "gemini-cli"], ["session.id", "s-1"]], "_asyncAttributesPending": False}
METRICS = {"resource": RESOURCE, "scopeMetrics": [{"scope": {"name": "gemini-cli"}, "metrics": []}]}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def pair(at: float) -> list[int]:
    """Return a time as the SDK has it: seconds, and the nanoseconds behind them."""
    return [START_S + int(at), round(at % 1 * 1e9)]


def log(at: float, name: str = "api_response", inside: int | None = None, **said: Any) -> dict[str, Any]:
    """Return a log record of a call that took 2 s."""
    attributes = {"session.id": "s-1", "event.name": f"gemini_cli.{name}", "model": "gemini-9", "duration_ms": 2000,
                  "prompt_id": "s-1########1", "finish_reasons": ["stop"], **said}  # fmt: skip
    around = {} if inside is None else {"spanContext": {"traceId": TRACES[0], "spanId": f"{inside:016x}"}}
    return {
        "hrTime": pair(at), "hrTimeObserved": pair(at), **around, "resource": RESOURCE,
        "instrumentationScope": {"name": "gemini-cli"}, "attributes": attributes,
        "_body": "API response from gemini-9.1. Status: 200. Duration: 2000ms.", "_isReadonly": True,
    }  # fmt: skip


def span(
    number: int, operation: str, at: float, lasts: float, parent: int | None = None, trace: int = 0, old: bool = False,
    **said: Any,
) -> dict[str, Any]:  # fmt: skip
    given = {"gen_ai.operation.name": operation, "gen_ai.conversation.id": "s-1", "gen_ai.agent.name": "gemini-cli"}
    outer = {} if parent is None else {"parentSpanContext": {"traceId": TRACES[trace], "spanId": f"{parent:016x}"}}
    resource, scope = RESOURCE, "instrumentationScope"
    if old:
        outer = {"parentSpanId": f"{parent:016x}"} if parent is not None else {}
        resource, scope = {"_attributes": {"service.name": "gemini-cli"}}, "instrumentationLibrary"
    return {
        "_spanContext": {"traceId": TRACES[trace], "spanId": f"{number:016x}", "traceFlags": 1}, "kind": 0, **outer,
        "attributes": {**given, **said}, "links": [], "events": [], "startTime": pair(at), "resource": resource,
        scope: {"name": "gemini-cli", "version": "v1"}, "name": operation, "status": {"code": 1},
        "endTime": pair(at + lasts), "_spanProcessor": {"_spanProcessors": [{"_finishedSpans": []}]},
    }  # fmt: skip


def llm_call(number: int, at: float, parent: int | None = None, **more: Any) -> dict[str, Any]:
    said = {"gen_ai.request.model": "gemini-9", "gen_ai.prompt.name": "s-1########1", "gen_ai.usage.input_tokens": 190,
            "gen_ai.usage.output_tokens": 50}  # fmt: skip
    return span(number, "llm_call", at, 2.1, parent, **{**said, **more})


def written(*records: dict[str, Any], indent: int | None = 2) -> str:
    return "".join(json.dumps(one, indent=indent) + "\n" for one in records)


def take(tmp_path: Path, store: Path, content: str) -> Any:
    (tmp_path / "telemetry.log").write_text(content)
    return import_paths([tmp_path / "telemetry.log"], store)


@pytest.mark.parametrize("indent", [2, None], ids=["pretty-printed", "a line each"])
def test_log_records_of_responses_and_errors_are_calls_of_their_session(
    tmp_path: Path, store: Path, indent: int | None
) -> None:
    content = written(
        METRICS, log(1, "user_prompt"), log(3, **COUNTS), log(9, "api_error", **{"error.type": "Quota"}), indent=indent
    )
    summary = take(tmp_path, store, content)
    assert (summary.tasks, summary.calls, summary.problems) == (1, 2, ())
    assert rows(store, f"task, provider, model, status, error_type, duration_s, finish_reasons, {TOKENS}") == [
        ("gemini-cli", "gcp.gemini", "gemini-9", "ok", None, 2.0, '["stop"]', 200, 64, None, 150, 100),
        ("gemini-cli", "gcp.gemini", "gemini-9", "error", "Quota", 2.0, '["stop"]', None, None, None, None, None),
    ]
    grown = take(tmp_path, store, content + written(log(20, **COUNTS), indent=indent))
    assert (grown.tasks, grown.grown, grown.calls) == (0, 1, 1)


@pytest.mark.parametrize(
    ("logged_in", "around", "old"),
    [(2, 1, False), (1, 1, False), (None, None, False), (2, 1, True)],
    ids=["inside its span", "beside its span", "a stream without a terminal", "of the SDK's first version"],
)
def test_a_record_and_a_span_of_one_call_are_one_call_with_the_records_counts(
    tmp_path: Path, store: Path, logged_in: int | None, around: int | None, old: bool
) -> None:
    prompt = [] if around is None else [span(1, "user_prompt", 0, 60, old=old)]
    take(
        tmp_path,
        store,
        written(log(3, inside=logged_in, **COUNTS), llm_call(2, 0.999, around, trace=0, old=old), *prompt),
    )
    assert rows(store, f"task, agent, {TOKENS}") == [("gemini-cli", "main", 200, 64, None, 150, 100)]


def test_traces_of_one_session_are_one_task_with_its_tool_runs_and_sub_agents(tmp_path: Path, store: Path) -> None:
    tool = {"gen_ai.tool.name": "delegate", "gen_ai.tool.call_id": "t-1"}
    summary = take(tmp_path, store, written(
        span(1, "user_prompt", 0, 20), llm_call(2, 1, 1), span(3, "schedule_tool_calls", 4, 8, 1),
        span(4, "tool_call", 4, 8, 3, **tool), span(5, "agent_call", 5, 6, 4), llm_call(6, 6, 5),
        llm_call(7, 30, trace=1),
    ))  # fmt: skip
    assert (summary.tasks, summary.calls, summary.sub_agent_calls, summary.problems) == (1, 3, 1, ())
    assert rows(store, "agent, depth, inside_tool_call_id, input_tokens, output_tokens, usage_source") == [
        ("main", 0, None, 190, None, "partial"),
        ("subagent", 1, "t-1", 190, None, "partial"),
        ("main", 0, None, 190, None, "partial"),
    ]
    assert rows(store, "name, tool_call_id, executed", "tool_calls") == [("delegate", "t-1", 1)]
    assert rows(store, "DISTINCT task") == [("gemini-cli",)], "a sub-agent does not name its task"


def test_the_file_of_copilot_cli_has_its_ids_beside_the_names_of_its_spans(tmp_path: Path, store: Path) -> None:
    about = {
        "resource": {"attributes": {"service.name": "github-copilot"}},
        "instrumentationScope": {"name": "github.copilot"},
    }
    said = {"gen_ai.operation.name": "chat", "gen_ai.provider.name": "github", "gen_ai.request.model": "m-1",
            "gen_ai.usage.input_tokens": 12228, "gen_ai.usage.output_tokens": 91, "gen_ai.usage.cache_read.input_tokens": 64,
            "gen_ai.usage.reasoning.output_tokens": 12}  # fmt: skip
    chat = {"type": "span", "traceId": TRACES[0], "spanId": f"{2:016x}", "parentSpanId": f"{1:016x}", "name": "chat m-1",
            "kind": 2, "startTime": pair(1), "endTime": pair(2.5), "attributes": said, "status": {"code": 0}, "events": [],
            **about}  # fmt: skip
    metric = {"type": "metric", "name": "gen_ai.client.operation.duration", "unit": "s", "dataPoints": [], **about}
    for records in ((chat, metric), (metric, chat)):
        summary = take(tmp_path, store, written(*records, indent=None))
        assert (summary.skipped, summary.problems) in (({}, ()), ({"already in the store": 1}, ()))
    assert rows(store, f"model, duration_s, {TOKENS}") == [("m-1", 1.5, 12228, 64, None, 91, 12)]


def test_a_file_cut_anywhere_keeps_every_whole_record(tmp_path: Path) -> None:
    parts = [written(log(float(n), **COUNTS)) for n in (3, 6, 9)]
    whole = "".join(parts)
    for end in range(60, len(whole), 97):
        store = tmp_path / f"{end}.db"
        try:
            taken = take(tmp_path, store, whole[:end]).calls
        except ImportSourceError:
            taken = 0
        assert taken == sum(len("".join(parts[: n + 1])) - 1 <= end for n in range(3)), end


def test_a_record_that_another_process_wrote_into_costs_itself_only(tmp_path: Path, store: Path) -> None:
    good = written(log(3, **COUNTS))
    summary = take(tmp_path, store, good + good[:200] + "\n" + written(log(9, **COUNTS)) + "noise\n")
    assert (summary.calls, summary.broken) == (2, {"not JSON": 2})
    lines, cut = good.count("\n"), good[:200].count("\n") + 1
    found = [one.where.rpartition(":")[2] for one in summary.problems]
    assert found == [str(lines + 1), str(lines + cut + lines + 1)]


def test_spans_without_ids_or_times_and_foreign_objects_are_named(tmp_path: Path, store: Path) -> None:
    lost, timeless = llm_call(2, 1), llm_call(3, 1)
    lost["_spanContext"] = {}
    timeless["startTime"] = "[Circular]"
    summary = take(tmp_path, store, written(llm_call(1, 1), lost, timeless, {"a": 1}))
    assert summary.calls == 1
    assert summary.broken == {"a span without its ids": 1, "a span without a time": 1, "no record of OpenTelemetry": 1}
