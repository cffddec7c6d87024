"""The scenarios of the matrix: what a host does with a client, and what the store must say about it afterwards.

A client's module in `tests/matrix/clients/` has a function for each scenario that the client can play. Knows nothing
of any client.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.providers import Received

__all__ = ["SCENARIOS", "Play", "Scenario", "Unsupported", "differences", "prompt_of"]

Play = Callable[[str, str], Any]
"""Plays a scenario: takes the server's root URL and the prompt, returns what the host saw.

A generator function makes its client before its first `yield`; what it yields from then on is what the host saw.
"""


class Unsupported(Exception):
    """This version of the client cannot play the scenario."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What the server is told to do, and what must be in the store."""

    title: str
    markers: str = ""
    calls: int = 1
    attempts: int = 1
    statuses: tuple[str, ...] = ("ok",)
    tool_calls: int = 0
    usage: Literal["whole", "started", "none"] = "whole"
    """How much of the answer's usage the host received: all, what stands in the first event of a stream, nothing."""
    by_chance: tuple[str, ...] = ()
    """What lines of the log hold that the client may bring about or not, whether it is recorded or not."""


_FIRST_PIECE = "[[hold:1]] [[pieces:600]]"
_TOOLS = "[[tool:search]] [[tool:fetch]]"

SCENARIOS: Mapping[str, Scenario] = {
    "chat": Scenario(title="chat"),
    "stream": Scenario(title="stream"),
    "async_chat": Scenario(title="async chat"),
    "async_stream": Scenario(title="async stream"),
    "stream_without_usage": Scenario(title="stream that no usage was asked for"),
    "tools": Scenario(title="tools", markers=_TOOLS, tool_calls=2),
    "tools_stream": Scenario(title="tools, streamed", markers=_TOOLS, tool_calls=2),
    "auto_tools": Scenario(title="tools run by the client", markers="[[tool:search]]", calls=2),
    "raw_response": Scenario(title="raw response"),
    "raw_stream": Scenario(title="raw response of a stream"),
    "streaming_response": Scenario(title="streaming response"),
    "helper": Scenario(title="stream helper"),
    "async_helper": Scenario(title="async stream helper"),
    "parse": Scenario(title="structured output", markers='[[say:{"answer": 42}]]'),
    "responses": Scenario(title="Responses"),
    "responses_stream": Scenario(title="Responses, streamed"),
    "responses_helper": Scenario(title="Responses, stream helper"),
    "responses_tools": Scenario(title="Responses, tools", markers=_TOOLS, tool_calls=2),
    "generate": Scenario(title="completion of a text"),
    "generate_stream": Scenario(title="completion of a text, streamed"),
    "embeddings": Scenario(title="embeddings"),
    "invoke_model": Scenario(title="InvokeModel"),
    "invoke_stream": Scenario(title="InvokeModel, streamed"),
    "anthropic_chat": Scenario(title="Anthropic's dialect"),
    # litellm stops reading once it has the usage, before the stream's end: the host did cut it.
    "anthropic_stream": Scenario(title="Anthropic's dialect, streamed", statuses=("ok", "cut")),
    "async_anthropic_chat": Scenario(title="Anthropic's dialect, async"),
    "async_anthropic_stream": Scenario(title="Anthropic's dialect, async stream", statuses=("ok", "cut")),
    "google_chat": Scenario(title="Gemini's dialect"),
    "async_google_stream": Scenario(title="Gemini's dialect, async stream"),
    "v1_chat": Scenario(title="first version of the api"),
    "v1_stream": Scenario(title="first version of the api, streamed"),
    "gzip": Scenario(title="gzip, streamed", markers="[[gzip:1]]"),
    "made_before": Scenario(title="client made before instrument()"),
    "parallel": Scenario(title="8 async calls at once", calls=8),
    "abandoned": Scenario(
        title="stream closed after one event", markers=_FIRST_PIECE, usage="started", statuses=("cut", "cancelled")
    ),
    "dropped": Scenario(
        title="stream never read and collected", markers=_FIRST_PIECE, usage="none", statuses=("cut", "cancelled")
    ),
    "async_abandoned": Scenario(
        title="async stream left after one event",
        markers=_FIRST_PIECE,
        usage="started",
        statuses=("cut", "cancelled"),
        # A loop that ends closes generators that are inside each other in any order; google-genai's tell 1 in 10 times.
        by_chance=("an error occurred during closing of asynchronous generator",),
    ),
    "cancelled": Scenario(
        title="stream cancelled by asyncio", markers=_FIRST_PIECE, usage="started", statuses=("cancelled",)
    ),
    "broken": Scenario(
        title="stream broken by the network", markers="[[cut:600]]", usage="started", statuses=("cut", "error")
    ),
    "retries": Scenario(title="429, 429, 200", markers="[[status:429x2]]", attempts=3),
    "async_retries": Scenario(title="429, 429, 200, async", markers="[[status:429x2]]", attempts=3),
    "refused": Scenario(title="400", markers="[[status:400]]", statuses=("error",), usage="none"),
    "failed": Scenario(title="500", markers="[[status:500]]", statuses=("error",), usage="none"),
    "failed_thrice": Scenario(
        title="500, 500, 500", markers="[[status:500]]", statuses=("error",), usage="none", attempts=3
    ),
}

# What each api reports of the totals that the server answers with; a field that is not named must be NULL.
_ALL = ("input", "cached", "written", "output", "reasoning")
_REPORTED: Mapping[str, tuple[str, ...]] = {
    "/chat/completions": ("input", "cached", "output", "reasoning"),
    "/responses": _ALL,
    "/v1/messages": ("input", "cached", "written", "output"),
    "enerateContent": ("input", "cached", "output", "reasoning"),
    "/converse": ("input", "cached", "written", "output"),
    "/invoke": ("input", "cached", "written", "output"),
    "/v2/chat": ("input", "cached", "output"),
    "/v1/chat": ("input", "cached", "output"),
    "/api/": ("input", "output"),
    "/embeddings": ("input", "output"),
}
# The first event of a stream holds these; every chunk of Gemini's has the usage so far.
_STARTED: Mapping[str, tuple[str, ...]] = {
    "/v1/messages": ("input", "cached", "written"),
    "/invoke": ("input", "cached", "written"),
    "enerateContent": ("input", "cached", "output", "reasoning"),
}
_COLUMNS = {
    "input": "input_tokens",
    "cached": "cache_read_tokens",
    "written": "cache_write_tokens",
    "output": "output_tokens",
    "reasoning": "reasoning_tokens",
}


def prompt_of(name: str) -> str:
    """Return the prompt of a scenario: its markers, and totals that no other scenario has."""
    seed = zlib.crc32(name.encode()) % 9000
    totals = f"[[input:{10_000 + seed}]] [[cached:{1000 + seed // 9}]] [[written:{100 + seed // 90}]]"
    return f"hi {totals} [[output:{2000 + seed}]] [[reasoning:{500 + seed // 10}]] {SCENARIOS[name].markers}".strip()


def differences(
    scenario: Scenario, requests: list[Received], rows: list[dict[str, Any]], attempts: list[dict[str, Any]]
) -> list[str]:
    """Return what the store says that is not what the server did; empty where all agree."""
    sent = [one for one in requests if not 300 <= one.status < 400]
    if len(rows) != scenario.calls:
        return [f"{len(rows)} rows for {scenario.calls} calls"]
    found = []
    codes = sorted(str(one["status_code"]) for one in attempts)
    if codes != sorted(str(one.status) for one in sent):
        found.append(f"attempts {codes}, sent {[one.status for one in sent]}")
    if len(sent) != scenario.calls * scenario.attempts:
        found.append(f"{len(sent)} requests arrived")
    if scenario.calls == 1:
        pairs = [(rows[0], sent[-1])]
    else:
        by_usage = sorted(sent, key=lambda one: (one.usage or {}).get("input", 0))
        pairs = list(zip(sorted(rows, key=lambda row: row["input_tokens"] or 0), by_usage, strict=False))
    for row, request in pairs:
        found += _row_differences(scenario, row, request)
    return found


def _row_differences(scenario: Scenario, row: dict[str, Any], request: Received) -> list[str]:
    expected: dict[str, Any] = {"attempts": scenario.attempts, "stream": int(request.stream)}
    if scenario.calls == 1:
        expected["tool_calls"] = scenario.tool_calls
    part = next(part for part in _REPORTED if part in request.path)
    reported = {"whole": _REPORTED, "started": _STARTED, "none": {}}[scenario.usage].get(part, ())
    usage = request.usage or {}
    expected |= {column: usage.get(name) if name in reported else None for name, column in _COLUMNS.items()}
    found = [f"{name} {row[name]}, not {value}" for name, value in expected.items() if row[name] != value]
    if row["status"] not in scenario.statuses:
        found.append(f"status {row['status']}, not {' or '.join(scenario.statuses)}")
    if request.stream and scenario.usage == "whole" and not (row["ttfc_s"] or 0) > 0:
        found.append("no time to the first chunk")
    if not (row["duration_s"] or 0) > 0:
        found.append("no duration")
    return found
