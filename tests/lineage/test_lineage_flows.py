"""Lineage by what flows between agents, contexts and answers that come back, from readings of real-looking bodies."""

import json

from msgspec.structs import replace
from tests.lineage.lineage_calls import ROOT, WORKER, Agents, reading_of, result, said, user

from tokenflation.sdk.calls.structure import structure_of
from tokenflation.sdk.records import ToolCall


def test_each_of_four_parallel_sub_agents_is_inside_the_tool_call_whose_arguments_it_was_given() -> None:
    agents = Agents()
    asks = {f"call-{n}": f"Please look into topic number {n}." for n in range(4)}
    _, root = agents.call(user("Look into four topics."), asks=asks)
    inner = [agents.call(user(f"Task:\n{query}"), system=WORKER)[1] for query in reversed(asks.values())]
    assert [one.inside_tool_call_id for one in inner] == list(reversed(asks))
    assert {(one.depth, one.task_id, one.inside_evidence, one.strength) for one in inner} == {
        (1, root.task_id, "flow_arguments", "strong")
    }


def test_a_sub_agent_that_begins_while_its_sibling_waits_is_not_inside_the_sibling() -> None:
    agents = Agents()
    agents.call(user("Two topics."), asks={"call-1": "Study the first topic.", "call-2": "Study the second topic."})
    agents.call(user("Study the first topic."), system=WORKER, asks={"call-3": "a page of a book"})
    _, second = agents.call(user("Study the second topic."), system="You work too.")
    assert (second.depth, second.inside_tool_call_id) == (1, "call-2")


def test_two_tasks_at_once_in_contexts_of_their_own_stay_two_tasks() -> None:
    agents = Agents()
    _, one = agents.call(user("Tell me about tides."), asks={"call-1": "tides of the sea"}, after="")
    _, other = agents.call(user("Tell me about wind."), system=WORKER, after="")
    assert (other.depth, other.inside_evidence) == (0, None)
    assert one.task_id != other.task_id


def test_a_call_from_a_context_begun_while_a_tool_call_was_open_is_inside_it() -> None:
    agents = Agents()
    asker, root = agents.call(user("Go."), asks={"call-1": "x"}, after="")
    _, inner = agents.call(user("An unrelated prompt."), system=WORKER, after=asker)
    assert (inner.depth, inner.inside_tool_call_id, inner.task_id) == (1, "call-1", root.task_id)
    assert (inner.inside_evidence, inner.strength) == ("context", "strong")


def test_a_run_whose_answer_comes_back_as_a_result_turns_out_to_have_been_inside_that_tool_call() -> None:
    agents = Agents()
    _, root = agents.call(user("Go."), asks={"call-1": "x"}, after="")
    inner_id, inner = agents.call(user("Something."), system=WORKER, says="Tides follow the moon.", after="")
    assert inner.depth == 0
    agents.call(
        user("Go."), said(**{"call-1": "x"}), result("call-1", '{"answer": "Tides follow the moon."}'), after=""
    )
    move = agents.moved()[inner_id]
    assert (move.run.depth, move.run.task_id) == (1, root.task_id)
    assert move.run.host is not None
    assert (move.run.host.tool_call_id, move.run.host.edge.evidence) == ("call-1", "flow_result")


def test_a_row_that_is_written_anew_says_how_sure_the_place_is_that_its_run_was_moved_to() -> None:
    agents = Agents()
    agents.call(user("Go."), asks={"call-1": "x"}, after="")
    answer = "Tides follow the moon."
    _, inner = agents.call(user("Something."), system=WORKER, says=answer, after="")
    agents.call(user("Go."), said(**{"call-1": "x"}), result("call-1", answer), after="")
    row = structure_of(inner, reading_of([user("Something.")], WORKER, answer, {}, ("delegate",)), None)
    assert (row["inside_evidence"], row["structure_strength"]) == ("flow_result", "strong")


def test_equal_prompts_sent_at_once_are_told_apart_by_their_answers() -> None:
    agents = Agents()
    first, _ = agents.call(user("Write a line."), says="Roses are red, dear.")
    second, _ = agents.call(user("Write a line."), says="Violets are blue, dear.")
    _, then = agents.call(user("Write a line."), said("Roses are red, dear."), user("Another."))
    _, also = agents.call(user("Write a line."), said("Violets are blue, dear."), user("Another."))
    assert [one.continues.call_id for one in (then, also) if one.continues] == [first, second]
    assert {(one.continues_evidence, one.strength, one.branch) for one in (then, also)} == {("answer", "exact", 0)}


def test_a_call_continued_twice_has_two_branches_in_one_task() -> None:
    agents = Agents()
    _, root = agents.call(user("Write a line."), says="Roses are red, dear.")
    _, one = agents.call(user("Write a line."), said("Roses are red, dear."), user("Longer."))
    _, other = agents.call(user("Write a line."), said("Roses are red, dear."), user("Shorter."))
    assert (one.branch, other.branch) == (0, 1)
    assert root.task_id == one.task_id == other.task_id


def test_a_history_whose_oldest_messages_were_dropped_goes_on_with_less_certainty() -> None:
    agents = Agents()
    whole = [user("Start."), said(**{"call-1": "a first thing"}), result("call-1", "first result")]
    agents.call(whole[0], asks={"call-1": "a first thing"})
    newest, _ = agents.call(*whole, asks={"call-2": "a second thing"})
    _, cut = agents.call(user("..."), said(**{"call-2": "a second thing"}), result("call-2", "second result"))
    assert cut.continues is not None
    assert (cut.continues.call_id, cut.continues_evidence, cut.strength) == (newest, "tool_call_id", "strong")
    assert (cut.changed, cut.sent_messages) == (True, 0)


def test_an_edit_in_the_middle_continues_the_newest_call_not_the_last_unedited_one() -> None:
    agents = Agents()
    agents.call(user("Start."), asks={"call-1": "a first thing"})
    newest, _ = agents.call(
        user("Start."),
        said(**{"call-1": "a first thing"}),
        result("call-1", "a long page"),
        says="It is about the tides.",
    )
    _, then = agents.call(
        user("Start."), said(**{"call-1": "a first thing"}), result("call-1", "[cleared]"), said("It is about the tides."),
        user("And now?"),
    )  # fmt: skip
    assert then.continues is not None
    assert (then.continues.call_id, then.continues_evidence, then.changed) == (newest, "answer", True)


def test_a_history_that_begins_with_a_summary_of_an_agent_run_is_a_step_of_that_run() -> None:
    agents = Agents()
    _, root = agents.call(user("Explain the tides at length."), says="The moon pulls at the water of the seas.")
    told = json.dumps([user("Explain the tides at length."), said("The moon pulls at the water of the seas.")])
    summary = "The user wants the tides explained; the moon was named as their cause."
    summariser, _ = agents.call(user(f"Summarise this conversation: {told}"), system="You sum up.", says=summary)
    _, then = agents.call(user(f"Summary: {summary}"), user("And the wind?"))
    assert (then.agent_run_id, then.task_id, then.step) == (root.agent_run_id, root.task_id, 2)
    assert (then.continues_evidence, then.changed) == ("compaction", True)
    move = agents.moved()[summariser]
    assert (move.run.run_id, move.step) == (root.agent_run_id, 1)


def test_tools_in_another_order_do_not_end_a_history() -> None:
    agents = Agents()
    first, _ = agents.call(user("Start."), says="It has begun, it has.", tools=("delegate", "search"))
    _, then = agents.call(user("Start."), said("It has begun, it has."), user("On."), tools=("search", "delegate"))
    assert then.continues is not None
    assert (then.continues.call_id, then.strength) == (first, "exact")


def test_a_handoff_is_another_agents_run_of_the_same_task_and_depth() -> None:
    agents = Agents()
    lineage, now = agents.lineage, agents.now
    asked = {"id": "call-1", "type": "function", "function": {"name": "transfer_to_writer", "arguments": "{}"}}
    request = reading_of([user("Write.")], ROOT, "", {}, ())
    request = replace(request, tool_calls=(ToolCall(tool_call_id="call-1", name="transfer_to_writer"),))
    placed = lineage.place(request, "a", None, now, "")
    lineage.remember(request, placed, "a", None, now + 1, ())
    agents.now += 10
    message = {"role": "assistant", "content": None, "tool_calls": [asked]}
    _, taken = agents.call(user("Write."), message, result("call-1", "{}"), system="You are Writer. Write.", after="a")
    assert (taken.agent, taken.depth, taken.task_id) == ("Writer", 0, placed.task_id)
    assert taken.agent_run_id != placed.agent_run_id


def test_a_tool_call_that_was_an_answer_has_no_agent_inside() -> None:
    agents = Agents()
    last = ""
    placed = []
    for item in ("one", "two", "three"):
        last, first = agents.call(user(f"Sort item {item}."), asks={f"sorted-{item}": "x"}, after=last)
        last, second = agents.call(user(f"Price item {item}."), system=WORKER, says="It costs.", after=last)
        placed += [first, second]
    assert max(one.depth for one in placed[2:]) == 0
    assert {move.run.depth for move in agents.moved().values()} == {0}


def test_an_answer_that_was_refused_and_is_given_again_has_no_agent_inside() -> None:
    agents = Agents()
    last, _ = agents.call(user("Name a city."), asks={"given-1": "Osl"}, after="", tool="final_result")
    refused = said(**{"given-1": "Osl"}), result("given-1", "Not valid. Try again.")
    last, _ = agents.call(user("Name a city."), *refused, asks={"given-2": "Oslo"}, after=last, tool="final_result")
    _, other = agents.call(user("Judge this letter."), system=WORKER, after=last)
    assert (other.depth, other.inside_tool_call_id) == (0, None)


def test_a_tool_that_is_named_as_an_answer_but_run_has_agents_inside() -> None:
    agents = Agents()
    last, _ = agents.call(user("Order tea."), asks={"order-1": "tea"}, after="", tool="submit_order")
    done = said(**{"order-1": "tea"}), result("order-1", "It is ordered.")
    last, _ = agents.call(user("Order tea."), *done, says="Tea was ordered.", after=last)
    last, _ = agents.call(user("Order milk."), asks={"order-2": "Buy milk."}, after=last, tool="submit_order")
    _, inner = agents.call(user("Buy milk."), system=WORKER, after=last)
    assert (inner.depth, inner.inside_tool_call_id) == (1, "order-2")


def test_a_task_is_named_by_its_agent_or_by_a_fingerprint_that_dates_do_not_change() -> None:
    agents = Agents()
    _, named = agents.call(user("Hello."), system="You are Ada Lovelace. Today is 2026-11-20.")
    _, one = agents.call(user("Hello one."), system="Answer briefly. Today is 2026-11-20.")
    _, other = agents.call(user("Hello two."), system="Answer briefly. Today is 2026-11-21.")
    assert (named.task, named.agent) == ("Ada Lovelace", "Ada Lovelace")
    assert one.task == other.task
    assert one.task.startswith("task-")


def test_an_agent_that_is_given_the_answer_of_the_one_before_goes_on_with_its_task() -> None:
    agents = Agents()
    _, first = agents.call(user("Explain."), says="Tides follow the moon around the earth.", after="")
    _, second = agents.call(user("Shorten: Tides follow the moon around the earth."), system=WORKER, after="")
    assert (second.task_id, second.depth) == (first.task_id, 0)
    assert second.agent_run_id != first.agent_run_id
    assert (second.continues, second.inside_evidence, second.strength) == (None, "quoted", "weak")


def test_the_same_messages_under_a_prompt_that_begins_otherwise_are_another_agents_run() -> None:
    agents = Agents()
    _, first = agents.call(user("Go."), system="You draft. Date 1.", says="A draft of some length.")
    _, dated = agents.call(user("Go."), said("A draft of some length."), user("On."), system="You draft. Date 2.")
    _, other = agents.call(user("Go."), said("A draft of some length."), system="You review.")
    assert dated.agent_run_id == first.agent_run_id
    assert (other.agent_run_id != first.agent_run_id, other.task_id, other.depth) == (True, first.task_id, 0)


def test_a_prompt_that_is_all_system_prompt_is_of_the_task_whose_answer_it_quotes() -> None:
    agents = Agents()
    _, root = agents.call(user("Look at the harbour."), says="Eleven boats lie in the harbour.")
    _, chosen = agents.call(system="Who speaks next, ann or bob?\nann: Eleven boats lie in the harbour.")
    assert (chosen.task_id, chosen.inside_evidence) == (root.task_id, "quoted")
