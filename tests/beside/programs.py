"""What traced programs do, for the importers' tests: real clients ask the local provider, real tracers write it down.

Run as `python programs.py TRACER PROVIDER_URL FILE`: TRACER is one of `TRACERS`, and FILE gets what it exports.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

CACHED = "[[input:1350]] [[cached:1000]] [[written:300]]"


def ask_openai(client: Any) -> None:
    """Ask in every way that tracers see: at once, streamed, by responses, refused, and without usage in the answer."""
    create = client.chat.completions.create
    create(model="m-1", messages=_say("hi [[tool:search]]"))
    for _ in create(
        model="m-1", stream=True, stream_options={"include_usage": True}, messages=_say("hi [[input:300]]")
    ):
        pass
    client.responses.create(model="m-2", input="hi [[input:400]]")
    with suppress(importlib.import_module("openai").APIStatusError):
        create(model="m-1", messages=_say("hi [[status:503]]"))
    create(model="m-1", messages=_say("hi [[usage:none]]"))


def ask_anthropic(client: Any) -> None:
    client.messages.create(model="m-3", max_tokens=9, messages=_say(f"hi {CACHED}"))
    for _ in client.messages.create(model="m-3", max_tokens=9, stream=True, messages=_say(f"streamed {CACHED}")):
        pass


def _say(text: str) -> Any:
    return [{"role": "user", "content": text}]


def _clients(url: str) -> tuple[Any, Any]:
    import anthropic
    import openai

    made = openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0)
    return made, anthropic.Anthropic(base_url=url, api_key="k", max_retries=0)


def _file_processor(path: str) -> Any:
    from opentelemetry.exporter.otlp.json.file import FileSpanExporter
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor

    return SimpleSpanProcessor(FileSpanExporter(path))


def _by_instrumentors(*names: tuple[str, str]) -> Callable[[str, str], None]:
    def play(url: str, path: str) -> None:
        from opentelemetry.sdk.trace import TracerProvider

        mine = TracerProvider()
        mine.add_span_processor(_file_processor(path))
        for module, name in names:
            getattr(importlib.import_module(module), name)().instrument(tracer_provider=mine)
        openai_client, anthropic_client = _clients(url)
        ask_openai(openai_client)
        if any("anthropic" in module for module, _ in names):
            ask_anthropic(anthropic_client)

    return play


def _native(url: str, path: str) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    mine = TracerProvider()
    mine.add_span_processor(_file_processor(path))
    trace.set_tracer_provider(mine)
    ask_anthropic(_clients(url)[1])


def _logfire(url: str, path: str) -> None:
    import logfire

    logfire.configure(send_to_logfire=False, console=False, additional_span_processors=[_file_processor(path)])
    logfire.instrument_openai()
    logfire.instrument_anthropic()
    openai_client, anthropic_client = _clients(url)
    ask_openai(openai_client)
    ask_anthropic(anthropic_client)


def _langfuse(url: str, path: str) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    mine = TracerProvider()
    mine.add_span_processor(_file_processor(path))
    import langfuse
    from langfuse.openai import OpenAI

    langfuse.Langfuse(tracer_provider=mine, public_key="p", secret_key="s", host="http://127.0.0.1:9")
    langfuse.observe(as_type="agent", name="planner")(
        lambda: ask_openai(OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0))
    )()
    sys.stdout.flush()
    os._exit(0)  # its own exporter would wait for a server that is not there


def _langsmith(url: str, path: str) -> None:
    """Let the client write its runs to a file in place of a server: what it sends is what `list_runs` gives back."""
    import langsmith
    from langsmith.wrappers import wrap_anthropic, wrap_openai

    runs: dict[str, dict[str, Any]] = {}

    class Kept(langsmith.Client):
        def create_run(self, name: str, inputs: Any, run_type: Any, **more: Any) -> None:
            runs.setdefault(str(more["id"]), {}).update({**more, "name": name, "run_type": run_type})

        def update_run(self, run_id: Any, **more: Any) -> None:
            runs[str(run_id)].update({key: value for key, value in more.items() if value is not None})

    kept = Kept(api_url="http://127.0.0.1:9", api_key="k", auto_batch_tracing=False)
    openai_client, anthropic_client = _clients(url)

    @langsmith.traceable(run_type="chain", name="triage", client=kept)
    def triage() -> None:
        extra: Any = {"client": kept}
        ask_openai(wrap_openai(openai_client, tracing_extra=extra))
        # Not streamed: langsmith 0.14 fails on the events of anthropic 2.
        wrapped = wrap_anthropic(anthropic_client, tracing_extra=extra)
        wrapped.messages.create(model="m-3", max_tokens=9, messages=_say(f"hi {CACHED}"))

    triage()
    with open(path, "w") as file:
        file.writelines(json.dumps(run, default=str) + "\n" for run in _ended(runs))


def _ended(runs: dict[str, dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for run_id, run in runs.items():
        yield {
            **run,
            "id": run_id,
            "start_time": run["start_time"].isoformat(),
            "end_time": run["end_time"].isoformat(),
        }


def _mlflow(url: str, path: str) -> None:
    import mlflow

    mlflow.set_tracking_uri(f"file://{path}.runs")
    mlflow.openai.autolog()
    mlflow.anthropic.autolog()
    openai_client, anthropic_client = _clients(url)

    def planner() -> None:
        ask_openai(openai_client)
        anthropic_client.messages.create(model="m-3", max_tokens=9, messages=_say(f"hi {CACHED}"))

    mlflow.trace(planner, span_type="AGENT", name="planner")()
    mlflow.flush_trace_async_logging()
    with open(path, "w") as file:
        json.dump([one.to_dict() for one in mlflow.search_traces(return_type="list")], file, default=str)


OPENINFERENCE = (
    ("openinference.instrumentation.openai", "OpenAIInstrumentor"),
    ("openinference.instrumentation.anthropic", "AnthropicInstrumentor"),
)
OPENLLMETRY = (("opentelemetry.instrumentation.openai", "OpenAIInstrumentor"),)
TRACERS: dict[str, tuple[tuple[str, ...], Callable[[str, str], None]]] = {
    "openinference": (("openinference.instrumentation.openai",), _by_instrumentors(*OPENINFERENCE)),
    "openllmetry": (("opentelemetry.instrumentation.openai",), _by_instrumentors(*OPENLLMETRY)),
    "both": (
        ("openinference.instrumentation.openai", "opentelemetry.instrumentation.openai"),
        _by_instrumentors(OPENINFERENCE[0], *OPENLLMETRY),
    ),
    "anthropic itself": (("anthropic.lib._tracing",), _native),
    "logfire": (("logfire",), _logfire),
    "langfuse": (("langfuse",), _langfuse),
    "langsmith": (("langsmith",), _langsmith),
    "mlflow": (("mlflow",), _mlflow),
}
"""Name -> the modules it needs, and what plays it."""

if __name__ == "__main__":
    TRACERS[sys.argv[1]][1](*sys.argv[2:4])
