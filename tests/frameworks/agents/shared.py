"""What all agents here have in common: where the model is, what they are told, and the tool that they use.

Plain Python; each framework's script gives these to the framework as its users do. Knows nothing of tokenflation.
"""

import asyncio
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = [
    "INSTRUCTIONS",
    "MODEL",
    "TEAM",
    "URL",
    "at_once",
    "at_once_async",
    "handed",
    "play",
    "prompt",
    "search",
    "search_async",
]

URL = os.environ.get("MODEL_URL", "http://127.0.0.1:9")
"""Root of the model server."""
MODEL = "gpt-4o"
_TOOL_S = float(os.environ.get("TOOL_S", "0"))
_PATIENCE_S = 20
_searching = threading.Event()
NOT_HERE = 3
"""Exit status of a script that has no such scenario."""

INSTRUCTIONS = {
    "assistant": "You are an assistant. Use your tools, part by part.",
    "adviser": "You are an adviser on travel. Use your tools, part by part.",
    "researcher": "You are a researcher. Look things up, and say what you found.",
    "reader": "You are a reader. Read what you are given.",
    "checker": "You are a checker. Check each claim against its source.",
    "writer": "You are a writer. Write plain words.",
}
TEAM = ("researcher", "reader", "checker", "writer")


def prompt(plan: str) -> str:
    """Return what the user says."""
    return f"Please help me with {plan}. [[plan:{plan}]]"


def handed(answer: Any) -> str:
    """Return what the second of two agents in a row is told: what the first one said."""
    return f"{prompt('handed-2')} This is what the assistant said: {answer}"


def search(query: str) -> str:
    """Search the library.

    Args:
        query: what to look for
    """
    _searching.set()
    time.sleep(_TOOL_S)
    return f"Found {query} in the library."


async def search_async(query: str) -> str:
    """Search the library.

    Args:
        query: what to look for
    """
    _searching.set()
    await asyncio.sleep(_TOOL_S)
    return f"Found {query} in the library."


def at_once(*tasks: Callable[[], Any]) -> None:
    """Run tasks in threads; each begins while the one before waits for its tool."""
    threads = [threading.Thread(target=task) for task in tasks]
    for thread in threads:
        _searching.clear()
        thread.start()
        _searching.wait(_PATIENCE_S)
    for thread in threads:
        thread.join()


async def at_once_async(*tasks: Coroutine[Any, Any, Any]) -> None:
    """Run coroutines as tasks of one loop; each begins while the one before waits for its tool."""
    running = []
    for task in tasks:
        _searching.clear()
        running.append(asyncio.ensure_future(task))
        await asyncio.to_thread(_searching.wait, _PATIENCE_S)
    await asyncio.gather(*running)


def play(scenarios: dict[str, Callable[[], Any]]) -> None:
    """Run the scenario that the command line names."""
    name = sys.argv[1]
    if name not in scenarios:
        sys.exit(NOT_HERE)
    result = scenarios[name]()
    if asyncio.iscoroutine(result):
        asyncio.run(result)
