"""Begins to record, as it is imported, in a Python program that a recorded one started anew.

Nobody imports it by hand. That it is an import lets Python see to threads that need it at once.
"""

import logging
from typing import Any

from tokenflation.children import hand_on, told
from tokenflation.sdk.interrupts import let_through

__all__ = ["OVER"]

_log = logging.getLogger("tokenflation")


class _Exporter:
    """Sends spans to an OTLP endpoint; made when the first span is sent.

    Only then is it imported: with it comes a client library, and one that the program imports just now must not be
    imported inside of that.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: Any = None

    def export(self, spans: Any) -> Any:
        if self._made is None:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

            self._made = OTLPSpanExporter(endpoint=self._url)
        return self._made.export(spans)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return bool(self._made.force_flush(timeout_millis)) if self._made is not None else True

    def shutdown(self) -> None:
        if self._made is not None:
            self._made.shutdown()


def _begin() -> None:
    settings = told()
    if not settings:
        return
    from tokenflation.sdk.instrument import active, instrument

    if active() is None:
        url = settings.pop("otlp", None)
        handle = instrument(**settings, span_exporter=_Exporter(url) if url else None, children=True)
        handle.lent = True
        if url:
            hand_on({**settings, "otlp": url})


try:
    _begin()
except Exception as error:  # the program goes on as if nobody had wished to record it
    _log.warning("a program that was started by a recorded one is not recorded: %r", error)
    let_through(error)
OVER = True
"""Said last: a module that is being imported has its name already."""
