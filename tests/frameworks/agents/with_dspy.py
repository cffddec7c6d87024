# /// script
# dependencies = ["dspy", "mcp"]
# ///
"""DSPy: ReActV2 modules with native function calling, whose tools are such modules; tools run one after another.

The engine is the one that DSPy brings (lm15), which speaks HTTP by itself.
Nothing in DSPy shortens the history of a module that runs, so there is no compaction here.
"""

from typing import Any

import dspy
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once_async, handed, play, prompt
from shared import search_async as search

search.__name__ = "search"
dspy.configure(
    lm=dspy.LM(f"openai/{MODEL}", api_base=f"{URL}/v1", api_key="k", cache=False),
    adapter=dspy.ChatAdapter(use_native_function_calling=True),
)


def agent(name: str, *tools: Any) -> dspy.ReActV2:
    return dspy.ReActV2(dspy.Signature("question -> answer", INSTRUCTIONS[name]), tools=list(tools))


def delegate(name: str, *tools: Any) -> dspy.Tool:
    inner = agent(name, *tools)

    async def ask(query: str) -> str:
        return str((await inner.acall(question=query)).answer)

    return dspy.Tool(ask, name=name, desc=f"Ask the {name}.")


async def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    await agent("assistant", delegate("researcher", search, reader)).acall(question=prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await agent("assistant", *(delegate(name, search) for name in names)).acall(question=prompt(plan))


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(one.acall(question=prompt(first)), two.acall(question=prompt(second)))


async def in_a_row() -> None:
    first = await agent("assistant").acall(question=prompt("handed-1"))
    await agent("writer").acall(question=handed(first.answer))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").acall(question=prompt("single")),
            "tools": lambda: agent("assistant", search).acall(question=prompt("tools")),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": lambda: agent("assistant", search).acall(question=prompt("retry")),
            "twins": lambda: tasks("twins-1", "twins-2"),
            "both": lambda: tasks("both-1", "both-2", "adviser"),
            "handed": in_a_row,
        }
    )
