# /// script
# dependencies = ["langchain", "langchain-openai"]
# ///
"""LangChain agents, async: agents as tools of agents; the history is summarised by LangChain's own middleware."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.tools import BaseTool, tool
from langchain_openai import ChatOpenAI
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

model = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key="k")
search = tool("search")(search_async)


def agent(name: str, *tools: BaseTool, **more: Any) -> Any:
    return create_agent(model, tools=list(tools), system_prompt=INSTRUCTIONS[name], name=name, **more)


async def run(agent: Any, text: str) -> str:
    state = await agent.ainvoke({"messages": [{"role": "user", "content": text}]})
    return str(state["messages"][-1].content)


def delegate(name: str, *tools: BaseTool) -> BaseTool:
    inner = agent(name, *tools)

    @tool(name, description=f"Ask the {name}.")
    async def ask(query: str) -> str:
        return await run(inner, query)

    return ask


async def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    await run(agent("assistant", delegate("researcher", search, reader)), prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await run(agent("assistant", *(delegate(name, search) for name in names)), prompt(plan))


async def compact() -> None:
    summaries = SummarizationMiddleware(model, trigger=("messages", 7), keep=("messages", 2))
    await run(agent("assistant", search, middleware=[summaries]), prompt("compact"))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(run(one, prompt(first)), run(two, prompt(second)))


async def in_a_row() -> None:
    await run(agent("writer"), handed(await run(agent("assistant"), prompt("handed-1"))))


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
