"""Calls of a chat api, made of messages as agents send them, that go through one lineage. A helper of tests."""

import json
from itertools import count
from typing import Any

from tokenflation.sdk.lineage import Lineage, Move, Placement
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read

__all__ = ["ROOT", "WORKER", "Agents", "reading_of", "result", "said", "user"]

ROOT = "You are Router. Delegate."
WORKER = "You work."
_ids = count()


class Agents:
    """Calls of a chat api that go through one lineage, one after the other."""

    def __init__(self) -> None:
        traces = count()
        self.lineage = Lineage(new_trace_id=lambda: f"{next(traces):032x}", key=b"k")
        self.now = 0

    def call(
        self, *messages: dict[str, Any], system: str = ROOT, says: str = "", asks: dict[str, str] | None = None,
        after: str | None = None, tools: tuple[str, ...] = ("delegate",), tool: str = "delegate", forced: bool = False,
    ) -> tuple[str, Placement]:  # fmt: skip
        """Make a call that is answered by `says` and `asks` (id of a call of `tool` to its query); return its place.

        The tool is `forced` where the request leaves the model no choice.
        """
        call_id = f"c{next(_ids)}"
        reading = reading_of(list(messages), system, says, asks or {}, tools, tool, forced=forced)
        placement = self.lineage.place(reading, call_id, None, self.now, after)
        self.lineage.remember(reading, placement, call_id, None, self.now + 1, ())
        self.now += 10
        return call_id, placement

    def moved(self) -> dict[str, Move]:
        return {move.call_id: move for move in self.lineage.take_moves()}


def reading_of(
    messages: list[Any], system: str, says: str, asks: dict[str, str], tools: tuple[str, ...], tool: str = "delegate",
    *, forced: bool = False,
) -> Reading:  # fmt: skip
    calls = [_asked(id_, query, tool) for id_, query in asks.items()]
    definitions = [{"type": "function", "function": {"name": name}} for name in tools]
    request = {"model": "m", "messages": [{"role": "system", "content": system}, *messages], "tools": definitions}
    if forced:
        request["tool_choice"] = {"type": "function", "function": {"name": tool}}
    message = {"role": "assistant", "content": says or None, "tool_calls": calls or None}
    answer = {"id": f"r{next(_ids)}", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    view = ExchangeBytes(
        api="openai.chat",
        path="/v1/chat/completions",
        request_body=json.dumps(request).encode(),
        status_code=200,
        chunks=[(1, json.dumps(answer).encode())],
    )
    found = read(view, key=b"k")
    assert found is not None
    return found


def _asked(id_: str, query: str, tool: str = "delegate") -> dict[str, Any]:
    return {"id": id_, "type": "function", "function": {"name": tool, "arguments": json.dumps({"query": query})}}


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: str = "", **asks: str) -> dict[str, Any]:
    calls = [_asked(id_, query) for id_, query in asks.items()]
    return {"role": "assistant", "content": text or None} | ({"tool_calls": calls} if calls else {})


def result(id_: str, text: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": id_, "content": text}
