"""Lineage by words of an answer made of fields: agents whose prompt is written anew, and parts that others work on."""

import json

import pytest
from tests.lineage.lineage_calls import WORKER, Agents, said, user

GOALS = ("Open the page of the tides in the browser.", "Read the table of tides that has loaded.")


def _state(task: str, *told: str) -> str:
    history = "\n".join(told)
    return f"<user_request>\n{task}\n</user_request>\n<history>\n{history}\n</history>\n<page>Empty</page>"


def _step(goal: str) -> str:
    return json.dumps({"thinking": f"{goal} That is what comes next. " * 30, "next_goal": goal})


def test_an_agent_whose_prompt_is_written_anew_for_each_step_is_one_run() -> None:
    agents = Agents()
    first, root = agents.call(user(_state("Look up the tides.")), says=_step(GOALS[0]))
    second, then = agents.call(user(_state("Look up the tides.", GOALS[0])), says=_step(GOALS[1]))
    _, last = agents.call(user(_state("Look up the tides.", *GOALS)), user("Mind the limit."), says="{}")
    assert [one.continues.call_id for one in (then, last) if one.continues] == [first, second]
    assert {one.agent_run_id for one in (root, then, last)} == {root.agent_run_id}
    assert [(one.step, one.continues_evidence, one.strength) for one in (then, last)] == [
        (1, "words", "strong"),
        (2, "words", "strong"),
    ]


def test_an_agent_whose_prompt_begins_with_examples_and_tells_of_steps_in_marked_fields_is_one_run() -> None:
    agents = Agents()
    examples = (user("[[ ## question ## ]]\nHow many are two and two?"), said("[[ ## thought ## ]]\nThey are four."))
    question = "[[ ## question ## ]]\nWhen is the tide low?\n\n[[ ## trajectory ## ]]\n"
    _, root = agents.call(*examples, user(question), says=f"[[ ## thought ## ]]\n{GOALS[0]}\n\n[[ ## completed ## ]]")
    _, then = agents.call(*examples, user(f"{question}[[ ## thought_0 ## ]]\n{GOALS[0]}"))
    assert (then.agent_run_id, then.step, then.continues_evidence) == (root.agent_run_id, 1, "words")


def test_such_agents_at_once_are_told_apart_by_what_they_said() -> None:
    agents = Agents()
    _, one = agents.call(user(_state("Look it up.")), says=_step(GOALS[0]))
    _, other = agents.call(user(_state("Look it up.")), says=_step(GOALS[1]))
    _, then = agents.call(user(_state("Look it up.", GOALS[0])), says=_step("Nothing is left to be done any more."))
    assert one.task_id != other.task_id
    assert then.agent_run_id == one.agent_run_id


def test_such_agents_that_said_the_same_are_told_apart_by_what_they_were_asked() -> None:
    agents = Agents()
    tasks = [f"Look up the tides of the harbour of {place}." for place in ("Ayr", "Leith")]
    started = [agents.call(user(_state(task)), says=_step(GOALS[0]))[1] for task in tasks]
    then = [agents.call(user(_state(task, GOALS[0])), says="{}")[1] for task in tasks]
    assert [one.agent_run_id for one in then] == [one.agent_run_id for one in started]


def test_a_hundred_such_agents_at_once_are_a_hundred_runs() -> None:
    agents = Agents()
    goals = [f"Open the page of harbour number {number}." for number in range(100)]
    started = [agents.call(user(_state("Look it up.")), says=_step(goal))[1] for goal in goals]
    then = [agents.call(user(_state("Look it up.", goal)), says="{}")[1] for goal in goals]
    assert [one.agent_run_id for one in then] == [one.agent_run_id for one in started]


def test_what_quotes_words_that_several_said_is_of_the_task_of_the_newest_alone() -> None:
    agents = Agents()
    asked = ("Look up the tides of Ayr.", "Look up the tides of Leith.")
    first, second = [agents.call(user(task), says=_step(GOALS[0]))[1] for task in asked]
    _, judge = agents.call(user(f"Judge this: {GOALS[0]}"), system=WORKER)
    assert judge.task_id == second.task_id != first.task_id
    assert agents.moved() == {}


def test_such_an_agent_that_answers_by_a_forced_tool_is_one_run() -> None:
    agents = Agents()
    _, root = agents.call(user(_state("Look it up.")), asks={"call-1": GOALS[0]}, tool="AgentOutput", forced=True)
    told = user(_state("Look it up.", GOALS[0]))
    _, then = agents.call(told, asks={"call-2": GOALS[1]}, tool="AgentOutput", forced=True)
    assert (then.agent_run_id, then.step, then.depth) == (root.agent_run_id, 1, 0)


def test_an_agent_that_is_told_how_another_like_it_ended_is_one_of_its_own() -> None:
    agents = Agents()
    _, first = agents.call(user(_state("Look it up.")), asks={"call-1": GOALS[0]}, tool="final_answer")
    _, second = agents.call(user(_state("Look it up.", GOALS[0])), asks={"call-2": GOALS[1]}, tool="final_answer")
    assert (second.task_id, second.step) == (first.task_id, 0)
    assert second.agent_run_id != first.agent_run_id


def test_what_an_answer_took_from_its_document_relates_no_other_document_with_the_same_words() -> None:
    agents = Agents()
    journal = "Proceedings of the Academy of Sciences"
    papers = [f"Please extract the fields of this paper: {journal}, page {number}." for number in (1, 2)]
    _, one = agents.call(user(papers[0]), says=json.dumps({"journal": journal, "page": 1}))
    _, other = agents.call(user(papers[1]), says=json.dumps({"journal": journal, "page": 2}))
    assert one.task_id != other.task_id


def test_agents_that_work_on_parts_of_a_plan_are_in_its_task() -> None:
    agents = Agents()
    plan = {"searches": [{"query": "tide table of the harbour"}, {"query": "boats in the harbour today"}]}
    _, root = agents.call(user("How is the harbour?"), says=json.dumps(plan))
    parts = [agents.call(user(f"Search term: {one['query']}"), system=WORKER)[1] for one in plan["searches"]]
    assert {(one.task_id, one.depth, one.inside_evidence, one.strength) for one in parts} == {
        (root.task_id, 0, "quoted", "weak")
    }
    assert len({one.agent_run_id for one in (root, *parts)}) == 3


@pytest.mark.parametrize("middle", [(), (said("I will look."),)], ids=["another opening", "a history"])
def test_what_begins_otherwise_or_holds_a_history_is_no_prompt_written_anew(middle: tuple[dict[str, str], ...]) -> None:
    agents = Agents()
    _, root = agents.call(user(_state("Look it up.")), says=_step(GOALS[0]))
    _, then = agents.call(user(f"Judge this plan of an agent: {GOALS[0]}"), *middle)
    assert then.agent_run_id != root.agent_run_id
