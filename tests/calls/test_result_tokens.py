"""Tokens of tool results whose call tells its counts late: after a failed attempt, or once its stream has ended."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.recording import scripted_bodies as bodies
from tests.recording.scripted import Answer, Scripted, as_events, as_json
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation

_LIMITED = as_json({"error": {"message": "Slow down.", "type": "rate_limit_error"}}, 429, **{"retry-after-ms": "1"})
_SAID = "It is the moon."
_BEFORE_ITS_COUNTS = 3
_TOOLS = "SELECT * FROM tool_calls ORDER BY tool_call_id"


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[Instrumentation]:
    with tf.instrument(tmp_path / "runs.db") as running:
        yield running


def _tool_call(number: int) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": "find", "arguments": '{"q": "tides"}'}}


def _asking(*numbers: int) -> Answer:
    whole = bodies.chat()
    message = {"role": "assistant", "content": None, "tool_calls": [_tool_call(number) for number in numbers]}
    return as_json({**whole, "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]})


def _history(*results: str) -> list[Any]:
    """Return an agent's question, its two tool calls, and what they found."""
    asked = {"role": "assistant", "content": None, "tool_calls": [_tool_call(number) for number in range(len(results))]}
    found = [{"role": "tool", "tool_call_id": f"call_{at}", "content": text} for at, text in enumerate(results)]
    return [{"role": "user", "content": "What makes the tides?"}, asked, *found]


def _loop(server: Scripted, messages: list[Any], **more: Any) -> Any:
    client = openai.OpenAI(base_url=server.openai_url, api_key="k")
    client.chat.completions.create(model="m", messages=messages[:1])
    return client.chat.completions.create(model="m", messages=messages, **more)


@pytest.mark.parametrize("failures", [0, 2])
def test_results_have_their_tokens_however_many_attempts_their_call_took(
    handle: Instrumentation, failures: int
) -> None:
    with Scripted(_asking(0, 1), *[_LIMITED] * failures, as_json(bodies.chat())) as server:
        _loop(server, _history("found " * 40, "found " * 10))
    assert handle.flush()
    brought, found = rows(handle.store)[1], rows(handle.store, _TOOLS)
    assert brought["attempts"] == failures + 1
    assert sum(run["result_tokens"] for run in found) == pytest.approx(brought["tool_result_tokens"], abs=1)
    assert [run["executed"] for run in found] == [1, 1]


def test_results_have_their_tokens_by_the_fallback_that_answered(handle: Instrumentation) -> None:
    down = as_json({"error": {"message": "Down.", "type": "server_error"}}, 500)
    messages = _history("found " * 40, "found " * 10)
    with Scripted(_asking(0, 1), down, as_json(bodies.chat())) as server:
        client = openai.OpenAI(base_url=server.openai_url, api_key="k", max_retries=0)
        client.chat.completions.create(model="m", messages=messages[:1])
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(model="m", messages=messages)
        client.chat.completions.create(model="another", messages=messages)
    assert handle.flush()
    answered, found = rows(handle.store)[2], rows(handle.store, _TOOLS)
    assert (answered["model"], answered["attempts"]) == ("another", 1)
    assert sum(run["result_tokens"] for run in found) == pytest.approx(answered["tool_result_tokens"], abs=1)
    assert [run["executed"] for run in found] == [1, 1]


def test_results_have_their_tokens_once_a_stream_that_was_held_ends(handle: Instrumentation) -> None:
    events = bodies.chat_stream({"content": _SAID})
    with Scripted(_asking(0), as_events(events), as_json(bodies.chat())) as server:
        messages = _history("found " * 40)
        held = _loop(server, messages, stream=True, stream_options={"include_usage": True})
        for _ in range(_BEFORE_ITS_COUNTS):
            next(held)
        messages += [{"role": "assistant", "content": _SAID}, {"role": "user", "content": "Is that so?"}]
        openai.OpenAI(base_url=server.openai_url, api_key="k").chat.completions.create(model="m", messages=messages)
        assert handle.flush()
        (before,) = rows(handle.store, _TOOLS)
        list(held)
    assert handle.flush()
    (after,) = rows(handle.store, _TOOLS)
    assert (before["executed"], before["result_tokens"]) == (1, None)
    assert (after["executed"], after["result_tokens"]) == (1, rows(handle.store)[1]["tool_result_tokens"])
