"""OpenTelemetry: calls and scopes as spans, and what spans of other tracing say of a call."""

__all__: list[str] = []
