"""What keeps prompts from sharing their beginning: found where it was put, by hand and in real recordings."""

from pathlib import Path
from typing import Any

import openai
import pandas as pd
import pytest
from hypothesis import given, settings
from tests.analysis.prompts import BLOCK, any_calls, asked, calls_of
from tests.providers import Provider

import tokenflation.sdk as tf
from tokenflation.analysis import load
from tokenflation.analysis.columns.context import VOLATILE_COLUMNS
from tokenflation.analysis.context.volatile import volatile_prefixes, volatile_sentence

_RULES = [f"Rule {number}: be brief, quote the order and its state, then stop. " for number in range(60)]
_TOOLS: Any = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": "Looks things up in a table of orders. " * 4,
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}},
        },
    }
    for number in range(6)
]


def _step(prompt: str, second: float, instructions: str, before: str | None = None, **values: Any) -> dict[str, Any]:
    """Return a recorded call: four blocks of system prompt and two of tools, then messages."""
    parts = {"system_tokens": 4 * BLOCK, "tool_definition_tokens": 2 * BLOCK}
    known = {"instructions_hash": instructions.encode(), "continues_call_id": before, "call_id": f"{second:016}"}
    return asked(prompt, second, **parts, **known, task="triage", task_id=values.pop("task_id", "t"), **values)


def _found(*rows: dict[str, Any], **options: float) -> pd.DataFrame:
    return volatile_prefixes(calls_of(*rows), **options)


def _runs(*prompts: str) -> list[dict[str, Any]]:
    """Return first calls of as many tasks; what stands before a dot are the instructions."""
    return [
        _step(prompt.replace(".", ""), at, prompt.split(".")[0], task_id=f"t{at}") for at, prompt in enumerate(prompts)
    ]


def test_a_beginning_that_changes_from_run_to_run_costs_all_instructions_behind_it() -> None:
    (row,) = _found(*_runs("s1sstt.u", "s2sstt.v", "s3sstt.w")).to_dict("records")

    assert (row["part"], row["block"], row["block_calls"]) == ("system_prompt", 1, 2)
    assert (row["calls"], row["parted_calls"]) == (2, 2)
    assert (row["lost_tokens"], row["cacheable_tokens"]) == (2 * 5 * BLOCK, 2 * 6 * BLOCK)


def test_an_agent_that_takes_over_a_history_with_instructions_of_its_own_changes_nothing() -> None:
    rows = []
    for at in (0, 100, 200):
        first = _step(f"sssstt{at}", at, "s", task_id=f"t{at}", agent_run_id=f"a{at}")
        over = _step(f"rrrrtt{at}u", at + 1, "r", first["call_id"], task_id=f"t{at}", agent_run_id=f"b{at}")
        rows += [first, over]
    edited = [one | {"agent_run_id": one["task_id"]} for one in rows]

    assert _found(*rows).empty
    assert len(_found(*edited)) == 1


def test_what_a_provider_that_puts_tools_first_read_all_the_same_is_not_lost() -> None:
    rows = [row | {"cache_read_tokens": 2 * BLOCK} for row in _runs("s1sstt.u", "s2sstt.v", "s3sstt.w")]

    (row,) = _found(*rows).to_dict("records")

    assert (row["parted_calls"], row["lost_tokens"]) == (2, 2 * 4 * BLOCK)


def test_a_tool_that_changes_is_told_from_the_system_prompt() -> None:
    (row,) = _found(*_runs("sssst1.u", "sssst2.v", "sssst3.w")).to_dict("records")

    assert (row["part"], row["block"], row["lost_tokens"]) == ("tool_definitions", 5, 2 * BLOCK)


def test_the_border_of_two_parts_is_not_known_to_the_block() -> None:
    (row,) = _found(*_runs("ssss1t.u", "ssss2t.v", "ssss3t.w")).to_dict("records")

    assert row["part"] == "instructions"


def test_different_questions_behind_the_same_instructions_are_no_loss() -> None:
    assert _found(*_runs("sssstt.abc", "sssstt.xyz", "sssstt.q")).empty


def test_instructions_of_another_size_are_another_agent() -> None:
    rows = _runs("s1sstt.u", "s2sstt.v", "s3sstt.w")
    for at, row in enumerate(rows):
        row["system_tokens"] += 3 * BLOCK * at

    assert _found(*rows).empty


def test_a_system_prompt_that_changes_from_step_to_step_costs_the_history_too() -> None:
    rows = (
        _step("s1sstthh", 0, "1"),
        _step("s2sstthhhh", 1, "2", before=f"{0:016}"),
        _step("s3sstthhhhhh", 2, "3", before=f"{1:016}"),
    )

    (row,) = _found(*rows).to_dict("records")

    assert (row["part"], row["block"], row["parted_calls"]) == ("system_prompt", 1, 2)
    assert row["lost_tokens"] == (7 + 9) * BLOCK
    assert row["lost_share"] == 16 / 18


def test_messages_that_are_rewritten_are_told_from_instructions() -> None:
    ids = [f"{at:016}" for at in range(2)]
    rows = _step("ssssttha", 0, "s"), _step("ssssttxabc", 1, "s", ids[0]), _step("ssssttyabcde", 2, "s", ids[1])

    (row,) = _found(*rows).to_dict("records")

    assert (row["part"], row["block"]) == ("history", 6)


@pytest.mark.parametrize("mark", ['{"gen_ai.conversation.compacted":true}', '{"gen_ai.conversation.compacted": true}'])
def test_a_history_that_was_cut_down_is_no_change_in_front(mark: str) -> None:
    compacted = {"extra": mark}
    rows = [_step("sssstt" + "h" * 6, 0, "s")]
    rows += [_step("sssstt" + "x" * at + "h" * 9, at, "s", f"{at - 1:016}", **compacted) for at in (1, 2, 3)]

    assert _found(*rows).empty


def test_prompts_that_take_turns_are_all_cached_and_cost_nothing() -> None:
    prompts = ("s1sstt.u", "s2sstt.u") * 5

    assert _found(*_runs(*prompts)).empty


def test_ids_of_blocks_from_elsewhere_are_compared_within_one_run_only() -> None:
    parts = {"system_tokens": 2 * BLOCK, "tool_definition_tokens": 2 * BLOCK}
    rows = [
        asked(prompt, at, task_id=task, agent_run_id=task, **parts)
        for at, (task, prompt) in enumerate((("x", "aaaa"), ("y", "1aaaa"), ("y", "2aaaah"), ("y", "3aaaahh")))
    ]

    (row,) = _found(*rows).to_dict("records")

    assert (row["part"], row["calls"], row["block"]) == ("instructions", 2, 0)


def test_what_costs_little_is_left_out_unless_asked_for() -> None:
    rows = [_step("sssstt" + "h" * 200, 0, "s")]
    rows += [_step("sssstt" + "h" * (200 - at) + "x" * 2 * at, at, "s", f"{at - 1:016}") for at in (1, 2)]

    assert _found(*rows).empty
    assert len(_found(*rows, least_share=0.0)) == 1


def test_a_sentence_says_where_how_often_what_and_what_it_costs() -> None:
    (_, place), *_ = _found(*_runs("s1sstt.u", "s2sstt.v", "s3sstt.w", "s3sstt.x")).iterrows()

    assert volatile_sentence(place) == (
        "Block 1 (tokens 4 to 7) differs in 2 of 3 calls of `triage`: something in the system prompt changes; it costs "
        "you 56 % of the cacheable prefix (40 tokens)."
    )


@given(any_calls())
@settings(deadline=None, max_examples=12)
def test_no_agent_loses_more_than_it_could_share(rows: list[dict[str, Any]]) -> None:
    frame = volatile_prefixes(calls_of(*rows), least_share=0.0)

    assert list(frame) == list(VOLATILE_COLUMNS)
    assert ((frame["lost_tokens"] > 0) & (frame["lost_tokens"] <= frame["cacheable_tokens"])).all()
    assert (frame["parted_calls"] <= frame["calls"]).all()


def _recorded(path: Path, provider: Provider, place: int | None, tools: Any) -> pd.DataFrame:
    """Return nine calls of a real client, three a task, with the time in the system prompt before rule `place`."""
    second = 0
    with tf.instrument(path) as handle, openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        for task in range(3):
            with tf.task("triage"):
                messages: list[Any] = []
                for step in range(3):
                    second += 7
                    stamp = [] if place is None else [f"It is 12:{second // 60:02}:{second % 60:02}. "]
                    system = "".join([*_RULES[:place], *stamp, *_RULES[place or 0 :]]) if stamp else "".join(_RULES)
                    text = f"ticket {task}, question {step} " + "words of the ticket " * 60
                    tokens = (len(system) + sum(len(one["content"]) for one in messages) + len(text)) // 4
                    messages.append({"role": "user", "content": f"{text} [[input:{tokens}]] [[cached:0]]"})
                    sent = [{"role": "system", "content": system}, *messages]
                    answer = client.chat.completions.create(model="m", messages=sent, tools=tools)
                    messages.append({"role": "assistant", "content": answer.choices[0].message.content})
        handle.flush()
    return load(path, blocks=True)


@pytest.mark.parametrize(("place", "part"), [(0, "system_prompt"), (30, "system_prompt"), (60, "instructions")])
def test_a_time_in_the_system_prompt_of_a_real_recording_is_found_where_it_is(
    tmp_path: Path, provider: Provider, place: int, part: str
) -> None:
    calls = _recorded(tmp_path / "runs.db", provider, place, _TOOLS)

    (row,) = volatile_prefixes(calls).to_dict("records")

    instructions = int((calls["system_tokens"] + calls["tool_definition_tokens"]).min())
    system_share = int(calls["system_tokens"].min()) / instructions
    assert row["part"] == part
    assert row["parted_calls"] == row["calls"] == 8
    # Where the stamp is, in blocks; tools have fewer bytes per token, which moves the place by a few.
    assert row["block"] == pytest.approx(place / 60 * system_share * instructions / 64, abs=4)
    assert row["lost_tokens"] <= row["cacheable_tokens"]
    assert row["lost_share"] > 0.25


def test_without_tools_the_end_of_the_system_prompt_is_named(tmp_path: Path, provider: Provider) -> None:
    calls = _recorded(tmp_path / "runs.db", provider, 60, openai.NOT_GIVEN)

    (row,) = volatile_prefixes(calls).to_dict("records")

    assert row["part"] == "system_prompt"
    assert row["block"] == pytest.approx(calls["system_tokens"].min() / 64, abs=1.5)


def test_a_real_recording_without_anything_volatile_has_none(tmp_path: Path, provider: Provider) -> None:
    assert volatile_prefixes(_recorded(tmp_path / "runs.db", provider, None, _TOOLS)).empty
