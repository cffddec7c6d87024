"""The recorded exchanges beside the checkout, what the independent truth table says of them, and where it is wrong.

`tests/wire` reads them as bytes; `bench/wire_truth.py` replays them through real clients.
"""

import base64
import csv
import json
import lzma
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

DATA = Path(__file__).resolve().parents[2] / ".." / "shared" / "data" / "wire"
COLUMNS = {
    "input_total": "input_total",
    "cached_read": "cached_read",
    "cache_write": "cache_write",
    "output_total": "output_total",
    "reasoning": "reasoning",
    "tool_calls": "tool_calls",
    "finish": "finish",
    "model": "model_response",
    "model_asked": "model_request",
    "usage_status": "usage_status",
}
"""Our name of a compared cell -> the table's."""
COUNTING = frozenset({"count_tokens", "bedrock.agent"})
"""Apis of the table that generate nothing, or whose tokens nobody reports: they are no calls."""


@dataclass(frozen=True)
class Recorded:
    """One recorded exchange and the table's row of it."""

    file: str
    row: Mapping[str, str]
    method: str
    url: str
    request: bytes | None
    status: int
    headers: Mapping[str, str]
    """Of the answer, by lower-case names."""
    body: bytes

    @property
    def host(self) -> str:
        return urlsplit(self.url).netloc

    @property
    def path(self) -> str:
        url = urlsplit(self.url)
        return f"{url.path}?{url.query}" if url.query else url.path

    @property
    def streamed(self) -> bool:
        return self.row["stream_response"] == "1"


def recorded(exchanges: Path = DATA / "exchanges.jsonl.xz", truth: Path = DATA / "truth.csv") -> Iterator[Recorded]:
    """Yield every recorded exchange that the table has a row of."""
    with truth.open(encoding="utf-8", newline="") as table:
        rows = {row["file"]: row for row in csv.DictReader(table)}
    with lzma.open(exchanges, "rt", encoding="utf-8") as lines:
        for line in lines:
            one = json.loads(line)
            asked, binary = one["request_body"], one.get("response_body_b64")
            yield Recorded(
                file=one["file"],
                row=rows[one["file"]],
                method=one["method"],
                url=one["url"],
                request=None if asked is None else json.dumps(asked).encode(),
                status=one["status"],
                headers={name.lower(): value for name, value in one["response_headers"].items()},
                body=base64.b64decode(binary)
                if binary
                else (one["response_body"] or "").encode("utf-8", "surrogatepass"),
            )


def expected(row: Mapping[str, str]) -> dict[str, str]:
    """Return the compared cells of a row of the table, each in one way of writing it."""
    cells = {ours: row[theirs] for ours, theirs in COLUMNS.items()}
    cells["model_asked"] = unquote(cells["model_asked"])
    for name in ("input_total", "cached_read", "cache_write", "output_total", "reasoning"):
        cells[name] = cells[name].removesuffix(".0")  # a provider's float, 28.0 tokens
    return cells


def _objects(body: bytes) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in an answer, whole or of a stream of events."""
    for line in (body, *body.splitlines()):
        try:
            found = [json.loads(line.removeprefix(b"data:"))]
        except ValueError:
            continue
        while found:
            value = found.pop()
            if type(value) is dict:
                yield value
            if type(value) in (dict, list):
                found += value.values() if type(value) is dict else value


def table_error(one: Recorded, cell: str, got: str) -> str | None:
    """Return the evidence that the table, not we, is wrong about a cell; None if there is none."""
    said = expected(one.row)[cell]
    try:
        body: Any = json.loads(one.body)
    except ValueError:
        body = {}
    if type(body) is not dict:
        body = {}
    if cell == "tool_calls" and (said, got) == ("1", "0"):
        messages = [choice.get("message") or {} for choice in body.get("choices", ())]
        empty = {"name": "", "arguments": ""}
        if messages and all(m.get("function_call") == empty and not m.get("tool_calls") for m in messages):
            return 'the body holds `"function_call": {"name": "", "arguments": ""}` and no tool_calls: no call is asked for'
    if cell == "finish" and not said:
        for key, read in (
            ("generations", lambda entry: entry["finish_reason"]),
            ("completions", lambda entry: entry["finishReason"]["reason"]),
        ):
            if body.get(key) and read(body[key][0]) == got:
                return f'the body says why it ended, in `{key}[0]`: "{got}"'
    if cell == "model" and not said and body.get("model") == got:
        return f'the body holds `"model": "{got}"`'
    names = {"output_total": "output", "cached_read": "cache-read-input", "cache_write": "cache-write-input"}
    header = f"x-amzn-bedrock-{names.get(cell)}-token-count"
    if not said and one.headers.get(header) == got != "":
        return f"the header {header} says {got}"
    for said_within in _objects(one.body):
        google, tokens = said_within.get("usageMetadata"), said_within.get("tokens")
        if cell == "output_total" and type(google) is dict and one.row["api"] == "openai.chat":
            parts = [google.get(name, 0) for name in ("candidatesTokenCount", "thoughtsTokenCount")]
            if got == str(sum(parts)):
                return f"Google's own usage, which the body holds beside the gateway's, says {parts[0]} + {parts[1]}"
        if cell == "input_total" and type(tokens) is dict and tokens.get("image_tokens"):
            parts = [tokens[name] for name in ("input_tokens", "image_tokens")]
            if got == str(sum(parts)) and said_within["billed_units"]["input_tokens"] > int(said):
                return f"more is billed than {said} tokens: the image of {parts[1]} stands beside them"
    whole = one.row["output_total" if cell == "reasoning" else "input_total"]
    if cell in ("reasoning", "cached_read", "cache_write") and said and int(float(said)) > int(float(whole or 0)):
        return f"a part of {said} is in no total of {whole}: stored as {got}, the provider's number stands in `extra`"
    return None
