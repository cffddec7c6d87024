"""Requests that put a provider's models to work and whose answers do not tell each call: data only.

`recognise` returns these names like those of the apis that are read; no dialect reads them, so that they are said to be
unseen. Their paths are common ones, so a request counts only where its host is a known provider's.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from tokenflation.sdk.wire.endpoints.providers import provider_of
from tokenflation.sdk.wire.endpoints.recognise import FAL_MODELS

__all__ = ["UNREAD", "Unread", "unread_name"]


class Unread(Struct, frozen=True, kw_only=True):
    """Why such a request is no call in the store, and at whom it is one at all."""

    what: str
    """Stands behind the provider's name in the name of the loss."""
    why: str
    """Follows the provider's name in the log, as the rest of a sentence."""
    providers: frozenset[str] = frozenset()
    """Who has this api; empty: every provider that is known."""
    hosts: tuple[str, ...] = ()
    """Beginnings of the host names that have it, of a provider that serves much else beside models."""


_AGENT = "runs the agent that was asked, and calls the models itself"
_BATCH = "answers a batch in a file, later"
_LATER = "answers this request later and elsewhere"
_SILENT = "does not say in its answer what tokens this took"
_VOICE = "speaks by WebRTC or by telephone, beside this request"
_BEDROCK = frozenset({"aws.bedrock"})
_GEMINI = frozenset({"gcp.gemini", "gcp.vertex_ai"})

UNREAD: Final[Mapping[str, Unread]] = {
    # openai's `beta.agents`: turns of a session have usage, "best effort and may change", for all their calls together.
    "openai.agents": Unread(what="agents", why=_AGENT, providers=frozenset({"openai"})),
    # platform.claude.com/docs/en/managed-agents: events of a session tell of each call of its models. Foundry has them,
    # too (anthropic's `AnthropicFoundry`).
    "anthropic.sessions": Unread(what="sessions", why=_AGENT, providers=frozenset({"anthropic", "azure.ai.inference"})),
    # learn.microsoft.com/azure/foundry/agents, hosted agents: the protocol "invocations" has bodies of their own.
    "azure.agents": Unread(what="agents", why=_AGENT, providers=frozenset({"azure.ai.inference"})),
    # learn.microsoft.com/azure/foundry/agents, memory stores.
    "azure.memory": Unread(what="memory", why=_LATER, providers=frozenset({"azure.ai.inference"})),
    # docs.aws.amazon.com/bedrock/latest/APIReference: API_agent-runtime_InvokeAgent, _InvokeInlineAgent, _InvokeFlow,
    # _RetrieveAndGenerate, _RetrieveAndGenerateStream, _AgenticRetrieveStream, _OptimizePrompt, _GenerateQuery.
    "bedrock.agents": Unread(what="agents", why=_AGENT, providers=_BEDROCK, hosts=("bedrock-agent-runtime",)),
    # docs.aws.amazon.com/bedrock-agentcore/latest/APIReference: InvokeAgentRuntime, InvokeHarness, Evaluate,
    # StartBatchEvaluation.
    "bedrock.agentcore": Unread(what="agentcore", why=_AGENT, providers=_BEDROCK, hosts=("bedrock-agentcore",)),
    # docs.aws.amazon.com/bedrock: API_runtime_StartAsyncInvoke, API_CreateModelInvocationJob;
    # docs.aws.amazon.com/sagemaker: API_runtime_InvokeEndpointAsync; boto3's `invoke_inference_router_async`.
    "bedrock.later": Unread(
        what="later",
        why=_LATER,
        providers=_BEDROCK,
        hosts=("bedrock", "runtime.sagemaker", "inferencerouter-runtime.sagemaker"),
    ),
    # cloud.google.com/vertex-ai/generative-ai/docs/agent-engine: query, streamQuery, memories:generate;
    # .../generative-ai-app-builder: answer, streamAssist; google-genai's `triggers.run`.
    "google.agents": Unread(what="agents", why=_AGENT, providers=_GEMINI | {"gcp.discovery_engine"}),
    # devcenter.heroku.com/articles/heroku-inference-api-v1-agents-heroku.
    "heroku.agents": Unread(what="agents", why=_AGENT, providers=frozenset({"heroku"})),
    # docs.z.ai/api-reference/agents: agents for translation, slides and the like, asked by their ids.
    "z_ai.agents": Unread(what="agents", why=_AGENT, providers=frozenset({"z_ai"})),
    # ai.google.dev/gemini-api/docs/batch-api; cloud.google.com/vertex-ai/docs/reference/rest, batchPredictionJobs.
    "google.batches": Unread(what="batches", why=_BATCH, providers=_GEMINI),
    # ai.google.dev/gemini-api/docs/video: predictLongRunning.
    "google.videos": Unread(what="videos", why=_LATER, providers=_GEMINI),
    # docs.mistral.ai/api: OCR counts pages, classifiers nothing.
    "mistral.documents": Unread(
        what="documents", why=_SILENT, providers=frozenset({"azure.ai.inference", "mistral_ai"})
    ),
    # docs.cohere.com/reference/classify: `classifications`; /reference/create-embed-job.
    "cohere.classify": Unread(what="classify", why=_SILENT, providers=frozenset({"cohere"})),
    # dev.writer.com/api-reference: applications, questions to graphs, translation and vision answer with a text alone.
    "writer.applications": Unread(what="applications", why=_SILENT, providers=frozenset({"writer"})),
    # docs.ai21.com/reference: Maestro runs.
    "ai21.maestro": Unread(what="maestro", why=_AGENT, providers=frozenset({"ai21"})),
    # docs.perplexity.ai/api-reference/async-chat-completions-post; docs.z.ai, async chat and pictures; docs.x.ai,
    # deferred chats; yandex.cloud/docs/ai-studio, completionAsync.
    "chat.later": Unread(what="later", why=_LATER, providers=frozenset({"perplexity", "x_ai", "yandex_cloud", "z_ai"})),
    # developers.cloudflare.com/ai-gateway/usage/universal: a list of requests to several providers, the first that
    # succeeds answers.
    "cloudflare.universal": Unread(
        what="universal",
        why="sends a list of requests to the one provider or the other",
        providers=frozenset({"cloudflare"}),
    ),
    # fal.ai/docs/model-apis: a queue takes most requests, and few answers have tokens. router.huggingface.co passes
    # pictures and videos on to it, Novita and WaveSpeed (huggingface_hub's `inference/_providers`).
    FAL_MODELS: Unread(what="models", why=_LATER, providers=frozenset({"fal_ai", "huggingface"})),
    # docs.snowflake.com, Cortex Agents and Cortex Analyst.
    "snowflake.agents": Unread(what="agents", why=_AGENT, providers=frozenset({"snowflake"})),
    # cloud.ibm.com/apidocs/watsonx-ai, AI services: what a deployment does is up to its owner.
    "ibm.agents": Unread(what="agents", why=_AGENT, providers=frozenset({"ibm.watsonx.ai"})),
    # github.com/langgenius/dify, template_workflow.en.mdx: a workflow's `total_tokens` alone.
    "dify.workflows": Unread(what="workflows", why=_AGENT, providers=frozenset({"dify"})),
    # docs.runpod.io/serverless/endpoints: jobs, whose outputs are up to the worker.
    "runpod.jobs": Unread(what="jobs", why=_SILENT, providers=frozenset({"runpod"})),
    # docs.x.ai, voice; developers.deepgram.com; elevenlabs.io/docs; assemblyai.com/docs; platform.minimax.io, T2A: by
    # seconds or characters.
    "speech": Unread(
        what="speech",
        why=_SILENT,
        providers=frozenset({"assemblyai", "deepgram", "elevenlabs", "minimax", "x_ai"}),
    ),
    # docs.together.ai/reference, queue; its and Fireworks' sampling while training.
    "together.later": Unread(what="later", why=_LATER, providers=frozenset({"fireworks_ai", "together_ai"})),
    # alibabacloud.com/help/en/model-studio, text-to-image and text-to-video: a task, whose result has no tokens.
    "dashscope.later": Unread(what="later", why=_LATER, providers=frozenset({"alibaba_cloud"})),
    # huggingface.co/docs/inference-providers/tasks/feature-extraction.
    "huggingface.features": Unread(what="features", why=_SILENT, providers=frozenset({"huggingface"})),
    # platform.openai.com/docs/api-reference/batch, which Groq, Together, Perplexity, OpenRouter and others copy;
    # platform.claude.com/docs/en/api/creating-message-batches; docs.cohere.com/reference/create-batch.
    "batches": Unread(what="batches", why=_BATCH),
    # platform.openai.com/docs/api-reference/evals/createRun and /graders/run; docs.mistral.ai/api, judges; Vertex AI's
    # evaluation service; Foundry's red teams.
    "evaluations": Unread(what="evaluations", why="asks the models of this evaluation itself"),
    # platform.openai.com/docs/api-reference/realtime-calls; openai's `live`; docs.mistral.ai/api, audio sessions.
    "voice": Unread(what="voice", why=_VOICE),
    # platform.openai.com/docs/api-reference/videos, docs.together.ai/reference/create-videos, OpenRouter's `videos`.
    "videos": Unread(what="videos", why=_LATER),
}
"""By the name that `recognise` returns."""


def unread_name(api: str, host: str) -> str | None:
    """Return what to call such requests to this host, None where they are no business of ours."""
    rule, provider = UNREAD[api], provider_of(host, "")
    if not provider or (rule.providers and provider not in rule.providers):
        return None
    if provider in _BEDROCK and not host.lower().startswith(rule.hosts or ("bedrock",)):
        return None
    return f"{provider}.{rule.what}"
