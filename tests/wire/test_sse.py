"""Events are the same however their bytes were cut."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tokenflation.sdk.wire.streams.sse import Event, block_event, json_events, sse_blocks, sse_events

BODIES = st.lists(
    st.sampled_from(
        [
            b"data: ",
            b"data:",
            b"event: x",
            b"event: error",
            b": ping",
            b"id: 1",
            b"\n",
            b"\r\n",
            b"\r",
            b"\n\n",
            b"{}",
            "é€𝄞 text".encode(),
            b"[DONE]",
            b"data",
            b"\xef\xbb\xbf",
        ]
    ),
    max_size=30,
).map(b"".join)
JSON_BODIES = st.lists(
    st.sampled_from(
        [
            b"{",
            b"}",
            b"[",
            b"]",
            b",",
            b'"',
            b"\\",
            b'\\"',
            b'{"a":"}"}',
            b'{"b":{"c":[1]}}',
            b"\r\n",
            b'"x\\\\"',
            '{"é":"𝄞"}'.encode(),
        ]
    ),
    max_size=30,
).map(b"".join)
CUTS = st.lists(st.integers(0, 400), max_size=12)


def _cut(body: bytes, cuts: list[int]) -> list[tuple[int, bytes]]:
    edges = sorted({0, len(body), *(min(cut, len(body)) for cut in cuts)})
    return [(at, body[a:b]) for at, (a, b) in enumerate(itertools.pairwise(edges))]


@given(BODIES, CUTS)
def test_any_cut_of_server_sent_events_reads_as_one_chunk(body: bytes, cuts: list[int]) -> None:
    whole = [(event.name, event.data) for event in sse_events([(0, body)])]

    assert [(event.name, event.data) for event in sse_events(_cut(body, cuts))] == whole


@given(BODIES)
def test_one_byte_at_a_time_reads_as_one_chunk(body: bytes) -> None:
    single = [(at, body[at : at + 1]) for at in range(len(body))]

    assert [event[1:] for event in sse_events(single)] == [event[1:] for event in sse_events([(0, body)])]


@given(JSON_BODIES, CUTS)
def test_any_cut_of_json_objects_reads_as_one_chunk(body: bytes, cuts: list[int]) -> None:
    whole = [event.data for event in json_events([(0, body)])]

    assert [event.data for event in json_events(_cut(body, cuts))] == whole
    assert [event.data for event in json_events(_cut(body, list(range(400))))] == whole


def test_lines_comments_and_names_are_read_as_the_standard_says() -> None:
    body = (
        b"\xef\xbb\xbf: hello\r\nevent: delta\r\ndata: one\r\ndata:  two\r\nid: 7\r\n\r\ndata\n\ndata:x\r\rdata: open"
    )

    assert [tuple(event) for event in sse_events([(5, body)])] == [
        (5, b"delta", b"one\n two"),
        (5, b"", b""),
        (5, b"", b"x"),
        (5, b"", b"open"),
    ]


def test_an_event_has_the_time_of_the_chunk_that_completed_it() -> None:
    chunks = [(10, b"data: a"), (20, b"\n"), (30, b"\ndata: b\n\nda"), (40, b"ta: c\n\n")]

    assert list(sse_events(chunks)) == [Event(30, b"", b"a"), Event(30, b"", b"b"), Event(40, b"", b"c")]


def test_a_code_point_cut_in_two_stays_whole() -> None:
    body = "data: 𝄞\n\n".encode()

    assert [event.data.decode() for event in sse_events([(1, body[:8]), (2, body[8:])])] == ["𝄞"]


_PARTS = st.lists(
    st.sampled_from(["data: a", "data:b", "event: e", ": ping", "\n", "\n\n", "é", "x", "id: 7", "\ufeff"])
)


@given(parts=_PARTS, cuts=st.lists(st.integers(0, 60), max_size=60))
def test_blocks_hold_the_events_of_the_body_however_it_was_cut(parts: list[str], cuts: list[int]) -> None:
    body = "".join(parts).encode()
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    chunks = [(at, body[a:b]) for at, (a, b) in enumerate(itertools.pairwise(edges))]

    blocks = sse_blocks(chunks)

    assert blocks is not None
    events = [(time_ns, *event) for time_ns, block in blocks if (event := block_event(block)) is not None]
    assert events == [tuple(event) for event in sse_events(chunks)]
