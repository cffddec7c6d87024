"""Which requests go to a model endpoint: by method and path alone, on any host. Knows nothing of bodies.

It runs on the host's thread for every request of every client, so other traffic leaves after one `endswith`.
"""

__all__ = ["recognise"]

_APIS = {
    "/chat/completions": "openai.chat",
    "/responses": "openai.responses",
    "/v1/messages": "anthropic.messages",
    ":generateContent": "google.generate_content",
    ":streamGenerateContent": "google.generate_content",
    # Anthropic's models on Vertex AI: the body of the Messages API, the model's name in the path.
    ":rawPredict": "anthropic.messages",
    ":streamRawPredict": "anthropic.messages",
}
_SUFFIXES = tuple(_APIS)


def recognise(method: str, path: str) -> str | None:
    """Return the api that a request to this path speaks, or None for traffic that is not ours to look at.

    `path` may carry its query. A match is a guess that costs little: `read` looks at the body and returns None for one
    that is no model request (a survey's `/responses`). Only POST counts: fetching a stored answer generates nothing.
    """
    if method != "POST":
        return None
    if "?" in path:
        path = path.partition("?")[0]
    if not path.endswith(_SUFFIXES):
        return None
    if path.endswith("awPredict") and "/publishers/anthropic/" not in path:
        return None
    return next(api for suffix, api in _APIS.items() if path.endswith(suffix))
