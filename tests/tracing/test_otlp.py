"""Spans leave by the standard OTLP exporter, over real HTTP."""

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.providers import Provider

SCRIPT = """
import sys, httpx
import tokenflation.sdk as tf
with tf.task("triage"), tf.agent("planner"), httpx.Client() as client:
    client.post(sys.argv[1] + "/chat/completions", json={"model": "m", "messages": [{"role": "user", "content": "hi"}]})
"""


class _Collector(HTTPServer):
    spans: list[Span]


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            import gzip

            body = gzip.decompress(body)
        request = ExportTraceServiceRequest.FromString(body)
        assert isinstance(self.server, _Collector)
        self.server.spans += [
            span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans
        ]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


@pytest.fixture
def collector() -> Iterator[_Collector]:
    server = _Collector(("127.0.0.1", 0), _Handler)
    server.spans = []
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_run_sends_its_spans_to_an_otlp_endpoint(provider: Provider, collector: _Collector, tmp_path: Path) -> None:
    script = tmp_path / "agent.py"
    script.write_text(SCRIPT)
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
    arguments = ["run", "--store", str(tmp_path / "runs.db"), "--otlp", endpoint, str(script), provider.openai_url]
    command = [sys.executable, "-c", "from tokenflation.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {span.name for span in collector.spans} == {"chat m", "invoke_agent planner", "invoke_workflow triage"}
    (chat,) = [span for span in collector.spans if span.name == "chat m"]
    counts = {one.key: one.value.int_value for one in chat.attributes if one.key.startswith("gen_ai.usage.")}
    assert counts["gen_ai.usage.input_tokens"] == 200
    assert counts["gen_ai.usage.output_tokens"] == 150


def test_a_program_that_never_closes_has_its_spans_exported(provider: Provider, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import httpx
            import tokenflation.sdk as tf
            from opentelemetry.sdk.trace.export import ConsoleSpanExporter

            tf.instrument({str(tmp_path / "runs.db")!r}, span_exporter=ConsoleSpanExporter())
            with tf.task("triage"):
                body = {{"model": "m-1", "messages": [{{"role": "user", "content": "hi"}}]}}
                httpx.post({provider.openai_url + "/chat/completions"!r}, json=body)
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert "chat m-1" in done.stdout
    assert "invoke_workflow triage" in done.stdout


def test_forks_that_end_without_exit_handlers_have_their_spans_sent(
    provider: Provider, collector: _Collector, tmp_path: Path
) -> None:
    script = tmp_path / "forks.py"
    script.write_text(
        textwrap.dedent(
            """
            import multiprocessing, sys, httpx
            def ask(name):
                body = {"model": name, "messages": [{"role": "user", "content": name}]}
                httpx.post(sys.argv[1] + "/chat/completions", json=body)
            ask("parent")
            forks = [multiprocessing.get_context("fork").Process(target=ask, args=(f"fork-{n}",)) for n in range(3)]
            for fork in forks:  # one by one: each has but a moment to send, however busy the machine is
                fork.start()
                fork.join()
            """
        )
    )
    endpoint = f"http://127.0.0.1:{collector.server_address[1]}/v1/traces"
    arguments = ["run", "--store", str(tmp_path / "runs.db"), "--otlp", endpoint, str(script), provider.openai_url]
    command = [sys.executable, "-c", "from tokenflation.cli import main; main()", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert sorted(span.name for span in collector.spans) == ["chat fork-0", "chat fork-1", "chat fork-2", "chat parent"]
