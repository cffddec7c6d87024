"""From the bytes of an HTTP exchange to what they say. Pure: no I/O, no clock, no state.

`recognise` runs on the host's thread, for every request, and looks at nothing but method and path. `read` runs on the
worker thread; `split` is for whoever lays token counts over a prompt.

What `read` calls, in this order: `choosing` finds the dialect of the exchange, a table in `dialects` made of the words
that `shapes` defines. `body` frames the answer, `repeats` leaves out what says nothing new, `extract` takes in each
document by the table, tool calls by `toolcalls`, into `facts`; `usage` makes them our counts. `anatomy` describes the
prompt, by its canonical form. `straight` writes a table's look-ups out as Python.
"""

from tokenflation.sdk.wire.anatomy import split
from tokenflation.sdk.wire.dialects import RESPONSE_HEADERS
from tokenflation.sdk.wire.endpoints.providers import provider_of, served_as
from tokenflation.sdk.wire.endpoints.recognise import recognise
from tokenflation.sdk.wire.endpoints.unread import UNREAD, unread_name
from tokenflation.sdk.wire.read import read
from tokenflation.sdk.wire.view import ExchangeBytes

__all__ = [
    "RESPONSE_HEADERS",
    "UNREAD",
    "ExchangeBytes",
    "provider_of",
    "read",
    "recognise",
    "served_as",
    "split",
    "unread_name",
]
