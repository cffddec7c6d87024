"""Exports of tracers, and OpenTelemetry's own files."""

__all__: list[str] = []
