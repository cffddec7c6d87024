# /// script
# dependencies = ["google-adk>=2"]
# ///
"""Google ADK, over google-genai: agents as tools of agents; the history is summarised by ADK's own event compaction."""

from typing import Any

from google.adk.agents import Agent, BaseAgent, SequentialAgent
from google.adk.apps.app import App, EventsCompactionConfig
from google.adk.models import Gemini
from google.adk.runners import InMemoryRunner
from google.adk.tools.agent_tool import AgentTool
from google.genai import Client, types
from shared import INSTRUCTIONS, TEAM, URL, at_once_async, play, prompt
from shared import search_async as search

search.__name__ = "search"
retries = types.HttpRetryOptions(attempts=3, initial_delay=0.01)
client = Client(api_key="k", vertexai=False, http_options=types.HttpOptions(base_url=URL, retry_options=retries))
model = Gemini(model="gemini-2.5-flash", client=client)


def agent(name: str, *tools: Any) -> Agent:
    about = f"The {name}."
    return Agent(name=name, model=model, description=about, instruction=INSTRUCTIONS[name], tools=list(tools))


async def run(one: BaseAgent, text: str, **more: Any) -> None:
    runner = InMemoryRunner(app=App(name=one.name, root_agent=one, **more))
    await runner.run_debug(text, quiet=True)


async def nested() -> None:
    reader = AgentTool(agent("reader", AgentTool(agent("checker", search))))
    await run(agent("assistant", AgentTool(agent("researcher", search, reader))), prompt("nested"))


async def team(plan: str, *names: str) -> None:
    await run(agent("assistant", *(AgentTool(agent(name, search)) for name in names)), prompt(plan))


async def compact() -> None:
    short = EventsCompactionConfig(token_threshold=420, event_retention_size=2)
    await run(agent("assistant", search), prompt("compact"), events_compaction_config=short)


async def tasks(first: str, second: str, other: str = "assistant") -> None:
    one, two = agent("assistant", search), agent(other, search)
    await at_once_async(run(one, prompt(first)), run(two, prompt(second)))


async def in_a_row() -> None:
    first, second = agent("assistant"), agent("writer")
    first.instruction += prompt("handed-1")
    second.instruction += prompt("handed-2")
    await run(SequentialAgent(name="in_a_row", sub_agents=[first, second]), "Write about trains.")


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
