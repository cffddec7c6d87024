"""Disks of their own that are full: memory shared by a file for which they have no room kills who writes there."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.providers import Provider
from tests.recording.programs import run

from tokenflation.sdk.store.contents import info

pytestmark = pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root mounts a disk")

FILL = """
    def fill(left):
        os.sync()
        with open(store + ".more", "wb", buffering=0) as more:
            for piece in (1 << 20, 1 << 10):
                try:
                    while True:
                        more.write(bytes(piece))
                        os.fsync(more.fileno())
                except OSError:
                    os.sync()
            more.truncate(os.fstat(more.fileno()).st_size - left)
        os.sync()
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Make a disk of so many MiB with a file system, and return its folder."""
    folder = tmp_path / "disk"

    def make(mib: int, *command: str) -> Path:
        image = tmp_path / "image"
        with image.open("wb") as file:
            file.truncate(mib << 20)
        if shutil.which(command[0]) is None:
            pytest.skip(f"there is no {command[0]}")
        subprocess.run([*command, str(image)], check=True, capture_output=True)
        folder.mkdir()
        mounted = subprocess.run(["mount", "-o", "loop", str(image), str(folder)], check=False, capture_output=True)
        if mounted.returncode:
            pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.decode()}")
        return folder

    yield make
    subprocess.run(["umount", "--lazy", str(folder)], check=False, capture_output=True)


def test_a_program_goes_on_where_btrfs_is_full(provider: Provider, disk: Callable[..., Path]) -> None:
    program = (
        FILL
        + """
    handle = tf.instrument(store)
    with httpx.Client() as client:
        ask(client)
        handle.flush()
        fill(0)
        for _ in range(3):
            ask(client)
            handle.flush()
            os.sync()
        os.unlink(store + ".more")
        ask(client)
    handle.close()
    """
    )
    store = disk(256, "mkfs.btrfs") / "runs.db"
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr
    assert (info(store)["rows"]["calls"], info(store)["lost"]) == (5, 0)


def test_a_program_goes_on_where_a_disk_of_small_blocks_is_all_but_full(
    provider: Provider, disk: Callable[..., Path]
) -> None:
    program = (
        FILL
        + """
    tf.instrument(store).close()
    fill(10 * 1024)
    handle = tf.instrument(store)
    with httpx.Client() as client:
        ask(client)
        handle.flush()
        os.unlink(store + ".more")
        ask(client)
    handle.close()
    """
    )
    store = disk(8, "mkfs.ext4", "-b", "1024") / "runs.db"
    done = run(program, provider, store)
    assert done.returncode == 0, done.stderr
    assert (info(store)["rows"]["calls"], info(store)["lost"]) == (2, 0)
