"""Counts in words, for messages, reports and commands. Knows nothing but English nouns, and needs no package."""

__all__ = ["many", "percent", "plural"]


def many(count: int, noun: str, several: str = "") -> str:
    """Return a number and its noun, such as `1 call` and `2,003 calls`; `several` is a plural that is not noun + s."""
    return f"{count:,} {plural(noun, count, several)}"


def plural(noun: str, count: int, several: str = "") -> str:
    """Return the noun as it goes with so many."""
    return noun if count == 1 else several or f"{noun}s"


def percent(share: float, digits: int = 0) -> str:
    """Return a share as it stands in a sentence, such as `23 %`."""
    return f"{100 * share:.{digits}f} %"
