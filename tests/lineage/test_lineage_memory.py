"""What lineage keeps of programs that never end."""

import gc

import pytest
from tests.lineage.lineage_calls import WORKER, Agents, result, said, user

from tokenflation.sdk.lineage import blocks, histories
from tokenflation.sdk.lineage.blocks import TaskBlocks
from tokenflation.sdk.lineage.histories import Recent, Run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Recent, "room", 32)
    monkeypatch.setattr(histories, "_MAX_INNER", 32)


def _runs() -> int:
    gc.collect()
    return sum(isinstance(one, Run) for one in gc.get_objects())


@pytest.mark.usefixtures("small")
def test_a_supervisor_that_never_ends_keeps_only_its_newest_sub_agents() -> None:
    agents, before, depths = Agents(), _runs(), set()
    grown, root = [user("Supervise all.")], ""
    for number in range(300):
        task, answer = f"Do part {number} of the work.", f"Part {number} is done as asked."
        root, _ = agents.call(*grown[-2:], asks={f"call_{number}": task}, after=root)
        depths.add(agents.call(user(task), system=WORKER, says=answer, after=root)[1].depth)
        grown += [said(**{f"call_{number}": task}), result(f"call_{number}", answer)]
    assert depths == {1}
    assert _runs() - before < 150


@pytest.mark.usefixtures("small")
def test_unanswered_tool_calls_of_any_number_of_tasks_are_forgotten() -> None:
    agents, before = Agents(), _runs()
    for number in range(300):
        agents.call(
            user(f"Task {number}."), system=f"You are of kind {number}.", asks={f"call_{number}": "x"}, after=""
        )
    assert _runs() - before < 150
    assert len(agents.moved()) == 0


@pytest.mark.usefixtures("small")
def test_prompts_that_each_repeat_the_one_before_for_ever_are_forgotten() -> None:
    agents, before, known = Agents(), _runs(), "no price so far"
    rules = "Say what the price of it is now that you have read this part of the letters, too. " * 4
    for number in range(300):
        asks = f"{rules}It was: {known}. Part {number}."
        known = f"price {number:06d} USD"
        agents.call(user(asks), system=WORKER, tools=(), says=known, after="")
    assert _runs() - before < 150


def test_a_task_that_never_ends_keeps_the_blocks_of_its_newest_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "_MAX_BLOCKS", 100)
    task = TaskBlocks()
    hashes = [b"".join((number * 1000 + at).to_bytes(8, "big") for at in range(20)) for number in range(50)]
    assert [task.shared("only", prompt) for prompt in hashes] == [0] * 50
    assert sum(map(len, task._tasks.values())) <= 100
    assert task.shared("only", hashes[-1] + b"further.") == 20
