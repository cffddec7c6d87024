# /// script
# dependencies = ["haystack-ai"]
# ///
"""Haystack: agents as tools of agents; the history is summarised by Haystack's own compaction hook."""

import functools
from typing import Any

from haystack.components.agents import Agent
from haystack.components.generators.chat import OpenAIChatGenerator
from haystack.dataclasses import ChatMessage
from haystack.hooks.compaction import CompactionHook, SummarizationCompactor
from haystack.tools import AgentTool, tool
from haystack.utils import Secret
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once, handed, play, prompt
from shared import search as look_up

search = tool(look_up)


def model() -> OpenAIChatGenerator:
    return OpenAIChatGenerator(model=MODEL, api_base_url=f"{URL}/v1", api_key=Secret.from_token("k"))


def agent(name: str, *tools: Any, **more: Any) -> Agent:
    return Agent(chat_generator=model(), tools=list(tools), system_prompt=INSTRUCTIONS[name], **more)


def run(one: Agent, text: str) -> None:
    one.run(messages=[ChatMessage.from_user(text)])


def delegate(name: str, *tools: Any) -> AgentTool:
    return AgentTool(agent(name, *tools), name=name, description=f"Ask the {name}.")


def nested() -> None:
    reader = delegate("reader", delegate("checker", search))
    run(agent("assistant", delegate("researcher", search, reader)), prompt("nested"))


def team(plan: str, *names: str) -> None:
    run(agent("assistant", *(delegate(name, search) for name in names)), prompt(plan))


def compact() -> None:
    compactor = SummarizationCompactor(model(), approximate_summary_tokens=20)
    hook = CompactionHook(compactor, context_window=400, compact_at=0.7, compact_to=0.2)
    run(agent("assistant", search, hooks={"before_llm": [hook]}), prompt("compact"))


def task(plan: str, name: str = "assistant") -> Any:
    return functools.partial(run, agent(name, search), prompt(plan))


def in_a_row() -> None:
    first = agent("assistant").run(messages=[ChatMessage.from_user(prompt("handed-1"))])
    run(agent("writer"), handed(first["last_message"].text))


if __name__ == "__main__":
    play(
        {
            "single": lambda: run(agent("assistant"), prompt("single")),
            "tools": task("tools"),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": task("retry"),
            "compact": compact,
            "twins": lambda: at_once(task("twins-1"), task("twins-2")),
            "both": lambda: at_once(task("both-1"), task("both-2", "adviser")),
            "handed": in_a_row,
        }
    )
