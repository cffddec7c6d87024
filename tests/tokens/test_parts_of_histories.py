"""Twenty turns of one conversation, and what breaks it: the parts of each call sum to the provider's count."""

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.records import Call

TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "buy")]
SYSTEM = {"role": "system", "content": "You sell trains to people who ask for ships. " * 10}


def counted(messages: list[dict[str, Any]], tools: Sequence[Any]) -> int:
    """Return the count of a server with a token for four characters and four for a message's marks."""
    texts = [str(one.get("content") or one.get("tool_calls", [{}])[0].get("function")) for one in messages]
    return sum(len(text) // 4 + 4 for text in texts) + len(json.dumps(tools)) // 4


class Conversation:
    """Sends requests to an assembler, and answers them by asking for a tool."""

    def __init__(self) -> None:
        self.assembler = Assembler(key=b"k" * 32)
        self.messages: list[dict[str, Any]] = [SYSTEM]
        self.calls = 0

    def ask(self, *messages: dict[str, Any], tools: Sequence[Any] = TOOLS) -> Call:
        self.messages += messages
        self.calls += 1
        call_id = f"call_{self.calls}"
        answer = {"role": "assistant", "content": None, "tool_calls": [
            {"id": call_id, "type": "function", "function": {"name": "look", "arguments": '{"at": "sea"}'}}
        ]}  # fmt: skip
        body = json.dumps({"model": "m", "messages": self.messages, "tools": tools}).encode()
        usage = {"prompt_tokens": counted(self.messages, tools), "completion_tokens": 9}
        choice = {"index": 0, "message": answer, "finish_reason": "tool_calls"}
        self.messages.append(answer)
        return self.sent("openai.chat", "/v1/chat/completions", body, {"choices": [choice], "usage": usage})

    def sent(self, api: str, path: str, body: bytes, answer: dict[str, Any]) -> Call:
        at = self.calls * 10**9
        exchange = Exchange(api, "POST", "api.openai.com", path, body, {}, None, lambda _: None, at)
        exchange.answer(200, "application/json", "")
        exchange.add(json.dumps({"id": f"r{self.calls}", "model": "m"} | answer).encode())
        exchange.ended_at_ns, exchange.end = at + 1000, "complete"
        call = self.assembler.exchange(exchange).call
        assert call is not None
        return call

    def result(self, size: int = 30) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": f"call_{self.calls}", "content": "a sail " * size}


def parts(call: Call) -> list[int | None]:
    return [
        call.system_tokens,
        call.tool_definition_tokens,
        call.resent_tokens,
        call.tool_result_tokens,
        call.new_tokens,
    ]


def whole(call: Call) -> int:
    return sum(part or 0 for part in parts(call))


def test_every_one_of_twenty_turns_sums_to_the_count_and_keeps_its_blocks() -> None:
    talk = Conversation()
    before = talk.ask({"role": "user", "content": "What do you see?"})
    for turn in range(20):
        call = talk.ask(talk.result(10 * turn))
        assert whole(call) == call.input_tokens
        assert (call.system_tokens, call.tool_definition_tokens) == (
            before.system_tokens,
            before.tool_definition_tokens,
        )
        assert call.resent_tokens is not None
        assert call.resent_tokens >= (before.resent_tokens or 0) + (before.tool_result_tokens or 0)
        full = (before.input_tokens or 0) // 64
        assert call.block_hashes is not None
        assert before.block_hashes is not None
        assert call.block_hashes[: 8 * full] == before.block_hashes[: 8 * full]
        assert len(call.block_hashes) == 8 * -(-(call.input_tokens or 0) // 64)
        assert call.shared_blocks == full
        before = call


@pytest.mark.parametrize("change", ["an edit in mid-history", "a compaction"])
def test_a_history_that_was_changed_is_new_and_not_sent_again(change: str) -> None:
    talk = Conversation()
    talk.ask({"role": "user", "content": "What do you see?"})
    for _ in range(3):
        talk.ask(talk.result())
    if change == "a compaction":
        talk.messages = [SYSTEM, {"role": "user", "content": "Summary: a sail was seen thrice."}]
    else:
        talk.messages[1] = {"role": "user", "content": "What do you hear?"}

    call = talk.ask({"role": "user", "content": "Go on."})

    assert whole(call) == call.input_tokens
    assert call.resent_tokens == 0
    assert call.continues_call_id is None


def test_tools_in_another_order_keep_the_history_resent_and_begin_new_blocks() -> None:
    talk = Conversation()
    first = talk.ask({"role": "user", "content": "What do you see? " * 40})
    call = talk.ask(talk.result(), tools=TOOLS[::-1])

    assert whole(call) == call.input_tokens
    assert call.continues_call_id == first.call_id
    assert (call.resent_tokens or 0) > 0
    assert call.shared_blocks is not None
    assert call.shared_blocks < (first.input_tokens or 0) // 64


def test_a_history_that_stays_with_the_provider_is_not_split() -> None:
    talk = Conversation()
    body = {"model": "m", "input": "and now?", "previous_response_id": "resp_0"}
    usage = {"input_tokens": 5000, "output_tokens": 2, "total_tokens": 5002}

    call = talk.sent("openai.responses", "/v1/responses", json.dumps(body).encode(),
                     {"object": "response", "status": "completed", "output": [], "usage": usage})  # fmt: skip

    assert call.input_tokens == 5000
    assert parts(call) == [None] * 5
    assert (call.split_method, call.block_hashes) == (None, None)
