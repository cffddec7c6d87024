"""What one token costs the served model: FLOP, and bytes of KV cache. A record and its formulas; knows nothing of runs.

Source: FORECAST model, section 3.1. A decoded token takes `2 N + 4 L H d ctx` FLOP (multi-head latent attention,
absorbed: `2 N + 2 (c + r + c) H L ctx`), `n` computed input tokens that end at a context of `ctx` take
`2 N n + 4 H d L n (ctx - n/2)`; N active parameters, L layers that attend to the whole context, H heads of size d,
latent size c, rotary size r.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from tokenflation.analysis.planning.parts import number
from tokenflation.sdk.errors import PlanError
from tokenflation.sdk.words import many

__all__ = ["DEFAULT", "Serving", "by_call", "check_serving", "serving_of"]

Floats = NDArray[np.float64]

DEFAULT = "default"
"""The key of a mapping by model whose shape stands for all models without an entry."""
_LEAST_PARAMETERS, _MOST_BYTES = 1e5, 8.0
_NEEDED = ("active_parameters", "layers", "heads", "head_dim")
_EXAMPLE = "{active_parameters: 70e9, layers: 80, heads: 64, head_dim: 128, kv_heads: 8}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """The shape of a served model, as its configuration file has it."""

    active_parameters: float
    """Parameters that one token passes through; of a mixture of experts, the active ones."""
    layers: int
    heads: int
    """Query heads per layer."""
    head_dim: int
    kv_heads: int | None = None
    """Key-value heads per layer (fewer than `heads` in grouped attention); without it no bytes of KV cache
    are given.
    """
    latent_dim: int | None = None
    """Multi-head latent attention: size of the compressed keys and values, `kv_lora_rank`; in place of `kv_heads`."""
    rope_dim: int = 0
    """Multi-head latent attention: size of the shared rotary key, `qk_rope_head_dim`."""
    full_layers: int | None = None
    """Layers that attend to the whole context, where the others look through a sliding window; None means all."""
    bytes_per_element: float = 2.0
    """Of a cached key or value: 2 for bf16, 1 for fp8."""

    def __post_init__(self) -> None:
        number("serving.active_parameters", self.active_parameters, above=True)
        if self.active_parameters < _LEAST_PARAMETERS:
            raise PlanError(f"plan.serving.active_parameters is {self.active_parameters:g}; it counts each parameter, not "
                            "billions: 70e9, for example.")  # fmt: skip
        number("serving.bytes_per_element", self.bytes_per_element, above=True)
        if self.bytes_per_element > _MOST_BYTES:
            raise PlanError(f"plan.serving.bytes_per_element is {self.bytes_per_element:g}; it is in bytes, not bits, and "
                            f"may be at most {_MOST_BYTES:g}: 2 for bf16, 1 for fp8.")  # fmt: skip
        for name in ("layers", "heads", "head_dim", "kv_heads", "latent_dim", "full_layers"):
            value = getattr(self, name)
            if value is not None:
                _whole(name, value, least=1)
        _whole("rope_dim", self.rope_dim, least=0)
        if self.kv_heads is not None and self.latent_dim is not None:
            raise PlanError("plan.serving.kv_heads and plan.serving.latent_dim are both given; keep the one that the "
                            "model has: latent_dim for multi-head latent attention.")  # fmt: skip
        if self.kv_heads is not None and self.kv_heads > self.heads:
            raise PlanError(f"plan.serving.kv_heads is {self.kv_heads}; it may be at most heads, {self.heads}.")
        if self.full_layers is not None and self.full_layers > self.layers:
            raise PlanError(f"plan.serving.full_layers is {self.full_layers}; it may be at most layers, {self.layers}.")

    @property
    def kv_bytes_per_token(self) -> float | None:
        """Bytes that one token of context holds; None where neither `kv_heads` nor `latent_dim` tells."""
        if self.latent_dim is not None:
            return self._attending * (self.latent_dim + self.rope_dim) * self.bytes_per_element
        if self.kv_heads is not None:
            return 2.0 * self._attending * self.kv_heads * self.head_dim * self.bytes_per_element
        return None

    @property
    def decode_flop_per_context_token(self) -> float:
        """FLOP that each token of context adds to each decoded token."""
        if self.latent_dim is not None:
            return 2.0 * (2 * self.latent_dim + self.rope_dim) * self.heads * self._attending
        return self._prefill_factor

    def decode_flop(self, tokens: float, context: float) -> float:
        """Return the FLOP of `tokens` decoded tokens at a mean context of `context` tokens."""
        return tokens * (2.0 * self.active_parameters + self.decode_flop_per_context_token * context)

    def prefill_flop(self, tokens: float, context: float) -> float:
        """Return the FLOP of `tokens` computed input tokens, the last of a context of `context` tokens."""
        return tokens * (2.0 * self.active_parameters + self._prefill_factor * (context - tokens / 2))

    @property
    def _attending(self) -> int:
        return self.full_layers if self.full_layers is not None else self.layers

    @property
    def _prefill_factor(self) -> float:
        return 4.0 * self._attending * self.heads * self.head_dim


def _whole(name: str, value: object, *, least: int) -> None:
    found = number(f"serving.{name}", value, low=float(least))
    if found != int(found):
        raise PlanError(f"plan.serving.{name} is {value!r}; it must be a whole number.")


def serving_of(content: object) -> Serving | dict[str, Serving]:
    """Return what `serving` of a parsed plan holds: one shape, or a mapping of model names to shapes.

    Raises:
        PlanError: a field is unknown, missing, or makes no sense.
    """
    if not isinstance(content, Mapping) or not content:
        raise PlanError(f"plan.serving is {content!r}; give the served model's shape, as in `serving: {_EXAMPLE}`, or one "
                        "for each model by its recorded name.")  # fmt: skip
    if all(isinstance(one, Mapping) for one in content.values()):
        return {str(model): _one(f"plan.serving.{model}", shape) for model, shape in content.items()}
    return _one("plan.serving", content)


def check_serving(serving: object) -> None:
    """Raise PlanError unless `serving` is None, a `Serving`, or a mapping of model names to such."""
    shapes = list(serving.values()) if isinstance(serving, Mapping) else [serving]
    if serving is not None and not (shapes and all(isinstance(one, Serving) for one in shapes)):
        raise PlanError(f"plan.serving is {serving!r}; give a serving.Serving, one for each model by name, or None.")


def _one(where: str, content: Mapping[object, object]) -> Serving:
    names = [one.name for one in fields(Serving)]
    unknown = [str(name) for name in content if name not in names]
    if unknown:
        raise PlanError(f"{where}.{unknown[0]} is no field of a model's shape; it may have {', '.join(names)}.")
    missing = [name for name in _NEEDED if content.get(name) is None]
    if missing:
        raise PlanError(f"{where}.{missing[0]} is missing; a shape needs {', '.join(_NEEDED)}, as in `{_EXAMPLE}`.")
    values = {str(name): value for name, value in content.items() if value is not None}
    try:
        return Serving(**values)  # type: ignore[arg-type]  # the record checks its own fields
    except PlanError as error:
        raise PlanError(str(error).replace("plan.serving", where)) from error


def by_call(
    serving: Serving | Mapping[str, Serving], models: NDArray[np.object_]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Return, for each call: 2 N, decode and prefill FLOP per token and token of context, KV bytes per token (or NaN).

    Raises:
        PlanError: a model has no entry, and there is none for `default`.
    """
    names, place = np.unique(models.astype(str), return_inverse=True)
    shapes: list[Serving] = []
    for number_, name in enumerate(names):
        if isinstance(serving, Serving):
            shapes.append(serving)
            continue
        found = serving.get(str(name), serving.get(DEFAULT))
        if found is None:
            raise PlanError(f"plan.serving has no entry for {str(name)!r}, which {int((place == number_).sum()):,} of "
                            f"{many(len(place), 'call')} used; add one, or one named `{DEFAULT}` for all others.")  # fmt: skip
        shapes.append(found)
    table = np.array([
        (2.0 * one.active_parameters, one.decode_flop_per_context_token, one._prefill_factor,
         np.nan if one.kv_bytes_per_token is None else one.kv_bytes_per_token)
        for one in shapes
    ])  # fmt: skip
    linear, decode, prefill, kv = table[place].T
    return linear, decode, prefill, kv
