"""AWS event streams give the same events however their bytes were cut, and nothing after a broken message."""

import itertools

from hypothesis import given
from hypothesis import strategies as st
from tests.wire.frames import frame

from tokenflation.sdk.wire.streams.eventstream import aws_events

BODY = frame({"a": 1}, event_type="messageStart") + frame(b"\x00\xff", event_type="chunk", content_type="x")


@given(cuts=st.lists(st.integers(0, len(BODY)), max_size=20))
def test_events_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(BODY)]

    events = list(aws_events([(at, BODY[a:b]) for at, (a, b) in enumerate(itertools.pairwise(edges))]))

    assert [(event.name, event.data) for event in events] == [
        (b"messageStart", b'{"a": 1}'),
        (b"chunk", b"\x00\xff"),
    ]


def test_an_event_is_timed_when_its_last_byte_arrived() -> None:
    one = frame({}, event_type="e")

    events = list(aws_events([(5, one[:20]), (7, one[20:] + one), (9, b"")]))

    assert [event.time_ns for event in events] == [7, 7]


def test_an_exception_is_named_by_its_type() -> None:
    body = frame({"message": "slow down"}, message_type="exception", exception_type="throttlingException")
    error = frame(b"", message_type="error", error_code="InternalFailure")

    events = list(aws_events([(1, body + error)]))

    assert [event.name for event in events] == [b"exception:throttlingException", b"exception:InternalFailure"]


@given(at=st.integers(0, len(BODY) - 1), value=st.integers(0, 255))
def test_nothing_is_read_from_a_message_whose_checksum_is_wrong(at: int, value: int) -> None:
    broken = BODY[:at] + bytes([value]) + BODY[at + 1 :]
    whole = list(aws_events([(1, BODY)]))

    events = list(aws_events([(1, broken)]))

    assert events == whole[: len(events)]
    assert broken == BODY or len(events) < len(whole)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_event_stream_give_no_events(body: bytes) -> None:
    assert list(aws_events([(1, b"\0\0" + body)])) == []
