"""Mutated exchanges against the recorder: nothing may raise, and no total may be smaller than its part.

    python bench/fuzz.py [--inputs 1000000] [--seed 1] [--processes 2]     mutations of JSON trees, bytes, cuts, headers
    python bench/fuzz.py --engine atheris --seconds 600                    guided by coverage (pip install atheris)
    ... [--exchanges exchanges.jsonl.xz]                                   recorded exchanges as further seeds

Each input goes the way of a real one: recognised by method and path, taken into an `Exchange`, assembled into the rows
of the store. What it checks stands in `tests/fuzz/`, which runs a small share of the same in every test run.
"""

import argparse
import logging
import multiprocessing
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

RECORDED = Path(__file__).resolve().parents[2] / "shared" / "data" / "wire" / "exchanges.jsonl.xz"


def main() -> None:
    """Run one engine and print how many inputs it took and what failed; exit 1 if anything did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=("random", "atheris"), default="random")
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=int, default=600, help="for atheris")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--exchanges", type=Path, default=RECORDED)
    arguments = parser.parse_args()
    if arguments.engine == "atheris":
        _guided(arguments.exchanges, arguments.seconds)
        return
    start = time.monotonic()
    share = -(-arguments.inputs // arguments.processes)
    jobs = [(arguments.exchanges, arguments.seed + number, share) for number in range(arguments.processes)]
    with multiprocessing.get_context("spawn").Pool(arguments.processes) as pool:
        results = pool.starmap(_random, jobs)
    outcomes: Counter[str] = sum((counts for counts, _ in results), Counter())
    failures = [text for _, texts in results for text in texts]
    print(f"{sum(outcomes.values()):,} inputs in {time.monotonic() - start:.0f} s")
    for outcome, count in outcomes.most_common():
        print(f"  {outcome:<40}{count:>12,}")
    print(f"{len(failures)} failures")
    for text in failures[:20]:
        print(text)
    sys.exit(1 if failures else 0)


def _random(exchanges: Path, seed: int, inputs: int) -> tuple[Counter[str], list[str]]:
    from tests.fuzz.mutate import Mutator, check, seeds

    logging.getLogger("tokenflation").setLevel(logging.CRITICAL)  # each input is a program of its own, and would say it
    mutator = Mutator(seeds(exchanges), seed)
    outcomes: Counter[str] = Counter()
    failures: list[str] = []
    for number in range(inputs):
        case = mutator.next()
        try:
            outcomes[check(case)] += 1
        except Exception as error:  # noqa: BLE001  (any exception at all is the finding)
            outcomes["FAILED"] += 1
            failures.append(f"seed {seed} input {number}: {type(error).__name__}: {error}\n  {case!r:.2000}")
    return outcomes, failures


def _guided(exchanges: Path, seconds: int) -> None:
    import atheris  # type: ignore[import-not-found]

    with atheris.instrument_imports(include=["tokenflation"]):  # before anything else imports it
        from tests.fuzz.mutate import check, from_bytes, seeds
    found = seeds(exchanges)

    def one(data: bytes) -> None:
        check(from_bytes(data, found))

    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-max_len=16384", "-timeout=10"], one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
