"""Model calls of MCP servers over HTTP: they stand in the trace that the request names, each tool call a task."""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from mcp.server.mcpserver import MCPServer
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.hooks.mcp_ways import by_http, by_session, through
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets")
_TRACE, _SPAN = "a" * 32, "b" * 16


def asking(provider: Provider) -> MCPServer:
    """Return a server that asks a model twice for each call of its tool, and once more behind the answer."""
    server = MCPServer("asking", log_level="CRITICAL")
    behind = []

    async def ask(text: str) -> None:
        body = {"model": "m", "messages": [{"role": "user", "content": text}]}
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.post(provider.openai_url + "/chat/completions", json=body)

    async def later(answered: asyncio.Event) -> None:
        await answered.wait()
        await ask("behind")

    @server.tool()
    async def research(about: str) -> str:
        await ask(f"{about} at first")
        await ask(f"{about} again")
        return "done"

    @server.tool()
    async def begin() -> str:
        answered = asyncio.Event()
        behind.append(asyncio.create_task(later(answered)))
        asyncio.get_running_loop().call_later(0.05, answered.set)
        return "begun"

    @server.tool()
    async def wait() -> str:
        await asyncio.gather(*behind)
        return "over"

    return server


def calls_of(store: Path, handle: tf.Instrumentation) -> list[dict[str, Any]]:
    assert handle.flush()
    return rows(store)


def test_what_a_server_asks_models_for_a_tool_call_is_one_task_inside_the_asking_run(
    provider: Provider, store: Path
) -> None:
    async def body(session: Any) -> None:
        with tf.task("t"):
            await asyncio.gather(*(session.call_tool("research", {"about": one}) for one in ("tides", "winds")))

    with tf.instrument(store, span_exporter=InMemorySpanExporter()) as handle:
        through(body, by_http, serving=asking(provider))
        calls = calls_of(store, handle)
    asked = {row["span_id"]: row["trace_id"] for row in rows(store, "SELECT * FROM spans WHERE kind = 'tool'")}
    assert len(calls) == 4
    assert {row["parent_id"]: row["trace_id"] for row in calls} == asked
    assert {(row["task"], row["task_id"] == row["parent_id"], row["structure_source"]) for row in calls} == {
        ("research", True, "span")
    }


def test_what_goes_on_behind_the_answer_of_a_tool_stands_outside(provider: Provider, store: Path) -> None:
    async def body(session: Any) -> None:
        await session.call_tool("begin", {}, meta={"traceparent": f"00-{_TRACE}-{_SPAN}-01"})
        await session.call_tool("wait", {})

    with tf.instrument(store) as handle:
        through(body, by_http, serving=asking(provider))
        (call,) = calls_of(store, handle)
    assert (call["trace_id"] != _TRACE, call["parent_id"], call["structure_source"]) == (True, None, "wire")


@pytest.mark.parametrize(
    "named", ["", 7, f"00-{'0' * 32}-{_SPAN}-01", f"00-{_TRACE}-{'0' * 16}-01", f"00-{_TRACE.upper()}-{_SPAN}-01"]
)
def test_what_is_no_trace_context_changes_nothing(named: Any, provider: Provider, store: Path) -> None:
    async def body(session: Any) -> None:
        result = await session.call_tool("research", {"about": "tides"}, meta={"traceparent": named})
        assert result.content[0].text == "done"

    with tf.instrument(store) as handle:
        through(body, by_http, serving=asking(provider))
        calls = calls_of(store, handle)
    assert [(row["parent_id"], row["structure_source"]) for row in calls] == [(None, "wire")] * 2
    assert handle.drops == {}


def test_a_server_in_memory_stands_where_its_caller_does(provider: Provider, store: Path) -> None:
    async def body(session: Any) -> None:
        meta: Any = {"traceparent": f"00-{_TRACE}-{_SPAN}-01"}
        await session.call_tool("research", {"about": "tides"}, meta=meta)

    with tf.instrument(store) as handle:
        through(body, by_session, serving=asking(provider))
        calls = calls_of(store, handle)
    assert {row["structure_source"] for row in calls} == {"wire"}


def test_a_server_that_is_imported_once_the_recorder_is_off_is_left_as_it_is(store: Path) -> None:
    program = """
import sys
import tokenflation.sdk as tf
tf.instrument(sys.argv[1]).close()
from mcp.server.runner import ServerRunner
assert not hasattr(ServerRunner._on_request, "__wrapped__")
"""
    subprocess.run([sys.executable, "-W", "ignore::DeprecationWarning", "-c", program, str(store)], check=True)


def test_a_server_inside_a_scope_stays_in_that(provider: Provider, store: Path) -> None:
    async def body(session: Any) -> None:
        meta: Any = {"traceparent": f"00-{_TRACE}-{_SPAN}-01"}
        await session.call_tool("research", {"about": "tides"}, meta=meta)

    with tf.instrument(store) as handle:
        with tf.task("serving"):
            through(body, by_http, serving=asking(provider))
        calls = calls_of(store, handle)
    assert {(row["task"], row["structure_source"]) for row in calls} == {("serving", "scope")}


def test_undo_leaves_the_identical_method_of_the_server(store: Path) -> None:
    from mcp.server.runner import ServerRunner

    before = ServerRunner.__dict__["_on_request"]
    with tf.instrument(store):
        assert ServerRunner.__dict__["_on_request"] is not before
    assert ServerRunner.__dict__["_on_request"] is before
