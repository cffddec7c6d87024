"""OTLP traces and logs as protobuf: the framings there are, and files that are cut or damaged."""

import base64
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.importers.agent_events import CLAUDE, event, logged
from tests.importers.spans import CHAT, request, rows, span, usage

from tokenflation.sdk.errors import ImportSourceError
from tokenflation.sdk.importers import import_paths

pytest.importorskip(
    "opentelemetry.proto", reason="opentelemetry-proto is not installed: pip install 'tokenflation[otlp]'"
)

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def message(*spans: dict[str, Any]) -> bytes:
    """Return a request as bytes; protobuf's own JSON has ids in base64."""
    document = request(*spans)
    for group in document["resourceSpans"][0]["scopeSpans"]:
        for one in group["spans"]:
            for key in ("traceId", "spanId", "parentSpanId"):
                one[key] = base64.urlsafe_b64encode(bytes.fromhex(one[key])).decode()
    return bytes(ParseDict(document, ExportTraceServiceRequest()).SerializeToString())


def logs(*records: dict[str, Any]) -> bytes:
    """Return a request of log records that were made in no span."""
    bare = [{key: value for key, value in one.items() if key not in ("traceId", "spanId")} for one in records]
    return bytes(ParseDict(logged(*bare), ExportLogsServiceRequest()).SerializeToString())


def calls(*numbers: int) -> list[dict[str, Any]]:
    return [span(n, parent=9, at=float(n), _={**CHAT, **usage(10 * n, n)}) for n in numbers]


def four_bytes(*messages: bytes) -> bytes:
    return b"".join(struct.pack(">I", len(one)) + one for one in messages)


def varint(*messages: bytes) -> bytes:
    return b"".join(bytes([len(one) & 0x7F | 0x80, len(one) >> 7]) + one for one in messages)


@pytest.mark.parametrize(
    "framed", [four_bytes, varint, lambda *messages: b"".join(messages)], ids=["file exporter", "delimited", "none"]
)
def test_each_framing_gives_the_same_calls(framed: Callable[..., bytes], tmp_path: Path) -> None:
    messages = [message(*calls(1, 2)), message(*calls(3))]
    assert all(128 <= len(one) < 2**14 for one in messages), "the varints above have two bytes"
    (tmp_path / "traces.bin").write_bytes(framed(*messages))
    summary = import_paths([tmp_path / "traces.bin"], tmp_path / "runs.db")
    assert (summary.formats, summary.calls, summary.problems) == ({"OTLP protobuf": 1}, 3, ())
    found = rows(tmp_path / "runs.db", "call_id, parent_id, input_tokens, output_tokens, duration_s, provider")
    assert found == [(f"{n:016x}", f"{9:016x}", 10 * n, n, 1.0, "openai") for n in (1, 2, 3)]


@pytest.mark.parametrize("framed", [four_bytes, lambda *messages: b"".join(messages)], ids=["file exporter", "none"])
def test_a_file_cut_anywhere_keeps_every_whole_span(framed: Callable[..., bytes], tmp_path: Path) -> None:
    whole = framed(message(*calls(1)), message(*calls(2, 3)))
    for end in range(200, len(whole), 23):
        file, store = tmp_path / f"{end}.bin", tmp_path / f"{end}.db"
        file.write_bytes(whole[:end])
        try:
            taken = import_paths([file], store).calls
        except ImportSourceError:
            taken = 0
        ends = [at for n in (1, 2, 3) if (at := _end_of(whole, n)) <= end]
        assert taken == len(ends), end


def _end_of(whole: bytes, number: int) -> int:
    """Return where a span's message ends: it begins with the trace's id, behind a tag and a length."""
    at = whole.index(b"\x12\x08" + struct.pack(">Q", number)) - 18
    length, size = whole[at - 1], 1
    if whole[at - 2] >= 0x80:
        length, size = (whole[at - 2] & 0x7F) | (whole[at - 1] << 7), 2
    assert whole[at - size - 1] == 0x12
    return at + length


def test_a_damaged_span_is_named_and_the_others_are_taken(tmp_path: Path) -> None:
    good = message(*calls(1, 2, 3))
    name = good.index(b"chat m-1", good.index(struct.pack(">Q", 2)))
    (tmp_path / "t.bin").write_bytes(good[:name] + b"\xff\xfe\xff\xff" + good[name + 4 :])  # no UTF-8
    summary = import_paths([tmp_path / "t.bin"], tmp_path / "runs.db")
    assert [one.reason for one in summary.problems] == ["no span"]
    assert rows(tmp_path / "runs.db", "call_id") == [(f"{1:016x}",), (f"{3:016x}",)]


def test_text_that_begins_with_a_line_feed_is_no_protobuf(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_bytes(b"\n\n\n" + b"words " * 40)
    with pytest.raises(ImportSourceError, match="of no known format"):
        import_paths([tmp_path / "t.txt"], tmp_path / "runs.db")


@pytest.mark.parametrize(
    "framed", [four_bytes, varint, lambda *messages: b"".join(messages)], ids=["file exporter", "delimited", "none"]
)
def test_logs_of_coding_agents_give_the_calls_that_they_give_as_json(
    framed: Callable[..., bytes], tmp_path: Path
) -> None:
    records = [event("claude_code.api_request", 3.0 * n, **(CLAUDE | {"request_id": f"req_{n}"})) for n in (1, 2, 3)]
    (tmp_path / "logs.bin").write_bytes(
        framed(logs(event("claude_code.user_prompt", 0), records[0]), logs(*records[1:]))
    )
    (tmp_path / "logs.jsonl").write_text(json.dumps(logged(*records)))
    summary = import_paths([tmp_path / "logs.bin"], tmp_path / "runs.db")
    assert (summary.formats, summary.calls, summary.problems) == ({"OTLP protobuf": 1}, 3, ())
    assert rows(tmp_path / "runs.db", "task, input_tokens, output_tokens") == [("claude-code", 1000, 50)] * 3
    assert import_paths([tmp_path / "logs.jsonl"], tmp_path / "runs.db").calls == 0


def test_logs_that_were_seen_but_have_no_time_of_their_own_are_read(tmp_path: Path) -> None:
    record = event("claude_code.api_request", **CLAUDE)
    record["observedTimeUnixNano"] = record.pop("timeUnixNano")
    (tmp_path / "logs.bin").write_bytes(logs(record))
    assert import_paths([tmp_path / "logs.bin"], tmp_path / "runs.db").calls == 1


def test_protobuf_logs_of_other_programs_are_of_no_known_format(tmp_path: Path) -> None:
    (tmp_path / "logs.bin").write_bytes(logs(event("shop.sold", price=3)))
    with pytest.raises(ImportSourceError, match="of no known format"):
        import_paths([tmp_path / "logs.bin"], tmp_path / "runs.db")
