"""What coding agents log of their calls by OpenTelemetry, in the shapes that their documentation gives.

Sources: code.claude.com/docs/en/monitoring-usage ("Events", "Traces"); openai/codex, codex-rs/otel;
google-gemini/gemini-cli, docs/cli/telemetry.md.
"""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.importers import claude_logs
from tests.importers.agent_events import CLAUDE, event, logged
from tests.importers.agent_logs import CODEX, GEMINI, as_lines, codex_usage
from tests.importers.spans import START_NS, TRACE, request, rows, span

from tokenflation.sdk.importers import import_paths
from tokenflation.sdk.importers.files.fields import made_id, time_ns

TOKENS = "input_tokens, cache_read_tokens, cache_write_tokens, output_tokens, reasoning_tokens"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


def take(tmp_path: Path, store: Path, *requests: dict[str, Any]) -> Any:
    (tmp_path / "otel.jsonl").write_text("".join(json.dumps(one) + "\n" for one in requests))
    return import_paths([tmp_path / "otel.jsonl"], store)


def test_claude_codes_events_are_calls_of_their_session_with_final_output(tmp_path: Path, store: Path) -> None:
    summary = take(tmp_path, store, logged(
        event("claude_code.user_prompt", 0, **{"session.id": "s-1"}),
        event("claude_code.api_request", 3, **CLAUDE),
        event("claude_code.api_error", 9, **{"session.id": "s-1", "model": "m-1", "error": "overloaded", "duration_ms": 500}),
        event("claude_code.api_request", 12, **(CLAUDE | {"request_id": "req_2", "input_tokens": 7})),
    ))  # fmt: skip
    assert (summary.tasks, summary.calls, summary.problems) == (1, 3, ())
    assert rows(store, f"task, provider, model, status, duration_s, extra ->> 'cost', {TOKENS}") == [
        ("claude-code", "anthropic", "m-1", "ok", 3.0, 0.25, 1000, 900, 98, 50, None),
        ("claude-code", "anthropic", "m-1", "error", 0.5, None, None, None, None, None, None),
        ("claude-code", "anthropic", "m-1", "ok", 3.0, 0.25, 1005, 900, 98, 50, None),
    ]
    assert take(tmp_path, store, logged(event("claude_code.api_request", 3, **CLAUDE))).calls == 0


@pytest.mark.parametrize(
    ("name", "said", "tokens"),
    [
        ("codex.sse_event",
         {"event.kind": "response.completed", "conversation.id": "c", "model": "m-1", "input_token_count": 200,
          "cached_token_count": 64, "output_token_count": 150, "reasoning_token_count": 100, "tool_token_count": 350},
         (200, 64, None, 150, 100)),
        ("gemini_cli.api_response",
         {"session.id": "c", "model": "m-1", "body": "API response from m-1.5. Status: 200.", "duration_ms": 5, "input_token_count": 190, "tool_token_count": 10,
          "cached_content_token_count": 64, "output_token_count": 50, "thoughts_token_count": 100, "total_token_count": 350},
         (200, 64, None, 150, 100)),
    ],
    ids=["codex", "gemini-cli"],
)  # fmt: skip
def test_other_agents_events_count_as_their_providers_do(
    tmp_path: Path, store: Path, name: str, said: dict[str, Any], tokens: tuple[int | None, ...]
) -> None:
    take(tmp_path, store, logged(event(name, **said), event("codex.sse_event", **{"event.kind": "response.created"})))
    assert rows(store, TOKENS) == [tokens]


@pytest.mark.parametrize("apart_s", [0.0, 0.002])
def test_the_event_of_codex_that_an_answers_stream_ended_is_no_call_beside_the_one_with_its_counts(
    tmp_path: Path, store: Path, apart_s: float
) -> None:
    of_stream = {
        "event.kind": "response.completed",
        "duration_ms": "0",
        "conversation.id": "thread-1",
        "model": "gpt-x",
    }
    counted = _codexs(3 + apart_s, (1000, 600, 50, 20))
    summary = take(tmp_path, store, logged(event("codex.sse_event", 3, **of_stream), counted))
    assert (rows(store, TOKENS), summary.problems) == ([(1000, 600, None, 50, 20)], ())


def spans_of_a_call() -> dict[str, Any]:
    """Return a prompt's and a call's span, the call that of `CLAUDE`, and a tool's that the call asked for."""
    counts = {"input_tokens": 2, "cache_read_tokens": 900, "cache_creation_tokens": 98, "output_tokens": 50}
    said = {
        "span.type": "llm_request",
        "gen_ai.request.model": "m-1",
        "gen_ai.system": "anthropic",
        "request_id": "req_1",
    }
    return request(
        span(1, "claude_code.interaction", None, 0, 9, library="t"),
        span(2, "claude_code.llm_request", 1, 0, 3, library="t", _=said | counts),
        span(3, "claude_code.tool", 1, 4, 3, library="t", _={"tool_name": "Read", "tool_use_id": "t-1"}),
    )


@pytest.mark.parametrize("parent", [1, 2], ids=["beside the call's span", "inside the call's span"])
def test_an_event_and_a_span_of_one_call_are_one_call(tmp_path: Path, store: Path, parent: int) -> None:
    take(tmp_path, store, spans_of_a_call(), logged(event("claude_code.api_request", 3, parent=parent, **CLAUDE)))
    assert rows(store, f"extra ->> 'cost', task_id, {TOKENS}") == [(0.25, TRACE, 1000, 900, 98, 50, None)]


@pytest.mark.parametrize("parent", [None, 1, 2], ids=["in no span", "beside the call's span", "inside the call's span"])
@pytest.mark.parametrize("spans_first", [True, False], ids=["spans first", "events first"])
def test_events_and_spans_of_one_call_in_imports_of_their_own_are_one_call(
    tmp_path: Path, store: Path, parent: int | None, spans_first: bool
) -> None:
    both = [spans_of_a_call(), logged(event("claude_code.api_request", 3, parent=parent, **CLAUDE))]
    first, second = both if spans_first else reversed(both)
    assert take(tmp_path, store, first).calls == 1
    again = take(tmp_path, store, second)
    assert (again.calls, again.input_tokens, again.skipped) == (0, 0, {"already in the store": 1})
    assert rows(store, f"response_id, {TOKENS}") == [("req_1", 1000, 900, 98, 50, None)]
    assert rows(store, "call_id", "tool_calls") == (rows(store, "call_id") if spans_first else [])


def test_what_the_store_lacks_of_a_session_is_added_beside_the_calls_that_it_has(tmp_path: Path, store: Path) -> None:
    take(tmp_path, store, spans_of_a_call())
    more = [event("claude_code.api_request", at, **(CLAUDE | {"request_id": f"req_{n}"})) for n, at in ((1, 3), (2, 9))]
    assert take(tmp_path, store, logged(*more)).calls == 1
    assert rows(store, "response_id") == [("req_1",), ("req_2",)]


def test_an_event_without_its_session_or_time_is_named(tmp_path: Path, store: Path) -> None:
    lost = {key: value for key, value in CLAUDE.items() if key != "session.id"}
    summary = take(
        tmp_path, store, logged(event("claude_code.api_request", **lost), event("claude_code.api_request", **CLAUDE))
    )
    assert (summary.calls, summary.broken) == (1, {"a call's event without its session or time": 1})


def test_logs_of_other_programs_are_no_agents(tmp_path: Path, store: Path) -> None:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps(logged(event("claude_code.api_request", **CLAUDE))))
    (tmp_path / "shop.jsonl").write_text(json.dumps(logged(event("shop.sold", price=3))))
    summary = import_paths([tmp_path / "shop.jsonl", good], store)
    assert (summary.calls, summary.foreign) == (1, {"of no known format": 1})


def _session(path: Path, *messages: str) -> Path:
    """Write the log of a session that has one call a message; its requests are named after them."""
    calls = [claude_logs.answer(f"a-{name}", None, place, name, stop="end_turn") for place, name in enumerate(messages)]
    return claude_logs.write(path, calls)


@pytest.mark.parametrize("telemetry_first", [True, False])
def test_a_call_in_the_log_of_its_session_and_in_telemetry_is_one_call(
    tmp_path: Path, store: Path, telemetry_first: bool
) -> None:
    both = [CLAUDE | {"session.id": claude_logs.SESSION, "request_id": f"req_m{number}"} for number in (1, 2)]
    (tmp_path / "otel.jsonl").write_text(
        json.dumps(logged(*(event("claude_code.api_request", 3, **one) for one in both)))
    )
    log = _session(tmp_path / "session.jsonl", "m1", "m2", "m3")
    files = [tmp_path / "otel.jsonl", log]

    added = [import_paths([file], store).calls for file in (files if telemetry_first else files[::-1])]

    assert added == ([2, 1] if telemetry_first else [3, 0])
    assert len(rows(store, "call_id")) == 3


def test_a_call_that_the_store_has_by_the_id_of_its_message_is_not_added_again(tmp_path: Path, store: Path) -> None:
    import_paths([_session(tmp_path / "session.jsonl", "m1")], store)
    with closing(sqlite3.connect(store)) as connection, connection:
        connection.execute("UPDATE calls SET call_id = ?", (made_id("claude-code", "message", "m1"),))

    again = import_paths([tmp_path / "session.jsonl"], store)
    grown = import_paths([_session(tmp_path / "session.jsonl", "m1", "m2")], store)

    assert (again.calls, again.skipped) == (0, {"already in the store": 1})
    assert (grown.calls, len(rows(store, "call_id"))) == (1, 2)


def _codexs(second: float, counts: tuple[int, int, int, int], thread_id: str = "thread-1") -> dict[str, Any]:
    names = ("input_token_count", "cached_token_count", "output_token_count", "reasoning_token_count")
    said = {name: str(number) for name, number in zip(names, counts, strict=True)}
    named = {"event.kind": "response.completed", "conversation.id": thread_id, "model": "gpt-x"}
    return event("codex.sse_event", second, **named, **said)


def _codex_log(path: Path, *counts: tuple[int, int, int, int]) -> Path:
    path.write_text(as_lines([CODEX[0], *(codex_usage(4 + n, one, 1050 + n) for n, one in enumerate(counts))]))
    return path


@pytest.mark.parametrize("telemetry_first", [True, False])
def test_a_call_of_codex_in_its_log_and_in_telemetry_is_one_call(
    tmp_path: Path, store: Path, telemetry_first: bool
) -> None:
    counts = [(1000, 600, 50, 20), (1200, 1000, 30, 0), (1200, 1000, 30, 0)]
    log, otel = _codex_log(tmp_path / "rollout.jsonl", *counts), tmp_path / "otel.jsonl"
    otel.write_text(json.dumps(logged(_codexs(4, counts[0]), _codexs(5, counts[1]), _codexs(9, counts[0], "thread-2"))))

    added = [import_paths([file], store).calls for file in ([otel, log] if telemetry_first else [log, otel])]

    assert added == [3, 1]
    assert sorted(rows(store, "input_tokens")) == [(1000,), (1000,), (1200,), (1200,)]


@pytest.mark.parametrize("telemetry_first", [True, False])
def test_a_call_of_gemini_cli_in_its_chat_and_in_telemetry_is_one_call(
    tmp_path: Path, store: Path, telemetry_first: bool
) -> None:
    chat, otel = tmp_path / "chat.jsonl", tmp_path / "otel.jsonl"
    chat.write_text(as_lines(GEMINI))
    said = {"session.id": "g-1", "model": "gemini-x", "duration_ms": 5, "tool_token_count": 10}
    names = ("input_token_count", "output_token_count", "cached_content_token_count", "thoughts_token_count",
             "total_token_count")  # fmt: skip
    counts = dict(zip(names, (900, 40, 300, 25, 975), strict=True))
    otel.write_text(json.dumps(logged(event("gemini_cli.api_response", 3, body="API response.", **said, **counts))))

    added = [import_paths([file], store).calls for file in ([otel, chat] if telemetry_first else [chat, otel])]

    assert added == ([1, 1] if telemetry_first else [2, 0])


def test_a_call_that_the_store_has_by_its_older_id_is_not_added_again(tmp_path: Path, store: Path) -> None:
    log = _codex_log(tmp_path / "rollout.jsonl", (1000, 600, 50, 20))
    otel = logged(_codexs(9, (1000, 600, 50, 20), "thread-2"))
    import_paths([log], store)
    take(tmp_path, store, otel)
    place = f"1050/{time_ns({'at': claude_logs.at(4)}, 'at')}"
    event_place = ("agent-events", "thread-2", f"{START_NS + 9 * 10**9}/None")
    with closing(sqlite3.connect(store)) as connection, connection:
        for relation, older in (("=", made_id("codex", "thread-1", place)), ("!=", made_id(*event_place))):
            connection.execute(f"UPDATE calls SET call_id = ? WHERE task_id {relation} 'thread-1'", (older,))
    assert import_paths([log], store).calls == 0
    assert take(tmp_path, store, otel).calls == 0
