"""What the spans of other tracing say of a model call: attribute names, old and new, read into our fields. Pure.

Vocabularies: OpenTelemetry GenAI (names of 2024 to today), OpenInference, OpenLLMetry, logfire and pydantic-ai,
Langfuse, MLflow, the AI SDK, and our own spans. What a span is (agent, tool, task) is `spanwords`' knowledge, whether
it stands for a model call `bridge`'s; here stands what a call's attributes mean. Knows no file format.

Sources: opentelemetry.io/docs/specs/semconv/gen-ai and its registry (deprecated names);
arize-ai.github.io/openinference/spec/semantic_conventions; traceloop/openllmetry, semantic_conventions_ai;
pydantic_ai.usage, `opentelemetry_attributes`; langfuse.com/integrations/native/opentelemetry; mlflow.tracing.constant.
"""

import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from tokenflation.sdk.importers.files.fields import seconds
from tokenflation.sdk.importers.spans.attributes import finite, literal, number_of, parsed, said
from tokenflation.sdk.importers.spans.claude_code import answers_id, counts, is_its_call, ttft_s
from tokenflation.sdk.importers.spans.contents import answer_in_full, finish_reasons, id_in_answer, tools_asked
from tokenflation.sdk.importers.spans.usage import Counted, counted, from_langfuse, from_provider
from tokenflation.sdk.records import ToolCall, Usage
from tokenflation.sdk.tracing.bridge import is_model_call

__all__ = [
    "CallFacts",
    "call_facts",
    "error_class",
    "has_totals",
    "is_call",
    "provider_named",
]

# `partial` is logfire's for what a stream of the Claude Agent SDK said so far: its input is whole, its output is not
# (pydantic/logfire, claude_agent_sdk.py). `cache.` and `_details.` are OpenLIT's (openlit/openlit,
# sdk/go/semconv/genai.go), `ai.usage` the AI SDK's (vercel/ai, packages/otel).
_INPUT = (
    "gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.usage.prompt_tokens", "ai.usage.inputTokens",
    "ai.usage.promptTokens", "ai.usage.tokens", "gen_ai.usage.partial.input_tokens",
)  # fmt: skip
_OUTPUT = (
    "gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens", "llm.usage.completion_tokens", "ai.usage.outputTokens",
    "ai.usage.completionTokens",
)  # fmt: skip
_CACHE_READ = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.details.cache_read_tokens",
    "gen_ai.usage.details.cache_read_input_tokens",
    "gen_ai.usage.details.cached_tokens",
    "gen_ai.usage.details.cached_content_tokens",
    "gen_ai.usage.cache.read_input_tokens",
    "gen_ai.usage.prompt_tokens_details.cache_read",
    "ai.usage.inputTokenDetails.cacheReadTokens",
    "ai.usage.cachedInputTokens",
    "gen_ai.usage.partial.cache_read.input_tokens",
)
_CACHE_WRITE = (
    "gen_ai.usage.cache_write.input_tokens",
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "gen_ai.usage.cache_write_input_tokens",
    "gen_ai.usage.details.cache_write_tokens",
    "gen_ai.usage.details.cache_creation_input_tokens",
    "gen_ai.usage.cache.creation_input_tokens",
    "gen_ai.usage.prompt_tokens_details.cache_write",
    "ai.usage.inputTokenDetails.cacheWriteTokens",
    "gen_ai.usage.partial.cache_creation.input_tokens",
)
_REASONING = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "gen_ai.usage.details.reasoning_tokens",
    "gen_ai.usage.details.thoughts_tokens",
    "llm.usage.reasoning_tokens",
    "gen_ai.usage.completion_tokens_details.reasoning",
    "ai.usage.outputTokenDetails.reasoningTokens",
    "ai.usage.reasoningTokens",
)
_TOTAL = ("gen_ai.usage.total_tokens", "llm.usage.total_tokens")
_GEN_AI = (_INPUT, _CACHE_READ, _CACHE_WRITE, _OUTPUT, _REASONING, _TOTAL)
_OPENINFERENCE = (
    ("llm.token_count.prompt",),
    # `cache_input` is audio's and text's cached input; without `cache_read` beside it, it is the cached part.
    ("llm.token_count.prompt_details.cache_read", "llm.token_count.prompt_details.cache_input"),
    ("llm.token_count.prompt_details.cache_write",),
    ("llm.token_count.completion",),
    ("llm.token_count.completion_details.reasoning",),
    ("llm.token_count.total",),
)
_JSON_USAGE = "mlflow.chat.tokenUsage"
_LANGFUSE_USAGE = "langfuse.observation.usage_details"
_RAW_USAGE = "gen_ai.usage.raw"
# litellm 1.109, integrations/opentelemetry.py: the details of usage stand here alone, as Python's `str` of a dict.
_LITELLM_USAGE = "metadata.usage_object"

_MODEL = (
    "gen_ai.request.model", "llm.request.model_name", "llm.request.model", "llm.model_name", "langfuse.observation.model.name",
    "mlflow.llm.model", "ai.model.id", "embedding.model_name",
)  # fmt: skip
_RESPONSE_MODEL = ("gen_ai.response.model", "llm.response.model_name", "llm.response.model", "ai.response.model")
_PROVIDER = (
    "gen_ai.provider.name", "llm.provider", "gen_ai.system", "llm.system", "llm.vendor", "mlflow.llm.provider", "ai.model.provider",
    "mlflow.message.format", "langsmith.metadata.ls_provider", "langfuse.observation.metadata.ls_provider",
)  # fmt: skip
_RESPONSE_ID = ("gen_ai.response.id", "llm.response.id", "ai.response.id")
_STREAM = ("gen_ai.request.stream", "gen_ai.is_streaming", "llm.is_streaming", "gen_ai.request.is_stream")
_FIRST_CHUNK_S = (
    "gen_ai.response.time_to_first_chunk", "gen_ai.client.operation.time_to_first_chunk",
    "gen_ai.server.time_to_first_token",
)  # fmt: skip
_FIRST_CHUNK_MS = ("ai.response.msToFirstChunk", "ai.stream.msToFirstChunk")
_COSTS = {
    "cost": ("operation.cost", "gen_ai.usage.cost", "llm.cost.total", "cost_usd"),
    "input_cost": ("llm.cost.prompt",),
    "output_cost": ("llm.cost.completion",),
}
_JSON_COSTS = ("langfuse.observation.cost_details", "mlflow.llm.cost")
_EXTRA = {
    "service_tier": ("openai.response.service_tier", "gen_ai.openai.response.service_tier"),
    "session_id": ("session.id", "langfuse.session.id", "traceloop.association.properties.session_id"),
    "user_id": ("user.id", "langfuse.user.id"),
    "cache_write_5m_tokens": ("anthropic.usage.cache_creation.ephemeral_5m_input_tokens",),
    "cache_write_1h_tokens": ("anthropic.usage.cache_creation.ephemeral_1h_input_tokens",),
    "compaction_input_tokens": ("anthropic.usage.compaction.input_tokens",),
    "compaction_output_tokens": ("anthropic.usage.compaction.output_tokens",),
    "output_tokens_logged": ("gen_ai.usage.partial.output_tokens",),
    "input_audio_tokens": ("gen_ai.usage.audio.input_tokens", "llm.token_count.prompt_details.audio"),
    "output_audio_tokens": ("gen_ai.usage.audio.output_tokens", "llm.token_count.completion_details.audio"),
}

# langfuse.com/docs/observability/features/observation-types; mlflow.entities.SpanType; ai-sdk.dev, telemetry.
_CALL_TYPES = frozenset({"generation", "embedding"})
_MLFLOW_CALLS = frozenset({"CHAT_MODEL", "LLM", "EMBEDDING"})
_AI_SDK_CALLS = (".doGenerate", ".doStream", ".doEmbed")

# What older releases and other vocabularies call a provider -> the value of `gen_ai.provider.name`.
_PROVIDERS = {
    "az.ai.openai": "azure.ai.openai", "az.ai.inference": "azure.ai.inference", "azure": "azure.ai.openai",
    "azure_openai": "azure.ai.openai", "vertex_ai": "gcp.vertex_ai", "vertexai": "gcp.vertex_ai",
    "google_vertexai": "gcp.vertex_ai", "gemini": "gcp.gemini", "google_genai": "gcp.gemini", "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai", "gcp.gen_ai": "gcp.gemini", "mistralai": "mistral_ai", "mistral": "mistral_ai",
    "xai": "x_ai", "aws": "aws.bedrock", "bedrock": "aws.bedrock", "aws_bedrock": "aws.bedrock",
    "amazon_bedrock": "aws.bedrock", "amazon-bedrock": "aws.bedrock", "azure-openai": "azure.ai.openai",
    "google.generative-ai": "gcp.gemini", "google.vertex": "gcp.vertex_ai",
    "watsonx": "ibm.watsonx.ai", "together": "together_ai", "fireworks": "fireworks_ai",
    "chatopenai": "openai", "chatanthropic": "anthropic",
}  # fmt: skip
_STRANDS = "strands-agents"
_NO_PROVIDERS = frozenset({
    "agno", "langchain", "langgraph", "litellm", "llamaindex", _STRANDS, "unknown"
})  # fmt: skip
# What AI SDK models put behind the provider's name: `openai.responses`, `anthropic.messages`.
_AI_SDK_API = re.compile(r"\.(?:chat|completion|responses|messages|embedding|image|speech|transcription)$")
_CLASS = re.compile(r"^<class '(?:.*\.)?([A-Za-z_]\w*)'>$")
_WORDY = re.compile(r"[A-Za-z0-9_.:/\-]{1,80}")


class CallFacts(Struct, kw_only=True):
    """What is known of one model call, wherever it stands."""

    provider: str = "unknown"
    api: str = ""
    model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    stream: bool = False
    finish_reasons: tuple[str, ...] = ()
    usage: Usage = Usage()
    ttfc_s: float | None = None
    ttft_s: float | None = None
    attempts: int = 1
    conversation_id: str | None = None
    previous_response_id: str | None = None
    tools: tuple[ToolCall, ...] = ()
    """Tool calls that the answer asks for, where the content of the answer was recorded."""
    extra: dict[str, Any] = {}


def is_call(attributes: Mapping[str, Any]) -> bool:
    """Return whether a span with these attributes stands for one model call."""
    if is_model_call(attributes):
        return True
    if "gen_ai.operation.name" in attributes or "openinference.span.kind" in attributes:
        return False
    if said(attributes, ("langfuse.observation.type",)) in _CALL_TYPES:
        return True
    if str(attributes.get("mlflow.spanType", "")).strip('"') in _MLFLOW_CALLS or is_its_call(attributes):
        return True
    return str(attributes.get("ai.operationId", "")).endswith(_AI_SDK_CALLS)


def call_facts(attributes: Mapping[str, Any], library: str, resource: Mapping[str, Any] | None = None) -> CallFacts:
    """Return what the attributes of a call's span say; `library` is its instrumentation scope."""
    provider = provider_named(*(attributes.get(name) for name in _PROVIDER))
    found = _usage(attributes, library or str((resource or {}).get("telemetry.sdk.name", "")), provider)
    extra: dict[str, Any] = dict(found.extra)
    for name, names in _COSTS.items():
        if (cost := number_of(attributes, names)) is not None:
            extra[name] = cost
    for name in _JSON_COSTS:
        if isinstance(costs := parsed(attributes.get(name)), dict):
            extra["costs"] = {key: value for key, value in costs.items() if finite(value) is not None}
    for name, names in _EXTRA.items():
        if (value := next((attributes[one] for one in names if one in attributes), None)) is not None:
            extra[name] = value if isinstance(value, int | float) else str(value)[:200]
    whole = answer_in_full(attributes, provider)
    resends = number_of(attributes, ("http.request.resend_count",))
    model, response_model = said(attributes, _MODEL), said(attributes, _RESPONSE_MODEL)
    asked = _asked(attributes)
    if (wanted := said(asked, ("model",))) is not None:  # OpenInference's own name is the answer's, and fails with it
        model, response_model = wanted, response_model or model
    return CallFacts(
        provider=provider,
        api=_api(attributes, provider),
        model=model or response_model,
        response_model=response_model,
        response_id=answers_id(attributes)
        or said(attributes, _RESPONSE_ID)
        or id_in_answer(attributes)
        or whole.response_id,
        stream=_is_stream(attributes, asked),
        finish_reasons=finish_reasons(attributes) or whole.finish_reasons,
        usage=found.filled(whole.counted).usage,
        ttfc_s=_first_chunk_s(attributes),
        ttft_s=ttft_s(attributes),
        attempts=1 + max(0, min(int(resends or 0), 1000)),
        conversation_id=said(attributes, ("gen_ai.conversation.id",)),
        previous_response_id=said(attributes, ("gen_ai.request.previous_response.id",)),
        tools=tools_asked(attributes) or whole.tools,
        extra=extra,
    )


def _usage(attributes: Mapping[str, Any], library: str, provider: str) -> Counted:
    if is_its_call(attributes):
        return counts(attributes)
    for names in (_GEN_AI, _OPENINFERENCE):
        read = [number_of(attributes, some) for some in names]
        if read[0] is not None or read[3] is not None:
            found = counted(*read, library=library, provider=provider)
            break
    else:
        found = Counted(Usage())
    if isinstance(raw := parsed(attributes.get(_LANGFUSE_USAGE)), dict):
        found = found.filled(from_langfuse(raw, provider=provider))
    if isinstance(raw := parsed(attributes.get(_JSON_USAGE)), dict):
        found = found.filled(from_provider(raw, library="mlflow", provider=provider))
    if isinstance(raw := parsed(attributes.get(_RAW_USAGE)), dict):
        found = found.filled(from_provider(raw, library="", provider=provider))
    if isinstance(raw := literal(attributes.get(_LITELLM_USAGE)), dict):
        found = found.filled(from_provider(raw, library="litellm", provider=provider))
    return found


def _is_stream(attributes: Mapping[str, Any], asked: Mapping[str, Any]) -> bool:
    """Return whether a request was for a stream: the AI SDK says so by the operation or by a first chunk."""
    if asked.get("stream") is True or str(attributes.get("ai.operationId", "")).endswith(".doStream"):
        return True
    return "gen_ai.client.operation.time_to_first_chunk" in attributes or any(
        attributes.get(name) in (True, "true", "True") for name in _STREAM
    )


def _asked(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the parameters of the request that OpenInference keeps."""
    found = parsed(attributes.get("llm.invocation_parameters") or attributes.get("embedding.invocation_parameters"))
    return found if isinstance(found, Mapping) else {}


def _first_chunk_s(attributes: Mapping[str, Any]) -> float | None:
    thousandths = number_of(attributes, _FIRST_CHUNK_MS)
    found = seconds({"s": number_of(attributes, _FIRST_CHUNK_S) if thousandths is None else thousandths / 1000}, "s")
    # strands-agents 1.62, telemetry/tracer.py: `timeToFirstByteMs` as it is.
    is_strands = _STRANDS in (attributes.get("gen_ai.provider.name"), attributes.get("gen_ai.system"))
    return found / 1000 if found is not None and is_strands else found


def _api(attributes: Mapping[str, Any], provider: str) -> str:
    """Return the provider's api, as far as the span says: the conventions name it for OpenAI alone."""
    operation = attributes.get("gen_ai.operation.name") or attributes.get("llm.request.type")
    kind = attributes.get("openai.api.type") or attributes.get("gen_ai.openai.api.type")
    if kind in ("chat_completions", "responses"):
        return "openai.chat" if kind == "chat_completions" else "openai.responses"
    if operation in ("embeddings", "embedding") or attributes.get("openinference.span.kind") == "EMBEDDING":
        return f"{provider}.embeddings"
    return ""


def provider_named(*names: Any) -> str:
    """Return the first name that says who serves the model, as `gen_ai.provider.name` spells it, or `unknown`."""
    for name in names:
        if isinstance(name, str) and _WORDY.fullmatch(word := name.strip().strip('"').lower()):
            if word not in _PROVIDERS and (before := _AI_SDK_API.sub("", word)):
                word = before
            known = _PROVIDERS.get(word) or _PROVIDERS.get(word.partition(".")[0], word)
            if known not in _NO_PROVIDERS:
                return known
    return "unknown"


def error_class(value: Any) -> str | None:
    """Return the class of a failure, never a message: `openai.APIError`, `<class 'openai.APIError'>`, `timeout`."""
    if not isinstance(value, str) or not value:
        return None
    match = _CLASS.match(value)
    word = match[1] if match else value
    return (word.rpartition(".")[2] or None) if _WORDY.fullmatch(word) else None


def has_totals(attributes: Mapping[str, Any]) -> bool:
    """Return whether a span carries token counts of any vocabulary."""
    return any(name in attributes for names in (_GEN_AI, _OPENINFERENCE) for some in names for name in some) or any(
        name in attributes for name in (_JSON_USAGE, _LANGFUSE_USAGE)
    )
