# /// script
# dependencies = ["agno", "openai"]
# ///
"""Agno: teams that delegate to agents and to teams; old tool results are made shorter by Agno's own compression."""

from typing import Any

from agno.agent import Agent
from agno.compression.manager import CompressionManager
from agno.models.openai import OpenAIChat
from agno.team import Team
from agno.workflow import Workflow
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, play, prompt, search_async


def model() -> OpenAIChat:
    return OpenAIChat(id=MODEL, base_url=f"{URL}/v1", api_key="k")


def agent(name: str, *tools: Any, **more: Any) -> Agent:
    return Agent(name=name, model=model(), instructions=INSTRUCTIONS[name], tools=list(tools), telemetry=False, **more)


def lead(name: str, *members: Any, tools: Any = ()) -> Team:
    more = {"instructions": INSTRUCTIONS[name], "tools": list(tools), "telemetry": False}
    return Team(name=name, members=list(members), model=model(), **more)


async def nested() -> None:
    reader = lead("reader", agent("checker", search_async))
    await lead("assistant", lead("researcher", reader, tools=[search_async])).arun(prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await lead("assistant", *(agent(name, search_async) for name in names)).arun(prompt(plan))


async def compact() -> None:
    shorter = CompressionManager(model=model(), compress_tool_results=True, compress_tool_results_limit=3)
    await agent("assistant", search_async, compression_manager=shorter, compress_tool_results=True).arun(
        prompt("compact")
    )


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search_async), agent(other, search_async)
    await at_once_async(one.arun(prompt(first)), two.arun(prompt(second)))


async def in_a_row() -> None:
    first, second = agent("assistant"), agent("writer")
    second.instructions = INSTRUCTIONS["writer"] + prompt("handed-2")
    await Workflow(name="in a row", steps=[first, second], telemetry=False).arun(prompt("handed-1"))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").arun(prompt("single")),
            "tools": lambda: agent("assistant", search_async).arun(prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search_async).arun(prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
