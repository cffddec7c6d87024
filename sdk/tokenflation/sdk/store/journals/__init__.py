"""What a killed process leaves of its calls: noted as they leave and end; the next to come makes rows of it."""

__all__: list[str] = []
