"""What recording costs the host's thread: bare clients against hooked ones, a call and a chunk, in microseconds.

    python bench/hook_cost.py [--calls 1000] [--chunks 20000] [--rounds 7]
    python bench/hook_cost.py --machine

Transports in memory, so that nothing but client and recorder is measured; CPU time of the thread, best of the rounds,
bare and hooked taking turns. The recorder is whole, journal and queue included, but for its worker, whose share is not
the host's. A call's answer has twelve headers and its usage. The last row is a call of openai's client over the same
transport: as in a program, so much else runs between two calls that the recorder's code and data are out of the
processor's caches when they are wanted again, and cost about twice as much. `--machine` counts the
processor's instructions of httpx2's calls under valgrind instead, which a busy machine does not change. Prints, never
gates.
"""

import argparse
import asyncio
import itertools
import json
import platform
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any

import httpx
import httpx2
import openai
from idle_recorder import IdleRecorder, idle_recorder
from valgrind import instructions

from tokenflation.sdk.hooks import install

OTHER_URL = "http://models.test/v1/files"
URL = "http://models.test/v1/chat/completions"
_MOST = 600
SIZES = (1_000, 100_000, 2_000_000)
"""Bytes of the requests' text: what is added must not grow with it."""
EVENT = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": null}]}\n\n'
HEADERS = {
    "date": "Sat, 21 Nov 2026 12:00:00 GMT",
    "content-type": "application/json",
    "connection": "keep-alive",
    "server": "envoy",
    "x-request-id": "req_6f1d2a0b9c8e4f73a5",
    "x-ratelimit-limit-requests": "10000",
    "x-ratelimit-remaining-requests": "9999",
    "x-ratelimit-limit-tokens": "2000000",
    "x-ratelimit-remaining-tokens": "1999950",
    "x-ratelimit-reset-requests": "6ms",
    "x-ratelimit-reset-tokens": "1ms",
    "strict-transport-security": "max-age=31536000",
}
ANSWER = json.dumps(
    {
        "id": "c",
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": "A word. " * 20}, "finish_reason": "stop"}
        ],
        "usage": {
            "prompt_tokens": 250,
            "completion_tokens": 60,
            "total_tokens": 310,
            "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        },
    }
).encode()


def transport(lib: Any, chunks: int) -> Any:
    """Return what answers at once: with a stream of so many events, or one answer where that is one."""

    class Body(lib.SyncByteStream, lib.AsyncByteStream):  # type: ignore[misc, name-defined]
        def __iter__(self) -> Iterator[bytes]:
            for _ in range(chunks):
                yield piece

        async def __aiter__(self) -> AsyncIterator[bytes]:
            for _ in range(chunks):
                yield piece

    piece = ANSWER if chunks == 1 else EVENT
    headers = HEADERS if chunks == 1 else HEADERS | {"content-type": "text/event-stream"}
    return lib.MockTransport(lambda _: lib.Response(200, headers=headers, stream=Body()))


def request_of(size: int) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": "What is it? " * (size // 12)}]}


def run_sync(lib: Any, url: str, calls: int, chunks: int, size: int) -> None:
    content = json.dumps(request_of(size)).encode()
    with lib.Client(transport=transport(lib, chunks)) as client:
        for _ in range(calls):
            with client.stream("POST", url, content=content) as response:
                for _ in response.iter_raw():
                    pass


def run_async(lib: Any, url: str, calls: int, chunks: int, size: int) -> None:
    content = json.dumps(request_of(size)).encode()

    async def main() -> None:
        async with lib.AsyncClient(transport=transport(lib, chunks)) as client:
            for _ in range(calls):
                async with client.stream("POST", url, content=content) as response:
                    async for _ in response.aiter_raw():
                        pass

    asyncio.run(main())


def run_openai(calls: int, size: int) -> None:
    http = httpx2.Client(transport=transport(httpx2, 1))
    with openai.OpenAI(api_key="k", base_url="http://models.test/v1", max_retries=0, http_client=http) as client:
        for _ in range(calls):
            client.chat.completions.create(**request_of(size))


RUNS = {"sync": run_sync, "async": run_async}


def cpu_us(run: Callable[[], None], units: int) -> float:
    start_ns = time.thread_time_ns()
    run()
    return (time.thread_time_ns() - start_ns) / units / 1000


def compare(one: IdleRecorder, run: Callable[[], None], units: int, rounds: int) -> tuple[float, float]:
    """Return the best bare and the best hooked time of one unit, in microseconds."""
    bare, hooked = [], []
    for _ in range(rounds):
        bare.append(cpu_us(run, units))
        undo = install(one.tap)
        hooked.append(cpu_us(run, units))
        undo()
        one.drain()
    return min(bare), min(hooked)


def machine() -> None:
    """Print the instructions of a call, bare and added; those of one with few calls are taken off one with many."""
    print(f"{'':42}{'bare':>10}{'added':>11}{'ratio':>8}")
    for shell in RUNS:
        for url, what in ((URL, "model call 1 KB"), (OTHER_URL, "other call")):
            found = {}
            for how in ("bare", "hooked"):
                command = [sys.executable, __file__, "--only", how, shell, url]
                few, many = (instructions([*command, "--calls", str(calls)]) for calls in (_MOST // 3, _MOST))
                found[how] = (many - few) / (_MOST - _MOST // 3)
            added = found["hooked"] - found["bare"]
            label = f"httpx2 {httpx2.__version__} {shell}, {what}"
            print(f"{label:42}{found['bare']:10,.0f}{added:11,.0f}{1 + added / found['bare']:8.2f}", flush=True)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--calls", type=int, default=1000)
    options.add_argument("--chunks", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--machine", action="store_true", help="count the processor's instructions; needs valgrind")
    options.add_argument("--only", nargs=3, help=argparse.SUPPRESS)
    args = options.parse_args()
    if args.only:
        how, shell, url = args.only
        with idle_recorder() as one:
            if how == "hooked":
                install(one.tap)
            for calls in (_MOST, args.calls):  # first as many as shall fit into the journal
                RUNS[shell](httpx2, url, calls, 1, SIZES[0])
                one.drain()
    if args.machine:
        machine()
    if args.only or args.machine:
        return
    print(f"Python {platform.python_version()}, {platform.machine()}, CPU time of the thread, best of {args.rounds}")
    print(f"{'':42}{'bare us':>10}{'hooked us':>11}{'added us':>10}{'ratio':>8}")
    cases = (
        *((f"model call {size // 1000} KB", URL, args.calls, 1, size) for size in SIZES),
        ("chunk", URL, 1, args.chunks, SIZES[0]),
        ("other call", OTHER_URL, args.calls, 1, SIZES[0]),
    )
    with idle_recorder() as one:
        steps = [
            (f"{lib.__name__} {lib.__version__} {shell}, {what}", partial(RUNS[shell], lib, url, *counts), counts)
            for lib, shell, (what, url, *counts) in itertools.product((httpx, httpx2), RUNS, cases)
        ]
        client = partial(run_openai, args.calls, SIZES[0])
        steps.append((f"openai {openai.__version__} sync, model call 1 KB", client, [args.calls, 1]))
        for label, step, (calls, chunks, *_) in steps:
            bare, hooked = compare(one, step, calls * chunks, args.rounds)
            print(f"{label:42}{bare:10.2f}{hooked:11.2f}{hooked - bare:10.2f}{hooked / bare:8.2f}")


if __name__ == "__main__":
    main()
