"""Prefix blocks: their count, and that a growing history keeps its blocks."""

from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.prefix import block_ends, extend_anchors, shared_blocks


@given(st.integers(1, 100_000), st.integers(1, 30_000), st.integers(1, 512))
def test_there_is_one_block_per_started_block_of_tokens(size: int, tokens: int, block: int) -> None:
    ends = block_ends(extend_anchors((), size, tokens), block)
    assert len(ends) == -(-tokens // block)
    assert ends[-1] == size
    assert ends == sorted(ends)


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


def test_an_anchor_with_more_tokens_than_the_prompt_is_left_out() -> None:
    assert extend_anchors(((10, 50), (20, 500)), 40, 100) == ((10, 50), (40, 100))


def test_shared_blocks_counts_the_leading_hashes_that_were_seen() -> None:
    hashes = b"".join(bytes([n]) * 8 for n in range(6))
    assert shared_blocks(hashes, {bytes([n]) * 8 for n in range(4)}) == 4
    assert shared_blocks(hashes, set()) == 0
    assert shared_blocks(b"", {b"x" * 8}) == 0
