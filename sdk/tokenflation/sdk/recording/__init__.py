"""The worker of a process: what waits for it, in what order it is taken, and how it outlives forks and exits."""

__all__: list[str] = []
