"""Which requests go to a model endpoint: by method and path alone, on any host. Knows nothing of bodies."""

__all__ = ["recognise"]

_SUFFIXES = (
    ("/chat/completions", "openai.chat"),
    ("/responses", "openai.responses"),
    ("/v1/messages", "anthropic.messages"),
    (":generateContent", "google.generate_content"),
    (":streamGenerateContent", "google.generate_content"),
)


def recognise(method: str, path: str) -> str | None:
    """Return the api that a request to this path speaks, or None for traffic that is not ours to look at."""
    if method != "POST":
        return None
    for suffix, api in _SUFFIXES:
        if path.endswith(suffix):
            return api
    return None
