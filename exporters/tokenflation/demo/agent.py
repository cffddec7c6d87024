"""An example agent, as small as one can be that still plans, uses tools and starts sub-agents.

A planner picks tools; the tool `ask_reader` is a sub-agent that reads documentation page by page. Three kinds of task
use them differently. Only the scopes (`tf.task`, `tf.agent`, `tf.tool`) connect it with the recorder: they name the
work, and the calls themselves are found in the clients' HTTP traffic.
"""

import json
from collections.abc import Sequence
from typing import Any

import tokenflation.sdk as tf
from tokenflation.demo.models import Message, Models
from tokenflation.demo.tasks import TOPICS, Task
from tokenflation.demo.tools import Library, calculate

__all__ = ["answer_once", "run_task"]

_PLANNER = "You answer questions about Python. Use the tool you are told to use, then answer in one short sentence."
_READER = "You read documentation. Note what a page says in a few words."
_WRITER = "You write one short sentence."
_PAGES = 2


def _tool(name: str, description: str, **argument: Message) -> Message:
    """Return one tool's definition, with one argument."""
    parameters = {"type": "object", "properties": argument, "required": list(argument)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


# A small model keeps to arguments that a tool can take only if a list or a pattern holds it to them.
_TOPIC: Message = {"enum": list(TOPICS)}
_EXPRESSION: Message = {"type": "string", "pattern": "^[0-9]{1,4} [-+*/] [0-9]{1,4}$"}
_TOOLS = [
    _tool("search", "Search Python's manual.", topic=_TOPIC),
    _tool("ask_reader", "Let a reader read Python's manual.", topic=_TOPIC),
    _tool("calculate", "Calculate.", expression=_EXPRESSION),
]
_RESULT = {"type": "object", "properties": {"result": {"type": "number"}}, "required": ["result"]}


def run_task(task: Task, models: Models, library: Library) -> str:
    """Do one task as an agent and return its answer."""
    with tf.task(task.kind, id=task.task_id), tf.agent("planner"):
        if task.kind == "calculate":
            messages = _plan(task, ["calculate"], models, library)
            messages.append({"role": "user", "content": "Give the result."})
            answer = models.say(messages, _TOOLS, _RESULT)
            tf.outcome(success=task.is_right(answer))
            return answer
        steps = [f"ask_reader for {word}" for word in task.words]
        if task.kind == "explain":
            steps.append(f"search for {task.words[0]}")
        messages = _plan(task, steps, models, library)
        notes = "\n".join(str(message["content"]) for message in messages if message["role"] == "tool")
        return models.sum_up(_WRITER, f"{notes}\n{task.question}")


def answer_once(task: Task, models: Models) -> str:
    """Answer the question of a task with one call: what an agent's tokens are compared with."""
    with tf.task("answer-once", id=f"once-{task.task_id}"):
        answer = models.say([{"role": "system", "content": _WRITER}, {"role": "user", "content": task.question}])
        if task.result is not None:
            tf.outcome(success=task.is_right(answer))
        return answer


def _plan(task: Task, steps: Sequence[str], models: Models, library: Library) -> list[Message]:
    """Let the planner use one tool per step; returns the conversation."""
    messages: list[Message] = [{"role": "system", "content": _PLANNER}]
    for number, step in enumerate(steps):
        ask = f"{task.question}\nUse {step}." if number == 0 else f"Now use {step}."
        messages.append({"role": "user", "content": ask})
        answer = models.use_tool(messages, _TOOLS)
        messages.append(answer)
        for call in answer.get("tool_calls", []):
            result = _run_tool(call["function"], task.question, models, library)
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    return messages


def _run_tool(function: dict[str, Any], question: str, models: Models, library: Library) -> str:
    with tf.tool(function["name"]):
        try:
            (argument,) = json.loads(function["arguments"]).values()
        except ValueError:
            function["arguments"] = "{}"  # the model server refuses a history that holds broken JSON
            return "error: the arguments are no JSON object of one value"
        match function["name"]:
            case "search":
                return library.search(argument)
            case "calculate":
                return calculate(argument)
            case _:
                return _read(argument, question, models, library)


def _read(topic: str, question: str, models: Models, library: Library) -> str:
    """Start a sub-agent that reads the topic page by page; returns its notes."""
    with tf.agent("reader"):
        messages: list[Message] = []
        for page in library.pages(topic, _PAGES) or ["(no such topic)"]:
            messages.append({"role": "user", "content": f"{question}\nPage: {page}"})
            messages.append({"role": "assistant", "content": models.read(_READER, messages)})
        return " ".join(message["content"] for message in messages if message["role"] == "assistant")
