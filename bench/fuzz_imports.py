"""Damaged logs of every importer against `import_paths` and the commands that read a store: nothing may raise.

    python bench/fuzz_imports.py [--seconds 300] [--seed 1] [--logs ../shared/data/logs]

Each round takes a few of the tests' samples (and small real logs, if there are), damages some of them (cut, other
order, lines twice, bytes swapped, foreign lines, deep nesting, huge numbers, other encodings), packs some and cuts the
packing, and imports them as one folder beside an undamaged file. It checks that nothing but our own errors is raised,
that the undamaged file's calls are all there, that a broken line put into a good file is named with file and line and
costs nothing else, that no part is above its total, and that a second import adds nothing. Every few rounds the
commands read the store.
"""

import argparse
import copy
import gzip
import io
import json
import lzma
import random
import sqlite3
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.importers.test_damaged_logs import SAMPLES as LOGS
from tests.importers.test_exports import write
from tests.importers.test_otlp_proto import calls as otlp_calls
from tests.importers.test_otlp_proto import four_bytes, message
from tests.importers.test_span_fuzz import FILES as TRACES
from tests.importers.traces import request, session

from tokenflation.cli.main import _tokenflation
from tokenflation.sdk.errors import TokenflationError
from tokenflation.sdk.importers import import_paths

HERE = Path(__file__).resolve().parents[1]
_SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
BESIDE = (json.dumps(session(request(0.0), request(9.0), id="beside")) + "\n").encode()
BROKEN = (b"{", b"nonsense", b"[1, 2]", b"7", b'{"a": \xff}', b'"x"', b"[" * 100_000, b'{"a":' * 100_000, b"\xe9t\xe9",
          b'{"a": NaN}', b'{"a": 1e999}x', b"\0\0\0", b'{"a": "\\ud800', b"{" + b" " * 100_000, b"null")  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**53, 2**63 - 1, 2**63, 2**64, -(2**63), -(2**70), 10**400, 0.5, -0.0, 1e308, 5e-324,
    float("nan"), float("inf"), "", "7", "x" * 70_000, "\ud800", "\0", "2026-01-01", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "2026-13-45", [], {}, [[]], [None, 1, "x"], {"a": None}, {"": {}}, "assistant", "tool_use", "error",
)  # fmt: skip
COMMANDS = (
    ("info",), ("info", "--json"), ("tasks",), ("profile",), ("profile", "--json", "--fleet"), ("profile", "--by", "agent"), ("tree",),
    ("tree", "--json"), ("structure",), ("structure", "--per", "tool", "--json"), ("structure", "--per", "flag", "--csv"),
    ("structure", "--per", "run", "--csv"), ("context",), ("context", "--table", "steps", "--csv"), ("context", "--table", "runs", "--json"),
    ("cache",), ("cache", "--table", "ttl", "--json"), ("inflation",), ("inflation", "--json"),
)  # fmt: skip


def seeds(logs: Path | None) -> dict[str, bytes]:
    """Return files by name: the tests' samples, and real logs below 200 kB."""
    found = {name: text.encode() for name, text in LOGS.items()}
    found |= {
        f"{name}.jsonl": "\n".join(json.dumps(one) for one in records).encode() for name, records in TRACES.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in ("langfuse", "langsmith", "phoenix"):
            found[f"{name}.csv"] = write(Path(folder, "x.csv"), TRACES[name], "csv").read_bytes()
            found[f"{name}.json"] = write(Path(folder, "x.json"), TRACES[name], "json").read_bytes()
    found["otlp.bin"] = four_bytes(message(*otlp_calls(1, 2)), message(*otlp_calls(3)))
    for archive in sorted(logs.rglob("*.tar.xz")) if logs else ():
        with tarfile.open(archive) as tar:
            members = [one for one in tar if one.isfile() and 0 < one.size < 200_000]
            for member in members[:12]:
                stream = tar.extractfile(member)
                assert stream is not None
                found[f"real-{archive.name[:4]}-{Path(member.name).name}"] = stream.read()
    return found


class Damage:
    """Damages content, the same way for the same seed."""

    def __init__(self, number: int, found: dict[str, bytes]) -> None:
        self.rng, self.found = random.Random(number), found

    def content(self, raw: bytes) -> tuple[str, bytes]:
        """Return the name of one kind of damage, and what it makes of the content."""
        acts: tuple[Callable[[bytes], bytes], ...] = (
            self.cut, self.order, self.twice, self.swap, self.mixed, self.tree, self.tree, self.tree, self.encoded, self.strange,
        )  # fmt: skip
        act = self.rng.choice(acts)
        return act.__name__, act(raw)

    def cut(self, raw: bytes) -> bytes:
        """Cut it at either end."""
        at = self.rng.randrange(len(raw) + 1)
        return raw[:at] if self.rng.random() < 0.8 else raw[at:]

    def order(self, raw: bytes) -> bytes:
        """Shuffle its lines."""
        lines = raw.split(b"\n")
        self.rng.shuffle(lines)
        return b"\n".join(lines)

    def twice(self, raw: bytes) -> bytes:
        """Repeat some of its lines."""
        return b"\n".join(line for line in raw.split(b"\n") for _ in range(self.rng.choice((1, 1, 2, 3))))

    def swap(self, raw: bytes) -> bytes:
        """Change, drop and insert bytes."""
        changed = bytearray(raw)
        for _ in range(self.rng.choice((1, 2, 5, 40))):
            at = self.rng.randrange(len(changed) + 1)
            act = self.rng.random()
            if act < 0.5 and changed:
                changed[at % len(changed)] = self.rng.randrange(256)
            elif act < 0.75:
                del changed[at : at + self.rng.randrange(30)]
            else:
                changed[at:at] = self.rng.choice((b"\0", b"\r", b"\n", b'"', b"\xff", self.rng.randbytes(4)))
        return bytes(changed)

    def mixed(self, raw: bytes) -> bytes:
        """Put lines of another file between its own."""
        lines, other = raw.split(b"\n"), self.rng.choice(list(self.found.values())).split(b"\n")
        for line in self.rng.sample(other, min(len(other), 6)):
            lines.insert(self.rng.randrange(len(lines) + 1), line)
        return b"\n".join(lines)

    def encoded(self, raw: bytes) -> bytes:
        """Write it in another encoding or with other ends of lines."""
        text = raw.decode("utf-8", "replace")
        ways: tuple[Callable[[], bytes], ...] = (
            lambda: b"\xef\xbb\xbf" + raw,
            lambda: raw.replace(b"\n", b"\r\n"),
            lambda: raw.replace(b"\n", b"\r"),
            lambda: text.encode("utf-16"),
            lambda: text.replace("o", "\xf6").encode("latin-1", "replace"),
            lambda: raw.replace(b"\n", b"\n\0"),
            lambda: b"\n" * 70_000 + raw,
            lambda: raw + b"\0" * 4096,
        )
        return self.rng.choice(ways)()

    def strange(self, raw: bytes) -> bytes:
        """Put a line in that no format knows."""
        lines = raw.split(b"\n")
        lines.insert(self.rng.randrange(len(lines) + 1), self.rng.choice(BROKEN))
        return b"\n".join(lines)

    def tree(self, raw: bytes) -> bytes:
        """Change values in one of its JSON documents."""
        lines = raw.split(b"\n")
        at = self.rng.randrange(len(lines))
        for text, whole in ((lines[at], False), (raw, True)):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                continue
            for _ in range(self.rng.choice((1, 1, 3))):
                self._spoil(value)
            lines = (
                [json.dumps(value).encode()] if whole else [*lines[:at], json.dumps(value).encode(), *lines[at + 1 :]]
            )
            return b"\n".join(lines)
        return self.swap(raw)

    def _spoil(self, value: Any) -> None:
        while isinstance(value, dict | list) and value:
            key = self.rng.choice(sorted(value) if isinstance(value, dict) else range(len(value)))
            if isinstance(value[key], dict | list) and value[key] and self.rng.random() < 0.8:
                value = value[key]
                continue
            act = self.rng.random()
            if act < 0.15:
                del value[key]
            elif act < 0.25 and isinstance(value, dict):
                value[key] = json.loads(json.dumps(value[self.rng.choice(sorted(value))]))
            else:
                value[key] = copy.deepcopy(self.rng.choice(VALUES))
            return

    def packed(self, name: str, content: bytes) -> tuple[str, bytes]:
        """Pack a file, now and then cut or damaged."""
        way = self.rng.choice(("", "", "", "gz", "xz", "zip", "tar", "tgz"))
        if not way:
            return name, content
        made = {
            "gz": lambda: gzip.compress(content), "xz": lambda: lzma.compress(content), "zip": lambda: _zip(name, content),
            "tar": lambda: _tar(name, content, "w"), "tgz": lambda: _tar(name, content, "w:gz"),
        }[way]()  # fmt: skip
        if self.rng.random() < 0.5:
            made = self.cut(made) if self.rng.random() < 0.6 else self.swap(made)
        return f"{name}.{way}", made


def _zip(name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
        archive.writestr("../../" + name, content)
    return target.getvalue()


def _tar(name: str, content: bytes, mode: Any) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode) as tar:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def one_round(damage: Damage, number: int, counts: Counter[str], found: dict[str, bytes]) -> None:
    """Make a folder of damaged files, import it twice, and look at what came of it."""
    rng = damage.rng
    with tempfile.TemporaryDirectory(dir=_SHM) as made:
        folder, store = Path(made, "logs"), Path(made, "runs.db")
        folder.mkdir()
        (folder / "zz-beside.jsonl").write_bytes(BESIDE)
        for place in range(rng.choice((1, 1, 2, 4))):
            name, content = rng.choice(list(found.items()))
            for _ in range(rng.choice((0, 1, 1, 2, 4))):
                act, content = damage.content(content)
                counts[act] += 1
            name, content = damage.packed(f"{place}-{name}", content)
            (folder / name).write_bytes(content)
        summary = import_paths([folder], store)
        for reason in (*summary.broken, *summary.foreign, *summary.skipped):
            counts[f"reason: {reason}"] += 1
        if "not understood to its end" in summary.foreign:
            counts["NOT UNDERSTOOD"] += 1
            print([one for one in summary.problems if one.reason == "not understood to its end"], number, flush=True)
        assert summary.calls >= 2
        with closing(sqlite3.connect(store)) as connection:
            beside = connection.execute("SELECT count(*) FROM calls WHERE task_id LIKE 'beside%'").fetchone()[0]
            assert beside >= 2, f"the undamaged file lost calls: {beside}"
            _check_rows(connection)
        again = import_paths([folder], store)
        assert (again.tasks, again.grown, again.calls) == (0, 0, 0), f"a second import added {again}"
        if not number % 8:
            for arguments in rng.sample(COMMANDS, 4):
                result = CliRunner().invoke(_tokenflation, [arguments[0], str(store), *arguments[1:]])
                if result.exception is not None and not isinstance(result.exception, SystemExit | TokenflationError):
                    raise AssertionError(f"{arguments}") from result.exception
                counts["commands"] += 1


def _check_rows(connection: sqlite3.Connection) -> None:
    columns = ("cache_read_tokens", "cache_write_tokens")
    for part, total in [*((one, "input_tokens") for one in columns), ("reasoning_tokens", "output_tokens")]:
        bad = connection.execute(
            f"SELECT call_id, {part}, {total} FROM calls WHERE {part} > {total} OR {part} < 0"
        ).fetchall()
        assert not bad, bad
    bad = connection.execute(
        "SELECT call_id FROM calls WHERE ended_at_ns < started_at_ns OR input_tokens < 0 OR duration_s < 0"
    )
    assert not bad.fetchall()
    bad = connection.execute("SELECT call_id, typeof(input_tokens), typeof(started_at_ns) FROM calls WHERE typeof(input_tokens) "
                             "NOT IN ('integer', 'null') OR typeof(started_at_ns) != 'integer'")  # fmt: skip
    assert not bad.fetchall()


def broken_lines(damage: Damage, counts: Counter[str], found: dict[str, bytes]) -> None:
    """Put broken lines into a good file of lines: each is named by file and line, and the calls stay what they were."""
    name, content = damage.rng.choice([(name, raw) for name, raw in found.items() if name.endswith(".jsonl")])
    lines = content.strip(b"\n").split(b"\n")
    with tempfile.TemporaryDirectory(dir=_SHM) as made:
        whole, spoilt = Path(made, "a.jsonl"), Path(made, "b", "a.jsonl")
        spoilt.parent.mkdir()
        whole.write_bytes(b"\n".join(lines))
        put: list[int] = []
        for _ in range(damage.rng.choice((1, 2, 5))):
            at = damage.rng.randrange(1, len(lines) + 1)
            lines.insert(at, damage.rng.choice(BROKEN))
            put = [*(one + (one >= at) for one in put), at]
        spoilt.write_bytes(b"\n".join(lines))
        try:
            before = import_paths([whole], Path(made, "1.db"))
        except TokenflationError:
            counts["a real file that holds no run"] += 1
            return
        after = import_paths([spoilt], Path(made, "2.db"))
        named = {one.where for one in after.problems}
        missing = [at + 1 for at in put if f"{spoilt}:{at + 1}" not in named]
        assert not missing, f"{name}: lines {missing} are not named; named: {sorted(named)[:8]}"
        assert (after.calls, after.input_tokens, after.output_tokens) == (
            before.calls,
            before.input_tokens,
            before.output_tokens,
        ), name
        rows = [
            sorted(
                sqlite3.connect(Path(made, f"{n}.db")).execute("SELECT call_id, input_tokens, depth, step FROM calls")
            )
            for n in (1, 2)
        ]
        assert rows[0] == rows[1], name
        counts["broken lines named"] += len(put)


def main() -> None:
    """Run rounds until the time is over; exit 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="one round, by its number")
    parser.add_argument("--logs", type=Path, default=HERE.parent / "shared" / "data" / "logs")
    given = parser.parse_args()
    found = seeds(given.logs if given.logs.is_dir() else None)
    counts: Counter[str] = Counter()
    failures: dict[str, int] = {}
    slowest = (0.0, 0)
    started, number = time.monotonic(), given.only or 0
    while time.monotonic() - started < given.seconds:
        damage = Damage(given.seed * 1_000_003 + number, found)
        began = time.monotonic()
        try:
            if number % 5:
                one_round(damage, number, counts, found)
            else:
                broken_lines(damage, counts, found)
        except Exception:  # noqa: BLE001  (any exception at all is the finding)
            text = traceback.format_exc()
            key = text[-300:]
            if key not in failures:
                print(f"--- seed {given.seed} round {number}\n{text[-2500:]}", flush=True)
            failures[key] = failures.get(key, 0) + 1
        slowest = max(slowest, (time.monotonic() - began, number))
        number += 1
        if given.only is not None:
            break
    print(f"{number:,} rounds over {len(found)} files in {time.monotonic() - started:.0f} s")
    print(f"slowest: round {slowest[1]} in {slowest[0]:.1f} s")
    for what, count in counts.most_common():
        print(f"  {what:<60}{count:>8,}")
    print(f"{sum(failures.values())} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
