# /// script
# dependencies = ["crewai"]
# ///
"""CrewAI: a crew's agents delegate to coworkers, and to crews in tools; histories are summarised by CrewAI itself."""

import functools
from typing import Any

from crewai import Agent, Crew, Task
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai.tools import tool
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once, play, prompt
from shared import search as look_up

search = tool("search")(look_up)


class SmallModel(OpenAICompletion):
    def get_context_window_size(self) -> int:
        return 1200


@tool("search")
def long_search(query: str) -> str:
    """Search the library."""
    return look_up(query) + " It is a long text." * 58


def agent(name: str, *tools: Any, kind: type[OpenAICompletion] = OpenAICompletion, **more: Any) -> Agent:
    model = kind(model=MODEL, base_url=f"{URL}/v1", api_key="k")
    goal = INSTRUCTIONS[name]
    return Agent(role=name, goal=goal, backstory=f"A good {name}.", llm=model, tools=list(tools), **more)


def run(text: str, first: Agent, *others: Agent) -> str:
    work = Task(description=text, expected_output="an answer", agent=first)
    return str(Crew(agents=[first, *others], tasks=[work]).kickoff())


def crew(name: str, *tools: Any) -> Any:
    def ask(query: str) -> str:
        return run(query, agent(name, *tools))

    ask.__doc__ = f"Ask the {name}."
    return tool(name)(ask)


def nested() -> None:
    researcher = agent("researcher", search, crew("reader", crew("checker", search)))
    run(prompt("nested"), agent("assistant", allow_delegation=True), researcher)


def fan() -> None:
    # An agent of CrewAI cannot run twice at once, so each delegation makes a crew.
    run(prompt("fan"), agent("assistant", crew("researcher", search)))


def team() -> None:
    run(prompt("team"), agent("assistant", allow_delegation=True), *(agent(name, search) for name in TEAM))


def task(plan: str, name: str = "assistant") -> Any:
    return functools.partial(run, prompt(plan), agent(name, search))


def in_a_row() -> None:
    first, second = agent("assistant"), agent("writer")
    said = Task(description=prompt("handed-1"), expected_output="an answer", agent=first)
    written = Task(description=prompt("handed-2"), expected_output="a text", agent=second, context=[said])
    Crew(agents=[first, second], tasks=[said, written]).kickoff()


if __name__ == "__main__":
    play(
        {
            "single": lambda: run(prompt("single"), agent("assistant")),
            "tools": task("tools"),
            "nested": nested,
            "fan": fan,
            "team": team,
            "retry": task("retry"),
            "compact": lambda: run(prompt("compact"), agent("assistant", long_search, kind=SmallModel)),
            "twins": lambda: at_once(task("twins-1"), task("twins-2")),
            "both": lambda: at_once(task("both-1"), task("both-2", "adviser")),
            "handed": in_a_row,
        }
    )
