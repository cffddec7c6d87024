"""A stream reads the same whether events that say nothing new are skipped or decoded.

A body whose lines end with CR LF is decoded event by event, so it is what the same body with LF is held against.
"""

import itertools
import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.wire.conftest import PATHS, REQUESTS
from tests.wire.recorded import DATA, recorded

from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read, recognise


def _read(api: str, chunks: Sequence[tuple[int, bytes]], **view: Any) -> Reading | None:
    fields: dict[str, Any] = {"path": PATHS.get(api, ""), "status_code": 200, **view}
    return read(ExchangeBytes(api=api, chunks=chunks, **fields), key=b"k")


def _both(api: str, events: Sequence[bytes], **view: Any) -> tuple[Reading | None, Reading | None]:
    """Read the events, one a chunk, with events skipped and without."""
    slow = [(at, event.replace(b"\n", b"\r\n")) for at, event in enumerate(events)]
    return _read(api, list(enumerate(events)), **view), _read(api, slow, **view)


@pytest.mark.shared_data
@pytest.mark.skipif(not (DATA / "truth.csv").exists(), reason="the recorded exchanges are not beside the checkout")
def test_every_recorded_stream_reads_the_same_with_and_without_skipping() -> None:
    rng = random.Random(5)
    streams = 0
    for one in recorded():
        if not one.streamed or not one.body.lstrip().startswith((b"data:", b"event:", b":")) or b"\r" in one.body:
            continue
        cuts = sorted(rng.randrange(len(one.body) + 1) for _ in range(rng.randrange(4)))
        body = one.body[: rng.randrange(len(one.body) + 1)] if rng.random() < 0.3 else one.body
        edges = [0, *(cut for cut in cuts if cut < len(body)), len(body)]
        pieces = [body[a:b] for a, b in itertools.pairwise(edges)]
        api = recognise(one.method, one.path)
        assert api is not None
        view = {"path": one.path, "host": one.host, "request_body": one.request, "status_code": one.status}
        fast, slow = _both(api, pieces, **view)
        assert fast == slow, one.file
        streams += 1
    assert streams > 300


_WORDS = st.one_of(st.text(max_size=8), st.sampled_from(["", '"', "\\", "\n", '"},"finish_reason":"stop"', "é"]))
_DELTAS = st.one_of(
    st.builds(lambda word: {"content": word}, _WORDS),
    st.builds(lambda word: {"content": word}, _WORDS),
    st.builds(lambda word: {"reasoning_content": word}, _WORDS),
    st.builds(lambda word: {"content": "", "reasoning": word}, _WORDS),
    st.builds(
        lambda id_, args: {"tool_calls": [{"index": 0, "id": id_, "function": {"name": "f", "arguments": args}}]},
        st.sampled_from([None, "a", "b"]),
        _WORDS,
    ),
)
_CHUNKS = st.fixed_dictionaries(
    {
        "model": st.sampled_from(["m", "m", "m", "", "n"]),
        "choices": st.lists(
            st.fixed_dictionaries(
                {
                    "index": st.sampled_from([0, 0, 0, 1]),
                    "delta": _DELTAS,
                    "finish_reason": st.sampled_from([None, None, None, "stop", "length"]),
                }
            ),
            max_size=2,
        ),
    },
    optional={
        "id": st.sampled_from(["c", "c", "d"]),
        "obfuscation": st.text(max_size=6),
        "usage": st.one_of(
            st.none(),
            st.builds(
                lambda a, b: {"prompt_tokens": a, "completion_tokens": b},
                st.sampled_from([5, 5, 6, 1.5]),
                st.integers(0, 99),
            ),
        ),
        "created": st.one_of(st.integers(0, 3), st.floats(0, 1)),
    },
)


@settings(max_examples=300)
@given(
    documents=st.lists(st.tuples(_CHUNKS, st.integers(1, 4)), max_size=12),
    broken=st.booleans(),
    ascii_only=st.booleans(),
)
def test_any_chat_stream_reads_the_same_with_and_without_skipping(
    documents: list[tuple[dict[str, Any], int]], broken: bool, ascii_only: bool
) -> None:
    events = [
        f"data: {json.dumps(document, ensure_ascii=ascii_only)}\n\n".encode("utf-8", "surrogatepass")
        for document, times in documents
        for _ in range(times)
    ]
    if broken and events:
        events.insert(len(events) // 2, events[len(events) // 2].replace(b'": "', b'": "\x01'))
    body = json.dumps(REQUESTS["openai.chat"]).encode()

    fast, slow = _both("openai.chat", [*events, b"data: [DONE]\n\n"], request_body=body)

    assert fast == slow


def test_an_event_that_takes_back_what_came_between_is_not_skipped() -> None:
    def event(id_: str, word: str) -> bytes:
        return f'data: {{"id": "{id_}", "choices": [{{"index": 0, "delta": {{"content": "{word}"}}}}]}}\n\n'.encode()

    events = [event("c", "a"), event("c", "b"), event("c", "c"), event("d", "e"), event("c", "f")]

    fast, slow = _both("openai.chat", events, request_body=json.dumps(REQUESTS["openai.chat"]).encode())

    assert fast is not None
    assert fast.response_id == "c"
    assert fast == slow


def _chat_events(*documents: dict[str, Any]) -> list[bytes]:
    return [f"data: {json.dumps(document)}\n\n".encode() for document in documents]


def _piece(text: str, **more: Any) -> dict[str, Any]:
    return {**more, "choices": [{"index": 0, "delta": {"content": text}}]}


@pytest.mark.parametrize(
    "documents",
    [
        [_piece("a", note={"content": "a"}), _piece("a", note={"content": "b"})],
        [_piece("a", id="x"), _piece("b", id="x"), _piece("c", id="y"), _piece("d", id="x"), _piece("e", id="x")],
        [_piece("a", usage={"prompt_tokens": 3}), _piece("b", usage={"prompt_tokens": 3}), _piece("c", usage=None)],
        [_piece(""), _piece("a"), _piece(""), _piece("b", error="broken"), _piece("c"), _piece("d", id="z")],
        [{"choices": [{"delta": {"content": "a", "tool_calls": [{"function": {"name": "f", "arguments": "1"}}]}}]}] * 3,
    ],
)
def test_an_event_is_known_from_the_last_stream_only_by_what_it_brings_itself(documents: list[dict[str, Any]]) -> None:
    body = json.dumps(REQUESTS["openai.chat"]).encode()
    before = _chat_events(*[_piece(word) for word in "abc"])
    _read("openai.chat", list(enumerate(before)), request_body=body)

    fast, slow = _both("openai.chat", _chat_events(_piece(""), *documents), request_body=body)

    assert fast is not None
    assert fast.answer
    assert fast == slow


def test_two_documents_in_a_body_are_a_stream_even_if_the_second_says_nothing_new() -> None:
    body = json.dumps(REQUESTS["openai.chat"]).encode()
    _read("openai.chat", list(enumerate(_chat_events(*[_piece(word) for word in "abc"]))), request_body=body)

    reading = _read("openai.chat", [(1, b"\n".join([json.dumps(_piece("a")).encode()] * 2))], request_body=body)

    assert reading is not None
    assert (reading.stream, reading.first_token_ns) == (True, 1)


_GEMINI = st.builds(
    lambda text, thought, tokens, finish: {
        "candidates": [{"content": {"parts": [{"text": text, **({"thought": True} if thought else {})}]}, **finish}],
        "usageMetadata": {"promptTokenCount": 4, **tokens},
        "modelVersion": "g",
    },
    _WORDS,
    st.booleans(),
    st.one_of(
        st.builds(lambda n: {"candidatesTokenCount": n}, st.integers(0, 2**54)),
        st.builds(lambda n: {"thoughtsTokenCount": n}, st.integers(0, 9)),
        st.just({}),
    ),
    st.sampled_from([{}, {}, {"finishReason": "STOP"}]),
)


@settings(max_examples=300)
@given(documents=st.lists(st.tuples(_GEMINI, st.integers(1, 3)), max_size=12), lines=st.booleans())
def test_counts_in_every_event_read_the_same_with_and_without_skipping(
    documents: list[tuple[dict[str, Any], int]], lines: bool
) -> None:
    api = "google.generate_content"
    texts = [json.dumps(document) for document, times in documents for _ in range(times)]
    body = json.dumps(REQUESTS[api]).encode()
    slow = [(at, f"data: {text}\r\n\r\n".encode()) for at, text in enumerate(texts)]
    fast = [(at, (f"{text}\n" if lines else f"data: {text}\n\n").encode()) for at, text in enumerate(texts)]

    skipped = _read(api, fast, request_body=body)
    decoded = _read(api, slow, request_body=body)

    if len(texts) > 1 or not lines:  # one line alone is a whole answer
        assert skipped == decoded


def test_a_long_stream_of_words_decodes_only_what_says_something(exchange: Any, chat_stream: Any) -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 999}}
    stream = chat_stream([{"role": "assistant", "content": ""}, *({"content": f"{n} "} for n in range(999))], usage)

    reading = exchange("openai.chat", stream)

    assert (reading.usage.output_tokens, reading.finish_reasons, reading.first_answer_ns) == (999, ("stop",), 1)
    assert reading.usage_complete
