"""Traces made for planners and load generators: sessions without texts."""

__all__: list[str] = []
