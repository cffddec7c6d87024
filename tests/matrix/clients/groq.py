"""The scenarios of the client `groq`."""

from typing import Any

import groq
from tests.matrix.clients.shared import chat_scenarios

__all__ = ["DISTRIBUTION", "SCENARIOS"]

DISTRIBUTION = "groq"


def _client(url: str, **options: Any) -> groq.Groq:
    return groq.Groq(base_url=f"{url}/groq", api_key="k", **options)


def _async_client(url: str, **options: Any) -> groq.AsyncGroq:
    return groq.AsyncGroq(base_url=f"{url}/groq", api_key="k", **options)


SCENARIOS = chat_scenarios(_client, _async_client)
