"""Requests that put models to work and are not read: at their provider they have a name, elsewhere they are nothing."""

import pytest

from tokenflation.sdk.wire import UNREAD, ExchangeBytes, read, recognise, unread_name
from tokenflation.sdk.wire.dialects import DIALECTS
from tokenflation.sdk.wire.endpoints.recognise import _GET, _NAMED, _POST

_AGENTS = "bedrock-agent-runtime.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("api.openai.com", "/v1/agents/sessions", "openai.agents"),
        ("api.openai.com", "/v1/agents/sessions/s/events", "openai.agents"),
        ("api.openai.com", "/v1/chatkit/sessions", "openai.agents"),
        ("api.openai.com", "/v1/agents/automations/a/invocations", "openai.agents"),
        ("api.openai.com", "/v1/batches", "openai.batches"),
        ("acme.openai.azure.com", "/openai/v1/batches", "azure.ai.openai.batches"),
        ("api.openai.com", "/v1/evals/e/runs", "openai.evaluations"),
        ("api.openai.com", "/v1/fine_tuning/alpha/graders/run", "openai.evaluations"),
        ("api.openai.com", "/v1/videos", "openai.videos"),
        ("api.openai.com", "/v1/videos/v/remix", "openai.videos"),
        ("api.x.ai", "/v1/videos/generations", "x_ai.videos"),
        ("dashscope.aliyuncs.com", "/api/v1/services/aigc/text2image/image-synthesis", "alibaba_cloud.later"),
        ("dashscope.aliyuncs.com", "/api/v1/services/aigc/video-generation/video-synthesis", "alibaba_cloud.later"),
        ("api.openai.com", "/v1/realtime/calls", "openai.voice"),
        ("api.openai.com", "/v1/realtime/calls/c/accept", "openai.voice"),
        ("api.openai.com", "/v1/live/sessions", "openai.voice"),
        ("api.anthropic.com", "/v1/messages/batches?beta=true", "anthropic.batches"),
        ("api.anthropic.com", "/v1/sessions?beta=true", "anthropic.sessions"),
        ("api.anthropic.com", "/v1/sessions/s/events?beta=true", "anthropic.sessions"),
        ("api.anthropic.com", "/v1/deployments/d/run", "anthropic.sessions"),
        ("aws-external-anthropic.us-east-1.api.aws", "/v1/messages/batches", "anthropic.batches"),
        ("claude.googleapis.com", "/v1/projects/p/locations/global/v1/sessions", "anthropic.sessions"),
        ("r.services.ai.azure.com", "/anthropic/v1/sessions?beta=true", "azure.ai.inference.sessions"),
        ("generativelanguage.googleapis.com", "/v1beta/models/g:batchGenerateContent", "gcp.gemini.batches"),
        ("generativelanguage.googleapis.com", "/v1beta/models/veo:predictLongRunning", "gcp.gemini.videos"),
        ("us-central1-aiplatform.googleapis.com", "/v1/projects/p/locations/l/batchPredictionJobs", "gcp.vertex_ai.batches"),
        ("us-central1-aiplatform.googleapis.com", "/v1/p/reasoningEngines/1:streamQuery", "gcp.vertex_ai.agents"),
        (_AGENTS, "/agents/a/agentAliases/b/sessions/c/text", "aws.bedrock.agents"),
        (_AGENTS, "/agents/session-1", "aws.bedrock.agents"),
        (_AGENTS, "/flows/f/aliases/a", "aws.bedrock.agents"),
        (_AGENTS, "/retrieveAndGenerateStream", "aws.bedrock.agents"),
        ("bedrock-agentcore.us-east-1.amazonaws.com", "/runtimes/arn%3Ax/invocations", "aws.bedrock.agentcore"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "/async-invoke", "aws.bedrock.later"),
        ("runtime.sagemaker.us-east-1.amazonaws.com", "/endpoints/e/async-invocations", "aws.bedrock.later"),
        ("api.mistral.ai", "/v1/ocr", "mistral_ai.documents"),
        ("api.mistral.ai", "/v1/batch/jobs", "mistral_ai.batches"),
        ("api.mistral.ai", "/v1/audio/agents/a/sessions", "mistral_ai.voice"),
        ("api.cohere.com", "/v1/classify", "cohere.classify"),
        ("api.perplexity.ai", "/async/chat/completions", "perplexity.later"),
        ("api.together.ai", "/v1/queue/submit", "together_ai.later"),
        ("api.fireworks.ai", "/training/v1/api/v1/asample", "fireworks_ai.later"),
        ("api.writer.com", "/v1/applications/7", "writer.applications"),
        ("api.z.ai", "/api/paas/v4/async/chat/completions", "z_ai.later"),
        ("a.snowflakecomputing.com", "/api/v2/cortex/agent:run", "snowflake.agents"),
        ("a.snowflakecomputing.com", "/api/v2/databases/d/schemas/s/agents/a:run", "snowflake.agents"),
        ("a.snowflakecomputing.com", "/api/v2/cortex/analyst/message", "snowflake.agents"),
        ("eu-de.ml.cloud.ibm.com", "/ml/v4/deployments/d/ai_service_stream", "ibm.watsonx.ai.agents"),
        ("api.runpod.ai", "/v2/e/runsync", "runpod.jobs"),
        ("api.dify.ai", "/v1/workflows/run", "dify.workflows"),
        ("llm.api.cloud.yandex.net", "/foundationModels/v1/completionAsync", "yandex_cloud.later"),
        ("us.inference.heroku.com", "/v1/agents/heroku", "heroku.agents"),
        ("discoveryengine.googleapis.com", "/v1/p/engines/e/servingConfigs/s:answer", "gcp.discovery_engine.agents"),
        ("eu-discoveryengine.googleapis.com", "/v1/p/engines/e/assistants/a:streamAssist", "gcp.discovery_engine.agents"),
        ("api.x.ai", "/v1/tts", "x_ai.speech"),
        ("api.x.ai", "/v1/stt", "x_ai.speech"),
        ("api.deepgram.com", "/v1/listen?model=nova-3", "deepgram.speech"),
        ("api.deepgram.com", "/v1/speak", "deepgram.speech"),
        ("api.elevenlabs.io", "/v1/text-to-speech/v", "elevenlabs.speech"),
        ("api.elevenlabs.io", "/v1/text-to-speech/v/stream", "elevenlabs.speech"),
        ("api.elevenlabs.io", "/v1/speech-to-text", "elevenlabs.speech"),
        ("api.assemblyai.com", "/v2/transcript", "assemblyai.speech"),
        ("api.minimax.io", "/v1/t2a_v2", "minimax.speech"),
        ("gateway.ai.cloudflare.com", f"/v1/{'0a' * 16}/gateway", "cloudflare.universal"),
        ("queue.fal.run", "/fal-ai/any-llm", "fal_ai.models"),
        ("fal.run", "/fal-ai/any-llm/stream", "fal_ai.models"),
        ("ark.cn-beijing.volces.com", "/api/v3/contents/generations/tasks", "volcengine.videos"),
        ("p.services.ai.azure.com", "/providers/mistral/azure/ocr", "azure.ai.inference.documents"),
        ("p.services.ai.azure.com", "/api/projects/p/memory_stores/m:search_memories", "azure.ai.inference.memory"),
        ("p.services.ai.azure.com", "/api/projects/p/agents/a/endpoint/protocols/invocations", "azure.ai.inference.agents"),
        ("p.services.ai.azure.com", "/api/projects/p/redTeams/runs:run", "azure.ai.inference.evaluations"),
        ("api.z.ai", "/api/v1/agents", "z_ai.agents"),
        ("api.z.ai", "/api/paas/v4/async/images/generations", "z_ai.later"),
        ("api.mistral.ai", "/v1/observability/judges/j/live-judging", "mistral_ai.evaluations"),
        ("api.fireworks.ai", "/v1/accounts/a/batchInferenceJobs", "fireworks_ai.batches"),
        ("api.fireworks.ai", "/v1/accounts/a/evaluationJobs", "fireworks_ai.evaluations"),
        ("api.openai.com", "/v1/live/sessions/s/fork", "openai.voice"),
        ("generativelanguage.googleapis.com", "/v1beta/triggers/t/executions", "gcp.gemini.agents"),
        ("us-central1-aiplatform.googleapis.com", "/v1/p/reasoningEngines/1/memories:generate", "gcp.vertex_ai.agents"),
        ("us-central1-aiplatform.googleapis.com", "/v1/p/locations/l:evaluateInstances", "gcp.vertex_ai.evaluations"),
        ("us-central1-aiplatform.googleapis.com", "/v1/p/locations/l/evaluationRuns", "gcp.vertex_ai.evaluations"),
        ("inferencerouter-runtime.sagemaker.us-east-1.amazonaws.com", "/inference-routers/r/async-invocations", "aws.bedrock.later"),
        ("bedrock-agentcore.us-east-1.amazonaws.com", "/evaluations/evaluate/e", "aws.bedrock.agentcore"),
        ("bedrock-agentcore.us-east-1.amazonaws.com", "/evaluations/batch-evaluate", "aws.bedrock.agentcore"),
        ("router.huggingface.co", "/fal-ai/fal-ai/flux/dev", "huggingface.models"),
        ("router.huggingface.co", "/wavespeed/api/v3/a/video", "huggingface.models"),
    ],
)  # fmt: skip
def test_what_a_provider_asks_its_models_by_itself_has_a_name(host: str, path: str, name: str) -> None:
    api = recognise("POST", path)
    assert api is not None
    assert unread_name(api, host) == name
    assert unread_name(api, "app.example") is None
    assert unread_name(api, "files.s3.amazonaws.com") is None
    assert read(ExchangeBytes(api=api, host=host, path=path, request_body=b'{"messages": []}'), key=b"k") is None


@pytest.mark.parametrize(
    ("host", "path", "name"),
    [
        ("api.openai.com", "/v1/batches/batch_1", "openai.batches"),
        ("api.anthropic.com", "/v1/messages/batches/msgbatch_1?beta=true", "anthropic.batches"),
        ("generativelanguage.googleapis.com", "/v1beta/batches/1", "gcp.gemini.batches"),
        ("api.mistral.ai", "/v1/batch/jobs/1", "mistral_ai.batches"),
        ("api.fireworks.ai", "/v1/accounts/a/batchInferenceJobs/1", "fireworks_ai.batches"),
        ("us-central1-aiplatform.googleapis.com", "/v1/p/batchPredictionJobs/1", "gcp.vertex_ai.batches"),
        ("api.x.ai", "/v1/chat/deferred-completion/r", "x_ai.later"),
    ],
)
def test_what_is_fetched_of_a_batch_that_another_process_made_has_its_name(host: str, path: str, name: str) -> None:
    api = recognise("GET", path)
    assert api is not None
    assert unread_name(api, host) == name
    assert unread_name(api, "app.example") is None


@pytest.mark.parametrize(
    ("host", "path"),
    [
        ("api.groq.com", "/v1/sessions/s/events"),  # of Anthropic's
        ("api.openai.com", "/v1/realtime/sessions"),
        ("lambda.eu-west-1.amazonaws.com", "/agents/session-1"),
        ("api.openai.com", "/v1/ocr"),
        ("api.openai.com", "/v1/agents"),
        ("api.example.com", f"/v1/{'0a' * 16}/orders"),
    ],
)
def test_a_path_of_another_provider_is_nobodys_business(host: str, path: str) -> None:
    assert unread_name(recognise("POST", path) or "", host) is None


def test_every_api_that_a_path_may_speak_is_read_or_named_as_unread() -> None:
    apis = {api for rules in _POST.values() for _, api in rules if api is not None}
    apis |= {*_NAMED.values(), *_GET.values(), str(recognise("POST", f"/v1/{'0a' * 16}/gateway"))}
    assert apis <= DIALECTS.keys() | UNREAD.keys()
    assert UNREAD.keys() <= apis
    assert not DIALECTS.keys() & UNREAD.keys()
