# /// script
# dependencies = ["llama-index-core", "llama-index-llms-openai"]
# ///
"""LlamaIndex: function agents (which stream) that run agents in tools; old steps are taken out of the scratchpad."""

from typing import Any

from llama_index.core.agent.workflow import FunctionAgent
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai import OpenAI
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt, search_async

model = OpenAI(model=MODEL, api_base=f"{URL}/v1", api_key="k")
search = FunctionTool.from_defaults(async_fn=search_async, name="search")


def agent(name: str, *tools: FunctionTool, kind: type[FunctionAgent] = FunctionAgent) -> FunctionAgent:
    return kind(name=name, llm=model, tools=list(tools), system_prompt=INSTRUCTIONS[name])


async def run(one: FunctionAgent, text: str) -> str:
    return str(await one.run(user_msg=text))


def delegate(name: str, *tools: FunctionTool) -> FunctionTool:
    inner = agent(name, *tools)

    async def ask(query: str) -> str:
        return await run(inner, query)

    return FunctionTool.from_defaults(async_fn=ask, name=name, description=f"Ask the {name}.")


async def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    await run(agent("assistant", delegate("researcher", search, reader)), prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await run(agent("assistant", *(delegate(name, search) for name in names)), prompt(plan))


class Forgetful(FunctionAgent):
    async def take_step(self, ctx: Any, *args: Any, **kwargs: Any) -> Any:
        steps = await ctx.store.get(self.scratchpad_key, default=[])
        await ctx.store.set(self.scratchpad_key, steps[-4:])
        return await super().take_step(ctx, *args, **kwargs)


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(run(one, prompt(first)), run(two, prompt(second)))


async def in_a_row() -> None:
    await run(agent("writer", search), handed(await run(agent("assistant", search), prompt("handed-1"))))


if __name__ == "__main__":
    play(
        {
            "single": lambda: run(agent("assistant", search), prompt("single")),
            "tools": lambda: run(agent("assistant", search), prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: run(agent("assistant", search), prompt("retry")),
            "compact": lambda: run(agent("assistant", search, kind=Forgetful), prompt("compact")),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
