# /// script
# dependencies = ["autogen-agentchat", "autogen-ext[openai]"]
# ///
"""AutoGen: agents as tools of agents; the history is cut by a buffered model context."""

from typing import Any

from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.tools import AgentTool
from autogen_core.model_context import BufferedChatCompletionContext
from autogen_core.tools import FunctionTool
from autogen_ext.models.openai import OpenAIChatCompletionClient
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, play, prompt, search_async

search = FunctionTool(search_async, name="search", description="Search the library.")


def agent(name: str, *tools: Any, said: str = "", **more: Any) -> AssistantAgent:
    client = OpenAIChatCompletionClient(model=MODEL, base_url=f"{URL}/v1", api_key="k")
    system = INSTRUCTIONS[name] + said
    more = {"description": f"The {name}.", "system_message": system, "max_tool_iterations": 10, **more}
    return AssistantAgent(name, client, tools=list(tools), **more)


def delegate(name: str) -> FunctionTool:
    # An agent of AutoGen has one history: it cannot run twice at once, so each delegation makes one.
    async def ask(query: str) -> str:
        return str((await agent(name, search).run(task=query)).messages[-1])

    return FunctionTool(ask, name=name, description=f"Ask the {name}.")


async def nested() -> None:
    reader = agent("reader", AgentTool(agent("checker", search)))
    researcher = agent("researcher", search, AgentTool(reader))
    await agent("assistant", AgentTool(researcher)).run(task=prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await agent("assistant", *(delegate(name) for name in names)).run(task=prompt(plan))


async def compact() -> None:
    last = BufferedChatCompletionContext(buffer_size=4)
    await agent("assistant", search, said=prompt("compact"), model_context=last).run(task="Go on.")


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(one.run(task=prompt(first)), two.run(task=prompt(second)))


async def in_a_row() -> None:
    both = [agent("assistant", said=prompt("handed-1")), agent("writer", said=prompt("handed-2"))]
    await RoundRobinGroupChat(both, max_turns=2).run(task="Write about trains.")


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").run(task=prompt("single")),
            "tools": lambda: agent("assistant", search).run(task=prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search).run(task=prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
