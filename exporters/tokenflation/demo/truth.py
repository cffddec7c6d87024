"""The check of the recording: what the store holds of each call against what the server told the client. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenflation.demo.models import Reported

__all__ = ["Difference", "differences"]

_COMPARED = ("api", "input_tokens", "cache_read_tokens", "output_tokens")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing that the store and the server say differently of a call."""

    response_id: str
    what: str
    reported: object
    stored: object


def differences(reported: Iterable["Reported"], stored: Iterable[Mapping[str, Any]]) -> list[Difference]:
    """Return every difference between the server's own usage and the store, call by call; empty if there is none.

    Calls are matched by the server's response id. A stored call that failed is not compared: the client got no usage.
    """
    held: dict[str, list[Mapping[str, Any]]] = {}
    for row in stored:
        if row["status"] == "ok":
            held.setdefault(str(row["response_id"]), []).append(row)
    found = []
    for one in reported:
        rows = held.pop(one.response_id, [])
        if len(rows) != 1:
            found.append(Difference(response_id=one.response_id, what="calls", reported=1, stored=len(rows)))
            continue
        for what in _COMPARED:
            said, kept = getattr(one, what), _plain(rows[0][what])
            if said != kept:
                found.append(Difference(response_id=one.response_id, what=what, reported=said, stored=kept))
    found += [Difference(response_id=name, what="calls", reported=0, stored=len(rows)) for name, rows in held.items()]
    return found


def _plain(value: Any) -> Any:
    """Return None for the missing values that frames use, which equal nothing."""
    return value if value is not None and value == value else None  # noqa: PLR0124  (NaN differs from itself)
