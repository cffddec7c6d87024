"""Counts in words, for messages, reports and commands. Knows nothing but English nouns, and needs no package."""

__all__ = ["in_time", "many", "percent", "plural", "with_letter"]

_LETTERS = ((1e24, "Y"), (1e21, "Z"), (1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_TIMES = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"))


def many(count: int, noun: str, several: str = "") -> str:
    """Return a number and its noun, such as `1 call` and `2,003 calls`; `several` is a plural that is not noun + s."""
    return f"{count:,} {plural(noun, count, several)}"


def plural(noun: str, count: int, several: str = "") -> str:
    """Return the noun as it goes with so many."""
    return noun if count == 1 else several or f"{noun}s"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as it stands in a sentence, such as `23 %`."""
    return f"{100 * share:.{digits}f} %"


def with_letter(number: float) -> tuple[float, str]:
    """Return how many thousands, millions, ... a number is, and their letter; itself, and none, where it is less."""
    # 999.5 k and more reads better as 1.00 M than as 1000 k.
    return next(((number / scale, one) for scale, one in _LETTERS if abs(number) >= scale * 0.9995), (number, ""))


def in_time(seconds: float) -> tuple[float, str]:
    """Return seconds in the unit that reads best, and that unit."""
    return next(((seconds / scale, one) for scale, one in _TIMES if abs(seconds) >= scale), (1000 * seconds, "ms"))
