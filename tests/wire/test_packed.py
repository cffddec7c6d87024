"""Packed chunks are the chunks that they were made of."""

from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.wire.streams.packed import PackedChunks

chunks = st.lists(st.tuples(st.integers(0, 2**62), st.binary(max_size=40)), max_size=20)


@given(st.lists(chunks, max_size=4), chunks)
def test_packed_chunks_are_what_was_packed_in_order(
    packs: list[list[tuple[int, bytes]]], rest: list[tuple[int, bytes]]
) -> None:
    made = PackedChunks()
    for pack in packs:
        made = made.packed_with(pack)
    made = made.followed_by(rest)
    expected = [chunk for pack in packs for chunk in pack] + rest
    assert list(made) == list(made) == expected
    assert len(made) == len(expected)
    assert [made[position] for position in range(-len(expected), len(expected))] == expected + expected
    assert made[-3:] == expected[-3:]


def test_events_that_resemble_each_other_take_less_room() -> None:
    events = [
        (number, b'data: {"choices": [{"index": 0, "delta": {"content": "word"}}]}\n\n') for number in range(9000)
    ]
    assert PackedChunks().packed_with(events).packed_bytes * 3 < sum(len(event) for _, event in events)
