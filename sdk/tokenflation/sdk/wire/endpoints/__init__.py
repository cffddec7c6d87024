"""Which requests go to a model, and who serves it: by method, path and host alone."""

__all__: list[str] = []
