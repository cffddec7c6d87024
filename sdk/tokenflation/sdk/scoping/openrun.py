"""A run of a tool that the recorder sees in the host by itself, without a scope of the user's."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from tokenflation.sdk.clock import now_ns
from tokenflation.sdk.records import SpanRecord
from tokenflation.sdk.scoping import scopes
from tokenflation.sdk.wire.toolcalls import digest_of

__all__ = ["OpenRun"]


class OpenRun:
    """A run of a tool that is under way in the host: a tool scope, where a scope is open around it."""

    def __init__(
        self,
        name: str,
        arguments: bytes | None,
        *,
        key: bytes,
        foreign: tuple[str, str] | None,
        submit: Callable[[SpanRecord], object],
    ) -> None:
        self._name = name
        # Here, not by the worker: no text of theirs waits for it, and what waits is small.
        self._arguments_hash = digest_of(arguments, key) if arguments is not None else None
        self._arguments_bytes = len(arguments) if arguments is not None else None
        self._foreign = foreign or ("", None)
        self._submit = submit
        self._started_at_ns = now_ns()
        # Outside any scope a scope of ours would be a task of its own: there the worker finds the place by the wire.
        self._scope = scopes.tool(name) if scopes.current() is not None else None
        if self._scope is not None:
            self._scope.__enter__()

    @property
    def ids(self) -> tuple[str, str] | None:
        """Trace id and span id, for whoever runs the tool elsewhere; None where the worker gives them later."""
        return (self._scope.trace_id, self._scope.span_id) if self._scope is not None else None

    def within(self) -> AbstractContextManager[None]:
        """Run work that is done for this tool in another task or thread inside it; what is inside it already stays."""
        around = scopes.current()
        while around is not None and around is not self._scope:
            around = around.parent
        return scopes.inside(self._scope) if self._scope is not None and around is None else nullcontext()

    def close(self, *, error_type: str | None, result_bytes: int | None) -> None:
        """Note how the run ended; `error_type` is a class of failure, never a message."""
        if self._scope is not None:
            self._scope.error_type = error_type
            self._scope.sizes = self._arguments_bytes, result_bytes
            self._scope.arguments_hash = self._arguments_hash
            self._scope.__exit__(None, None, None)
            return
        trace_id, parent_id = self._foreign
        record = SpanRecord(
            span_id=scopes.new_span_id(),
            trace_id=trace_id,
            parent_id=parent_id,
            kind="tool",
            name=self._name,
            task_id=None,
            agent_run_id=None,
            depth=0,
            started_at_ns=self._started_at_ns,
            ended_at_ns=now_ns(),
            status="ok" if error_type is None else "error",
            error_type=error_type,
            arguments_bytes=self._arguments_bytes,
            result_bytes=result_bytes,
            arguments_hash=self._arguments_hash,
        )
        self._submit(record)
