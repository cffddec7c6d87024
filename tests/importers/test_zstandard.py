"""Files and archives packed with Zstandard, and JSON with NaN, as newer versions of inspect_ai write them."""

import importlib
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest
from tests.importers.test_damaged_logs import INSPECT
from tests.importers.traces import request, session

from tokenflation.sdk.importers import import_paths
from tokenflation.sdk.store.contents import info

zstd = pytest.importorskip("backports.zstd")


def _eval(path: Path, samples: list[Any]) -> None:
    packing = importlib.import_module("backports.zstd.zipfile")
    with packing.ZipFile(path, "w", packing.ZIP_ZSTANDARD) as archive:
        archive.writestr("header.json", json.dumps({**INSPECT, "samples": []}))
        for number, sample in enumerate(samples):
            archive.writestr(f"samples/{number}_epoch_1.json", json.dumps(sample))


def test_an_eval_archive_packed_with_zstandard_is_read(tmp_path: Path) -> None:
    _eval(tmp_path / "a.eval", INSPECT["samples"])  # type: ignore[arg-type]
    summary = import_paths([tmp_path / "a.eval"], tmp_path / "runs.db")
    assert (summary.tasks, summary.calls, summary.input_tokens, summary.broken) == (2, 2, 8, {})


def test_a_sample_without_a_grade_is_read_as_python_writes_it(tmp_path: Path) -> None:
    first, second = INSPECT["samples"]  # type: ignore[misc]
    _eval(tmp_path / "a.eval", [first, {**second, "scores": {"match": {"value": math.nan}}}])  # type: ignore[has-type]
    summary = import_paths([tmp_path / "a.eval"], tmp_path / "runs.db")
    assert (summary.tasks, summary.broken) == (2, {})


def test_an_archive_of_traces_packed_with_zstandard_is_read(tmp_path: Path) -> None:
    packing = importlib.import_module("backports.zstd.zipfile")
    target = io.BytesIO()
    with packing.ZipFile(target, "w", packing.ZIP_ZSTANDARD) as archive:
        archive.writestr("night.jsonl", json.dumps(session(request(0.0))))
    (tmp_path / "night.zip").write_bytes(target.getvalue())
    import_paths([tmp_path / "night.zip"], tmp_path / "runs.db")
    assert info(tmp_path / "runs.db")["tasks"] == {"night": 1}


def test_a_damaged_file_packed_with_zstandard_costs_the_others_nothing(tmp_path: Path) -> None:
    lines = b"".join(json.dumps(session(request(0.0, out=n), id=f"s{n}")).encode() + b"\n" for n in range(4000))
    packed = bytearray(zstd.compress(lines))
    packed[10:50] = bytes(255 - byte for byte in packed[10:50])
    (tmp_path / "a.jsonl.zst").write_bytes(packed)
    (tmp_path / "b.jsonl").write_text(json.dumps(session(request(0.0), id="good")))
    summary = import_paths([tmp_path / "a.jsonl.zst", tmp_path / "b.jsonl"], tmp_path / "runs.db")
    assert summary.tasks >= 1
    assert summary.foreign == {"damaged": 1}
