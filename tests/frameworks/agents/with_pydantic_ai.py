# /// script
# dependencies = ["pydantic-ai-slim[openai]"]
# ///
"""pydantic-ai: agents delegate to agents in tools; the history is summarised by a history processor."""

from typing import Any

from pydantic_ai import Agent, ModelMessage, ModelRequest
from pydantic_ai.capabilities import ProcessHistory
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

model = OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key="k"))


def agent(name: str, *tools: Any, **more: Any) -> Agent[None, str]:
    return Agent(model, name=name, instructions=INSTRUCTIONS[name], tools=tools, **more)


def delegate(inner: Agent[None, str]) -> Any:
    async def tool(query: str) -> str:
        return (await inner.run(query)).output

    tool.__name__ = inner.name or ""
    return tool


def nested() -> None:
    reader = agent("reader", delegate(agent("checker", search_async)))
    researcher = agent("researcher", search_async, delegate(reader))
    agent("assistant", delegate(researcher)).run_sync(prompt("nested"))


def team(plan: str, *names: str) -> None:
    agent("assistant", *(delegate(agent(name, search_async)) for name in names)).run_sync(prompt(plan))


async def summarised(messages: list[ModelMessage]) -> list[ModelMessage]:
    if len(messages) <= 6:
        return messages
    summariser = Agent(model, instructions="Summarise this conversation.")
    summary = await summariser.run("Summarise it.", message_history=messages[:-2])
    return [ModelRequest.user_text_prompt(summary.output), *messages[-2:]]


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search_async), agent(other, search_async)
    await at_once_async(one.run(prompt(first)), two.run(prompt(second)))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").run_sync(prompt("single")),
            "tools": lambda: agent("assistant", search_async).run_sync(prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search_async).run_sync(prompt("retry")),
            "compact": lambda: agent("assistant", search_async, capabilities=[ProcessHistory(summarised)]).run_sync(
                prompt("compact")
            ),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": lambda: agent("writer").run_sync(handed(agent("assistant").run_sync(prompt("handed-1")).output)),
        }
    )
