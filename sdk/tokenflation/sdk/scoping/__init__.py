"""Tasks, agents and tools that a user opens around work: what runs inside of what, and within which limits."""

__all__: list[str] = []
