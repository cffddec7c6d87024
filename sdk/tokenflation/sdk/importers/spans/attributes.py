"""Reads one attribute of a span: a text, a number, JSON in a text. Pure; knows no attribute's name."""

import ast
from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.wire.values import loads

__all__ = ["finite", "flat", "literal", "number_of", "parsed", "said"]

_MAX_ITEMS = 256
_MAX_LITERAL = 2**14


def flat(value: Any) -> dict[str, Any]:
    """Return nested objects as dotted names; lists of objects get their positions as names, other lists stay."""
    found: dict[str, Any] = {}
    waiting: list[tuple[str, Any]] = [("", value)]
    while waiting:
        prefix, one = waiting.pop()
        if isinstance(one, dict):
            waiting += [(f"{prefix}.{key}" if prefix else str(key), inner) for key, inner in one.items()]
        elif isinstance(one, list) and one and isinstance(one[0], dict):
            waiting += [(f"{prefix}.{at}", inner) for at, inner in enumerate(one[:_MAX_ITEMS])]
        elif one is not None:
            found[prefix] = one
    return found


def said(attributes: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """Return the first of these attributes that is a text; a text in JSON's quotation marks loses them."""
    for name in names:
        value = attributes.get(name)
        if isinstance(value, str) and value and (value := value.strip('"')):
            return value[:200]
    return None


def number_of(attributes: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """Return the first of these attributes that is a number."""
    for name in names:
        if name in attributes and (value := finite(attributes[name])) is not None:
            return value
    return None


def finite(value: Any) -> float | int | None:
    """Return a number, also one in a text, if it is finite, not negative and no more than a float holds exactly."""
    if isinstance(value, str) and 0 < len(value) < 40:
        try:
            value = int(value) if value.isdigit() else float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53:
        return None
    return int(value) if value == int(value) and not isinstance(value, float) else value


def parsed(value: Any) -> Any:
    """Return what a text holds as JSON, and anything else as it is."""
    return loads(value.encode("utf-8", "replace")) if isinstance(value, str) else value


def literal(value: Any) -> Any:
    """Return what a text holds as Python writes it, and None for anything else."""
    if not isinstance(value, str) or value[:1] != "{" or len(value) > _MAX_LITERAL:
        return None
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
