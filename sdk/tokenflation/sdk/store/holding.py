"""Files that one process holds while it lives (`flock`), so that others can tell whether it does.

Knows nothing of what is in them.
"""

__all__ = ["CAN_HOLD", "hold"]

try:
    import fcntl
except ImportError:
    fcntl = None  # type: ignore[assignment]

CAN_HOLD = fcntl is not None
"""Whether the platform has `flock`: without it files of dead processes look as those of living ones."""


def hold(descriptor: int, *, shared: bool = False) -> None:
    """Hold an open file until it is closed, or the process ends; `shared` with others that hold it so.

    Raises:
        BlockingIOError: another holds it.
        OSError: the platform or the file system cannot.
    """
    if not CAN_HOLD:
        raise OSError("no flock on this platform")
    fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
