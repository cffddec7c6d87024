"""Attempts of one call as real clients make them, in a real store: retries, redirects, challenges, broken streams."""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai
from google.genai import types
from tests import stored
from tests.providers import Provider
from tests.recording import scripted_bodies as bodies
from tests.recording.scripted import Answer, Scripted, as_events, as_json

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation


@pytest.fixture
def handle(store: Path) -> Iterator[Instrumentation]:
    with tf.instrument(store, task="default") as running:
        yield running


def rows(handle: Instrumentation, query: str = stored.CALLS) -> list[dict[str, Any]]:
    assert handle.flush()
    return stored.rows(handle.store, query)


def tries(handle: Instrumentation) -> list[int | None]:
    return [row["status_code"] for row in rows(handle, "SELECT * FROM attempts ORDER BY started_at_ns")]


def extra(call: dict[str, Any]) -> Any:
    return json.loads(call["extra"])


def chat(url: str, text: str = "hello", model: str = "m", **more: Any) -> Any:
    with openai.OpenAI(base_url=url, api_key="k", max_retries=more.pop("retries", 0)) as client:
        return client.chat.completions.create(model=model, messages=[{"role": "user", "content": text}], **more)


def read_stream(url: str, events: int | None = None) -> None:
    """Read a streamed answer, or so many events of it, as most programs do: a stream that dies is its own affair."""
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client, contextlib.suppress(openai.APIError):
        messages: Any = [{"role": "user", "content": "hello"}]
        with client.chat.completions.create(model="m", messages=messages, stream=True) as stream:
            for _ in itertools.islice(stream, events):
                pass


@pytest.mark.parametrize("redirect", [307, 308])
def test_a_redirect_is_no_attempt_as_no_model_has_answered_it(
    provider: Provider, handle: Instrumentation, redirect: int
) -> None:
    chat(provider.openai_url, f"hello [[redirect:{redirect}]] [[status:429x2]]", retries=2)
    (call,) = rows(handle)
    assert [request.status for request in provider.requests].count(redirect) >= 1
    assert tries(handle)[-1] == 200
    assert redirect not in tries(handle)
    assert (call["attempts"], call["input_tokens"]) == (len(tries(handle)), 200)


def test_the_challenge_of_an_authentication_is_an_attempt_of_the_call(handle: Instrumentation) -> None:
    challenge = as_json({"error": {"type": "auth"}}, 401, www_authenticate='Digest realm="r", nonce="n", qop="auth"')
    with Scripted(challenge, as_json(bodies.chat())) as server, httpx.Client(auth=httpx.DigestAuth("u", "p")) as client:
        body = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
        client.post(f"{server.openai_url}/chat/completions", json=body).raise_for_status()
    (call,) = rows(handle)
    assert tries(handle) == [401, 200]
    assert (call["attempts"], call["status"], call["input_tokens"]) == (2, "ok", 200)


DYING: dict[str, Answer] = {
    "reset": as_events(bodies.chat_stream({"content": "yes"})[:2], dies=True),
    "no end": as_events(bodies.chat_stream({"content": "yes"})[:2]),
    "error event": as_events([*bodies.chat_stream()[:1], {"error": {"type": "server_error", "message": "m"}}]),
}


@pytest.mark.parametrize("how", DYING)
def test_a_stream_that_dies_and_is_asked_for_again_may_be_billed_twice(handle: Instrumentation, how: str) -> None:
    with Scripted(DYING[how], as_events(bodies.chat_stream({"content": "yes"}))) as server:
        read_stream(server.openai_url)
        read_stream(server.openai_url)
    (call,) = rows(handle)
    assert tries(handle) == [200, 200]
    assert (call["attempts"], call["status"], call["input_tokens"], call["output_tokens"]) == (2, "ok", 200, 150)
    (bill,) = extra(call)["possible_double_billing"]
    assert bill == {"attempt": 0, "answer_bytes": sum(map(len, DYING[how].pieces))}


def test_what_a_broken_stream_had_reported_stands_in_the_possible_bill(handle: Instrumentation) -> None:
    events = bodies.messages_stream()
    with (
        Scripted(as_events(events[:3], dies=True), as_events(events)) as server,
        anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0) as client,
    ):
        for _ in range(2):
            with (
                contextlib.suppress(anthropic.APIError, httpx2.HTTPError),
                client.messages.stream(
                    model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}]
                ) as stream,
            ):
                stream.until_done()
    (call,) = rows(handle)
    (bill,) = extra(call)["possible_double_billing"]
    assert (call["attempts"], call["input_tokens"], call["output_tokens"]) == (2, 200, 150)
    assert (bill["attempt"], bill["input_tokens"], bill["cache_read_tokens"]) == (0, 200, 64)
    assert "output_tokens" not in bill


def test_a_stream_that_the_host_left_and_asked_for_again_is_another_call(handle: Instrumentation) -> None:
    with Scripted(as_events(bodies.chat_stream({"content": "yes"}))) as server:
        read_stream(server.openai_url, events=1)
        read_stream(server.openai_url)
    assert [(call["attempts"], call["status"]) for call in rows(handle)] == [(1, "cut"), (1, "ok")]


def resending(lib: Any, tries: int = 4) -> Any:
    """Return a transport, sync and async, that sends again what is refused, as httpx-retries and tenacity's do."""

    class Resending(lib.BaseTransport, lib.AsyncBaseTransport):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self.sync, self.concurrent = lib.HTTPTransport(), lib.AsyncHTTPTransport()

        def handle_request(self, request: Any) -> Any:
            for _ in range(tries - 1):
                response = self.sync.handle_request(request)
                if response.status_code < 400:
                    return response
                response.close()
            return self.sync.handle_request(request)

        async def handle_async_request(self, request: Any) -> Any:
            for _ in range(tries):
                response = await self.concurrent.handle_async_request(request)
                if response.status_code < 400:
                    return response
                await response.aclose()
            raise lib.ConnectError("refused too often")

        def close(self) -> None:
            self.sync.close()

        async def aclose(self) -> None:
            await self.concurrent.aclose()

    return Resending()


@pytest.mark.parametrize("lib", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_what_a_transport_sends_again_by_itself_is_an_attempt(
    provider: Provider, handle: Instrumentation, lib: Any
) -> None:
    url = f"{provider.openai_url}/chat/completions"
    body = {"model": "m", "messages": [{"role": "user", "content": "hello [[status:429x2]]"}]}

    async def send() -> None:
        async with lib.AsyncClient(transport=resending(lib)) as client:
            await client.post(url, json={**body, "stream": True, "stream_options": {"include_usage": True}})

    with lib.Client(transport=resending(lib)) as client:
        client.post(url, json=body)
    asyncio.run(send())
    first, second = rows(handle)
    assert [(call["attempts"], call["status"], call["output_tokens"]) for call in (first, second)] == [
        (3, "ok", 150)
    ] * 2
    assert tries(handle) == [429, 429, 200] * 2


def test_a_client_that_counts_over_a_transport_that_sends_again_makes_one_call(
    provider: Provider, handle: Instrumentation
) -> None:
    with (
        httpx2.Client(transport=resending(httpx2, tries=2)) as inner,
        openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=1, http_client=inner) as client,
    ):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello [[status:503x3]]"}])
    (call,) = rows(handle)
    assert (call["attempts"], call["status"], call["output_tokens"]) == (4, "ok", 150)
    assert tries(handle) == [503, 503, 503, 200]


def test_a_call_that_a_transport_gives_up_has_the_status_of_its_last_answer(
    provider: Provider, handle: Instrumentation
) -> None:
    async def send() -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": "hello [[status:503]]"}]}
        async with httpx2.AsyncClient(transport=resending(httpx2, tries=3)) as client:
            with pytest.raises(httpx2.ConnectError, match="refused too often"):
                await client.post(f"{provider.openai_url}/chat/completions", json=body)

    asyncio.run(send())
    (call,) = rows(handle)
    assert (call["attempts"], call["status"]) == (3, "error")
    assert tries(handle) == [503] * 3


def test_program_retries_times_fallbacks_times_client_retries_are_attempts_under_one_task(
    provider: Provider, handle: Instrumentation
) -> None:
    for _ in range(2):
        for model in ("large", "small"):
            with pytest.raises(openai.InternalServerError):
                chat(provider.openai_url, "hello [[status:503]]", model, retries=2)
    chat(provider.openai_url, "something else")
    *failed, other = rows(handle)
    assert [(call["model"], call["attempts"], call["step"]) for call in failed] == [
        ("large", 3, 0),
        ("small", 3, 1),
        ("large", 3, 2),
        ("small", 3, 3),
    ]
    assert tries(handle) == [503] * 12 + [200]
    assert len({call["task_id"] for call in failed}) == 1
    assert other["task_id"] != failed[0]["task_id"]
    named = [extra(call).get("follows_failed_call_id") for call in failed]
    assert named == [None, *(call["call_id"] for call in failed[:-1])]


def test_a_fallback_to_another_host_stands_beside_the_call_that_failed(
    provider: Provider, handle: Instrumentation
) -> None:
    with Scripted(as_json({"error": {"type": "context_length_exceeded"}}, 400)) as server:
        with pytest.raises(openai.BadRequestError):
            chat(server.openai_url)
        chat(provider.openai_url)
        chat(provider.openai_url)
    failed, answered, later = rows(handle)
    assert [call["attempts"] for call in (failed, answered, later)] == [1, 1, 1]
    assert failed["task_id"] == answered["task_id"] != later["task_id"]
    assert extra(answered)["follows_failed_call_id"] == failed["call_id"]


def test_a_fallback_to_another_provider_stands_beside_the_call_that_failed(
    provider: Provider, handle: Instrumentation
) -> None:
    asked: Any = [{"role": "user", "content": "Where is my order?"}]
    system: Any = {"role": "system", "content": "You help customers."}
    with Scripted(as_json({"error": "overloaded"}, 503)) as server:
        with (
            pytest.raises(openai.InternalServerError),
            openai.OpenAI(base_url=server.openai_url, api_key="k") as client,
        ):
            client.with_options(max_retries=0).chat.completions.create(model="m", messages=[system, *asked])
        with anthropic.Anthropic(base_url=provider.url, api_key="k") as other:
            for _ in range(2):
                other.messages.create(model="n", max_tokens=64, system="You help customers.", messages=asked)
    failed, answered, later = rows(handle)
    assert (failed["status"], answered["status"]) == ("error", "ok")
    assert failed["task_id"] == answered["task_id"] != later["task_id"]
    assert extra(answered)["follows_failed_call_id"] == failed["call_id"]


def test_a_client_that_does_not_count_its_retries_has_them_grouped_by_their_body(
    provider: Provider, handle: Instrumentation
) -> None:
    retries = types.HttpRetryOptions(attempts=3, initial_delay=0.01, max_delay=0.02, jitter=0.0)
    options = types.HttpOptions(base_url=provider.url, retry_options=retries)
    with genai.Client(api_key="k", http_options=options) as client:
        client.models.generate_content(model="gemini-x", contents="hello [[status:503x2]]")
        client.models.generate_content(model="gemini-x", contents="hello [[status:503x2]]")
    first, second = rows(handle)
    assert tries(handle) == [503, 503, 200, 200]
    assert (first["attempts"], first["input_tokens"], first["output_tokens"]) == (3, 200, 150)
    assert second["attempts"] == 1


def test_what_is_asked_again_after_a_fallback_answered_is_a_call_of_its_own(
    provider: Provider, handle: Instrumentation
) -> None:
    asked = {"model": "main", "messages": [{"role": "user", "content": "hello"}]}
    with (
        Scripted(*[as_json({"error": "overloaded"}, 503)] * 2, as_json(bodies.chat())) as server,
        httpx.Client() as client,
    ):
        for _ in range(2):  # a router that does not count its tries
            client.post(f"{server.openai_url}/chat/completions", json=asked)
        client.post(f"{provider.openai_url}/chat/completions", json=asked | {"model": "backup"})
        client.post(f"{server.openai_url}/chat/completions", json=asked)
    failed, answered, again = rows(handle)
    assert [call["attempts"] for call in (failed, answered, again)] == [2, 1, 1]
    assert (failed["status"], again["status"]) == ("error", "ok")
    assert failed["task_id"] == answered["task_id"] != again["task_id"]


def test_a_stream_that_is_stopped_and_asked_again_is_another_call_of_its_task(
    provider: Provider, handle: Instrumentation
) -> None:
    read_stream(provider.openai_url, events=1)
    chat(provider.openai_url)
    chat(provider.openai_url)
    stopped, again, later = rows(handle)
    assert [call["status"] for call in (stopped, again)] == ["cut", "ok"]
    assert stopped["task_id"] == again["task_id"] != later["task_id"]


def test_a_request_cancelled_and_made_again_is_another_call_of_its_task(
    provider: Provider, handle: Instrumentation
) -> None:
    async def press_twice() -> None:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", max_retries=0) as client:
            messages: Any = [{"role": "user", "content": "hello [[hold:1]]"}]
            first = asyncio.create_task(client.chat.completions.create(model="m", messages=messages))
            while not provider.requests:
                await asyncio.sleep(0.001)
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            provider.release()
            await client.chat.completions.create(model="m", messages=messages)

    asyncio.run(press_twice())
    first, again = rows(handle)
    assert [(call["status"], call["attempts"]) for call in (first, again)] == [("cancelled", 1), ("ok", 1)]
    assert first["task_id"] == again["task_id"]


def test_equal_calls_made_beside_each_other_are_calls_of_their_own(provider: Provider, handle: Instrumentation) -> None:
    async def both() -> None:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k", max_retries=2) as client:
            messages: Any = [{"role": "user", "content": "hello [[status:429x1]] [[slow:0.01]]"}]
            await asyncio.gather(*(client.chat.completions.create(model="m", messages=messages) for _ in range(2)))

    asyncio.run(both())
    assert sorted(call["attempts"] for call in rows(handle)) == [1, 2]
    assert sorted(tries(handle), key=str) == [200, 200, 429]


def test_a_stream_without_usage_stays_as_the_program_asked_for_it(provider: Provider, handle: Instrumentation) -> None:
    read_stream(provider.openai_url)
    (call,) = rows(handle)
    assert "stream_options" not in provider.requests[0].body
    assert (call["status"], call["usage_source"], call["usage_complete"]) == ("ok", "absent", 0)
    assert (call["input_tokens"], call["output_tokens"]) == (None, None)


def test_retries_under_a_scope_stand_in_its_task(provider: Provider, handle: Instrumentation) -> None:
    with tf.task("triage"), tf.agent("planner"):
        chat(provider.openai_url, "hello [[status:429x1]]", retries=1)
        with pytest.raises(openai.InternalServerError):
            chat(provider.openai_url, "bye [[status:503]]", "large")
        with pytest.raises(openai.InternalServerError):
            chat(provider.openai_url, "bye [[status:503]]", "small")
    calls = rows(handle)
    assert [(call["task"], call["agent"], call["step"], call["attempts"]) for call in calls] == [
        ("triage", "planner", 0, 2),
        ("triage", "planner", 1, 1),
        ("triage", "planner", 2, 1),
    ]
    assert len({call["agent_run_id"] for call in calls}) == 1


def test_a_whole_answer_that_breaks_and_is_retried_may_be_billed_twice_too(handle: Instrumentation) -> None:
    whole = as_json(bodies.chat())
    half = Answer(pieces=[whole.pieces[0][:30]], dies=True)
    with Scripted(half, whole) as server:
        chat(server.openai_url, retries=1)
    (call,) = rows(handle)
    assert (call["attempts"], call["status"], call["input_tokens"]) == (2, "ok", 200)
    assert extra(call)["possible_double_billing"] == [{"attempt": 0, "answer_bytes": 30}]


def test_a_broken_stream_stays_as_it_was_when_nobody_asks_again(handle: Instrumentation) -> None:
    with Scripted(as_events(bodies.messages_stream()[:3], dies=True)) as server:
        body = {"model": "m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        with contextlib.suppress(httpx.HTTPError):
            httpx.post(f"{server.url}/v1/messages", json=body)
    (call,) = rows(handle)
    assert (call["status"], call["attempts"], call["input_tokens"]) == ("error", 1, 200)
    assert (call["output_tokens"], call["usage_source"]) == (None, "partial")
    assert "possible_double_billing" not in extra(call)
