"""What a call costs in US dollars, by the price list of genai-prices. Imports that only when it is asked."""

from decimal import Decimal

from tokenflation.sdk.errors import MissingExtra
from tokenflation.sdk.records import Call

__all__ = ["price_of", "require_prices"]

# `gen_ai.provider.name` -> id in genai-prices, where they differ. Any other provider's model is looked up by its name.
_PRICE_LISTS = {
    "anthropic": "anthropic",
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "cohere": "cohere",
    "deepseek": "deepseek",
    "gcp.gemini": "google",
    "gcp.vertex_ai": "google",
    "groq": "groq",
    "mistral_ai": "mistral",
    "openai": "openai",
    "openrouter": "openrouter",
    "x_ai": "x-ai",
}


def price_of(call: Call) -> Decimal | None:
    """Return what a call cost in US dollars by the price list, None for a model that has no price there.

    Cached tokens cost what the list says of them, by their lifetime where the provider tells it; a call that reports no
    tokens costs nothing.
    """
    from genai_prices import Usage, calc_price

    written = call.cache_write_tokens or 0
    usage = Usage(
        input_tokens=call.input_tokens or 0,
        cache_read_tokens=call.cache_read_tokens or 0,
        cache_write_tokens=written,
        cache_write_1h_tokens=min(call.extra.get("cache_write_1h_tokens") or 0, written),
        output_tokens=call.output_tokens or 0,
    )
    for model in (call.response_model, call.model):
        if model:
            try:
                return calc_price(usage, model_ref=model, provider_id=_PRICE_LISTS.get(call.provider)).total_price
            except LookupError:
                continue
    return None


def require_prices() -> None:
    """Raise MissingExtra where there is no price list: the extra `analysis` brings it."""
    try:
        import genai_prices  # noqa: F401  (half a second, and only who limits the cost pays it)
    except ImportError as error:
        raise MissingExtra("task(max_cost=)", "analysis") from error
