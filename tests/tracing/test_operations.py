"""Spans are named by what was asked of the model, in the words of the conventions."""

from pathlib import Path

import httpx
import openai
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from tests.recording.scripted import Scripted, as_json

import tokenflation.sdk as tf

_COUNTED = {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}}
_EMBEDDED = {"object": "list", "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}], "model": "m"}
_WRITTEN = {"id": "c-1", "object": "text_completion", "model": "m", "choices": [{"text": "a", "finish_reason": "stop"}]}
_OLLAMA = {"model": "m", "response": "a", "done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2}


def _asked(url: str) -> None:
    with openai.OpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        client.embeddings.create(model="m", input="hi", encoding_format="float")
        client.completions.create(model="m", prompt="hi")
    httpx.post(f"{url}/api/generate", json={"model": "m", "prompt": "hi", "stream": False})
    httpx.post(f"{url}/api/embed", json={"model": "m", "input": "hi"})


def test_embeddings_and_plain_completions_are_no_chats(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    answers = [{**_EMBEDDED, **_COUNTED}, {**_WRITTEN, **_COUNTED}, _OLLAMA, {"model": "m", "embeddings": [[0.5]]}]
    with (
        tf.instrument(tmp_path / "runs.db", span_exporter=exporter),
        Scripted(*map(as_json, answers)) as server,
    ):
        _asked(server.url)
    found = [(span.name, (span.attributes or {})["gen_ai.operation.name"]) for span in exporter.get_finished_spans()]
    asked = ["embeddings", "text_completion", "text_completion", "embeddings"]
    assert found == [(f"{operation} m", operation) for operation in asked]
