"""The formats by name, and the one function that writes them. A new format is one more entry of `FORMATS`."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tokenflation.exporters.blocks import block_ratio
from tokenflation.exporters.files import check_file
from tokenflation.exporters.flamegraph import Encode, write_flames
from tokenflation.exporters.mooncake import BLOCK_SIZE, write_mooncake
from tokenflation.exporters.parquet import seal
from tokenflation.exporters.pprof import encode_pprof
from tokenflation.exporters.sessions import Export, check_columns, read_sessions, store_block
from tokenflation.exporters.speedscope import encode_speedscope
from tokenflation.exporters.summary import ExportOptions, Tally, WriteSummary, notes_of, with_progress
from tokenflation.exporters.weka import write_weka
from tokenflation.sdk.errors import ExportError

__all__ = ["FORMATS", "FlameFormat", "Format", "TableFormat", "write"]


_NO_HASHES = "the frame was loaded without prefix hashes; load(path, blocks=True) brings those that were recorded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One format of traces: its writer, and its block size in tokens where readers expect one (None: the store's)."""

    write: Callable[[Export], int]
    block_size: int | None
    folder: bool = False
    """It may be a folder of one file per task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlameFormat:
    """One format of flame graphs: what makes a file's bytes of the stacks of all calls."""

    encode: Encode


@dataclass(frozen=True, slots=True, kw_only=True)
class TableFormat:
    """One format that holds the calls as they are, in a folder that grows by what is new."""

    seal: Callable[..., WriteSummary]


FORMATS: Mapping[str, Format | FlameFormat | TableFormat] = {
    "mooncake": Format(write=write_mooncake, block_size=BLOCK_SIZE),
    "parquet": TableFormat(seal=seal),
    "pprof": FlameFormat(encode=encode_pprof),
    "speedscope": FlameFormat(encode=encode_speedscope),
    "weka": Format(write=write_weka, block_size=None, folder=True),
}
"""The formats that `write` knows, by name."""


def write(
    calls: pd.DataFrame,
    path: str | os.PathLike[str],
    *,
    format: str,  # noqa: A002 - the public name
    block_size: int | None = None,
    sessions: bool = False,
    start_offsets_s: Mapping[str, float] | None = None,
    tool_calls: pd.DataFrame | None = None,
    spans: pd.DataFrame | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> WriteSummary:
    """Write calls as a trace, whole or not at all, and say what was written and what was not.

    `calls` has one row per call with the store's columns; `analysis.load(path, blocks=True)` brings the prefix hashes,
    without them block ids are made up from the recorded numbers of shared blocks, or of tokens read from a cache. A
    path that ends with a slash, or is a folder, asks for one file per task (Weka only). `block_size` is in tokens: 512
    for Mooncake and the store's for Weka unless given. `sessions` adds `session_id` to Mooncake rows. `start_offsets_s`
    (Mooncake) puts a task's first call that many seconds after the trace's start; other tasks keep the store's times,
    counted from the earliest dated call. Flame graphs use none of these; `tool_calls` and `spans`, the store's tables,
    say which sub-agent a tool call started. `progress` is called with (tasks done, tasks in all). Parquet adds what is
    new to a folder and uses none of these either; its progress is in calls. A whole store goes there without a frame by
    `parquet.seal`.

    Raises:
        ExportError: unknown format, missing columns, nothing to write, a block size that cannot be made from the
            store's, a bad offset, or a path that cannot be written.
    """
    if format not in FORMATS:
        raise ExportError(f"There is no format {format!r}; choose one of {', '.join(sorted(FORMATS))}.")
    form = FORMATS[format]
    if isinstance(form, TableFormat):
        return form.seal(calls, Path(path), progress=progress)
    folder = isinstance(form, Format) and form.folder and (os.fspath(path).endswith(os.sep) or Path(path).is_dir())
    if not folder:
        check_file(path)
    if isinstance(form, FlameFormat):
        return write_flames(
            calls, tool_calls, spans, path=Path(path), name=format, encode=form.encode, progress=progress
        )
    check_columns(calls)
    offsets = _checked_offsets(start_offsets_s or {}, calls)
    block_tokens = store_block(calls)
    tally = Tally()
    export = Export(
        sessions=with_progress(read_sessions(calls, tally), calls, progress),
        path=Path(path),
        folder=folder,
        block_tokens=block_tokens,
        block_size=block_size or form.block_size or block_tokens,
        options=ExportOptions(sessions=sessions, start_offsets_s=offsets),
        tally=tally,
    )
    block_ratio(export.block_size, block_tokens)
    count = form.write(export)
    return WriteSummary(
        format=format,
        path=str(export.path),
        sessions=count,
        calls=tally.calls,
        sub_agent_runs=tally.sub_agent_runs,
        input_tokens=tally.input_tokens,
        output_tokens=tally.output_tokens if tally.no_output < tally.calls else None,
        block_size=export.block_size,
        blocks=tally.blocks,
        skipped_calls=tally.skipped,
        skipped_call_ids=tuple(tally.skipped_ids),
        notes=(
            *notes_of(tally, block_size=export.block_size, block_tokens=block_tokens),
            *(() if "block_hashes" in calls.columns else (_NO_HASHES,)),
        ),
    )


def _checked_offsets(offsets: Mapping[str, float], calls: pd.DataFrame) -> Mapping[str, float]:
    bad = {task_id: value for task_id, value in offsets.items() if not (math.isfinite(value) and value >= 0)}
    if bad:
        raise ExportError(f"Start offsets are seconds from the trace's start, 0 or more; got {bad}.")
    unknown = sorted(set(offsets) - set(calls["task_id"]))
    if unknown:
        raise ExportError(
            f"Start offsets name tasks that the calls do not have: {unknown[:5]}. Use values of `task_id`."
        )
    return offsets
