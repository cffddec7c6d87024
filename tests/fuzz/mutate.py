"""Mutated exchanges: seeds of every api, mutations of them, and what must hold of what the recorder makes of one."""

import json
import lzma
import math
import random
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.fuzz.samples import SAMPLES

from tokenflation.sdk.calls.assemble import Assembler
from tokenflation.sdk.exchange import Exchange, Tap

__all__ = ["Case", "Mutator", "check", "from_bytes", "seeds"]

_KEY = b"k" * 32
_ENDS = ("read", "closed", "dropped", "failed", "cancelled")
_STRANGE: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**53, 2**53 + 1, 2**64, -(2**70), 0.5, 1e308, "", "7", "\ud800", "\0", [], {}, [[]],
    {"a": None}, [None, 1, "x"], "error", "tool_use",
)  # fmt: skip
_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-encoding", "gzip"), ("content-encoding", "br, gzip"), ("content-type", "text/event-stream"),
    ("x-stainless-retry-count", "1"), ("x-stainless-retry-count", "9" * 400), ("x-stainless-retry-count", "\u0663"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """One exchange to be: all that a hook would have seen of it."""

    method: str
    host: str
    path: str
    request: bytes | None
    status: int | None
    content_type: str
    chunks: tuple[bytes, ...]
    end: str = "read"
    encoding: str = ""
    headers: dict[str, str] = field(default_factory=dict)


@lru_cache(maxsize=2)
def seeds(exchanges: Path | None) -> tuple[Case, ...]:
    """Return a sample of each api, and the recorded exchanges where their file is there."""
    found = [
        Case(method, "api.test", path, _dumps(request), 200, _type_of(body), (_bytes(body),))
        for method, path, request, body in SAMPLES
    ]
    if exchanges is not None and exchanges.exists():
        with lzma.open(exchanges, "rt", encoding="utf-8") as lines:
            found += [_recorded(json.loads(line)) for line in lines]
    return tuple(one for one in found if sum(map(len, one.chunks)) + len(one.request or b"") < 60_000)


def _recorded(line: dict[str, Any]) -> Case:
    url = urlsplit(line["url"])
    body = line.get("request_body")
    request = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else _dumps(body)
    answer = line.get("response_body") or ""
    raw = answer.encode("utf-8", "surrogatepass") if isinstance(answer, str) else _dumps(answer)
    return Case(line["method"], url.netloc, url.path, request, line["status"], _type_of(answer), (raw,))


def _type_of(body: Any) -> str:
    return "text/event-stream" if isinstance(body, str) and body.startswith(("data:", "event:")) else "application/json"


def _bytes(body: Any) -> bytes:
    return body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else _dumps(body)


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("utf-8", "surrogatepass")


class Mutator:
    """Makes cases without end, the same ones for the same seeds and number."""

    def __init__(self, found: tuple[Case, ...], number: int) -> None:
        self._seeds = found
        self._random = random.Random(number)

    def next(self) -> Case:
        """Return the next case: a seed with a few things wrong with it."""
        rng = self._random
        seed = rng.choice(self._seeds)
        body = b"".join(seed.chunks)
        request = seed.request
        for _ in range(rng.randrange(4)):
            where = rng.random()
            if where < 0.6:
                body = self._mutated(body)
            elif request is not None:
                request = self._mutated(request)
        if rng.random() < 0.05:
            other = rng.choice(self._seeds)
            body = b"".join(other.chunks)
        name, value = rng.choice(_HEADERS) if rng.random() < 0.1 else ("", "")
        return Case(
            seed.method,
            seed.host,
            seed.path,
            None if rng.random() < 0.02 else request,
            rng.choice((seed.status, seed.status, 200, 429, 500, None)),
            rng.choice((seed.content_type, seed.content_type, "", "text/html")),
            self._cut(body),
            rng.choice(_ENDS),
            value if name == "content-encoding" else "",
            {name: value} if name else {},
        )

    def _mutated(self, raw: bytes) -> bytes:
        return self._tree_mutated(raw) if self._random.random() < 0.7 else self._bytes_mutated(raw)

    def _bytes_mutated(self, raw: bytes) -> bytes:
        rng = self._random
        changed = bytearray(raw)
        for _ in range(rng.randrange(1, 8)):
            place = rng.randrange(len(changed) + 1)
            act = rng.random()
            if act < 0.4 and changed:
                changed[place % len(changed)] = rng.randrange(256)
            elif act < 0.6:
                del changed[place : place + rng.randrange(60)]
            elif act < 0.8:
                changed[place:place] = changed[place : place + rng.randrange(200)]
            else:
                changed[place:place] = rng.randbytes(3)
        return bytes(changed)

    def _tree_mutated(self, raw: bytes) -> bytes:
        """Change a value of a JSON document, or of one of the events of a stream."""
        lines = raw.split(b"\n")
        places = [i for i, line in enumerate(lines) if line.startswith((b"data: {", b"{"))]
        if not places:
            return self._bytes_mutated(raw)
        place = self._random.choice(places)
        prefix = b"data: " if lines[place].startswith(b"data: ") else b""
        try:
            tree = json.loads(lines[place][len(prefix) :])
        except ValueError:
            return self._bytes_mutated(raw)
        self._change(tree)
        lines[place] = prefix + _dumps(tree)
        if self._random.random() < 0.1:
            lines.insert(place, lines[self._random.choice(places)])
        return b"\n".join(lines)

    def _change(self, tree: Any) -> None:
        rng = self._random
        nodes = [tree]
        while nodes:
            node = rng.choice(nodes) if rng.random() < 0.1 else nodes[-1]
            entries = list(node) if isinstance(node, dict) else list(range(len(node)))
            if not entries:
                return
            key = rng.choice(entries)
            value = node[key]
            if isinstance(value, dict | list) and value and rng.random() < 0.85:
                nodes.append(value)
                continue
            self._replace(node, key, value)
            return

    def _replace(self, node: Any, key: Any, value: Any) -> None:
        rng = self._random
        act = rng.random()
        if act < 0.4 and isinstance(value, int):
            node[key] = rng.choice((value + 1, value * 2, value // 2, 0, value + 10**6, *_STRANGE))
        elif act < 0.6:
            node[key] = rng.choice(_STRANGE)
        elif act < 0.8:
            del node[key]
        elif act < 0.9 and isinstance(node, dict):
            node[rng.choice(list(node))] = value
        else:
            deep: Any = value
            for _ in range(rng.choice((1, 3, 60, 400))):
                deep = [deep] if rng.random() < 0.5 else {"content": deep}
            node[key] = deep

    def _cut(self, body: bytes) -> tuple[bytes, ...]:
        rng = self._random
        if rng.random() < 0.2:
            body = body[: rng.randrange(len(body) + 1)]
        ends = sorted(rng.randrange(len(body) + 1) for _ in range(rng.choice((0, 1, 3, 9))))
        return tuple(body[a:b] for a, b in zip([0, *ends], [*ends, len(body)], strict=True))


def from_bytes(data: bytes, found: tuple[Case, ...]) -> Case:
    """Return the case that a fuzzer's bytes stand for: two of them choose seed and end, the rest is the answer."""
    seed = found[int.from_bytes(data[:2], "big") % len(found)]
    body, _, request = data[3:].partition(b"\0\0")
    end = _ENDS[(data[2] if len(data) > 2 else 0) % len(_ENDS)]
    return Case(seed.method, seed.host, seed.path, request or seed.request, 200, "", (body,), end)


def check(case: Case) -> str:
    """Take one case through the recorder's reading; return what became of it.

    Raises:
        AssertionError: something that must hold of every row does not.
        Exception: the recorder's own, which is a defect whatever it is.
    """
    taken: list[Exchange] = []
    failures: list[str] = []
    tap = Tap(submit=taken.append, context=lambda: None, failed=failures.append)
    exchange = tap.begin(case.method, case.host, case.path, case.request, case.headers)
    assert not failures or failures[0].startswith("unseen:"), failures
    if exchange is None:
        return "not a model endpoint"
    if case.status is not None:
        exchange.answer(case.status, case.content_type, case.encoding)
    for chunk in case.chunks:
        exchange.add(chunk)
    exchange.finish(case.end)  # type: ignore[arg-type]
    assert len(taken) == 1
    assert not failures, failures
    call = Assembler(key=_KEY).exchange(exchange).call
    if call is None:
        return "no model call"
    _check_call(call)
    json.dumps(dict(call.extra), allow_nan=False)
    return f"{call.api}, usage {call.usage_source}"


def _check_call(call: Any) -> None:
    whole = {"input": call.input_tokens, "output": call.output_tokens}
    parts = {
        "cache_read": (call.cache_read_tokens, whole["input"]),
        "cache_write": (call.cache_write_tokens, whole["input"]),
        "reasoning": (call.reasoning_tokens, whole["output"]),
    }
    for name, count in [*whole.items(), *((name, part) for name, (part, _) in parts.items())]:
        assert count is None or (type(count) is int and 0 <= count <= 2**53), f"{name} is {count!r}"
    for name, (part, total) in parts.items():
        assert part is None or total is None or part <= total, f"{name} {part} is more than its total {total}"
    split = [
        call.system_tokens,
        call.tool_definition_tokens,
        call.resent_tokens,
        call.tool_result_tokens,
        call.new_tokens,
    ]
    known = [part for part in split if part is not None]
    assert not known or (len(known) == 5 and min(known) >= 0 and sum(known) == whole["input"]), f"parts {split}"
    if call.block_hashes is not None:
        assert len(call.block_hashes) == 8 * math.ceil((whole["input"] or 0) / call.block_tokens)
    assert call.ended_at_ns is not None
    assert call.ended_at_ns >= call.started_at_ns
    for text in (call.model, call.response_model, call.response_id, call.error_type, *call.finish_reasons):
        assert text is None or (type(text) is str and len(text) <= 1024), f"text {text!r:.80}"
