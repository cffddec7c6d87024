"""The apis we read, as data. With the tables it gathers the only place that knows providers' field names.

Each mapping says where it comes from. To add a dialect: describe it in one of the tables, name it here, give its path
to `recognise`, add its traps to the tests. Names in `extra`: counts end in `_tokens`; `raw_*` are the provider's own
fields where ours are sums of several, or where they contradict each other.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire.dialects import clouds, cohere, google, local, more, platforms
from tokenflation.sdk.wire.dialects import openai_more as openai
from tokenflation.sdk.wire.dialects.anthropic import COMPLETE, MESSAGES
from tokenflation.sdk.wire.dialects.bedrock import CONVERSE, INVOKE
from tokenflation.sdk.wire.dialects.google_live import LIVE
from tokenflation.sdk.wire.dialects.openai import CHAT, RESPONSES
from tokenflation.sdk.wire.shapes import Dialect

__all__ = ["DIALECTS", "PAYLOAD_STREAMS", "RESPONSE_HEADERS"]

_ONE = (
    CHAT,
    RESPONSES,
    MESSAGES,
    COMPLETE,
    google.GENERATE_CONTENT,
    LIVE,
    *google.INTERACTIONS,
    google.EMBED,
    google.CACHED_CONTENTS,
    cohere.CHAT_V2,
    cohere.SUMMARIZE,
    cohere.PARSE,
    local.OLLAMA_CHAT,
    local.OLLAMA_GENERATE,
    local.OLLAMA_EMBED,
    local.LLAMA_CPP_EMBED,
    local.VLLM_POOLING,
    clouds.CLOUDFLARE,
    clouds.OCI_CHAT,
    clouds.OCI_EMBED,
    clouds.OCI_OTHERS,
    clouds.SAP,
    clouds.DEEPINFRA,
    clouds.DASHSCOPE_APPLICATION,
    clouds.FAL,
    more.MISTRAL_CONVERSATIONS,
    more.ALEPH_ALPHA,
    more.ALEPH_ALPHA_EMBED,
    more.WATSONX,
    more.WATSONX_READ,
    more.DASHSCOPE,
    more.DASHSCOPE_EMBED,
    more.SNOWFLAKE,
    more.SNOWFLAKE_EMBED,
    *more.REPLICATE,
    platforms.CLOVA,
    platforms.DIFY,
    platforms.PINECONE,
    platforms.YANDEX,
    platforms.YANDEX_EMBED,
    openai.IMAGES,
    openai.TRANSCRIPTIONS,
    openai.SPEECH,
    *openai.ASSISTANTS,
    openai.RETRIEVE,
    openai.COMPACT,
    openai.REALTIME,
)
_SERVED = (CHAT, openai.COMPLETIONS, openai.EMBEDDINGS, local.HUGGINGFACE)
DIALECTS: Final[Mapping[str, tuple[Dialect, ...]]] = {
    **{dialect.api: (dialect,) for dialect in _ONE},
    # A prompt that is kept there brings its messages: without variables nothing is sent, and the answer tells.
    "bedrock.converse": (CONVERSE, replace(CONVERSE, request=replace(CONVERSE.request, proof=()), common_path=True)),
    "bedrock.invoke": INVOKE,
    "google.predict": google.PREDICT,
    "openai.decisions": (openai.DECISIONS, google.DECISIONS),
    # HuggingFace's servers of embeddings have the same paths.
    "cohere.embed": (cohere.EMBED, local.HUGGINGFACE_EMBED),
    "cohere.rerank": (cohere.RERANK, cohere.BEDROCK_RERANK, local.HUGGINGFACE_EMBED),
    "cohere.generate": (cohere.GENERATE, local.KOBOLDCPP[0]),
    "huggingface.generate": (local.HUGGINGFACE, *local.SGLANG, local.KOBOLDCPP[0]),
    "huggingface.embed": (replace(local.HUGGINGFACE_EMBED, by_answer=True),),
    "koboldcpp.stream": local.KOBOLDCPP[1:],
    "llama_cpp.completion": (local.LLAMA_CPP,),
    "sglang.embed": (local.SGLANG_EMBED, local.VLLM_POOLING),
    "triton.generate": local.TRITON[:1],
    "triton.generate_stream": local.TRITON[1:],
    "baidu.wenxin": clouds.BAIDU,
    # learn.microsoft.com/azure/foundry/agents: at an agent's own endpoint a request names neither model nor agent.
    "azure.agent": (replace(RESPONSES, request=replace(RESPONSES.request, proof=RESPONSES.request.proof[:1])),),
    # docs.perplexity.ai/api-reference/agent-post; other programs may have an agent of their own at such a path.
    "perplexity.agent": (replace(RESPONSES, common_path=True),),
    # Some servers answer a chat under `/completions`: the request's `messages` tell.
    "openai.completions": (
        openai.COMPLETIONS,
        cohere.WRITER_COMPLETIONS,
        CHAT,
        openai.PROMPT_COMPLETIONS,
        local.LLAMA_CPP,
    ),
    # What a SageMaker or Databricks endpoint serves is up to its owner, an agent's own server among it: the keys of
    # both bodies tell.
    "invocations": tuple(replace(one, common_path=True) for one in _SERVED),
    # Whoever else has GigaChat's paths answers as OpenAI does.
    "gigachat.chat": (more.GIGACHAT, CHAT),
    "gigachat.embeddings": (openai.EMBEDDINGS, openai.EMBEDDINGS_COUNTED_APART),
    # SAP's embeddings have a path of OpenAI's kind.
    "openai.embeddings": (openai.EMBEDDINGS, clouds.SAP_EMBED, platforms.MINIMAX_EMBED),
    "llama.chat": (platforms.LLAMA, CHAT),
    "nvidia.vision": (platforms.NVIDIA_VISION,),
    "cohere.v1": (cohere.CHAT_V1, cohere.WRITER, local.LM_STUDIO, cohere.REKA),
    "root": (local.HUGGINGFACE, local.HUGGINGFACE_EMBED, clouds.TENCENT, clouds.TENCENT_EMBED),
}
"""What `recognise` returns -> the dialects it may be, best first: the request's keys and the answer's facts decide."""

PAYLOAD_STREAMS: Final = frozenset({"invocations"})
"""Apis whose AWS event streams hold pieces of a body of any kind; SageMaker's API_runtime_PayloadPart."""

RESPONSE_HEADERS: Final = frozenset(
    name
    for dialects in DIALECTS.values()
    for dialect in dialects
    for name in (*dialect.answer.headers, dialect.answer.error_header)
    if name is not None
)
"""Names, in lower case, of the response headers that `read` looks at."""
