"""The scripted model server: real HTTP on 127.0.0.1, and the model answers by plan (see `plans.py`).

    with Model() as model:
        run_an_agent(base_url=model.openai_url, prompt="Help me. [[plan:tools]]")
        assert [one.turn for one in model.served] == [0, 1, 2, 3, 4, 5]

The plan of a request is the one of the answer that it says it follows (the server holds the history of Responses), or
the first one named in its system prompt, then in what the user says, then anywhere. The tool of an ask is the offered
one whose name has the ask's tool in it, or the only one that delegates; arguments are made from its schema. An agent
that is told to write code is offered none, and gets code. Where a tool to answer with is offered, answers are given
through it. A request of the plan `compact` that does not offer its tool wants a summary, and gets one, also where it
names no plan.
"""

import itertools
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.frameworks.answers import Answer, Asked, Rendered, chat, gemini, messages, responses
from tests.frameworks.plans import PLANS, Ask, Refuse
from tests.providers import Dialect, Provider, Received

__all__ = ["Model", "Served"]

_DELEGATES = re.compile("delegate|transfer|ask_|handoff|call_agent|^task$", re.IGNORECASE)
_NAMES_AGENT = re.compile("coworker|member|agent|recipient|subagent", re.IGNORECASE)
_ANSWERS = {"final_answer", "submit"}
_CODE = "<code>"
"""Stands in the system prompt of an agent that writes code."""
_RENDER = {"/chat/completions": chat, "/responses": responses, "/messages": messages, "enerateContent": gemini}


@dataclass(frozen=True)
class Served:
    """One request that the model answered: which turn of which plan it was, and what the answer asked for."""

    plan: str
    turn: int | None
    """Number of the turn among the answered ones; None for a summary."""
    status: int
    answer: Answer
    at_ns: int
    in_code: int = 0
    """Tools that the answer asks for in code instead of by tool calls."""


@dataclass
class Model(Provider):
    """The running server; a context manager, as `Provider` is."""

    served: list[Served] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Why requests were refused that no plan refuses."""
    _turns: Counter[str] = field(default_factory=Counter)
    _answered: Counter[str] = field(default_factory=Counter)
    _of: dict[int, Served] = field(default_factory=dict)
    _held: dict[str, Served] = field(default_factory=dict)
    """Answers by their ids, as a request may name the one before instead of its history."""
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    _deciding: threading.Lock = field(default_factory=threading.Lock)

    def note(self, request: Received) -> int:
        """Decide what to answer, then log the request."""
        with self._deciding:
            try:
                served = self._decide(request)
            except LookupError as error:
                self.problems.append(str(error.args[0]))
                request.markers.append(("status", "400"))
            else:
                self.served.append(served)
                self._of[id(request)] = served
                self._held[served.answer.response_id] = served
                request.markers += [("status", str(served.status))] if served.status != 200 else []
        return super().note(request)

    def dialect(self, path: str) -> Dialect:
        """Return what renders the answer to a request to this path."""
        render = next(made for part, made in _RENDER.items() if part in path)

        def answered(request: Received) -> Rendered:
            return render(self._of[id(request)].answer)

        return answered

    def _decide(self, request: Received) -> Served:
        at_ns = time.time_ns()
        offered = _offered(request.body)
        before = self._held.get(request.body.get("previous_response_id") or "")
        name = before.plan if before else _plan_of(request.body) or ("compact" if self._turns["compact"] else None)
        if name not in PLANS:
            raise LookupError(f"{request.path} names no plan: {json.dumps(request.body)[:300]}")
        codes = not offered and _CODE in json.dumps(request.body.get("messages", [])[:1])
        if name == "compact" and not codes and not any("search" in tool for tool in offered):
            done = f"{self._answered[name]} parts are done, the others are not"
            text = f"Summary {next(self._numbers)}: {done}. [[plan:{name}]]"  # no two alike, as from a real model
            return Served(name, None, 200, self._answer(request, text, ()), at_ns)
        number = self._turns[name]
        if number >= len(PLANS[name].turns):
            raise LookupError(f"the plan {name} is at its end, and {request.path} asks for more")
        turn = PLANS[name].turns[number]
        self._turns[name] += 1
        if isinstance(turn, Refuse):
            return Served(name, self._answered[name], turn.status, self._answer(request, "", ()), at_ns)
        text = f"The result of {name} is {name[::-1]}." if turn == "answer" else ""
        wanted = [ask for ask in turn if isinstance(ask, Ask)]
        if codes:
            answer = self._answer(request, _in_code(wanted, self._answered[name], text), ())
            self._answered[name] += 1
            return Served(name, self._answered[name] - 1, 200, answer, at_ns, in_code=len(wanted))
        asks = [self._asked(ask, offered, self._answered[name]) for ask in wanted]
        if text and (final := offered.keys() & _ANSWERS):
            last = final.pop()
            asks, text = [Asked(f"call_{next(self._numbers)}", last, _arguments(offered[last], text, ""))], ""
        served = Served(name, self._answered[name], 200, self._answer(request, text, tuple(asks)), at_ns)
        self._answered[name] += 1
        return served

    def _asked(self, ask: Ask, offered: dict[str, dict[str, Any]], turn: int) -> Asked:
        fitting = [name for name in offered if ask.tool in name.lower()]
        fitting = fitting or [name for name in offered if ask.plan and _DELEGATES.search(name)]
        if not fitting:
            raise LookupError(f"no tool for {ask.tool} is offered, only {sorted(offered)}")
        text = _told(ask, turn)
        return Asked(f"call_{next(self._numbers)}", fitting[0], _arguments(offered[fitting[0]], text, ask.tool))

    def _answer(self, request: Received, text: str, asked: tuple[Asked, ...]) -> Answer:
        number = next(self._numbers)
        model = request.body.get("model") or request.path.rpartition("/")[2].partition(":")[0]
        size = len(request.raw) // 4
        if before := self._held.get(request.body.get("previous_response_id") or ""):
            size += before.answer.input_tokens + before.answer.output_tokens
        return Answer(f"resp_{number}", model, text, asked, input_tokens=size, output_tokens=20 + number)


def _told(ask: Ask, turn: int) -> str:
    return f"Please do {ask.plan}. [[plan:{ask.plan}]]" if ask.plan else f"part {turn + 1}"


def _in_code(asks: list[Ask], turn: int, answer: str) -> str:
    lines = [f'print({ask.tool}({"task" if ask.plan else "query"}="{_told(ask, turn)}"))' for ask in asks]
    return "\n".join(["Thought: this comes next.", "<code>", *(lines or [f'final_answer("{answer}")']), "</code>"])


def _plan_of(body: dict[str, Any]) -> str | None:
    said: dict[str, list[Any]] = {"system": [], "user": [], "other": []}
    for key in ("system", "instructions", "systemInstruction", "system_instruction"):
        said["system"].append(body.get(key))
    turns = next((body[key] for key in ("messages", "contents", "input") if body.get(key)), [])
    for turn in [turns] if isinstance(turns, str) else turns:
        role = "user" if isinstance(turn, str) else turn.get("role", "other")
        said[{"developer": "system"}.get(role, role) if role in ("user", "system", "developer") else "other"].append(
            turn
        )
    found = re.search(r"\[\[plan:([\w-]+)\]\]", json.dumps(list(said.values())))
    return found.group(1) if found else None


def _offered(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schemas of the tools that a request offers, by name."""
    found = {}
    for tool in body.get("tools") or []:
        declared = tool.get("functionDeclarations") or tool.get("function_declarations") or [tool.get("function", tool)]
        for one in declared:
            keys = ("parameters", "parametersJsonSchema", "parameters_json_schema", "input_schema")
            found[one.get("name", "")] = next((one[key] for key in keys if one.get(key)), {})
    return found


def _arguments(schema: dict[str, Any], text: str, agent: str) -> dict[str, Any]:
    properties: dict[str, dict[str, Any]] = schema.get("properties") or {}
    names = schema.get("required") or list(properties)[:1]
    return {name: _value(name, properties.get(name, {}), text, agent) for name in names}


def _value(name: str, schema: dict[str, Any], text: str, agent: str) -> Any:
    kind = str(schema.get("type", "string")).lower()
    if "enum" in schema:
        return next((one for one in schema["enum"] if agent in str(one)), schema["enum"][0])
    if kind in ("integer", "number"):
        return 1
    if kind == "boolean":
        return False
    if kind == "array":
        return [_value(name, schema.get("items") or {}, text, agent)]
    if kind == "object":
        return _arguments(schema, text, agent)
    return agent if _NAMES_AGENT.search(name) else text
