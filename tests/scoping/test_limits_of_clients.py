"""Limits through real clients: sync, async, streams and threads; nothing of a client is left broken."""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp
import anthropic
import google.genai
import httpx2
import openai
import pytest
import requests
from tests.providers import Provider
from tests.scoping.limited import Ask, asked_async, asking, censored, refused

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.errors import LimitReached, TaskLimitReached


@pytest.fixture
def ask(provider: Provider) -> Iterator[Ask]:
    with asking(provider) as ask_it:
        yield ask_it


def test_the_same_client_goes_on_after_the_task(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    for _ in range(20):
        with refused("capped", max_calls=0):
            ask("refused")
    ask("allowed")
    assert len(provider.requests) == 1


def test_retries_of_clients_that_do_not_count_them_are_one_call(provider: Provider, handle: Instrumentation) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi [[status:503x2]]"}]}
    with refused("capped", max_calls=1), requests.Session() as session:
        for _ in range(4):
            session.post(f"{provider.openai_url}/chat/completions", json=body)
    assert len(provider.requests) == 3


def test_the_tokens_of_a_stream_count(provider: Provider, handle: Instrumentation) -> None:
    client = anthropic.Anthropic(base_url=provider.url, api_key="k")
    with client, refused("capped", max_tokens=1):
        for number in range(3):
            messages: Any = [{"role": "user", "content": f"hello {number}"}]
            with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                stream.get_final_message()
    assert len(provider.requests) == 1


def test_the_exception_passes_agent_loops_that_catch_every_exception(
    provider: Provider, handle: Instrumentation, ask: Ask
) -> None:
    def loop() -> None:
        for number in range(5):
            with contextlib.suppress(Exception):  # as agent frameworks do, to tell the model of a failed tool
                ask(f"hello {number}")

    with refused("capped", max_calls=1):
        loop()
    assert len(provider.requests) == 1


def test_of_gathered_calls_no_more_leave_than_allowed(provider: Provider, handle: Instrumentation) -> None:
    async def work() -> list[Any]:
        with tf.task("gathered", max_calls=3):
            return await asyncio.gather(*(asked_async(provider, n) for n in range(8)), return_exceptions=True)

    ends = asyncio.run(work())
    assert sum(isinstance(end, LimitReached) for end in ends) == 5
    assert len(provider.requests) == 3


def test_gathered_calls_raise_it_at_the_task(provider: Provider, handle: Instrumentation) -> None:
    async def work() -> None:
        with tf.task("gathered", max_calls=1):
            await asyncio.gather(*(asked_async(provider, n) for n in range(4)))

    with pytest.raises(TaskLimitReached):
        asyncio.run(work())
    assert len(provider.requests) <= 1


def test_a_task_group_that_it_ends_raises_one_plain_error(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    async def work() -> None:
        with tf.task("grouped", max_calls=1):
            async with asyncio.TaskGroup() as group:
                for number in range(4):
                    group.create_task(asked_async(provider, number))

    with pytest.raises(TaskLimitReached):
        asyncio.run(work())
    assert censored(store, handle) == {"grouped": "max_calls"}


def test_threads_of_a_pool_share_the_limits_of_the_task(provider: Provider, handle: Instrumentation, ask: Ask) -> None:
    with refused("pooled", max_calls=3), ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, f"hello {number}") for number in range(16)]
        for one in asked:
            one.result()
    assert len(provider.requests) == 3


def test_a_plain_thread_is_stopped_and_the_run_is_censored(
    provider: Provider, store: Path, handle: Instrumentation, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: seen.append(args.exc_type))
    with tf.task("threaded", max_calls=1):
        thread = threading.Thread(target=lambda: [ask(f"hello {number}") for number in range(3)])
        thread.start()
        thread.join()
    assert seen == [LimitReached]
    assert len(provider.requests) == 1
    assert censored(store, handle) == {"threaded": "max_calls"}


@pytest.mark.filterwarnings("ignore:Inheritance class AiohttpClientSession:DeprecationWarning")  # google-genai's own
def test_every_client_lets_it_pass(provider: Provider, handle: Instrumentation) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    body = {"model": "m", "messages": messages}
    url = f"{provider.openai_url}/chat/completions"
    google_client = google.genai.Client(api_key="k", http_options={"base_url": provider.url})

    async def by_aiohttp() -> None:
        async with aiohttp.ClientSession() as session, session.post(url, json=body):
            pass

    ways: dict[str, Callable[[], Any]] = {
        "openai": lambda: openai.OpenAI(base_url=provider.openai_url, api_key="k").responses.create(
            model="m", input="hello", stream=True
        ),
        "anthropic": lambda: anthropic.Anthropic(base_url=provider.url, api_key="k").messages.create(
            model="m", max_tokens=9, messages=messages
        ),
        "google": lambda: google_client.models.generate_content(model="m", contents="hello"),
        "google async": lambda: asyncio.run(google_client.aio.models.generate_content(model="m", contents="hello")),
        "requests": lambda: requests.post(url, json=body, timeout=9),
        "aiohttp": lambda: asyncio.run(by_aiohttp()),
    }
    ended = {}
    for name, way in ways.items():
        with refused(name, max_calls=0) as (_, reached):
            way()
        ended[name] = type(reached.value)
    assert ended == dict.fromkeys(ways, TaskLimitReached)
    assert provider.requests == []
    google_client.close()


def test_a_pool_of_connections_is_whole_after_it(provider: Provider, handle: Instrumentation) -> None:
    url = f"{provider.openai_url}/chat/completions"
    with requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(pool_connections=1, pool_maxsize=1, pool_block=True))
        for number in range(5):
            body = {"model": "m", "messages": [{"role": "user", "content": f"hello {number}"}]}
            assert session.post(url, json=body, timeout=9).status_code == 200
            with refused("capped", max_calls=0):
                session.post(url, json=body, timeout=9)
    assert len(provider.requests) == 5


def test_a_stream_and_a_raw_response_of_an_async_client_are_refused_and_the_client_goes_on(
    provider: Provider, handle: Instrumentation
) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]

    async def work() -> int:
        async with anthropic.AsyncAnthropic(base_url=provider.url, api_key="k") as client:
            with refused(max_calls=0):
                async with client.messages.stream(model="m", max_tokens=9, messages=messages):
                    pass
            with refused(max_calls=0):
                await client.messages.with_raw_response.create(model="m", max_tokens=9, messages=messages)
            async with client.messages.stream(model="m", max_tokens=9, messages=messages) as stream:
                return (await stream.get_final_message()).usage.output_tokens

    assert asyncio.run(work()) == 150
    assert len(provider.requests) == 1


def test_a_client_with_one_connection_has_it_free_after_many_refusals(
    provider: Provider, handle: Instrumentation
) -> None:
    limits = httpx2.Limits(max_connections=1)
    messages: Any = [{"role": "user", "content": "hello"}]

    async def work() -> None:
        http = httpx2.AsyncClient(limits=limits, timeout=httpx2.Timeout(5, pool=1))
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", http_client=http) as client:
            for _ in range(3):
                await client.chat.completions.create(model="m", messages=messages)
                with refused(max_calls=0):
                    await client.chat.completions.create(model="m", messages=messages, stream=True)

    asyncio.run(work())
    assert len(provider.requests) == 3


def test_a_redirected_request_is_one_call(provider: Provider, handle: Instrumentation) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hello [[redirect:307]]"}]}
    url = f"{provider.openai_url}/chat/completions"

    async def by_aiohttp() -> int:
        async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
            return response.status

    with httpx2.Client(follow_redirects=True) as client:
        ways: tuple[Callable[[], int], ...] = (
            lambda: client.post(url, json=body).status_code,
            lambda: requests.post(url, json=body, timeout=9).status_code,
            lambda: asyncio.run(by_aiohttp()),
        )
        for way in ways:
            with tf.task("capped", max_calls=2) as task:
                assert [way(), way()] == [200, 200]
                assert task.budget is not None
                assert task.budget.calls == 2
            with refused(max_calls=0):
                way()
    assert len(provider.requests) == 12
