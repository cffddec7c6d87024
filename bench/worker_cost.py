"""What the recorder's worker costs a call, by stage, in microseconds of CPU.

    python bench/worker_cost.py [--bench DIR] [--cases chat,stream,agent] [--calls 400] [--batch 40] [--rounds 15]
    python bench/worker_cost.py --count [--top 30]
    python bench/worker_cost.py --machine

Exchanges with the bodies of the side-by-side bench's mock server go straight into the worker's entry, on one thread, a
`--batch` to each transaction: no client, no socket, no queue. `all` is the best round without the stages' timers;
a stage is its own time without the stages inside of it, timers included. `agent` is histories of ten steps with a tool.
`--count` counts the interpreter's instructions a call by function instead, which a busy machine does not change; it
shows where they are, not what they cost, as a loop in C is one of them. `--machine` counts the processor's under
valgrind. Prints, never gates.
"""

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from valgrind import instructions

from tokenflation.sdk.calls import assemble, row
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.lineage.blocks import TaskBlocks
from tokenflation.sdk.lineage.placing import Lineage
from tokenflation.sdk.recording import recorder
from tokenflation.sdk.recording.worker import Worker
from tokenflation.sdk.store.outbox import Outbox
from tokenflation.sdk.store.write import open_writer
from tokenflation.sdk.tokens.parts import Splitter
from tokenflation.sdk.tokens.prefix import BlockHasher

CHECKOUT = Path(__file__).resolve().parents[1]
KEY = b"k" * 16
MODEL = "gpt-4o-mini"
PATH = "/v1/chat/completions"
STEPS = 10
CHUNKS = 50
STAGES: tuple[tuple[str, Any, str], ...] = (
    ("write", Outbox, "write"),
    ("read", assemble.Assembler, "read"),
    ("place", Lineage, "place"),
    ("remember", Lineage, "remember"),
    ("parts", Splitter, "take"),
    ("blocks", BlockHasher, "hashes"),
    ("structure", row, "structure_of"),
    ("shared", TaskBlocks, "shared"),
    ("rows", assemble.Assembler, "rows"),
)


def mock_server(folder: Path) -> Any:
    spec = importlib.util.spec_from_file_location("mock_server", folder / "mock_server.py")
    if spec is None or spec.loader is None or not (folder / "mock_server.py").exists():
        sys.exit(f"no mock_server.py in {folder}: name its folder with --bench")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Bodies = Callable[[], Iterator[tuple[bytes, list[bytes]]]]


def chats(mock: Any, calls: int, stream: bool) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield a request's body and the chunks of its answer, as the side-by-side bench's two workloads have them."""
    for number in range(calls):
        request: dict[str, Any] = {
            "messages": [
                {"role": "system", "content": "You are terse."},
                {"role": "user", "content": f"question {number} about the weather in Paris?"},
            ],
            "model": MODEL,
        }
        if stream:
            request |= {"stream": True, "stream_options": {"include_usage": True}}
        truth, options = mock.truth(request["messages"][-1]["content"]), {"tools": 0, "chunks": CHUNKS}
        if stream:
            yield json.dumps(request).encode(), list(mock.chat_sse(request, truth, options, f"{number:x}"))
        else:
            yield (
                json.dumps(request).encode(),
                [json.dumps(mock.chat(request, truth, options, f"{number:x}")).encode()],
            )


def agents(mock: Any, calls: int) -> Iterator[tuple[bytes, list[bytes]]]:
    """Yield histories of ten steps that each ask for a tool; every step sends all before it again."""
    tools = [{"type": "function", "function": {"name": "get_weather_0", "parameters": {"type": "object"}}}]
    for number in range(calls):
        step = number % STEPS
        if step == 0:
            messages: list[dict[str, Any]] = [
                {"role": "system", "content": "You are a careful planner of journeys. " * 20},
                {"role": "user", "content": f"question {number} about the weather in Paris?"},
            ]
        request = {"messages": messages, "model": MODEL, "tools": tools}
        truth = {"input": 200 + 150 * step, "output": 40, "cached": 64, "reasoning": 8}
        answer = mock.chat(request, truth, {"tools": 1}, f"{number:x}")
        message = answer["choices"][0]["message"]
        message["tool_calls"][0]["id"] = id_ = f"call_{number:08x}"
        yield json.dumps(request).encode(), [json.dumps(answer).encode()]
        result = {"role": "tool", "tool_call_id": id_, "content": f"{number} degrees, some clouds. " * 16}
        messages = [*messages, message, result]


def exchanges(one: recorder.Recorder, bodies: Iterator[tuple[bytes, list[bytes]]]) -> list[Exchange]:
    made = []
    for body, chunks in bodies:
        exchange = one.tap.begin("POST", "127.0.0.1:8080", PATH, body, {"x-stainless-retry-count": "0"})
        assert exchange is not None
        exchange.answer(200, "text/event-stream" if len(chunks) > 1 else "application/json", "")
        for chunk in chunks:
            exchange.add(chunk)
        exchange.submit = lambda _: None
        exchange.finish("read")
        one._underway.end(exchange)
        made.append(exchange)
    return made


def run(bodies: Bodies, batch: int) -> float:
    """Return the CPU of one round in microseconds a call."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "runs.db")
        one = recorder.Recorder(path, open_writer=lambda: open_writer(path, key=KEY), key=KEY, queue_size=10**6)
        one._start = lambda: None  # type: ignore[method-assign, assignment, return-value]  # this thread is the worker
        items = exchanges(one, bodies())
        one._outbox.write()  # opens the store
        start_ns = time.thread_time_ns()
        for at in range(0, len(items), batch):
            one._worker.take(items[at : at + batch])
            one._worker.write(0)
        spent_ns = time.thread_time_ns() - start_ns
        if one.recorded != len(items) or one.drops:
            sys.exit(f"{one.recorded} of {len(items)} calls were recorded, {one.drops}")
        one._outbox.drop_writer()
        one._closed = True
        return spent_ns / len(items) / 1000


def prepare(bodies: Bodies) -> None:
    """Do what `run` does but for the worker's part."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "runs.db")
        one = recorder.Recorder(path, open_writer=lambda: open_writer(path, key=KEY), key=KEY, queue_size=10**6)
        one._start = lambda: None  # type: ignore[method-assign, assignment, return-value]
        exchanges(one, bodies())
        one._closed = True


def machine(name: str, bench: Path) -> float:
    """Return the processor's instructions a call, what begins once left out."""
    found = {}
    for only in ("run", "prepare"):
        for calls in (100, 400):
            command = [sys.executable, __file__, "--bench", str(bench), "--cases", name, "--calls", str(calls)]
            found[only, calls] = instructions([*command, "--only", only])
    spent = found["run", 400] - found["run", 100]
    return (spent - found["prepare", 400] + found["prepare", 100]) / 300


class Stages:
    """Timers around the stages; the time of a stage is without that of stages inside it."""

    def __init__(self) -> None:
        self.spent_ns: dict[str, int] = {}
        self._inner_ns: list[int] = []

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        inner_ns, spent_ns = self._inner_ns, self.spent_ns

        def stage(*args: Any, **kwargs: Any) -> Any:
            inner_ns.append(0)
            start_ns = time.perf_counter_ns()
            try:
                return function(*args, **kwargs)
            finally:
                took_ns = time.perf_counter_ns() - start_ns
                spent_ns[name] = spent_ns.get(name, 0) + took_ns - inner_ns.pop()
                if inner_ns:
                    inner_ns[-1] += took_ns

        return stage


def by_stage(bodies: Bodies, batch: int, calls: int) -> dict[str, float]:
    stages = Stages()
    originals = [(owner, name, getattr(owner, name)) for _, owner, name in STAGES]
    for label, owner, name in STAGES:
        setattr(owner, name, stages.timed(label, getattr(owner, name)))
    try:
        run(bodies, batch)
    finally:
        for owner, name, original in originals:
            setattr(owner, name, original)
    return {name: spent / calls / 1000 for name, spent in stages.spent_ns.items()}


def count(bodies: Bodies, batch: int, top: int) -> None:
    """Print how many of the interpreter's instructions a call takes, and the functions that take most of them."""
    found: Counter[CodeType] = Counter()
    calls: Counter[CodeType] = Counter()

    def local(frame: FrameType, event: str, _: Any) -> Any:
        found[frame.f_code] += event == "opcode"
        return local

    def entered(frame: FrameType, _event: str, _: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        calls[frame.f_code] += 1
        return local

    def traced(function: Callable[..., Any]) -> Callable[..., Any]:
        def run_traced(*args: Any) -> Any:
            sys.settrace(entered)
            try:
                return function(*args)
            finally:
                sys.settrace(None)

        return run_traced

    taken = Worker.take, Worker.write
    Worker.take, Worker.write = map(traced, taken)  # type: ignore[method-assign]
    try:
        run(bodies, batch)
    finally:
        Worker.take, Worker.write = taken  # type: ignore[method-assign]
    total = sum(1 for _ in bodies())
    print(f"  {sum(found.values()) / total:.0f} instructions and {sum(calls.values()) / total:.0f} Python calls a call")
    for code, done in found.most_common(top):
        place = f"{Path(code.co_filename).name}:{code.co_firstlineno} {code.co_qualname}"
        print(f"  {done / total:8.1f} in {calls[code] / total:6.2f} calls of {place}")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--bench", type=Path, default=CHECKOUT.parent / "shared" / "bench", help="the harness")
    options.add_argument("--cases", default="chat,stream,agent")
    options.add_argument("--calls", type=int, default=400)
    options.add_argument("--batch", type=int, default=40)
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--count", action="store_true", help="count instructions instead of time")
    options.add_argument("--machine", action="store_true", help="count the processor's instructions; needs valgrind")
    options.add_argument("--only", choices=("run", "prepare"), help=argparse.SUPPRESS)
    options.add_argument("--top", type=int, default=15, help="functions that --count prints")
    args = options.parse_args()
    mock = mock_server(args.bench)
    cases: dict[str, Bodies] = {
        "chat": lambda: chats(mock, args.calls, False),
        "stream": lambda: chats(mock, args.calls, True),
        "agent": lambda: agents(mock, args.calls),
    }
    for name in args.cases.split(",") if args.machine else ():
        print(f"{name}: {machine(name, args.bench):,.0f} instructions of the processor a call", flush=True)
    for name in args.cases.split(",") if args.only else ():
        run(cases[name], args.batch) if args.only == "run" else prepare(cases[name])
    for name in args.cases.split(",") if args.count else ():
        print(name)
        count(cases[name], args.batch, args.top)
    if args.count or args.machine or args.only:
        return
    print("us a call".ljust(10) + f"{'all':>8}" + "".join(f"{name:>10}" for name, *_ in STAGES))
    for name in args.cases.split(","):
        best = min(run(cases[name], args.batch) for _ in range(args.rounds))
        found = [by_stage(cases[name], args.batch, args.calls) for _ in range(max(3, args.rounds // 3))]
        cells = [min(one.get(stage, 0.0) for one in found) for stage, *_ in STAGES]
        print(name.ljust(10) + f"{best:8.1f}" + "".join(f"{cell:10.1f}" for cell in cells))


if __name__ == "__main__":
    main()
