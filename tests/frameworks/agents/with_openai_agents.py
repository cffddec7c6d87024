# /// script
# dependencies = ["openai-agents"]
# ///
"""OpenAI Agents SDK, over the Responses API: agents as tools; the history is trimmed by a model input filter."""

from typing import Any

from agents import Agent, RunConfig, Runner, function_tool, set_default_openai_client
from agents.run import CallModelData, ModelInputData
from openai import AsyncOpenAI
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

set_default_openai_client(AsyncOpenAI(base_url=f"{URL}/v1", api_key="k"), use_for_tracing=False)
search = function_tool(search_async, name_override="search")


def agent(name: str, *tools: Any, said: str = "") -> Agent[Any]:
    return Agent(name=name, model=MODEL, instructions=INSTRUCTIONS[name] + said, tools=list(tools))


def delegate(inner: Agent[Any]) -> Any:
    return inner.as_tool(tool_name=inner.name, tool_description=f"Ask the {inner.name}.")


async def nested() -> None:
    reader = agent("reader", delegate(agent("checker", search)))
    researcher = agent("researcher", search, delegate(reader))
    await Runner.run(agent("assistant", delegate(researcher)), prompt("nested"))


async def team(plan: str, *names: str) -> None:
    tools = [delegate(agent(name, search)) for name in names]
    await Runner.run(agent("assistant", *tools), prompt(plan))


def trimmed(data: CallModelData[Any]) -> ModelInputData:
    return ModelInputData(input=data.model_data.input[-4:], instructions=data.model_data.instructions)


async def compact() -> None:
    config = RunConfig(call_model_input_filter=trimmed)
    await Runner.run(agent("assistant", search, said=prompt("compact")), "Go on.", run_config=config)


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(Runner.run(one, prompt(first)), Runner.run(two, prompt(second)))


async def in_a_row() -> None:
    first = await Runner.run(agent("assistant"), prompt("handed-1"))
    await Runner.run(agent("writer"), handed(first.final_output))


if __name__ == "__main__":
    play(
        {
            "single": lambda: Runner.run(agent("assistant"), prompt("single")),
            "tools": lambda: Runner.run(agent("assistant", search), prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: Runner.run(agent("assistant", search), prompt("retry")),
            "compact": compact,
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
