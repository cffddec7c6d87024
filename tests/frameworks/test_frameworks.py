"""The matrix of frameworks by itself: the scripted model, the judge and the page, with an agent without one."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from tests.frameworks.judge import Rows, differences, in_turn, unlike_the_plan
from tests.frameworks.plans import SCENARIOS, runs_of
from tests.frameworks.report import page
from tests.frameworks.run import agents, play
from tests.frameworks.server import Model, Served


@pytest.fixture(scope="module")
def nested() -> tuple[list[Served], dict[str, Rows]]:
    """What the server did in `nested`, and rows that tell exactly that, made from the plan alone."""
    with Model() as model:
        _converse(openai.OpenAI(base_url=model.openai_url, api_key="k"), "nested")
        return model.served, _true_rows(model.served)


def _converse(client: openai.OpenAI, plan: str) -> str:
    parameters = {"type": "object", "properties": {"query": {"type": "string"}}}
    names = ("search", "researcher", "reader", "checker")
    tools: Any = [{"type": "function", "function": {"name": name, "parameters": parameters}} for name in names]
    messages: list[Any] = [{"role": "user", "content": f"[[plan:{plan}]]"}]
    while True:
        answer = client.chat.completions.create(model="m", messages=messages, tools=tools).choices[0].message
        if not answer.tool_calls:
            return str(answer.content)
        messages.append(answer.model_dump(exclude_none=True))
        for call in answer.tool_calls:
            inner = call.function.arguments.partition("plan:")[2].partition("]")[0]
            result = _converse(client, inner) if inner else "found"
            messages.append({"role": "tool", "tool_call_id": call.id, "content": result})


def _true_rows(served: list[Served]) -> dict[str, Rows]:
    runs, asks = runs_of(SCENARIOS["nested"]), {}
    tables: dict[str, Rows] = {"calls": [], "attempts": [], "tool_calls": []}
    for one in served:
        run = runs[one.plan]
        id_ = one.answer.response_id
        for index, asked in enumerate(one.answer.asked):
            asks[one.plan, one.turn, index] = id_, asked.tool_call_id
            tables["tool_calls"].append({"call_id": id_, "tool_call_id": asked.tool_call_id, "name": asked.name})
        place = {"task_id": run.task, "agent_run_id": one.plan, "depth": run.depth, "step": one.turn}
        inside_call, inside = asks.get((run.parent, run.turn, run.ask), (None, None))
        place |= {"inside_call_id": inside_call, "inside_tool_call_id": inside}
        count = len(one.answer.asked)
        row = {
            "call_id": id_,
            "response_id": id_,
            "inside_tool_call_id": inside,
            "tool_calls": count,
            "status": "ok",
            **place,
        }
        tables["calls"].append(row)
        tables["attempts"].append({"call_id": id_})
    return tables


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_agent_without_a_framework_is_told_as_it_is(name: str, tmp_path: Path) -> None:
    assert play(Path(sys.executable), agents()["no_framework"].script, name, tmp_path) == "ok"


def test_the_agent_does_what_the_plan_says(nested: tuple[list[Served], dict[str, Rows]]) -> None:
    served, _ = nested

    assert unlike_the_plan(SCENARIOS["nested"], served) == []
    assert unlike_the_plan(SCENARIOS["nested"], served[:-1]) == ["the agent made 1 of 2 steps of nested"]
    assert [one.plan for one in served] == [
        "nested", "nested-1", "nested-1", "nested-2", "nested-3", "nested-3", "nested-2", "nested-1", "nested",
    ]  # fmt: skip


def test_the_judge_finds_nothing_in_what_is_true(nested: tuple[list[Served], dict[str, Rows]]) -> None:
    served, rows = nested

    assert differences(SCENARIOS["nested"], served, rows) == []
    assert not in_turn(SCENARIOS["nested"], served)


def _change(column: str, value: Any, at: int = 3) -> Callable[[dict[str, Rows]], None]:
    return lambda tables: tables["calls"][at].update({column: value})


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (_change("task_id", "another"), "2 tasks, not 1"),
        (_change("agent_run_id", "nested"), "calls of several agent runs are mixed"),
        (_change("depth", 1), "depth wrong in 1 of 9 calls (nested-2 turn 0: 1, not 2)"),
        (_change("step", 4), "step wrong in 1 of 9 calls (nested-2 turn 0: 4, not 0)"),
        (_change("inside_tool_call_id", None), "inside another tool call, or none: nested-2"),
        (_change("inside_call_id", "resp_2"), "inside another tool call, or none: nested-2"),
        (_change("inside_tool_call_id", "call_1", at=0), "inside another tool call, or none: nested"),
        (_change("tool_calls", 2), "nested-2 turn 0: tool calls ['checker'], not ['checker']"),
        (lambda tables: tables["calls"].pop(0), "8 calls, not 9"),
        (lambda tables: tables["attempts"].pop(0), "8 attempts, not 9"),
        (lambda tables: tables["tool_calls"].pop(0), "nested turn 0: tool calls [], not ['researcher']"),
    ],
)
def test_the_judge_finds_each_lie(
    nested: tuple[list[Served], dict[str, Rows]], lie: Callable[[dict[str, Rows]], None], said: str
) -> None:
    served, rows = nested
    told = {name: [dict(row) for row in table] for name, table in rows.items()}
    lie(told)

    assert said in differences(SCENARIOS["nested"], served, told)


def _refused_once() -> tuple[list[Served], dict[str, Rows]]:
    """Return what the server did in `retry`, and what is true where the agent asked again by itself."""
    with Model() as model:
        client = openai.OpenAI(base_url=model.openai_url, api_key="k", max_retries=0)
        with pytest.raises(openai.RateLimitError):
            _converse(client, "retry")
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "[[plan:retry]]"}])
    calls = [
        {"call_id": str(at), "response_id": one.answer.response_id if one.status == 200 else None, "task_id": "t",
         "agent_run_id": "r", "depth": 0, "step": at, "inside_call_id": None, "inside_tool_call_id": None, "attempts": 1, "started_at_ns": at,
         "tool_calls": len(one.answer.asked), "status": "ok" if one.status == 200 else "error"}
        for at, one in enumerate(model.served)
    ]  # fmt: skip
    tools = [
        {"call_id": "0", "tool_call_id": one.tool_call_id, "name": one.name} for one in model.served[0].answer.asked
    ]
    return model.served, {"calls": calls, "attempts": [{}, {}, {}], "tool_calls": tools}


def test_an_agent_that_asks_again_by_itself_makes_a_failed_call_in_the_same_run() -> None:
    served, rows = _refused_once()

    assert differences(SCENARIOS["retry"], served, rows) == []
    rows["calls"][1]["agent_run_id"] = "another"
    assert differences(SCENARIOS["retry"], served, rows) == ["step wrong in 1 of 2 calls (retry turn 1: 2, not 1)"]


def test_a_streamed_response_says_text_and_arguments_piece_by_piece_too() -> None:
    parameters: Any = {"type": "object", "properties": {"query": {"type": "string"}}}
    search: Any = {"type": "function", "name": "search", "parameters": parameters, "strict": False}
    with Model() as model:
        client = openai.OpenAI(base_url=model.openai_url, api_key="k")
        asked, said = (
            [event.delta for event in client.responses.create(model="m", input=text, tools=[search], stream=True)
             if event.type == kind]
            for text, kind in [("[[plan:tools]]", "response.function_call_arguments.delta"),
                               ("[[plan:single]]", "response.output_text.delta")]
        )  # fmt: skip
        assert "".join(asked) == json.dumps(model.served[0].answer.asked[0].arguments)
        assert "".join(said) == model.served[1].answer.text


def test_a_request_that_names_the_answer_before_it_goes_on_with_its_plan() -> None:
    with Model() as model:
        client = openai.OpenAI(base_url=model.openai_url, api_key="k")
        search: Any = {"type": "function", "name": "search", "parameters": {"type": "object"}, "strict": False}
        first = client.responses.create(model="m", input="[[plan:retry]]", tools=[search])
        result: Any = {"type": "function_call_output", "call_id": "call_1", "output": "found"}
        second = client.responses.create(model="m", input=[result], previous_response_id=first.id, tools=[search])

    assert second.output_text == "The result of retry is yrter."
    assert [(one.plan, one.turn, one.status) for one in model.served] == [
        ("retry", 0, 200), ("retry", 1, 429), ("retry", 1, 200),
    ]  # fmt: skip
    assert model.served[2].answer.input_tokens > model.served[0].answer.input_tokens


def test_a_request_that_names_no_plan_is_refused_and_noted() -> None:
    with Model() as model:
        client = openai.OpenAI(base_url=model.openai_url, api_key="k", max_retries=0)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])

    assert "names no plan" in model.problems[0]
    assert model.served == []


def test_the_page_says_what_differs_below_the_table() -> None:
    cells = {"single": "ok", "tools": "7 calls, not 6", "compact": "-"}
    text = page([{"framework": "some", "version": "1.2", "about": "Some: an agent.", "cells": cells}])

    assert "| some | 1.2 | ok | differs (1) |" in text
    assert "1. some, tool loop of 5 steps: 7 calls, not 6" in text
    assert "1 of 2 cells are as they should be." in text
