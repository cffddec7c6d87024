"""What a provider asks its models by itself (agents that it runs, batches) is named once, and is no exchange."""

import socket
import urllib.request
from collections.abc import Iterator
from typing import Any

import anthropic
import httpx2
import openai
import pytest
import requests
from tests.hooks.conftest import Collected
from tests.providers import Provider

from tokenflation.sdk.hooks import install


@pytest.fixture
def agency() -> Iterator[Provider]:
    """Run a server that takes a batch."""
    with Provider(more_dialects={"/batches": lambda _: ({"id": "batch_1", "object": "batch"}, [])}) as provider:
        yield provider


def _client(answer: dict[str, Any]) -> httpx2.Client:
    return httpx2.Client(transport=httpx2.MockTransport(lambda _: httpx2.Response(200, json=answer)))


def test_a_batch_of_openais_is_named_once(recorded: Collected, caplog: pytest.LogCaptureFixture) -> None:
    client = openai.OpenAI(api_key="k", http_client=_client({"id": "batch_1", "object": "batch"}))
    for _ in range(3):
        client.batches.create(input_file_id="f", endpoint="/v1/chat/completions", completion_window="24h")
    assert (recorded.failures, recorded.exchanges) == (["unseen:openai.batches"], [])
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("openai answers a batch in a file, later: ")


def test_a_batch_of_anthropics_is_named_and_a_message_is_recorded(recorded: Collected) -> None:
    asked: Any = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}
    client = anthropic.Anthropic(api_key="k", http_client=_client({"id": "x", "type": "message", "content": []}))
    client.messages.batches.create(requests=[{"custom_id": "a", "params": asked}])
    client.messages.create(**asked)
    assert recorded.failures == ["unseen:anthropic.batches"]
    assert [exchange.path for exchange in recorded.exchanges] == ["/v1/messages"]


def test_agents_that_the_provider_runs_are_named(recorded: Collected, lib: Any) -> None:
    client = lib.Client(transport=lib.MockTransport(lambda _: lib.Response(200, json={})))
    client.post("https://api.openai.com/v1/agents/sessions", json={"agent_id": "a"})
    client.post("https://api.anthropic.com/v1/sessions/s/events", json={"events": []})
    client.post("https://app.example/v1/sessions/s/events", json={"events": []})
    assert recorded.failures == ["unseen:openai.agents", "unseen:anthropic.sessions"]
    assert recorded.exchanges == []


def test_what_fals_queue_takes_and_a_list_of_requests_to_cloudflare_are_named(recorded: Collected, lib: Any) -> None:
    client = lib.Client(transport=lib.MockTransport(lambda _: lib.Response(200, json={})))
    asked = {"prompt": "hi", "model": "m"}
    client.post("https://queue.fal.run/openrouter/router", json=asked)
    client.post(f"https://gateway.ai.cloudflare.com/v1/{'0a' * 16}/g", json=[{"provider": "openai", "query": asked}])
    client.post(f"https://api.example.com/v1/{'0a' * 16}/g", json=[asked])
    assert recorded.failures == ["unseen:fal_ai.models", "unseen:cloudflare.universal"]
    assert recorded.exchanges == []


def test_a_host_is_not_said_to_be_unseen_for_having_been_looked_up_as_well(
    collected: Collected, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    undo = install(collected.tap)
    socket.getaddrinfo("api.openai.com", 443)  # by none of the libraries that are watched
    collected.tap.begin("POST", "api.openai.com", "/v1/batches", None, {})
    undo()
    assert collected.failures == ["unseen:openai.batches"]


def test_what_several_layers_see_is_named_once(recorded: Collected, agency: Provider) -> None:
    # Through requests, urllib3 and http.client at once, then through http.client alone.
    assert requests.post("http://api.openai.com/v1/batches", json={}, proxies={"http": agency.url}, timeout=9).ok
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": agency.url}))
    with opener.open("http://api.openai.com/v1/batches", data=b"{}") as answer:
        assert answer.status == 200
    assert recorded.failures == ["unseen:openai.batches"]
