"""Lineage: which call continues which, from hand-made readings."""

from itertools import count

import tokenflation.sdk as tf
from tokenflation.sdk.lineage import Lineage, Placement
from tokenflation.sdk.records import Reading, ToolCall, ToolResult
from tokenflation.sdk.scoping.scopes import Scope

_ids = count()


def reading(history: str, roles: str, *, asks: str = "", brings: str = "", instructions: str = "i") -> Reading:
    """A request whose messages are the letters of `history` and whose roles are those of `roles` (u, a, t)."""
    names = {"u": "user", "a": "assistant", "t": "tool"}
    return Reading(
        api="openai.chat",
        provider="openai",
        instructions_hash=instructions.encode(),
        message_hashes=tuple(history[: end + 1].encode().ljust(8) for end in range(len(history))),
        message_bytes=tuple(10 for _ in history),
        message_roles=tuple(names[role] for role in roles),
        tool_calls=tuple(ToolCall(tool_call_id=asks, name="search") for _ in asks[:1]),
        tool_results=tuple(ToolResult(tool_call_id=brings, result_bytes=10) for _ in brings[:1]),
    )


def run(lineage: Lineage, one: Reading, scope: Scope | None = None, at: int | None = None) -> tuple[str, Placement]:
    call_id = f"c{next(_ids)}"
    at = at if at is not None else next(_ids) * 10
    placement = lineage.place(one, call_id, scope, at)
    lineage.remember(one, placement, call_id, scope, at + 1, ())
    return call_id, placement


def fresh() -> Lineage:
    traces = count()
    return Lineage(default_task="t", new_trace_id=lambda: f"{next(traces):032x}")


def test_a_call_that_extends_an_earlier_one_is_the_next_step_of_its_agent_run() -> None:
    lineage = fresh()
    first, start = run(lineage, reading("A", "u", asks="x"))
    _, second = run(lineage, reading("ABC", "uat", brings="x"))
    assert second.continues is not None
    assert second.continues.call_id == first
    assert (second.agent_run_id, second.task_id, second.step) == (start.agent_run_id, start.task_id, 1)
    assert second.sent_messages == 2


def test_a_new_history_while_nothing_waits_is_a_new_task() -> None:
    lineage = fresh()
    _, one = run(lineage, reading("A", "u"))
    _, other = run(lineage, reading("Z", "u"))
    assert one.task_id != other.task_id
    assert one.trace_id != other.trace_id
    assert (other.depth, other.continues, other.inside_tool_call_id) == (0, None, None)


def test_a_new_history_with_other_instructions_inside_an_open_tool_call_is_a_sub_agent() -> None:
    lineage = fresh()
    _, outer = run(lineage, reading("A", "u", asks="x"))
    _, inner = run(lineage, reading("Q", "u", asks="y", instructions="other"))
    _, deepest = run(lineage, reading("S", "u", instructions="third"))
    assert (inner.depth, inner.inside_tool_call_id, inner.task_id) == (1, "x", outer.task_id)
    assert (deepest.depth, deepest.inside_tool_call_id) == (2, "y")


def test_once_the_tool_call_is_answered_a_new_history_is_a_task_again() -> None:
    lineage = fresh()
    run(lineage, reading("A", "u", asks="x"))
    run(lineage, reading("ABC", "uat", brings="x"))
    _, other = run(lineage, reading("Z", "u", instructions="other"))
    assert other.depth == 0


def test_with_two_agent_runs_waiting_none_is_guessed_as_the_parent() -> None:
    lineage = fresh()
    run(lineage, reading("A", "u", asks="x"))
    run(lineage, reading("B", "u", asks="y"))
    _, new = run(lineage, reading("Q", "u", instructions="other"))
    assert (new.depth, new.inside_tool_call_id) == (0, None)


def test_a_repeated_request_is_no_continuation_of_itself() -> None:
    lineage = fresh()
    run(lineage, reading("A", "u"))
    _, again = run(lineage, reading("A", "u"))
    assert again.continues is None


def test_of_two_equal_histories_the_one_whose_tool_call_is_answered_is_continued() -> None:
    lineage = fresh()
    first, _ = run(lineage, reading("A", "u", asks="x"))
    run(lineage, reading("A", "u", asks="y"))
    _, then = run(lineage, reading("ABC", "uat", brings="x"))
    assert then.continues is not None
    assert then.continues.call_id == first


def test_scopes_win_over_what_the_wire_suggests() -> None:
    lineage = fresh()
    with tf.task("triage", id="T-1"), tf.agent("planner") as planner:
        _, one = run(lineage, reading("A", "u", asks="x"), planner)
        with tf.tool("search") as tool, tf.agent("searcher") as searcher:
            _, inner = run(lineage, reading("Q", "u"), searcher)
        _, two = run(lineage, reading("ABC", "uat", brings="x"), planner)
    assert (one.task, one.task_id, one.agent, one.structure_source) == ("triage", "T-1", "planner", "scope")
    assert (inner.depth, inner.agent, inner.inside_tool_call_id) == (1, "searcher", "x")
    assert (two.step, two.agent_run_id, two.parent_id) == (1, planner.span_id, planner.span_id)
    assert tool.agent_run_id == planner.span_id


def test_a_response_named_as_the_previous_one_is_continued() -> None:
    lineage = fresh()
    one = Reading(api="openai.responses", provider="openai", response_id="r1")
    first, _ = run(lineage, one)
    _, then = run(lineage, Reading(api="openai.responses", provider="openai", previous_response_id="r1"))
    assert then.continues is not None
    assert then.continues.call_id == first


def test_an_answer_whose_token_ids_come_back_is_continued() -> None:
    lineage = fresh()
    _, first = run(lineage, Reading(api="ollama.generate", provider="ollama", kept_as="ids-1"))
    _, then = run(lineage, Reading(api="ollama.generate", provider="ollama", previous_response_id="ids-1"))
    _, other = run(lineage, Reading(api="ollama.generate", provider="ollama", previous_response_id="ids-2"))
    assert (then.task_id, then.step, then.continues_evidence) == (first.task_id, 1, "response_id")
    assert other.task_id != first.task_id


def test_blocks_are_shared_within_a_task_only() -> None:
    lineage = fresh()
    hashes = b"".join(bytes([n]) * 8 for n in range(4))
    assert lineage.shared("t1", hashes) == 0
    assert lineage.shared("t1", hashes[:16] + b"other   ") == 2
    assert lineage.shared("t2", hashes) == 0
