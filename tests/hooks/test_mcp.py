"""Tool calls through the official MCP client: real servers, real transports."""

import asyncio
import os
from pathlib import Path
from typing import Any

import mcp.client.client
import mcp.client.session
import mcp.client.stdio
import pytest
from mcp import MCPError
from mcp_types import CallToolRequest, CallToolRequestParams, CallToolResult, CreateMessageResult, TextContent
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.hooks.mcp_server import SECRET
from tests.hooks.mcp_ways import WAYS, by_session, runs, text_of, through
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.children import CHILDREN
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.exchange import Tap
from tokenflation.sdk.scoping import scopes

pytestmark = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:websockets"),
]


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

    assert text_of(through(body, by_session)) == "3"
    assert set(runs(store, handle)) == {"add"}


def test_what_is_no_tool_call_is_not_recorded(store: Path, handle: Instrumentation) -> None:
    async def body(client: Any) -> None:
        with tf.task("t"):
            assert len((await client.list_tools()).tools) == 6
            await client.list_resources()

    through(body)
    assert runs(store, handle) == {}


def test_a_server_over_stdio_is_told_to_record_where_programs_that_are_started_anew_are(store: Path) -> None:
    plain = mcp.client.stdio.get_default_environment()
    with tf.instrument(store, children=True):
        assert mcp.client.stdio.get_default_environment() == {**plain, CHILDREN: os.environ[CHILDREN]}
    with tf.instrument(store):
        assert mcp.client.stdio.get_default_environment() == plain
    assert mcp.client.stdio.get_default_environment() == plain


# The host is never hurt.


def test_undo_leaves_the_identical_methods(store: Path) -> None:
    session, client = mcp.client.session.ClientSession, mcp.client.client.Client
    names: list[tuple[Any, str]] = [(session, "send_request"), (session, "_on_request"), (client, "call_tool")]
    names.append((mcp.client.stdio, "get_default_environment"))
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


@pytest.mark.parametrize("broken", ["_asked", "_with_trace", "_failure_of", "_size_of_result", "_canonical"])
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


def test_a_session_that_has_no_hash_is_served_as_without_us(
    store: Path, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mcp.client.session.ClientSession, "__hash__", None)  # as a dataclass made of it has none

    async def sampled(*_: object) -> CreateMessageResult:
        return CreateMessageResult(role="assistant", content=TextContent(type="text", text="yes"), model="m")

    async def body(session: Any) -> str:
        return text_of(await session.call_tool("think", {}))

    assert "yes" in through(body, by_session, sampling_callback=sampled)
    assert handle.drops == {}
    handle.close()
    assert len(rows(store, "SELECT * FROM spans WHERE kind = 'tool'")) == 1


def test_a_failure_to_open_a_run_is_counted_and_not_seen(
    store: Path, handle: Instrumentation, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("ours")

    assert isinstance(handle._recorder.tap, Tap)
    monkeypatch.setattr(handle._recorder.tap, "run_tool", fail)
    assert text_of(through(lambda client: client.call_tool("echo", {"text": "x"}))) == "x"
    assert handle.drops == {"hook_error": 2}
