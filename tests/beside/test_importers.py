"""What real tracers and clients export of real calls, imported: token for token what the provider said.

Each needs packages that `nox -s beside` installs (`mlflow-skinny`, `langsmith`, the exporter that writes OTLP to a
file), and is skipped without them.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.beside.programs import TRACERS
from tests.beside.test_frameworks_spans import TRACED, need
from tests.frameworks.server import Model
from tests.importers.spans import rows
from tests.providers import Provider

from tokenflation.sdk.importers import import_paths

PROGRAMS = Path(__file__).with_name("programs.py")
EXPORTER = "opentelemetry.exporter.otlp.json.file"
QUIET = {
    "OPENAI_API_KEY": "k", "LANGSMITH_TRACING": "true", "TRACELOOP_TELEMETRY": "false", "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}  # fmt: skip


def run(*arguments: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=180, check=False,
        env=os.environ | QUIET | environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tracer", TRACERS)
def test_a_tracers_file_has_the_tokens_that_the_provider_said(tracer: str, provider: Provider, tmp_path: Path) -> None:
    modules = TRACERS[tracer][0]
    need(*modules, *(() if tracer in ("langsmith", "mlflow") else (EXPORTER,)))
    file, store = tmp_path / "traces.jsonl", tmp_path / "runs.db"
    run(str(PROGRAMS), tracer, provider.url, str(file))
    summary = import_paths([file], store)
    assert summary.problems == ()
    said = [one.usage or {} for one in provider.requests]
    assert rows(store, "input_tokens, output_tokens") == [(one.get("input"), one.get("output")) for one in said]
    assert rows(store, "status") == [("ok" if one.status == 200 else "error",) for one in provider.requests]
    cached = [(found, one.get("cached")) for (found,), one in zip(rows(store, "cache_read_tokens"), said, strict=True)]
    assert all(found in (None, given) for found, given in cached)
    assert sum(found is not None for found, _ in cached) >= 2
    assert import_paths([file], store).calls == 0


WRITE = """
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.exporter.otlp.json.file import FileSpanExporter
"""
FRAMEWORKS = {name: one for name, one in TRACED.items() if "logfire" not in name}


@pytest.mark.parametrize("tracing", FRAMEWORKS)
def test_a_frameworks_spans_give_the_tree_and_every_token(tracing: str, tmp_path: Path) -> None:
    script, modules, program = FRAMEWORKS[tracing]
    need(*modules, EXPORTER)
    program = program.replace("mine.add_span_processor(tf.span_processor())", f"""{WRITE}
mine.add_span_processor(SimpleSpanProcessor(FileSpanExporter(os.environ["STORE"])))""")  # fmt: skip
    program = program.replace('with tf.instrument(os.environ["STORE"]):\n    ', "")
    agents = Path(__file__).parents[1] / "frameworks" / "agents"
    file, store = tmp_path / "traces.jsonl", tmp_path / "runs.db"
    with Model() as model:
        run("-c", program, "nested", str(agents / script), MODEL_URL=model.url, STORE=str(file), PYTHONPATH=str(agents),
            LANGSMITH_TRACING="false")  # fmt: skip
    import_paths([file], store)
    answers = [one.answer for one in model.served if one.status == 200]
    assert rows(store, "input_tokens, output_tokens") == [(one.input_tokens, one.output_tokens) for one in answers]
    assert rows(store, "task, depth, step") == [
        ("assistant", depth, step)
        for depth, step in [(0, 0), (1, 0), (1, 1), (2, 0), (3, 0), (3, 1), (2, 1), (1, 2), (0, 1)]
    ]
    names = ["assistant", "researcher", "reader", "checker"]
    assert rows(store, "DISTINCT depth, agent") == list(enumerate(names))
    assert rows(store, "sum(executed)", "tool_calls") == [(5,)]
