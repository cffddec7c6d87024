"""The anatomy of a prompt: equal histories hash equal, a longer prompt starts with the shorter, nothing is readable."""

import copy
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.records import Reading, ToolResult
from tokenflation.sdk.wire import split
from tokenflation.sdk.wire.anatomy import block_state, roll_blocks
from tokenflation.sdk.wire.canonical import canonical
from tokenflation.sdk.wire.texts import texts

CHAT = [
    {"role": "system", "content": "be brief"},
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [{"id": "a", "function": {"name": "w", "arguments": "{}"}}]},
    {"role": "tool", "tool_call_id": "a", "content": "süd"},
    {"role": "assistant", "content": "south", "refusal": None},
    {"role": "user", "content": "thanks"},
]
MESSAGES = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "w", "input": {"x": 1, "y": 2}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "süd"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "south"}]},
    {"role": "user", "content": "thanks"},
]
RESPONSES = [
    {"role": "developer", "content": "be brief"},
    {"role": "user", "content": "weather?"},
    {"type": "function_call", "call_id": "a", "name": "w", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "a", "output": "süd"},
    {"role": "assistant", "content": [{"type": "output_text", "text": "south"}]},
    {"role": "user", "content": "thanks"},
]
CONTENTS = [
    {"role": "user", "parts": [{"text": "weather?"}]},
    {"role": "model", "parts": [{"functionCall": {"name": "w", "args": {}}, "thoughtSignature": "sig"}]},
    {"role": "user", "parts": [{"functionResponse": {"name": "w", "response": {"r": "süd"}}}]},
    {"role": "model", "parts": [{"text": "south"}]},
    {"role": "user", "parts": [{"text": "thanks"}]},
]
CONVERSATIONS: dict[str, dict[str, Any]] = {
    "openai.chat": {"model": "m", "messages": CHAT, "tools": [{"type": "function", "function": {"name": "w"}}]},
    "openai.responses": {"model": "m", "input": RESPONSES, "tools": [{"type": "function", "name": "w"}]},
    "anthropic.messages": {
        "model": "m",
        "max_tokens": 9,
        "system": "be brief",
        "messages": MESSAGES,
        "tools": [{"name": "w"}],
    },
    "google.generate_content": {
        "contents": CONTENTS,
        "systemInstruction": {"parts": [{"text": "be brief"}]},
        "tools": [{"functionDeclarations": [{"name": "w"}]}],
    },
}
LISTS = {"openai.responses": "input", "google.generate_content": "contents"}


def _up_to(api: str, length: int) -> dict[str, Any]:
    """Return the conversation's request with its last `length` messages left out."""
    request = copy.deepcopy(CONVERSATIONS[api])
    name = LISTS.get(api, "messages")
    request[name] = request[name][: len(request[name]) - length]
    return request


@pytest.fixture
def asked(exchange: Any) -> Any:
    def reading(api: str, request: dict[str, Any]) -> Reading:
        return exchange(api, b"", request=request)  # type: ignore[no-any-return]

    return reading


@pytest.mark.parametrize("api", CONVERSATIONS)
def test_a_request_that_extends_another_starts_with_its_hashes_and_its_prompt(asked: Any, api: str) -> None:
    before, after = asked(api, _up_to(api, 2)), asked(api, _up_to(api, 0))

    assert after.message_hashes[: len(before.message_hashes)] == before.message_hashes
    assert after.prompt.startswith(before.prompt)
    assert after.instructions_hash == before.instructions_hash


@pytest.mark.parametrize("api", CONVERSATIONS)
def test_sizes_add_up_to_the_prompt_and_roles_are_named(asked: Any, api: str) -> None:
    reading = asked(api, _up_to(api, 0))

    parts = reading.system_bytes + reading.tool_definition_bytes + sum(reading.message_bytes)
    assert parts == len(reading.prompt)
    assert reading.system_bytes > 0
    assert reading.tool_definition_bytes > 0
    assert reading.message_roles == ("user", "assistant", "tool", "assistant", "user")
    assert len(reading.message_hashes) == len(reading.message_bytes) == 5


@pytest.mark.parametrize(
    ("api", "expected"),
    [
        ("openai.chat", ToolResult(tool_call_id="a", result_bytes=4)),
        ("openai.responses", ToolResult(tool_call_id="a", result_bytes=4)),
        ("anthropic.messages", ToolResult(tool_call_id="a", result_bytes=4, failed=False)),
        ("google.generate_content", ToolResult(tool_call_id="0", result_bytes=12, failed=False)),
    ],
)
def test_tool_results_after_the_last_answer_are_the_new_ones(asked: Any, api: str, expected: ToolResult) -> None:
    assert asked(api, _up_to(api, 2)).tool_results == (expected,)
    assert asked(api, _up_to(api, 0)).tool_results == ()


def test_a_cache_marker_that_moves_along_does_not_change_the_history(asked: Any) -> None:
    marked = _up_to("anthropic.messages", 0)
    marker = {"cache_control": {"type": "ephemeral"}}
    marked["messages"][0]["content"] = [{"type": "text", "text": "weather?"} | marker]
    marked["messages"][2]["content"][0] |= marker
    marked["tools"][0] |= marker
    marked["system"] = [{"type": "text", "text": "be brief"} | marker]
    plain = _up_to("anthropic.messages", 0) | {"system": [{"type": "text", "text": "be brief"}]}

    assert asked("anthropic.messages", marked).message_hashes == asked("anthropic.messages", plain).message_hashes
    assert asked("anthropic.messages", marked).instructions_hash == asked("anthropic.messages", plain).instructions_hash


def test_key_order_and_nulls_do_not_change_the_history(asked: Any) -> None:
    reordered = _up_to("openai.chat", 0)
    reordered["messages"] = [dict(reversed([*message.items(), ("name", None)])) for message in reordered["messages"]]

    assert (
        asked("openai.chat", reordered).message_hashes == asked("openai.chat", _up_to("openai.chat", 0)).message_hashes
    )


def test_an_edit_in_mid_history_changes_every_hash_from_there_on(asked: Any) -> None:
    edited = _up_to("openai.chat", 0)
    edited["messages"][3]["content"] = "nord"

    before, after = asked("openai.chat", _up_to("openai.chat", 0)), asked("openai.chat", edited)

    same = [a == b for a, b in zip(before.message_hashes, after.message_hashes, strict=True)]
    assert same == [True, True, False, False, False]


def test_other_tools_or_instructions_are_another_agent(asked: Any) -> None:
    first = _up_to("openai.chat", 0)
    second = first | {"tools": [{"type": "function", "function": {"name": "other"}}]}

    assert asked("openai.chat", first).instructions_hash != asked("openai.chat", second).instructions_hash
    assert asked("openai.chat", first).message_hashes == asked("openai.chat", second).message_hashes


def test_a_system_message_in_mid_conversation_stays_in_its_place(asked: Any) -> None:
    request = _up_to("openai.chat", 0)
    request["messages"] += [{"role": "system", "content": "be kind"}]

    before, after = asked("openai.chat", _up_to("openai.chat", 0)), asked("openai.chat", request)

    assert after.prompt.startswith(before.prompt)
    assert after.message_roles[-1] == "user"


def test_a_photograph_does_not_outweigh_the_text(asked: Any) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "iVBORw0K" * 100_000}}
    request = {"messages": [{"role": "user", "content": [{"type": "text", "text": "what?"}, image]}]}

    assert 4096 < asked("openai.chat", request).message_bytes[0] < 4500


def test_hashes_depend_on_the_key() -> None:
    assert roll_blocks(block_state(b"one"), b"same", [4]) != roll_blocks(block_state(b"two"), b"same", [4])


def test_a_string_input_is_one_user_message(asked: Any) -> None:
    reading = asked("openai.responses", {"model": "m", "input": "hi", "previous_response_id": "resp_0"})

    assert (reading.message_roles, reading.previous_response_id) == (("user",), "resp_0")


def test_block_hashes_roll_over_the_prefix() -> None:
    one = roll_blocks(block_state(b"k"), b"aaaabbbbcc", [4, 8, 10])
    two = roll_blocks(block_state(b"k"), b"aaaabbbbccdd", [4, 8, 12])
    other = roll_blocks(block_state(b"k"), b"xaaabbbbcc", [4, 8, 10])

    assert len(one) == 24
    assert one[:16] == two[:16]
    assert one[16:] != two[16:]
    assert all(one[at : at + 8] != other[at : at + 8] for at in (0, 8, 16))


@given(st.binary(max_size=60), st.lists(st.integers(0, 80), max_size=8))
def test_a_block_hash_depends_on_the_bytes_before_its_end_alone(prompt: bytes, ends: list[int]) -> None:
    boundaries = list(accumulate(ends, max))

    hashes = roll_blocks(block_state(b"k"), prompt, boundaries)

    alone = [roll_blocks(block_state(b"k"), prompt[: max(end, 0)], [end]) for end in boundaries]
    assert [hashes[at : at + 8] for at in range(0, len(hashes), 8)] == alone


@given(st.integers(0, 10**7), st.lists(st.integers(0, 10**6), max_size=8))
def test_split_sums_exactly_and_stays_within_one_of_the_proportion(total: int, sizes: list[int]) -> None:
    parts = split(total, sizes)

    assert sum(parts) == (total if sizes else 0)
    if sum(sizes):
        assert all(abs(part - total * size / sum(sizes)) < 1 for part, size in zip(parts, sizes, strict=True))


def test_split_gives_the_largest_remainders_the_rest() -> None:
    assert split(10, [1, 1, 1]) == [4, 3, 3]
    assert split(7, [0, 2, 5]) == [0, 2, 5]
    assert split(3, [0, 0]) == [0, 3]
    with pytest.raises(ValueError, match="at least 0"):
        split(-1, [1])


def test_no_text_of_the_request_stands_in_a_reading_but_in_its_prompt(asked: Any) -> None:
    reading = asked("openai.chat", {"model": "m", "messages": [{"role": "user", "content": "MARKER"}]})

    assert b"MARKER" in reading.prompt
    assert "MARKER" not in repr(reading)


@pytest.mark.parametrize(
    ("api", "more"),
    [
        ("openai.chat", {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"x": 1}}}}),
        ("openai.responses", {"text": {"format": {"type": "json_schema", "schema": {"type": "object", "a": "b"}}}}),
    ],
)
def test_the_schema_of_a_structured_answer_counts_with_the_tool_definitions(asked: Any, api: str, more: Any) -> None:
    plain, structured = _up_to(api, 0), _up_to(api, 0) | more

    before, after = asked(api, plain), asked(api, structured)

    assert after.tool_definition_bytes > before.tool_definition_bytes
    assert after.instructions_hash != before.instructions_hash
    assert after.message_hashes == before.message_hashes


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=6), JSON, max_size=5), st.randoms(use_true_random=False))
def test_equal_messages_are_canonically_equal_in_any_order_of_keys_and_with_any_nulls(message: Any, rng: Any) -> None:
    def rewritten(value: Any) -> Any:
        if isinstance(value, list):
            return [rewritten(one) for one in value]
        if isinstance(value, dict):
            items = [(key, rewritten(one)) for key, one in value.items()] + [("\x01null", None), ("signature", "s")]
            rng.shuffle(items)
            return dict(items)
        return value

    message = {key: one for key, one in message.items() if key != "signature"}
    before = copy.deepcopy(message)

    assert canonical(rewritten(message), "content") == canonical(message, "content")
    assert message == before


def test_two_photographs_differ_and_one_is_the_same_wherever_it_stands(asked: Any) -> None:
    def pieces(fill: str) -> bytes:
        return canonical({"role": "user", "content": [{"image": "data:image/png;base64," + fill * 3000}]}, "content")

    assert pieces("iVBO") != pieces("iVBP")
    assert pieces("iVBO") == pieces("iVBO")
    assert pieces("iVBO").count(b"\x7f") > 4000


def test_what_a_model_reads_of_a_message_is_its_text_its_names_and_its_arguments() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"sea"}'}}
    message = canonical({"role": "assistant", "content": "Aye.", "tool_calls": [call]}, "content")
    use = canonical({"role": "assistant", "content": [{"type": "tool_use", "name": "n", "input": {"a": 1}}]}, "content")

    assert texts([message]) == ["Aye.", '{"at":"sea"}', "look"]
    assert texts([message, use])[-2:] == ['{"a":1}', "n"]
    assert texts([b"You are {brief}. "]) == ["You are {brief}. "]
    assert texts([message + message]) == texts([message, message])
