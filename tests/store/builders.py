"""Makes rows for the store's tests."""

from typing import Any

from tokenflation.sdk.records import Call, SpanRecord


def call(number: int, **fields: Any) -> Call:
    """Return a call that is unlike any with another number."""
    given: dict[str, Any] = {
        "call_id": f"{number:016x}",
        "trace_id": f"{number:032x}",
        "task": "triage",
        "task_id": f"T-{number}",
        "agent": "main",
        "agent_run_id": f"{number:016x}",
        "provider": "openai",
        "api": "openai.chat",
        "model": "m",
        "started_at_ns": 1_700_000_000_000_000_000 + number,
        "usage_source": "provider",
    }
    return Call(**(given | fields))


def span(number: int) -> SpanRecord:
    """Return the task span of the call with this number."""
    return SpanRecord(
        span_id=f"{number:016x}", trace_id=f"{number:032x}", parent_id=None, kind="task", name="triage",
        task_id=f"T-{number}", agent_run_id=None, depth=0, started_at_ns=number, ended_at_ns=number, status="ok",
        outcome=True,
    )  # fmt: skip
