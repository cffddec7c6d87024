"""Which requests go to a model endpoint: by method and path alone, on any host. Knows nothing of bodies.

It runs on the host's thread for every request of every client, so other traffic leaves after one look into a table.
"""

__all__ = ["recognise"]

_CHAT = "openai.chat"
_MESSAGES = "anthropic.messages"
_EMBEDDINGS = "openai.embeddings"
_GENERATE = "google.generate_content"

# Last segment of the path (from its last colon on, if it has one) -> rules `(what the path holds, api)`; the first that
# fits wins. A path holds `/x/` if that stands anywhere in it before the last segment, and "" always.
_POST = {
    "completions": (("/chat/", _CHAT), ("/agents/", _CHAT), ("", "openai.completions")),
    "chat_stream": (("/text/", _CHAT),),  # watsonx
    "chatcompletion_v2": (("/text/", _CHAT),),  # MiniMax
    "invocations": (("", "invocations"),),  # SageMaker, Databricks
    "responses": (("", "openai.responses"),),
    "compact": (("/responses/", "openai.responses.compact"),),
    "decisions": (("", "openai.decisions"),),
    "cancel": (
        ("/responses/", "openai.responses.retrieve"),
        ("/runs/", "openai.assistants.run.retrieve"),
        ("/interactions/", "google.interactions.retrieve"),
    ),
    "embeddings": (("/api/embeddings", "ollama.embed"), ("", _EMBEDDINGS)),
    "multimodalembeddings": (("", _EMBEDDINGS),),  # Voyage
    "contextualizedembeddings": (("", _EMBEDDINGS),),
    "generations": (("/images/", "openai.images"),),
    "images": (("/v1/images", "openai.images"),),  # OpenRouter
    "edits": (("/images/", "openai.images"), ("", "openai.completions")),
    "variations": (("/images/", "openai.images"),),
    "transcriptions": (("/audio/", "openai.transcriptions"),),
    "speech": (("/audio/", "openai.speech"),),
    "translations": (("/audio/", "openai.transcriptions"),),
    "runs": (("/threads/", "openai.assistants.run"),),
    "submit_tool_outputs": (("/runs/", "openai.assistants.run.retrieve"),),
    "messages": (("/v1/messages", _MESSAGES),),
    "complete": (("/v1/", "anthropic.complete"),),
    "count-tokens:rawPredict": (),
    ":rawPredict": (("/publishers/anthropic/", _MESSAGES), ("/publishers/mistralai/", _CHAT)),
    ":streamRawPredict": (("/publishers/anthropic/", _MESSAGES), ("/publishers/mistralai/", _CHAT)),
    ":generateContent": (("", _GENERATE),),
    ":streamGenerateContent": (("", _GENERATE),),
    ":embedContent": (("", "google.embed"),),
    ":batchEmbedContents": (("", "google.embed"),),
    ":predict": (("/publishers/", "google.predict"),),
    "interactions": (("", "google.interactions"),),
    "converse": (("/model/", "bedrock.converse"),),
    "converse-stream": (("/model/", "bedrock.converse"),),
    "invoke": (("/model/", "bedrock.invoke"),),
    "invoke-with-response-stream": (("/model/", "bedrock.invoke"),),
    "chat": (("/text/", _CHAT), ("/api/chat", "ollama.chat"), ("/v2/", "cohere.chat"), ("/v1/", "cohere.v1")),
    "generate": (
        ("/image/", "openai.images"),
        ("/api/generate", "ollama.generate"),
        ("/v1/", "cohere.generate"),
        ("", "huggingface.generate"),
    ),
    "generate_stream": (("", "huggingface.generate"),),
    "embed": (("/api/embed", "ollama.embed"), ("", "cohere.embed")),
    "conversations": (("", "mistral.conversations"),),
    "restart": (("/conversations/", "mistral.conversations"),),
    "generation": (("/text/", "ibm.text_generation"), ("/aigc/", "dashscope.generation")),
    "text-embedding": (("/embeddings/text-embedding/", "dashscope.embed"),),
    "multimodal-embedding": (("/embeddings/multimodal-embedding/", "dashscope.embed"),),
    "text-rerank": (("/rerank/text-rerank/", "dashscope.embed"),),
    "generation_stream": (("/text/", "ibm.text_generation"),),
    ":complete": (("/cortex/", _CHAT),),  # Snowflake
    "rerank": (("", "cohere.rerank"),),
}
# What a path to an answer that was asked for earlier holds before its last segment, the answer's id.
_GET = {
    "/responses/": "openai.responses.retrieve",
    "/runs/": "openai.assistants.run.retrieve",
    "/interactions/": "google.interactions.retrieve",
}
_STORED = tuple(_GET)
# huggingface.co/docs/inference-providers/providers/hf-inference: the model's name ends the path.
_SERVED_BY_NAME = ("/models/", "/hf-inference/models/")


def recognise(method: str, path: str) -> str | None:
    """Return the api that a request to this path speaks, or None for traffic that is not ours to look at.

    `path` may carry its query. A match is a guess that costs little: `read` looks at the body and returns None for one
    that is no model request (a survey's `/responses`). A GET is one only where usage comes in no other way: of an
    answer that is made in the background.
    """
    if "?" in path:
        path = path.partition("?")[0]
    slash = path.rfind("/") + 1
    if method == "POST":
        name = path[slash:]
        rules = _POST.get(name)
        if rules is None:
            if ":" in name:
                rules = _POST.get(name[name.rfind(":") :])
            elif name.startswith("conv_"):
                rules = _POST["restart"]
            if rules is None:
                return "huggingface.generate" if path.startswith(_SERVED_BY_NAME) and ":" not in name else None
        for part, api in rules:
            if part in path:
                return api
    elif method == "GET" and path.endswith(_STORED, 0, slash) and slash < len(path):
        return next(api for part, api in _GET.items() if path.endswith(part, 0, slash))
    return None
