"""Token counts by the rules of whoever wrote them: which totals have their cached part inside, and which leave it out.

OpenAI and Google count cached tokens inside the input, Anthropic and Bedrock Converse beside it. A tracer may keep what
it got or add the parts up, and releases differ. So, in this order:

1. Cached parts that are more than the input cannot be inside it.
2. A total that is input + output + cached parts says that they stand beside each other.
3. Tracers whose source shows that they leave them out are listed, with that source.
4. Otherwise they are inside, as the OpenTelemetry conventions and OpenInference ask for.

Google's answer counts thoughts beside the candidates, and tracers may keep the candidates alone (OpenInference and
OpenLLMetry of Vertex AI): what its total has above input and output is thought, and so output.

Pure; a number that was not given stays None.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from tokenflation.sdk.records import Usage
from tokenflation.sdk.wire.usage import consistent
from tokenflation.sdk.wire.values import at, count_of

__all__ = ["Counted", "counted", "from_langfuse", "from_provider", "kinds_of", "written"]

_LEAVE_OUT: tuple[tuple[str, frozenset[str] | None], ...] = (
    # traceloop/openllmetry, instrumentation/bedrock/span_utils.py, `converse_usage_record`: `inputTokens` as it came.
    ("opentelemetry.instrumentation.bedrock", None),
    # traceloop/openllmetry, instrumentation/llamaindex/_response_utils.py, `_extract_anthropic_usage`.
    ("opentelemetry.instrumentation.llamaindex", frozenset({"anthropic"})),
    # OpenLIT 1.45 keeps Anthropic's `input_tokens`.
    ("openlit", frozenset({"anthropic", "aws.bedrock"})),
)
"""Beginning of the instrumentation scope's name, and the providers that it concerns; None is all."""

_GOOGLE = ("gcp", "google")
_PARTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens")


class Counted(NamedTuple):
    """Token counts, and what was done to get them (for `extra`)."""

    usage: Usage
    extra: Mapping[str, Any] = {}

    def filled(self, other: "Counted") -> "Counted":
        """Return these counts with what is missing taken from others of the same call."""
        missing = {
            name: getattr(other.usage, name)
            for name in _PARTS
            if getattr(self.usage, name) is None and getattr(other.usage, name) is not None
        }
        if not missing:
            return self
        usage, said = consistent(replace(self.usage, **missing))
        extra = other.extra if self.usage.input_tokens is None else {}
        return Counted(usage, {**extra, **self.extra, **said})


def counted(
    input_tokens: Any,
    cache_read: Any,
    cache_write: Any,
    output: Any,
    reasoning: Any,
    total: Any = None,
    *,
    library: str = "",
    provider: str = "",
) -> Counted:
    """Return the counts with cached parts inside the input and no part above its total."""
    usage = Usage(
        input_tokens=_count(input_tokens),
        cache_read_tokens=_count(cache_read),
        cache_write_tokens=_count(cache_write),
        output_tokens=_count(output),
        reasoning_tokens=_count(reasoning),
    )
    extra: dict[str, Any] = {}
    outside = (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0)
    if usage.input_tokens is not None and outside and _left_out(usage, outside, _count(total), library, provider):
        extra["raw_input_tokens"] = usage.input_tokens
        usage = replace(usage, input_tokens=_count(usage.input_tokens + outside))
    if provider.startswith(_GOOGLE):
        usage, thought = _with_thoughts(usage, _count(total))
        extra |= thought
    usage, said = consistent(usage)
    return Counted(usage, {**extra, **said})


def _with_thoughts(usage: Usage, total: int | None) -> tuple[Usage, dict[str, Any]]:
    """Return the counts with the thoughts in the output that only the total has (ai.google.dev/api, UsageMetadata)."""
    if usage.input_tokens is None or usage.output_tokens is None or total is None:
        return usage, {}
    above = total - usage.input_tokens - usage.output_tokens
    if above <= 0 or usage.reasoning_tokens not in (None, above):
        return usage, {}
    whole = replace(usage, output_tokens=usage.output_tokens + above, reasoning_tokens=above)
    return whole, {"raw_output_tokens": usage.output_tokens}


def _left_out(usage: Usage, outside: int, total: int | None, library: str, provider: str) -> bool:
    given = usage.input_tokens or 0
    if given < outside:
        return True
    if total is not None and usage.output_tokens is not None and total == given + usage.output_tokens + outside:
        return True
    return any(
        library.startswith(name) and (providers is None or provider in providers) for name, providers in _LEAVE_OUT
    )


def _count(value: Any) -> int | None:
    """Return a count; a float that is whole counts (JSON of other languages), anything else is no count."""
    if isinstance(value, str) and value.isdigit() and len(value) < 17:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return count_of(value)


_PROVIDERS_NAMES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "input": (("input_tokens",), ("prompt_tokens",), ("promptTokens",), ("inputTokens",), ("prompt_token_count",)),
    "cache_read": (
        ("cache_read_input_tokens",), ("prompt_tokens_details", "cached_tokens"), ("input_tokens_details", "cached_tokens"),
        ("input_token_details", "cache_read"), ("cacheReadInputTokens",), ("cached_content_token_count",),
    ),
    "cache_write": (
        ("cache_creation_input_tokens",), ("cache_write_input_tokens",), ("input_token_details", "cache_creation"),
        ("input_token_details", "cache_write"), ("input_tokens_details", "cache_write_tokens"), ("cacheWriteInputTokens",),
        ("prompt_tokens_details", "cache_write_tokens"),
    ),
    "output": (("output_tokens",), ("completion_tokens",), ("completionTokens",), ("outputTokens",)),
    "reasoning": (
        ("completion_tokens_details", "reasoning_tokens"), ("output_tokens_details", "reasoning_tokens"),
        ("output_token_details", "reasoning"), ("reasoning_tokens",), ("output_tokens_details", "thinking_tokens"),
    ),
    "total": (("total_tokens",), ("totalTokens",), ("total_token_count",)),
}  # fmt: skip
"""Where a usage object in a provider's own words, LangChain's or MLflow's has them; best first."""


def from_provider(raw: Mapping[str, Any], *, library: str = "", provider: str = "") -> Counted:
    """Return the counts of a usage object as a provider, LangChain or MLflow writes it.

    Anthropic's own (`cache_read_input_tokens` beside `input_tokens`, no total) leaves the cached parts out of the
    input; the same names with a total are MLflow's, which adds them up (mlflow 3.17, anthropic/autolog.py).
    """
    read = {name: next((v for path in paths if (v := at(raw, path)) is not None), None)
            for name, paths in _PROVIDERS_NAMES.items()}  # fmt: skip
    for side, name in (("input", "cache_read"), ("output", "reasoning")):
        details = raw.get(f"{side}_token_details")  # LangChain's and LangSmith's
        if isinstance(details, Mapping):
            read[name] = kinds_of(details, name)
            read["cache_write"] = written(details) if side == "input" else read["cache_write"]
    own = "cache_read_input_tokens" in raw or "cache_creation_input_tokens" in raw or "cacheReadInputTokens" in raw
    if own and read["total"] is None and _count(read["input"]) is not None and library != "mlflow":
        outside = (_count(read["cache_read"]) or 0) + (_count(read["cache_write"]) or 0)
        read["input"] = (_count(read["input"]) or 0) + outside
    return counted(
        read["input"], read["cache_read"], read["cache_write"], read["output"], read["reasoning"], read["total"],
        library=library, provider=provider,
    )  # fmt: skip


def kinds_of(details: Mapping[str, Any], ending: str) -> int | None:
    """Return the sum of the kinds with this ending: LangSmith puts service tiers before it (`flex_cache_read`)."""
    return _sums(
        {n: tokens for n, value in details.items() if str(n).endswith(ending) and (tokens := _count(value)) is not None}
    )


def written(details: Mapping[str, Any]) -> int | None:
    """Return the tokens written to a cache; LangChain tells them by lifetime too, and then the whole may be 0."""
    whole = (
        kinds_of(details, "cache_write")
        if kinds_of(details, "cache_creation") is None
        else kinds_of(details, "cache_creation")
    )
    by_lifetime = kinds_of(
        {name: value for name, value in details.items() if str(name).startswith("ephemeral_")}, "tokens"
    )
    return whole if by_lifetime is None else max(whole or 0, by_lifetime)


def from_langfuse(raw: Mapping[str, Any], *, provider: str = "") -> Counted:
    """Return the counts of Langfuse's `usage_details`, whose kinds stand beside each other and add up.

    All kinds with `input` in their name are input, all with `output` output (langfuse/langfuse,
    `reduceUsageOrCostDetails`); the total decides where a writer gave `input` with its parts inside. Of spans Langfuse
    keeps the parts by their own names (`prompt_details.cache_read`, `details.reasoning_tokens`), and these are inside
    (`extractGenericGenAiUsageDetails`).
    """
    kinds = {str(name): tokens for name, value in raw.items() if (tokens := _count(value)) is not None}
    total = kinds.pop("total", None)
    nested = any(isinstance(value, Mapping) for value in raw.values())  # a provider's own object, as SDKs send it
    if nested or "prompt_tokens" in kinds or not any("input" in name or "output" in name for name in kinds):
        return from_provider(raw, provider=provider)
    own = {name: tokens for name, tokens in kinds.items() if "details." not in name}
    inputs = {name: tokens for name, tokens in own.items() if "input" in name}
    outputs = {name: tokens for name, tokens in own.items() if "output" in name}
    inside = {name: tokens for name, tokens in kinds.items() if name not in inputs and name not in outputs}
    in_sum, out_sum = _sums(inputs), _sums(outputs)
    choices = [(one, two) for one in (in_sum, inputs.get("input")) for two in (out_sum, outputs.get("output"))]
    fitting = [one for one in choices if total is not None and (one[0] or 0) + (one[1] or 0) == total]
    tokens_in, tokens_out = (fitting or choices)[0]
    usage = Usage(
        input_tokens=tokens_in,
        cache_read_tokens=_part(inputs, inside, "cached", "cache_read"),
        cache_write_tokens=_part(inputs, inside, "cache_creation", "cache_write"),
        output_tokens=tokens_out,
        reasoning_tokens=_part(outputs, inside, "reasoning", "thinking", "thought"),
    )
    usage, thought = _with_thoughts(usage, total) if provider.startswith(_GOOGLE) else (usage, {})
    usage, extra = consistent(usage)
    return Counted(usage, {**thought, **extra})


def _part(beside: Mapping[str, int], inside: Mapping[str, int], *words: str) -> int | None:
    """Return the sum of the kinds of these names; those inside a total may say one thing twice."""
    said = _named(inside, *words)
    return _sums(_named(beside, *words)) if _named(beside, *words) or not said else max(said.values())


def _named(kinds: Mapping[str, int], *words: str) -> dict[str, int]:
    return {name: tokens for name, tokens in kinds.items() if any(word in name for word in words)}


def _sums(kinds: Mapping[str, int]) -> int | None:
    return count_of(sum(kinds.values())) if kinds else None
