"""Lineage where a history is shortened after its first tool call: what the run was told of results is nothing yet.

A call without tools that left while the tool call was open is inside it, until its answer shows what it was: a
sub-agent's comes back as the result, or not at all; a summary's stands where the history was that it shortens.
"""

import pytest
from tests.lineage.lineage_calls import WORKER, Agents, result, said, user

from tokenflation.sdk.lineage import Placement

_ASKED = "Please find out how the tides work."
_FOUND = "Found page 1 of the book of tides."
_SUMS_UP = "You shorten conversations."
_SUMMARY = "The user asks how tides work; one page of the book is read."
_QUERIES = ["page 1", "the first page of the book of tides"]


def _transcript(query: str) -> dict[str, str]:
    return user(f"Shorten what follows.\n\nuser: {_ASKED}\ncalled delegate(query={query})\ngave: {_FOUND}")


def _begin(query: str, after: str | None) -> tuple[Agents, str, Placement, str]:
    """Make the first call of a run and then the call that shortens its history."""
    agents = Agents()
    first, root = agents.call(user(_ASKED), asks={"call-page-1": query}, after=after and "")
    left = first if after == "own" else after
    told, _ = agents.call(_transcript(query), system=_SUMS_UP, says=_SUMMARY, tools=(), after=left)
    return agents, first, root, told


@pytest.mark.parametrize("query", _QUERIES)
@pytest.mark.parametrize("after", ["own", "", None])
def test_a_new_history_that_begins_with_a_summary_of_one_step_continues_the_run(query: str, after: str | None) -> None:
    agents, first, root, told = _begin(query, after)
    kept = [said(f"[SUMMARY] {_SUMMARY}"), user(f"Go on with this: {_ASKED}")]
    _, then = agents.call(*kept, asks={"call-page-2": query}, after=told if after else after)
    move = agents.moved()[told]
    assert (move.run.run_id, move.step, move.continues_call_id) == (root.agent_run_id, 1, first)
    assert (then.agent_run_id, then.step, then.depth) == (root.agent_run_id, 2, 0)
    assert (then.continues_evidence, then.inside_tool_call_id, move.run.inner) == ("compaction", None, ())


@pytest.mark.parametrize("query", _QUERIES)
@pytest.mark.parametrize("after", ["own", "", None])
def test_a_summary_before_the_tool_call_that_is_kept_was_made_beside_the_run(query: str, after: str | None) -> None:
    agents, first, root, told = _begin(query, after)
    kept = [user(f"Here is a summary: {_SUMMARY}"), said(**{"call-page-1": query}), result("call-page-1", _FOUND)]
    _, then = agents.call(*kept, says="It is the moon that does it.", after=told if after else after)
    move = agents.moved()[told]
    assert (move.run.run_id, move.step, move.continues_call_id) == (root.agent_run_id, 1, first)
    assert (then.agent_run_id, then.step, then.continues_evidence) == (root.agent_run_id, 2, "tool_call_id")


@pytest.mark.parametrize("query", _QUERIES)
def test_a_run_is_shortened_after_each_of_its_tool_calls(query: str) -> None:
    agents, _, root, told = _begin(query, "own")
    summary = _SUMMARY
    for number in range(2, 5):
        kept = [said(f"[SUMMARY] {summary}"), user(f"Go on with this: {_ASKED}")]
        newest, place = agents.call(*kept, asks={f"call-page-{number}": query}, after=told)
        lines = f"user: Go on with this: {_ASKED}\ngave: Found page {number}."
        summary = f"Now {number} pages are read, and the others are not yet read."
        told, _ = agents.call(user(f"Shorten.\n\n{lines}"), system=_SUMS_UP, says=summary, tools=(), after=newest)
        assert (place.agent_run_id, place.step) == (root.agent_run_id, 2 * (number - 1))


@pytest.mark.parametrize("after", ["own", ""])
def test_a_run_is_known_by_its_summary_where_nothing_else_of_it_is_kept(after: str) -> None:
    agents, _, root, told = _begin("page 1", after)
    summary = _SUMMARY
    for number in range(2, 5):
        kept = [said(summary), user("Go on, or come to an end.")]
        newest, place = agents.call(*kept, asks={f"call-page-{number}": "page 2"}, after=told if after else after)
        assert (place.agent_run_id, place.step) == (root.agent_run_id, 2 * (number - 1))
        shorten = user(f"Shorten this.\n\nmodel: {summary}\ngave: Found page {number} of the book.")
        summary = f"Now {number} pages are read, and the others are not yet read."
        told, _ = agents.call(shorten, system=_SUMS_UP, says=summary, tools=(), after=newest if after else after)


@pytest.mark.parametrize("query", _QUERIES)
def test_a_sub_agent_without_tools_that_is_told_the_question_stays_inside_its_tool_call(query: str) -> None:
    agents = Agents()
    first, root = agents.call(user(_ASKED), asks={"call-1": query}, after="")
    answer = "The moon pulls at the water of all the seas, twice a day."
    inner, place = agents.call(
        user(f"The user says: {_ASKED}\nYou do: {query}"), system=WORKER, says=answer, tools=(), after=first
    )
    assert (place.depth, place.inside_tool_call_id) == (1, "call-1")
    history = [user(_ASKED), said(**{"call-1": query}), result("call-1", answer)]
    _, then = agents.call(*history, says="It is the moon.", after=inner)
    assert (then.agent_run_id, then.step) == (root.agent_run_id, 1)
    assert inner not in agents.moved()


def test_a_sub_agent_whose_answer_is_added_behind_the_result_stays_inside_its_tool_call() -> None:
    agents = Agents()
    first, root = agents.call(user(_ASKED), asks={"call-1": "find it out"}, after="")
    answer = "The moon pulls at the water of all the seas, twice a day."
    inner, _ = agents.call(user(f"{_ASKED} Find it out."), system=WORKER, says=answer, tools=(), after=first)
    history = [user(_ASKED), said(**{"call-1": "find it out"}), result("call-1", "Done."), user(f"Worker: {answer}")]
    _, then = agents.call(*history, says="It is the moon.", after=inner)
    assert then.agent_run_id == root.agent_run_id
    assert inner not in agents.moved()


def test_an_agent_begun_inside_a_tool_call_with_what_a_call_without_tools_said_is_inside_it_too() -> None:
    agents = Agents()
    first, root = agents.call(user(_ASKED), asks={"call-1": "the first page of the book"}, after="")
    plan = "First open the book of tides, then read the page aloud."
    planner, _ = agents.call(user("Plan: the first page of the book"), says=plan, tools=(), system=WORKER, after=first)
    _, inner = agents.call(user(f"Do as planned: {plan}"), says="It is read.", after=planner)
    assert inner.agent_run_id != root.agent_run_id
    assert planner not in agents.moved()


def test_a_sub_agent_that_says_what_the_one_before_it_said_stays_inside_its_tool_call() -> None:
    agents = Agents()
    answer = "Nothing about that stands in any book of the library."
    history, newest, inner = [user(_ASKED)], "", []
    for number in (1, 2):
        asks = {f"call-{number}": f"look into part {number}"}
        newest, _ = agents.call(*history, asks=asks, after=newest)
        newest, _ = agents.call(user(f"Look into part {number}."), system=WORKER, says=answer, tools=(), after=newest)
        inner.append(newest)
        history += [said(**asks), result(f"call-{number}", answer)]
    agents.call(*history, says="I do not know.", after=newest)
    assert not agents.moved().keys() & set(inner)
