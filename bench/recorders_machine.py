"""What recorders cost a call in the processor's instructions, which a busy machine does not change.

    python bench/recorders.py setup --work DIR --suts tokenflation,langfuse
    python bench/recorders_machine.py --work DIR [--suts tokenflation,langfuse] [--calls 30] [--rounds 2] [--seeds 1]

Runs the workloads of the side-by-side bench (plain calls, streams of 50 chunks, 5 async calls at once) in `record`
mode under valgrind, in the environments that `recorders.py` made: the bare client and each recorder, all blocks of one
in one process, the first of each workload left out. A call costs what a long block takes more than a short one, so
that what a block takes once (the bench collects garbage before each) is no call's. As valgrind runs them some 50 times
slower, what recorders wait for by the clock is stretched as much; else each call would be written by itself.

Another hash seed alone moved a stream by some 0.3 million instructions, of two that were tried; in part it is chance
which look-ups share a place in Python's cache of methods. So ask for several `--seeds`. Prints the median over all
blocks, and its range; never gates. One seed took 26 minutes on two busy cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

WARM = 20
SHORT = 10
"""Calls of the shorter block of the two that are compared."""
SLOWER = 50
AT_ONCE = 5  # of 50, as the bench has it, some wait too long for their connection under valgrind
WORKLOADS = ("chat", "stream", "async")


class Driver:
    """The bench's process with one recorder, or none, under valgrind; with the bench's server beside it."""

    def __init__(self, work: Path, folder: Path, sut: str, recorder: str, seed: int) -> None:
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
            env={**os.environ, "PYTHONHASHSEED": str(seed), "BENCH_SLOWER": str(SLOWER), "LANGFUSE_FLUSH_INTERVAL": str(5 * SLOWER)},
        )  # fmt: skip
        self._dumps = 0

    def block(self, workload: str, calls: int) -> int:
        """Return the instructions of so many calls, until all of them are recorded."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([workload, calls]) + "\n")
        self._process.stdin.flush()
        if not any(line.startswith("RESULT ") for line in self._process.stdout):
            sys.exit(f"the driver ended:\n{self._log.read_text()[-4000:]}")
        subprocess.run(["callgrind_control", "--dump", str(self._process.pid)], check=True, capture_output=True)
        self._dumps += 1
        lines = Path(f"{self._out}.{self._dumps}").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("totals: ")).split()[1])

    def a_call(self, workload: str, calls: int) -> float:
        """Return the instructions of one call."""
        return (self.block(workload, SHORT + calls) - self.block(workload, SHORT)) / calls

    def end(self) -> None:
        """Stop both processes."""
        self._process.kill()
        self._server.kill()
        self._process.wait()
        self._server.wait()


def measured(work: Path, sut: str, recorder: str, calls: int, rounds: int, seed: int) -> dict[str, list[float]]:
    """Return the instructions a call, as often as there are rounds, by workload."""
    with tempfile.TemporaryDirectory() as folder:
        driver = Driver(work, Path(folder), sut, recorder, seed)
        try:
            for name in WORKLOADS:
                driver.block(name, WARM)
            found = [{name: driver.a_call(name, calls) for name in WORKLOADS} for _ in range(rounds)]
        finally:
            driver.end()
    return {name: [one[name] for one in found] for name in WORKLOADS}


def main() -> None:
    """Measure each recorder; print what it adds to the bare client, and ours as a ratio to the cheapest other one's."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("bench-out"), help="as for recorders.py")
    parser.add_argument("--suts", default="tokenflation,langfuse", help="recorders, with commas")
    parser.add_argument("--calls", type=int, default=30, help="calls that a long block has more than a short one")
    parser.add_argument("--rounds", type=int, default=2, help="pairs of blocks of each workload in a process")
    parser.add_argument("--seeds", type=int, default=1, help="processes of each, each with a hash seed of its own")
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    if not (work / "harness" / "driver.py").exists():
        parser.error(f"no harness in {work}: run `python bench/recorders.py setup --work {arguments.work}` first")
    added: dict[str, dict[str, float]] = {}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {
            (sut, recorder): [
                pool.submit(measured, work, sut, recorder, arguments.calls, arguments.rounds, seed)
                for seed in range(arguments.seeds)
            ]
            for sut in arguments.suts.split(",")
            for recorder in ("none", sut)
        }
        for sut in arguments.suts.split(","):
            try:
                bare, found = ([one.result() for one in running[sut, recorder]] for recorder in ("none", sut))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            added[sut] = {}
            for name in WORKLOADS:
                usual = [statistics.median(one[name]) for one in bare]
                more = [value - base for one, base in zip(found, usual, strict=True) for value in one[name]]
                added[sut][name] = statistics.median(more)
                print(
                    f"{sut:14} {name:6} {statistics.median(usual):>12,.0f} {added[sut][name]:>+12,.0f}"
                    f" ({min(more):+,.0f} to {max(more):+,.0f})",
                    flush=True,
                )
    ours = added.pop("tokenflation", None)
    if ours and added:
        ratios = [f"{name} {ours[name] / min(other[name] for other in added.values()):.2f}" for name in WORKLOADS]
        print("tokenflation, of the cheapest other one:", "  ".join(ratios))


if __name__ == "__main__":
    main()
