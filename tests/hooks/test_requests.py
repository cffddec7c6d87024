"""Real requests against a real server, down to the store: however a response is read, its counts are there."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import urllib3
from tests.hooks.conftest import Collected, body
from tests.hooks.test_urllib3 import question, wire
from tests.providers import Provider
from tests.stored import rows

import tokenflation.sdk as tf


def timed_stream(provider: Provider, url: str) -> Iterator[bytes]:
    with requests.post(url, json=question("[[hold:1]] [[pieces:400]]", stream=True), stream=True) as response:
        for number, chunk in enumerate(response.iter_content(None)):
            if not number:
                provider.release()
            yield chunk


REQUESTS = {
    "content": lambda response: response.content,
    "iter_content": lambda response: b"".join(response.iter_content(9)),
    "iter_lines": lambda response: b"\n".join(response.iter_lines()),
    "raw": lambda response: response.raw.read(decode_content=True),
    "text": lambda response: response.content.decode().encode(),
}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "loaded"])
@pytest.mark.parametrize("how", REQUESTS)
@pytest.mark.parametrize("prompt", ["hi", "[[gzip:1]]"], ids=["plain", "gzip"])
def test_requests_is_recorded_however_its_response_is_read(
    how: str, prompt: str, stream: bool, provider: Provider, recorded: Collected
) -> None:
    if how == "raw" and not stream:
        pytest.skip("requests itself has read it then")
    url = f"{provider.openai_url}/chat/completions"
    response = requests.post(url, json=question(prompt, stream=True), stream=stream)
    seen = REQUESTS[how](response).decode()
    only = recorded.only
    assert wire(only).split() == seen.split()
    assert (only.end, only.request_body) == ("read", provider.requests[0].raw)


def test_each_chunk_has_the_time_at_which_it_was_read(provider: Provider, recorded: Collected) -> None:
    seen = list(timed_stream(provider, f"{provider.openai_url}/chat/completions"))
    assert [chunk for _, chunk in recorded.only.chunks] == seen
    times = [time_ns for time_ns, _ in recorded.only.chunks]
    assert times == sorted(times)
    assert len(set(times)) > 2


@pytest.mark.parametrize("how", ["content", "iter_content", "iter_lines"])
def test_a_stream_cut_by_the_network_ends_as_failed_and_raises_what_it_would(
    how: str, provider: Provider, recorded: Collected
) -> None:
    url = f"{provider.openai_url}/chat/completions"
    response = requests.post(url, json=question("[[cut:300]]", stream=True), stream=True)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        REQUESTS[how](response)
    assert (recorded.only.end, recorded.only.error_type) == ("failed", "ProtocolError")
    assert len(body(recorded.only)) > 200


# End to end: what the store holds.

MARKER = "MARKER-5d20e8"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "plain"])
@pytest.mark.parametrize("prompt", ["hi", "[[gzip:1]]", "[[status:503x2]]"])
def test_the_stores_row_holds_what_the_server_counted(
    prompt: str, stream: bool, provider: Provider, tmp_path: Path
) -> None:
    retries = urllib3.Retry(3, status_forcelist=[503], allowed_methods=None, backoff_factor=0)
    with tf.instrument(tmp_path / "runs.db") as handle, requests.Session() as session:
        session.mount("http://", requests.adapters.HTTPAdapter(max_retries=retries))
        with session.post(
            f"{provider.openai_url}/chat/completions", json=question(prompt, stream=stream), stream=stream
        ) as response:
            assert list(response.iter_lines())
        handle.flush()
        assert handle.drops == {}
    (row,) = rows(tmp_path / "runs.db")
    expected = {"input_tokens": 200, "cache_read_tokens": 64, "output_tokens": 150, "reasoning_tokens": 100}
    assert {name: row[name] for name in expected} == expected
    assert (row["status"], row["attempts"]) == ("ok", len(provider.requests))


@pytest.mark.parametrize("prompt", ["hi", "[[status:400]]", "[[cut:200]]", "[[redirect:307]]"])
def test_no_text_and_no_secret_is_in_the_store(prompt: str, provider: Provider, tmp_path: Path) -> None:
    url = f"{provider.openai_url}/chat/completions?key={MARKER}"
    headers = {"Authorization": f"Bearer {MARKER}", "X-Note": MARKER, "Cookie": f"a={MARKER}"}
    payload = question(f"{MARKER} [[say:{MARKER}]] {prompt}", stream=True)
    with (
        tf.instrument(tmp_path / "runs.db"),
        requests.post(url, json=payload, headers=headers, stream=True) as response,
        contextlib.suppress(requests.exceptions.ChunkedEncodingError),
    ):
        assert response.content
    assert len(rows(tmp_path / "runs.db")) == 1
    for file in tmp_path.iterdir():
        assert MARKER.encode() not in file.read_bytes(), file


@pytest.mark.skipif(not hasattr(urllib3, "AsyncPoolManager"), reason="urllib3-future does not stand in urllib3's place")
def test_an_answer_through_urllib3_future_is_whole_while_the_host_holds_it(
    provider: Provider, recorded: Collected
) -> None:
    held = requests.post(f"{provider.openai_url}/chat/completions", json=question("hi"))
    assert (held.status_code, recorded.only.end) == (200, "read")
