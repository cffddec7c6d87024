"""Names of agents out of system prompts, as they stand in the canonical JSON of a request."""

import json

import pytest

from tokenflation.sdk.lineage.naming import agent_name


def _system(text: str, role: str = "system") -> bytes:
    return json.dumps([{"role": role, "content": text}], separators=(",", ":")).encode()


@pytest.mark.parametrize("role", ["system", "developer"])
def test_the_role_of_a_system_message_is_no_agents_name(role: str) -> None:
    assert agent_name(_system("You are a careful helper.", role)) == ""


@pytest.mark.parametrize(
    "text",
    [
        "You are Ada Lovelace.",
        "Be brief.\nname: Ada\nWrite code.",
        "# Agent name: Ada",
        'name: "Ada"\n',
        "You are an agent named Ada",
    ],
)
def test_an_agent_is_called_what_its_system_prompt_calls_it(text: str) -> None:
    assert agent_name(_system(text)).startswith("Ada")
