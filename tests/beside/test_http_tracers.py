"""Beside tracers of HTTP libraries and of threads: the host's own spans are as they are without us, in any order.

Each needs the packages that `nox -s beside` installs, and is skipped without them.
"""

import subprocess
import sys
from pathlib import Path

import httpx2
import openai
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.beside.conftest import Rows
from tests.providers import Provider

import tokenflation.sdk as tf

pytestmark = pytest.mark.filterwarnings("default")

REFUSED_TWICE = [{"role": "user", "content": "hi [[status:429x2]]"}]


class Retrying(httpx2.HTTPTransport):
    """A transport as hosts write them."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        for _ in range(2):
            response = super().handle_request(request)
            if response.status_code != 429:
                return response
            response.close()
        return super().handle_request(request)


def ask(provider: Provider) -> None:
    with (
        httpx2.Client(transport=Retrying()) as inner,
        openai.OpenAI(base_url=provider.openai_url, api_key="k", max_retries=0, http_client=inner) as client,
    ):
        client.chat.completions.create(model="m-1", messages=REFUSED_TWICE)  # type: ignore[arg-type]


# What is done in turn: the tracer of httpx2 is switched on and off, so are we, and the host asks.
ORDERS = {
    "off under ours": ["on", "ours", "ask", "off", "ask", "close", "ask"],
    "off above ours": ["ours", "on", "ask", "off", "ask", "close", "ask"],
    "off and on again under ours": ["on", "ours", "ask", "off", "on", "ask", "off", "close", "ask"],
    "ours off first": ["ours", "ask", "on", "ask", "close", "ask", "off", "ask"],
}


@pytest.mark.parametrize("order", ORDERS)
def test_a_tracer_sees_each_try_of_a_hosts_transport_once_while_it_is_on(
    order: str, store: Path, rows: Rows, tracer_provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    httpx = pytest.importorskip("opentelemetry.instrumentation.httpx", reason="not installed: nox -s beside")
    theirs, on, recorded = httpx.HTTPX2ClientInstrumentor(), False, 0
    for step in ORDERS[order]:
        if step == "on":
            theirs.instrument(tracer_provider=tracer_provider)
        elif step == "off":
            theirs.uninstrument()
        elif step == "ours":
            tf.instrument(store)
        elif step == "close" and (handle := tf.active()) is not None:
            handle.close()
        elif step == "ask":
            exporter.clear()
            with Provider() as provider:
                ask(provider)
            assert len(exporter.get_finished_spans()) == (3 if on else 0), (step, on)
            recorded += tf.active() is not None
        on = step == "on" or (on and step != "off")
    assert [(row["attempts"], row["input_tokens"]) for row in rows()] == [(3, 200)] * recorded


SENTRY = """
import sys, threading
import openai
import sentry_sdk
import tokenflation.sdk as tf
store, url, order = sys.argv[1:]

def ask():
    openai.OpenAI(base_url=url, api_key="k").chat.completions.create(
        model="m-1", messages=[{"role": "user", "content": threading.current_thread().name}])

def switch_on():
    sentry_sdk.init(dsn="http://k@127.0.0.1:9/1", traces_sample_rate=1.0, transport=lambda event: None)

if order == "before":
    switch_on()
with tf.instrument(store), tf.task("triage"):
    if order == "after":
        switch_on()
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


@pytest.mark.parametrize("order", ["before", "after"])
def test_threads_that_sentry_watches_do_their_work_inside_the_scope(
    order: str, provider: Provider, store: Path, rows: Rows
) -> None:
    pytest.importorskip("sentry_sdk", reason="sentry_sdk is not installed: nox -s beside")
    command = [sys.executable, "-c", SENTRY, str(store), provider.openai_url, order]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert [(row["task"], row["input_tokens"], row["attempts"]) for row in rows()] == [("triage", 200, 1)] * 2
