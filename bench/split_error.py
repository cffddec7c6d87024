"""How far our split of an input into five parts is from real tokenizers, beside bytes/4 and chars/4.

Two sets. Recorded: requests that providers counted, models with a public vocabulary; the parts are the tokenizer's
counts, and only calls whose counts sum to the provider's are used. Agentic: recorded tau-bench, SWE-agent and OpenHands
conversations sent step by step, counted with eleven vocabularies that stand for eleven models; definitions of tools are
counted as the JSON that open models' templates paste.

Methods: `bytes/4` and `chars/4` of what each part is in the request; `share` of the provider's count in proportion to
those bytes; `prior`, our split before it has learnt (`split_method` "bytes"); `learnt`, ours as it comes: learnt from
the calls before alone (agentic), or from the other half of the calls (recorded).

By content kind, apart from any call: the first estimate of a text, before a provider's count scales it, beside the
texts' o200k counts. Python, JavaScript, JSON and Markdown are of the running installation; more kinds come from
`--texts`, a folder whose files are one kind each, named by the file.

    python bench/split_error.py [--data ../shared/data] [--texts FOLDER] [--fit]

`--fit` prints the weights of `factors.tokens_by_kind` instead: least squares on the same texts. They share nothing
with the recorded calls.
"""

import argparse
import json
import lzma
import random
import sysconfig
import tarfile
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from csv import DictReader
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tokenflation.sdk.records import Reading, Usage
from tokenflation.sdk.tokens.exact import ExactCounter, vocabulary_of
from tokenflation.sdk.tokens.factors import FEATURES, counts, tokens_by_kind
from tokenflation.sdk.tokens.parts import Splitter
from tokenflation.sdk.wire.anatomy import anatomy
from tokenflation.sdk.wire.dialects import DIALECTS
from tokenflation.sdk.wire.texts import texts

PARTS = ("system", "tool_definition", "resent", "tool_result", "new")
METHODS = ("bytes/4", "chars/4", "share", "prior", "learnt")
MODELS = {
    "o200k": "gpt-4o", "cl100k": "gpt-4-turbo", "llama3": "llama-3.3-70b", "deepseek_v3": "deepseek-v3",
    "qwen3": "qwen3-32b", "mistral_v3": "mistral-small", "gemma3": "gemma-3-27b", "gemma4": "gemma-4",
    "kimi_k2": "kimi-k2", "glm4": "glm-4", "gpt_oss": "gpt-oss-120b",
}  # fmt: skip
Row = dict[str, Sequence[float]]


@dataclass
class Case:
    """One call: what was sent, how many leading messages are re-sent, and the tokenizer's parts."""

    name: str
    reading: Reading
    sent: int
    before: str | None
    truth: Sequence[int]


def reading_of(api: str, body: Mapping[str, Any], model: str, total: int) -> Reading:
    shape = DIALECTS[api][0].request
    usage = Usage(input_tokens=total)
    return Reading(api=api, provider="bench", model=model, usage=usage, **anatomy(body, shape, key=b"bench"))


def regions(reading: Reading, sent: int) -> list[list[bytes]]:
    """Return the canonical pieces of the five parts, in the order of PARTS."""
    at = reading.system_bytes
    end = at + reading.tool_definition_bytes
    groups: list[list[bytes]] = [[reading.prompt[:at]], [reading.prompt[at:end]], [], [], []]
    for position, (size, role) in enumerate(zip(reading.message_bytes, reading.message_roles, strict=True)):
        group = 2 if position < sent else 3 if role == "tool" else 4
        groups[group].append(reading.prompt[end : end + size])
        end += size
    return [[piece for piece in group if piece] for group in groups]


def counted(counter: ExactCounter, reading: Reading, sent: int) -> list[int]:
    """Return the tokenizer's counts of the five parts; tool definitions as their JSON."""
    groups = regions(reading, sent)
    found = [counter.tokens(texts(group), len(group)) for group in groups]
    found[1] = sum(counter.tokens([piece.decode()]) for piece in groups[1])
    return found


def naive(reading: Reading, sent: int) -> tuple[list[float], list[float]]:
    """Return bytes/4 and chars/4 of each part."""
    groups = regions(reading, sent)
    sizes = [sum(map(len, group)) / 4 for group in groups]
    return sizes, [sum(len(piece.decode("utf-8", "replace")) for piece in group) / 4 for group in groups]


def measured(cases: Sequence[Case], learnt: Splitter) -> Iterator[Row]:
    """Yield each case's truth and what each method says; `learnt` goes on learning as a recorder does."""
    plain = Splitter()
    plain.learning = False
    for case in cases:
        total = sum(case.truth)
        row: Row = {"truth": case.truth}
        row["bytes/4"], row["chars/4"] = naive(case.reading, case.sent)
        row["share"] = [total * size / sum(row["bytes/4"]) for size in row["bytes/4"]]
        for name, splitter in (("prior", plain), ("learnt", learnt)):
            parts = splitter.take(case.reading, case.name, sent=case.sent, continues=case.before)
            assert parts is not None
            row[name] = [getattr(parts, part) for part in PARTS]
            assert sum(row[name]) == total
        yield row


def recorded(data: Path) -> Iterator[tuple[str, Case]]:
    """Yield (vocabulary, case) of the recorded requests whose tokenizer counts explain the provider's."""
    with (data / "wire/truth.csv").open(encoding="utf-8") as file:
        totals = {row["file"]: row for row in DictReader(file)}
    counters: dict[str, ExactCounter] = {}
    with lzma.open(data / "wire/exchanges.jsonl.xz", "rt", encoding="utf-8") as lines:
        for line in lines:
            exchange = json.loads(line)
            found, body = totals.get(exchange["file"]), exchange["request_body"]
            if not found or not found["input_total"] or type(body) is not dict or "previous_response_id" in body:
                continue
            model = found["model_response"] or found["model_request"]
            vocabulary = vocabulary_of(model)
            if vocabulary is None or exchange["api"] not in ("openai.chat", "openai.responses"):
                continue
            counter = counters.setdefault(vocabulary, ExactCounter(vocabulary))
            total = int(float(found["input_total"]))
            reading = reading_of(exchange["api"], body, model, total)
            roles = reading.message_roles
            sent = next((at + 1 for at in range(len(roles) - 1, -1, -1) if roles[at] == "assistant"), 0)
            truth = counted(counter, reading, sent)
            # What definitions become is the provider's secret: they are what the counted rest leaves.
            rest = total - (sum(truth) - truth[1])
            fits = 0.4 * truth[1] <= rest <= 1.5 * truth[1] if truth[1] else abs(rest) <= max(4, 0.01 * total)
            if reading.message_bytes and fits:
                truth[1] = rest if truth[1] else 0
                truth[4] += total - sum(truth)
                yield vocabulary, Case(exchange["file"], reading, sent, None, truth)


def conversations(data: Path) -> Iterator[tuple[str, list[dict[str, Any]], list[Any]]]:
    """Yield (name, messages, tools) of recorded agent runs in OpenAI's chat format."""
    with lzma.open(data / "logs/tau_bench_gpt4o_airline_tasks_0_24.json.xz", "rt", encoding="utf-8") as file:
        for number, run in enumerate(json.load(file)):
            yield f"tau {number}", run["traj"], []
    for name in ("swe_agent", "openhands"):
        with tarfile.open(data / f"logs/{name}.tar.xz") as archive:
            for member in archive:
                if not member.isfile() or not member.name.endswith((".traj", ".traj.json", ".json")):
                    continue
                log = json.load(archive.extractfile(member))  # type: ignore[arg-type]
                if type(log) is not dict:
                    continue
                found = log.get("history") or log.get("messages") or []
                keys = ("role", "content", "tool_calls", "tool_call_id", "name")
                messages = [{key: one[key] for key in keys if one.get(key) is not None} for one in found]
                if len(messages) > 1 and all(type(one.get("role")) is str for one in messages):
                    yield f"{name} {member.name}", messages, log.get("tools") or []


def agentic(data: Path, model: str, counter: ExactCounter) -> list[Case]:
    """Return the calls of all conversations in order, each extending the one before."""
    cases = []
    for name, messages, tools in conversations(data):
        before, answered = None, 0
        for at, message in enumerate(messages[1:], 1):
            if message["role"] != "assistant" or messages[at - 1]["role"] == "assistant":
                continue
            body = {"model": model, "messages": messages[:at]} | ({"tools": tools} if tools else {})
            reading = reading_of("openai.chat", body, model, 0)
            leading = at - len(reading.message_bytes)
            sent = max(0, answered + 1 - leading) if before else 0
            truth = counted(counter, reading, sent)
            reading = reading_of("openai.chat", body, model, sum(truth))
            cases.append(Case(f"{name}/{at}", reading, sent, before, truth))
            before, answered = f"{name}/{at}", at
    return cases


def table(title: str, rows: Sequence[Row]) -> None:
    """Print, by part and method, bias and mean absolute error in % of the part, and the error in % of the input."""
    whole = sum(sum(row["truth"]) for row in rows)
    print(f"\n{title}: {len(rows)} calls, {whole:,} tokens. bias / error in % of the part (error in % of the input)")
    print(f"{'part':16}{'share':>7}" + "".join(f"{method:>23}" for method in METHODS))
    for number, part in enumerate((*PARTS, "all parts")):
        pick = range(5) if part == "all parts" else (number,)
        size = sum(row["truth"][at] for row in rows for at in pick)
        if not size:
            continue
        cells = []
        for method in METHODS:
            off = [row[method][at] - row["truth"][at] for row in rows for at in pick]
            error = sum(map(abs, off))
            cells.append(f"{100 * sum(off) / size:+8.1f} /{100 * error / size:5.1f} ({100 * error / whole:4.1f})")
        print(f"{part:16}{100 * size / whole:6.1f}%" + "".join(f"{cell:>23}" for cell in cells))


def error(row: Row, method: str) -> float:
    """Return the absolute errors of a method's parts, added up, in tokens."""
    return sum(abs(one - true) for one, true in zip(row[method], row["truth"], strict=True))


def snippets(folder: Path | None) -> list[tuple[str, str]]:
    """Return (kind, text) of 64 to 4,096 characters, cut at random (seed 3) from files of this installation."""
    rng = random.Random(3)
    roots = [Path(path) for path in (sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"))]
    found = []
    for kind, root, pattern in (
        ("Python", roots[0], "*.py"), ("JavaScript", roots[1], "**/*.js"), ("JSON", roots[1], "**/*.json"),
        ("Markdown", roots[1], "**/*.md"), ("metadata", roots[1], "*/METADATA"),
    ):  # fmt: skip
        paths = sorted(root.glob(pattern))
        found += [(kind, path) for path in rng.sample(paths, min(60, len(paths)))]
    found += [(path.stem, path) for path in sorted(folder.iterdir()) for _ in range(50)] if folder else []
    cut = []
    for kind, path in found:
        text = path.read_text(encoding="utf-8", errors="replace")
        for _ in range(4):
            length = int(2 ** rng.uniform(6, 12))
            at = rng.randrange(max(1, len(text) - length))
            cut += [(kind, text[at : at + length])] if len(text) > 64 else []
    return cut


def by_kind(folder: Path | None) -> None:
    """Print how far estimates of single texts are from o200k counts."""
    counter = ExactCounter("o200k_base")
    seen: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    for kind, text in snippets(folder):
        sizes = len(text.encode("utf-8", "replace")) / 4, len(text) / 4
        seen[kind].append((counter.tokens([text]), *sizes, sum(tokens_by_kind([text]))))
    print("\nby content kind, o200k, no count to scale to: bias / mean absolute error in % of the tokens")
    print(f"{'kind':20}{'texts':>6}" + "".join(f"{name:>16}" for name in ("bytes/4", "chars/4", "estimate")))
    for kind, rows in sorted(seen.items()):
        whole = sum(row[0] for row in rows)
        offs = [[row[at] - row[0] for row in rows] for at in (1, 2, 3)]
        cells = [f"{100 * sum(off) / whole:+.1f} / {100 * sum(map(abs, off)) / whole:.1f}" for off in offs]
        print(f"{kind:20}{len(rows):>6}" + "".join(f"{cell:>16}" for cell in cells))


def fit(folder: Path | None) -> None:
    """Print the least-squares weight of each of `FEATURES` for o200k; every kind weighs the same."""
    counter = ExactCounter("o200k_base")
    cut = snippets(folder)
    many = Counter(kind for kind, _ in cut)
    x = np.array([counts([text]) for _, text in cut])[:, :-1]  # no payloads here
    y = np.array([counter.tokens([text]) for _, text in cut], dtype=float)
    weights = 1 / (y + 15) / np.sqrt([many[kind] for kind, _ in cut])
    found = np.linalg.lstsq(x * weights[:, None], y * weights, rcond=None)[0]
    for name, weight in zip(FEATURES, found, strict=False):
        print(f"{name:12}{weight:8.3f}")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "shared/data")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--fit", action="store_true")
    arguments = parser.parse_args()
    if arguments.fit:
        fit(arguments.texts)
        return
    by_kind(arguments.texts)
    halves: dict[int, list[Case]] = defaultdict(list)
    for _, case in recorded(arguments.data):
        halves[zlib.crc32(case.name.encode()) % 2].append(case)
    rows = []
    for half in (0, 1):
        learnt = Splitter()
        list(measured(halves[1 - half], learnt))
        learnt.learning = False
        rows += list(measured(halves[half], learnt))
    table("recorded, provider's own counts", rows)
    together = []
    print("\nagentic, error of all parts in % of the input")
    print(f"{'vocabulary':16}" + "".join(f"{method:>10}" for method in METHODS))
    for vocabulary, model in MODELS.items():
        counter = ExactCounter(vocabulary_of(model) or "")
        rows = list(measured(agentic(arguments.data, model, counter), Splitter()))
        together += rows
        whole = sum(sum(row["truth"]) for row in rows)
        errors = [sum(error(row, method) for row in rows) / whole for method in METHODS]
        print(f"{vocabulary:16}" + "".join(f"{100 * one:>9.2f}%" for one in errors))
    table("agentic, all vocabularies", together)


if __name__ == "__main__":
    main()
