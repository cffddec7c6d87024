"""The five parts of an input: they sum to the provider's count whatever happens to the history, and they come close."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import tokenflation.sdk as tf
from tokenflation.sdk.errors import MissingExtra
from tokenflation.sdk.records import Reading, Usage
from tokenflation.sdk.tokens.parts import Parts, Splitter
from tokenflation.sdk.wire.anatomy import anatomy
from tokenflation.sdk.wire.dialects import DIALECTS

SHAPE = DIALECTS["openai.chat"][0].request
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("look", "buy")]
TEXTS = st.text(max_size=200)


def asked(messages: list[dict[str, Any]], total: int | None, **more: Any) -> Reading:
    body = {"messages": messages} | more.pop("body", {})
    usage = Usage(input_tokens=total)
    model = more.pop("model", "m")
    return Reading(api="openai.chat", provider="p", model=model, usage=usage, **more, **anatomy(body, SHAPE, key=b"k"))


def total_of(parts: Parts) -> int:
    return parts.system + parts.tool_definition + parts.resent + parts.tool_result + parts.new


def turns(count: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the messages of a growing conversation, turn by turn."""
    messages: list[dict[str, Any]] = [{"role": "system", "content": "You sell trains. " * 20}]
    for turn in range(count):
        messages = [*messages, {"role": "user", "content": f"Where is train {turn} to the south coast?"}]
        yield messages
        messages = [*messages, {"role": "assistant", "content": f"Train {turn} stands at platform nine. " * (turn + 1)}]


@given(st.lists(st.tuples(TEXTS, TEXTS, st.integers(0, 5000)), min_size=1, max_size=8))
def test_the_parts_of_every_turn_sum_to_the_count(history: list[tuple[str, str, int]]) -> None:
    splitter = Splitter()
    messages: list[dict[str, Any]] = []
    for turn, (question, answer, total) in enumerate(history):
        messages.append({"role": "user", "content": question})
        parts = splitter.take(asked(messages, total), str(turn), sent=2 * turn, continues=str(turn - 1))
        assert parts is not None
        assert total_of(parts) == total
        assert min(parts.system, parts.tool_definition, parts.resent, parts.tool_result, parts.new) >= 0
        messages.append({"role": "assistant", "content": answer})


def test_what_a_call_had_is_what_the_next_one_sends_again() -> None:
    splitter = Splitter()
    first, second = list(turns(2))
    before = splitter.take(asked(first, 140), "a", sent=0, continues=None)
    after = splitter.take(asked(second, 140 + 30), "b", sent=len(second) - 2, continues="a")

    assert before is not None
    assert after is not None
    assert after.system == before.system
    assert after.resent + after.new == before.new + 30
    assert after.new < 30


@pytest.mark.parametrize("change", ["an edit", "a compaction", "tools in another order", "fewer tokens than before"])
def test_a_call_that_does_not_extend_the_last_one_takes_nothing_over(change: str) -> None:
    splitter = Splitter()
    first, second = list(turns(2))
    splitter.take(asked(first, 150, body={"tools": TOOLS}), "a", sent=0, continues=None)
    tools = TOOLS[::-1] if change == "tools in another order" else TOOLS
    total = 100 if change == "fewer tokens than before" else 200
    sent, continues = (0, None) if change in ("an edit", "a compaction") else (len(second) - 2, "a")
    messages = second[:1] + second[-1:] if change == "a compaction" else second

    parts = splitter.take(asked(messages, total, body={"tools": tools}), "b", sent=sent, continues=continues)

    assert parts is not None
    assert total_of(parts) == total
    assert (parts.resent > 0) == (continues is not None)


def test_nothing_is_invented_for_a_history_that_is_not_in_the_request() -> None:
    reading = asked([{"role": "user", "content": "and now?"}], 5000, previous_response_id="resp_1")

    assert Splitter().take(reading, "a", sent=0, continues=None) is None
    assert Splitter().take(asked([{"role": "user", "content": "x"}], None), "a", sent=0, continues=None) is None


def test_a_prompt_that_is_no_longer_held_is_split_by_its_bytes_and_teaches_nothing() -> None:
    splitter = Splitter()
    reading = asked([{"role": "user", "content": "x" * 400}, {"role": "user", "content": "y"}], 100)
    parts = splitter.take(msgspec.structs.replace(reading, prompt=b""), "a", sent=1, continues=None)

    assert parts is not None
    assert (parts.resent > 80, total_of(parts)) == (True, 100)
    assert splitter.factors("p", "m").observations == 0


def test_the_method_says_when_the_factors_are_learnt() -> None:
    splitter = Splitter()
    found = [
        splitter.take(asked(messages, 100 + 20 * at), str(at), sent=0, continues=None)
        for at, messages in enumerate(turns(5))
    ]

    assert [one.method for one in found if one] == ["bytes", "bytes", "bytes", "learnt", "learnt"]


def test_models_learn_apart() -> None:
    splitter = Splitter()
    for at in range(20):
        splitter.take(
            asked([{"role": "user", "content": "号" * 300}], 450, model="one"), str(at), sent=0, continues=None
        )

    assert splitter.factors("p", "one").factors[5] > 1.5
    assert splitter.factors("p", "other").factors[5] == 1.0


def test_the_memory_of_calls_and_models_is_bounded() -> None:
    splitter = Splitter()
    reading = asked([{"role": "user", "content": "x"}], 8)
    for at in range(5000):
        splitter.take(reading, str(at), sent=0, continues=None)
        splitter.factors("p", str(at))

    assert len(splitter._calls) == 4096
    assert len(splitter._factors) == 64


def test_exact_counts_are_the_providers_where_the_vocabulary_is_public() -> None:
    pytest.importorskip("splintr")
    splitter = Splitter(exact=True)
    messages = [{"role": "system", "content": "You are a helpful assistant."}, {"role": "user", "content": "Hello!"}]

    # platform.openai.com/docs: "You are a helpful assistant." is 6 tokens and "Hello!" 2; 4 marks each, 3 at the end.
    parts = splitter.take(asked(messages, 19, model="gpt-4o"), "a", sent=0, continues=None)

    assert parts is not None
    assert (parts.system, parts.new, parts.method) == (10, 9, "tokenizer")


def test_a_model_with_a_secret_vocabulary_is_estimated_even_when_exact_counts_are_asked_for() -> None:
    pytest.importorskip("splintr")
    parts = Splitter(exact=True).take(
        asked([{"role": "user", "content": "hi"}], 8, model="claude-x"), "a", sent=0, continues=None
    )

    assert parts is not None
    assert parts.method == "bytes"


def test_exact_counts_without_the_extra_say_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "splintr", None)

    with pytest.raises(MissingExtra, match=r"tokenflation\[tokens\]"):
        tf.instrument(tmp_path / "runs.db", exact_tokens=True)
