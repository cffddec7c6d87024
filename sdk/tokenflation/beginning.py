"""Begins to record, as it is imported, in a Python program that a recorded one started anew.

Nobody imports it by hand. That it is an import lets Python see to threads that need it at once.
"""

import logging
import os

from tokenflation.children import CHILDREN, be_told, hand_on, told
from tokenflation.sdk.interrupts import let_through

__all__ = ["OVER"]

_log = logging.getLogger("tokenflation")


def _begin() -> None:
    settings = told()
    if not settings:
        return
    from tokenflation.sdk.instrument import active, instrument

    if settings.get("children") is False:  # a worker of Ray's: what it starts anew is not to be told
        os.environ.pop(CHILDREN, None)
        be_told(settings)
    if active() is None:
        url = settings.pop("otlp", None)
        exporter = None
        if url:
            from tokenflation.sdk.tracing.exporting import OtlpExporter

            exporter = OtlpExporter(url)
        handle = instrument(**{"children": True, **settings}, span_exporter=exporter)
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
