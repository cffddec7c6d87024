"""Bodies as they come, compressed and cut anywhere: into timed events. Knows nothing of what is in them."""

__all__: list[str] = []
