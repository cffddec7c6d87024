"""The texts of an answer that is made of fields: what others may be told of it without the rest. Pure and total."""

import re
from typing import Any

from tokenflation.sdk.wire.strings import strings
from tokenflation.sdk.wire.values import loads

__all__ = ["FINAL_CALL", "fields"]

FINAL_CALL = "final_answer("
"""In code: its agent says that it is done (huggingface.co/docs/smolagents/conceptual_guides/react)."""

_SHORTEST = 24
_FENCED = re.compile(r"```\w*\s(.*?)```\s*\Z", re.DOTALL)
_MARK = re.compile(r"^\[\[ ## \w+ ## \]\]", re.MULTILINE)
"""Before each field of an answer to DSPy (dspy.ai/learn/programming/adapters, ChatAdapter)."""
_TEXT = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"')
"""Nothing is gone back on, and so nothing kept for that: 120 times the answer's bytes were."""
_FINAL = re.compile(re.escape(FINAL_CALL) + r"""\s*f?(?:"([^"\n]{24,})"|'([^'\n]{24,})')""")
_ELEMENT = re.compile(r"<(\w+)>([^<>]{24,})</\1>")


def fields(answer: str) -> tuple[str, ...]:
    """Return the longer texts in the fields of an answer in JSON, DSPy's marks or XML, and what code ends with."""
    answer = answer.strip()
    fenced = _FENCED.match(answer) if answer.startswith("```") else None
    inner = fenced[1].strip() if fenced is not None else answer
    if inner[:1] in ("{", "[") and not inner.startswith("[[ ## "):
        value = _value(inner)
        if value is None:  # of a stream only the beginning is kept
            value = [_value(text) for text in _TEXT.findall(inner)]
        found = strings(value, _SHORTEST)
        if found:
            return found
    pieces = _MARK.split(answer)[1:] if "[[ ## " in answer else []
    if "</" in answer:
        pieces += [one[2] for one in _ELEMENT.finditer(answer)]
    if FINAL_CALL in answer:
        pieces += ["".join(one) for one in _FINAL.findall(answer)]
    return strings([piece.strip() for piece in pieces], _SHORTEST) if pieces else ()


def _value(text: str) -> Any:
    return loads(text.encode("utf-8", "surrogatepass"))
