"""Counts the processor's instructions of a command under valgrind: a busy machine does not change them."""

import os
import subprocess
from collections.abc import Sequence

__all__ = ["instructions"]


def instructions(command: Sequence[str]) -> int:
    """Return the instructions of a command from its start to its end, in user space.

    Raises:
        FileNotFoundError: valgrind is not installed.
        subprocess.CalledProcessError: the command failed.
    """
    ended = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command],
        env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(ended.stderr.rpartition("Collected : ")[2].split()[0])
