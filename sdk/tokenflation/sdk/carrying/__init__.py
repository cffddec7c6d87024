"""Carries the open scope to where the host's work goes on: other threads, other processes, servers of tools."""

__all__: list[str] = []
