"""Lineage of many agents at once, as a batch runs them: none is forgotten while it goes on, and none is mixed up."""

from tests.lineage.lineage_calls import WORKER, Agents, result, said, user

MANY = range(100)
QUESTIONS = [f"How much coal was mined in the region of number {one}?" for one in MANY]


def test_a_hundred_equal_conversations_go_on_each_with_its_own_answer() -> None:
    agents = Agents()
    drafts = [f"Draft {one}: much coal." for one in MANY]
    runs = [agents.call(user("How much coal?"), says=draft, tools=())[1].agent_run_id for draft in drafts]
    then = [agents.call(user("How much coal?"), said(draft), user("Sure?"), tools=())[1] for draft in drafts]
    assert [one.agent_run_id for one in then] == runs
    assert {(one.step, one.strength) for one in then} == {(1, "exact")}


def test_a_hundred_equal_conversations_with_equal_answers_go_on_each_once_and_in_its_own_context() -> None:
    agents = Agents()
    calls = [agents.call(user("How much coal?"), says="Forty-two tonnes.", tools=()) for _ in MANY]
    grown = (user("How much coal?"), said("Forty-two tonnes."), user("Sure?"))
    then = [agents.call(*grown, tools=(), after=call_id)[1] for call_id, _ in calls]
    assert [one.agent_run_id for one in then] == [first.agent_run_id for _, first in calls]


def test_a_hundred_chains_of_agents_at_once_are_a_hundred_tasks() -> None:
    agents = Agents()
    drafts = [f"Draft on {one}: coal was mined here since the middle ages." for one in MANY]
    starts = [agents.call(user(asked), says=draft, after="")[1] for asked, draft in zip(QUESTIONS, drafts, strict=True)]
    then = [agents.call(user(f'Judge "{draft}"'), system=WORKER, tools=(), after="")[1] for draft in drafts]
    assert [one.task_id for one in then] == [one.task_id for one in starts]


def test_of_agents_that_said_the_same_the_one_before_in_the_context_is_quoted() -> None:
    agents = Agents()
    draft = "Coal was mined here since the middle ages."
    calls = [agents.call(user(asked), says=draft, after="") for asked in QUESTIONS]
    then = [agents.call(user(f"Judge: {draft}"), system=WORKER, tools=(), after=call_id)[1] for call_id, _ in calls]
    assert [one.task_id for one in then] == [first.task_id for _, first in calls]


def test_what_is_quoted_long_after_others_were_asked_is_of_no_task_of_before() -> None:
    agents = Agents()
    _, first = agents.call(user("Where do I live?"), says="You live in Turku, which is by the sea.", after="")
    for asked in QUESTIONS:
        agents.call(user(asked), says="Much of it, as everybody knows.", after="")
    agents.now += 600_000_000_000
    _, then = agents.call(user("You know: You live in Turku, which is by the sea. What of ferries?"), after="")
    assert then.task_id != first.task_id


def test_a_hundred_agents_whose_histories_are_summarised_at_once_are_a_hundred_runs() -> None:
    agents, parts = Agents(), []
    for one, asked in enumerate(QUESTIONS):
        _, run = agents.call(user(asked), asks={f"call_{one}": "coal"}, after="")
        parts.append((run, asked, said(**{f"call_{one}": "coal"}), result(f"call_{one}", f"{one} tonnes of coal.")))
    told = [agents.call(*grown, user("Sum this up."), says=f"Summary {run.task_id}: there was some coal in this place.",
                        after="")[1] for run, asked, *rest in parts for grown in [(user(asked), *rest)]]  # fmt: skip
    sums = [f"So far: Summary {run.task_id}: there was some coal in this place." for run, *_ in parts]
    then = [agents.call(user(text), after="")[1] for text in sums]
    runs = [run.agent_run_id for run, *_ in parts]
    assert [one.agent_run_id for one in told] == [one.agent_run_id for one in then] == runs
    assert {one.continues_evidence for one in then} == {"compaction"}


def test_a_hundred_agents_each_have_their_sub_agents_inside_their_own_tool_call() -> None:
    agents = Agents()
    roots = [agents.call(user(asked), asks={f"call_{one}": f"Look up region {one}, please."}, after="")[1]
             for one, asked in enumerate(QUESTIONS)]  # fmt: skip
    inner = [agents.call(user(f"Look up region {one}, please."), system=WORKER, after="")[1] for one in MANY]
    assert [one.inside_tool_call_id for one in inner] == [f"call_{one}" for one in MANY]
    assert [one.task_id for one in inner] == [one.task_id for one in roots]


def test_of_a_hundred_agents_that_ask_for_the_same_the_context_tells_whose_sub_agent_it_is() -> None:
    agents = Agents()
    asks = "Look up how much coal there is."
    roots = [agents.call(user("How much coal?"), asks={f"call_{one}": asks}, after="")[0] for one in MANY]
    inner = [agents.call(user(asks), system=WORKER, after=root)[1] for root in roots]
    assert [one.inside_tool_call_id for one in inner] == [f"call_{one}" for one in MANY]


def test_a_hundred_sub_agents_are_found_by_what_they_said_once_the_tools_have_answered() -> None:
    agents = Agents()
    answers = [f"In region {one} there is coal, {one} tonnes of it." for one in MANY]
    roots = [agents.call(user(asked), asks={f"call_{one}": f"r{one}"}, after="")[1]
             for one, asked in enumerate(QUESTIONS)]  # fmt: skip
    inner = [agents.call(user(f"Tell me of {one}"), system=WORKER, says=answer, after="")
             for one, answer in enumerate(answers)]  # fmt: skip
    for one, (asked, answer) in enumerate(zip(QUESTIONS, answers, strict=True)):
        agents.call(user(asked), said(**{f"call_{one}": f"r{one}"}), result(f"call_{one}", answer), after="")
    moved = agents.moved()
    assert [moved[call_id].run.task_id for call_id, _ in inner] == [one.task_id for one in roots]


def test_equal_agents_at_once_whose_oldest_messages_are_dropped_go_on_each_in_its_own_context() -> None:
    agents, same = Agents(), said("I will look for part 3 now.")
    first = [agents.call(user("How much?"), says="I will look for part 2 now.", after="") for _ in MANY]
    grown = (user("How much?"), said("I will look for part 2 now."), user("Go on."))
    then = [agents.call(*grown, says="I will look for part 3 now.", after=call_id) for call_id, _ in first]
    last = [agents.call(same, user("And?"), after=call_id)[1] for call_id, _ in then]
    assert [one.agent_run_id for one in last] == [run.agent_run_id for _, run in first]


def test_equal_agents_at_once_without_contexts_go_on_each_once_and_weakly() -> None:
    agents = Agents()
    runs = [agents.call(user("How much?"), says="I will look for part 2 now.", after="")[1] for _ in range(20)]
    then = [agents.call(said("I will look for part 2 now."), user("And?"), after="")[1] for _ in runs]
    assert {one.agent_run_id for one in then} == {run.agent_run_id for run in runs}
    assert {one.strength for one in then[:-1]} == {"weak"}


def test_a_history_without_answers_in_the_context_of_an_equal_one_is_of_its_run() -> None:
    agents = Agents()
    asked = user("How much?")
    first = [agents.call(asked, asks={"0": "coal"}, after="") for _ in MANY]
    grown = (asked, said(**{"0": "coal"}), result("0", "much"))
    then = [agents.call(*grown, asks={"1": "iron"}, after=call_id) for call_id, _ in first]
    cut = (asked, said(**{"1": "iron"}), result("1", "little"))
    last = [agents.call(*cut, after=call_id)[1] for call_id, _ in then]
    assert [one.agent_run_id for one in last] == [run.agent_run_id for _, run in first]


def test_what_keeps_a_memory_of_all_tasks_is_of_the_task_whose_answer_it_is_told_first() -> None:
    agents, facts, answers, places = Agents(), "", "", []
    for asked, place in zip(QUESTIONS[:5], ("Turku", "Vaasa", "Pori", "Oulu", "Kotka"), strict=True):
        answer, fact = f"In {place} there is much of it, I am sure.", f"The user digs for coal around {place}."
        _, chat = agents.call(user(asked), says=answer, tools=(), after="")
        answers += answer
        keeps = f"Known so far: {facts} Said so far: {answers}"
        _, memory = agents.call(user(keeps), system=WORKER, says=f'{{"fact": "{fact}"}}', tools=(), after="")
        facts += fact
        places.append((chat.task_id, memory.task_id))
    assert all(chat == memory for chat, memory in places)
    assert len({chat for chat, _ in places}) == 5
    assert not agents.moved()


def test_parts_that_were_each_judged_before_are_one_task_once_they_are_put_together() -> None:
    agents = Agents()
    parts = [f"Part {one}: coal was dug up here since the middle ages." for one in range(4)]
    runs = [agents.call(user(asked), says=part, after="") for asked, part in zip(QUESTIONS, parts, strict=False)]
    for part in parts:
        agents.call(user(f"How good is this? {part}"), system="You judge.", says="7", after="")
    _, whole = agents.call(user("Put together: " + " ".join(parts)), system=WORKER, after="")
    moved = agents.moved()
    tasks = {moved[call_id].run.task_id if call_id in moved else place.task_id for call_id, place in runs}
    assert tasks == {whole.task_id}


def test_an_agent_that_is_asked_the_same_again_while_the_first_searches_for_those_words_is_a_task_of_its_own() -> None:
    agents, question = Agents(), QUESTIONS[0]
    votes = [agents.call(user(question), asks={f"call-{n}": question}, tool="search", after="")[1] for n in range(3)]
    assert {(one.depth, one.inside_tool_call_id) for one in votes} == {(0, None)}
    assert len({one.task_id for one in votes}) == len(votes)
    _, inner = agents.call(user(question), system=WORKER, says="Much.", after="")
    assert (inner.depth, inner.inside_evidence) == (1, "flow_arguments")
