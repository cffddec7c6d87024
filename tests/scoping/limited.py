"""Tasks with limits, for the tests of limits: run something in one, and see what the store says of it."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation, LimitReached
from tokenflation.sdk.scoping.scopes import Scope

Ask = Callable[[str], Any]


@contextlib.contextmanager
def asking(provider: Provider) -> Iterator[Ask]:
    """Yield a function that asks the provider for a chat completion, through one client."""
    with openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=2) as client:
        yield lambda text: client.chat.completions.create(
            model="gpt-4o-mini", messages=[{"role": "user", "content": text}]
        )


async def asked_async(provider: Provider, number: int) -> None:
    """Ask the provider for a chat completion, through a client for this one."""
    async with openai.AsyncOpenAI(base_url=provider.openai_url, api_key="k") as client:
        messages: Any = [{"role": "user", "content": f"hello {number}"}]
        await client.chat.completions.create(model="m", messages=messages)


@contextlib.contextmanager
def refused(task: str = "capped", **limits: Any) -> Iterator[tuple[Scope, pytest.ExceptionInfo[LimitReached]]]:
    """Run what follows in a task with limits; it must end by one of them."""
    with pytest.raises(LimitReached) as reached, tf.task(task, **limits) as scope:
        yield scope, reached


def censored(store: Path, handle: Instrumentation) -> dict[str, str | None]:
    """Return the limit that cut each task, by the task's name."""
    assert handle.flush(60.0)  # a machine may be busy with many tests at once
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return dict(connection.execute("SELECT name, censored_by FROM spans WHERE kind = 'task'"))
