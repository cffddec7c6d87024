"""What lineage costs the worker, per message of a request and per call, as a history grows.

    python bench/lineage_cost.py [--calls N]

CPU time of `Lineage.place` and `remember`, and of what lineage alone needs of the wire and the rows (hashes and texts
of tool calls, the columns), beside the whole of `Assembler.exchange`. Histories grow by a tool call and its result a
call.
"""

import argparse
import json
import time
from itertools import count
from typing import Any

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.calls.structure import structure_of
from tokenflation.sdk.exchange import Exchange
from tokenflation.sdk.lineage import Lineage
from tokenflation.sdk.records import Reading
from tokenflation.sdk.wire import ExchangeBytes, read

_TEXT = "The tides follow the moon, and the wind follows the sun over land and sea. " * 4
_KEY = b"bench" * 4


def _message(number: int, side: int) -> dict[str, Any]:
    if side:
        return {"role": "tool", "tool_call_id": f"call-{number}", "content": f"{number} {_TEXT}"}
    asked = {"name": "search", "arguments": json.dumps({"query": f"topic {number} of the list"})}
    return {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": f"call-{number}", "type": "function", "function": asked}],
    }


def _bodies(messages: int, calls: int) -> list[tuple[bytes, bytes]]:
    """Return requests that extend one another, the first of `messages` messages, with their answers."""
    history: list[dict[str, Any]] = [{"role": "system", "content": _TEXT}, {"role": "user", "content": "Go on."}]
    history += [_message(number, side) for number in range(messages // 2) for side in (0, 1)]
    found = []
    for number in range(messages // 2, messages // 2 + calls):
        answer = _message(number, 0)
        whole = {"id": f"r{number}", "model": "m", "choices": [{"index": 0, "message": answer, "finish_reason": "tool_calls"}],
                 "usage": {"prompt_tokens": 90 * len(history), "completion_tokens": 9}}  # fmt: skip
        found.append((json.dumps({"model": "m", "messages": history}).encode(), json.dumps(whole).encode()))
        history += [answer, _message(number, 1)]
    return found


def _roots(calls: int) -> list[tuple[bytes, bytes]]:
    """Return short requests of one agent that have nothing to do with one another, with their answers."""
    found = []
    for number in range(calls):
        messages = [{"role": "system", "content": _TEXT}, {"role": "user", "content": f"Question {number}?"}]
        answer: dict[str, Any] = {
            "id": f"r{number}",
            "model": "m",
            "usage": {"prompt_tokens": 99, "completion_tokens": 9},
        }
        answer["choices"] = [{"index": 0, "message": {"content": f"Answer {number}."}, "finish_reason": "stop"}]
        found.append((json.dumps({"model": "m", "messages": messages}).encode(), json.dumps(answer).encode()))
    return found


def _lineage_us(bodies: list[tuple[bytes, bytes]]) -> float:
    """Return the CPU time of lineage a call, in microseconds."""
    traces = count()
    lineage = Lineage(new_trace_id=lambda: f"{next(traces):032x}", key=_KEY)
    readings: list[Reading] = []
    for request, answer in bodies:
        view = ExchangeBytes(api="openai.chat", path="/v1/chat/completions", request_body=request, status_code=200,
                             chunks=[(1, answer)])  # fmt: skip
        reading = read(view, key=_KEY)
        assert reading is not None
        readings.append(reading)
    begun = time.thread_time()
    for number, reading in enumerate(readings):
        placement = lineage.place(reading, f"c{number}", None, number * 10, f"c{number - 1}" if number else "")
        structure_of(placement, reading, "")
        lineage.remember(reading, placement, f"c{number}", None, number * 10 + 1, ())
    return (time.thread_time() - begun) * 1e6 / len(readings)


def _whole_us(bodies: list[tuple[bytes, bytes]]) -> float:
    """Return the CPU time of a call in the worker, in microseconds."""
    assembler = Assembler(key=_KEY)
    exchanges = []
    for number, (request, answer) in enumerate(bodies):
        one = Exchange(api="openai.chat", method="POST", host="api.openai.com", path="/v1/chat/completions",
                       request_body=request, request_headers={}, context=None, submit=lambda _: None,
                       started_at_ns=number * 10, call_id=f"c{number}")  # fmt: skip
        one.answer(200, "application/json", "")
        one.add(answer)
        one.finish("read")
        exchanges.append(one)
    begun = time.thread_time()
    for one in exchanges:
        assembler.exchange(one)
    return (time.thread_time() - begun) * 1e6 / len(exchanges)


def main() -> None:
    """Print a table: messages of a request, CPU of lineage and of the whole worker per call and per message."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--calls", type=int, default=100, help="calls per size")
    given = parser.parse_args()
    print("messages  lineage us/call  us/message  whole us/call  us/message")
    for messages in (2, 10, 100, 1000):
        bodies = _bodies(messages, given.calls)
        size = messages + given.calls  # each call adds two
        lineage, whole = (min(measure(bodies) for _ in range(3)) for measure in (_lineage_us, _whole_us))
        print(f"{size:8,}  {lineage:15.1f}  {lineage / size:10.3f}  {whole:13.1f}  {whole / size:10.3f}")
    roots = _roots(given.calls)
    alone = [min(measure(roots) for _ in range(5)) for measure in (_lineage_us, _whole_us)]
    print(f"short calls of their own: lineage {alone[0]:.1f} us, whole {alone[1]:.1f} us a call")


if __name__ == "__main__":
    main()
