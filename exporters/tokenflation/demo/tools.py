"""The example agent's tools: a full-text search over Python's own language reference, its pages, and a calculator.

All of them are real and need no network. Knows nothing of models or of the recorder.
"""

import ast
import operator
import re
import sqlite3
import textwrap
import threading
from collections.abc import Callable
from pydoc_data.topics import topics

__all__ = ["Library", "calculate"]

_PAGE_CHARACTERS = 360
_LINE_CHARACTERS = 100
_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


class Library:
    """Python's language reference, as it ships with Python, in a full-text index; may be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._index = sqlite3.connect(":memory:", check_same_thread=False)
        self._index.execute("CREATE VIRTUAL TABLE docs USING fts5(topic, body, tokenize = porter)")
        self._index.executemany("INSERT INTO docs VALUES (?, ?)", sorted(topics.items()))

    def close(self) -> None:
        """Forget the index."""
        self._index.close()

    def search(self, query: str) -> str:
        """Return up to three lines `topic: what it says near the words`, the best match first."""
        found = self._rows(query, "topic, snippet(docs, 1, '', '', ' ... ', 12)")
        lines = (f"{topic}: {_plain(text)[:_LINE_CHARACTERS]}" for topic, text in found)
        return "\n".join(lines) or "nothing found"

    def pages(self, query: str, limit: int) -> list[str]:
        """Return the first pages of the topic that matches best; none if nothing matches."""
        found = self._rows(query, "topic, body")
        if not found:
            return []
        return textwrap.wrap(_plain(found[0][1]), _PAGE_CHARACTERS)[:limit]

    def _rows(self, query: str, columns: str) -> list[tuple[str, str]]:
        words = re.findall(r"[a-z]+", query.lower())
        if not words:
            return []
        # A topic's name says more than its text, hence the weight of 20.
        statement = f"SELECT {columns} FROM docs WHERE docs MATCH ? ORDER BY bm25(docs, 20, 1) LIMIT 3"
        with self._lock:
            return self._index.execute(statement, (" OR ".join(words),)).fetchall()


def _plain(text: str) -> str:
    """Return the text on one line, without the rules below its headings."""
    return " ".join(re.sub(r"[*=~^\-]{3,}", " ", text).split())


def calculate(expression: str) -> str:
    """Return the value of an arithmetic expression of numbers, `+ - * / // %` and brackets, or what is wrong."""
    try:
        return f"{_value(ast.parse(expression.strip(), mode='eval').body):.10g}"
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError) as error:
        return f"error: {error}"


def _value(node: ast.expr) -> float:
    match node:
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _OPERATORS[type(op)](_value(left), _value(right))
        case _:
            raise ValueError(f"cannot calculate {ast.unparse(node)!r}")
