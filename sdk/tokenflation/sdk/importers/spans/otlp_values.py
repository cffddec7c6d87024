"""Reads single values out of OTLP's JSON: attributes, times, lists under any of their names. Pure; never raises.

Source: opentelemetry.io/docs/specs/otlp, "JSON Protobuf Encoding".
"""

from collections.abc import Mapping
from typing import Any

from tokenflation.sdk.importers.files.fields import mapping

__all__ = ["attributes", "either", "first", "time_ns_of"]

_DEEPEST = 20


def either(source: Mapping[str, Any], *names: str) -> Any:
    """Return what stands under the first of the names that has something."""
    return next((source[name] for name in names if source.get(name) is not None), None)


def first(source: Mapping[str, Any], *names: str) -> list[Any]:
    """Return the list under the first of the names that has something."""
    value = either(source, *names)
    return value if isinstance(value, list) else []


def time_ns_of(value: Any) -> int | None:
    """Return unix ns: a number, or the text that JSON has for 64 bits; None for zero, which means not set."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 4 * 10**18 else None


def attributes(pairs: Any) -> dict[str, Any]:
    """Return the plain values of a list of KeyValues by their names."""
    found: dict[str, Any] = {}
    for pair in pairs if isinstance(pairs, list) else ():
        if isinstance(pair, Mapping) and isinstance(pair.get("key"), str):
            value = _value(pair.get("value"), 0)
            if value is not None:
                found[pair["key"]] = value
    return found


def _value(value: Any, depth: int) -> Any:
    """Return the plain value of an AnyValue."""
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return None
    for key, inner in value.items():
        kind = key.replace("_v", "V")
        if kind in ("stringValue", "boolValue", "doubleValue", "bytesValue"):
            return inner if isinstance(inner, str | bool | int | float) else None
        if kind == "intValue":
            return _whole(inner)
        if kind == "arrayValue":
            inside = mapping(inner).get("values")
            return [_value(one, depth + 1) for one in inside] if isinstance(inside, list) else []
        if kind == "kvlistValue":
            inside = mapping(inner).get("values")
            pairs = inside if isinstance(inside, list) else []
            return {
                str(one.get("key")): _value(one.get("value"), depth + 1) for one in pairs if isinstance(one, Mapping)
            }
    return None


def _whole(value: Any) -> int | None:
    if isinstance(value, str) and 0 < len(value) < 21 and value.lstrip("-").isascii() and value.lstrip("-").isdigit():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
