"""Beside other instrumentation, in any mix and order: one call is one row, and its usage counts once.

Each needs the packages that `nox -s beside` installs, and is skipped without them.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.beside.conftest import TOKENS, Rows, foreign, ours, tokens_of
from tests.providers import Provider

import tokenflation.sdk as tf

# The others may use what is deprecated; this is about us.
pytestmark = pytest.mark.filterwarnings("default")

OPENAI = {
    "openinference": ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    "openllmetry": ("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),
    "otel": ("opentelemetry.instrumentation.openai_v2", "OpenAIInstrumentor"),
    "http": ("opentelemetry.instrumentation.httpx", "HTTPX2ClientInstrumentor"),
}
ANTHROPIC = {
    "openinference": ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
    "openllmetry": ("opentelemetry.instrumentation.anthropic", "AnthropicInstrumentor"),
    "http": OPENAI["http"],
}
GOOGLE = {
    "openinference": ("openinference.instrumentation.google_genai", "GoogleGenAIInstrumentor"),
    "http": OPENAI["http"],
}
MIXES = [mix for size in (1, 2, 4) for mix in itertools.combinations(OPENAI, size)]


# Its span is never the current one, so nothing tells that it stands for the request that leaves: two spans count.
NEVER_CURRENT = {("messages", "openllmetry")}


@pytest.fixture(autouse=True)
def the_others_leave_nothing() -> Iterator[None]:
    """Put back what instrumentors leave wrapped when they are taken off (OpenLLMetry's, OTel's: with or without us)."""
    owners = (
        openai.resources.chat.completions.Completions,
        openai.resources.chat.completions.AsyncCompletions,
        anthropic.resources.messages.Messages,
        genai.models.Models,
    )
    before = [dict(owner.__dict__) for owner in owners]
    yield
    for owner, attributes in zip(owners, before, strict=True):
        for name, value in attributes.items():
            if owner.__dict__[name] is not value:
                setattr(owner, name, value)


@contextmanager
def instrumented(table: dict[str, tuple[str, str]], names: Any, provider: TracerProvider) -> Iterator[None]:
    """Install these instrumentors in this order and take them off again, the last one first."""
    found = [instrumentor(table, name) for name in names]
    with ExitStack() as stack:
        for one in found:
            stack.callback(one.uninstrument)
            one.instrument(tracer_provider=provider)
        yield


def instrumentor(table: dict[str, tuple[str, str]], name: str) -> Any:
    """Return an instrumentor; skips the test where its package is not installed."""
    module = pytest.importorskip(table[name][0], reason=f"{table[name][0]} is not installed: nox -s beside")
    return getattr(module, table[name][1])()


def chat(provider: Provider) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": "hi"}])


def chat_stream(provider: Provider) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        options: Any = {"stream": True, "stream_options": {"include_usage": True}}
        for _ in client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": "hi"}], **options):
            pass


def messages(provider: Provider) -> None:
    with anthropic.Anthropic(base_url=provider.url, api_key="k") as client:
        client.messages.create(model="m-1", max_tokens=9, messages=[{"role": "user", "content": "hi"}])


def gemini(provider: Provider) -> None:
    with genai.Client(api_key="k", http_options={"base_url": provider.url}) as client:
        client.models.generate_content(model="m-1", contents="hi")


CALLS: list[tuple[Callable[[Provider], None], dict[str, tuple[str, str]]]] = [
    (chat, OPENAI),
    (chat_stream, OPENAI),
    (messages, ANTHROPIC),
    (gemini, GOOGLE),
]
BY_CALL = pytest.mark.parametrize(("call", "table"), CALLS, ids=lambda value: getattr(value, "__name__", ""))


@pytest.mark.parametrize("mix", MIXES, ids="+".join)
def test_a_call_is_one_row_beside_any_mix_of_instrumentors(
    mix: tuple[str, ...], provider: Provider, store: Path, rows: Rows, tracer_provider: TracerProvider,
    exporter: InMemorySpanExporter
) -> None:  # fmt: skip
    with instrumented(OPENAI, mix, tracer_provider), tf.instrument(store):
        chat(provider)
        chat_stream(provider)
    assert [tokens_of(row) for row in rows()] == [TOKENS, TOKENS]
    assert len(exporter.get_finished_spans()) >= 2 * len(mix), "the others saw the calls too"


@BY_CALL
@pytest.mark.parametrize("order", ["before", "after"])
def test_installed_before_or_after_the_others_the_row_is_the_same(
    order: str, call: Any, table: Any, provider: Provider, store: Path, rows: Rows, tracer_provider: TracerProvider
) -> None:
    with ExitStack() as stack:
        if order == "before":
            stack.enter_context(tf.instrument(store))
        stack.enter_context(instrumented(table, table, tracer_provider))
        if order == "after":
            stack.enter_context(tf.instrument(store))
        call(provider)
    (row,) = rows()
    assert tokens_of(row) == TOKENS


@BY_CALL
def test_in_the_users_provider_a_call_counts_once(
    call: Any, table: Any, provider: Provider, store: Path, rows: Rows, tracer_provider: TracerProvider,
    exporter: InMemorySpanExporter
) -> None:  # fmt: skip
    for name in table:
        exporter.clear()
        with instrumented(table, [name], tracer_provider), tf.instrument(store, tracer_provider=tracer_provider):
            call(provider)
        spans = exporter.get_finished_spans()
        counting = [span for span in spans if "gen_ai.usage.input_tokens" in (span.attributes or {})]
        mine = ours(spans)
        assert len(mine) == 1
        if name == "http":
            assert len(counting) == 1
        elif (call.__name__, name) in NEVER_CURRENT:
            assert len(counting) == 2
        else:
            assert not [key for key in mine[0].attributes or {} if key.startswith("gen_ai.")], name
            assert mine[0].parent is not None
            assert mine[0].parent.span_id in {one.context.span_id for one in foreign(spans) if one.context}
    assert [tokens_of(row) for row in rows()] == [TOKENS] * len(table)


@pytest.mark.parametrize("first", ["ours", "theirs"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_taken_off_in_either_order_the_classes_are_as_they_were(
    first: str, order: str, store: Path, tracer_provider: TracerProvider
) -> None:
    places = [
        (owner, name)
        for owner, name in (
            (httpx2.Client, "_send_single_request"),
            (httpx2.AsyncClient, "_send_single_request"),
            (httpx2.HTTPTransport, "handle_request"),
        )
        if name in owner.__dict__
    ]
    before = [owner.__dict__[name] for owner, name in places]
    for name in OPENAI:
        instrumentor(OPENAI, name)  # a skip must come before anything of ours is installed
    mine = tf.instrument(store) if order == "before" else None
    theirs = ExitStack()
    theirs.enter_context(instrumented(OPENAI, OPENAI, tracer_provider))
    mine = mine or tf.instrument(store)
    closing = [mine.close, theirs.close]
    for close in closing if first == "ours" else reversed(closing):
        close()
    after = [owner.__dict__.get(name) for owner, name in places]
    assert [name for (_, name), a, b in zip(places, before, after, strict=True) if a is not b] == []


WHOLE_PROGRAMS = {
    "logfire": """
import logfire, openai
logfire.configure(send_to_logfire=False, console=False)
client = openai.OpenAI(base_url=url, api_key="k")
logfire.instrument_openai(client)
logfire.instrument_httpx()
""",
    "langfuse": """
from langfuse.openai import OpenAI
client = OpenAI(base_url=url, api_key="k")
""",
}


@pytest.mark.parametrize("library", WHOLE_PROGRAMS)
def test_beside_a_library_that_takes_over_the_process_a_call_is_one_row(
    library: str, provider: Provider, store: Path, rows: Rows
) -> None:
    pytest.importorskip(library, reason=f"{library} is not installed: nox -s beside")
    script = f"""
import sys
url = sys.argv[2]
{WHOLE_PROGRAMS[library]}
import tokenflation.sdk as tf
with tf.instrument(sys.argv[1]):
    client.chat.completions.create(model="m-1", messages=[{{"role": "user", "content": "hi"}}])
"""
    environment = os.environ | {"LANGFUSE_TRACING_ENABLED": "false"}
    command = [sys.executable, "-c", script, str(store), provider.openai_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    (row,) = rows()
    assert tokens_of(row) == TOKENS
