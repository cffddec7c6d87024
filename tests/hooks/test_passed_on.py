"""Transports of a host's that send by another library: the same request passed on is one call, any other is its own."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import httpx2
import pytest
import requests
import urllib3
from tests.hooks.conftest import Collected
from tests.providers import Provider

Send = Callable[[str, bytes], tuple[int, bytes]]
"""Sends a body somewhere, and returns the answer's status and body."""
JSON = {"content-type": "application/json"}


def by_requests(url: str, body: bytes) -> tuple[int, bytes]:
    answer = requests.post(url, data=body, headers=JSON, timeout=10)
    return answer.status_code, answer.content


def by_urllib3(url: str, body: bytes) -> tuple[int, bytes]:
    with urllib3.PoolManager() as pool:
        answer = pool.request("POST", url, body=body, headers=JSON)
    return answer.status, answer.data


def by_httpx(url: str, body: bytes) -> tuple[int, bytes]:
    answer = httpx.post(url, content=body, headers=JSON)
    return answer.status_code, answer.content


def by_httpx2(url: str, body: bytes) -> tuple[int, bytes]:
    answer = httpx2.post(url, content=body, headers=JSON)
    return answer.status_code, answer.content


def by_aiohttp(url: str, body: bytes) -> tuple[int, bytes]:
    async def send() -> tuple[int, bytes]:
        async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=JSON) as answer:
            return answer.status, await answer.read()

    return asyncio.run(send())


WAYS = pytest.mark.parametrize("send", [by_requests, by_urllib3, by_httpx, by_httpx2, by_aiohttp])


def ask(lib: Any, provider: Provider, passing: Callable[[Any], tuple[int, bytes]], prompt: str = "hi") -> Any:
    """Send a request through a client whose transport does `passing` with it."""

    class Passing(lib.BaseTransport):  # type: ignore[misc, name-defined]
        def handle_request(self, request: Any) -> Any:
            status, body = passing(request)
            return lib.Response(status, headers=JSON, content=body)

    body = {"model": "m", "messages": [{"role": "user", "content": prompt}]}
    with lib.Client(transport=Passing()) as client:
        return client.post(f"{provider.openai_url}/chat/completions", json=body)


@WAYS
def test_a_request_that_a_transport_passes_on_is_one_call(
    send: Send, provider: Provider, lib: Any, recorded: Collected
) -> None:
    assert ask(lib, provider, lambda request: send(str(request.url), request.read())).status_code == 200
    assert (recorded.only.end, recorded.only.status_code) == ("read", 200)


@pytest.mark.parametrize("send", [by_requests, by_urllib3, by_aiohttp])
def test_a_request_that_a_transport_turns_elsewhere_or_writes_anew_is_one_call(
    send: Send, provider: Provider, lib: Any, recorded: Collected
) -> None:
    def turned(request: Any) -> tuple[int, bytes]:
        return send(f"{provider.url}/openai/v1/chat/completions", request.read())

    ask(lib, provider, turned)
    ask(lib, provider, lambda request: send(str(request.url), request.read().replace(b":", b": ")))
    assert [one.path for one in recorded.exchanges] == ["/v1/chat/completions"] * 2


@WAYS
def test_another_model_that_a_transport_asks_on_the_way_is_another_call(
    send: Send, provider: Provider, lib: Any, recorded: Collected
) -> None:
    def checked(request: Any) -> tuple[int, bytes]:
        send(
            f"{provider.url}/v1/messages",
            b'{"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "?"}]}',
        )
        return send(str(request.url), request.read())

    ask(lib, provider, checked)
    assert [one.path for one in recorded.exchanges] == ["/v1/messages", "/v1/chat/completions"]


@pytest.mark.parametrize("send", [by_requests, by_urllib3, by_aiohttp])
def test_each_time_that_a_transport_passes_a_refused_request_on_is_a_try(
    send: Send, provider: Provider, lib: Any, recorded: Collected
) -> None:
    def insisting(request: Any) -> tuple[int, bytes]:
        while (answer := send(str(request.url), request.read()))[0] >= 400:
            pass
        return answer

    assert ask(lib, provider, insisting, "hello [[status:429x2]]").status_code == 200
    assert [one.status_code for one in recorded.exchanges] == [429, 429, 200]
    assert [one.resent for one in recorded.exchanges] == [False, True, True]
