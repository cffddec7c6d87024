"""Sub-agents begun in threads, pools and tasks, without a scope: the context that a call left from tells its parent."""

import asyncio
import contextlib
import functools
import sqlite3
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import openai
import pytest
from tests.providers import Provider

import tokenflation.sdk as tf

_LEAVES = 2


def _ask(client: openai.OpenAI, system: str, tool: str = "") -> None:
    asked = f"{system} [[tool:{tool}]]" if tool else system
    messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": asked}]
    client.chat.completions.create(model="gpt-4o-mini", messages=messages)


def _outermost(client: openai.OpenAI, leaves: Callable[[Callable[[int], None]], None]) -> None:
    """Agent A, in whose tool B runs."""
    _ask(client, "A plans.", "delegate")
    _middle(client, leaves)


def _middle(client: openai.OpenAI, leaves: Callable[[Callable[[int], None]], None]) -> None:
    """Agent B, in a tool of A's: asks for a tool in which several agents C run."""
    _ask(client, "B works.", "dig")
    leaves(lambda number: _ask(client, f"C{number} digs."))


def _in_threads(work: Callable[[int], None]) -> None:
    threads = [threading.Thread(target=work, args=(number,)) for number in range(_LEAVES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _in_pool(work: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(_LEAVES) as pool:
        list(pool.map(work, range(_LEAVES)))


def _in_executor(work: Callable[[int], None]) -> None:
    async def run() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(loop.run_in_executor(None, work, number) for number in range(_LEAVES)))

    asyncio.run(run())


def _in_gathered_tasks(work: Callable[[int], None]) -> None:
    async def one(number: int) -> None:
        work(number)

    async def run() -> None:
        await asyncio.gather(*(one(number) for number in range(_LEAVES)))

    asyncio.run(run())


def _in_anyio(work: Callable[[int], None]) -> None:
    async def one(number: int) -> None:
        await anyio.to_thread.run_sync(functools.partial(work, number))

    async def run() -> None:
        async with anyio.create_task_group() as group:
            for number in range(_LEAVES):
                group.start_soon(one, number)

    entered: Callable[[Callable[[], Awaitable[None]]], None] = anyio.run
    entered(run)


@pytest.mark.parametrize("leaves", [_in_threads, _in_pool, _in_executor, _in_gathered_tasks, _in_anyio])
def test_agents_inside_agents_have_depths_0_1_2_however_they_are_begun(
    tmp_path: Path, provider: Provider, leaves: Callable[[Callable[[int], None]], None]
) -> None:
    store = tmp_path / "runs.db"
    with tf.instrument(store):
        client = openai.OpenAI(base_url=provider.openai_url, api_key="k")
        worker = threading.Thread(target=_outermost, args=(client, leaves))
        worker.start()
        worker.join()
        client.close()
    with contextlib.closing(sqlite3.connect(store)) as connection:
        rows = connection.execute("SELECT depth, task_id, inside_evidence FROM calls ORDER BY depth").fetchall()
    assert [row[0] for row in rows] == [0, 1, *[2] * _LEAVES]
    assert len({row[1] for row in rows}) == 1
    assert {row[2] for row in rows} == {None, "context"}
