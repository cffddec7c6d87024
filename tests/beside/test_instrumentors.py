"""Beside other instrumentation, in any mix and order: one call is one row, and its usage counts once.

Each needs the packages that `nox -s beside` installs, and is skipped without them.
"""

import importlib
import itertools
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


@contextmanager
def instrumented(table: dict[str, tuple[str, str]], names: Any, provider: TracerProvider) -> Iterator[None]:
    """Install these instrumentors in this order and take them off again in the same order."""
    found = []
    for name in names:
        module = pytest.importorskip(table[name][0], reason=f"{table[name][0]} is not installed: nox -s beside")
        found.append(getattr(module, table[name][1])())
    with ExitStack() as stack:
        for one in found:
            one.instrument(tracer_provider=provider)
        for one in reversed(found):
            stack.callback(one.uninstrument)
        yield


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
            assert counting == mine
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
            (openai.resources.chat.completions.Completions, "create"),
            (openai.OpenAI, "request"),
        )
        if name in owner.__dict__
    ]
    before = [owner.__dict__[name] for owner, name in places]
    mine = tf.instrument(store) if order == "before" else None
    theirs = ExitStack()
    theirs.enter_context(instrumented(OPENAI, OPENAI, tracer_provider))
    mine = mine or tf.instrument(store)
    for close in (mine.close, theirs.close) if first == "ours" else (theirs.close, mine.close):
        close()
    after = [owner.__dict__.get(name) for owner, name in places]
    assert [name for (_, name), a, b in zip(places, before, after, strict=True) if a is not b] == []


def test_logfire_beside_us_leaves_one_row(provider: Provider, store: Path, rows: Rows) -> None:
    logfire = pytest.importorskip("logfire", reason="logfire is not installed: nox -s beside")
    logfire.configure(send_to_logfire=False, console=False)
    with tf.instrument(store), openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        with logfire.instrument_openai(client):
            client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": "hi"}])
    (row,) = rows()
    assert tokens_of(row) == TOKENS


def test_langfuses_openai_client_beside_us_leaves_one_row(
    provider: Provider, store: Path, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("langfuse", reason="langfuse is not installed: nox -s beside")
    monkeypatch.setenv("LANGFUSE_TRACING_ENABLED", "false")
    wrapped = importlib.import_module("langfuse.openai")
    with tf.instrument(store), wrapped.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        client.chat.completions.create(model="m-1", messages=[{"role": "user", "content": "hi"}])
    (row,) = rows()
    assert tokens_of(row) == TOKENS
