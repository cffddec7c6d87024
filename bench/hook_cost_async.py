"""What recording costs the host's thread in aiohttp and websockets: bare against hooked, in microseconds.

    python bench/hook_cost_async.py [--calls 1000] [--chunks 20000] [--rounds 7]

A server in a process of its own on loopback; CPU time of the client's thread, best of the rounds, bare and hooked
taking turns. One call for each size of its body; one long stream, one chunk a write; messages of a realtime response
and of another socket, fed to the protocol in memory. The recorder is whole but for its worker, whose share is not the
host's. Prints, never gates.
"""

import argparse
import asyncio
import json
import multiprocessing
import platform
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import aiohttp
from aiohttp import web
from idle_recorder import IdleRecorder, idle_recorder
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.uri import parse_uri

from tokenflation.sdk.hooks import aiohttp as aiohttp_hook
from tokenflation.sdk.hooks import websockets as websockets_hook

EVENT = b'data: {"id": "c", "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": null}]}\n\n'
ANSWER = json.dumps({"id": "c", "choices": [{"message": {"content": "word"}}], "usage": {"prompt_tokens": 9}}).encode()
CREATED = b'{"type": "response.created", "event_id": "event_1", "response": {"id": "resp_1", "status": "in_progress"}}'
DONE = b'{"type": "response.done", "event_id": "event_3", "response": {"id": "resp_1", "status": "completed"}}'
DELTA = (
    b'{"type": "response.output_audio.delta", "event_id": "event_2", "response_id": "resp_1", "item_id": "item_1", '
    b'"output_index": 0, "content_index": 0, "delta": "%b"}' % (b"UklGRg" * 20)
)
MODEL, OTHER = "/v1/chat/completions", "/v1/files"


def serve(port: Any) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        chunks = int(request.query.get("chunks", "0"))
        if not chunks:
            return web.Response(body=ANSWER, content_type="application/json")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for _ in range(chunks):
            await response.write(EVENT)
        return response

    async def main() -> None:
        app = web.Application(client_max_size=1 << 26)
        app.router.add_post("/v1/{rest:.*}", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(main())


async def calls(url: str, count: int, body: bytes) -> int:
    async with aiohttp.ClientSession() as session:
        start_ns = time.thread_time_ns()
        for _ in range(count):
            async with session.post(url, data=body) as response:
                await response.read()
        return time.thread_time_ns() - start_ns


async def stream(url: str, count: int, body: bytes) -> int:
    """Read one stream by lines, as google-genai does."""
    async with aiohttp.ClientSession() as session:
        start_ns = time.thread_time_ns()
        async with session.post(f"{url}?chunks={count}", data=body) as response:
            async for _ in response.content:
                pass
        return time.thread_time_ns() - start_ns


async def messages(url: str, count: int, _body: bytes) -> int:
    """Feed a protocol so many messages of 300 bytes, a read of the network each; 200 are one response."""
    first, *rest = (Frame(Opcode.TEXT, data).serialize(mask=False) for data in (CREATED, DELTA, DONE))
    frames = [first, *rest[:1] * 198, rest[1]]
    protocol = ClientProtocol(parse_uri(url.replace("http", "ws")), state=OPEN)
    start_ns = time.thread_time_ns()
    for number in range(count):
        protocol.receive_data(frames[number % 200])
        protocol.events_received()
    return time.thread_time_ns() - start_ns


def compare(one: IdleRecorder, run: Callable[[], Awaitable[int]], units: int, rounds: int) -> tuple[float, float]:
    """Return the best bare and the best hooked time of one unit, in microseconds."""
    bare, hooked = [], []
    for _ in range(rounds):
        bare.append(asyncio.run(run()) / units / 1000)  # type: ignore[arg-type]
        undos = [aiohttp_hook.install(one.tap), websockets_hook.install(one.tap)]
        hooked.append(asyncio.run(run()) / units / 1000)  # type: ignore[arg-type]
        for undo in undos:
            undo()
        one.drain()
    return min(bare), min(hooked)


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--calls", type=int, default=1000)
    options.add_argument("--chunks", type=int, default=20_000)
    options.add_argument("--rounds", type=int, default=7)
    args = options.parse_args()
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    base = f"http://127.0.0.1:{ours.recv()}"
    print(f"Python {platform.python_version()}, {platform.machine()}, CPU time of the thread, best of {args.rounds}")
    print(f"{'aiohttp ' + aiohttp.__version__:34}{'bare us':>10}{'hooked us':>11}{'added us':>10}{'ratio':>8}")
    cases = [("other call, 1 KB", calls, OTHER, args.calls, 1_000)]
    for size, share in ((1_000, 1), (100_000, 2), (2_000_000, 20)):
        cases.append((f"model call, {size // 1000} KB", calls, MODEL, args.calls // share, size))
    cases.append(("chunk", stream, MODEL, args.chunks, 1_000))
    cases.append(("websockets, realtime message", messages, "/v1/realtime?model=m", args.chunks, 0))
    cases.append(("websockets, other message", messages, "/chat", args.chunks, 0))
    with idle_recorder() as one:
        for what, run, path, units, size in cases:
            step = partial(run, base + path, units, b" " * size)
            bare, hooked = compare(one, step, units, args.rounds)
            print(f"{what:34}{bare:10.2f}{hooked:11.2f}{hooked - bare:10.2f}{hooked / bare:8.2f}")
    server.terminate()


if __name__ == "__main__":
    main()
