"""Prefix blocks: their count, and that a growing history keeps its blocks."""

from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.records import Reading
from tokenflation.sdk.tokens.prefix import BlockHasher, block_ends, extend_anchors, shared_blocks
from tokenflation.sdk.wire.anatomy import anatomy, block_state, roll_blocks
from tokenflation.sdk.wire.dialects import DIALECTS

KEY = b"k" * 32
SHAPE = DIALECTS["openai.chat"][0].request
GROWTH = st.lists(st.tuples(st.text(max_size=400), st.integers(1, 300)), min_size=1, max_size=8)


@given(st.integers(1, 100_000), st.integers(1, 30_000), st.integers(1, 512))
def test_there_is_one_block_per_started_block_of_tokens(size: int, tokens: int, block: int) -> None:
    ends = block_ends(extend_anchors((), size, tokens), block)
    assert len(ends) == -(-tokens // block)
    assert ends[-1] == size
    assert ends == sorted(ends)


def test_bytes_that_bring_no_token_change_no_full_block() -> None:
    assert block_ends(extend_anchors(((10, 64),), 12, 64), 64) == [10]


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 2000)), min_size=1, max_size=8))
def test_a_longer_prompt_keeps_the_full_blocks_of_the_shorter(steps: list[tuple[int, int]]) -> None:
    anchors: tuple[tuple[int, int], ...] = ()
    size = tokens = 0
    before: list[int] = []
    for more_bytes, more_tokens in steps:
        size, tokens = size + more_bytes, tokens + more_tokens
        full = (anchors[-1][1] if anchors else 0) // 64
        anchors = extend_anchors(anchors, size, tokens)
        ends = block_ends(anchors, 64)
        assert ends[:full] == before[:full]
        before = ends


@given(st.lists(st.tuples(st.integers(1, 5000), st.integers(0, 2000)), min_size=1, max_size=8), st.data())
def test_blocks_behind_an_anchor_end_where_they_end_in_the_whole_prompt(
    steps: list[tuple[int, int]], data: st.DataObject
) -> None:
    places = accumulate(steps, lambda before, more: (before[0] + more[0], before[1] + more[1]))
    anchors = tuple(places)
    known = data.draw(st.integers(1, len(anchors)))
    behind = anchors[known - 1]
    assert block_ends(anchors[known:], 64, behind) == block_ends(anchors, 64)[behind[1] // 64 :]


def test_an_anchor_with_more_tokens_than_the_prompt_is_left_out() -> None:
    assert extend_anchors(((10, 50), (20, 500)), 40, 100) == ((10, 50), (40, 100))


def test_shared_blocks_counts_the_leading_hashes_that_were_seen() -> None:
    hashes = b"".join(bytes([n]) * 8 for n in range(6))
    assert shared_blocks(hashes, {bytes([n]) * 8 for n in range(4)}) == 4
    assert shared_blocks(hashes, set()) == 0
    assert shared_blocks(b"", {b"x" * 8}) == 0


def asked(messages: list[dict[str, Any]]) -> Reading:
    return Reading(api="openai.chat", provider="p", **anatomy({"messages": messages}, SHAPE, key=KEY))


@given(GROWTH, st.integers(0, 7))
def test_a_history_that_grows_keeps_the_hashes_of_its_full_blocks(steps: list[tuple[str, int]], edited: int) -> None:
    hasher = BlockHasher(KEY, 64)
    messages: list[dict[str, Any]] = []
    anchors: tuple[tuple[int, int], ...] = ()
    hashes, total = b"", 0
    for at, (text, tokens) in enumerate(steps):
        full = total // 64 * 8
        messages.append({"role": "user", "content": text})
        reading, total = asked(messages), total + tokens
        anchors = extend_anchors(anchors, len(reading.prompt), total)
        before, hashes = hashes, hasher.hashes(reading, anchors, str(at), str(at - 1))
        assert hashes[:full] == before[:full]
        assert len(hashes) == 8 * -(-total // 64)
        assert hashes == roll_blocks(block_state(KEY), reading.prompt, block_ends(anchors, 64))

    messages[edited % len(messages)]["content"] += "!"
    other = asked(messages)
    anchors = extend_anchors((), len(other.prompt), total)
    assert hasher.hashes(other, anchors, "edit", str(len(steps) - 1)) == roll_blocks(
        block_state(KEY), other.prompt, block_ends(anchors, 64)
    )


def test_a_timestamp_in_the_system_prompt_shows_in_the_first_block_that_differs() -> None:
    def hashes(second: int, words_before: int) -> bytes:
        system = "word " * words_before + f"It is 12:00:{second:02}. " + "rule " * 2000
        reading = asked([{"role": "system", "content": system}, {"role": "user", "content": "go"}])
        size = len(reading.prompt)
        return BlockHasher(KEY, 64).hashes(reading, extend_anchors((), size, size // 4), "a", None)

    early, late = (
        shared_blocks(hashes(2, words), {hashes(1, words)[at : at + 8] for at in range(0, len(hashes(1, words)), 8)})
        for words in (0, 1000)
    )

    assert early == 0
    assert late == len('{"content":"' + "word " * 1000 + "It is 12:00:0") // 256


def test_the_memory_of_hashes_is_bounded() -> None:
    hasher = BlockHasher(KEY, 64)
    reading = asked([{"role": "user", "content": "x" * 100_000}])
    for at in range(1500):
        hasher.hashes(reading, ((len(reading.prompt), 64 * 512),), str(at), str(at - 1))

    assert hasher._kept_bytes <= 4 * 1024 * 1024
    assert hasher._kept_bytes == sum(len(one.hashes) for one in hasher._recent.values())
