# /// script
# dependencies = ["mirascope[openai]"]
# ///
"""Mirascope: a loop around its calls, resumed with the tools' results; sub-agents are such loops in tools.

It leaves the history to the program, so there is no compaction of its own here.
"""

from typing import Any

from mirascope import llm
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

llm.register_provider("openai:completions", scope="openai/", base_url=f"{URL}/v1", api_key="k")


@llm.tool
async def search(query: str) -> str:
    """Search the library."""
    return await search_async(query)


async def run(name: str, text: str, *tools: Any) -> str:
    @llm.call(f"openai/{MODEL}", tools=list(tools))
    async def ask() -> Any:
        return [llm.messages.system(INSTRUCTIONS[name]), llm.messages.user(text)]

    response = await ask()
    while response.tool_calls:
        response = await response.resume(await response.execute_tools())
    return str(response.text())


def delegate(name: str, *tools: Any) -> Any:
    async def ask(query: str) -> str:
        """Ask the agent."""
        return await run(name, query, *tools)

    ask.__name__ = name
    return llm.tool(ask)


async def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    await run("assistant", prompt("nested"), delegate("researcher", search, reader))


async def team(plan: str, *names: str) -> None:
    await run("assistant", prompt(plan), *(delegate(name, search) for name in names))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    await at_once_async(run("assistant", prompt(first), search), run(other, prompt(second), search))


async def in_a_row() -> None:
    await run("writer", handed(await run("assistant", prompt("handed-1"))))


if __name__ == "__main__":
    play(
        {
            "single": lambda: run("assistant", prompt("single")),
            "tools": lambda: run("assistant", prompt("tools"), search),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: run("assistant", prompt("retry"), search),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
