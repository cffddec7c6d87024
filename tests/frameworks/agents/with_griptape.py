# /// script
# dependencies = ["griptape"]
# ///
"""Griptape: agents with native tools; sub-agents are agents in tools.

Its memory is shortened between two questions, not while an agent runs, so there is no compaction here.
"""

import functools
from typing import Any

import schema
from attrs import define
from griptape.artifacts import TextArtifact
from griptape.drivers.prompt.openai import OpenAiChatPromptDriver
from griptape.rules import Rule
from griptape.structures import Agent
from griptape.tokenizers import SimpleTokenizer
from griptape.tools import BaseTool
from griptape.utils.decorators import activity
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once, handed, play, prompt
from shared import search as look_up

QUERY = schema.Schema({schema.Literal("query", description="what to look for"): str})
# Counts without the vocabulary that would come from the network.
letters = SimpleTokenizer(characters_per_token=4, max_input_tokens=10_000, max_output_tokens=1_000)
driver = OpenAiChatPromptDriver(model=MODEL, base_url=f"{URL}/v1", api_key="k", tokenizer=letters)


@define
class Search(BaseTool):
    """Looks things up."""

    @activity(config={"description": "Search the library.", "schema": QUERY})
    def search(self, params: dict[str, Any]) -> TextArtifact:
        return TextArtifact(look_up(params["values"]["query"]))


def agent(name: str, *tools: BaseTool) -> Agent:
    return Agent(prompt_driver=driver, tools=list(tools), rules=[Rule(INSTRUCTIONS[name])])


def run(agent: Agent, text: str) -> str:
    return str(agent.run(text).output.to_text())


def delegate(name: str, *tools: BaseTool) -> BaseTool:
    @define
    class Ask(BaseTool):
        @activity(config={"description": "Ask the agent.", "schema": QUERY})
        def ask(self, params: dict[str, Any]) -> TextArtifact:
            return TextArtifact(run(agent(name, *tools), params["values"]["query"]))

    return Ask(name=name.capitalize())


def nested() -> None:
    reader = delegate("reader", delegate("checker", Search()))
    run(agent("assistant", delegate("researcher", Search(), reader)), prompt("nested"))


def team(plan: str, *names: str) -> None:
    run(agent("assistant", *(delegate(name, Search()) for name in names)), prompt(plan))


def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", Search()), agent(other, Search())
    at_once(functools.partial(run, one, prompt(first)), functools.partial(run, two, prompt(second)))


def in_a_row() -> None:
    run(agent("writer"), handed(run(agent("assistant"), prompt("handed-1"))))


if __name__ == "__main__":
    play(
        {
            "single": lambda: run(agent("assistant"), prompt("single")),
            "tools": lambda: run(agent("assistant", Search()), prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: run(agent("assistant", Search()), prompt("retry")),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
