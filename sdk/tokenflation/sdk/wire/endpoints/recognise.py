"""Which requests go to a model endpoint: by method and path alone, on any host. Knows nothing of bodies.

Among them are those whose answers nobody here reads (`unread`): they are to be said to be unseen.

It runs on the host's thread for every request of every client, so other traffic leaves after one look into a table.
"""

__all__ = ["CHAT", "FAL", "FAL_MODELS", "LLAMA", "ROOT", "recognise"]

ROOT = "root"
"""Of a request to the root of a server: whether that is one to a model only its host tells, `providers.served_as`."""
CHAT, LLAMA = "openai.chat", "llama.chat"
"""Chats of OpenAI's kind, and of Meta's, which is asked at the same path."""
FAL, FAL_MODELS = "fal.router", "fal.models"
"""fal.ai's model of other providers' models, which is read only where it answers at once, and its other ones."""

_MESSAGES = "anthropic.messages"
_EMBEDDINGS = "openai.embeddings"
_GENERATE = "google.generate_content"

# Last segment of the path (from its last colon on, if it has one) -> rules `(what the path holds, api)`; the first that
# fits wins. A path holds `/x/` if that stands anywhere in it before the last segment, and "" always. None: not a call.
_POST: dict[str, tuple[tuple[str, str | None], ...]] = {
    "completions": (
        # openrouter.ai/docs/api/api-reference/presets: a preset is made of the body, and no model asked.
        ("/presets/", None),
        ("/async/chat/", "chat.later"),
        ("/api/v2/chat/", "gigachat.chat"),
        ("/chat/", CHAT),
        ("/agents/", CHAT),
        ("", "openai.completions"),
    ),
    "chat_stream": (("/text/", CHAT),),  # watsonx
    "chatcompletion_v2": (("/text/", CHAT),),  # MiniMax
    # SageMaker, Databricks, Oracle's Data Science; what an agent runtime is sent is up to the agent.
    "invocations": (
        ("/runtimes/", "bedrock.agentcore"),
        ("/automations/", "openai.agents"),
        ("/endpoint/protocols/", "azure.agents"),
        ("", "invocations"),
    ),
    "invocations-response-stream": (("/endpoints/", "invocations"),),
    **dict.fromkeys(("predict", "predictWithResponseStream"), (("/ocid1.datasciencemodeldeployment.", "invocations"),)),
    "async-invocations": (("/endpoints/", "bedrock.later"), ("/inference-routers/", "bedrock.later")),
    "responses": (("/presets/", None), ("/endpoint/protocols/", "azure.agent"), ("", "openai.responses")),
    "agent": (("/v1/agent", "perplexity.agent"),),
    "sonar": (("/async/", "chat.later"), ("/v1/sonar", CHAT)),  # Perplexity
    "create": (("/context/", CHAT),),  # Volcengine
    "compact": (("/responses/", "openai.responses.compact"),),
    "decisions": (("", "openai.decisions"),),
    "systemone": (("", "openai.decisions"),),  # OpenRouter, Ollama
    "cancel": (
        ("/responses/", "openai.responses.retrieve"),
        ("/runs/", "openai.assistants.run.retrieve"),
        ("/interactions/", "google.interactions.retrieve"),
        ("/predictions/", "replicate.predictions.retrieve"),
    ),
    # llama.cpp; a deployment of SAP's, an application of Alibaba's.
    "completion": (
        ("/deployments/", "sap.orchestration"),
        ("/apps/", "dashscope.application"),
        ("/foundationModels/", "yandex.completion"),
        ("", "llama_cpp.completion"),
    ),
    "completionAsync": (("/foundationModels/", "chat.later"),),
    "textEmbedding": (("/foundationModels/", "yandex.embed"),),
    **dict.fromkeys(("chat-messages", "completion-messages"), (("/v1/", "dify.chat"),)),
    # What Pinecone's assistants find without an answer.
    "context": (("/assistant/chat/", None),),
    "infill": (("", "llama_cpp.completion"),),
    "embeddings": (
        ("/text/embeddings", "ibm.text_read"),
        ("/api/embeddings", "ollama.embed"),
        ("/api/v1/embeddings", "gigachat.embeddings"),
        ("", _EMBEDDINGS),
    ),
    "multimodalembeddings": (("", _EMBEDDINGS),),  # Voyage
    "contextualizedembeddings": (("", _EMBEDDINGS),),
    "multimodal": (("/embeddings/", _EMBEDDINGS),),  # Volcengine
    ":embed": (("/cortex/", "snowflake.embed"),),
    "encode": (("", "sglang.embed"),),
    "embedding": (("", "llama_cpp.embed"),),
    **dict.fromkeys(("embed_sparse", "embed_all", "similarity"), (("", "huggingface.embed"),)),
    **dict.fromkeys(("pooling", "score"), (("", "vllm.pooling"),)),
    "embedText": (("/actions/", "oci.embed"),),
    **dict.fromkeys(("generateText", "summarizeText", "rerankText"), (("/actions/", "oci.others"),)),
    "generations": (("/async/images/", "chat.later"), ("/images/", "openai.images"), ("/videos/", "videos")),
    "images": (("/v1/images", "openai.images"),),  # OpenRouter
    "edits": (("/images/", "openai.images"), ("/videos/", "videos"), ("", "openai.completions")),
    "variations": (("/images/", "openai.images"),),
    "transcriptions": (("/audio/", "openai.transcriptions"),),
    "speech": (("/audio/", "openai.speech"),),
    "translations": (("/audio/", "openai.transcriptions"),),
    "runs": (("/threads/", "openai.assistants.run"), ("/evals/", "evaluations"), ("/maestro/", "ai21.maestro")),
    "submit_tool_outputs": (("/runs/", "openai.assistants.run.retrieve"),),
    "messages": (("/v1/messages", _MESSAGES),),
    "complete": (("/v1/", "anthropic.complete"), ("", "aleph_alpha.complete")),
    **dict.fromkeys(("semantic_embed", "batch_semantic_embed", "instructable_embed"), (("", "aleph_alpha.embed"),)),
    "count-tokens:rawPredict": (),
    **dict.fromkeys(
        (":rawPredict", ":streamRawPredict"),
        (
            ("/publishers/anthropic/", _MESSAGES),
            ("/publishers/mistralai/", CHAT),
            ("/publishers/ai21/", CHAT),
            ("/endpoints/", "invocations"),
        ),
    ),
    ":generateContent": (("", _GENERATE),),
    ":streamGenerateContent": (("", _GENERATE),),
    ":embedContent": (("", "google.embed"),),
    ":batchEmbedContents": (("", "google.embed"),),
    ":predict": (("/publishers/", "google.predict"), ("/v1beta/models/", "google.predict")),
    "cachedContents": (("", "google.cached_contents"),),
    "interactions": (("", "google.interactions"),),
    # SAP serves Bedrock's models at its deployments.
    **dict.fromkeys(
        ("converse", "converse-stream"),
        (("/model/", "bedrock.converse"), ("/inference/deployments/", "bedrock.converse")),
    ),
    "invoke": (
        ("/model/", "bedrock.invoke"),
        ("/harnesses/", "bedrock.agentcore"),
        ("/inference/deployments/", "bedrock.invoke"),
    ),
    "invoke-with-response-stream": (("/model/", "bedrock.invoke"), ("/inference/deployments/", "bedrock.invoke")),
    "chat": (
        ("/actions/", "oci.chat"),
        ("/text/", CHAT),
        ("/api/chat", "ollama.chat"),
        ("/v2/", "cohere.chat"),
        ("/v1/", "cohere.v1"),
    ),
    "generate": (
        ("/image/", "openai.images"),
        ("/api/generate", "ollama.generate"),
        ("/v1/", "cohere.generate"),
        ("/v2/models/", "triton.generate"),
        ("", "huggingface.generate"),
    ),
    "generate_stream": (("/v2/models/", "triton.generate_stream"), ("", "huggingface.generate")),
    "stream": (
        ("/api/extra/generate/", "koboldcpp.stream"),
        ("/text-to-speech/", "speech"),
        ("/openrouter/router/", FAL),
        ("/fal-ai/", FAL_MODELS),
    ),
    "embed": (("/api/embed", "ollama.embed"), ("", "cohere.embed")),
    "summarize": (("/v1/", "cohere.summarize"),),
    "parse": (("/v2/", "cohere.parse"),),
    "conversations": (("", "mistral.conversations"),),
    "restart": (("/conversations/", "mistral.conversations"),),
    "generation": (("/text/", "ibm.text_generation"), ("/aigc/", "dashscope.generation")),
    "text-embedding": (("/embeddings/text-embedding/", "dashscope.embed"),),
    "multimodal-embedding": (("/embeddings/multimodal-embedding/", "dashscope.embed"),),
    "text-rerank": (("/rerank/text-rerank/", "dashscope.embed"),),
    "generation_stream": (("/text/", "ibm.text_generation"),),
    "text_stream": (("/v1-beta/generation/", "ibm.text_generation"),),
    ":complete": (("/cortex/", "snowflake.complete"),),
    # llama.cpp and Nvidia, Alibaba
    **dict.fromkeys(("rerank", "reranking", "reranks"), (("/text/rerank", "ibm.text_read"), ("", "cohere.rerank"))),
    "ranking": (("/v1/", "cohere.rerank"),),
    "predictions": (("/v1/", "replicate.predictions"),),
    # What follows is not read: `unread` says why.
    "sessions": (
        ("/audio/", "voice"),
        ("/live/", "voice"),
        ("/agents/", "openai.agents"),
        ("/chatkit/", "openai.agents"),
        ("/v1/", "anthropic.sessions"),
    ),
    "events": (("/agents/sessions/", "openai.agents"), ("/v1/sessions/", "anthropic.sessions")),
    "run": (
        ("/v1/workflows/", "dify.workflows"),
        ("/v1/deployments/", "anthropic.sessions"),
        ("/graders/", "evaluations"),
        ("/v2/", "runpod.jobs"),
    ),
    "runsync": (("/v2/", "runpod.jobs"),),
    ":run": (
        ("/cortex/agent:run", "snowflake.agents"),
        ("/agents/", "snowflake.agents"),
        ("/redTeams/", "evaluations"),
    ),
    "agents": (("/v1/agents", "z_ai.agents"),),
    "message": (("/cortex/analyst/", "snowflake.agents"),),
    **dict.fromkeys(("ai_service", "ai_service_stream"), (("/deployments/", "ibm.agents"),)),
    "tasks": (("/contents/generations/", "videos"),),  # Volcengine
    **dict.fromkeys(("tts", "stt", "listen", "speak", "speech-to-text", "text-to-dialogue"), (("/v1/", "speech"),)),
    "transcript": (("/v2/", "speech"),),
    "t2a_v2": (("/v1/", "speech"),),
    "dreams": (("/v1/", "anthropic.sessions"),),
    "batches": (("", "batches"),),
    "batchInferenceJobs": (("/accounts/", "batches"),),  # Fireworks
    "jobs": (("/batch/", "batches"), ("/applications/", "writer.applications")),
    "embed-jobs": (("/v1/", "batches"),),
    "batchPredictionJobs": (("/locations/", "google.batches"),),
    ":batchGenerateContent": (("", "google.batches"),),
    ":asyncBatchEmbedContent": (("", "google.batches"),),
    ":predictLongRunning": (("", "google.videos"),),
    **dict.fromkeys(
        (":query", ":streamQuery", ":asyncQuery", ":generate", ":ingestEvents"),
        (("/reasoningEngines/", "google.agents"),),
    ),
    **dict.fromkeys((":answer", ":streamAnswer"), (("/servingConfigs/", "google.agents"),)),
    **dict.fromkeys((":assist", ":streamAssist"), (("/assistants/", "google.agents"),)),
    "heroku": (("/v1/agents/", "heroku.agents"),),
    "text": (("/agentAliases/", "bedrock.agents"), ("/v1-beta/generation/", "ibm.text_generation")),
    **dict.fromkeys(
        (
            "retrieveAndGenerate",
            "retrieveAndGenerateStream",
            "agenticRetrieveStream",
            "generateQuery",
            "optimize-prompt",
        ),
        (("", "bedrock.agents"),),
    ),
    "executions": (("/flows/", "bedrock.agents"), ("/triggers/", "google.agents")),
    "async-invoke": (("", "bedrock.later"),),
    "model-invocation-job": (("", "bedrock.later"),),
    **dict.fromkeys((":update_memories", ":search_memories"), (("/memory_stores/", "azure.memory"),)),
    "calls": (("/realtime/", "voice"),),
    "accept": (("/realtime/calls/", "voice"), ("/live/sessions/", "voice")),
    "fork": (("/live/sessions/", "voice"),),
    "videos": (("/v1/", "videos"), ("/v2/", "videos")),
    **dict.fromkeys(("extensions", "remix"), (("/videos/", "videos"),)),
    **dict.fromkeys(("image-synthesis", "video-synthesis"), (("/services/aigc/", "dashscope.later"),)),
    "evaluation": (("/v1/", "evaluations"),),
    "evaluationJobs": (("/accounts/", "evaluations"),),  # Fireworks
    "live-judging": (("/observability/", "evaluations"),),  # Mistral
    "batch-evaluate": (("/evaluations/", "bedrock.agentcore"),),
    **dict.fromkeys(
        (
            ":evaluateInstances",
            ":evaluateDataset",
            ":generateInstanceRubrics",
            ":generateLossClusters",
            ":generateUserScenarios",
            "evaluationRuns",
        ),
        (("/locations/", "evaluations"),),
    ),
    "submit": (("/queue/", "together.later"),),
    "sample": (("/training-sessions/", "together.later"),),
    "asample": (("/api/v1/", "together.later"),),
    "ocr": (("", "mistral.documents"),),
    "classifications": (("/v1/", "mistral.documents"),),
    "classify": (("/v1/", "cohere.classify"), ("", "sglang.embed")),
    "question": (("/graphs/", "writer.applications"),),
    "translation": (("/v1/", "writer.applications"),),
    "vision": (("/openrouter/router/", FAL), ("/v1/", "writer.applications")),
    "feature-extraction": (("/pipeline/", "huggingface.features"),),
}
# What a path to an answer that was asked for earlier holds before its last segment, the answer's id.
_GET = {
    "/responses/": "openai.responses.retrieve",
    "/runs/": "openai.assistants.run.retrieve",
    "/interactions/": "google.interactions.retrieve",
    "/predictions/": "replicate.predictions.retrieve",
    "/batches/": "batches",
    "/batch/jobs/": "batches",
    "/batchInferenceJobs/": "batches",
    "/batchPredictionJobs/": "google.batches",
    "/chat/deferred-completion/": "chat.later",
}
_STORED = tuple(_GET)
# huggingface.co/docs/inference-providers/providers/hf-inference: the model's name ends the path.
_SERVED_BY_NAME = ("/models/", "/hf-inference/models/")
# An id ends the path (Bedrock's InvokeInlineAgent and InvokeFlow, Writer's applications, ElevenLabs' voices), or a
# model's name (DeepInfra, Baidu, fal.ai).
_NAMED: dict[str, str] = {
    "/agents/": "bedrock.agents",
    "/flows/": "bedrock.agents",
    "/v1/applications/": "writer.applications",
    "/v1/text-to-speech/": "speech",
    "/v1/inference/": "deepinfra.inference",
    "/rpc/2.0/ai_custom/v1/wenxinworkshop/": "baidu.wenxin",
    "/openrouter/router": FAL,
    "/fal-ai/": FAL_MODELS,
    "/novita/v3/hf/": FAL_MODELS,
    "/wavespeed/api/v3/": FAL_MODELS,
    "/evaluations/evaluate/": "bedrock.agentcore",
    "/assistant/chat/": "pinecone.chat",
    "/v3/chat-completions/": "clova.chat",
    "/v1/chat-completions/": "clova.chat",
    "/testapp/v1/chat-completions/": "clova.chat",
    "/serviceapp/v1/chat-completions/": "clova.chat",
    "/v1/vlm/": "nvidia.vision",
    "/v2/nvcf/pexec/functions/": "invocations",
}
# developers.cloudflare.com: Workers AI by itself, and behind Cloudflare's gateway; a model's name ends the path.
_CLOUDFLARE = "/client/v4/accounts/"
_BEGINNINGS = (*_SERVED_BY_NAME, *_NAMED, _CLOUDFLARE)
_MOST_KNOWN = 256
_known: dict[str, str] = {}
"""Paths that were asked for, without their queries -> api: a program asks for a few again and again."""


def recognise(method: str, path: str) -> str | None:
    """Return the api that a request to this path speaks, or None for traffic that is not ours to look at.

    `path` may carry its query. A match is a guess that costs little: `read` looks at the body and returns None for one
    that is no model request (a survey's `/responses`). A GET is one only where usage comes in no other way: of an
    answer that is made in the background.
    """
    if "?" in path:
        path = path.partition("?")[0]
    if method == "POST":
        api = _known.get(path)
        if api is None:
            api = _posted(path)
            if api is not None:
                if len(_known) >= _MOST_KNOWN:  # some paths hold an id, and never come again
                    _known.clear()
                _known[path] = api
        return api
    slash = path.rfind("/") + 1
    if method == "GET" and path.endswith(_STORED, 0, slash) and slash < len(path):
        return next(api for part, api in _GET.items() if path.endswith(part, 0, slash))
    return None


def _posted(path: str) -> str | None:
    slash = path.rfind("/") + 1
    name = path[slash:]
    rules = _POST.get(name)
    if rules is None:
        if ":" in name:
            rules = _POST.get(name[name.rfind(":") :])
        elif name.startswith("conv_"):
            rules = _POST["restart"]
        if rules is None:
            if path.startswith(_BEGINNINGS) or "/@cf/" in path:
                return _by_name(path, name)
            return ROOT if path == "/" else _by_place(path, slash)
    return next((api for part, api in rules if part in path), None)


def _by_place(path: str, slash: int) -> str | None:
    """Return Cloudflare's universal endpoint, `/v1/ACCOUNT/GATEWAY`, whose accounts have 32 digits."""
    return "cloudflare.universal" if slash == 37 and path.startswith("/v1/") and path.find("/", 4) == 36 else None


def _by_name(path: str, name: str) -> str | None:
    if path.startswith(_SERVED_BY_NAME):
        return "huggingface.generate" if ":" not in name else None
    if path.startswith(_CLOUDFLARE) or "/@cf/" in path:
        return "cloudflare.run" if "/ai/run/" in path or "/workers-ai/" in path else None
    return next(api for part, api in _NAMED.items() if path.startswith(part))
