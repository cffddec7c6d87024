# /// script
# dependencies = ["smolagents[openai]"]
# ///
"""smolagents: tool-calling agents that manage agents; a step callback takes old steps out of the memory."""

import functools
from typing import Any

from shared import MODEL, TEAM, URL, at_once, handed, play, prompt
from shared import search as look_up
from smolagents import ActionStep, OpenAIModel, ToolCallingAgent, tool

model = OpenAIModel(model_id=MODEL, api_base=f"{URL}/v1", api_key="k")
search = tool(look_up)


def agent(name: str, *tools: Any, inner: Any = (), **more: Any) -> ToolCallingAgent:
    about = f"Ask the {name}."
    return ToolCallingAgent(
        list(tools), model, name=name, description=about, managed_agents=list(inner), verbosity_level=0, **more
    )


def nested() -> None:
    reader = agent("reader", inner=[agent("checker", search)])
    agent("assistant", inner=[agent("researcher", search, inner=[reader])]).run(prompt("nested"))


def team(plan: str, *names: str) -> None:
    # An agent of smolagents has one memory: it cannot run twice at once.
    threads = None if len(names) > 1 else 1
    agent("assistant", inner=[agent(name, search) for name in names], max_tool_threads=threads).run(prompt(plan))


def forget(step: ActionStep, agent: ToolCallingAgent) -> None:
    first, *steps = agent.memory.steps
    agent.memory.steps = [first, *steps[-2:]]


def task(plan: str, name: str = "assistant", *more: Any, **options: Any) -> Any:
    return functools.partial(agent(name, search, *more, **options).run, prompt(plan))


@tool
def timetable(query: str) -> str:
    """Look up when trains leave.

    Args:
        query: from where
    """
    return f"Nothing leaves {query}."


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant").run(prompt("single")),
            "tools": task("tools"),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": task("retry"),
            "compact": task("compact", step_callbacks=[forget]),
            "twins": lambda: at_once(task("twins-1"), task("twins-2")),
            "both": lambda: at_once(task("both-1"), task("both-2", "adviser", timetable)),
            "handed": lambda: agent("writer").run(handed(agent("assistant").run(prompt("handed-1")))),
        }
    )
