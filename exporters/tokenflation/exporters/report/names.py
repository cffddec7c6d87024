"""Makes names fit to be shown: one line, readable in either direction, short where there is little room.

Names come from programs and logs, so they hold anything. Knows nothing of HTML: what is shown is escaped elsewhere.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

import pandas as pd

__all__ = ["NO_NAME", "listed", "short_names", "shown_name", "with_shown_names"]

NO_NAME = "(no name)"
"""What a name without a visible letter is called."""

_ISOLATE, _END = "\N{FIRST STRONG ISOLATE}", "\N{POP DIRECTIONAL ISOLATE}"
# Marks that turn the direction of text: one that is left open would turn what follows the name, and hide what it is.
_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_BEFORE = 5
"""Letters that alike names are given in front of where they part."""


def shown_name(name: str) -> str:
    """Return a name as the page shows it: control characters gone, white space single, never empty.

    A name that holds letters written from right to left is isolated, so that numbers beside it stay where they are
    (Unicode Standard Annex 9, "Explicit Directional Isolates").
    """
    found = "".join(
        " " if one.isspace() else one if unicodedata.category(one) not in ("Cc", "Cs") else "\N{REPLACEMENT CHARACTER}"
        for one in _TURNS.sub("", name)
    )
    # A backtick would end what the sentences of findings show as a name.
    found = " ".join(found.replace("`", "'").split())
    if not found:
        return NO_NAME
    turned = any(unicodedata.bidirectional(one) in ("R", "AL") for one in found)
    return f"{_ISOLATE}{found}{_END}" if turned else found


def with_shown_names(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Return the frame with the names in these columns as they are shown; the same frame where all are fit already."""
    changed = {}
    for column in columns:
        if column not in frame.columns:
            continue
        # Neither by unique(), of which older pandas take a name that ends in NUL for the one without, nor by replace().
        names = {str(name): shown_name(str(name)) for name in dict.fromkeys(frame[column].dropna())}
        if any(name != shown for name, shown in names.items()):
            shown = frame[column].map(lambda name, names=names: names[str(name)], na_action="ignore")
            changed[column] = shown.astype(frame[column].dtype)
    return frame.assign(**changed) if changed else frame


def short_names(names: Sequence[str], letters: int) -> list[str]:
    """Return each name in at most so many letters; those that begin alike are cut to where they part."""
    beginnings = Counter(_head(name, letters) for name in dict.fromkeys(names))
    return [
        _head(name, letters)
        if beginnings[_head(name, letters)] == 1
        else _parted(name, [one for one in names if _head(one, letters) == _head(name, letters)], letters)
        for name in names
    ]


def _head(name: str, letters: int) -> str:
    if len(name) <= letters:
        return name
    # A cut isolate must be closed again.
    end = _END if name.startswith(_ISOLATE) else ""
    return f"{name[: letters - 1 - len(end)]}…{end}"


def _parted(name: str, alike: Sequence[str], letters: int) -> str:
    # Of all names the first and the last in order part first.
    ends = zip(min(alike), max(alike), strict=False)
    start = max(0, next((place for place, (one, other) in enumerate(ends) if one != other), len(name)) - _BEFORE)
    rest = name[start:].strip(_END)
    begin, end = (_ISOLATE, _END) if name.startswith(_ISOLATE) else ("", "")
    room = letters - 1 - len(begin) - len(end)
    return f"{begin}…{rest if len(rest) <= room else f'{rest[: room - 1]}…'}{end}"


def listed(names: Sequence[str], most: int = 5) -> str:
    """Return names in a row, such as `a, b and 7 more`."""
    shown = ", ".join(names[:most])
    left = len(names) - most
    return f"{shown} and {left:,} more" if left > 0 else shown
