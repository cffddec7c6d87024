"""Fixtures that every test may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import httpcore
import httpcore2
import httpx
import httpx2
import pytest
import websockets.protocol
from hypothesis import settings
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation

# The same inputs on every machine, so that a run says something about a change and not about its luck; new ones by
# `HYPOTHESIS_PROFILE=default pytest`. No deadlines: a machine that is busy is no failure.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("default", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))

# A program that a kill ends has said only what it flushed: on every machine, whatever its shell sets.
os.environ.pop("PYTHONUNBUFFERED", None)

_HOOKED = [
    (library, owner, name)
    for library in (httpx, httpx2)
    for owner, name in (
        ("Client", "_send_single_request"),
        ("AsyncClient", "_send_single_request"),
        ("HTTPTransport", "handle_request"),
        ("AsyncHTTPTransport", "handle_async_request"),
    )
] + [
    *((core, "ConnectionPool", "handle_request") for core in (httpcore, httpcore2)),
    *((core, "AsyncConnectionPool", "handle_async_request") for core in (httpcore, httpcore2)),
    *((core._synchronization, owner, "wait") for core in (httpcore, httpcore2) for owner in ("Event", "AsyncEvent")),
    (aiohttp, "ClientResponse", "start"),
    (aiohttp.connector, "BaseConnector", "_wait_for_available_connection"),
    (aiohttp, "ClientWebSocketResponse", "receive"),
    (websockets.protocol, "Protocol", "events_received"),
]


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Yield a model provider that runs on loopback; see `tests/providers.py` for what a prompt can ask of it."""
    with Provider() as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Return where a store of the test may stand; nothing is there yet."""
    return tmp_path / "runs.db"


@pytest.fixture
def handle(store: Path) -> Iterator[Instrumentation]:
    """Record into the store while the test runs."""
    with tf.instrument(store) as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_stays_installed() -> Iterator[None]:
    """Fail a test that leaves a hook on a class behind."""
    before = [getattr(library, owner).__dict__[name] for library, owner, name in _HOOKED]
    yield
    after = [getattr(library, owner).__dict__[name] for library, owner, name in _HOOKED]
    left = [
        f"{lib.__name__}.{owner}.{name}"
        for (lib, owner, name), a, b in zip(_HOOKED, before, after, strict=True)
        if a is not b
    ]
    assert not left, f"the test left these patched: {left}"
