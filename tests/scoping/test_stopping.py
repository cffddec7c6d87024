"""A run that a limit has stopped comes to its end, though its agent loop waits for what will never come."""

import asyncio
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.providers import Provider
from tests.scoping.limited import asked_async, censored

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.errors import LimitReached, TaskLimitReached
from tokenflation.sdk.scoping import stopping


async def _wait_for_a_word_that_never_comes(provider: Provider) -> None:
    """As an agent loop does that hears of its tools' ends by a queue, and of failures only if they are Exceptions."""
    words: asyncio.Queue[str] = asyncio.Queue()

    async def run_tool() -> None:
        await asked_async(provider, 1)
        await words.put("done")

    await asyncio.create_task(asked_async(provider, 0))
    tool = asyncio.create_task(run_tool())
    try:
        await words.get()
    finally:
        tool.cancel()
        await asyncio.gather(tool, return_exceptions=True)


def test_an_agent_loop_that_would_wait_for_ever_is_cancelled(
    provider: Provider, store: Path, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.05)

    async def work() -> int:
        with pytest.raises(TaskLimitReached), tf.task("inside", max_calls=1):
            await _wait_for_a_word_that_never_comes(provider)
        await asyncio.sleep(0)
        task = asyncio.current_task()
        return task.cancelling() if task is not None else -1

    assert asyncio.run(work()) == 0
    with pytest.raises(TaskLimitReached), tf.task("outside", max_calls=1):
        asyncio.run(_wait_for_a_word_that_never_comes(provider))
    assert len(provider.requests) == 2
    assert censored(store, handle) == {"inside": "max_calls", "outside": "max_calls"}


async def _fail_in_a_task_group() -> None:
    """Leave the task, up to Python 3.12, as if it were being cancelled."""

    async def fail() -> None:
        raise OSError

    with pytest.raises(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(fail())


@pytest.mark.parametrize("where", ["before", "inside"])
def test_a_task_group_that_failed_earlier_does_not_hide_the_limit(
    where: str, provider: Provider, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.05)

    async def capped() -> None:
        with tf.task("capped", max_calls=1):
            if where == "inside":
                await _fail_in_a_task_group()
            await _wait_for_a_word_that_never_comes(provider)

    async def work() -> None:
        if where == "before":
            await _fail_in_a_task_group()
        with pytest.raises(TaskLimitReached):
            await capped()

    asyncio.run(work())


def test_a_task_that_the_host_cancelled_first_ends_as_cancelled(
    provider: Provider, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.1)
    cut_short = asyncio.Event()

    async def work() -> None:
        with tf.task("capped", max_calls=0):
            try:
                await asyncio.gather(asked_async(provider, 0), return_exceptions=True)
                task = asyncio.current_task()
                assert task is not None
                task.cancel()
                await asyncio.sleep(30)
            finally:
                try:
                    await asyncio.sleep(30)
                finally:
                    cut_short.set()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(work())
    assert cut_short.is_set()


def test_a_task_that_the_host_cancels_is_cancelled(provider: Provider, handle: Instrumentation) -> None:
    async def work() -> None:
        with tf.task("capped", max_calls=0):
            await asyncio.gather(asked_async(provider, 0), return_exceptions=True)
            await asyncio.sleep(30)

    async def cancel() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0.1)
        task.cancel()
        await task

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(cancel())
    assert provider.requests == []


def test_what_ended_only_now_may_be_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.1)

    async def work() -> str:
        under_way = {"a call"}
        run = stopping.Stopping()
        run.begin(lambda: bool(under_way))
        await asyncio.sleep(0.05)
        under_way.clear()
        await asyncio.sleep(0.1)
        run.end()
        return "taken in"

    assert asyncio.run(work()) == "taken in"


def test_what_left_and_ended_between_two_looks_may_be_taken_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.1)

    async def work() -> str:
        run = stopping.Stopping()
        run.begin(lambda: False)
        await asyncio.sleep(0.05)
        run.note()  # the next attempt of a call that had failed
        await asyncio.sleep(0.1)
        run.end()
        return "taken in"

    assert asyncio.run(work()) == "taken in"


def test_however_many_requests_are_refused_a_task_is_cancelled_once_and_may_clean_up(
    provider: Provider, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.1)
    seen: list[str] = []

    async def refused_after(delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        await asked_async(provider, 0)

    async def work() -> None:
        with tf.task("capped", max_calls=0):
            asked = [asyncio.create_task(refused_after(number / 50)) for number in range(4)]
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.2)
                await asyncio.gather(*asked, return_exceptions=True)
                seen.append("cleaned up")

    with pytest.raises(TaskLimitReached):
        asyncio.run(work())
    assert seen == ["cleaned up"]


def test_what_is_under_way_when_the_limit_is_reached_may_end(
    provider: Provider, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "GRACE_S", 0.2)

    async def ask(client: openai.AsyncOpenAI, text: str) -> Any:
        return await client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])

    async def work() -> list[Any]:
        async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client:
            with tf.task("capped", max_calls=1):
                slow = asyncio.create_task(ask(client, "[[slow:0.05]]"))
                while not provider.requests:
                    await asyncio.sleep(0.01)
                return await asyncio.gather(slow, ask(client, "refused"), return_exceptions=True)

    slow, refused_one = asyncio.run(work())
    assert slow.usage.total_tokens == 350
    assert isinstance(refused_one, LimitReached)
