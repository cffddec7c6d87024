"""Real frameworks with real tracing: their spans give the tree of agents, tools and tasks, and no token more.

Each needs the packages that `nox -s beside` installs (traceloop-sdk aside, which is large), and is skipped without
them.
"""

import importlib.util
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.frameworks.server import Model
from tests.providers import Provider

AGENTS = Path(__file__).parents[1] / "frameworks" / "agents"

READ = """
import os, runpy, sys
from opentelemetry.sdk.trace import TracerProvider
import tokenflation.sdk as tf
mine = TracerProvider()
mine.add_span_processor(tf.span_processor())
"""
PLAY = """
with tf.instrument(os.environ["STORE"]):
    runpy.run_path(sys.argv[2], run_name="__main__")
"""
# What a program does to have its framework traced; the agents' script knows nothing of it.
TRACED: dict[str, tuple[str, tuple[str, ...], str]] = {
    "pydantic-ai": (
        "with_pydantic_ai.py",
        ("pydantic_ai",),
        READ
        + """
from pydantic_ai import Agent
from pydantic_ai.models.instrumented import InstrumentationSettings
Agent.instrument_all(InstrumentationSettings(tracer_provider=mine))
"""
        + PLAY,
    ),
    "logfire, set up after us": (
        "with_pydantic_ai.py",
        ("pydantic_ai", "logfire"),
        """
import os, runpy, sys
import tokenflation.sdk as tf
with tf.instrument(os.environ["STORE"]):
    import logfire
    logfire.configure(send_to_logfire=False, console=False)
    logfire.instrument_pydantic_ai()
    runpy.run_path(sys.argv[2], run_name="__main__")
""",
    ),
    "openai-agents with openinference": (
        "with_openai_agents.py",
        ("agents", "openinference.instrumentation.openai_agents"),
        READ
        + """
from openinference.instrumentation.openai_agents import OpenAIAgentsInstrumentor
OpenAIAgentsInstrumentor().instrument(tracer_provider=mine)
"""
        + PLAY,
    ),
    "langchain with openllmetry": (
        "with_langchain.py",
        ("langchain_openai", "opentelemetry.instrumentation.langchain"),
        READ
        + """
from opentelemetry.instrumentation.langchain import LangchainInstrumentor
LangchainInstrumentor().instrument(tracer_provider=mine)
"""
        + PLAY,
    ),
    "langchain with openinference": (
        "with_langchain.py",
        ("langchain_openai", "openinference.instrumentation.langchain"),
        READ
        + """
from openinference.instrumentation.langchain import LangChainInstrumentor
LangChainInstrumentor().instrument(tracer_provider=mine)
"""
        + PLAY,
    ),
}
# Their spans of agents are none around the requests, or are known for agents' when they have ended.
BY_WIRE = {"langchain with openinference"}
NAMES_OUTERMOST_ONLY = {"langchain with openllmetry"}
BY_TRACING = pytest.mark.parametrize("tracing", TRACED)


@pytest.fixture
def model() -> Iterator[Model]:
    with Model() as running:
        yield running


def need(*modules: str) -> None:
    """Skip the test where one of these is not installed."""
    for name in modules:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            found = None
        if found is None:
            pytest.skip(f"{name} is not installed: nox -s beside")


def run(script: str, store: Path, url: str, *arguments: str) -> None:
    quiet = {"OPENAI_API_KEY": "k", "LANGSMITH_TRACING": "false", "TRACELOOP_TELEMETRY": "false"}
    environment = os.environ | quiet | {"MODEL_URL": url, "STORE": str(store), "PYTHONPATH": str(AGENTS)}
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == 0, done.stderr


def play(tracing: str, scenario: str, model: Model, store: Path) -> None:
    script, modules, program = TRACED[tracing]
    need(*modules)
    run(program, store, model.url, scenario, str(AGENTS / script))
    assert model.problems == []


def rows(store: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(store)) as connection:
        return connection.execute(query).fetchall()


@BY_TRACING
def test_agents_inside_tools_have_their_depths_and_are_one_task(tracing: str, model: Model, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    play(tracing, "nested", model, store)
    found = rows(store, "SELECT depth, step FROM calls ORDER BY started_at_ns")
    assert found == [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (2, 1), (1, 2), (0, 1)]
    assert rows(store, "SELECT count(DISTINCT task_id), count(DISTINCT agent_run_id) FROM calls") == [(1, 4)]
    source = "wire" if tracing in BY_WIRE else "span"
    assert rows(store, "SELECT DISTINCT structure_source FROM calls") == [(source,)]


@BY_TRACING
def test_agents_have_the_names_that_their_spans_give(tracing: str, model: Model, tmp_path: Path) -> None:
    if tracing in BY_WIRE:
        pytest.skip("its spans tell what they are when they have ended")
    store = tmp_path / "runs.db"
    play(tracing, "nested", model, store)
    names = [name for (name,) in rows(store, "SELECT agent FROM calls GROUP BY depth ORDER BY depth")]
    known = 1 if tracing in NAMES_OUTERMOST_ONLY else 4
    assert names[:known] == ["assistant", "researcher", "reader", "checker"][:known]
    assert rows(store, "SELECT DISTINCT task FROM calls") == [("assistant",)]


@BY_TRACING
def test_each_tool_call_has_the_times_of_the_run_that_was_traced(tracing: str, model: Model, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    play(tracing, "tools", model, store)
    assert rows(
        store,
        "SELECT count(*), count(DISTINCT run_span_id), min(spans.name = tool_calls.name) FROM tool_calls"
        " JOIN spans ON span_id = run_span_id AND spans.kind = 'tool' AND spans.task_id = (SELECT task_id FROM calls)",
    ) == [(5, 5, 1)]
    assert rows(store, "SELECT count(*) FROM spans WHERE kind = 'tool'") == [(5,)]


@BY_TRACING
def test_the_same_tokens_are_counted_as_without_tracing(tracing: str, model: Model, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    play(tracing, "tools", model, store)
    answers = [one.answer for one in model.served if one.status == 200]
    assert rows(store, "SELECT count(*), sum(input_tokens), sum(output_tokens) FROM calls") == [
        (len(answers), sum(one.input_tokens for one in answers), sum(one.output_tokens for one in answers))
    ]


def test_two_tasks_at_once_stay_apart(model: Model, tmp_path: Path) -> None:
    store = tmp_path / "runs.db"
    play("openai-agents with openinference", "both", model, store)
    assert rows(store, "SELECT task, agent, depth, count(*) FROM calls GROUP BY task_id ORDER BY task") == [
        ("adviser", "adviser", 0, 3),
        ("assistant", "assistant", 0, 3),
    ]


TOOL_RUNNER = """
import os
import tokenflation.sdk as tf
with tf.instrument(os.environ["STORE"]):
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    trace.set_tracer_provider(TracerProvider())
    import anthropic

    @anthropic.beta_tool
    def search(query: str) -> str:
        '''Search the library.'''
        return "found"

    client = anthropic.Anthropic(base_url=os.environ["MODEL_URL"], api_key="k")
    say = [{"role": "user", "content": "Please. [[tool:search]]"}]
    for _ in client.beta.messages.tool_runner(model="m-1", max_tokens=9, tools=[search], messages=say):
        pass
"""


def test_anthropics_tool_runner_is_an_agent_run_with_its_tools(provider: Provider, tmp_path: Path) -> None:
    anthropic = pytest.importorskip("anthropic.lib._tracing", reason="this anthropic has no spans of its own")
    assert anthropic is not None
    store = tmp_path / "runs.db"
    run(TOOL_RUNNER, store, provider.url)
    assert rows(store, "SELECT step, depth, input_tokens, structure_source FROM calls ORDER BY step") == [
        (0, 0, 200, "span"),
        (1, 0, 200, "span"),
    ]
    assert rows(store, "SELECT kind, name FROM spans ORDER BY started_at_ns") == [
        ("agent", "anthropic.messages.tool_runner"),
        ("tool", "search"),
    ]
    assert rows(store, "SELECT count(*) FROM tool_calls WHERE run_span_id IS NOT NULL") == [(1,)]


DECORATED = """
import os
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import agent, task, tool, workflow
import openai
import tokenflation.sdk as tf

Traceloop.init(app_name="app", exporter=InMemorySpanExporter(), disable_batch=True, instruments=set())

@agent(name="reader")
def reader(): ask("read")

@tool(name="search")
def search(): reader()

@task(name="plan")
def plan(): ask("[[tool:search]]"); search()

@agent(name="planner")
def planner(): plan()

@workflow(name="triage")
def triage(): planner()

def ask(text):
    client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": text}])

with tf.instrument(os.environ["STORE"]):
    client = openai.OpenAI(base_url=os.environ["MODEL_URL"] + "/v1", api_key="k")
    triage()
"""


def test_openllmetrys_decorators_give_the_tree(provider: Provider, tmp_path: Path) -> None:
    need("traceloop.sdk")
    store = tmp_path / "runs.db"
    run(DECORATED, store, provider.url)
    assert rows(store, "SELECT task, agent, depth, inside_evidence FROM calls ORDER BY started_at_ns") == [
        ("triage", "planner", 0, None),
        ("triage", "reader", 1, "span"),
    ]
    assert rows(store, "SELECT kind, name FROM spans ORDER BY started_at_ns") == [
        ("task", "triage"),
        ("agent", "planner"),
        ("tool", "search"),
        ("agent", "reader"),
    ]
