"""How many tokens a text has: a first estimate by content kind, and factors learnt from what providers report.

A tokenizer gives about one token for a word, a third for a digit, two thirds for a run of punctuation, and so on. The
estimate of each kind is multiplied by a factor that is 1 at first and is learnt for each provider and model from
reported counts. Pure, without NumPy; knows nothing of calls.
"""

from collections.abc import Sequence
from operator import mul
from typing import Final

from tokenflation.sdk.wire.canonical import PAYLOAD_FILL, PAYLOAD_TOKENS_PER_BYTE

__all__ = [
    "FEATURES",
    "KINDS",
    "TOOL_SHARE",
    "Factors",
    "counts",
    "plausible",
    "tokens_by_kind",
    "tool_tokens",
]

FEATURES: Final = (
    "words", "lower", "upper", "camel", "numbers", "spaced", "digits", "runs", "punctuation", "lines", "indents", "two", "three",
    "payload",
)  # fmt: skip
"""What is counted in a text: starts of words, their letters, capitals, capitals inside of words; starts of numbers,
those after a space, digits; starts of runs of punctuation, its characters; line ends; pairs of spaces; first bytes of
letters of two and of three or four bytes; bytes of payloads."""

KINDS: Final = ("words", "numbers", "punctuation", "layout", "two_byte", "three_byte", "payload", "messages", "tools")
"""Content kinds: words; digits; punctuation; line ends and indents; letters of two UTF-8 bytes (accents, Cyrillic,
Arabic) and of three or four (Chinese, Japanese, emoji); images and files; marks around a message; tool definitions."""

TOOLS: Final = 8
"""Position of `tools` in `KINDS`."""
TOOL_SHARE: Final = 0.8
"""Tokens of tool definitions for each token of their JSON: providers write them anew and report 0.6 to 1.1."""

# The weights in `tokens_by_kind` are the least-squares fit of `bench/split_error.py --fit` to o200k counts of Python,
# JavaScript, JSON, Markdown and package metadata, and of one long text each in English, Chinese and Japanese.
_MESSAGE_TOKENS = 4.0
_SAMPLED = 4096
_SAMPLES = 16

_PRIOR_SD = (0.15, 0.5, 0.25, 0.3, 0.4, 0.35, 0.8, 0.5, 0.4)
"""How far a vocabulary's factor of a kind may lie from 1: what o200k, cl100k and qwen3 differ by, and more."""
_COMMON_SD = 0.1
"""How far all factors may lie from 1 together."""
_LOWEST, _HIGHEST = 0.25, 4.0
_NOISE = 0.12
_NOISE_TOKENS = 10.0
_LEARNT_FROM = 3
_EVERY_ONE_UNTIL = 64
_EVERY = 8


def _class_of(byte: int) -> int:
    if byte == PAYLOAD_FILL:
        return ord("x")
    if byte >= 0x80:
        return ord("3" if byte >= 0xE0 else "2" if byte >= 0xC0 else "c")
    char = chr(byte)
    if char.isalpha():
        return ord("A" if char.isupper() else "a")
    return ord("0" if char.isdigit() else " " if char == " " else "n" if char in "\n\r\t" else "p")


_CLASSES: Final = bytes(map(_class_of, range(256)))


def counts(texts: Sequence[str]) -> tuple[float, ...]:
    """Return how often each of `FEATURES` stands in some texts; of more than 4,096 characters, in an even sample."""
    text = texts[0] if len(texts) == 1 else "\n".join(texts)
    scale = 1.0
    if len(text) > _SAMPLED:
        step, width = len(text) // _SAMPLES, _SAMPLED // _SAMPLES
        scale = len(text) / _SAMPLED
        text = "".join([text[at : at + width] for at in range(0, step * _SAMPLES, step)])
    classes = text.encode("utf-8", "replace").translate(_CLASSES)
    count = classes.count
    lower, upper, digits, punctuation = count(b"a"), count(b"A"), count(b"0"), count(b"p")
    lines, two, three, payload = count(b"n"), count(b"2"), count(b"3"), count(b"x")
    indents = count(b"  ")
    camel = words = numbers = spaced = runs = 0
    if upper:
        camel = count(b"aA")
        classes = classes.replace(b"A", b"a")
        count = classes.count
    if lower or upper:
        words = count(b" a") + count(b"pa") + count(b"na") + count(b"0a") + classes.startswith(b"a")
    if digits:
        spaced = count(b" 0")
        numbers = spaced + count(b"p0") + count(b"n0") + count(b"a0") + classes.startswith(b"0")
    if punctuation:
        runs = count(b" p") + count(b"ap") + count(b"np") + count(b"0p") + classes.startswith(b"p")
    found = (
        words,
        lower,
        upper,
        camel,
        numbers,
        spaced,
        digits,
        runs,
        punctuation,
        lines,
        indents,
        two,
        three,
        payload,
    )
    return found if scale == 1.0 else tuple([scale * one for one in found])


def tokens_by_kind(texts: Sequence[str], messages: float = 0) -> list[float]:
    """Return a first estimate of the tokens of some texts by content kind, one number for each of `KINDS`."""
    if not texts:
        return [0.0] * 7 + [_MESSAGE_TOKENS * messages, 0.0]
    found = counts(texts)
    words, lower, upper, camel, numbers, spaced, digits, runs, punctuation, lines, indents, two, three, payload = found
    return [
        0.63 * words + 0.07 * lower + 0.095 * upper + 0.59 * camel,
        1.03 * numbers + 1.08 * spaced + 0.28 * digits,
        0.61 * runs + 0.15 * punctuation,
        0.96 * lines + 0.13 * indents,
        0.7 * two,
        0.72 * three,
        PAYLOAD_TOKENS_PER_BYTE * payload,
        _MESSAGE_TOKENS * messages,
        0.0,
    ]


def tool_tokens(definitions: str) -> float:
    """Return a first estimate of the tokens of tool definitions in JSON."""
    return TOOL_SHARE * sum(tokens_by_kind([definitions])) if definitions else 0.0


def plausible(estimate: float, reported: int) -> bool:
    """Return whether a reported count can be of what was estimated: within a factor of 3, or within 24 tokens."""
    return abs(reported - estimate) <= 24 or (reported > 0 and estimate / 3 <= reported <= estimate * 3)


class Factors:
    """What is known of one model's vocabulary; about 1 KB. Learns as a Kalman filter does, from any mix of kinds."""

    __slots__ = ("_covariance", "factors", "observations")

    def __init__(self) -> None:
        self.observations = 0
        """Reported counts that agreed with the estimate well enough to be learnt from."""
        self.factors = [1.0] * len(KINDS)
        self._covariance = [
            [_COMMON_SD**2 + (sd * sd if row == column else 0.0) for column in range(len(KINDS))]
            for row, sd in enumerate(_PRIOR_SD)
        ]

    @property
    def learnt(self) -> bool:
        """Whether there is enough evidence to call the factors learnt."""
        return self.observations >= _LEARNT_FROM

    def tokens(self, by_kind: Sequence[float]) -> float:
        """Return the estimated tokens of a first estimate by kind."""
        return float(sum(map(mul, self.factors, by_kind)))

    def agrees(self, by_kind: Sequence[float], reported: int) -> bool:
        """Return whether a reported count can be of these texts."""
        return plausible(self.tokens(by_kind), reported)

    def observe(self, by_kind: Sequence[float], reported: int) -> None:
        """Learn from the count reported for texts whose first estimate is known; what cannot be of them is left out.

        A Kalman filter's update (Welch and Bishop, "An Introduction to the Kalman Filter", equations 1.11 to 1.13)
        with noise of 12 % and 10 tokens, a text's own scatter; an error of more than three standard deviations counts
        as three. Every count up to the 64th, then every eighth.
        """
        if not self.agrees(by_kind, reported):
            return
        self.observations += 1
        if self.observations > _EVERY_ONE_UNTIL and self.observations % _EVERY:
            return
        covariance = self._covariance
        spread = [sum(map(mul, row, by_kind)) for row in covariance]
        estimate = self.tokens(by_kind)
        variance = sum(map(mul, spread, by_kind)) + (_NOISE * estimate) ** 2 + _NOISE_TOKENS**2
        error = reported - estimate
        limit = 3 * variance**0.5
        step = max(-limit, min(limit, error)) / variance
        self.factors = [
            min(max(factor + gain * step, _LOWEST), _HIGHEST) for factor, gain in zip(self.factors, spread, strict=True)
        ]
        for row, gain in zip(covariance, spread, strict=True):
            if gain:
                share = gain / variance
                row[:] = [cell - share * other for cell, other in zip(row, spread, strict=True)]
