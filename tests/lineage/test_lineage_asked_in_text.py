"""Sub-agents that a call asks for in the text of its answer, in code or in lines, are inside of that call."""

import pytest
from tests.lineage.lineage_calls import WORKER, Agents, said, user

CODE = '```py\npeople = searcher(task="Find out how many people live in Lyon", tries=3)\nprint(people)\n```'
LINES = "Thought: somebody has to look.\nAction: searcher\nAction Input: Find out how many people live in Lyon"
FORMATTED = "```py\nsearcher(f'Find out how many people live in {city}')\n```"
TASK = "Your manager asks you:\nFind out how many people live in Lyon"
FOUND = 'final_answer("Lyon has 522 thousand inhabitants")'
OBSERVED = "Observation: Lyon has 522 thousand inhabitants, says searcher."


def manage(agents: Agents, asks: str = CODE, *, after: str = "") -> str:
    call, _ = agents.call(user("How large is Lyon?"), says=asks, after=after, tools=())
    return call


def go_on(agents: Agents, observed: str = OBSERVED, asks: str = CODE, *, after: str, says: str = "Enough.") -> str:
    call, _ = agents.call(user("How large is Lyon?"), said(asks), user(observed), says=says, after=after, tools=())
    return call


def search(
    agents: Agents, task: str = TASK, found: str = FOUND, *, after: str, system: str = WORKER
) -> tuple[str, str]:
    first, _ = agents.call(user(task), system=system, says="I look for it first of all.", after=after, tools=())
    looked = said("I look for it first of all."), user("Observation: 522 thousand")
    last, _ = agents.call(user(task), *looked, system=system, says=found, after=first, tools=())
    return first, last


def place(agents: Agents, call: str) -> tuple[str | None, str | None, int] | None:
    move = agents.moved().get(call)
    host = move.run.host if move is not None else None
    return (host.call_id, host.edge.evidence, move.run.depth) if move is not None and host is not None else None


@pytest.mark.parametrize("asks", [CODE, LINES, FORMATTED], ids=["in code", "in lines", "in a formatted text"])
@pytest.mark.parametrize("in_thread", [True, False], ids=["in a thread of its own", "in the same thread"])
def test_who_begins_with_what_a_text_asked_for_is_inside_of_that_call(asks: str, in_thread: bool) -> None:
    agents = Agents()
    manager = manage(agents, asks)
    first, last = search(agents, after=manager)
    go_on(agents, asks=asks, after=manager if in_thread else last)
    moved = agents.moved()
    assert {call: (move.run.host and move.run.host.call_id, move.run.depth) for call, move in moved.items()} == {
        first: (manager, 1),
        last: (manager, 1),
    }
    assert {move.run.task_id for move in moved.values()} == {manager}


def test_who_says_what_is_told_next_is_inside_too_though_nobody_knows_what_it_was_asked() -> None:
    agents = Agents()
    manager = manage(agents, "```py\nsearcher(query)\n```")
    first, last = search(agents, after=manager)
    go_on(agents, asks="```py\nsearcher(query)\n```", after=last)
    assert place(agents, first) == (manager, "flow_result", 1)


@pytest.mark.parametrize(
    "observed", [OBSERVED, "Observation: it is large"], ids=["told what it said", "told no word of it"]
)
def test_who_is_asked_for_in_a_prompt_that_grows_in_one_message_is_inside_of_that_call(observed: str) -> None:
    agents = Agents()
    prompt = "Answer the question by thoughts and actions.\nQuestion: How large is Lyon?\n"
    manager, _ = agents.call(user(prompt), system="", says=LINES, after="", tools=())
    first, last = search(agents, after=manager)
    agents.call(user(f"{prompt}{LINES}\n{observed}\nThought:"), system="", says="Enough.", after=last, tools=())
    found = place(agents, first)
    assert found is not None
    assert (found[0], found[2]) == (manager, 1)


def test_several_one_after_another_are_all_inside_and_an_inner_one_with_its_own() -> None:
    agents = Agents()
    manager = manage(agents)
    leader, _ = agents.call(user(TASK), system="You lead.", says=LINES, after=manager, tools=())
    inner, last = search(agents, after=leader)
    done, _ = agents.call(user(TASK), said(LINES), user(OBSERVED), system="You lead.", says=FOUND, after=last, tools=())
    second, end = search(agents, after=done)
    go_on(agents, after=end)
    moved = agents.moved()
    inside = {call: moved[call].run.host for call in (leader, inner, second)}
    assert {call: host.call_id for call, host in inside.items() if host is not None} == {
        leader: manager,
        inner: leader,
        second: manager,
    }
    assert [moved[call].run.depth for call in (leader, inner, second)] == [1, 2, 1]
    assert {move.run.task_id for move in moved.values()} == {manager}


@pytest.mark.parametrize(
    ("task", "found", "system"),
    [
        ("Which trees grow in Oslo?", "Birches and pines grow in Oslo.", WORKER),
        (TASK, FOUND, "You are Router. Delegate."),
    ],
    ids=["another matter", "the same agent, begun anew"],
)
def test_what_merely_came_between_stays_a_task_of_its_own(task: str, found: str, system: str) -> None:
    agents = Agents()
    manager = manage(agents)
    _, last = search(agents, task, found, after=manager, system=system)
    go_on(agents, after=last)
    assert agents.moved() == {}


def test_who_is_not_over_or_left_another_context_stays_a_task_of_its_own() -> None:
    agents = Agents()
    manager = manage(agents)
    other = manage(agents, "Nobody is asked for anything here.")
    search(agents, after=other)
    agents.call(user(TASK), system=WORKER, asks={"look_up_1": "Lyon"}, after=manager)
    go_on(agents, after=manager)
    assert agents.moved() == {}


def test_who_is_told_how_code_ended_works_on_the_same_task() -> None:
    agents = Agents()
    _, first = agents.call(user("How large is Lyon?"), says=f"Thought: I know.\n<code>\n{FOUND}\n</code>", tools=())
    _, second = agents.call(user("How large is Lyon? It was said: Lyon has 522 thousand inhabitants"), tools=())
    assert (second.task_id, second.agent_run_id == first.agent_run_id) == (first.task_id, False)


TOLD = f"{LINES}\nObservation: Lyon has 522 thousand inhabitants"
"""What some frameworks make of an answer: with what its tool said behind it."""


@pytest.mark.parametrize(("asks", "observed"), [(LINES, OBSERVED), (TOLD, "Go on.")], ids=["in a message", "behind it"])
def test_without_contexts_whose_last_words_are_told_is_inside(asks: str, observed: str) -> None:
    agents = Agents()
    manager = manage(agents, LINES)
    first, _ = search(agents, after="")
    go_on(agents, observed, asks, after="")
    assert place(agents, first) == (manager, "flow_arguments", 1)


def test_without_contexts_tasks_at_once_that_are_told_the_same_have_as_many_as_they_are_told_of() -> None:
    agents = Agents()
    managers = [manage(agents, LINES) for _ in range(2)]
    searched = [search(agents, after="")[0] for _ in range(2)]
    moved = {}
    for _ in managers:
        go_on(agents, after="")
        moved |= agents.moved()
    hosts = [moved[call].run.host for call in searched]
    assert {host.call_id for host in hosts if host is not None} == set(managers)


def test_agents_without_a_system_prompt_are_told_apart_by_how_their_prompts_begin() -> None:
    agents = Agents()
    prompt = "Compare two cities. Question: Lyon?\n"
    manager, _ = agents.call(user(prompt), system="", says=LINES, after="", tools=())
    first, _ = agents.call(user("Search for what you are asked."), system="", says=FOUND, after="", tools=())
    agents.call(user(f"{prompt}{LINES}\n{OBSERVED}\nThought:"), system="", says="Enough.", after="", tools=())
    assert place(agents, first) == (manager, "flow_result", 1)


def test_without_contexts_words_of_what_was_asked_are_no_proof() -> None:
    agents = Agents()
    manage(agents, LINES)
    search(agents, "Whatever it is.", "Find out how many people live in Lyon", after="")
    go_on(agents, "Observation: Find out how many people live in Lyon, yourself.", after="")
    assert agents.moved() == {}
