"""Ways to a server of tools, for tests: in memory, over stdio, over HTTP; and what the store says of tools' runs."""

import asyncio
import contextlib
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from tests.hooks.mcp_server import make_server
from tests.stored import rows

from tokenflation.sdk import Instrumentation

Body = Callable[[Any], Awaitable[Any]]


def runs(store: Path, handle: Instrumentation) -> dict[str, dict[str, Any]]:
    assert handle.flush()
    return {row["name"]: row for row in rows(store, "SELECT * FROM spans WHERE kind = 'tool'")}


@contextlib.asynccontextmanager
async def by_memory(**more: Any) -> AsyncIterator[Any]:
    async with Client(make_server(), **more) as client:
        yield client


@contextlib.asynccontextmanager
async def by_session(serving: MCPServer | None = None, **more: Any) -> AsyncIterator[Any]:
    """Yield the session itself, in memory, as it is over the older transports."""
    async with Client(serving or make_server(), mode="legacy", **more) as client:
        yield client.session


@contextlib.asynccontextmanager
async def by_stdio(**more: Any) -> AsyncIterator[Any]:
    server = StdioServerParameters(command=sys.executable, args=[str(Path(__file__).with_name("mcp_server.py"))])
    async with stdio_client(server) as (read, write), ClientSession(read, write, **more) as session:
        await session.initialize()
        yield session


@contextlib.asynccontextmanager
async def by_http(serving: MCPServer | None = None, **more: Any) -> AsyncIterator[Any]:
    config = uvicorn.Config((serving or make_server()).streamable_http_app(), port=0, log_config=None, ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with (
            streamable_http_client(f"http://127.0.0.1:{port}/mcp") as streams,
            ClientSession(streams[0], streams[1], **more) as session,
        ):
            await session.initialize()
            yield session
    finally:
        server.should_exit = True
        await asyncio.to_thread(thread.join)


WAYS = {"memory": by_memory, "stdio": by_stdio, "http": by_http}


def through(body: Body, way: Callable[..., Any] = by_memory, **more: Any) -> Any:
    async def connected() -> Any:
        async with way(**more) as client:
            return await body(client)

    return asyncio.run(connected())


def text_of(result: Any) -> str:
    return str(result.content[0].text)
