"""What recorders cost a call in the processor's instructions, which a busy machine does not change.

    python bench/recorders.py setup --work DIR --suts tokenflation,langfuse
    python bench/recorders_machine.py --work DIR [--suts tokenflation,langfuse] [--calls 30] [--rounds 3]

Runs the workloads of the side-by-side bench (plain calls, streams of 50 chunks, 10 async calls at once) in `record`
mode under valgrind, in the environments that `recorders.py` made: the bare client and each recorder, all blocks of one
in one process, the first of each workload left out. As valgrind runs them some 50 times slower, what recorders wait for
by the clock is stretched as much; else each call would be written by itself. Prints the median over the blocks, and its
range; never gates. Takes some 15 minutes.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

WARM = 20
SLOWER = 50
AT_ONCE = 10  # of 50, as the bench has it, some wait too long for their connection under valgrind
WORKLOADS = ("chat", "stream", "async")


class Driver:
    """The bench's process with one recorder, or none, under valgrind; with the bench's server beside it."""

    def __init__(self, work: Path, folder: Path, sut: str, recorder: str) -> None:
        harness = work / "harness"
        self._out = folder / "instructions"
        self._server = subprocess.Popen(
            [sys.executable, harness / "mock_server.py", "--sink", folder / "sink"], stdout=subprocess.PIPE, text=True
        )
        assert self._server.stdout is not None
        url = f"http://127.0.0.1:{int(self._server.stdout.readline())}"
        self._log = folder / "log"
        self._process = subprocess.Popen(
            ["valgrind", "--tool=callgrind", f"--callgrind-out-file={self._out}", work / "venvs" / sut / "bin" / "python",
             harness / "driver.py", "perf", "--sut", recorder, "--mode", "record", "--store", folder, "--server", url,
             "--concurrency", str(AT_ONCE)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log.open("w"), cwd=folder, text=True,
            env={**os.environ, "PYTHONHASHSEED": "0", "BENCH_SLOWER": str(SLOWER), "LANGFUSE_FLUSH_INTERVAL": str(5 * SLOWER)},
        )  # fmt: skip
        self._dumps = 0

    def block(self, workload: str, calls: int) -> float:
        """Return the instructions a call of so many calls, until all of them are recorded."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([workload, calls]) + "\n")
        self._process.stdin.flush()
        if not any(line.startswith("RESULT ") for line in self._process.stdout):
            sys.exit(f"the driver ended:\n{self._log.read_text()[-4000:]}")
        subprocess.run(["callgrind_control", "--dump", str(self._process.pid)], check=True, capture_output=True)
        self._dumps += 1
        lines = Path(f"{self._out}.{self._dumps}").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("totals: ")).split()[1]) / calls

    def end(self) -> None:
        """Stop both processes."""
        self._process.kill()
        self._server.kill()
        self._process.wait()
        self._server.wait()


def measured(work: Path, sut: str, recorder: str, calls: int, rounds: int) -> dict[str, list[float]]:
    """Return the instructions a call of each block, by workload."""
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(work, Path(folder), sut, recorder)
        try:
            for name in WORKLOADS:
                driver.block(name, WARM)
            blocks = [{name: driver.block(name, calls) for name in WORKLOADS} for _ in range(rounds)]
        finally:
            driver.end()
    return {name: [block[name] for block in blocks] for name in WORKLOADS}


def main() -> None:
    """Measure each recorder; print what it adds to the bare client, and ours as a ratio to the cheapest other one's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-out"), help="as for recorders.py")
    parser.add_argument("--suts", default="tokenflation,langfuse", help="recorders, with commas")
    parser.add_argument("--calls", type=int, default=30, help="calls of a block")
    parser.add_argument("--rounds", type=int, default=3, help="blocks of each workload")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    if not (work / "harness" / "driver.py").exists():
        parser.error(f"no harness in {work}: run `python bench/recorders.py setup --work {arguments.work}` first")
    added: dict[str, dict[str, float]] = {}
    for sut in arguments.suts.split(","):
        bare, found = (measured(work, sut, one, arguments.calls, arguments.rounds) for one in ("none", sut))
        added[sut] = {}
        for name in WORKLOADS:
            usual = statistics.median(bare[name])
            added[sut][name] = statistics.median(found[name]) - usual
            low, high = min(found[name]) - usual, max(found[name]) - usual
            print(
                f"{sut:14} {name:6} {usual:>12,.0f} {added[sut][name]:>+12,.0f} ({low:+,.0f} to {high:+,.0f})",
                flush=True,
            )
    ours = added.pop("tokenflation", None)
    if ours and added:
        ratios = [f"{name} {ours[name] / min(other[name] for other in added.values()):.2f}" for name in WORKLOADS]
        print("tokenflation, of the cheapest other one:", "  ".join(ratios))


if __name__ == "__main__":
    main()
