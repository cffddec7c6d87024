"""Logs that coding agents, agent frameworks and evaluations write themselves."""

__all__: list[str] = []
