"""From the bytes of an HTTP exchange to what they say. Pure: no I/O, no clock, no state.

`recognise` runs on the host's thread, for every request, and looks at nothing but method and path. `read` runs on the
worker thread.
"""

from tokenflation.sdk.wire.recognise import recognise

__all__ = ["recognise"]
