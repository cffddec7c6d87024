"""Spans of other tracing: what they say of calls, and where in a task each stands. Knows no file."""

__all__: list[str] = []
