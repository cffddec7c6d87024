"""Lineage of runs whose model, provider or system prompt is another from step to step."""

import json
from typing import Any

import pytest
from tests.lineage.lineage_calls import Agents, result, said, user

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


def test_an_agent_without_tools_whose_prompt_begins_otherwise_is_another_run_though_it_is_told_results() -> None:
    agents = Agents()
    _, first = agents.call(user("Go."), system="You search.", asks={"call_1": "tides"}, tools=())
    grown = (user("Go."), said(call_1="tides"), result("call_1", "They come twice a day."))
    _, second = agents.call(*grown, system="Sum up what was found.", says="Twice a day.", tools=())
    assert (second.task_id, second.agent_run_id != first.agent_run_id) == (first.task_id, True)


@pytest.mark.parametrize("after", ["own", "", None])
def test_an_agent_that_is_handed_over_to_and_told_the_question_anew_goes_on_in_the_task(after: str | None) -> None:
    agents = Agents()
    asked = "Write about the tides of the ocean."
    one, first = agents.call(user(asked), system="You are Ann.", asks={"call_1": "bob"}, tool="transfer_to_bob")
    told = (user(asked), user("For context: ann handed over."))
    left = one if after == "own" else after
    _, second = agents.call(*told, system="You are Bob.", says="They come twice a day.", after=left)
    back = (user(asked), said(call_1="bob"), result("call_1", "Handed over."), user("They come twice a day."))
    _, third = agents.call(*back, system="You are Ann.", says="So it is.")
    assert (second.task_id, second.depth, second.strength) == (first.task_id, 0, "weak")
    assert second.agent_run_id not in (first.agent_run_id, None)
    assert (third.agent_run_id, third.step) == (first.agent_run_id, 1)


def test_an_agent_that_is_handed_over_to_and_told_the_history_in_one_message_is_another_run() -> None:
    agents = Agents()
    found = "The tides come twice a day, and the moon pulls them."
    one, first = agents.call(user("Go."), system="You are Ann.", asks={"call_1": "tides"}, tool="search")
    grown = (user("Go."), said(call_1="tides"), result("call_1", found))
    two, _ = agents.call(*grown, system="You are Ann.", asks={"call_2": "bob"}, tool="transfer_to_bob", after=one)
    told = said(f"The conversation so far: 1. user: Go. 2. search: tides. 3. result: {found} 4. transfer_to_bob")
    _, second = agents.call(told, system="You are Bob.", says="Twice a day.", after=two)
    assert (second.task_id, second.depth, second.continues_evidence) == (first.task_id, 0, "flow_result")
    assert (second.agent_run_id != first.agent_run_id, second.step) == (True, 0)


def test_a_summary_for_the_agent_that_is_handed_over_to_is_a_step_of_the_one_that_hands_over() -> None:
    agents = Agents()
    found = "The tides come twice a day, and the moon pulls them."
    one, first = agents.call(user("Go."), system="You are Ann.", asks={"call_1": "tides"}, tool="search")
    grown = (user("Go."), said(call_1="tides"), result("call_1", found))
    two, _ = agents.call(*grown, system="You are Ann.", asks={"call_2": "bob"}, tool="transfer_to_bob", after=one)
    text = f"user: Go. search: tides. result: {found} And then bob is to go on with all of this."
    _, summary = agents.call(user(text), system="You sum up.", says="Tides, twice.", tools=(), after=two)
    assert (summary.agent_run_id, summary.step) == (first.agent_run_id, 2)


@pytest.mark.parametrize("tool", ["handoff_to_bob", "Handoff-transfer_to_bob", "handoff"])
def test_a_tool_that_hands_over_is_known_by_its_name(tool: str) -> None:
    agents = Agents()
    asked = user("Write about the tides of the ocean.")
    _, first = agents.call(asked, system="You are Ann.", asks={"call_1": "bob"}, tool=tool, after="")
    _, second = agents.call(asked, system="You are Bob.", says="They come twice a day.", after="")
    assert (second.task_id, second.agent_run_id != first.agent_run_id) == (first.task_id, True)


def test_tasks_that_hand_over_with_one_question_each_have_one_that_goes_on() -> None:
    agents = Agents()
    asked = "Write about the tides of the ocean."
    ids = ("call_1", "call_2")
    givers = [agents.call(user(asked), system="You are Ann.", asks={id_: "bob"}, tool="transfer_to_bob") for id_ in ids]
    agents.call(user("Look."), system="You look.", asks={"call_3": "at it"}, after="")  # which hands nothing over
    takers = [agents.call(user(asked), system="You are Bob.", says="Twice a day.", after="") for _ in givers]
    assert [place.task_id for _, place in takers] == [place.task_id for _, place in givers]
    _, third = agents.call(user(asked), system="You are Bob.", says="Twice a day.", after="")
    assert len({third.task_id, *(place.task_id for _, place in takers)}) == 3


def test_what_an_agent_that_is_over_handed_over_to_another_goes_on_in_its_task() -> None:
    agents = Agents()
    asked = {"call_1": "Please tell when the tides come."}
    one, first = agents.call(user("Go."), system="You are Ann.", asks=asked, tool="handoff_to_agent", after="")
    grown = (user("Go."), said(**asked), result("call_1", "Handing over to bob."))
    agents.call(*grown, system="You are Ann.", says="Bob does it.", after=one)
    told = user("Context:\nHandoff Message: Please tell when the tides come.\n\nUser Request: Go.")
    _, second = agents.call(told, system="You are Bob.", says="Twice a day.", after="")
    assert (second.task_id, second.depth, second.strength) == (first.task_id, 0, "weak")
    assert (second.agent_run_id != first.agent_run_id, second.step) == (True, 0)
    _, again = agents.call(told, system="You are Bob.", says="Twice a day.", after="")
    assert again.task_id != first.task_id


def test_another_question_while_an_agent_hands_over_is_a_task_of_its_own() -> None:
    agents = Agents()
    _, first = agents.call(user("Write about the tides."), asks={"call_1": "bob"}, tool="transfer_to_bob", after="")
    _, other = agents.call(user("Write about the winds."), system="You are Bob.", says="They blow.", after="")
    assert other.task_id != first.task_id


def test_what_began_before_an_agent_hands_over_is_a_task_of_its_own() -> None:
    agents = Agents()
    asked = user("Write about the tides of the ocean.")
    _, first = agents.call(asked, system="You are Ann.", asks={"call_1": "bob"}, tool="transfer_to_bob", after="")
    agents.now -= 10
    _, other = agents.call(asked, system="You are Bob.", says="They come twice a day.", after="")
    assert other.task_id != first.task_id


def test_a_history_that_lost_its_beginning_goes_on_though_a_date_in_its_instructions_changed() -> None:
    agents = Agents()
    system = "You are a bot of the house and you answer what you are asked. It is {} o'clock."
    _, first = agents.call(user("What is a tide?"), system=system.format(9), says="The sea going up and down.")
    kept = (said("The sea going up and down."), user("And what is a wind?"))
    _, second = agents.call(*kept, system=system.format(10), says="The air that moves.")
    assert (second.agent_run_id, second.step, second.continues_evidence) == (first.agent_run_id, 1, "answer")


def test_a_history_that_lost_its_beginning_and_has_other_tools_is_another_agents() -> None:
    agents = Agents()
    system = "You are a bot of the house and you answer what you are asked. It is {} o'clock."
    _, first = agents.call(user("What is a tide?"), system=system.format(9), says="The sea going up and down.")
    kept = (said("The sea going up and down."), user("And what is a wind?"))
    _, second = agents.call(*kept, system=system.format(10), says="The air that moves.", tools=("delegate", "look"))
    assert second.agent_run_id != first.agent_run_id


def test_another_agent_of_the_task_is_not_called_what_the_one_before_is_called() -> None:
    agents, answer = Agents(), "Trains run every hour from the harbour."
    _, first = agents.call(user("On trains."), system="You are Writer. Write.", says=answer)
    checks = f"Is this good? {answer}"
    named = [agents.call(user(checks), system=s, says="Yes.")[1] for s in ("Check it.", "You are Critic.")]
    assert {one.task_id for one in named} == {first.task_id}
    assert [first.agent, *(one.agent for one in named)] == ["Writer", "agent", "Critic"]
