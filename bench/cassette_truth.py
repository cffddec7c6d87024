"""Cassettes that other projects recorded for their tests, replayed through real clients and compared with their bodies.

    pip install pyyaml brotli
    python bench/cassette_truth.py CHECKOUT [CHECKOUT ...] [--list 20] [--seed N]

A checkout is a clone of any project whose tests keep recorded HTTP exchanges: vcrpy's form (pydantic-ai, crewAI,
openllmetry, openinference, dd-trace-py, mirascope, chatlas), Ruby's VCR (ruby_llm), go-vcr (fantasy), HAR
(openllmetry-js), langchain-aws, Rust's httpmock (rig), Go's httprr (langchaingo). Each exchange is sent by a client of
httpx or httpx2 as `wire_truth.py` does, and the tokens of its row are held against those that `counted` reads from the
body, without this library. What it cannot read, or reports no tokens, is not counted.
Exits 1 if a cell differs or a counted call has no row.
"""

import argparse
import base64
import gzip
import json
import re
import sqlite3
import struct
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from wire_truth import Replay

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.wire.recorded import Recorded

import tokenflation.sdk as tf

try:
    import yaml
except ImportError:
    sys.exit("Cassettes are YAML: pip install pyyaml")

_FOLDERS = re.compile(r"cassette|_vcr|/vcr/|testdata|recordings", re.IGNORECASE)
_CELLS = ("input", "cache_read", "cache_write", "output", "reasoning")
_SQL = f"SELECT {', '.join(f'{name}_tokens' for name in _CELLS)} FROM calls WHERE task_id = ?"
_COUNTS_ONLY = re.compile(r"count_tokens|count-tokens|countTokens|input_tokens$|/files|/batches|/threads/")
Counts = dict[str, int | None]


class _Loader(yaml.CSafeLoader):  # type: ignore[misc]
    """Takes unknown tags for what they stand on, and Ruby's `!binary` for bytes."""


def _plain(loader: Any, _: str, node: Any) -> Any:
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node)
    return loader.construct_sequence(node) if isinstance(node, yaml.SequenceNode) else loader.construct_scalar(node)


_Loader.add_multi_constructor("", _plain)
for _tag in ("tag:yaml.org,2002:binary", "!binary"):
    _Loader.add_constructor(_tag, yaml.constructor.SafeConstructor.construct_yaml_binary)


def exchanges(checkout: Path) -> Iterator[Recorded]:
    """Yield the recorded exchanges below a folder."""
    for path in sorted(checkout.rglob("*")):
        if not _FOLDERS.search(str(path.relative_to(checkout))) or not re.search(
            r"\.(ya?ml|json|har|httprr)(\.gz)?$", path.name
        ):
            continue
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        try:
            if data.startswith(b"httprr"):
                document = list(_httprr(data.partition(b"\n")[2]))
            elif path.name.endswith((".json", ".har")):
                document = json.loads(data)
            else:
                documents = list(yaml.load_all(data, Loader=_Loader))
                document = documents[0] if len(documents) == 1 and "when" not in documents[0] else documents
        except (ValueError, TypeError, yaml.YAMLError):
            continue
        for number, one in enumerate(_interactions(document, f"{path.parts[-3]}.test")):
            recorded = _recorded(one, f"{path.relative_to(checkout)}#{number}")
            if recorded is not None:
                yield recorded


def _httprr(log: bytes) -> Iterator[dict[str, Any]]:
    """Yield the exchanges of Go's httprr: a line with two sizes, then a request and an answer of so many bytes."""
    while log:
        sizes, _, log = log.partition(b"\n")
        sent, came = map(int, sizes.split())
        asked, answered, log = _message(log[:sent]), _message(log[sent : sent + came]), log[sent + came :]
        method, url, _ = asked["start"].split(" ", 2)
        yield {"request": {**asked, "method": method, "url": url}, "response": answered}


def _message(wire: bytes) -> dict[str, Any]:
    head, _, body = wire.replace(b"\r\n", b"\n").partition(b"\n\n")
    start, *lines = head.decode().splitlines()
    headers = dict(line.split(": ", 1) for line in lines)
    whole, framed = b"", body
    while size := re.match(rb"([0-9a-f]+)\n", framed):
        end = size.end() + int(size[1], 16)
        whole, framed = whole + framed[size.end() : end], framed[end + 1 :]
    return {"start": start, "status": start.split(" ")[1], "headers": headers, "body": whole or body}


def _httpmock(one: dict[str, Any], host: str) -> dict[str, Any]:
    """Return an exchange of Rust's httpmock, which keeps no host, in the form of the others."""
    asked, answered = one["when"], one["then"]
    body = answered.get("body")
    body = {"base64_string": body} if answered.get("body_encoding") == "base64" else body
    headers = answered.get("header") or []
    return {
        "request": {**asked, "url": f"http://{host}{asked['path']}"},
        "response": {**answered, "headers": headers, "body": body},
    }


def _interactions(document: Any, host: str) -> list[Any]:
    if isinstance(document, dict):
        found = document.get("interactions") or document.get("http_interactions")
        if not found and isinstance(document.get("requests"), list):
            pairs = zip(document["requests"], document.get("responses") or (), strict=False)
            found = [{"request": request, "response": response} for request, response in pairs]
        document = found or _at(document, "log", "entries") or [document]
    found = [one for one in document or () if isinstance(one, dict)]
    found = [_httpmock(one, host) if "when" in one and "then" in one else one for one in found]
    return [one for one in found if "request" in one and "response" in one]


def _recorded(one: dict[str, Any], name: str) -> Recorded | None:
    asked, answered = one["request"], one["response"]
    url = asked.get("uri") or asked.get("url")
    status = answered.get("status") or answered.get("status_code") or answered.get("code")
    status = status.get("code") if isinstance(status, dict) else answered.get("code") or status
    if not isinstance(url, str) or not str(status)[:3].isdecimal():
        return None
    said = answered.get("headers") or {}
    said = {one["name"]: one["value"] for one in said} if isinstance(said, list) else said
    headers = {
        str(key).lower(): ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for key, value in said.items()
    }
    body = _unpacked(_body(answered), headers.pop("content-encoding", ""))
    url = re.sub(r"<[^>]*>", "x", url if url.startswith("http") else f"http://{url}")
    streamed = body.lstrip().startswith((b"data:", b"event:")) or "stream" in headers.get("content-type", "")
    return Recorded(
        file=name,
        row={"stream_response": "1" if streamed else "0"},
        method=str(asked.get("method", "POST")).upper(),
        url=url,
        request=_body(asked) or None,
        status=int(str(status)[:3]),
        headers=headers,
        body=body,
    )


def _body(message: Mapping[str, Any]) -> bytes:
    body = next((message[key] for key in ("body", "content", "postData") if message.get(key)), None)
    if isinstance(body, dict):
        if "base64_string" in body:
            return base64.b64decode(body["base64_string"])
        body = body.get("string", body.get("text"))
    body = message.get("parsed_body") if body is None else body
    if body is None or isinstance(body, bytes):
        return body or b""
    return body.encode("utf-8", "surrogatepass") if isinstance(body, str) else json.dumps(body).encode()


def _unpacked(body: bytes, encoding: str) -> bytes:
    if body.startswith(b"\x1f\x8b"):
        return gzip.decompress(body)
    if encoding == "br" and not body.lstrip().startswith((b"{", b"[", b"data:", b"event:")):
        import brotli

        try:
            return bytes(brotli.decompress(body))
        except brotli.error:
            pass
    return body


def _documents(body: bytes) -> list[dict[str, Any]]:
    """Return the objects of an answer: its body, or each event of a stream in order."""
    try:
        whole = json.loads(body)
    except ValueError:
        whole = None
    if isinstance(whole, dict | list):
        return [one for one in (whole if isinstance(whole, list) else [whole]) if isinstance(one, dict)]
    found = []
    for line in _frames(body) if body[:1] == b"\0" else body.splitlines():
        try:
            found.append(json.loads(line.removeprefix(b"data:")))
        except ValueError:
            continue
    return [one for one in found if isinstance(one, dict)]


def _frames(body: bytes) -> Iterator[bytes]:
    """Yield the payloads of an AWS event stream."""
    at = 0
    while at + 16 <= len(body):
        total, headers = struct.unpack(">II", body[at : at + 8])
        if total < 16:
            return
        yield body[at + 12 + headers : at + total - 4]
        at += total


def counted(path: str, body: bytes) -> Counts | None:
    """Return the tokens that an answer reports, None where this path or its answer says none that are known here."""
    documents = _documents(body)
    if _COUNTS_ONLY.search(path):
        return None
    if path.endswith((":generateContent", ":streamGenerateContent")):
        return _of(_last(documents, "usageMetadata"), _gemini)
    if path.endswith("completions"):
        counts = _of(_last(documents, "usage") or _last(documents, "x_groq", "usage"), _chat)
        if counts and (google := _within_any(documents, "usageMetadata")):  # a gateway shows what its provider counted
            _, _, _, output, thoughts = _gemini(google)
            counts |= {"output": output, "reasoning": thoughts if thoughts is not None else counts["reasoning"]}
        return counts
    if path.endswith("/responses"):
        return _of(_last(documents, "response", "usage") or _last(documents, "usage"), _responses)
    if path.endswith("/v1/messages"):
        merged: dict[str, Any] = {}
        for one in documents:
            usage = _at(one, "message", "usage") or one.get("usage") or {}
            merged |= {key: value for key, value in usage.items() if value is not None}
        over = len(documents) == 1 or any(one.get("type") == "message_delta" for one in documents)
        return _of(merged if over else None, _anthropic)
    if path.endswith(("/converse", "/converse-stream")):
        return _of(_last(documents, "usage"), _converse)
    if path.endswith("/v1/embeddings"):
        return _of(_last(documents, "usage"), _embedded)
    if path.endswith(("/api/chat", "/api/generate")):
        return _of(next((one for one in documents if one.get("done")), None), _ollama)
    return None


def _at(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _within_any(value: Any, key: str) -> dict[str, Any] | None:
    """Return the last object that stands under `key` at any depth."""
    inner = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    found = [one for one in (_within_any(one, key) for one in inner) if one]
    own = value.get(key) if isinstance(value, dict) else None
    return own if isinstance(own, dict) else found[-1] if found else None


def _last(documents: list[dict[str, Any]], *keys: str) -> dict[str, Any] | None:
    found = [usage for one in documents if isinstance(usage := _at(one, *keys), dict) and usage]
    return found[-1] if found else None


def _of(usage: dict[str, Any] | None, read: Any) -> Counts | None:
    return None if usage is None else dict(zip(_CELLS, read(usage), strict=True))


def _sum(*counts: Any) -> int | None:
    known = [count for count in counts if type(count) is int]
    return sum(known) if known else None


def _first(*counts: Any) -> int | None:
    return next((count for count in counts if type(count) is int), None)


def _within(part: int | None, whole: int | None) -> int | None:
    """Return a part of a total: more than all of it is stored as all of it."""
    return part if part is None or whole is None else min(part, whole)


def _gemini(usage: dict[str, Any]) -> tuple[int | None, ...]:
    thoughts = usage.get("thoughtsTokenCount")
    given = _sum(usage.get("promptTokenCount"), usage.get("toolUsePromptTokenCount"))
    output = _sum(usage.get("candidatesTokenCount"), thoughts)
    if output is None and given is not None and usage.get("totalTokenCount") == given:  # blocked: nothing was generated
        output = 0
    return given, usage.get("cachedContentTokenCount"), None, output, thoughts


def _chat(usage: dict[str, Any]) -> tuple[int | None, ...]:
    given, made, total = (usage.get(f"{name}_tokens") for name in ("prompt", "completion", "total"))
    details, of_output = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    thought = _first(_at(of_output, "reasoning_tokens"), usage.get("reasoning_tokens"))
    if thought and _sum(given, made, thought) == total:  # xAI: reasoning stands beside the completion
        made = _sum(made, thought)
    beside = (total or 0) - (given or 0) - (made or 0)
    if beside > 0 and thought is None and details is None:  # Gemini: the total alone holds what was thought
        made, thought = _sum(made, beside), beside
    if "prompt_audio_seconds" in usage and total is not None:  # Mistral: audio stands beside the prompt
        given = total - (made or 0)
    read = _first(
        _at(details, "cached_tokens"),
        usage.get("prompt_cache_hit_tokens"),
        usage.get("cached_tokens"),
        usage.get("num_cached_tokens"),
        usage.get("cache_read_input_tokens"),
    )
    written = _first(_at(details, "cache_write_tokens"), usage.get("cache_creation_input_tokens"))
    return given, _within(read, given), written, made, _within(thought, made)


def _responses(usage: dict[str, Any]) -> tuple[int | None, ...]:
    details = usage.get("input_tokens_details")
    thought = _at(usage.get("output_tokens_details"), "reasoning_tokens")
    written = _at(details, "cache_write_tokens")
    return usage.get("input_tokens"), _at(details, "cached_tokens"), written, usage.get("output_tokens"), thought


def _anthropic(usage: dict[str, Any]) -> tuple[int | None, ...]:
    read, written = usage.get("cache_read_input_tokens"), usage.get("cache_creation_input_tokens")
    thought = _at(usage.get("output_tokens_details"), "thinking_tokens")
    return _sum(usage.get("input_tokens"), read, written), read, written, usage.get("output_tokens"), thought


def _converse(usage: dict[str, Any]) -> tuple[int | None, ...]:
    read, written = usage.get("cacheReadInputTokens"), usage.get("cacheWriteInputTokens")
    return _sum(usage.get("inputTokens"), read, written), read, written, usage.get("outputTokens"), None


def _embedded(usage: dict[str, Any]) -> tuple[int | None, ...]:
    return _first(usage.get("prompt_tokens"), usage.get("total_tokens")), None, None, 0, None


def _ollama(last: dict[str, Any]) -> tuple[int | None, ...]:
    return last.get("prompt_eval_count"), None, None, last.get("eval_count"), None


def main() -> None:
    """Replay, compare, print; exit 1 if a cell differs or a counted call has no row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="+", type=Path)
    parser.add_argument("--list", type=int, default=20, help="how many differing cells to print")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    replay = Replay(arguments.seed)
    wrong: list[str] = []
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    with tempfile.TemporaryDirectory() as folder, tf.instrument(Path(folder) / "runs.db", task="recorded") as handle:
        store = sqlite3.connect(f"file:{folder}/runs.db?mode=ro", uri=True)
        for checkout in arguments.checkouts:
            tally = sums[checkout.name]
            for one in exchanges(checkout):
                said = counted(unquote(urlsplit(one.url).path), one.body) if one.method == "POST" else None
                tally.update(exchanges=1, counted=said is not None)
                if said is None:
                    continue
                replay.send(one)
                handle.flush(60)
                rows = store.execute(_SQL, (one.file,)).fetchall()
                found = dict(zip(_CELLS, rows[0], strict=True)) if len(rows) == 1 else dict.fromkeys(_CELLS, -1)
                differing = [name for name in _CELLS if said[name] != found[name]]
                tally.update(cells=len(_CELLS), rows=len(rows), differ=len(differing))
                at = f"{checkout.name}/{one.file} {urlsplit(one.url).path}"
                wrong += [f"{at} {name}: body {said[name]}, store {found[name]}" for name in differing]
    names = ("exchanges", "counted", "rows", "cells", "differ")
    print(f"{'checkout':<36}" + "".join(f"{name:>11}" for name in names))
    for checkout_name, tally in (*sums.items(), ("all", sum(sums.values(), Counter()))):
        print(f"{checkout_name:<36}" + "".join(f"{tally[name]:>11,}" for name in names))
    print(*wrong[: arguments.list], sep="\n")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
