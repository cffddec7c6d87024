"""Rows of tool calls whose agent's history is shortened before their results are sent."""

import json
from typing import Any

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Call, ToolRun
from tokenflation.sdk.scoping.sentfrom import SentFrom

_ASKED = "Please find out how the tides work."
_FOUND = [f"Found page {number} of the book of tides." for number in (1, 2, 3)]
_SUMMARY = "The user asks how tides work; two pages of the book are read."
_SUMS_UP = "You shorten what a tool said."


class Program:
    """Puts calls of Google's api through one assembler; keeps the newest row of each call and tool call."""

    def __init__(self) -> None:
        self._assembler = Assembler(key=b"k" * 16)
        self._now = 0
        self.calls: dict[str, Call] = {}
        self.tools: dict[str, ToolRun] = {}

    def call(self, contents: list[Any], answer: dict[str, Any], *, after: str = "", **more: Any) -> str:
        self._now += 1_000_000_000
        body = {"candidates": [{"content": _turn("model", answer), "finishReason": "STOP"}],
                "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 9}}  # fmt: skip
        one = Exchange(
            api="google.generate_content",
            method="POST",
            host="generativelanguage.googleapis.com",
            path="/v1beta/models/gemini-x:generateContent",
            request_body=json.dumps({"contents": contents, **more}).encode(),
            request_headers={},
            context=SentFrom(after=after),
            submit=lambda _: None,
            started_at_ns=self._now,
        )
        one.answer(200, "application/json", "")
        one.add(json.dumps(body).encode())
        one.finish("read")
        one.ended_at_ns = self._now + 1_000_000
        rows = self._assembler.exchange(one)
        assert rows.call is not None
        self.calls |= {call.call_id: call for call in (rows.call, *rows.moved)}
        self.tools |= {run.call_id: run for run in rows.tool_runs}
        return rows.call.call_id

    def agent(self, contents: list[Any], answer: dict[str, Any]) -> str:
        return self.call(contents, answer, tools=[{"functionDeclarations": [{"name": "search"}]}])

    def read_pages(self) -> list[str]:
        """Make an agent's first three calls: the results of all but the last are known to it."""
        history = [_turn("user", {"text": _ASKED})]
        made = []
        for number, found in enumerate(_FOUND, 1):
            made.append(self.agent(history, _search(number)))
            history += [_turn("model", _search(number)), _turn("user", _result(found))]
        return made


def _turn(role: str, part: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": [part]}


def _search(number: int) -> dict[str, Any]:
    return {"functionCall": {"name": "search", "args": {"query": f"page {number}"}}}


def _result(found: str) -> dict[str, Any]:
    return {"functionResponse": {"name": "search", "response": {"result": found}}}


def test_a_result_that_comes_after_a_summary_is_of_the_tool_call_that_was_open_then() -> None:
    program = Program()
    made = program.read_pages()
    told = "\n".join([_ASKED, *_FOUND[:2]])
    program.call([_turn("user", {"text": f"Shorten what was said.\n{told}"})], {"text": _SUMMARY})
    program.agent([_turn("model", {"text": _SUMMARY}), _turn("model", _search(3)), _turn("user", _result(_FOUND[2]))],
                  {"text": "It is the moon that does it."})  # fmt: skip
    assert [program.tools[call_id].executed for call_id in made] == [1, 1, 1]


def test_a_tool_call_holds_no_agent_run_that_turns_out_to_be_beside_it() -> None:
    program = Program()
    made = program.read_pages()
    system = {"parts": [{"text": _SUMS_UP}]}

    def shorten(found: str) -> str:
        asked = [_turn("user", {"text": f"A result, to be made shorter: {found}"})]
        return program.call(asked, {"text": f"In short: {found}"}, after=made[-1], systemInstruction=system)

    first = shorten(_FOUND[2])
    inside = program.calls[first].inside_call_id, program.tools[made[-1]].agent_run_id
    shorten(_FOUND[0])

    assert inside == (made[-1], first)
    assert (program.calls[first].inside_call_id, program.tools[made[-1]].agent_run_id) == (None, None)
    assert {program.calls[call_id].depth for call_id in program.calls} == {0}
    assert program.calls[first].agent_run_id == program.calls[made[0]].agent_run_id
