# /// script
# dependencies = ["agent-framework-core", "agent-framework-openai"]
# ///
"""Microsoft Agent Framework over the Responses API, which holds the history; its strategy summarises what is here."""

from typing import Any

from agent_framework import Agent, FunctionTool, SummarizationStrategy, tool
from agent_framework.openai import OpenAIChatClient
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

client = OpenAIChatClient(model=MODEL, base_url=f"{URL}/v1", api_key="k")
search = tool(search_async, name="search")


def agent(name: str, *tools: FunctionTool, **more: Any) -> Agent:
    return Agent(client, INSTRUCTIONS[name], name=name, description=f"Ask the {name}.", tools=list(tools), **more)


def delegate(name: str, *tools: FunctionTool) -> FunctionTool:
    return agent(name, *tools).as_tool()


async def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    await agent("assistant", delegate("researcher", search, reader)).run(prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await agent("assistant", *(delegate(name, search) for name in names)).run(prompt(plan))


async def compact() -> None:
    summaries = SummarizationStrategy(client=client, target_count=3, threshold=2)
    # By default the provider holds the history, and each request names the answer before: nothing to summarise here.
    held_here = {"store": False}
    assistant = agent("assistant", search, compaction_strategy=summaries, default_options=held_here)
    await assistant.run(prompt("compact"))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(one.run(prompt(first)), two.run(prompt(second)))


async def in_a_row() -> None:
    first = await agent("assistant").run(prompt("handed-1"))
    await agent("writer").run(handed(first.text))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").run(prompt("single")),
            "tools": lambda: agent("assistant", search).run(prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search).run(prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
