# /// script
# dependencies = ["deepagents", "langchain-openai"]
# ///
"""Deep Agents: sub-agents behind the `task` tool of its own middleware, which summarises the history too."""

from typing import Any

from deepagents import create_deep_agent
from deepagents.backends import StateBackend
from deepagents.middleware.summarization import SummarizationMiddleware
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

model = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key="k")
search = tool("search")(search_async)


def sub(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"Ask the {name}.", "system_prompt": INSTRUCTIONS[name], "tools": [search]}


def agent(name: str, *tools: Any, **more: Any) -> Any:
    return create_deep_agent(model, tools=list(tools), system_prompt=INSTRUCTIONS[name], name=name, **more)


async def run(agent: Any, text: str) -> str:
    state = await agent.ainvoke({"messages": [{"role": "user", "content": text}]})
    return str(state["messages"][-1].content)


async def team(plan: str, *names: str) -> None:
    await run(agent("assistant", subagents=[sub(name) for name in names]), prompt(plan))


async def nested() -> None:
    def compiled(name: str, *subs: Any, tools: Any = ()) -> Any:
        return {"name": name, "description": f"Ask the {name}.", "runnable": agent(name, *tools, subagents=list(subs))}

    reader = compiled("reader", sub("checker"))
    researcher = compiled("researcher", reader, tools=[search])
    await run(agent("assistant", subagents=[researcher]), prompt("nested"))


async def compact() -> None:
    summaries = SummarizationMiddleware(
        model=model, backend=StateBackend(), trigger=("messages", 7), keep=("messages", 2)
    )
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
