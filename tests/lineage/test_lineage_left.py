"""Lineage where an agent gives up and leaves its tool calls open: its thread goes on to others, as a worker's does."""

import pytest
from tests.lineage.lineage_calls import WORKER, Agents, result, said, user

from tokenflation.sdk.lineage import Placement

_TITLES = "You write titles."


class Worker(Agents):
    """A thread that does one job after another."""

    last = ""

    def job(self, text: str, system: str, tools: tuple[str, ...] = ("ledger",)) -> Placement:
        """Make the one call of a job."""
        self.last, placement = self.call(
            user(text), system=system, says=f"Done with {text}", tools=tools, after=self.last
        )
        return placement

    def searches(self, job: str, *, then: str | None = None) -> Placement:
        """Let an agent search, and once it was told of that answer, or search anew if `then` says for what."""
        asks = {f"call-{job}": f"all about {job}"}
        self.last, placement = self.call(user(f"Find {job}."), asks=asks, after=self.last, tool="search")
        told = said(**asks), result(f"call-{job}", f"Found a page on {job}.")
        again = {f"call-{job}-again": then} if then else None
        self.last, _ = self.call(
            user(f"Find {job}."),
            *told,
            says="" if then else f"That is {job}.",
            asks=again,
            after=self.last,
            tool="search",
        )
        return placement


def _places(*placements: Placement) -> list[tuple[int, str | None, bool]]:
    return [(one.depth, one.inside_tool_call_id, one.task_id == one.agent_run_id) for one in placements]


_ALONE = (0, None, True)


def test_an_agent_that_begins_where_one_gave_up_in_a_tool_that_begins_no_agents_is_a_task_of_its_own() -> None:
    worker = Worker()
    worker.searches("tides", then="more about tides")
    assert _places(worker.job("Bill it.", WORKER), worker.job("Bill that.", WORKER)) == [_ALONE, _ALONE]


def test_a_kind_of_call_that_stood_alone_before_is_not_inside_of_what_an_agent_left_open() -> None:
    worker = Worker()
    before = worker.job("The sea.", _TITLES, tools=())
    worker.last, _ = worker.call(user("Find tides."), asks={"call-1": "tides and moons"}, after=worker.last)
    assert _places(before, worker.job("The moon.", _TITLES, tools=())) == [_ALONE, _ALONE]


def test_what_was_told_as_inside_of_a_tool_call_is_taken_out_once_its_agent_turns_out_to_have_given_up() -> None:
    worker = Worker()
    worker.searches("tides", then="more about tides")
    inside = [worker.job(text, _TITLES, tools=()) for text in ("The sea.", "The moon.")]
    worker.job("Bill it.", WORKER)
    moved = worker.moved()
    assert {one.depth for one in inside} == {1}
    assert [(move.run.depth, move.run.host) for move in moved.values()] == [(0, None), (0, None)]
    assert len({move.run.task_id for move in moved.values()}) == 2


def test_a_tool_that_began_an_agent_of_some_kind_before_has_the_next_of_that_kind_inside() -> None:
    worker = Worker()
    asks = {"call-1": "tides"}
    worker.job("Alone.", WORKER)
    worker.last, _ = worker.call(user("Go."), asks=asks, after=worker.last)
    text, says = "What of the moon?", "So it is, says he."
    first, _ = worker.call(user(text), system=WORKER, says=says, tools=("ledger",), after="elsewhere")
    told = said(**asks), result("call-1", says)
    worker.last, _ = worker.call(user("Go."), *told, asks={"call-2": "moons"}, after=worker.last)
    assert worker.moved()[first].run.depth == 1
    assert _places(worker.job("Something else.", WORKER)) == [(1, "call-2", False)]


@pytest.mark.parametrize("worker", [None, "the same"])
def test_an_agent_whose_prompt_tells_how_to_submit_is_not_inside_of_the_shell_in_which_its_like_did(
    worker: str | None,
) -> None:
    agents, submits = Agents(), "echo COMPLETE_TASK_AND_SUBMIT"
    task = f"Mend it. You submit by `{submits}`."
    first, _ = agents.call(user(task), asks={"call-1": "ls -l trains"}, tool="bash", after="")
    told = said(**{"call-1": "ls -l trains"}), result("call-1", "nothing to see")
    last, _ = agents.call(user(task), *told, asks={"call-2": submits}, tool="bash", after=first)
    places = [agents.call(user(f"{n}: {task}"), says="Done.", after=last if worker else "")[1] for n in (2, 3)]
    assert _places(*places) == [_ALONE, _ALONE]
