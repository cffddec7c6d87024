"""Times of streams: first chunk, first token, first answer, and the gaps between chunks."""

import importlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from tests.providers import Provider
from tests.recording import scripted_bodies as bodies
from tests.recording.scripted import Answer, Scripted, as_events
from tests.stored import only_call

import tokenflation.sdk as tf
from tokenflation.sdk import Instrumentation
from tokenflation.sdk.calls.timing import chunk_gaps_s
from tokenflation.sdk.clock import now_ns

PAUSE_S = 0.03
MS = 1_000_000


def test_gaps_are_summed_up_by_nearest_rank() -> None:
    times = [0, *range(10 * MS, 1000 * MS, 10 * MS), 3000 * MS]
    assert chunk_gaps_s([(at, b"x") for at in times]) == {"count": 100, "p50": 0.01, "p99": 0.01, "max": 2.01}
    assert chunk_gaps_s([(0, b"x"), (5 * MS, b"y"), (6 * MS, b"")]) == {
        "count": 1,
        "p50": 0.005,
        "p99": 0.005,
        "max": 0.005,
    }


def test_a_clock_that_goes_back_makes_no_negative_gap() -> None:
    assert chunk_gaps_s([(2 * MS, b"x"), (MS, b"y")]) == {"count": 1, "p50": 0, "p99": 0, "max": 0}


def test_one_chunk_has_no_gap() -> None:
    assert chunk_gaps_s([(1, b"x"), (2, b"")]) is None
    assert chunk_gaps_s([]) is None


@pytest.fixture
def handle(tmp_path: Path) -> Iterator[Instrumentation]:
    with tf.instrument(tmp_path / "runs.db") as running:
        yield running


def paced(handle: Instrumentation, events: list[bodies.Event]) -> Answer:
    """Return these events as a stream whose every gap is at least PAUSE_S, however busy the machine is."""

    def arrived() -> int:
        # A client that has what it wants ends the call before the stream does: nothing is waited for then.
        return max((len(one.chunks) for one in handle._recorder._underway.exchanges()), default=len(events))

    answer = as_events(events, pause_s=PAUSE_S)
    answer.arrived = arrived
    return answer


def read_chat(url: str) -> None:
    messages: Any = [{"role": "user", "content": "hello"}]
    with openai.OpenAI(base_url=url, api_key="k", max_retries=0) as client:
        for _ in client.chat.completions.create(model="m", messages=messages, stream=True):
            pass


def test_the_first_token_of_any_channel_and_the_first_of_the_answer_are_timed_apart(handle: Instrumentation) -> None:
    deltas = [{"reasoning_content": "hm"}, {"reasoning_content": "well"}, {"content": "yes"}, {"content": "!"}]
    with Scripted(paced(handle, bodies.chat_stream(*deltas))) as server:
        read_chat(server.openai_url)
    call = only_call(handle)
    assert call["ttfc_s"] > 0
    assert call["ttft_s"] >= call["ttfc_s"] + PAUSE_S / 2  # the role alone is no token
    assert call["ttfo_s"] >= call["ttft_s"] + 1.5 * PAUSE_S  # nor is reasoning an answer
    assert call["duration_s"] >= call["ttfo_s"] + 1.5 * PAUSE_S


def test_thinking_of_a_messages_stream_is_a_token_and_no_answer(handle: Instrumentation) -> None:
    opening, *answer = bodies.messages_stream()
    thinking: list[bodies.Event] = [
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
        {"type": "content_block_stop", "index": 0},
    ]
    with (
        Scripted(paced(handle, [opening, *thinking, *answer])) as server,
        anthropic.Anthropic(base_url=server.url, api_key="k", max_retries=0) as client,
        client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}]) as stream,
    ):
        stream.until_done()
    call = only_call(handle)
    assert call["ttft_s"] >= call["ttfc_s"] + 1.5 * PAUSE_S
    assert call["ttfo_s"] >= call["ttft_s"] + 2.5 * PAUSE_S


def test_the_gaps_between_the_chunks_of_a_stream_are_stored_in_short(handle: Instrumentation) -> None:
    events = bodies.chat_stream(*({"content": str(number)} for number in range(8)))
    with Scripted(paced(handle, events)) as server:
        read_chat(server.openai_url)
    gaps = only_call(handle)["extra"]["chunk_gaps_s"]
    # The client stops at [DONE], or reads the end of the body that comes with it.
    assert len(events) - 2 <= gaps["count"] <= len(events)
    assert PAUSE_S / 2 <= gaps["p50"] <= gaps["p99"] <= gaps["max"]


def test_an_answer_that_is_no_stream_has_no_gaps_and_no_first_chunk(
    provider: Provider, handle: Instrumentation
) -> None:
    with openai.OpenAI(base_url=provider.openai_url, api_key="k") as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hello"}])
    call = only_call(handle)
    assert (call["ttfc_s"], call["ttft_s"], call["ttfo_s"]) == (None, None, None)
    assert "chunk_gaps_s" not in call["extra"]


# Compressed streams: the server flushes its encoder after each event, as gateways do.


def _gzip() -> Callable[[bytes], bytes]:
    encoder = zlib.compressobj(wbits=31)
    return lambda piece: encoder.compress(piece) + encoder.flush(zlib.Z_SYNC_FLUSH)


def _br() -> Callable[[bytes], bytes]:
    encoder = importlib.import_module("brotli").Compressor()
    return lambda piece: bytes(encoder.process(piece) + encoder.flush())


def _zstd() -> Callable[[bytes], bytes]:
    package = importlib.import_module("zstandard")
    encoder = package.ZstdCompressor().compressobj()
    return lambda piece: bytes(encoder.compress(piece) + encoder.flush(package.COMPRESSOBJ_FLUSH_BLOCK))


ENCODINGS: Mapping[str, tuple[str, Callable[[], Callable[[bytes], bytes]]]] = {
    "gzip": ("zlib", _gzip),
    "br": ("brotli", _br),
    "zstd": ("zstandard", _zstd),
}


def compressed(handle: Instrumentation, events: list[bodies.Event], encoding: str) -> Answer:
    package, make = ENCODINGS[encoding]
    pytest.importorskip(package)
    encode = make()
    answer = paced(handle, events)
    answer.pieces = [encode(piece) for piece in answer.pieces]
    answer.headers = {"content-encoding": encoding}
    return answer


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_compressed_stream_has_the_times_of_the_chunks_that_brought_its_events(
    handle: Instrumentation, encoding: str
) -> None:
    events = bodies.chat_stream({"reasoning_content": "hm"}, {"content": "yes"})
    with Scripted(compressed(handle, events, encoding)) as server, httpx.Client() as client:
        body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello"}]}
        with client.stream("POST", f"{server.openai_url}/chat/completions", json=body) as response:
            for _ in response.iter_raw():
                pass
    call = only_call(handle)
    assert (call["status"], call["input_tokens"]) == ("ok", 200)
    assert call["ttft_s"] >= call["ttfc_s"] + PAUSE_S / 2
    assert call["ttfo_s"] >= call["ttft_s"] + PAUSE_S / 2
    assert call["duration_s"] >= call["ttfo_s"] + PAUSE_S


def test_an_event_whose_compressed_end_comes_late_is_timed_by_its_end(handle: Instrumentation) -> None:
    answer = compressed(handle, bodies.chat_stream({"content": "yes"}), "gzip")
    role, token, *rest = answer.pieces
    answer.pieces = [role, token[:-8], token[-8:], *rest]
    with Scripted(answer) as server:
        read_chat(server.openai_url)
    call = only_call(handle)
    assert call["ttft_s"] >= call["ttfc_s"] + 1.5 * PAUSE_S


def test_no_byte_waits_for_the_recorder(provider: Provider, handle: Instrumentation) -> None:
    body = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hello [[hold:1]]"}]}
    with (
        httpx.Client() as client,
        client.stream("POST", f"{provider.openai_url}/chat/completions", json=body) as response,
    ):
        chunks = response.iter_raw()
        first = next(chunks)  # the server holds the rest back until it is released, for 10 s at most
        provider.release()
        rest = b"".join(chunks)
    assert first.startswith(b"data:")
    assert rest.endswith(b"data: [DONE]\n\n")
    assert only_call(handle)["duration_s"] < 5


def test_what_a_host_does_at_the_last_event_before_it_asks_for_more_is_no_part_of_a_call(
    provider: Provider, handle: Instrumentation
) -> None:
    at_ns = 0
    with (
        anthropic.Anthropic(base_url=provider.url, api_key="k", max_retries=0) as client,
        client.messages.create(
            model="m", max_tokens=9, messages=[{"role": "user", "content": "hello"}], stream=True
        ) as events,
    ):
        for _ in events:
            at_ns = now_ns()
    call = only_call(handle)
    assert (call["status"], call["usage_complete"]) == ("ok", 1)
    assert call["ended_at_ns"] <= at_ns


def test_back_off_is_no_part_of_the_times_of_a_call(handle: Instrumentation) -> None:
    refused = Answer(status=429, pieces=[b'{"error": {"type": "rate_limit_error"}}'], headers={"retry-after-ms": "300"})
    with (
        Scripted(refused, as_events(bodies.chat_stream({"content": "yes"}))) as server,
        openai.OpenAI(base_url=server.openai_url, api_key="k", max_retries=1) as client,
    ):
        messages: Any = [{"role": "user", "content": "hello"}]
        for _ in client.chat.completions.create(model="m", messages=messages, stream=True):
            pass
    call = only_call(handle)
    assert call["attempts"] == 2
    assert call["ttfc_s"] <= call["duration_s"] < (call["ended_at_ns"] - call["started_at_ns"]) / 1e9 - 0.3
