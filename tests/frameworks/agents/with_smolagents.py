# /// script
# dependencies = ["smolagents[openai]"]
# ///
"""smolagents: tool-calling agents that manage agents; a step callback takes old steps out of the memory."""

import functools
from collections.abc import Callable
from typing import Any

from shared import MODEL, TEAM, URL, at_once, handed, play, prompt
from shared import search as look_up
from smolagents import ActionStep, MultiStepAgent, OpenAIModel, ToolCallingAgent, tool

model = OpenAIModel(model_id=MODEL, api_base=f"{URL}/v1", api_key="k")
search = tool(look_up)


@tool
def timetable(query: str) -> str:
    """Look up when trains leave.

    Args:
        query: from where
    """
    return f"Nothing leaves {query}."


def forget(step: ActionStep, agent: MultiStepAgent) -> None:
    first, *steps = agent.memory.steps
    agent.memory.steps = [first, *steps[-2:]]


def scenarios(kind: type[MultiStepAgent]) -> dict[str, Callable[[], Any]]:
    """Return the scenarios with agents of one kind."""

    def agent(name: str, *tools: Any, inner: Any = (), **more: Any) -> MultiStepAgent:
        about = f"Ask the {name}."
        return kind(
            list(tools), model, name=name, description=about, managed_agents=list(inner), verbosity_level=0, **more
        )

    def nested() -> None:
        reader = agent("reader", inner=[agent("checker", search)])
        agent("assistant", inner=[agent("researcher", search, inner=[reader])]).run(prompt("nested"))

    def team(plan: str, *names: str, **options: Any) -> None:
        agent("assistant", inner=[agent(name, search) for name in names], **options).run(prompt(plan))

    def task(plan: str, name: str = "assistant", *more: Any, **options: Any) -> Any:
        return functools.partial(agent(name, search, *more, **options).run, prompt(plan))

    # An agent of smolagents has one memory: it cannot run twice at once.
    one_by_one = {"max_tool_threads": 1} if kind is ToolCallingAgent else {}
    return {
        "single": lambda: agent("assistant").run(prompt("single")),
        "tools": task("tools"),
        "nested": nested,
        "fan": lambda: team("fan", "researcher", **one_by_one),
        "team": lambda: team("team", *TEAM),
        "retry": task("retry"),
        "compact": task("compact", step_callbacks=[forget]),
        "twins": lambda: at_once(task("twins-1"), task("twins-2")),
        "both": lambda: at_once(task("both-1"), task("both-2", "adviser", timetable)),
        "handed": lambda: agent("writer").run(handed(agent("assistant").run(prompt("handed-1")))),
    }


if __name__ == "__main__":
    play(scenarios(ToolCallingAgent))
