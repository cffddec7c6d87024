"""A server of tools for tests: in memory, over stdio (`python mcp_server.py`), or over HTTP as an ASGI application."""

import asyncio
import logging
import warnings

from mcp.server.mcpserver import Context, MCPServer
from mcp_types import SamplingMessage, TextContent

SECRET = "MARKER-5d1c"


def make_server() -> MCPServer:
    """Return a server whose tools add, fail, wait, say what `_meta` they got, and ask the client for a sample."""
    server = MCPServer("tools", log_level="CRITICAL")

    @server.tool()
    def add(a: int, b: int) -> str:
        return str(a + b)

    @server.tool()
    def echo(text: str) -> str:
        return text

    @server.tool()
    def fail() -> str:
        raise ValueError(SECRET)

    @server.tool()
    async def wait() -> str:
        await asyncio.sleep(30)
        return "late"

    @server.tool()
    async def meta(ctx: Context) -> str:
        return str((ctx.request_context.meta or {}).get("traceparent"))

    @server.tool()
    async def think(ctx: Context) -> str:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # sampling is deprecated; servers use it all the same
            message = SamplingMessage(role="user", content=TextContent(type="text", text="hello"))
            result = await ctx.session.create_message(messages=[message], max_tokens=9)
        return getattr(result.content, "text", "")

    return server


if __name__ == "__main__":
    logging.disable()
    make_server().run()
