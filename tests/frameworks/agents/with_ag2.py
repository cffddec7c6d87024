# /// script
# dependencies = ["ag2[openai]"]
# ///
"""AG2: agents as tools of agents; the history is cut by AG2's own sliding window."""

from typing import Any

from ag2 import Agent, tool
from ag2.config import OpenAIConfig
from ag2.policies import SlidingWindowPolicy
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

config = OpenAIConfig(model=MODEL, base_url=f"{URL}/v1", api_key="k")
search = tool(search_async, name="search")


def agent(name: str, *tools: Any, said: str = "", **more: Any) -> Agent[Any]:
    return Agent(name, INSTRUCTIONS[name] + said, config=config, tools=list(tools), **more)


def delegate(name: str, *tools: Any) -> Any:
    return agent(name, *tools).as_tool(name=name, description=f"Ask the {name}.")


async def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    await agent("assistant", delegate("researcher", search, reader)).ask(prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await agent("assistant", *(delegate(name, search) for name in names)).ask(prompt(plan))


async def compact() -> None:
    await agent("assistant", search, said=prompt("compact"), assembly=[SlidingWindowPolicy(4)]).ask("Go on.")


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(one.ask(prompt(first)), two.ask(prompt(second)))


async def in_a_row() -> None:
    first = await agent("assistant").ask(prompt("handed-1"))
    await agent("writer").ask(handed(first.body))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").ask(prompt("single")),
            "tools": lambda: agent("assistant", search).ask(prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search).ask(prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
