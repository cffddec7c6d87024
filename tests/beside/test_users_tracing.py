"""Beside the user's own tracing: their spans, their provider, their sampler; needs no other instrumentation."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from tests.beside.conftest import TOKENS, Rows, foreign, ours, tokens_of
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.sdk.tracing.bridge import ForeignCalls, is_model_call


def ask(provider: Provider, text: str = "hi") -> Any:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        return client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": text}])


def run(script: str, *arguments: str) -> str:
    """Run a script in a fresh process: a global provider can be set once only."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_task_counts_its_calls_and_not_the_totals_on_an_agents_span(
    provider: Provider, store: Path, rows: Rows, tracer_provider: TracerProvider
) -> None:
    tracer = tracer_provider.get_tracer("framework")
    with (
        tf.instrument(store, tracer_provider=tracer_provider),
        tf.task("triage"),
        tracer.start_as_current_span("invoke_agent planner") as agent,
    ):
        agent.set_attribute("gen_ai.operation.name", "invoke_agent")
        ask(provider, "one")
        ask(provider, "two [[input:300]]")
        agent.set_attribute("gen_ai.usage.input_tokens", 500)
        agent.set_attribute("gen_ai.usage.output_tokens", 300)
    found = rows()
    assert [(row["task"], row["input_tokens"]) for row in found] == [("triage", 200), ("triage", 300)]
    assert {row["parent_id"] for row in found} == {format(agent.get_span_context().span_id, "016x")}


def test_calls_inside_an_agents_span_keep_spans_with_usage(
    provider: Provider, store: Path, tracer_provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with tf.instrument(store, tracer_provider=tracer_provider):
        tracer = tracer_provider.get_tracer("framework")
        attributes = {"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "m-1"}
        with tracer.start_as_current_span("invoke_agent planner", attributes=attributes):
            ask(provider)
    (span,) = ours(exporter.get_finished_spans())
    assert span.attributes is not None
    assert span.attributes["gen_ai.usage.input_tokens"] == 200


@pytest.mark.parametrize(
    "attributes",
    [
        {"gen_ai.operation.name": "chat"},
        {"openinference.span.kind": "LLM"},
        {"llm.request.type": "chat"},
        {"gen_ai.request.model": "m-1"},
    ],
    ids=lambda attributes: next(iter(attributes)),
)
def test_inside_a_foreign_span_of_the_call_nothing_is_counted_twice(
    attributes: dict[str, str], provider: Provider, store: Path, rows: Rows, tracer_provider: TracerProvider,
    exporter: InMemorySpanExporter
) -> None:  # fmt: skip
    tracer = tracer_provider.get_tracer("instrumentor")
    with tf.instrument(store, tracer_provider=tracer_provider):
        with tracer.start_as_current_span("ChatCompletion", attributes=attributes) as around:
            ask(provider)
            around.set_attribute("gen_ai.usage.input_tokens", 200)
        ask(provider)
    inside, outside = ours(exporter.get_finished_spans())
    assert inside.attributes is not None
    assert outside.attributes is not None
    assert not [name for name in inside.attributes if name.startswith("gen_ai.")]
    assert inside.attributes["tokenflation.usage.input_tokens"] == 200
    assert outside.attributes["gen_ai.usage.input_tokens"] == 200
    context = around.get_span_context()
    assert next((row["trace_id"], row["parent_id"]) for row in rows()) == (
        format(context.trace_id, "032x"),
        format(context.span_id, "016x"),
    )
    assert [tokens_of(row) for row in rows()] == [TOKENS, TOKENS]


def test_spans_around_calls_are_no_model_calls() -> None:
    around = [{"gen_ai.operation.name": name, "gen_ai.request.model": "m"} for name in ("invoke_agent", "execute_tool")]
    others: list[Any] = [{"http.request.method": "POST"}, {"openinference.span.kind": "AGENT"}, {}, None]
    assert [is_model_call(attributes) for attributes in [*around, *others]] == [False] * 6


def test_foreign_calls_are_remembered_within_bounds() -> None:
    span = SimpleNamespace(attributes={"gen_ai.operation.name": "chat"})
    calls = ForeignCalls()
    for number in range(5000):
        calls.note(span, number, ("trace", str(number)))
    assert calls.cover("trace", "4999")
    assert not calls.cover("trace", "0")
    assert not calls.cover("trace", None)


def test_a_sampler_that_drops_every_span_changes_no_row(provider: Provider, store: Path, rows: Rows) -> None:
    with tf.instrument(store, tracer_provider=TracerProvider(sampler=ALWAYS_OFF)), tf.task("triage"):
        ask(provider)
        ask(provider, "[[tool:search]]")
    assert [tokens_of(row) for row in rows()] == [TOKENS, TOKENS]
    assert [row["tool_calls"] for row in rows()] == [0, 1]


FOREIGN_GLOBAL = """
import sys
import openai
from opentelemetry import trace
import tokenflation.sdk as tf

class Tracer(trace.NoOpTracer):
    pass

class Foreign(trace.TracerProvider):  # like ddtrace's: it makes spans of its own and takes no processor
    def get_tracer(self, *args, **kwargs):
        return Tracer()

mine = Foreign()
trace.set_tracer_provider(mine)
with tf.instrument(sys.argv[1], tracer_provider=mine if sys.argv[3] == "given" else None), tf.task("triage"):
    openai.OpenAI(base_url=sys.argv[2], api_key="k").chat.completions.create(
        model="m-1", messages=[{"role": "user", "content": "hi"}])
assert trace.get_tracer_provider() is mine
"""


@pytest.mark.parametrize("how", ["given", "not given"])
def test_a_foreign_global_provider_is_neither_replaced_nor_required(
    how: str, provider: Provider, store: Path, rows: Rows
) -> None:
    run(FOREIGN_GLOBAL, str(store), provider.openai_url, how)
    (row,) = rows()
    assert tokens_of(row) == TOKENS
    assert row["task"] == "triage"


def test_recording_sets_no_global_provider(provider: Provider, store: Path) -> None:
    script = """
import sys
import tokenflation.sdk as tf
from opentelemetry import trace
with tf.instrument(sys.argv[1]) as handle, tf.task("x"):
    handle.tracer_provider
print(type(trace.get_tracer_provider()).__name__)
"""
    assert run(script, str(store)).strip() == "ProxyTracerProvider"


ANTHROPICS_OWN = """
import sys
import anthropic
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import tokenflation.sdk as tf

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)
with tf.instrument(sys.argv[1], tracer_provider=provider if sys.argv[3] == "given" else None):
    client = anthropic.Anthropic(base_url=sys.argv[2], api_key="k")
    say = [{"role": "user", "content": "hi"}]
    client.messages.create(model="m-1", max_tokens=9, messages=say)
    with client.messages.stream(model="m-1", max_tokens=9, messages=say) as stream:
        stream.get_final_message()
for span in exporter.get_finished_spans():
    used = [key for key in span.attributes if key.startswith("gen_ai.usage.input")]
    print(span.instrumentation_scope.name, "usage" if used else "none")
"""


@pytest.mark.parametrize("how", ["given", "not given"])
def test_beside_anthropics_own_spans_a_call_is_one_row_and_has_its_usage_once(
    how: str, provider: Provider, store: Path, rows: Rows
) -> None:
    lines = run(ANTHROPICS_OWN, str(store), provider.url, how).split("\n")
    assert [tokens_of(row) for row in rows()] == [TOKENS, TOKENS]
    assert len([line for line in lines if line.endswith(" usage")]) == 2, lines


def test_the_users_spans_are_theirs_alone(
    provider: Provider, store: Path, tracer_provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    tracer = tracer_provider.get_tracer("app")
    with tf.instrument(store, tracer_provider=tracer_provider), tracer.start_as_current_span("work"):
        ask(provider)
    assert [span.name for span in foreign(exporter.get_finished_spans())] == ["work"]
