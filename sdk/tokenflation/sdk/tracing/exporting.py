"""A span exporter of the user's, with what it loses counted and its end bounded. Knows nothing of what spans say."""

import logging
import os
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

__all__ = ["Counted", "OtlpExporter", "shut_down"]

_log = logging.getLogger("tokenflation")


class Counted(SpanExporter, SpanProcessor):
    """Passes spans on to an exporter and counts those that it refuses, and those that never got to it.

    Added to a provider as a processor too, it knows how many spans there were: a batch processor drops some silently.
    """

    def __init__(self, exporter: Any, lost: Callable[[str, int], None]) -> None:
        self._exporter = exporter
        self._lost = lost
        self._ended = self._done = 0
        self._process_id = os.getpid()

    def on_end(self, span: "ReadableSpan") -> None:
        """Count a span; called by the one thread that emits ours."""
        self._check_process()
        if span.context is not None and span.context.trace_flags.sampled:
            self._ended += 1

    def export(self, spans: Sequence["ReadableSpan"]) -> SpanExportResult:
        """Export, and count what was not taken; an exporter that raises is the batch processor's to log."""
        self._check_process()
        result: SpanExportResult = SpanExportResult.FAILURE
        try:
            result = self._exporter.export(spans)
        finally:
            self._done += len(spans)
            if result is not SpanExportResult.SUCCESS:
                self._lost("export_failed", len(spans))
        return result

    def shutdown(self) -> None:
        """Shut the exporter down; as exporter and as processor it is asked twice."""
        exporter, self._exporter = self._exporter, None
        if exporter is not None:
            exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Let the exporter send what it holds."""
        return bool(self._exporter.force_flush(timeout_millis)) if self._exporter is not None else True

    def missing(self) -> int:
        """Return how many spans ended of which the exporter has not said what became of them."""
        self._check_process()
        return self._ended - self._done

    def _check_process(self) -> None:
        if self._process_id != os.getpid():  # what had ended before a fork is the parent's to export
            self._process_id = os.getpid()
            self._ended = self._done = 0


class OtlpExporter(SpanExporter):
    """Sends spans to an OTLP endpoint; made when a process sends its first span.

    Only then is it imported: with it comes a client library, and one that the program imports just now must not be
    imported inside of that. A fork makes its own: on a connection of its parent's their requests would run together.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: list[Any] = []
        """Of this process and those that it is a fork of: what is let go of would close its connections with locks."""
        self._process_id = 0

    def export(self, spans: Sequence["ReadableSpan"]) -> SpanExportResult:
        """Send spans."""
        if self._process_id != os.getpid():
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            self._made.append(OTLPSpanExporter(endpoint=self._url))
            self._process_id = os.getpid()
        result: SpanExportResult = self._made[-1].export(spans)
        return result

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Return whether nothing waits here."""
        return self._process_id != os.getpid() or bool(self._made[-1].force_flush(timeout_millis))

    def shutdown(self) -> None:
        """Send no more."""
        if self._process_id == os.getpid():
            self._made[-1].shutdown()


def shut_down(provider: Any, timeout_s: float) -> bool:
    """Shut a provider down without waiting for a dead endpoint: True if it was done in time.

    What its exporter then still tries goes on in a daemon thread until the program ends.
    """
    done = threading.Event()

    def run() -> None:
        try:
            provider.shutdown()
        except Exception:  # an exporter of the user's may do anything; the program goes on
            _log.warning("the exporter of tokenflation's spans could not be shut down", exc_info=True)
        done.set()

    try:
        threading.Thread(target=run, name="tokenflation-shutdown", daemon=True).start()
    except RuntimeError:  # the interpreter is ending and starts no thread any more
        run()
    if done.wait(timeout_s):
        return True
    _log.warning("the exporter of tokenflation's spans did not end within %g s; some spans may be lost", timeout_s)
    return False
