"""From exchanges to calls: attempts, answers that come later, tool calls, and the rows of it all."""

__all__: list[str] = []
