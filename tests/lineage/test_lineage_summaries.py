"""Lineage where a history is shortened: calls told about an agent run, and the run that goes on with their answers.

The shapes of messages are those of agents' compaction of their histories: all of it as one text or one piece a call,
in the run's context or another, the summary as the user's message, as a turn of the model's, or in a result's place.
"""

import json
from typing import Any

import pytest
from tests.lineage.lineage_calls import WORKER, Agents, result, said, user

from tokenflation.sdk.lineage import Lineage, Placement
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read

_ASKED = "Please find out how the tides work."
_SUMS_UP = "You shorten conversations."
_FOUND = [f"Found page {number} of the book of tides." for number in range(1, 6)]
_SUMMARY = "The user asks how tides work; two pages of the book are read."


class Loop(Agents):
    """An agent that reads page after page: after `steps` calls it waits for the result of the last tool call."""

    def __init__(self, steps: int, *, after: str | None = "") -> None:
        super().__init__()
        self.after, self.history = after, [user(_ASKED)]
        for number in range(1, steps + 1):
            self.newest, self.root = self.step(number)

    def step(self, number: int) -> tuple[str, Placement]:
        """Make the call that asks for page `number`, with the results of the pages before."""
        asks = {f"call-page-{number}": f"page {number}"}
        made = self.call(*self.history, asks=asks, after=self.after)
        self.history += [said(**asks), result(f"call-page-{number}", _FOUND[number - 1])]
        return made

    def shorten(
        self, text: str, *, after: str | None = "", system: str = "", says: str = _SUMMARY
    ) -> tuple[str, Placement]:
        """Make a call without tools whose one message is `text`."""
        return self.call(user(text), system=system, says=says, tools=(), after=after)


def _transcript(*, pages: int, arguments: bool = True) -> str:
    lines = [f"user: {_ASKED}"]
    for number in range(1, pages + 1):
        lines += [f"assistant called delegate({{'query': 'page {number}'}})"] if arguments else []
        lines += [f"tool: {_FOUND[number - 1]}"]
    return "Shorten what follows.\n\n" + "\n".join(lines)


def _place(one: Placement) -> tuple[str, int, str | None]:
    return one.task_id, one.depth, one.inside_tool_call_id


@pytest.mark.parametrize("after", ["", None])
def test_a_call_without_tools_that_is_told_the_history_of_a_waiting_run_is_beside_the_run(after: str | None) -> None:
    agents = Loop(3, after=after)
    _, told = agents.shorten(_transcript(pages=2), after=after)
    assert _place(told) == _place(agents.root)
    assert (told.continues_evidence, told.strength) == ("flow_result", "weak")


def test_a_run_goes_on_by_its_ids_after_a_call_beside_it() -> None:
    agents = Loop(3)
    agents.shorten(_transcript(pages=2))
    short = [user(f"Here is a summary: {_SUMMARY}"), *agents.history[-2:]]
    _, then = agents.call(*short, asks={"call-page-4": "page 4"}, after="")
    assert then.continues is not None
    assert (then.continues.call_id, then.agent_run_id) == (agents.newest, agents.root.agent_run_id)
    assert (then.continues_evidence, then.changed) == ("tool_call_id", True)


def test_the_history_after_a_summary_is_known_when_it_is_shortened_again() -> None:
    agents = Loop(3)
    agents.shorten(_transcript(pages=2))
    short = [user(f"Here is a summary: {_SUMMARY}"), *agents.history[-2:]]
    agents.call(*short, asks={"call-page-4": "page 4"}, after="")
    _, again = agents.shorten(f"Shorten.\nuser: Here is a summary: {_SUMMARY}\ntool: {_FOUND[2]}")
    assert _place(again) == _place(agents.root)


def test_a_call_that_repeats_only_the_question_of_a_waiting_run_is_a_task_of_its_own() -> None:
    agents = Loop(3)
    _, other = agents.shorten(f"Translate into French, and say nothing more than that: {_ASKED}")
    assert other.task_id != agents.root.task_id


def test_a_history_that_two_waiting_runs_share_is_not_told_as_either_of_them() -> None:
    agents = Loop(3)
    twin = Loop(0)
    twin.lineage, twin.now = agents.lineage, agents.now
    for number in (1, 2, 3):
        asks = {f"call-twin-{number}": f"page {number}"}
        _, other = twin.call(*twin.history, asks=asks, after="")
        twin.history += [said(**asks), result(f"call-twin-{number}", _FOUND[number - 1])]
    agents.now = twin.now
    _, told = agents.shorten(_transcript(pages=2))
    assert other.task_id != agents.root.task_id
    assert told.task_id not in (other.task_id, agents.root.task_id)


def test_a_sub_agent_that_is_given_the_history_and_its_task_is_inside_its_tool_call() -> None:
    agents = Loop(2)
    task = "Write a poem about the moon and the sea."
    asks = {"call-poem": task}
    _, root = agents.call(*agents.history, asks=asks, after="")
    _, inner = agents.shorten(f"{_transcript(pages=2, arguments=False)}\n\n{task}", system=WORKER)
    assert (inner.depth, inner.inside_tool_call_id, inner.task_id) == (1, "call-poem", root.task_id)


def test_a_transcript_that_tells_the_open_tool_call_too_is_beside_the_run() -> None:
    agents = Loop(0)
    queries = [f"read page {number} of the book" for number in (1, 2, 3)]
    lines = [f"user: {_ASKED}"]
    for number, query in enumerate(queries):
        asks = {f"call-page-{number}": query}
        _, root = agents.call(*agents.history, asks=asks, after="")
        agents.history += [said(**asks), result(f"call-page-{number}", _FOUND[number])]
        lines += [f"called delegate({query!r})", f"tool: {_FOUND[number]}"]
    _, told = agents.shorten("\n".join(lines))
    assert _place(told) == _place(root)


def test_results_made_shorter_one_a_call_are_beside_the_run_also_the_one_it_was_not_told_yet() -> None:
    agents = Loop(3)
    places = [
        agents.shorten(
            f"A tool's result, to be made shorter: {text}", system=_SUMS_UP, after=agents.newest, says=f"Short: {text}"
        )
        for text in _FOUND[:3]
    ]
    assert {_place(place) for _, place in places} == {_place(agents.root)}
    assert [place.branch for _, place in places] == [0, 1, 2]


def test_a_call_that_came_before_others_of_its_kind_turns_out_to_be_beside_the_run() -> None:
    agents = Loop(3)
    texts = [f"A tool's result, to be made shorter: {text}" for text in reversed(_FOUND[:3])]
    first, place = agents.shorten(
        texts[0], system=_SUMS_UP, after=agents.newest, says="The third page is about the moon."
    )
    assert place.inside_tool_call_id == "call-page-3"
    agents.shorten(texts[1], system=_SUMS_UP, after=agents.newest)
    move = agents.moved()[first]
    assert (move.run.run_id, move.continues_call_id, move.evidence) == (
        agents.root.agent_run_id,
        agents.newest,
        "flow_result",
    )
    assert (move.run.depth, move.run.host, list(move.run.inner)) == (0, None, [])


def test_an_answer_beside_a_run_that_comes_back_as_a_result_is_still_beside_it() -> None:
    agents = Loop(3)
    answers = [f"Page {number}, in short: the sea, the moon." for number in (1, 2, 3)]
    for text, says in zip(_FOUND, answers, strict=False):
        agents.shorten(f"A tool's result, to be made shorter: {text}", system=_SUMS_UP, after=agents.newest, says=says)
    short = [user(_ASKED)]
    for number, says in enumerate(answers, 1):
        asks = {f"call-page-{number}": f"page {number}"}
        short += [said(**asks), result(f"call-page-{number}", says)]
    _, then = agents.call(*short, says="It is the moon that does it.", after=agents.newest)
    assert then.agent_run_id == agents.root.agent_run_id
    assert agents.moved() == {}


def test_a_call_of_other_instructions_in_the_context_of_a_run_is_inside_its_tool_call() -> None:
    agents = Loop(3)
    agents.shorten(f"To be made shorter: {_FOUND[0]}", system=_SUMS_UP, after=agents.newest)
    _, inner = agents.shorten(
        "Something that no result of the run says anything about.", system=WORKER, after=agents.newest
    )
    assert (inner.depth, inner.inside_tool_call_id) == (1, "call-page-3")


def test_a_sub_agent_that_begins_after_a_call_beside_the_run_is_inside_the_tool_call_whose_arguments_it_was_given() -> (
    None
):
    agents = Loop(2)
    task = "Write a poem about the moon and the sea."
    agents.call(*agents.history, asks={"call-poem": task}, after="")
    agents.shorten(_transcript(pages=2))
    _, inner = agents.call(user(task), system=WORKER, after="")
    assert (inner.depth, inner.inside_tool_call_id, inner.task_id) == (1, "call-poem", agents.root.task_id)


def test_a_new_history_that_begins_with_a_summary_continues_the_run_that_waited() -> None:
    agents = Loop(3)
    summariser, told = agents.shorten(_transcript(pages=2))
    _, then = agents.call(user(f"<summary>\n{_SUMMARY}\n</summary>"), asks={"call-page-4": "page 4"}, after="")
    assert then.continues is not None
    assert (then.agent_run_id, then.continues.call_id) == (agents.root.agent_run_id, summariser)
    assert (then.step, then.continues_evidence) == (told.step + 1, "compaction")


def test_a_summary_made_in_two_calls_at_once_is_of_one_run_once_both_come_back() -> None:
    agents = Loop(3)
    _, first = agents.shorten(_transcript(pages=2), system=_SUMS_UP)
    says = "The third page of the book is about the moon."
    late, second = agents.shorten(f"Shorten what follows.\n\ntool: {_FOUND[2]}", system=_SUMS_UP, says=says)
    assert (first.task_id == agents.root.task_id, second.task_id == agents.root.task_id) == (True, False)
    _, then = agents.call(user(f"<summary>\n{_SUMMARY}\n\n{says}\n</summary>"), says="I go on.", after="")
    move = agents.moved()[late]
    assert (move.run.run_id, move.continues_call_id, move.branch) == (agents.root.agent_run_id, agents.newest, 1)
    assert (then.agent_run_id, then.step) == (agents.root.agent_run_id, (move.step or 0) + 1)


def test_a_summary_made_as_the_user_speaks_next_is_a_step_of_the_run_once_that_goes_on_from_it() -> None:
    agents = Loop(2)
    newest, root = agents.call(*agents.history, says="It is the moon that does it.", after="")
    summary, _ = agents.shorten(_transcript(pages=2))
    kept = [user(f"Here is a summary: {_SUMMARY}"), said("It is the moon that does it."), user("And the sun?")]
    _, then = agents.call(*kept, says="The sun does a little of it, too.", after="")
    move = agents.moved()[summary]
    assert move.run.run_id == then.agent_run_id == root.agent_run_id
    assert (move.continues_call_id, move.evidence, move.step, then.step) == (newest, "compaction", 3, 4)


def test_a_summary_that_repeats_short_arguments_of_another_run_that_waits_is_not_inside_that() -> None:
    agents, query = Loop(0), "page 2 of 9"
    agents.call(*agents.history, asks={"call-own": query}, after="")
    agents.history += [said(**{"call-own": query}), result("call-own", _FOUND[0])]
    agents.call(*agents.history, says="It is the moon that does it.", after="")
    _, waits = agents.call(user("Please read to me of the stars."), asks={"call-other": query}, after="")
    _, told = agents.shorten(f"Shorten.\nuser: {_ASKED}\ncalled delegate({query!r})\ntool: {_FOUND[0]}")
    assert (told.task_id == waits.task_id, told.inside_tool_call_id, told.depth) == (False, None, 0)


def test_an_agent_of_other_instructions_that_is_given_the_summary_is_another_run_of_the_task() -> None:
    agents = Loop(3)
    agents.shorten(_transcript(pages=2))
    _, other = agents.call(user(f"Write it up: {_SUMMARY}"), system=WORKER, after="")
    assert (other.task_id, other.depth) == (agents.root.task_id, 0)
    assert other.agent_run_id != agents.root.agent_run_id


def test_a_text_that_is_escaped_in_its_quotation_is_known_by_its_longest_plain_piece() -> None:
    agents = Loop(2)
    agents.history[-1] = result(
        "call-page-2", '<page no="3">It says that "the moon" pulls at the water of all the seas.</page>'
    )
    agents.call(*agents.history, asks={"call-page-3": "page 3"}, after="")
    quoted = "&lt;page no=&quot;3&quot;&gt;It says that &quot;the moon&quot; pulls at the water of all the seas.&lt;/page&gt;"
    _, told = agents.shorten(f"Shorten.\n<message>{_ASKED}</message>\n<message>{quoted}</message>")
    assert _place(told) == _place(agents.root)


def test_results_at_the_end_of_a_long_transcript_are_found() -> None:
    agents = Loop(3)
    _, told = agents.shorten(f"Shorten.\n{_ASKED}\n{'A word or two. ' * 8000}\n{_FOUND[1]}")
    assert _place(told) == _place(agents.root)


def test_a_history_of_an_api_without_ids_goes_on_after_a_turn_of_the_model_that_is_the_summary() -> None:
    traces = iter(range(9))
    lineage = Lineage(new_trace_id=lambda: f"{next(traces):032x}", key=b"k")
    history = [_turn("user", {"text": _ASKED})]
    for number in (1, 2):
        asked = {"functionCall": {"name": "search", "args": {"query": f"page {number}"}}}
        root = _send(lineage, number, history, asked)
        given = {"functionResponse": {"name": "search", "response": {"result": _FOUND[number - 1]}}}
        history += [_turn("model", asked), _turn("user", given)]
    root = _send(lineage, 3, history, {"functionCall": {"name": "search", "args": {"query": "page 3"}}})
    summary = _send(lineage, 4, [_turn("user", {"text": _transcript(pages=2)})], {"text": _SUMMARY}, tools=False)
    kept = [
        _turn("model", {"text": _SUMMARY}),
        _turn("model", {"functionCall": {"name": "search", "args": {"query": "page 3"}}}),
        _turn("user", {"functionResponse": {"name": "search", "response": {"result": _FOUND[2]}}}),
    ]
    then = _send(lineage, 5, kept, {"text": "It is the moon that does it."})
    assert _place(summary) == _place(root) == _place(then)
    assert (then.agent_run_id, then.step, then.continues_evidence) == (root.agent_run_id, 4, "compaction")
    assert then.asked is not None
    assert then.asked.call_id == "c3"


def _turn(role: str, part: dict[str, Any]) -> dict[str, Any]:
    return {"role": role, "parts": [part]}


def _send(
    lineage: Lineage, number: int, contents: list[dict[str, Any]], answer: dict[str, Any], *, tools: bool = True
) -> Placement:
    declared = {"tools": [{"functionDeclarations": [{"name": "search"}]}]} if tools else {}
    body = {"candidates": [{"content": _turn("model", answer), "finishReason": "STOP"}]}
    view = ExchangeBytes(
        api="google.generate_content",
        path="/v1beta/models/gemini-x:generateContent",
        request_body=json.dumps({"contents": contents, **declared}).encode(),
        status_code=200,
        chunks=[(1, json.dumps(body).encode())],
    )
    reading: Reading | None = read(view, key=b"k")
    assert reading is not None
    placement = lineage.place(reading, f"c{number}", None, number * 10, "")
    lineage.remember(reading, placement, f"c{number}", None, number * 10 + 1, ())
    return placement
