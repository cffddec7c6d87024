"""Replays our exports in Dynamo's offline simulator and prints what it counts against what we wrote.

    python bench/replay_export.py runs.db --tasks 40 [--python OTHER_VENV/bin/python]

The simulator is the wheel `ai-dynamo-runtime` (75 MB; no GPU, no network). It is no dependency of this project: put it
in a virtual environment of its own and name that one's interpreter.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from tokenflation.analysis import load
from tokenflation.exporters import WriteSummary, write
from tokenflation.sdk.errors import TokenflationError

_INSTALL = "python -m venv dynamo && dynamo/bin/pip install ai-dynamo-runtime==1.6.1, then --python dynamo/bin/python"

_REPLAY = """
import json, sys
try:
    from dynamo import _core
except ModuleNotFoundError:
    sys.exit(3)
path, options = sys.argv[1], json.loads(sys.argv[2])
print("RESULT" + json.dumps(_core.run_mocker_trace_replay([path], **options).summary))
"""

_OPTIONS = {
    "weka": {"trace_format": "weka", "execution_model": "m"},
    "mooncake": {"trace_format": "mooncake", "trace_block_size": 512},
}


def main() -> None:
    """Export, replay and compare; exit 1 if the simulator counts anything else than we wrote."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", help="a store, as `tokenflation run` or `tokenflation import` makes it")
    parser.add_argument("--tasks", type=int, default=40, help="replay this many tasks; 0 = all (default %(default)s)")
    parser.add_argument("--python", default=sys.executable, help="interpreter that has ai-dynamo-runtime")
    chosen = parser.parse_args()
    try:
        calls = _first_tasks(load(chosen.store, blocks=True), chosen.tasks)
        with tempfile.TemporaryDirectory() as folder:
            agree = [_compare(calls, Path(folder) / f"{name}.jsonl", name, chosen.python) for name in _OPTIONS]
    except TokenflationError as error:
        sys.exit(str(error))
    sys.exit(0 if all(agree) else 1)


def _first_tasks(calls: pd.DataFrame, tasks: int) -> pd.DataFrame:
    chosen = calls["task_id"].drop_duplicates().iloc[:tasks] if tasks else calls["task_id"]
    return calls[calls["task_id"].isin(chosen)]


def _compare(calls: pd.DataFrame, path: Path, name: str, python: str) -> bool:
    started_s = time.perf_counter()
    ours = write(calls, path, format=name)
    took_s = time.perf_counter() - started_s
    print(f"{name}: written in {took_s:.2f} s, {path.stat().st_size / 1e6:.1f} MB", *ours.notes, sep="\n  ")
    started_s = time.perf_counter()
    theirs = _replay(path, name, python)
    print(
        f"  replayed in {time.perf_counter() - started_s:.1f} s, prefix reuse {theirs['prefix_cache_reused_ratio']:.4f}"
    )
    same = [_row(label, mine, other) for label, mine, other in _pairs(ours, theirs)]
    return all(same)


def _pairs(ours: WriteSummary, theirs: dict[str, float]) -> list[tuple[str, int, int]]:
    pairs = [
        ("requests", ours.calls, int(theirs["num_requests"])),
        ("completed", ours.calls, int(theirs["completed_requests"])),
        ("input tokens", ours.input_tokens, int(theirs["total_input_tokens"])),
        ("output tokens", ours.output_tokens, int(theirs["total_output_tokens"])),
    ]
    return [(label, mine, other) for label, mine, other in pairs if mine is not None]


def _row(label: str, mine: int, other: int) -> bool:
    print(f"  {label:<14} ours {mine:>15,}   replayed {other:>15,}   {'same' if mine == other else 'DIFFERENT'}")
    return mine == other


def _replay(path: Path, name: str, python: str) -> dict[str, float]:
    arguments = [python, "-c", _REPLAY, str(path), json.dumps(_OPTIONS[name])]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        sys.exit(f"{python} has no ai-dynamo-runtime. Install it apart: {_INSTALL}")
    results = [line for line in done.stdout.splitlines() if line.startswith("RESULT")]
    if not results:
        sys.exit(f"The simulator refused {name}: {done.stderr.strip()[-600:]}")
    summary: dict[str, float] = json.loads(results[0].removeprefix("RESULT"))
    return summary


if __name__ == "__main__":
    main()
