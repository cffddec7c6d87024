"""Recorders of LLM calls side by side: what each costs and whether what it records is true, this one among them.

    python bench/recorders.py overhead [--bench DIR] [--work DIR] [--suts tokenflation,floor,openinference] [...]
    python bench/recorders.py imports|matrix|report ...

The harness, its mock server and the other recorders' adapters are in `--bench`; whatever else is given goes to its
`run.py`. Makes one virtual environment per recorder under `--work` (needs `uv`). Prints ratios, never gates.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PEERS = "openinference,langfuse,logfire,langsmith,lmnr,weave,traceloop"


def main() -> None:
    """Copy the harness to the work folder, add this recorder, set the environments up and run one command of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=("setup", "overhead", "imports", "matrix", "report"))
    parser.add_argument("--bench", type=Path, default=CHECKOUT.parent / "shared" / "bench", help="the harness")
    parser.add_argument("--work", type=Path, default=Path("bench-out"), help="environments and results")
    parser.add_argument("--suts", default=f"tokenflation,floor,{PEERS}", help="recorders, with commas")
    arguments, rest = parser.parse_known_args()
    if not (arguments.bench / "run.py").exists():
        parser.error(f"no harness in {arguments.bench}: name its folder with --bench")
    work = arguments.work.resolve()
    harness = work / "harness"
    shutil.rmtree(harness, ignore_errors=True)
    shutil.copytree(arguments.bench, harness, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "bench" / "recorders_adapter.py", harness / "adapters" / "tokenflation.py")
    environment = {**os.environ, "TOKENFLATION_CHECKOUT": str(CHECKOUT)}
    common = ["--work", str(work), "--suts", arguments.suts]

    def run(command: str, *options: str) -> int:
        return subprocess.run(
            [sys.executable, "run.py", command, *common, *options], cwd=harness, env=environment, check=False
        ).returncode

    sys.exit(run("setup") or (0 if arguments.command == "setup" else run(arguments.command, *rest)))


if __name__ == "__main__":
    main()
