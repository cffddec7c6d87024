"""Programs that record in a process of their own, for tests of how it ends; and what they leave beside the store."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.providers import Provider

__all__ = ["HEAD", "begin", "journals", "run", "until"]

HEAD = """
    import os, signal, sys, threading, time, httpx, tokenflation.sdk as tf
    url, store = sys.argv[1:3]
    def ask(client, text="hi", path="/v1/chat/completions", **more):
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}], **more}
        return client.post(url + path, json=body)
"""


def run(program: str, provider: Provider, store: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a process of its own; it has `ask`, `url` and `store`."""
    command = _command(program, provider, store, *arguments)
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def begin(program: str, provider: Provider, store: Path) -> "subprocess.Popen[str]":
    """Begin such a program, to talk with it by its pipes."""
    pipe = subprocess.PIPE
    return subprocess.Popen(_command(program, provider, store), stdin=pipe, stdout=pipe, stderr=pipe, text=True)


def journals(store: Path) -> list[Path]:
    return [path for path in store.parent.iterdir() if ".underway-" in path.name]


def until(found: Callable[[], Any]) -> Any:
    """Return what is found, once it is; an empty result after 10 s is a failure."""
    deadline = time.monotonic() + 10
    while not found() and time.monotonic() < deadline:
        time.sleep(0.01)
    return found()


def _command(program: str, provider: Provider, store: Path, *arguments: str) -> list[str]:
    source = textwrap.dedent(HEAD) + textwrap.dedent(program)
    return [sys.executable, "-W", "ignore::DeprecationWarning", "-c", source, provider.url, str(store), *arguments]
