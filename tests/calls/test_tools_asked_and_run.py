"""Tool calls as rows: asked for, run, run twice, never run, failed, repeated, by the provider; who spoke before."""

import json
from typing import Any

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Call, ToolRun


class Worker:
    """Puts calls of Anthropic's api through one assembler; keeps the newest row of each tool call."""

    def __init__(self) -> None:
        self._assembler = Assembler(key=b"k" * 16)
        self._now = 0
        self.tools: dict[str, ToolRun] = {}

    def call(self, messages: list[Any], content: list[Any]) -> Call:
        self._now += 1_000_000_000
        answer = {"id": f"msg{self._now}", "type": "message", "role": "assistant", "model": "m", "content": content,
                  "stop_reason": "end_turn", "usage": {"input_tokens": 500, "output_tokens": 9}}  # fmt: skip
        one = Exchange(
            api="anthropic.messages",
            method="POST",
            host="api.anthropic.com",
            path="/v1/messages",
            request_body=json.dumps({"model": "m", "max_tokens": 9, "messages": messages}).encode(),
            request_headers={},
            context=None,
            submit=lambda _: None,
            started_at_ns=self._now,
        )
        one.answer(200, "application/json", "")
        one.add(json.dumps(answer).encode())
        one.finish("read")
        one.ended_at_ns = self._now + 100_000_000
        rows = self._assembler.exchange(one)
        assert rows.call is not None
        self.tools |= {run.tool_call_id: run for run in rows.tool_runs}
        return rows.call


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def said(*content: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": list(content)}


def asks(id_: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "id": id_, "name": "find", "input": arguments}


def brings(id_: str, text: str, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": id_, "content": text, **more}


def test_a_tool_call_that_is_never_answered_differs_from_one_that_is_and_from_one_answered_twice() -> None:
    worker = Worker()
    begun = [user("Go."), said(asks("toolu_1", q="x"), asks("toolu_2", q="y"))]
    worker.call(begun[:1], begun[1]["content"])
    worker.call([*begun, user([brings("toolu_1", "found")])], [{"type": "text", "text": "Well."}])
    assert (worker.tools["toolu_1"].executed, worker.tools["toolu_2"].executed) == (1, None)
    worker.call([*begun, user([brings("toolu_1", "found again")])], [{"type": "text", "text": "Well, well."}])
    assert worker.tools["toolu_1"].executed == 2
    assert worker.tools["toolu_1"].ended_at_ns == 3_000_000_000


def test_a_result_that_comes_again_in_a_branch_is_of_the_run_that_was_counted() -> None:
    worker = Worker()
    begun = [user("Go."), said(asks("toolu_1", q="x")), user([brings("toolu_1", "found")])]
    worker.call(begun[:1], begun[1]["content"])
    for text in ("Well.", "Or rather not."):
        worker.call(begun, [{"type": "text", "text": text}])
    assert worker.tools["toolu_1"].executed == 1


def test_a_result_that_says_it_failed_is_a_failure_and_one_that_does_not_is_none() -> None:
    worker = Worker()
    asked = [asks("toolu_1", q="x"), asks("toolu_2", q="y")]
    worker.call([user("Go.")], asked)
    results = [brings("toolu_1", "no such page", is_error=True), brings("toolu_2", "found")]
    worker.call([user("Go."), said(*asked), user(results)], [{"type": "text", "text": "Well."}])
    assert (worker.tools["toolu_1"].failed, worker.tools["toolu_2"].failed) == (True, False)


def test_the_same_arguments_in_any_order_have_one_hash_and_others_another() -> None:
    worker = Worker()
    worker.call([user("Go.")], [asks("toolu_1", q="x", n=1), asks("toolu_2", n=1, q="x"), asks("toolu_3", q="x", n=2)])
    hashes = [worker.tools[f"toolu_{number}"].arguments_hash for number in (1, 2, 3)]
    assert hashes[0] == hashes[1] != hashes[2]
    assert all(hash_ is not None and len(hash_) == 8 for hash_ in hashes)


def test_tools_that_the_provider_runs_are_rows_apart_and_never_wait() -> None:
    worker = Worker()
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {"query": "tides"}}
    call = worker.call([user("Go.")], [search, {"type": "text", "text": "Well."}])
    assert (worker.tools["srvtoolu_1"].kind, call.tool_calls) == ("server", 0)


def test_who_spoke_since_the_last_answer_tells_tool_time_from_think_time() -> None:
    worker = Worker()
    asked = said(asks("toolu_1", q="x"))
    first = worker.call([user("Go.")], asked["content"])
    history = [user("Go."), asked, user([brings("toolu_1", "found")])]
    second = worker.call(history, [{"type": "text", "text": "A text of some length."}])
    third = worker.call([*history, said({"type": "text", "text": "A text of some length."}), user("And?")], [])
    assert [call.prompted_by for call in (first, second, third)] == ["user", "tool", "user"]


def test_pieces_of_reasoning_are_counted() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
    hidden = {"type": "redacted_thinking", "data": "x"}
    call = Worker().call([user("Go.")], [thought, hidden, {"type": "text", "text": "Well."}])
    assert call.reasoning_blocks == 2
