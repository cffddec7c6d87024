"""Exact token counts where a model's vocabulary is public; needs the extra `tokens`. Does no I/O but loading it.

Knows nothing of providers' totals: whoever asks scales the counts to them.
"""

import re
import time
from collections.abc import Iterator, Sequence
from typing import Final

from tokenflation.sdk.errors import MissingExtra
from tokenflation.sdk.wire.canonical import PAYLOAD_FILL, PAYLOAD_TOKENS_PER_BYTE

__all__ = ["TOKENS_PER_MESSAGE", "ExactCounter", "require_splintr", "vocabulary_of"]

TOKENS_PER_MESSAGE: Final = 4
"""Marks around a message and its role. Source: cookbook.openai.com, "How to count tokens with tiktoken"
(`tokens_per_message = 3`, and one for the role); other vocabularies' chat templates have 2 to 6."""

_UNINTERRUPTED = 16_384
_VOCABULARIES: Final = (
    (r"gpt-oss", "gpt_oss"),
    (r"gpt-4o|gpt-4\.1|gpt-4\.5|gpt-5|chatgpt-4o|^o[134](-|$)|codex-mini", "o200k_base"),
    (r"gpt-4(?!\.)|gpt-3\.5-turbo(?!-instruct)|gpt-35-turbo|text-embedding-(3|ada-002)", "cl100k_base"),
    (r"llama-?v?3(?!\d)", "llama3"),
    (r"deepseek-(v3|r1|chat|reasoner)", "deepseek_v3"),
    (r"qwen-?3(?!\.\d)", "qwen3"),
    (r"mistral-nemo|ministral|mistral-small|devstral|magistral", "mistral_v3"),
    (r"gemma-?3(?!n)", "gemma3"),
    (r"gemma-?4", "gemma4"),
    (r"kimi-k2", "kimi_k2"),
    (r"glm-4", "glm4"),
)


def vocabulary_of(model: str | None) -> str | None:
    """Return the name of the public vocabulary that a model reads with, or None if it has none that we know."""
    name = (model or "").lower().rpartition("/")[2]
    return next((vocabulary for pattern, vocabulary in _VOCABULARIES if re.search(pattern, name)), None)


def require_splintr() -> None:
    """Check that the extra is installed.

    Raises:
        MissingExtra: it is not.
    """
    try:
        import splintr  # noqa: F401  (is it there?)
    except ImportError as error:
        raise MissingExtra("Counting tokens exactly", "tokens") from error


class ExactCounter:
    """One vocabulary; holds about 30 MB. Counts 2 to 9 MB/s, the host's threads get their turn every 16 KB."""

    def __init__(self, vocabulary: str) -> None:
        require_splintr()
        from splintr import Tokenizer

        self._tokenizer = Tokenizer.from_pretrained(vocabulary)

    def tokens(self, texts: Sequence[str], messages: float = 0) -> int:
        """Return the tokens of some texts with the marks of `messages` messages around them.

        What looks like a special token is counted as text; an image or a file counts as it does in `factors`.
        """
        return round(TOKENS_PER_MESSAGE * messages) + sum(map(self._text, texts))

    def _text(self, text: str) -> int:
        fill = chr(PAYLOAD_FILL)
        if fill in text:
            return round(text.count(fill) * PAYLOAD_TOKENS_PER_BYTE)
        text = text if text.isascii() else text.encode("utf-8", "replace").decode()
        if len(text) <= _UNINTERRUPTED:
            return len(self._tokenizer.encode_ordinary(text))
        return sum(len(self._tokenizer.encode_ordinary(piece)) for piece in _pieces(text))


def _pieces(text: str) -> Iterator[str]:
    """Yield a long text in pieces; between two of them other threads may run, for the tokenizer never lets them.

    Cut before a space where there is one: no vocabulary has tokens that reach over it from the left.
    """
    at = 0
    while at < len(text):
        end = at + _UNINTERRUPTED
        if end < len(text):
            space = text.rfind(" ", at + _UNINTERRUPTED // 2, end)
            end = space if space > 0 else end
        yield text[at:end]
        at = end
        time.sleep(0)
