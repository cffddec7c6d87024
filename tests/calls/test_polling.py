"""Responses that run in the background: usage counted once, on the call that created the response."""

import json
import multiprocessing
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests import stored
from tests.recording import scripted_bodies as bodies
from tests.recording.scripted import Scripted, as_events, as_json

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.calls.polling import MAX_PROMPT_BYTES, MAX_UNFINISHED, Polls, id_in
from tokenflation.sdk.records import Reading

TOOL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "search", "arguments": "{}"}


def reading(response_id: str, prompt: bytes = b"") -> Reading:
    return Reading(api="openai.responses", provider="openai", response_id=response_id, prompt=prompt)


def test_of_responses_that_nobody_fetches_the_oldest_are_given_up() -> None:
    polls: Polls[int] = Polls()
    given_up = [one for number in range(3000) for one in polls.keep(reading(f"resp_{number}"), number)]
    assert given_up == list(range(3000 - MAX_UNFINISHED))
    assert polls.find("resp_0", reading("resp_0")) is None
    assert polls.find("resp_2999", reading("resp_2999")) is not None
    assert polls.give_up() == list(range(3000 - MAX_UNFINISHED, 3000))


def test_the_prompts_of_unfinished_responses_are_bounded_too() -> None:
    polls: Polls[int] = Polls()
    size = MAX_PROMPT_BYTES // 4
    for number in range(6):
        polls.keep(reading(f"resp_{number}", bytes(size)), number)
    found = [polls.find(f"resp_{number}", reading("")) for number in range(6)]
    assert [len(one.reading.prompt) for one in found if one] == [0, 0, size, size, size, size]
    polls.forget("resp_5")
    polls.keep(reading("resp_6", bytes(size)), 6)
    kept = polls.find("resp_2", reading(""))
    assert kept is not None
    assert len(kept.reading.prompt) == size


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1/responses/resp_a", "resp_a"),
        ("/v1/responses/resp_a?stream=true&starting_after=3", "resp_a"),
        ("/openai/v1/responses/resp_a/cancel", "resp_a"),
        ("/v1/threads/t/runs/run_a/submit_tool_outputs", "run_a"),
        ("", ""),
    ],
)
def test_the_id_of_a_fetched_answer_stands_in_its_path(path: str, expected: str) -> None:
    assert id_in(path) == expected


# With the real client.


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[Instrumentation]:
    with tf.instrument(tmp_path / "runs.db") as running:
        yield running


def rows(handle: Instrumentation, table: str = "calls") -> list[dict[str, Any]]:
    assert handle.flush()
    return stored.rows(handle.store, f"SELECT * FROM {table} ORDER BY started_at_ns")


def client(server: Scripted) -> openai.OpenAI:
    return openai.OpenAI(base_url=server.openai_url, api_key="k", max_retries=0)


QUEUED = as_json(bodies.response("queued"))
RUNNING = as_json(bodies.response("in_progress"))
DONE = as_json(bodies.response("completed", output=[TOOL]))


def test_a_background_response_polled_five_times_counts_its_usage_once(handle: Instrumentation) -> None:
    with Scripted(QUEUED, RUNNING, RUNNING, DONE, DONE, DONE) as server, client(server) as ask:
        created = ask.responses.create(model="m", input="hello", background=True)
        assert (rows(handle)[0]["finish_reasons"], rows(handle)[0]["usage_source"]) == ('["queued"]', "absent")
        for _ in range(5):
            ask.responses.retrieve(created.id)
    (call,) = rows(handle)
    assert len(server.requests) == 6
    assert (call["input_tokens"], call["cache_read_tokens"], call["output_tokens"]) == (200, 64, 150)
    assert (call["reasoning_tokens"], call["usage_source"], call["usage_complete"]) == (100, "provider", 1)
    assert (call["status"], call["attempts"], call["tool_calls"]) == ("ok", 1, 1)
    assert json.loads(call["finish_reasons"]) == ["completed"]
    assert json.loads(call["extra"])["polls"] == 3
    assert len(rows(handle, "attempts")) == 1


def test_the_finished_row_has_the_parts_and_blocks_of_its_prompt_and_the_tools_it_asks_for(
    handle: Instrumentation,
) -> None:
    with Scripted(QUEUED, DONE) as server, client(server) as ask:
        ask.responses.retrieve(ask.responses.create(model="m", input="hello " * 200, background=True).id)
    (call,) = rows(handle)
    parts = ("system_tokens", "tool_definition_tokens", "resent_tokens", "tool_result_tokens", "new_tokens")
    assert sum(call[part] for part in parts) == 200
    assert len(call["block_hashes"]) == 8 * 4
    (tool,) = rows(handle, "tool_calls")
    assert (tool["call_id"], tool["tool_call_id"], tool["name"]) == (call["call_id"], "call_1", "search")
    assert call["duration_s"] == pytest.approx((call["ended_at_ns"] - call["started_at_ns"]) / 1e9)


def test_fetching_a_response_that_is_finished_or_another_programs_adds_nothing(handle: Instrumentation) -> None:
    finished = as_json(bodies.response("completed"))
    others = as_json(bodies.response("completed", response_id="resp_b"))
    with Scripted(finished, finished, others) as server, client(server) as ask:
        ask.responses.create(model="m", input="hello")
        before = rows(handle)
        ask.responses.retrieve("resp_a")
        ask.responses.retrieve("resp_b")
    assert rows(handle) == before
    assert before[0]["input_tokens"] == 200
    assert handle.drops == {}


@pytest.mark.parametrize("status", ["failed", "cancelled", "incomplete"])
def test_a_response_may_be_fetched_failed_cancelled_or_incomplete(handle: Instrumentation, status: str) -> None:
    with Scripted(QUEUED, as_json(bodies.response(status))) as server, client(server) as ask:
        ask.responses.retrieve(ask.responses.create(model="m", input="hello", background=True).id)
    (call,) = rows(handle)
    expected = {"failed": "error", "cancelled": "cancelled", "incomplete": "ok"}
    assert (call["status"], call["input_tokens"]) == (expected[status], None)


def test_a_cancel_ends_the_call_and_is_none_itself(handle: Instrumentation) -> None:
    with Scripted(QUEUED, as_json(bodies.response("cancelled"))) as server, client(server) as ask:
        ask.responses.cancel(ask.responses.create(model="m", input="hello", background=True).id)
    (call,) = rows(handle)
    assert (call["status"], call["usage_source"], server.requests[1]) == (
        "cancelled",
        "absent",
        "POST /v1/responses/resp_a/cancel",
    )


def test_a_poll_that_is_refused_changes_nothing(handle: Instrumentation) -> None:
    refused = as_json({"error": {"type": "server_error", "message": "m"}}, 500)
    with Scripted(QUEUED, refused, DONE) as server, client(server) as ask:
        created = ask.responses.create(model="m", input="hello", background=True)
        with pytest.raises(openai.InternalServerError):
            ask.responses.retrieve(created.id)
        assert rows(handle)[0]["finish_reasons"] == '["queued"]'
        ask.responses.retrieve(created.id)
    assert rows(handle)[0]["input_tokens"] == 200


def stream_of(status: str, *, first: int, last: int) -> Sequence[bodies.Event]:
    """Return these events of a streamed background response; each has its number, as resuming needs it."""
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "item_id": "i", "delta": "a"}
    every: list[dict[str, Any]] = [
        {"type": "response.created", "response": bodies.response("queued")},
        {"type": "response.in_progress", "response": bodies.response("in_progress")},
        {**delta, "logprobs": []},
        {**delta, "logprobs": []},
        {"type": f"response.{status}", "response": bodies.response(status)},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(every)][first:last]


def test_a_stream_that_breaks_in_the_background_and_is_resumed_is_one_call_with_its_usage_once(
    handle: Instrumentation,
) -> None:
    broken = as_events(stream_of("completed", first=0, last=3), dies=True)
    resumed = as_events(stream_of("completed", first=3, last=5))
    with Scripted(broken, resumed, DONE) as server, client(server) as ask:
        with pytest.raises(openai.APIError):
            list(ask.responses.create(model="m", input="hello", background=True, stream=True))
        assert rows(handle)[0]["status"] == "error"
        list(ask.responses.retrieve("resp_a", stream=True, starting_after=2))
        ask.responses.retrieve("resp_a")
    (call,) = rows(handle)
    assert (call["status"], call["attempts"], call["input_tokens"], call["output_tokens"]) == ("ok", 1, 200, 150)
    assert call["ttft_s"] < call["duration_s"]
    assert "possible_double_billing" not in json.loads(call["extra"])


def test_a_stream_let_go_of_after_its_response_was_fetched_has_the_usage_of_the_get(handle: Instrumentation) -> None:
    stream = as_events(stream_of("completed", first=0, last=4), dies=True)
    with (
        Scripted(stream, DONE) as server,
        client(server) as ask,
        ask.responses.create(model="m", input="hello", background=True, stream=True) as events,
    ):
        next(iter(events))
        ask.responses.retrieve("resp_a")
    (call,) = rows(handle)
    assert (call["status"], call["input_tokens"], call["output_tokens"]) == ("ok", 200, 150)
    assert call["usage_complete"] == 1


def test_a_background_call_is_one_span_that_has_its_usage(tmp_path: Path) -> None:
    memory = InMemorySpanExporter()
    spans = TracerProvider()
    spans.add_span_processor(SimpleSpanProcessor(memory))
    with (
        tf.instrument(tmp_path / "runs.db", tracer_provider=spans) as handle,
        Scripted(QUEUED, RUNNING, DONE) as server,
        client(server) as ask,
    ):
        for _ in range(2):
            created = ask.responses.create(model="m", input="hello", background=True) if not server.requests else None
            ask.responses.retrieve(created.id if created else "resp_a")
        handle.flush()
    usage = [(span.attributes or {}).get("gen_ai.usage.input_tokens") for span in memory.get_finished_spans()]
    assert usage == [200]


def test_polls_may_come_from_another_thread(handle: Instrumentation) -> None:
    with Scripted(QUEUED, DONE) as server, client(server) as ask:
        created = ask.responses.create(model="m", input="hello", background=True)
        poller = threading.Thread(target=ask.responses.retrieve, args=(created.id,))
        poller.start()
        poller.join()
    assert [call["input_tokens"] for call in rows(handle)] == [200]


def _poll(url: str, store: str) -> None:
    with tf.instrument(store), openai.OpenAI(base_url=url, api_key="k") as ask:
        ask.responses.retrieve("resp_a")


def test_a_poll_from_another_process_writes_no_row_and_the_creators_row_stays_as_it_is(
    handle: Instrumentation,
) -> None:
    with Scripted(QUEUED, DONE) as server, client(server) as ask:
        ask.responses.create(model="m", input="hello", background=True)
        other = multiprocessing.get_context("spawn").Process(target=_poll, args=(server.openai_url, handle.store))
        other.start()
        other.join(60)
    assert (other.exitcode, len(server.requests)) == (0, 2)
    assert [(call["finish_reasons"], call["input_tokens"]) for call in rows(handle)] == [('["queued"]', None)]


def run(status: str, **more: Any) -> Any:
    usage = {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350} if status == "completed" else None
    head = {
        "id": "run_a",
        "object": "thread.run",
        "created_at": 1,
        "assistant_id": "asst",
        "thread_id": "t",
        "model": "m",
    }
    return as_json({**head, "status": status, "usage": usage, **more})


def test_a_run_that_waits_for_its_tools_is_one_call_with_their_calls_and_its_usage_once(
    handle: Instrumentation,
) -> None:
    asked = {"id": "call_1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [asked]}}
    answers = [run("queued"), run("requires_action", required_action=action), run("queued"), run("completed")]
    with Scripted(*answers) as server, httpx.Client(base_url=server.openai_url) as ask:
        ask.post("/threads/t/runs", json={"assistant_id": "asst"})
        ask.get("/threads/t/runs/run_a")
        ask.post("/threads/t/runs/run_a/submit_tool_outputs", json={"tool_outputs": []})
        ask.get("/threads/t/runs/run_a")
        ask.get("/threads/t/runs/run_a")
    (call,) = rows(handle)
    assert (call["api"], call["input_tokens"], call["output_tokens"]) == ("openai.assistants.run", 200, 150)
    assert (call["status"], call["tool_calls"], call["attempts"]) == ("ok", 1, 1)
    assert [tool["name"] for tool in rows(handle, "tool_calls")] == ["search"]


def test_an_interaction_in_the_background_counts_its_usage_once(handle: Instrumentation) -> None:
    running = {"id": "int_a", "object": "interaction", "model": "m", "status": "in_progress"}
    usage = {"total_input_tokens": 200, "total_output_tokens": 150, "total_tokens": 350}
    done = as_json({**running, "status": "completed", "usage": usage})
    with Scripted(as_json(running), as_json(running), done, done) as server, httpx.Client(base_url=server.url) as ask:
        ask.post("/v1beta/interactions", json={"model": "m", "input": "hello", "background": True})
        for _ in range(3):
            ask.get("/v1beta/interactions/int_a")
    (call,) = rows(handle)
    assert (call["api"], call["input_tokens"], call["output_tokens"]) == ("google.interactions", 200, 150)
    assert (call["status"], json.loads(call["extra"])["polls"]) == ("ok", 2)


def test_a_prediction_counts_the_metrics_that_it_has_once_it_is_made(handle: Instrumentation) -> None:
    head = {"id": "pred_a", "model": "o/m", "output": None, "error": None, "metrics": {}}
    counts = {"input_token_count": 200, "output_token_count": 150, "predict_time": 1.5}
    done = as_json({**head, "status": "succeeded", "output": ["yes"], "metrics": counts})
    answers = [as_json({**head, "status": status}) for status in ("starting", "processing")]
    with Scripted(*answers, done, done) as server, httpx.Client(base_url=server.openai_url) as ask:
        ask.post("/models/o/m/predictions", json={"input": {"prompt": "hello"}})
        for _ in range(3):
            ask.get("/predictions/pred_a")
    (call,) = rows(handle)
    assert (call["api"], call["input_tokens"], call["output_tokens"]) == ("replicate.predictions", 200, 150)
    assert (call["status"], call["model"], json.loads(call["extra"])["polls"]) == ("ok", "o/m", 2)
