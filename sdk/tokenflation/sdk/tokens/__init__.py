"""Tokens of the parts of an input, and of its prefix blocks: what providers do not report."""

__all__: list[str] = []
