"""The apis we read, as data. With the tables it gathers the only place that knows providers' field names.

Each mapping says where it comes from. To add a dialect: describe it in one of the tables, name it here, give its path
to `recognise`, add its traps to the tests. Names in `extra`: counts end in `_tokens`; `raw_*` are the provider's own
fields where ours are sums of several, or where they contradict each other.
"""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from tokenflation.sdk.wire import dialects_cohere as cohere
from tokenflation.sdk.wire import dialects_google as google
from tokenflation.sdk.wire import dialects_local as local
from tokenflation.sdk.wire import dialects_more as more
from tokenflation.sdk.wire import dialects_openai_more as openai
from tokenflation.sdk.wire.dialects_anthropic import COMPLETE, MESSAGES
from tokenflation.sdk.wire.dialects_bedrock import CONVERSE, INVOKE
from tokenflation.sdk.wire.dialects_openai import CHAT, RESPONSES
from tokenflation.sdk.wire.shapes import Dialect

__all__ = ["DIALECTS", "PAYLOAD_STREAMS", "RESPONSE_HEADERS"]

_ONE = (
    CHAT,
    RESPONSES,
    MESSAGES,
    COMPLETE,
    CONVERSE,
    google.GENERATE_CONTENT,
    *google.INTERACTIONS,
    google.EMBED,
    google.CACHED_CONTENTS,
    cohere.CHAT_V2,
    cohere.GENERATE,
    cohere.SUMMARIZE,
    cohere.PARSE,
    cohere.EMBED,
    local.OLLAMA_CHAT,
    local.OLLAMA_GENERATE,
    local.OLLAMA_EMBED,
    local.HUGGINGFACE,
    more.MISTRAL_CONVERSATIONS,
    more.WATSONX,
    more.DASHSCOPE,
    more.DASHSCOPE_EMBED,
    *more.REPLICATE,
    openai.EMBEDDINGS,
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
    "bedrock.invoke": INVOKE,
    "google.predict": google.PREDICT,
    "openai.decisions": (openai.DECISIONS, google.DECISIONS),
    "cohere.rerank": (cohere.RERANK, cohere.BEDROCK_RERANK),
    # Some servers answer a chat under `/completions`: the request's `messages` tell.
    "openai.completions": (openai.COMPLETIONS, cohere.WRITER_COMPLETIONS, CHAT, openai.PROMPT_COMPLETIONS),
    # What a SageMaker or Databricks endpoint serves is up to its owner, an agent's own server among it: the keys of
    # both bodies tell.
    "invocations": tuple(replace(one, common_path=True) for one in _SERVED),
    # Whoever else has GigaChat's paths answers as OpenAI does.
    "gigachat.chat": (more.GIGACHAT, CHAT),
    "gigachat.embeddings": (openai.EMBEDDINGS, openai.EMBEDDINGS_COUNTED_APART),
    "cohere.v1": (cohere.CHAT_V1, cohere.WRITER),
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
