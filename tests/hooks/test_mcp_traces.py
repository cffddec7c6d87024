"""What is told to MCP servers, what runs inside a tool's run, and the tool calls on the wire that runs belong to."""

import asyncio
import contextlib
import json
import sys
from pathlib import Path
from typing import Any

import openai
import pytest
from mcp import Client, ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, CreateMessageResult, TextContent
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.frameworks.server import Model
from tests.hooks.mcp_server import make_server
from tests.hooks.mcp_ways import WAYS, by_http, by_session, by_stdio, runs, text_of, through
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation

pytestmark = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets"),
]


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
        said = through(body, by_session)
        run = runs(store, handle)["meta"]
    assert said == f"00-{run['trace_id']}-{run['span_id']}-01"


def test_no_trace_is_handed_on_without_export_or_where_it_is_switched_off(store: Path) -> None:
    async def body(client: Any) -> str:
        with tf.task("t"):
            return text_of(await client.call_tool("meta", {}))

    with tf.instrument(store):
        assert through(body, by_session) == "None"
    with tf.instrument(store, span_exporter=InMemorySpanExporter(), mcp_trace_context=False):
        assert through(body, by_session) == "None"


def test_the_trace_that_the_host_names_stays(store: Path) -> None:
    theirs = f"00-{'a' * 32}-{'b' * 16}-01"

    async def body(session: Any) -> str:
        with tf.task("t"):
            return text_of(await session.call_tool("meta", {}, meta={"traceparent": theirs}))

    with tf.instrument(store, span_exporter=InMemorySpanExporter()):
        assert through(body, by_session) == theirs


def test_the_hosts_own_current_span_is_what_the_server_is_told(store: Path) -> None:
    tracer = TracerProvider().get_tracer("host")

    async def body(session: Any) -> tuple[str, str]:
        with tf.task("t"), tracer.start_as_current_span("own") as span:
            said = text_of(await session.call_tool("meta", {}))
        return said, f"{span.get_span_context().trace_id:032x}"

    with tf.instrument(store, span_exporter=InMemorySpanExporter()):
        said, trace_id = through(body, by_session)
    assert said.split("-")[1] == trace_id


def test_the_request_that_the_host_holds_is_not_changed(store: Path) -> None:
    request = CallToolRequest(params=CallToolRequestParams(name="meta", arguments={}))
    before = request.model_dump_json()

    async def body(session: Any) -> str:
        with tf.task("t"):
            return text_of(await session.send_request(request, CallToolResult))

    with tf.instrument(store, span_exporter=InMemorySpanExporter()):
        assert through(body, by_session) != "None"
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


_ASKING = """
import sys
import httpx
from mcp.server.mcpserver import MCPServer

server = MCPServer("asking", log_level="CRITICAL")

@server.tool()
def ask() -> str:
    body = {"model": "m", "messages": [{"role": "user", "content": "inside"}]}
    return str(httpx.post(sys.argv[1] + "/v1/chat/completions", json=body, trust_env=False).status_code)

server.run()
"""


@pytest.mark.parametrize(
    ("scoped", "children"), [(True, True), (False, True), (True, False)], ids=["in a scope", "outside", "not recorded"]
)
def test_a_model_call_of_a_server_in_its_own_process_stands_where_the_server_was_started(
    scoped: bool, children: bool, provider: Provider, store: Path
) -> None:
    (store.parent / "asking.py").write_text(_ASKING)
    server = StdioServerParameters(command=sys.executable, args=[str(store.parent / "asking.py"), provider.url])

    async def body() -> str:
        with tf.task("t") if scoped else contextlib.nullcontext():
            async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
                await session.initialize()
                return text_of(await session.call_tool("ask", {}))

    with tf.instrument(store, children=children) as handle:
        assert asyncio.run(body()) == "200"
        assert set(runs(store, handle)) == {"ask"}
    tasks = [row["task"] for row in rows(store, "SELECT * FROM calls")]
    assert [task == "t" for task in tasks] == ([scoped] if children else [])


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


@pytest.mark.parametrize("scoped", [True, False], ids=["scopes", "no scopes"])
def test_runs_of_one_tool_at_once_are_told_apart_by_their_arguments(
    scoped: bool, store: Path, handle: Instrumentation
) -> None:
    server = make_server()
    parameters: Any = {"type": "object", "properties": {"query": {"type": "string"}}}
    offered: Any = [{"type": "function", "function": {"name": "team_researcher", "parameters": parameters}}]

    @server.tool()
    async def researcher(query: str) -> str:
        return query

    async def body(model: Model) -> None:
        messages: Any = [{"role": "user", "content": "[[plan:fan]]"}]
        with openai.OpenAI(base_url=model.openai_url, api_key="k") as client:
            answer = client.chat.completions.create(model="m", messages=messages, tools=offered).choices[0].message
        given = [json.loads(call.function.arguments) for call in answer.tool_calls or ()]
        async with Client(server) as session:
            await asyncio.gather(*(session.call_tool("researcher", one) for one in given[::-1]))

    with Model() as model, tf.task("t") if scoped else contextlib.nullcontext():
        asyncio.run(body(model))
    assert handle.flush()
    (call,) = rows(store, "SELECT * FROM calls")
    asked = rows(store, "SELECT * FROM tool_calls ORDER BY tool_call_id")
    done = {row["span_id"]: row for row in rows(store, "SELECT * FROM spans WHERE kind = 'tool'")}
    began = [done[row["run_span_id"]]["started_at_ns"] for row in asked]
    assert (len(asked), began) == (4, sorted(began, reverse=True))
    assert {row["task_id"] for row in done.values()} == {call["task_id"]}


def test_without_scopes_a_run_that_nobody_asked_for_has_a_trace_of_its_own_and_no_task(
    store: Path, handle: Instrumentation
) -> None:
    through(lambda client: client.call_tool("add", {"a": 1, "b": 2}))
    run = runs(store, handle)["add"]
    assert (run["task_id"], run["parent_id"], len(run["trace_id"])) == (None, None, 32)
