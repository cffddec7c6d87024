"""The demo's tasks: questions that anyone can check. Plain data; knows nothing of models."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["KINDS", "TOPICS", "Task", "tasks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task of a kind."""

    kind: str
    task_id: str
    question: str
    words: tuple[str, ...] = ()
    """What to look up, in this order."""
    result: float | None = None
    """The right answer, where it is a number."""

    def is_right(self, answer: str) -> bool:
        """Return whether the answer's last number is the right one."""
        numbers = re.findall(r"-?\d+(?:\.\d+)?", answer.replace(",", ""))
        return bool(numbers) and self.result is not None and float(numbers[-1]) == self.result


_EXPLAIN = (
    ("with", "What does the with statement do?"), ("yield", "What does yield do?"), ("lambda", "What is a lambda?"),
    ("try", "When does finally run?"), ("assert", "What does assert do?"), ("import", "What does import do?"),
    ("del", "What does del do?"), ("global", "What does global do?"), ("continue", "What does continue do?"),
    ("slicings", "What is slicing?"), ("await", "What does await do?"), ("attribute", "What is an attribute?"),
)  # fmt: skip
_COMPARE = (
    ("break", "continue"), ("if", "while"), ("lists", "dict"), ("raise", "assert"), ("yield", "return"),
    ("class", "function"), ("for", "while"), ("integers", "floating"), ("strings", "numbers"), ("pass", "del"),
    ("try", "with"), ("calls", "slicings"),
)  # fmt: skip
_CALCULATE = (
    (17, "*", 23), (144, "/", 12), (389, "+", 476), (1000, "-", 137), (64, "*", 12),
    (955, "+", 87), (45, "*", 45), (810, "/", 9), (731, "-", 268), (99, "*", 7),
    (256, "+", 512), (38, "*", 16),
)  # fmt: skip
_DO = {
    "*": lambda left, right: left * right,
    "/": lambda left, right: left / right,
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
}

KINDS = ("explain", "compare", "calculate")
"""Kinds of task, in the order they are given out."""
TOPICS = tuple(dict.fromkeys(word for words in (*((one,) for one, _ in _EXPLAIN), *_COMPARE) for word in words))
"""What may be looked up."""


def tasks(runs: int) -> Iterator[Task]:
    """Yield `runs` tasks of each kind, the kinds in turn; from the thirteenth on, the questions come again."""
    for number in range(runs):
        at = number % len(_EXPLAIN)
        word, question = _EXPLAIN[at]
        yield Task(kind="explain", task_id=f"explain-{number:02}", question=question, words=(word,))
        one, other = _COMPARE[at]
        question = f"How does {one} differ from {other}?"
        yield Task(kind="compare", task_id=f"compare-{number:02}", question=question, words=(one, other))
        left, sign, right = _CALCULATE[at]
        question, result = f"What is {left} {sign} {right}?", _DO[sign](left, right)
        yield Task(kind="calculate", task_id=f"calculate-{number:02}", question=question, result=float(result))
