"""Spans of other tracing as evidence: made by hand here, with the attributes that the libraries document."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Tracer
from tests import stored
from tests.providers import Provider

import tokenflation.sdk as tf

Rows = Callable[..., list[dict[str, Any]]]
Ask = Callable[..., Any]

AGENT = {
    "gen_ai": lambda name: {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": name},
    "openinference": lambda name: {"openinference.span.kind": "AGENT", "agent.name": name},
    "traceloop": lambda name: {"traceloop.span.kind": "agent", "traceloop.entity.name": name},
    "pydantic-ai": lambda name: {"agent_name": name, "logfire.msg": f"{name} run"},
    "mlflow": lambda name: {"mlflow.spanType": '"AGENT"'},
}
TOOL = {
    "gen_ai": lambda name: {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": name},
    "openinference": lambda name: {"openinference.span.kind": "TOOL", "tool.name": name},
    "traceloop": lambda name: {"traceloop.span.kind": "tool", "traceloop.entity.name": name},
    "pydantic-ai": lambda name: {"gen_ai.tool.name": name},
    "mlflow": lambda name: {"mlflow.spanType": '"TOOL"'},
}
WORKFLOW = {
    "gen_ai": lambda name: {"gen_ai.operation.name": "invoke_workflow", "gen_ai.workflow.name": name},
    "openinference": lambda name: {"openinference.span.kind": "CHAIN"},
    "traceloop": lambda name: {"traceloop.span.kind": "workflow", "traceloop.entity.name": name},
    "mlflow": lambda name: {"mlflow.spanType": '"CHAIN"'},
}
BY_VOCABULARY = pytest.mark.parametrize("vocabulary", AGENT)


def title(vocabulary: str, kind: str, name: str) -> str:
    """Return how the library calls such a span."""
    if vocabulary == "pydantic-ai":
        return "agent run" if kind == "agent" else "running tool"
    operation = {"agent": "invoke_agent", "tool": "execute_tool", "task": "invoke_workflow"}[kind]
    return f"{operation} {name}" if vocabulary == "gen_ai" else name


@pytest.fixture
def rows(store: Path) -> Rows:
    """Return a function that reads a table of the store, in order of time."""

    def read(table: str = "calls") -> list[dict[str, Any]]:
        return stored.rows(store, f"SELECT * FROM {table} ORDER BY started_at_ns")

    return read


@pytest.fixture
def ask(provider: Provider) -> Iterator[Ask]:
    """Return a function that asks a model one question, with these messages before it."""
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:

        def asked(text: str = "hi", system: str = "", before: tuple[Any, ...] = ()) -> Any:
            first = [{"role": "system", "content": system}] if system else []
            messages: Any = [*first, *before, {"role": "user", "content": text}]
            return client.chat.completions.create(model="m-1", messages=messages)

        yield asked


@pytest.fixture
def tracer() -> Tracer:
    """Return a tracer of a provider of the user's, which the recorder is told of by a span processor of ours."""
    mine = TracerProvider()
    mine.add_span_processor(tf.span_processor())
    return mine.get_tracer("framework")


def ids(span: Any) -> str:
    return format(span.get_span_context().span_id, "016x")


@BY_VOCABULARY
def test_a_call_inside_an_agents_span_is_a_step_of_that_agent(
    vocabulary: str, tracer: Tracer, ask: Ask, store: Path, rows: Rows
) -> None:
    attributes = AGENT[vocabulary]("planner")
    with (
        tf.instrument(store),
        tracer.start_as_current_span(title(vocabulary, "agent", "planner"), attributes=attributes) as span,
        tracer.start_as_current_span("chat m-1", attributes={"gen_ai.operation.name": "chat"}),
    ):
        ask()
        ask("more")
    assert [(row["agent"], row["agent_run_id"], row["step"]) for row in rows()] == [
        ("planner", ids(span), 0),
        ("planner", ids(span), 1),
    ]
    assert {(row["task"], row["task_id"], row["depth"]) for row in rows()} == {("planner", ids(span), 0)}
    assert {row["structure_source"] for row in rows()} == {"span"}


@BY_VOCABULARY
def test_an_agents_span_inside_a_tools_span_is_one_level_deeper(
    vocabulary: str, tracer: Tracer, ask: Ask, store: Path, rows: Rows
) -> None:
    def within(kind: str, made: Any, name: str) -> Any:
        return tracer.start_as_current_span(title(vocabulary, kind, name), attributes=made[vocabulary](name))

    with tf.instrument(store), within("agent", AGENT, "planner") as outer:
        ask("[[tool:search]]")
        with within("tool", TOOL, "search"), within("agent", AGENT, "reader") as inner:
            ask("read")
    first, second = rows()
    assert (second["agent"], second["depth"], second["agent_run_id"]) == ("reader", 1, ids(inner))
    assert (second["task_id"], second["task"]) == (ids(outer), "planner")
    assert second["inside_call_id"] == first["call_id"]
    assert second["inside_evidence"] == "span"
    (tool,) = rows("tool_calls")
    assert tool["agent_run_id"] == ids(inner)
    assert [(row["kind"], row["name"], row["depth"]) for row in rows("spans")] == [
        ("agent", "planner", 0),
        ("tool", "search", 0),
        ("agent", "reader", 1),
    ]


@pytest.mark.parametrize("vocabulary", WORKFLOW)
def test_the_outermost_workflow_is_the_task(vocabulary: str, tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    def within(kind: str, made: Any, name: str) -> Any:
        return tracer.start_as_current_span(title(vocabulary, kind, name), attributes=made[vocabulary](name))

    with tf.instrument(store), within("task", WORKFLOW, "triage") as task:
        for name in ("planner", "writer"):
            with within("agent", AGENT, name):
                ask(name)
    assert [(row["task"], row["task_id"], row["agent"], row["depth"]) for row in rows()] == [
        ("triage", ids(task), "planner", 0),
        ("triage", ids(task), "writer", 0),
    ]
    assert [row["kind"] for row in rows("spans")] == ["task", "agent", "agent"]
    assert {row["task_id"] for row in rows("spans")} == {ids(task)}


def test_spans_of_requests_and_databases_change_nothing(tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    def work() -> None:
        with (
            tracer.start_as_current_span("GET /ask", attributes={"http.request.method": "GET"}),
            tracer.start_as_current_span("SELECT", attributes={"db.system": "sqlite"}),
            tracer.start_as_current_span("create_agent a", attributes={"gen_ai.operation.name": "create_agent"}),
            tracer.start_as_current_span("step", attributes={"openinference.span.kind": "CHAIN"}),
        ):
            ask()

    with tf.instrument(store):
        work()
        ask()
    inside, outside = rows()
    for column in ("structure_source", "agent", "depth", "step", "parent_id", "task"):
        assert inside[column] == outside[column], column
    assert rows("spans") == []


def test_scopes_of_the_user_win_over_spans(tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    agent = AGENT["gen_ai"]
    with tf.instrument(store), tracer.start_as_current_span("invoke_agent a", attributes=agent("a")):
        with tf.task("mine"), tf.agent("me"):
            ask("one")
            with tracer.start_as_current_span("invoke_agent b", attributes=agent("b")):
                ask("two")
        ask("three")
    assert [(row["task"], row["agent"], row["depth"], row["structure_source"]) for row in rows()] == [
        ("mine", "me", 0, "scope"),
        ("mine", "b", 1, "span"),
        ("a", "a", 0, "span"),
    ]


def test_totals_on_an_agents_span_are_not_added(tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    with tf.instrument(store), tracer.start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")) as span:
        ask("one")
        ask("two [[input:300]]")
        span.set_attribute("gen_ai.usage.input_tokens", 500)
        span.set_attribute("gen_ai.usage.output_tokens", 300)
    assert [row["input_tokens"] for row in rows()] == [200, 300]
    assert not [row for row in rows("spans") if row["kind"] != "agent"]


def test_attributes_that_come_after_the_start_count(tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    with tf.instrument(store), tracer.start_as_current_span("planner.agent") as span:
        span.set_attribute("traceloop.span.kind", "agent")
        span.set_attribute("traceloop.entity.name", "planner")
        ask()
        span.set_attribute("traceloop.entity.name", "planner the second")
    assert [row["agent"] for row in rows()] == ["planner"]
    assert [row["name"] for row in rows("spans")] == ["planner the second"]


def test_a_tools_span_gives_the_tool_call_its_times(tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    with tf.instrument(store), tracer.start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")):
        ask("[[tool:search]] [[tool:fetch]]")
        with (
            pytest.raises(TimeoutError),
            tracer.start_as_current_span("execute_tool fetch", attributes=TOOL["gen_ai"]("fetch")) as tool,
        ):
            raise TimeoutError
    by_name = {row["name"]: row for row in rows("tool_calls")}
    assert by_name["fetch"]["run_span_id"] == ids(tool)
    assert by_name["search"]["run_span_id"] is None
    (row,) = [row for row in rows("spans") if row["kind"] == "tool"]
    assert (row["status"], row["error_type"]) == ("error", "TimeoutError")


def test_a_tools_span_outside_any_agents_stands_where_the_wire_says(
    tracer: Tracer, ask: Ask, store: Path, rows: Rows
) -> None:
    with tf.instrument(store):
        ask("[[tool:search]]")
        with tracer.start_as_current_span("execute_tool search", attributes=TOOL["gen_ai"]("search")):
            pass
    (call,), (tool,) = rows(), rows("spans")
    assert call["structure_source"] == "wire"
    assert (tool["task_id"], tool["agent_run_id"]) == (call["task_id"], call["agent_run_id"])


def test_our_own_spans_are_no_evidence(ask: Ask, store: Path, rows: Rows) -> None:
    mine = TracerProvider()
    mine.add_span_processor(tf.span_processor())
    with tf.instrument(store, tracer_provider=mine), tf.task("triage"), tf.agent("planner"), tf.tool("search"):
        ask()
    assert [(row["kind"], row["name"]) for row in rows("spans")] == [
        ("task", "triage"),
        ("agent", "planner"),
        ("tool", "search"),
    ]
    assert [row["structure_source"] for row in rows()] == ["scope"]


def test_two_libraries_with_a_span_each_of_one_agent_run_are_one_level(ask: Ask, store: Path, rows: Rows) -> None:
    mine = TracerProvider()
    mine.add_span_processor(tf.span_processor())
    with (
        tf.instrument(store),
        mine.get_tracer("one").start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")),
        mine.get_tracer("other").start_as_current_span("a", attributes=AGENT["openinference"]("a")),
    ):
        ask()
    assert [(row["agent"], row["depth"]) for row in rows()] == [("a", 0)]
    assert [row["name"] for row in rows("spans")] == ["a"]


def test_a_given_provider_is_read_too(ask: Ask, store: Path, rows: Rows) -> None:
    mine = TracerProvider()
    with (
        tf.instrument(store, tracer_provider=mine),
        mine.get_tracer("framework").start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")),
    ):
        ask()
    assert [(row["agent"], row["structure_source"]) for row in rows()] == [("a", "span")]


def test_after_close_no_span_is_kept(tracer: Tracer, ask: Ask, store: Path, rows: Rows) -> None:
    with tf.instrument(store):
        pass
    with tracer.start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")):
        ask()
    assert rows() == []
    assert rows("spans") == []


def test_inside_a_tools_span_without_an_agents_the_wire_tells_who_asks(
    tracer: Tracer, ask: Ask, store: Path, rows: Rows
) -> None:
    def within(name: str) -> Any:
        return tracer.start_as_current_span(f"execute_tool {name}", attributes=TOOL["gen_ai"](name))

    with tf.instrument(store), tracer.start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")) as span:
        ask("go [[tool:reader]]", system="You lead.")
        with within("reader"):
            ask("read [[tool:search]]", system="You read.")
            with within("search") as search:
                pass
    outer, inner = rows()
    assert (outer["agent_run_id"], outer["depth"]) == (ids(span), 0)
    assert (inner["task_id"], inner["depth"], inner["inside_call_id"]) == (ids(span), 1, outer["call_id"])
    assert inner["agent_run_id"] == inner["call_id"]
    assert [row["run_span_id"] for row in rows("tool_calls") if row["name"] == "search"] == [ids(search)]
    (tool,) = [row for row in rows("spans") if row["name"] == "search"]
    assert (tool["agent_run_id"], tool["depth"]) == (inner["agent_run_id"], 1)


def test_with_a_given_provider_other_tracings_spans_are_not_sent_again(ask: Ask, store: Path) -> None:
    mine, exporter = TracerProvider(), InMemorySpanExporter()
    mine.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = mine.get_tracer("framework")
    with (
        tf.instrument(store, tracer_provider=mine),
        tracer.start_as_current_span("invoke_agent a", attributes=AGENT["gen_ai"]("a")),
        tracer.start_as_current_span("execute_tool t", attributes=TOOL["gen_ai"]("t")),
    ):
        ask()
    assert sorted(span.name for span in exporter.get_finished_spans()) == [
        "chat m-1",
        "execute_tool t",
        "invoke_agent a",
    ]


GLOBAL = """
import sys
import openai
import tokenflation.sdk as tf

def set_it():
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    class Foreign(trace.TracerProvider):  # takes no processor
        def get_tracer(self, *args, **kwargs):
            return TracerProvider().get_tracer("framework")

    made = Foreign() if "foreign" in sys.argv else TracerProvider()
    trace.set_tracer_provider(made)
    return trace

if "before" in sys.argv:
    set_it()
with tf.instrument(sys.argv[1]):
    if "before" not in sys.argv:
        set_it()
    from opentelemetry import trace
    with trace.get_tracer("framework").start_as_current_span(
        "invoke_agent a", attributes={"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "a"}
    ):
        openai.OpenAI(base_url=sys.argv[2], api_key="k").chat.completions.create(
            model="m-1", messages=[{"role": "user", "content": "hi"}])
assert not hasattr(trace.set_tracer_provider, "__tokenflation_layer__"), "left behind"
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("whose", ["sdk", "foreign"])
def test_the_global_provider_is_read_if_it_lets_one(
    when: str, whose: str, provider: Provider, store: Path, rows: Rows
) -> None:
    command = [sys.executable, "-c", GLOBAL, str(store), provider.openai_url, when, whose]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert [row["structure_source"] for row in rows()] == ["span" if whose == "sdk" else "wire"]
