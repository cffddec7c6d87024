# /// script
# dependencies = ["openai"]
# ///
"""No framework: a loop around the `openai` client."""

import functools
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from openai import OpenAI
from shared import INSTRUCTIONS, MODEL, TEAM, URL, at_once, handed, play, prompt, search

TITLE, DISTRIBUTION = "no framework", "openai"
Tools = dict[str, Callable[[str], str]]

client = OpenAI(base_url=f"{URL}/v1", api_key="k")


def ask(messages: list[dict[str, Any]], tools: Tools) -> Any:
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
    offered = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in tools]
    more = {"tools": offered} if tools else {}
    return client.chat.completions.create(model=MODEL, messages=messages, **more).choices[0].message


def agent(name: str, tools: Tools, text: str, *, keep: int = 1000) -> str:
    messages: list[dict[str, Any]] = [{"role": "system", "content": INSTRUCTIONS[name]}]
    messages.append({"role": "user", "content": text})
    while True:
        answer = ask(messages, tools)
        if not answer.tool_calls:
            return str(answer.content)
        messages.append(answer.model_dump(exclude_none=True))
        with ThreadPoolExecutor() as pool:
            running = [(call.id, pool.submit(run_tool, call, tools)) for call in answer.tool_calls]
        messages += [{"role": "tool", "tool_call_id": id_, "content": done.result()} for id_, done in running]
        if len(messages) > keep:
            messages = summarised(messages)


def run_tool(call: Any, tools: Tools) -> str:
    return tools[call.function.name](**json.loads(call.function.arguments))


def summarised(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    text = json.dumps(messages[1:])
    answer = ask([{"role": "user", "content": f"Summarise this conversation: {text}"}], {})
    return [messages[0], {"role": "user", "content": answer.content}]


def sub_agent(name: str, tools: Tools) -> Tools:
    return {name: lambda query: agent(name, tools, query)}


def nested() -> None:
    reader = sub_agent("reader", sub_agent("checker", {"search": search}))
    researcher = sub_agent("researcher", {"search": search, **reader})
    agent("assistant", researcher, prompt("nested"))


def task(plan: str, name: str = "assistant") -> Callable[[], str]:
    return functools.partial(agent, name, {"search": search}, prompt(plan))


def team(plan: str, *names: str) -> None:
    tools = {name: sub_agent(name, {"search": search})[name] for name in names}
    agent("assistant", tools, prompt(plan))


if __name__ == "__main__":
    play(
        {
            "single": lambda: agent("assistant", {}, prompt("single")),
            "tools": task("tools"),
            "nested": nested,
            "fan": lambda: team("fan", "researcher"),
            "team": lambda: team("team", *TEAM),
            "retry": task("retry"),
            "compact": lambda: agent("assistant", {"search": search}, prompt("compact"), keep=6),
            "twins": lambda: at_once(task("twins-1"), task("twins-2")),
            "both": lambda: at_once(task("both-1"), task("both-2", "adviser")),
            "handed": lambda: agent("writer", {}, handed(agent("assistant", {}, prompt("handed-1")))),
        }
    )
