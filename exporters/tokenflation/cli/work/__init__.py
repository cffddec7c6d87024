"""What the commands do, one file each, where that loads the analysis: what they take stands in the folder above."""

__all__: list[str] = []
