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


@pytest.mark.parametrize("own", ["You are a helper.", "You are Bob.", "Be brief. " * 300])
def test_an_agent_is_not_called_what_those_are_called_that_it_may_hand_over_to(own: str) -> None:
    told = 'You are an agent. Your internal name is "ada". The description about you is "asks".'
    others = "You have a list of other agents to transfer to:\n\n\nAgent name: cy\nAgent description: reads\n"
    assert agent_name(_system(f"{own}\n\n{told}\n\n\n{others}")) == "ada"
    assert agent_name(_system("Your internal name is of no matter. You are Ada.")) == "Ada"
