"""Evidence that fits several places: what else there is decides, and where nothing does the edge says so."""

import json
from collections.abc import Callable

import httpx
import pytest
from tests.lineage.lineage_calls import WORKER, Agents, result, said, user
from tests.providers import Provider
from tests.stored import rows

from tokenflation.sdk import Instrumentation
from tokenflation.sdk.lineage import Placement
from tokenflation.sdk.lineage.naming import task_kind

TASK = "List what smells in the repository."


@pytest.mark.parametrize(
    "varying",
    [
        ("Monday, 3 March 2026, 9:05 am. ", "Friday, 1 May 2026, 11:30 pm. "),
        ("[session 1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed] ", "[session 9f0c2aae-cafe-4bad-8dad-deadbeefdead] "),
        ("req_8fKq2Lz ", "req_X1aa0Qw9 "),
    ],
)
def test_a_system_prompt_that_begins_with_a_date_or_an_id_stays_one_agents(varying: tuple[str, str]) -> None:
    agents = Agents()
    rest = "You look after the printers of the house."
    _, first = agents.call(user("Go."), system=varying[0] + rest, asks={"call_1": "x"})
    grown = (user("Go."), said(call_1="x"), result("call_1", "y"))
    _, second = agents.call(*grown, system=varying[1] + rest, says="Done with it.")
    assert (second.agent_run_id, second.step) == (first.agent_run_id, 1)
    kinds = {task_kind((prefix + rest).encode(), b"", b"k") for prefix in varying}
    assert len(kinds) == 1


def test_a_system_prompt_of_other_words_is_another_agents_and_of_another_kind() -> None:
    agents = Agents()
    _, first = agents.call(user("Go."), system="You plan the work of the house.", says="The plan is to print.")
    grown = (user("Go."), said("The plan is to print."), user("Go on."))
    _, second = agents.call(*grown, system="You check what others have done.", says="It was printed.")
    assert second.agent_run_id != first.agent_run_id
    assert task_kind(b"You plan.", b"", b"k") != task_kind(b"You check.", b"", b"k")


def test_of_two_runs_that_ask_for_the_same_the_context_tells_which_a_sub_agent_is_inside_of() -> None:
    agents = Agents()
    left, _ = agents.call(user("Audit the left wing."), asks={"call_left": TASK}, after="")
    right, _ = agents.call(user("Audit the right wing."), asks={"call_right": TASK}, after="")
    places = [agents.call(user(TASK), system=WORKER, says=f"Found {at}.", after=at)[1] for at in (left, right)]
    assert [place.inside_tool_call_id for place in places] == ["call_left", "call_right"]
    assert {place.inside_evidence for place in places} == {"flow_arguments"}


def test_of_two_runs_that_ask_for_the_same_one_is_taken_weakly_where_no_context_is_known() -> None:
    agents = Agents()
    agents.call(user("Audit the left wing."), asks={"call_left": TASK})
    agents.call(user("Audit the right wing."), asks={"call_right": TASK})
    _, place = agents.call(user(TASK), system=WORKER, says="Found.")
    assert (place.inside_evidence, place.strength) == ("flow_arguments", "weak")


def test_a_thread_that_served_another_run_is_weak_evidence_and_the_result_of_the_tool_call_corrects_it() -> None:
    agents = Agents()
    first, _ = agents.call(user("Do A."), asks={"call_a": "1"}, after="")
    worker, inside = agents.call(user("Job for A"), system=WORKER, says="The job for A is done.", after=first)
    _, other = agents.call(user("Do B."), asks={"call_b": "1"}, after="")
    job, guessed = agents.call(user("Job for B"), system=WORKER, says="The job for B is done.", after=worker)
    assert (inside.inside_tool_call_id, inside.strength) == ("call_a", "strong")
    assert (guessed.inside_tool_call_id, guessed.strength) == ("call_a", "weak")
    agents.call(user("Do B."), said(call_b="1"), result("call_b", "The job for B is done."), says="B is over.")
    moved = agents.moved()[job].run
    assert (moved.task_id, moved.depth) == (other.task_id, 1)
    assert moved.host is not None
    assert moved.host.tool_call_id == "call_b"


def test_a_sub_agents_answer_that_is_passed_on_leaves_the_one_that_gave_it_where_it_is() -> None:
    agents = Agents()
    root, _ = agents.call(user("Do it."), asks={"call_mid": "3"}, after="")
    middle, _ = agents.call(
        user("Row three"), system="You are in the middle.", asks={"c_x": "1", "c_y": "2"}, after=root
    )
    leaf, place = agents.call(user("Row one"), system=WORKER, says="Row one says hello world.", after=middle)
    assert (place.depth, place.strength) == (2, "weak")
    results = (result("c_x", "nothing at all here"), result("c_y", "nothing either"))
    grown = (user("Row three"), said(c_x="1", c_y="2"), *results)
    agents.call(*grown, system="You are in the middle.", says="In short: Row one says hello world.", after=leaf)
    told = result("call_mid", "In short: Row one says hello world.")
    agents.call(user("Do it."), said(call_mid="3"), told, says="Hello.", after=leaf)
    assert leaf not in agents.moved()


def test_sub_agents_that_run_in_turn_are_each_inside_a_tool_call_of_their_own() -> None:
    agents = Agents()
    root, _ = agents.call(user("Translate both."), asks={"call_1": "1", "call_2": "2"}, after="")
    one, first = agents.call(user("Bonjour"), system=WORKER, says="Good morning to you.", after=root)
    _, second = agents.call(user("Bonsoir"), system=WORKER, says="Good evening to you.", after=one)
    assert [first.inside_tool_call_id, second.inside_tool_call_id] == ["call_1", "call_2"]
    assert second.strength == "weak"


def test_equal_histories_without_ids_go_on_each_in_its_own_context() -> None:
    agents = Agents()
    calls = [agents.call(user("Look."), asks={"find-0": "x"}, after="") for _ in range(2)]
    grown = (user("Look."), said(**{"find-0": "x"}), result("find-0", "y"))
    for call_id, first in calls:
        _, place = agents.call(*grown, says="It was found.", after=call_id)
        assert (place.agent_run_id, place.step) == (first.agent_run_id, 1)


def test_of_equal_histories_with_equal_answers_none_is_continued_exactly() -> None:
    agents = Agents()
    calls = [agents.call(user("Hello."), says="What can I do for you?")[0] for _ in range(2)]
    grown = (user("Hello."), said("What can I do for you?"), user("Order 7."))
    assert agents.call(*grown, says="On its way.")[1].strength == "weak"
    assert agents.call(*grown, says="On its way.", after=calls[0])[1].strength == "strong"


def test_a_prompt_that_grows_by_what_was_answered_to_it_is_one_run() -> None:
    agents = Agents()
    prompt, runs = "Question: how many sharks are there? Think step by step.", []
    for number in range(3):
        thought = f"Thought {number}: I should look into the sea for number {number}."
        _, place = agents.call(user(prompt), tools=(), says=thought)
        runs.append((place.agent_run_id, place.step))
        prompt += f"\n{thought}\nObservation: {number} sharks"
    assert runs == [(runs[0][0], step) for step in range(3)]


def test_the_same_prompt_asked_again_without_the_answer_is_a_task_of_its_own() -> None:
    agents = Agents()
    prompt = "Question: how many sharks are there? Think step by step."
    places = [
        agents.call(user(prompt), tools=(), says=f"There are {number}0 sharks in all seas.")[1] for number in (1, 2)
    ]
    assert places[0].task_id != places[1].task_id


def test_agents_of_one_kind_that_ask_for_what_they_were_asked_are_beside_each_other() -> None:
    agents = Agents()
    agents.call(user("Audit it."), asks={"call_1": TASK, "call_2": TASK}, after="")
    readers = [agents.call(user(TASK), system=WORKER, asks={f"inner_{at}": TASK}, after="")[1] for at in (1, 2)]
    checkers = [agents.call(user(TASK), system="You check.", says="Nothing smells.", after="")[1] for _ in readers]
    assert [place.inside_tool_call_id for place in readers] == ["call_1", "call_2"]
    assert [(place.depth, place.inside_tool_call_id) for place in checkers] == [(2, "inner_1"), (2, "inner_2")]


def test_of_tasks_whose_sub_agents_are_asked_and_say_the_same_each_keeps_one() -> None:
    agents = Agents()
    asked = [(user(f"Audit wing {at}."), f"call_{at}") for at in range(4)]
    roots = [agents.call(first, asks={id_: TASK}, after="")[1] for first, id_ in asked]
    workers = [agents.call(user(TASK), system=WORKER, says="Nothing smells there.", after="") for _ in roots]
    for first, id_ in asked:
        grown = (first, said(**{id_: TASK}), result(id_, "Nothing smells there."))
        agents.call(*grown, says="The wing is clean.", after="")
    moved = agents.moved()
    tasks = [moved[id_].run.task_id if id_ in moved else place.task_id for id_, place in workers]
    assert sorted(tasks) == sorted(place.task_id for place in roots)


@pytest.mark.parametrize("answer", ["I vote for the tide.", 'I vote "tide".\nIt is so.'])
@pytest.mark.parametrize("told", ["\n".join, json.dumps], ids=["lines", "json"])
@pytest.mark.parametrize("times", [1, 2, 3])
def test_of_runs_that_said_the_same_as_many_are_inside_a_tool_call_as_its_result_holds(
    answer: str, told: Callable[[list[str]], str], times: int
) -> None:
    agents = Agents()
    _, root = agents.call(user("Vote."), asks={"call_1": "n"}, after="")
    votes = [user(f"Vote number {at} of all the votes.") for at in range(4)]
    calls = [agents.call(vote, system=WORKER, says=answer, after="") for vote in votes]
    agents.call(user("Vote."), said(call_1="n"), result("call_1", told([answer] * times)), says="So it is.")
    moved = agents.moved()
    tasks = [moved[id_].run.task_id if id_ in moved else place.task_id for id_, place in calls]
    assert tasks.count(root.task_id) == times


def test_all_answers_that_a_prompt_puts_together_are_of_one_task() -> None:
    agents = Agents()
    parts = [
        agents.call(user(f"Sum up part {at}."), says=f"Part {at} is about the tides.", after="") for at in range(4)
    ]
    other, _ = agents.call(user("Sum up the news."), says="The news is about the rain.", after="")
    halves = []
    for half in (parts[:2], parts[2:]):
        told = "\n".join(f"Part {at} is about the tides." for at in range(4) if parts[at] in half)
        halves.append(agents.call(user(f"Join: {told}"), says=f"Half {len(halves)} is about tides too.", after="")[1])
    _, whole = agents.call(
        user("Join: Half 0 is about tides too.\nHalf 1 is about tides too."), says="All is tides.", after=""
    )
    moved = agents.moved()
    assert {moved[id_].run.task_id if id_ in moved else place.task_id for id_, place in parts} == {whole.task_id}
    assert other not in moved
    assert (whole.depth, whole.strength) == (0, "weak")


def test_of_tasks_that_said_the_same_only_as_many_are_joined_as_a_prompt_quotes() -> None:
    agents = Agents()
    calls = [agents.call(user(f"Handle {at}."), says="I am sorry, I cannot do that.", after="") for at in range(3)]
    _, last = agents.call(user("Why did it say: I am sorry, I cannot do that.?"), says="Nobody knows.", after="")
    assert not agents.moved()
    assert last.task_id == calls[-1][1].task_id


@pytest.mark.parametrize("inner_last", [False, True])
def test_a_prompt_that_quotes_a_sub_agent_too_joins_no_task_to_that_agents(inner_last: bool) -> None:
    agents = Agents()
    root, place = agents.call(user("Ask around."), asks={"call_1": "the tides"}, after="")
    ways: list[Callable[[], tuple[str, Placement]]] = [
        lambda: agents.call(user("Look at the tides."), system=WORKER, says="The tides come twice a day.", after=root),
        lambda: agents.call(
            user("And winds?"), system="You know winds.", says="The winds blow from the sea.", after=""
        ),
    ]
    calls = [way() for way in (ways if not inner_last else reversed(ways))]
    inner, alone = calls if not inner_last else reversed(calls)
    assert (inner[1].task_id, inner[1].depth) == (place.task_id, 1)
    told = "The tides come twice a day.\nThe winds blow from the sea."
    agents.call(user(f"Join: {told}"), system="You join.", says="Twice a day it blows.", after="")
    assert not {root, inner[0], alone[0]} & agents.moved().keys()


def test_a_prompt_that_quotes_two_agents_of_one_task_goes_on_in_it() -> None:
    agents = Agents()
    asked, answer = user("What of the sea?"), "The tides come twice a day."
    _, first = agents.call(asked, system="You are Ann.", says=answer, after="")
    grown = (asked, said(answer), user("And you?"))
    _, second = agents.call(*grown, system="Bob is your name.", says="The winds blow from the sea.", after="")
    told = user(f"Join: {answer}\nThe winds blow from the sea.")
    _, third = agents.call(told, system="You join.", says="Twice a day it blows.", after="")
    assert {first.task_id, second.task_id, third.task_id} == {first.task_id}
    assert len({place.agent_run_id for place in (first, second, third)}) == 3
    assert not agents.moved()


def test_rows_of_tasks_that_a_prompt_puts_together_say_that_this_is_weak(
    provider: Provider, handle: Instrumentation
) -> None:
    parts = [f"Part {at} is about the tides." for at in range(3)]
    with httpx.Client(trust_env=False) as client:
        for said_ in (*(f"[[say:{part}]]" for part in parts), "Join them: " + " ".join(parts)):
            body = {"model": "m", "messages": [user(said_)]}
            client.post(f"{provider.openai_url}/chat/completions", json=body)
    assert handle.flush()
    calls = rows(handle.store)
    assert len({call["task_id"] for call in calls}) == 1
    told = [(call["inside_evidence"], call["structure_strength"]) for call in calls]
    assert (told.count(("quoted", "weak")), told.count((None, None))) == (3, 1)
