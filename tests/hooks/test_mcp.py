"""Tool calls through the official MCP client: real servers, real transports."""

import asyncio
import contextlib
import json
import sqlite3
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import mcp.client.client
import mcp.client.session
import openai
import pytest
import uvicorn
from mcp import Client, ClientSession, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, CreateMessageResult, TextContent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.hooks.mcp_server import SECRET, make_server
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation, scopes
from tokenflation.sdk.exchange import Tap

pytestmark = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets"),
]

Body = Callable[[Any], Awaitable[Any]]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "runs.db"


@pytest.fixture
def handle(store: Path) -> Iterator[Instrumentation]:
    with tf.instrument(store) as running:
        yield running


def rows(store: Path, query: str) -> list[dict[str, Any]]:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(query)]


def runs(store: Path, handle: Instrumentation) -> dict[str, dict[str, Any]]:
    assert handle.flush()
    return {row["name"]: row for row in rows(store, "SELECT * FROM spans WHERE kind = 'tool'")}


@contextlib.asynccontextmanager
async def by_memory(**more: Any) -> AsyncIterator[Any]:
    async with Client(make_server(), **more) as client:
        yield client


@contextlib.asynccontextmanager
async def by_stdio(**more: Any) -> AsyncIterator[Any]:
    server = StdioServerParameters(command=sys.executable, args=[str(Path(__file__).with_name("mcp_server.py"))])
    async with stdio_client(server) as (read, write), ClientSession(read, write, **more) as session:
        await session.initialize()
        yield session


@contextlib.asynccontextmanager
async def by_http(**more: Any) -> AsyncIterator[Any]:
    config = uvicorn.Config(make_server().streamable_http_app(), port=0, log_config=None, ws="none")
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


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_tool_call_is_a_tool_run_inside_the_open_scope(way: Any, store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"), tf.agent("a"):
            assert text_of(await client.call_tool("add", {"a": 1, "b": 2})) == "3"

    through(body, way)
    run = runs(store, handle)["add"]
    (agent,) = rows(store, "SELECT * FROM spans WHERE kind = 'agent'")
    assert (run["parent_id"], run["trace_id"], run["task_id"]) == (
        agent["span_id"],
        agent["trace_id"],
        agent["task_id"],
    )
    assert (run["status"], run["arguments_bytes"], run["result_bytes"]) == ("ok", 13, 1)
    assert agent["started_at_ns"] <= run["started_at_ns"] <= run["ended_at_ns"] <= agent["ended_at_ns"]


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_result_that_says_the_tool_failed_is_an_error_without_its_text(
    way: Any, store: Path, handle: Instrumentation
) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"):
            assert (await client.call_tool("fail", {})).is_error

    through(body, way)
    run = runs(store, handle)["fail"]
    assert (run["status"], run["error_type"]) == ("error", "tool_error")


def test_of_arguments_and_results_only_sizes_are_kept(store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"):
            await client.call_tool("echo", {"text": f"{SECRET} é"})

    through(body)
    run = runs(store, handle)["echo"]
    text = f"{SECRET} é".encode()
    assert (run["arguments_bytes"], run["result_bytes"]) == (len(text) + len('{"text":""}'), len(text))
    handle.close()
    assert SECRET.encode() not in b"".join(path.read_bytes() for path in store.parent.iterdir())


def test_a_call_that_takes_too_long_is_a_timeout(store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"), pytest.raises(MCPError):
            await client.call_tool("wait", {}, read_timeout_seconds=0.05)

    through(body)
    run = runs(store, handle)["wait"]
    assert (run["status"], run["error_type"], run["result_bytes"]) == ("error", "TimeoutError", None)


def test_a_cancelled_call_ends_its_run_and_stays_cancelled(store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"):
            call = asyncio.create_task(client.call_tool("wait", {}))
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
            assert text_of(await client.call_tool("add", {"a": 1, "b": 2})) == "3"

    through(body)
    found = runs(store, handle)
    assert found["wait"]["error_type"] == "CancelledError"
    assert found["add"]["status"] == "ok"


def test_calls_at_once_are_runs_beside_each_other(store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> list[str]:
        with tf.task("t"):
            results = await asyncio.gather(*(client.call_tool("echo", {"text": f"t{n}"}) for n in range(8)))
        return [text_of(result) for result in results]

    assert through(body) == [f"t{n}" for n in range(8)]
    assert handle.flush()
    (task,) = rows(store, "SELECT * FROM spans WHERE kind = 'task'")
    tools = rows(store, "SELECT * FROM spans WHERE kind = 'tool'")
    assert [tool["parent_id"] for tool in tools] == [task["span_id"]] * 8


def test_a_request_sent_at_the_lower_level_is_recorded_too(store: Path, handle: Instrumentation) -> None:
    async def body(session: Any) -> Any:
        params = CallToolRequestParams(name="add", arguments={"a": 1, "b": 2})
        with tf.task("t"):
            return await session.send_request(CallToolRequest(params=params), CallToolResult)

    assert text_of(through(body, by_stdio)) == "3"
    assert set(runs(store, handle)) == {"add"}


def test_what_is_no_tool_call_is_not_recorded(store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"):
            assert len((await client.list_tools()).tools) == 6
            await client.list_resources()

    through(body)
    assert runs(store, handle) == {}


# Trace context.


def test_the_server_is_told_the_trace_of_the_run_while_spans_are_exported(store: Path) -> None:
    async def body(client: Any) -> str:
        with tf.task("t"):
            return text_of(await client.call_tool("meta", {}))

    for way in WAYS.values():
        with tf.instrument(store, span_exporter=InMemorySpanExporter()) as handle:
            said = through(body, way)
            run = runs(store, handle)["meta"]
            assert said.split("-")[:2] == ["00", run["trace_id"]]
        store.unlink()


def test_the_parent_that_the_server_is_told_is_the_run(store: Path) -> None:
    async def body(client: Any) -> str:
        with tf.task("t"):
            return text_of(await client.call_tool("meta", {}))

    with tf.instrument(store, span_exporter=InMemorySpanExporter()) as handle:
        said = through(body, by_stdio)
        run = runs(store, handle)["meta"]
    assert said == f"00-{run['trace_id']}-{run['span_id']}-01"


def test_no_trace_is_handed_on_without_export_or_where_it_is_switched_off(store: Path) -> None:
    async def body(client: Any) -> str:
        with tf.task("t"):
            return text_of(await client.call_tool("meta", {}))

    with tf.instrument(store):
        assert through(body, by_stdio) == "None"
    with tf.instrument(store, span_exporter=InMemorySpanExporter(), mcp_trace_context=False):
        assert through(body, by_stdio) == "None"


def test_the_trace_that_the_host_names_stays(store: Path) -> None:
    theirs = f"00-{'a' * 32}-{'b' * 16}-01"

    async def body(session: Any) -> str:
        with tf.task("t"):
            return text_of(await session.call_tool("meta", {}, meta={"traceparent": theirs}))

    with tf.instrument(store, span_exporter=InMemorySpanExporter()):
        assert through(body, by_stdio) == theirs


def test_the_hosts_own_current_span_is_what_the_server_is_told(store: Path) -> None:
    tracer = TracerProvider().get_tracer("host")

    async def body(session: Any) -> tuple[str, str]:
        with tf.task("t"), tracer.start_as_current_span("own") as span:
            said = text_of(await session.call_tool("meta", {}))
        return said, f"{span.get_span_context().trace_id:032x}"

    with tf.instrument(store, span_exporter=InMemorySpanExporter()):
        said, trace_id = through(body, by_stdio)
    assert said.split("-")[1] == trace_id


def test_the_request_that_the_host_holds_is_not_changed(store: Path) -> None:
    request = CallToolRequest(params=CallToolRequestParams(name="meta", arguments={}))
    before = request.model_dump_json()

    async def body(session: Any) -> str:
        with tf.task("t"):
            return text_of(await session.send_request(request, CallToolResult))

    with tf.instrument(store, span_exporter=InMemorySpanExporter()):
        assert through(body, by_stdio) != "None"
    assert request.model_dump_json() == before


# Model calls inside, and the tool calls that the wire shows.


def asks_for(name: str) -> list[dict[str, Any]]:
    return [{"role": "system", "content": "lead"}, {"role": "user", "content": f"[[tool:{name}]]"}]


def complete(provider: Provider, messages: Any) -> Any:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        return client.chat.completions.create(model="m", messages=messages)


@pytest.mark.parametrize("way", [by_stdio, by_http])
def test_a_model_call_that_the_server_asks_the_client_for_stands_inside_the_run(
    way: Any, provider: Provider, store: Path, handle: Instrumentation
) -> None:
    async def sample(_context: Any, _params: Any) -> CreateMessageResult:
        complete(provider, [{"role": "user", "content": "sampled"}])
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="ok"), model="m")

    async def body(session: Any) -> None:
        with tf.task("t"):
            assert text_of(await session.call_tool("think", {})) == "ok"

    through(body, way, sampling_callback=sample)
    run = runs(store, handle)["think"]
    (call,) = rows(store, "SELECT * FROM calls")
    assert (call["parent_id"], call["task"]) == (run["span_id"], "t")


def test_a_model_call_of_a_server_in_this_process_stands_inside_the_run(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    server = make_server()

    @server.tool()
    def ask() -> str:
        complete(provider, [{"role": "user", "content": "inside"}])
        return "asked"

    async def body() -> None:
        async with Client(server) as client:
            with tf.task("t"):
                await client.call_tool("ask", {})

    asyncio.run(body())
    run = runs(store, handle)["ask"]
    (call,) = rows(store, "SELECT * FROM calls")
    assert (call["parent_id"], call["task"]) == (run["span_id"], "t")


@pytest.mark.parametrize("scoped", [True, False], ids=["scopes", "no scopes"])
def test_the_tool_call_on_the_wire_has_the_times_of_its_run(
    scoped: bool, provider: Provider, store: Path, handle: Instrumentation
) -> None:
    async def body(client: Any) -> None:
        with tf.task("t") if scoped else contextlib.nullcontext():
            messages = asks_for("echo")
            answer = complete(provider, messages).choices[0].message
            result = text_of(await client.call_tool("echo", {"text": "x"}))
            (asked,) = answer.tool_calls
            messages += [
                json.loads(answer.model_dump_json(exclude_none=True)),
                {"role": "tool", "tool_call_id": asked.id, "content": result},
            ]
            complete(provider, messages)

    through(body)
    run = runs(store, handle)["echo"]
    (asked,) = rows(store, "SELECT * FROM tool_calls")
    assert (asked["run_span_id"], asked["executed"]) == (run["span_id"], 1)
    assert (asked["started_at_ns"], asked["ended_at_ns"]) == (run["started_at_ns"], run["ended_at_ns"])
    (first, _) = rows(store, "SELECT * FROM calls ORDER BY started_at_ns")
    assert (run["task_id"], run["trace_id"]) == (first["task_id"], first["trace_id"])


def test_of_two_open_tool_calls_of_one_name_none_is_taken_for_the_run(
    provider: Provider, store: Path, handle: Instrumentation
) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"):
            complete(provider, [{"role": "user", "content": "[[tool:echo]] [[tool:echo]]"}])
            await client.call_tool("echo", {"text": "x"})

    through(body)
    assert runs(store, handle)["echo"]["status"] == "ok"
    assert [row["run_span_id"] for row in rows(store, "SELECT * FROM tool_calls")] == [None, None]


def test_without_scopes_a_run_that_nobody_asked_for_has_a_trace_of_its_own_and_no_task(
    store: Path, handle: Instrumentation
) -> None:
    through(lambda client: client.call_tool("add", {"a": 1, "b": 2}))
    run = runs(store, handle)["add"]
    assert (run["task_id"], run["parent_id"], len(run["trace_id"])) == (None, None, 32)


# The host is never hurt.


def test_undo_leaves_the_identical_methods(store: Path) -> None:
    session, client = mcp.client.session.ClientSession, mcp.client.client.Client
    names = [(session, "send_request"), (session, "_on_request"), (client, "call_tool")]
    before = [owner.__dict__[name] for owner, name in names]
    with tf.instrument(store):
        assert [owner.__dict__[name] for owner, name in names] != before
    assert all(owner.__dict__[name] is was for (owner, name), was in zip(names, before, strict=True))


def test_a_call_under_way_while_the_recorder_closes_returns_its_result(store: Path) -> None:
    handle = tf.instrument(store)

    async def body(client: Any) -> str:
        with tf.task("t"):
            call = asyncio.create_task(client.call_tool("echo", {"text": "x"}))
            await asyncio.sleep(0)
            handle.close()
            return text_of(await call)

    assert through(body) == "x"


@pytest.mark.parametrize("broken", ["_asked", "_with_trace", "_failure_of", "_size_of_result", "_size_of_arguments"])
def test_a_failure_of_the_hook_is_counted_and_not_seen(
    broken: str, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    async def body(client: Any) -> str:
        with tf.task("t") as task:
            result = await client.call_tool("echo", {"text": "x"})
            assert scopes.current() is task
        return text_of(result)

    monkeypatch.setattr(f"tokenflation.sdk.hooks.mcp.{broken}", fail)
    with tf.instrument(store, span_exporter=InMemorySpanExporter()) as handle:
        assert through(body) == "x"
        assert handle.drops.get("hook_error", 0) >= 1


def test_a_failure_to_open_a_run_is_counted_and_not_seen(
    store: Path, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    assert isinstance(handle._recorder.tap, Tap)
    monkeypatch.setattr(handle._recorder.tap, "run_tool", fail)
    assert text_of(through(lambda client: client.call_tool("echo", {"text": "x"}))) == "x"
    assert handle.drops == {"hook_error": 2}
