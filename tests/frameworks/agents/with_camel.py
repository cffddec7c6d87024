# /// script
# dependencies = ["camel-ai", "mcp<2"]
# ///
"""CAMEL: chat agents as tools of chat agents, one after another; CAMEL itself summarises the history."""

import functools
from typing import Any

from camel.agents import ChatAgent
from camel.models import ModelFactory
from camel.toolkits import FunctionTool
from camel.types import ModelPlatformType
from camel.utils import BaseTokenCounter
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once, handed, play, prompt
from shared import search as look_up

search = FunctionTool(look_up)


class Letters(BaseTokenCounter):
    """Counts without the vocabulary that would come from the network."""

    def count_tokens_from_messages(self, messages: list[Any]) -> int:
        return len(str(messages)) // 4

    def encode(self, text: str) -> list[int]:
        return [0] * (len(text) // 4)

    def decode(self, token_ids: list[int]) -> str:
        return "?" * 4 * len(token_ids)


def agent(name: str, *tools: FunctionTool, **more: Any) -> ChatAgent:
    kind = ModelPlatformType.OPENAI_COMPATIBLE_MODEL
    model = ModelFactory.create(kind, MODEL, url=f"{URL}/v1", api_key="k", token_counter=Letters())
    return ChatAgent(INSTRUCTIONS[name], model=model, tools=list(tools), **more)


def run(agent: ChatAgent, text: str) -> str:
    return str(agent.step(text).msg.content)


def delegate(name: str, *tools: FunctionTool) -> FunctionTool:
    def ask(query: str) -> str:
        """Ask the agent.

        Args:
            query: what to do
        """
        return run(agent(name, *tools), query)

    ask.__name__ = name
    return FunctionTool(ask)


def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    run(agent("assistant", delegate("researcher", search, reader)), prompt("nested"))


def team(plan: str, *names: str) -> None:
    run(agent("assistant", *(delegate(name, search) for name in names)), prompt(plan))


def compact() -> None:
    run(agent("assistant", search, summarize_threshold=50, token_limit=500), prompt("compact"))


def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    at_once(functools.partial(run, one, prompt(first)), functools.partial(run, two, prompt(second)))


def in_a_row() -> None:
    run(agent("writer"), handed(run(agent("assistant"), prompt("handed-1"))))


if __name__ == "__main__":
    play(
        {
            "single": lambda: run(agent("assistant"), prompt("single")),
            "tools": lambda: run(agent("assistant", search), prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: run(agent("assistant", search), prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
