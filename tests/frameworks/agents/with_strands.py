# /// script
# dependencies = ["strands-agents[openai]"]
# ///
"""Strands (which streams): agents as tools of agents; the history is summarised by Strands' conversation manager."""

from typing import Any

import strands
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, play, prompt, search_async
from strands.agent.conversation_manager import SummarizingConversationManager
from strands.models.openai import OpenAIModel
from strands.multiagent import GraphBuilder

search = strands.tool(name="search")(search_async)


def agent(name: str, *tools: Any, window: int | None = None, **more: Any) -> strands.Agent:
    limit = {"context_window_limit": window} if window else {}
    model = OpenAIModel(client_args={"base_url": f"{URL}/v1", "api_key": "k"}, model_id=MODEL, **limit)
    about = f"The {name}."
    return strands.Agent(
        name=name,
        model=model,
        description=about,
        system_prompt=INSTRUCTIONS[name],
        tools=list(tools),
        callback_handler=None,
        **more,
    )


def delegate(name: str) -> Any:
    @strands.tool(name=name, description=f"Ask the {name}.")
    async def ask(query: str) -> str:
        return str(await agent(name, search).invoke_async(query))

    return ask


async def nested() -> None:
    reader = agent("reader", agent("checker", search).as_tool())
    researcher = agent("researcher", search, reader.as_tool())
    await agent("assistant", researcher.as_tool()).invoke_async(prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await agent("assistant", *(delegate(name) for name in names)).invoke_async(prompt(plan))


async def compact() -> None:
    manager = SummarizingConversationManager(
        summary_ratio=0.8, preserve_recent_messages=2, proactive_compression={"compression_threshold": 0.7}
    )
    one = agent("assistant", search, window=400, conversation_manager=manager)
    await one.invoke_async(prompt("compact"))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(one.invoke_async(prompt(first)), two.invoke_async(prompt(second)))


async def in_a_row() -> None:
    first, second = agent("assistant"), agent("writer")
    second.system_prompt = INSTRUCTIONS["writer"] + prompt("handed-2")
    builder = GraphBuilder()
    builder.add_node(first, "assistant")
    builder.add_node(second, "writer")
    builder.add_edge("assistant", "writer")
    await builder.build().invoke_async(prompt("handed-1"))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").invoke_async(prompt("single")),
            "tools": lambda: agent("assistant", search).invoke_async(prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search).invoke_async(prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
