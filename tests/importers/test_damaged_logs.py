"""Damaged, mixed and foreign files: a clear report, never a traceback, and nothing lost of the good records."""

import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.importers.agent_logs import ATIF, CODEX, GEMINI, TRACELAB, as_lines
from tests.importers.claude_logs import STORY
from tests.importers.opencode_logs import story
from tests.importers.test_cline import LEAD as CLINE
from tests.importers.test_copilot import LOG as COPILOT
from tests.importers.traces import request, session

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers import FORMATS, ImportSummary, import_paths
from tokenflation.sdk.importers.files.beginnings import first_keys, line_objects
from tokenflation.sdk.importers.files.formats import Head

AIDER = [
    {"event": name, "properties": {"main_model": "p/m", "prompt_tokens": 5, "completion_tokens": 1}, "user_id": "u",
     "time": 1755100000 + second}
    for second, name in enumerate(["launched", "message_send_starting", "message_send", "message_send", "exit"])
]  # fmt: skip
TAU = [
    {"task_id": n, "trial": 0, "reward": 1.0, "info": {}, "traj": [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c", "content": "r"}, {"role": "assistant", "content": "a"}]}
    for n in range(3)
]  # fmt: skip
INSPECT = {
    "version": 2, "status": "success", "eval": {"eval_id": "e", "run_id": "r", "task": "t"}, "plan": {},
    "samples": [{"id": n, "epoch": 1, "scores": {"match": {"value": "C"}}, "events": [
        {"event": "model", "timestamp": "2026-01-01T00:00:00+00:00", "completed": "2026-01-01T00:00:02+00:00",
         "model": "p/m", "input": [], "output": {"usage": {"input_tokens": 4, "output_tokens": 2, "total_tokens": 6}}}]}
        for n in range(2)],
}  # fmt: skip
OPENHANDS = {
    "messages": [{"role": "user", "content": "q"}], "timestamp": 1757015029.0, "latency_sec": 2.0,
    "response": {"id": "x", "model": "p/m", "choices": [{"finish_reason": "stop", "message": {"role": "assistant"}}],
                 "usage": {"prompt_tokens": 9, "completion_tokens": 1}},
}  # fmt: skip
OPENHANDS_STATE = {
    "id": "conv", "agent": {"kind": "Agent"}, "stats": {"usage_to_metrics": {
        "agent": {"token_usages": [{"model": "m", "prompt_tokens": n, "completion_tokens": 1, "response_id": f"r{n}"}
                                   for n in (5, 9)],
                  "costs": [{"model": "m", "cost": 0.5, "timestamp": 1757015029.0 + n} for n in range(2)],
                  "response_latencies": [{"model": "m", "latency": 0.5, "response_id": "r5"}]},
        "condenser": {"token_usages": [{"prompt_tokens": 4, "completion_tokens": 1, "response_id": "r4"}]}}},
}  # fmt: skip
SWE_AGENT = {
    "environment": "main", "info": {"model_stats": {"api_calls": 1, "tokens_sent": 5}}, "history": [],
    "trajectory": [{"action": "ls -F", "observation": "a", "response": "r", "execution_time": 0.5}],
}  # fmt: skip
SAMPLES: dict[str, str] = {
    "claude.jsonl": as_lines(STORY),
    "codex.jsonl": as_lines(CODEX),
    "cline.json": json.dumps(CLINE, indent=2),
    "copilot.jsonl": as_lines(COPILOT),
    "gemini.jsonl": as_lines(GEMINI),
    "atif.json": json.dumps(ATIF, indent=1),
    "tracelab.jsonl": as_lines(TRACELAB),
    "inspect.json": json.dumps(INSPECT, indent=1),
    "swe.traj": json.dumps(SWE_AGENT, indent=1),
    "mini.traj.json": json.dumps(TAU[0]["traj"], indent=1),
    "openhands.json": json.dumps(OPENHANDS, indent=1),
    "openhands-state.json": json.dumps(OPENHANDS_STATE, indent=1),
    "tau.json": json.dumps(TAU, indent=1),
    "aider.jsonl": as_lines(AIDER),
    "opencode.json": json.dumps(story()[0], indent=2),
    "weka.jsonl": as_lines([session(request(0.0), id="a"), session(request(0.0), id="b")]),
}
CALLS = {
    "claude.jsonl": 4, "codex.jsonl": 3, "gemini.jsonl": 2, "atif.json": 3, "tracelab.jsonl": 2, "inspect.json": 2,
    "swe.traj": 1, "mini.traj.json": 2, "openhands.json": 1, "openhands-state.json": 3, "tau.json": 6, "aider.jsonl": 2, "weka.jsonl": 2,
    "opencode.json": 3, "copilot.jsonl": 5, "cline.json": 3,
}  # fmt: skip

# Stores in memory where there is such a folder: each example makes one, and to write it out would take most of the
# time.
_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
_FUZZ = settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _import(files: dict[str, bytes]) -> tuple[ImportSummary | None, list[Any]]:
    """Import files into a fresh store; return the summary, None if nothing could be taken, and the calls."""
    with tempfile.TemporaryDirectory(dir=_MEMORY) as made:
        folder, store = Path(made) / "logs", Path(made) / "runs.db"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        try:
            summary = import_paths([folder], store)
        except ImportSourceError as raised:
            error = str(raised)
        else:
            error = ""
        if error:
            assert "othing was imported" in error
            assert not store.exists()
            return None, []
        connection = sqlite3.connect(store)
        calls = connection.execute("SELECT call_id, task_id, input_tokens, depth, step FROM calls").fetchall()
        connection.close()
        again = import_paths([folder], store)
        assert (again.tasks, again.grown, again.calls) == (0, 0, 0)
    return summary, calls


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_is_found_by_content_under_any_name(name: str) -> None:
    for file in (name, "something.txt"):
        summary, calls = _import({file: SAMPLES[name].encode()})
        assert summary is not None
        assert (len(calls), summary.broken, summary.foreign) == (CALLS[name], {}, {})


@pytest.mark.parametrize("name", SAMPLES)
def test_a_byte_order_mark_changes_nothing(name: str) -> None:
    assert _import({name: b"\xef\xbb\xbf" + SAMPLES[name].encode()})[1] == _import({name: SAMPLES[name].encode()})[1]


def _tar(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"../deep/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return target.getvalue()


def _zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize("pack", ["xz", "gz", "zst", "tar", "zip", "both"])
def test_packed_files_and_archives_are_read(pack: str) -> None:
    text = SAMPLES["claude.jsonl"].encode()
    if pack == "zst":
        zstd = pytest.importorskip("backports.zstd")
        files = {"a.jsonl.zst": zstd.compress(text)}
    else:
        files = {
            "xz": lambda: {"a.jsonl.xz": lzma.compress(text)},
            "gz": lambda: {"a.jsonl.gz": gzip.compress(text)},
            "tar": lambda: {"a.tar.xz": _tar({"x.jsonl": text})},
            "zip": lambda: {"a.zip": _zip({"x/x.jsonl": text})},
            "both": lambda: {"a.zip": _zip({"x.tar.xz": _tar({"x.jsonl": text})})},
        }[pack]()
    assert _import(files)[1] == _import({"a.jsonl": text})[1]


def test_an_eval_archive_is_read_as_the_log_it_is() -> None:
    members = {"header.json": json.dumps({**INSPECT, "samples": []}).encode()}
    members |= {f"samples/{n}_epoch_1.json": json.dumps(one).encode() for n, one in enumerate(INSPECT["samples"])}  # type: ignore[arg-type, var-annotated]
    whole = _import({"a.json": SAMPLES["inspect.json"].encode()})[1]
    assert sorted(_import({"a.eval": _zip(members)})[1]) == sorted(whole)


def test_what_cannot_be_unpacked_to_its_end_gives_what_could_be_read() -> None:
    whole = SAMPLES["claude.jsonl"].encode() * 40
    summary, calls = _import({"a.jsonl.gz": gzip.compress(whole)[:-30]})
    assert summary is not None
    assert len(calls) == 4
    assert summary.foreign == {"damaged": 1}


@pytest.mark.parametrize(
    "name", ["claude.jsonl", "codex.jsonl", "gemini.jsonl", "tracelab.jsonl", "aider.jsonl", "weka.jsonl"]
)
@_FUZZ
@given(data=st.data())
def test_broken_lines_between_good_ones_are_named_and_cost_nothing_else(name: str, data: st.DataObject) -> None:
    lines = SAMPLES[name].encode().splitlines()
    whole = _import({name: SAMPLES[name].encode()})[1]
    broken = data.draw(
        st.lists(st.sampled_from([b"{", b"nonsense", b"[1, 2]", b"7", b'{"a": \xff}', b'"x"', b"[" * 5000]))
    )
    for one in broken:
        lines.insert(data.draw(st.integers(0, len(lines))), one)
    summary, calls = _import({name: b"\n".join(lines)})
    assert summary is not None
    assert calls == whole
    assert sum(summary.broken.values()) == len(broken)
    assert all(problem.where.rsplit(":", 1)[1].isdigit() for problem in summary.problems)


@pytest.mark.parametrize("name", ["tracelab.jsonl", "weka.jsonl"])
def test_the_end_of_a_record_as_first_line_costs_nothing_else(name: str) -> None:
    text = SAMPLES[name].encode()
    first, _, rest = text.partition(b"\n")
    for at in (1, len(first) // 2, len(first) - 1):
        assert _import({name: text[at:]})[1] == _import({name: rest})[1]


@pytest.mark.parametrize("front", [True, False])
@pytest.mark.parametrize("name", [name for name in SAMPLES if name.endswith(".jsonl")])
def test_a_first_line_longer_than_what_is_looked_at_hides_no_format(name: str, front: bool) -> None:
    first, *rest = SAMPLES[name].splitlines()
    picture, record = {"picture": 'x"' * 100_000}, json.loads(first)
    long = json.dumps(picture | record if front else record | picture)
    assert _import({name: "\n".join([long, *rest]).encode()})[1] == _import({name: SAMPLES[name].encode()})[1]


def test_a_beginning_that_ends_inside_a_text_full_of_quotes_is_gone_through_once() -> None:
    assert first_keys([b'{"a": {"b": 1}, "c": "' + b'x\\"' * 200_000]) == {"a", "c"}


def test_an_event_of_no_known_type_costs_no_call() -> None:
    rows = json.loads(json.dumps(TRACELAB))
    rows[0]["timing_events"][0]["event_type"] = ["user_message"]
    summary, calls = _import({"tracelab.jsonl": as_lines(rows).encode()})
    assert summary is not None
    assert (len(calls), summary.problems) == (2, ())


def test_a_tool_that_ended_before_it_began_has_no_known_end(tmp_path: Path) -> None:
    rows = json.loads(json.dumps(TRACELAB))
    rows[0]["tools"][0]["result_at"] = "2020-01-01T00:00:00Z"
    (tmp_path / "tracelab.jsonl").write_text(as_lines(rows))
    import_paths([tmp_path], tmp_path / "runs.db")
    connection = sqlite3.connect(tmp_path / "runs.db")
    ends = connection.execute("SELECT ended_at_ns IS NULL FROM tool_calls ORDER BY tool_call_id").fetchall()
    connection.close()
    assert ends == [(1,), (0,)]


@pytest.mark.parametrize("spent", [-1, -1e300, 1e300, "1", None])
def test_what_is_no_length_of_time_is_no_duration(spent: Any, tmp_path: Path) -> None:
    call = INSPECT["samples"][0]["events"][0]  # type: ignore[index]
    older = {**call, "completed": None, "output": {"time": spent}, "working_time": spent}
    files = {
        "openhands.json": OPENHANDS | {"latency_sec": spent},
        "inspect.json": INSPECT | {"samples": [{"id": 1, "epoch": 1, "events": [older]}]},
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    assert import_paths([tmp_path], tmp_path / "runs.db").calls == 2
    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("SELECT DISTINCT duration_s FROM calls").fetchall() == [(None,)]
    assert not connection.execute("SELECT 1 FROM calls WHERE started_at_ns > ended_at_ns").fetchall()
    connection.close()


def test_a_document_cut_in_deep_nesting_is_left_out_at_once() -> None:
    deep = b'{"trajectory": [], "environment": ' + b'{"a":' * 200_000
    summary, calls = _import({"deep.traj": deep, "good.jsonl": SAMPLES["claude.jsonl"].encode()})
    assert summary is not None
    assert (len(calls), sum(summary.broken.values())) == (4, 1)


@pytest.mark.parametrize(
    "text",
    [
        *(SAMPLES[name][:-1] for name in SAMPLES if SAMPLES[name].startswith("{\n")),
        SAMPLES["openhands.json"].partition('"completion_tokens"')[0],
        json.dumps(session(request(0.0), id="a"), indent=1)[:-1],
        json.dumps(TAU[0], indent=1)[:-1],
    ],
)
def test_a_document_that_is_cut_off_is_named_whatever_its_format(text: str) -> None:
    summary, _ = _import({"cut.json": text.encode()})
    assert summary is not None
    assert summary.broken == {"cut off": 1}


@pytest.mark.parametrize("name", SAMPLES)
@_FUZZ
@given(data=st.data())
def test_a_file_cut_anywhere_gives_a_report_and_no_call_that_is_not_in_the_whole(
    name: str, data: st.DataObject
) -> None:
    text = SAMPLES[name].encode()
    summary, calls = _import({name: text[: data.draw(st.integers(0, len(text)))]})
    assert len(calls) <= CALLS[name]
    if summary is not None:
        assert summary.calls == len(calls)


@pytest.mark.parametrize("name", ["claude.jsonl", "aider.jsonl", "codex.jsonl"])
@_FUZZ
@given(data=st.data())
def test_a_file_of_lines_cut_anywhere_keeps_each_call_whose_lines_are_whole(name: str, data: st.DataObject) -> None:
    text = SAMPLES[name].encode()
    cut = data.draw(st.integers(len(text) // 2, len(text)))
    _, calls = _import({name: text[:cut]})
    _, kept = _import({name: text[: text.rfind(b"\n", 0, cut) + 1]})
    assert {call[0] for call in kept} <= {call[0] for call in calls}


@pytest.mark.parametrize("name", ["claude.jsonl", "tracelab.jsonl", "gemini.jsonl", "weka.jsonl"])
@_FUZZ
@given(data=st.data())
def test_lines_in_another_order_and_more_than_once_give_the_same_calls(name: str, data: st.DataObject) -> None:
    lines = SAMPLES[name].encode().splitlines()
    if name == "gemini.jsonl":  # what a message says last counts: only its repetition, not its order, is free
        mixed = [line for line in lines for _ in range(data.draw(st.integers(1, 3)))]
    else:
        mixed = data.draw(st.permutations(lines + data.draw(st.lists(st.sampled_from(lines)))))
    whole, found = (_import({name: b"\n".join(some)})[1] for some in (lines, mixed))
    assert sorted(call[:4] for call in found) == sorted(call[:4] for call in whole)


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text(max_size=5)
    | st.just("2026-01-01"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _spoil(value: Any, data: st.DataObject) -> Any:
    """Return a JSON value with one part of it, anywhere inside, replaced by something else."""
    if isinstance(value, dict | list) and value and data.draw(st.integers(0, 9)):
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(len(value))))
        changed = value.copy()
        changed[key] = _spoil(value[key], data)
        return changed
    return data.draw(_VALUES)


@pytest.mark.parametrize("name", SAMPLES)
@_FUZZ
@given(data=st.data())
def test_any_value_in_any_place_gives_a_report(name: str, data: st.DataObject) -> None:
    text = SAMPLES[name]
    spoilt = "".join(
        json.dumps(_spoil(one, data)) + "\n"
        for one in ([json.loads(line) for line in text.splitlines()] if name.endswith(".jsonl") else [json.loads(text)])
    )
    beside = session(request(0.0), id="beside")
    _, calls = _import({name: spoilt.encode(), "beside.jsonl": as_lines([beside]).encode()})
    assert any(task_id.startswith("beside") for _, task_id, *_ in calls)


@_FUZZ
@given(content=st.binary(max_size=400), name=st.sampled_from(["a.jsonl", "a.json.xz", "a.gz", "a.zip", "a.tar", "a"]))
def test_foreign_bytes_are_left_out_and_named(content: bytes, name: str) -> None:
    summary, calls = _import({name: content, "good.jsonl": SAMPLES["claude.jsonl"].encode()})
    assert summary is not None
    assert len(calls) == 4
    assert sum(summary.foreign.values()) + sum(summary.broken.values()) >= 1


@_FUZZ
@given(start=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_format_fails_to_look_at_bytes(start: bytes) -> None:
    head = Head(name="a", path="b/a", start=start, objects=line_objects(start, whole=True), keys=first_keys([start]))
    for one in FORMATS:
        assert 0 <= one.sniff(head) <= 1
        assert isinstance(one.group(head), str)


@pytest.mark.parametrize("name", [name for name in SAMPLES if name.endswith(".jsonl")])
def test_a_line_that_is_no_record_is_named(name: str) -> None:
    lines = SAMPLES[name].strip().split("\n")
    summary, calls = _import({name: "\n".join([*lines[:1], '{"a": NaN}', *lines[1:]]).encode()})
    assert summary is not None
    assert ([one.where.rpartition(":")[2] for one in summary.problems], len(calls)) == (["2"], CALLS[name])
