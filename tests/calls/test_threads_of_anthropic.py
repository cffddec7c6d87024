"""Anthropic's threads: the provider keeps the history, and requests hold what is new, as those of a tool runner."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest
from tests.provider_answers import anthropic_messages
from tests.providers import Event, Provider, Received
from tests.stored import rows

import tokenflation.sdk as tf


@anthropic.beta_tool
def search(query: str) -> str:
    """Search for something."""
    return f"found {query}"


@pytest.fixture
def client() -> Iterator[anthropic.Anthropic]:
    """Yield a client of a provider of which each answer has ids of its own."""
    answers = iter(range(1, 99))

    def answer(request: Received) -> tuple[dict[str, Any], list[Event]]:
        text = json.dumps(anthropic_messages(request)).replace("msg_1", f"answer_{next(answers)}")
        whole, events = json.loads(text)
        return whole, events

    with Provider(more_dialects={"/v1/mess": answer}) as provider, anthropic.Anthropic(
        base_url=provider.url, api_key="k", max_retries=0
    ) as made:  # fmt: skip
        yield made


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_runner_is_one_agent_run_whose_tools_were_run(
    client: anthropic.Anthropic, store: Path, stream: bool
) -> None:
    question: Any = [{"role": "user", "content": "Go. [[tool:search]]"}]
    with tf.instrument(store):
        client.beta.messages.tool_runner(
            model="m", max_tokens=9, tools=[search], messages=question, stream=stream
        ).until_done()
        client.messages.create(model="m", max_tokens=9, messages=[{"role": "user", "content": "Another thing."}])
    asked, answered, apart = rows(store)
    assert (answered["continues_call_id"], answered["step"], answered["depth"]) == (asked["call_id"], 1, 0)
    assert (answered["agent_run_id"], answered["prompted_by"]) == (asked["agent_run_id"], "tool")
    assert answered["tool_result_tokens"] is answered["block_hashes"] is None
    assert (apart["depth"], apart["agent_run_id"] != asked["agent_run_id"]) == (0, True)
    assert [tool["executed"] for tool in rows(store, "SELECT * FROM tool_calls")] == [1]


def test_of_a_history_that_the_provider_keeps_nothing_is_invented(client: anthropic.Anthropic, store: Path) -> None:
    thread = client.beta.messages.thread(model="m", max_tokens=9, system="Be brief.")
    with tf.instrument(store):
        for text in ("One.", "Two.", "Three."):
            thread.send({"role": "user", "content": text})
    first, *later = rows(store)
    assert [call["step"] for call in (first, *later)] == [0, 1, 2]
    assert all(call["input_tokens"] == 200 for call in later)
    assert all(call["resent_tokens"] is call["new_tokens"] is call["block_hashes"] is None for call in later)
