"""However a process ends, what its client had received is in the store: once, and with the provider's counts."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.providers import Provider
from tests.recording.programs import HEAD, journals, run, until
from tests.stored import rows

import tokenflation.sdk as tf
from tokenflation.sdk.store.journals.recover import recover

MARKER = "MARKER-55c1d0"

KILLED = """
    handle = tf.instrument(store, task="killed")
    with httpx.Client() as client:
        for _ in range(int(sys.argv[3])):
            assert ask(client).status_code == 200
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("calls", [1, 2, 3, 5, 8, 13, 21, 34, 55, 89] * 2)
def test_a_kill_right_after_the_last_answer_loses_nothing(provider: Provider, store: Path, calls: int) -> None:
    done = run(KILLED, provider, store, str(calls))
    assert done.returncode == -signal.SIGKILL, done.stderr
    recover(store)
    found = rows(store)
    assert len(found) == len({row["call_id"] for row in found}) == len(provider.requests) == calls
    assert {(row["input_tokens"], row["cache_read_tokens"], row["output_tokens"], row["reasoning_tokens"],
             row["usage_source"], row["status"], row["task"]) for row in found} == {
        (200, 64, 150, 100, "provider", "ok", "killed")
    }  # fmt: skip
    assert len(rows(store, "SELECT * FROM attempts")) == calls
    assert journals(store) == []


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/v1/chat/completions", {}),
        ("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/responses", {"input": "hi"}),
        ("/v1/responses", {"input": "hi", "stream": True}),
        ("/v1/messages", {}),
        ("/v1/messages", {"stream": True}),
        ("/v1beta/models/g:generateContent", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
        ("/v1beta/models/g:streamGenerateContent?alt=sse", {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}),
    ],
)
def test_a_call_that_only_the_journal_holds_has_the_providers_counts(
    provider: Provider, store: Path, path: str, more: dict[str, Any]
) -> None:
    program = """
        import json
        tf.instrument(store)
        from tokenflation.sdk.recording.recorder import Recorder
        Recorder._run = lambda self: time.sleep(60)  # a worker that never gets its turn
        with httpx.Client() as client:
            ask(client, path=sys.argv[3], **json.loads(sys.argv[4]))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run(program, provider, store, path, json.dumps(more))
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert rows(store) == []
    assert recover(store) == 1
    (call,) = rows(store)
    assert (call["input_tokens"], call["output_tokens"], call["usage_source"]) == (200, 150, "provider")
    assert (call["status"], call["stream"]) == ("ok", int("stream" in json.dumps(more) or "stream" in path))
    assert call["duration_s"] > 0


def test_a_stream_that_a_kill_cuts_is_kept_as_cut(provider: Provider, store: Path) -> None:
    program = """
        tf.instrument(store)
        body = {"model": "m", "messages": [{"role": "user", "content": "[[hold:1]]"}], "stream": True}
        with httpx.Client() as client, tf.task("triage", id="T-1"), tf.agent("planner"):
            with client.stream("POST", url + "/v1/chat/completions", json=body) as answer:
                next(answer.iter_raw())
                os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store).returncode == -signal.SIGKILL
    provider.release()
    recover(store)
    (call,) = rows(store)
    assert (call["status"], call["input_tokens"], call["output_tokens"]) == ("cut", None, None)
    assert (call["task"], call["task_id"], call["agent"], call["structure_source"]) == (
        "triage",
        "T-1",
        "planner",
        "scope",
    )


def test_any_number_of_recoverers_at_once_make_one_row_a_call(provider: Provider, store: Path) -> None:
    assert run(KILLED, provider, store, "40").returncode == -signal.SIGKILL
    program = "import sys; from tokenflation.sdk.store.journals.recover import recover; print(recover(sys.argv[1]))"
    others = [subprocess.Popen([sys.executable, "-c", program, str(store)], stdout=subprocess.PIPE) for _ in range(4)]
    for other in others:
        other.communicate(timeout=60)
    assert [other.returncode for other in others] == [0] * 4
    assert len(rows(store)) == 40
    assert recover(store) == 0


def test_a_living_process_is_left_its_journal(provider: Provider, store: Path) -> None:
    program = """
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
            handle.flush()
            from tokenflation.sdk.store.journals.recover import recover
            assert len([name for name in os.listdir(os.path.dirname(store)) if ".underway-" in name]) == 1
            assert recover(store) == 0
            ask(client)
        handle.close()
    """
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr
    assert len(rows(store)) == 2
    assert journals(store) == []


@pytest.mark.parametrize(
    "ending",
    [
        "os._exit(0)",
        "while handle.recorded < 20: time.sleep(0.01)\n        os.kill(os.getpid(), signal.SIGTERM)",
        "os.execvp('true', ['true'])",
        "sys.exit(3)",
        "raise RuntimeError",
        "pass",
    ],
)
def test_however_a_process_ends_its_calls_are_in_the_store(provider: Provider, store: Path, ending: str) -> None:
    program = f"""
        handle = tf.instrument(store)
        with httpx.Client() as client:
            for _ in range(20):
                ask(client)
        {ending}
    """
    run(program, provider, store)
    assert len(rows(store)) == 20


def test_what_ends_while_the_process_leaves_is_kept(provider: Provider, store: Path) -> None:
    program = """
        from tokenflation.sdk.recording import worker
        handle = tf.instrument(store)
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "[[slow:0.01]]"}]}
        with httpx.Client() as client:
            with client.stream("POST", url + "/v1/messages", json={**body, "stream": True}) as answer:
                parts = answer.iter_raw()
                next(parts)
                handle._recorder.leave()  # as another thread calls os._exit
                worker.Worker.take = lambda self, items: time.sleep(60)  # no turn for the worker any more
                list(parts)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store).returncode == -signal.SIGKILL
    recover(store)
    (call,) = rows(store)
    assert (call["status"], call["input_tokens"], call["output_tokens"]) == ("ok", 200, 150)


def test_no_text_is_in_the_journal_of_a_killed_process(provider: Provider, store: Path) -> None:
    program = """
        from tokenflation.sdk.recording.recorder import Recorder
        tf.instrument(store)
        Recorder._run = lambda self: time.sleep(60)
        mark = sys.argv[3]
        tool = {"type": "function", "function": {"name": "f", "description": mark, "parameters": {}}}
        usage = '{"usage": {"prompt_tokens": "' + mark + '", "' + mark + '": 7}}'
        with httpx.Client(headers={"x-own": mark, "authorization": mark}, params={"q": mark}) as client:
            for path in ("/v1/chat/completions", "/v1/messages", "/v1/responses"):
                for stream in (False, True):
                    for text in (f"{mark} [[say:{mark}]]", f"{mark} [[tool:search]]", f"{mark} [[status:400]]", usage):
                        ask(client, text, path, stream=stream, input=text, tools=[tool])
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store, MARKER).returncode == -signal.SIGKILL
    (journal,) = journals(store)
    assert MARKER.encode() not in journal.read_bytes()
    assert recover(store) == len(provider.requests) == 24
    assert all(MARKER.encode() not in path.read_bytes() for path in store.parent.iterdir())


def test_what_a_killed_process_had_finished_is_read_with_the_standard_library(provider: Provider, store: Path) -> None:
    program = """
        from tokenflation.sdk.recording.recorder import Recorder
        tf.instrument(store)
        Recorder._run = lambda self: time.sleep(60)
        with httpx.Client() as client:
            ask(client)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run(program, provider, store)
    (journal,) = journals(store)
    data = journal.read_bytes()
    found = []
    for slot in range(1024, len(data), 1024):
        if data[slot] == 2:
            size = int.from_bytes(data[slot + 4 : slot + 6], "little")
            found.append(json.loads(data[slot + 456 : slot + 456 + size])["usage"])
    assert [(usage["prompt_tokens"], usage["completion_tokens"]) for usage in found] == [(200, 150)]


def test_a_call_under_way_stands_in_the_store_as_cut_until_it_ends(provider: Provider, store: Path) -> None:
    body = {"model": "m-1", "max_tokens": 9, "messages": [{"role": "user", "content": "[[hold:1]]"}], "stream": True}
    with (
        tf.instrument(store),
        httpx.Client() as client,
        tf.task("triage", id="T-1"),
        client.stream("POST", f"{provider.url}/v1/messages", json=body) as answer,
    ):
        parts = answer.iter_raw()
        next(parts)
        (call,) = until(lambda: rows(store))
        assert (call["status"], call["model"], call["task_id"], call["stream"]) == ("cut", "m-1", "T-1", 1)
        assert rows(store, "SELECT * FROM attempts") == []
        provider.release()
        list(parts)
    (ended,) = rows(store)
    assert (ended["call_id"], ended["status"], ended["output_tokens"]) == (call["call_id"], "ok", 150)
    assert len(rows(store, "SELECT * FROM attempts")) == 1


def test_the_input_that_a_stream_has_told_is_kept_when_a_kill_cuts_it(provider: Provider, store: Path) -> None:
    program = """
        tf.instrument(store)
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "[[hold:1]][[pieces:600]]"}]}
        with httpx.Client() as client:
            with client.stream("POST", url + "/v1/messages", json={**body, "stream": True}) as answer:
                next(answer.iter_raw())
                time.sleep(0.4)
                os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store).returncode == -signal.SIGKILL
    provider.release()
    for _ in range(2):
        (call,) = rows(store)
        assert (call["status"], call["input_tokens"], call["output_tokens"]) == ("cut", 200, None)
        assert (call["usage_source"], call["usage_complete"]) == ("partial", 0)
        recover(store)


def test_the_model_of_a_call_that_was_shown_under_way_is_kept_when_a_kill_follows_its_end(
    provider: Provider, store: Path
) -> None:
    program = """
        import sqlite3
        from tokenflation.sdk.recording.worker import Worker
        tf.instrument(store)
        body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": "[[slow:0.01]]"}]}
        with httpx.Client() as client:
            with client.stream("POST", url + "/v1/messages", json={**body, "stream": True}) as answer:
                parts = answer.iter_raw()
                next(parts)
                other = sqlite3.connect(store)
                while not other.execute("SELECT ttfc_s FROM calls WHERE ttfc_s > 0").fetchall():
                    next(parts)
                other.close()
                Worker.take = lambda self, items: time.sleep(60)  # no turn for the worker any more
                list(parts)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store).returncode == -signal.SIGKILL
    (cut,) = rows(store)
    recover(store)
    (call,) = rows(store)
    assert (cut["status"], call["status"], call["input_tokens"], call["output_tokens"]) == ("cut", "ok", 200, 150)
    assert (call["model"], call["ttfc_s"]) == ("m", cut["ttfc_s"])


def test_what_turns_out_to_be_a_retry_or_no_model_call_leaves_no_row(provider: Provider, store: Path) -> None:
    with tf.instrument(store) as handle, httpx.Client() as client:
        ask = {"model": "m", "messages": [{"role": "user", "content": "[[hold:1]][[status:503x1]]"}]}
        url = f"{provider.url}/v1/chat/completions"
        assert client.post(url, json=ask).status_code == 503
        retry = threading.Thread(target=client.post, args=(url,), kwargs={"json": ask})
        retry.start()
        until(lambda: len(rows(store)) == 2)
        provider.release()
        retry.join(10)
        handle.flush()
    (call,) = rows(store)
    assert (call["status"], call["attempts"]) == ("ok", 2)


def test_hundreds_of_calls_under_way_are_all_kept_by_a_kill(store: Path) -> None:
    program = """
        import asyncio, socket
        server = socket.create_server(("127.0.0.1", 0), backlog=4096)  # it accepts, and answers nothing
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        async def main():
            async with httpx.AsyncClient(limits=httpx.Limits(max_connections=None), timeout=60) as client:
                body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
                for _ in range(700):
                    asyncio.ensure_future(client.post(url + "/v1/chat/completions", json=body))
                await asyncio.sleep(3)
                os.kill(os.getpid(), signal.SIGKILL)
        tf.instrument(store)
        asyncio.run(main())
    """
    source = textwrap.dedent(HEAD) + textwrap.dedent(program)
    done = subprocess.run([sys.executable, "-c", source, "", str(store)], capture_output=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    recover(store)
    assert {
        row["status"]: row["calls"] for row in rows(store, "SELECT status, count(*) calls FROM calls GROUP BY 1")
    } == {"cut": 700}


LONG_STREAM = r"""
    import random, resource, socket
    megabytes, record = int(sys.argv[3]), sys.argv[4] == "record"
    words = [f"{random.getrandbits(40):x}" for _ in range(20_000)]
    def event(delta, rest=""):
        return 'data: {"id": "c", "model": "m", "choices": [{"index": 0, "delta": ' + delta + '}]' + rest + '}' + chr(10) * 2
    server = socket.create_server(("127.0.0.1", 0))
    def serve():
        connection = server.accept()[0]
        connection.recv(65536)
        send = lambda text: connection.sendall(f"{len(text):x}".encode() + b"\r\n" + text.encode() + b"\r\n")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        sent = 0
        while sent < megabytes * 1_000_000:
            text = "".join(event('{"content": "' + " ".join(random.choices(words, k=8)) + ' "}') for _ in range(100))
            send(text)
            sent += len(text)
        usage = ', "usage": {"prompt_tokens": 7, "completion_tokens": 8}'
        send('data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]' + usage + '}' + chr(10) * 2)
        send("data: [DONE]" + chr(10) * 2)
        connection.sendall(b"0\r\n\r\n")
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(65536):  # closing with something unread would reset the connection
            pass
    threading.Thread(target=serve, daemon=True).start()
    if record:
        handle = tf.instrument(store)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    with httpx.Client() as client:
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v1/chat/completions"
        with client.stream("POST", url, json=body, timeout=60) as answer:
            got = sum(len(part) for part in answer.iter_raw())
    assert got > megabytes * 1_000_000
    if record:
        handle.close()
        assert handle.drops == {}, handle.drops
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def test_a_long_stream_is_read_whole_in_bounded_memory(provider: Provider, store: Path) -> None:
    bare, recorded = (run(LONG_STREAM, provider, store, "50", how) for how in ("bare", "record"))
    assert (bare.returncode, recorded.returncode) == (0, 0), bare.stderr + recorded.stderr
    (call,) = rows(store)
    assert (call["status"], call["input_tokens"], call["output_tokens"]) == ("ok", 7, 8)
    assert int(recorded.stdout) - int(bare.stdout) < 45, (bare, recorded)


def test_os_exit_and_exec_are_their_own_again_after_close(store: Path) -> None:
    before = os._exit, os.execv, os.execve
    with tf.instrument(store):
        assert os._exit is not before[0]
        assert os.execv is not before[1]
        assert os.execve is not before[2]
    assert (os._exit, os.execv, os.execve) == before


def test_a_program_that_cannot_become_another_goes_on_recording(provider: Provider, store: Path) -> None:
    program = """
        handle = tf.instrument(store)
        with httpx.Client() as client:
            ask(client)
            for become in (lambda: os.execv("/no/such/program", ["x"]), lambda: os.execve("/no/such", ["x"], {})):
                try:
                    become()
                except FileNotFoundError:
                    assert handle.recorded == 1
            ask(client)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run(program, provider, store).returncode == -signal.SIGKILL
    recover(store)
    assert len(rows(store)) == 2
