"""The charts of a page: frames in, plotly's figures out."""

__all__: list[str] = []
