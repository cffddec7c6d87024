"""Lineage of runs whose model, provider or system prompt is another from step to step."""

import json
from typing import Any

import pytest
from tests.sdk.lineage_calls import Agents, result, said, user

from tokenflation.sdk.wire import ExchangeBytes, read

_SYSTEM = "Lead.\n" + "ä€" * 99
"""Longer than what is read of it, which ends inside of a character in some dialects."""
_ASKED = {"id": "call_abc123", "name": "search"}
_QUERY = {"query": "part one of it"}


def _chat(role: str) -> tuple[str, str, dict[str, Any]]:
    call = {**_ASKED, "type": "function", "function": {"name": "search", "arguments": json.dumps(_QUERY)}}
    messages = [{"role": role, "content": _SYSTEM}, user("Go."), {"role": "assistant", "tool_calls": [call]}]
    body = {"model": "m", "messages": [*messages, {"role": "tool", "tool_call_id": _ASKED["id"], "content": "found"}]}
    return "openai.chat", "/v1/chat/completions", body


def _messages(system: Any) -> tuple[str, str, dict[str, Any]]:
    use = {"role": "assistant", "content": [{"type": "tool_use", **_ASKED, "input": _QUERY}]}
    told = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": _ASKED["id"], "content": "found"}]}
    return (
        "anthropic.messages",
        "/v1/messages",
        {"model": "m", "max_tokens": 9, "system": system, "messages": [user("Go."), use, told]},
    )


def _responses(system: dict[str, Any]) -> tuple[str, str, dict[str, Any]]:
    call = {"type": "function_call", "call_id": _ASKED["id"], "name": "search", "arguments": json.dumps(_QUERY)}
    told = {"type": "function_call_output", "call_id": _ASKED["id"], "output": "found"}
    given = [] if "instructions" in system else [{"role": "developer", "content": _SYSTEM}]
    return "openai.responses", "/v1/responses", {"model": "m", **system, "input": [*given, user("Go."), call, told]}


@pytest.mark.parametrize(
    "switched",
    [
        _chat("developer"),
        _messages(_SYSTEM),
        _messages([{"type": "text", "text": _SYSTEM}]),
        _responses({"instructions": _SYSTEM}),
        _responses({}),
    ],
    ids=["reasoning model", "other provider", "text in parts", "instructions", "other api"],
)
def test_a_run_whose_model_or_provider_is_switched_stays_one_run(switched: tuple[str, str, dict[str, Any]]) -> None:
    agents = Agents()
    _, first = agents.call(user("Go."), system=_SYSTEM, asks={_ASKED["id"]: "part one of it"})
    api, path, body = switched
    view = ExchangeBytes(api=api, path=path, request_body=json.dumps(body).encode(), status_code=200)
    reading = read(view, key=b"k")
    assert reading is not None
    place = agents.lineage.place(reading, "switched", None, agents.now)
    assert (place.agent_run_id, place.step, place.depth) == (first.agent_run_id, 1, 0)


def test_a_run_whose_prompt_begins_with_a_memory_that_changes_stays_one_run() -> None:
    agents = Agents()
    memories = ("Ann likes tea. ", "Bob is on leave until Monday. ", "Nothing is known. ")
    history = [user("Go.")]
    places = []
    for number, memory in enumerate(memories):
        id_ = f"call_{number}"
        places.append(agents.call(*history, system=f"{memory}You are an assistant.", asks={id_: "page"})[1])
        history += [said(**{id_: "page"}), result(id_, "It is found.")]
    assert {place.agent_run_id for place in places} == {places[0].agent_run_id}
    assert [place.step for place in places] == [0, 1, 2]


def test_an_agent_with_other_tools_that_is_told_the_results_is_another_run() -> None:
    agents = Agents()
    _, first = agents.call(user("Go."), system="You sell.", asks={"call_1": "to service"}, tools=("escalate",))
    grown = (user("Go."), said(call_1="to service"), result("call_1", "The service takes over."))
    _, second = agents.call(*grown, system="The service is what you do.", says="Here I am.", tools=("refund",))
    assert (second.task_id, second.agent_run_id != first.agent_run_id) == (first.task_id, True)
