# /// script
# dependencies = ["semantic-kernel"]
# ///
"""Semantic Kernel: chat completion agents as plugins of agents.

Its reducers shorten the history between two questions, not while an agent runs, so there is no compaction here.
"""

from typing import Any

from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.functions import kernel_function
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

client = AsyncOpenAI(base_url=f"{URL}/v1", api_key="k")
service = OpenAIChatCompletion(ai_model_id=MODEL, async_client=client)


class Library:
    """The tools of those who search."""

    search = staticmethod(kernel_function(search_async, name="search", description="Search the library."))


def agent(name: str, *plugins: Any) -> ChatCompletionAgent:
    about = {"name": name, "description": f"Ask the {name}.", "instructions": INSTRUCTIONS[name]}
    return ChatCompletionAgent(service=service, plugins=list(plugins), **about)


async def nested() -> None:
    reader = agent("reader", agent("checker", Library()))
    await agent("assistant", agent("researcher", Library(), reader)).get_response(prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await agent("assistant", *(agent(name, Library()) for name in names)).get_response(prompt(plan))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", Library()), agent(other, Library())
    await at_once_async(one.get_response(prompt(first)), two.get_response(prompt(second)))


async def in_a_row() -> None:
    first = await agent("assistant").get_response(prompt("handed-1"))
    await agent("writer").get_response(handed(first))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").get_response(prompt("single")),
            "tools": lambda: agent("assistant", Library()).get_response(prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", Library()).get_response(prompt("retry")),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
