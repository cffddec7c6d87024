"""Model endpoints are known by method and path, on any host."""

import json
from typing import Any

import pytest

from tokenflation.sdk.wire import ExchangeBytes, provider_of, read, recognise
from tokenflation.sdk.wire.endpoints import recognise as recognising

USAGE = {"prompt_tokens": 20, "completion_tokens": 9, "total_tokens": 29}


@pytest.mark.parametrize(
    ("path", "api"),
    [
        ("/v1/chat/completions", "openai.chat"),
        ("/chat/completions", "openai.chat"),
        ("/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21", "openai.chat"),
        ("/v1beta/openai/chat/completions", "openai.chat"),
        ("/v1/responses", "openai.responses"),
        ("/openai/v1/responses?api-version=preview", "openai.responses"),
        ("/v1/messages", "anthropic.messages"),
        ("/v1/messages?beta=true", "anthropic.messages"),
        (
            "/v1/projects/p/locations/l/publishers/anthropic/models/claude-x@1:streamRawPredict",
            "anthropic.messages",
        ),
        ("/v1beta/models/gemini-x:streamGenerateContent?alt=sse", "google.generate_content"),
        ("/v1/projects/p/locations/l/publishers/google/models/g:generateContent", "google.generate_content"),
        ("/v1/projects/p/locations/l/publishers/google/models/e:predict", "google.predict"),
        ("/v1beta/models/e:batchEmbedContents", "google.embed"),
        ("/v1beta/interactions", "google.interactions"),
        ("/v1/publishers/mistralai/models/m:rawPredict", "openai.chat"),
        ("/v1/agents/completions", "openai.chat"),
        ("/v1/fim/completions", "openai.completions"),
        ("/v1/completions", "openai.completions"),
        ("/v1/embeddings", "openai.embeddings"),
        ("/v1/images/generations", "openai.images"),
        ("/api/v1/images", "openai.images"),
        ("/api/v1/image/generate", "openai.images"),
        ("/v1/audio/transcriptions", "openai.transcriptions"),
        ("/v1/audio/speech", "openai.speech"),
        ("/v1/threads/thread_1/runs", "openai.assistants.run"),
        ("/v1/threads/runs", "openai.assistants.run"),
        ("/v1/threads/t/runs/r/submit_tool_outputs", "openai.assistants.run.retrieve"),
        ("/v1/responses/compact", "openai.responses.compact"),
        ("/v1/decisions", "openai.decisions"),
        ("/v1/responses/resp_1/cancel", "openai.responses.retrieve"),
        ("/model/anthropic.claude-v2:1/converse", "bedrock.converse"),
        ("/model/anthropic.claude-v2%3A1/converse-stream", "bedrock.converse"),
        ("/model/arn:aws:bedrock:us-east-1:1:application-inference-profile/x/invoke", "bedrock.invoke"),
        ("/model/m/invoke-with-response-stream", "bedrock.invoke"),
        ("/models/HuggingFaceH4/zephyr-7b-beta", "huggingface.generate"),
        ("/hf-inference/models/gpt2", "huggingface.generate"),
        ("/api/v1/services/aigc/text-generation/generation", "dashscope.generation"),
        ("/api/v1/services/aigc/multimodal-generation/generation", "dashscope.generation"),
        ("/api/v1/services/embeddings/text-embedding/text-embedding", "dashscope.embed"),
        ("/api/v1/services/rerank/text-rerank/text-rerank", "dashscope.embed"),
        ("/v1/text/chatcompletion_v2", "openai.chat"),
        ("/serving-endpoints/m/invocations", "invocations"),
        ("/api/chat", "ollama.chat"),
        ("/api/generate", "ollama.generate"),
        ("/api/embed", "ollama.embed"),
        ("/v2/chat", "cohere.chat"),
        ("/v2/embed", "cohere.embed"),
        ("/v2/rerank", "cohere.rerank"),
        ("/v1/summarize", "cohere.summarize"),
        ("/v1beta/cachedContents", "google.cached_contents"),
        ("/v1beta/models/imagen-x:predict", "google.predict"),
        ("/endpoints/e/invocations-response-stream", "invocations"),
        ("/ocid1.datasciencemodeldeployment.oc1.iad.x/predictWithResponseStream", "invocations"),
        ("/v1/systemone", "openai.decisions"),
        ("/v1/models/o/m/predictions", "replicate.predictions"),
    ],
)
def test_a_model_endpoint_is_known_by_its_path(path: str, api: str) -> None:
    assert recognise("POST", path) == api


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("POST", "/v1/messages/count_tokens"),
        ("POST", "/search?next=/v1/chat/completions"),
        ("POST", "/v1/publishers/meta/models/m:rawPredict"),
        ("POST", "/v1/responses/input_tokens"),
        ("POST", "/v1beta/models/gemini-x:countTokens"),
        ("POST", "/model/m/count-tokens"),
        ("POST", "/v1/fine_tuning/jobs"),
        ("POST", "/v1/moderations"),
        ("POST", "/v1/realtime/client_secrets"),
        ("POST", "/v1/threads/t/runs/run_1"),
        ("POST", "/knowledgebases/k/retrieve"),
        ("POST", "/api/v1/presets/p/chat/completions"),
        ("POST", "/api/v1/presets/p/responses"),
        ("POST", "/lambda/text"),
        ("GET", "/v1/responses/resp_1/input_items"),
        ("GET", "/v1/threads/t/runs/r/steps"),
        ("GET", "/responses/"),
        ("POST", "/lambda/invoke"),
        ("POST", "/v1/models/m:predict"),
        ("DELETE", "/v1/responses/resp_1"),
        ("POST", ""),
        ("POST", "/v1/traces"),
        ("POST", "/api/"),
        ("POST", "/client/v4/accounts/a/dns_records"),
        ("POST", "/v1/a/g/compat/other"),
        ("POST", "/pay/message"),
    ],
)
def test_other_traffic_is_not_touched(method: str, path: str) -> None:
    assert recognise(method, path) is None


@pytest.mark.parametrize(
    "body", [b'{"answers": ["yes"]}', b'{"input": 7, "model": "m"}', b"[1]", b"q=1&r=2", b'{"input": "x"}']
)
def test_a_survey_posted_to_responses_is_no_model_request(body: bytes) -> None:
    view = ExchangeBytes(api="openai.responses", path="/survey/responses", request_body=body, status_code=200)

    assert read(view, key=b"k") is None


def test_a_response_of_an_agent_that_names_no_model_is_a_call() -> None:
    body = b'{"input": "hi", "agent_reference": {"name": "a", "type": "agent_reference"}}'

    reading = read(ExchangeBytes(api="openai.responses", request_body=body, status_code=200), key=b"k")

    assert reading is not None
    assert reading.model is None


def test_fetching_a_stored_response_adds_nothing() -> None:
    stored = b'{"id":"resp_1","status":"completed","usage":{"input_tokens":9,"output_tokens":9}}'
    view = ExchangeBytes(
        api="openai.responses", method="GET", path="/v1/responses/resp_1", status_code=200, chunks=[(1, stored)]
    )

    assert read(view, key=b"k") is None


def test_a_request_whose_body_was_not_kept_is_judged_by_its_answer() -> None:
    answer = b'{"id":"c1","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}'
    lost = ExchangeBytes(api="openai.chat", status_code=200, chunks=[(1, answer)])
    other = ExchangeBytes(api="openai.chat", status_code=200, chunks=[(1, b'{"ok":true}')])

    reading = read(lost, key=b"k")

    assert reading is not None
    assert reading.usage.input_tokens == 3
    assert read(other, key=b"k") is None


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("api.openai.com:443", "openai"),
        ("myown.openai.azure.com", "azure.ai.openai"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("aiplatform.eu.rep.googleapis.com", "gcp.vertex_ai"),
        ("europe-west1-aiplatform.mtls.googleapis.com", "gcp.vertex_ai"),
        ("12.us-central1-34.prediction.vertexai.goog", "gcp.vertex_ai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("generativelanguage.mtls.googleapis.com", "gcp.gemini"),
        ("storage.googleapis.com", "openai_compatible"),
        ("w1.ap-southeast-1.maas.aliyuncs.com", "alibaba_cloud"),
        ("ap-south-1.aws.wxai.ibm.com", "ibm.watsonx.ai"),
        ("ai.api.nvidia.com", "nvidia"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("bedrock-mantle.us-east-1.api.aws", "aws.bedrock"),
        ("aws-external-anthropic.us-east-1.api.aws", "anthropic"),
        ("claude.googleapis.com", "anthropic"),
        ("127.0.0.1:8000", "openai_compatible"),
        ("[::1]:8000", "openai_compatible"),
        ("notopenai.com", "openai_compatible"),
        ("", "openai_compatible"),
    ],
)
def test_the_provider_is_named_by_the_host(host: str, provider: str) -> None:
    assert provider_of(host, "openai_compatible") == provider


def test_paths_that_hold_an_id_are_recognised_however_many_there_are_and_none_is_kept_with_its_query() -> None:
    for number in range(600):
        assert recognise("POST", f"/v1/threads/thread_{number}/runs?key=secret") == "openai.assistants.run"
        assert recognise("POST", f"/v1/weather/{number}") is None
    assert len(recognising._known) <= 256
    assert "/v1/threads/thread_599/runs" in recognising._known
    assert not any("?" in path for path in recognising._known)


@pytest.mark.parametrize(
    ("request_body", "answer", "is_call"),
    [
        pytest.param(b'{"messages": [{"content": "hi"},]}', {"id": "c", "usage": USAGE}, True, id="counted"),
        pytest.param(b'{"messages": [{"content": "hi"},]}', {"id": "c", "choices": []}, False, id="not counted"),
        pytest.param(b"name=A&note=hi", {"id": "c", "usage": USAGE}, False, id="a form"),
    ],
)
def test_a_request_of_broken_json_is_a_call_if_the_answer_counts_tokens(
    request_body: bytes, answer: dict[str, Any], is_call: bool
) -> None:
    chunks = [(0, json.dumps(answer).encode())]
    view = ExchangeBytes(
        api="openai.chat", host="gateway.test", status_code=200, request_body=request_body, chunks=chunks, end="read"
    )
    reading = read(view, key=b"key")
    assert (reading is not None and reading.usage.input_tokens == 20) is is_call
    assert is_call or reading is None
