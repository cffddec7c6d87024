"""Parts of a plan that say how tasks run: what each may use at most, and which model it runs on. Records only."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

from tokenflation.analysis.planning.parts import number
from tokenflation.sdk.errors import PlanError

__all__ = ["ALL", "Budget", "check_models"]

ALL = "all kinds"
"""Stands for every task kind where models or a budget are given once for all."""
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one task may use.

    Once the calls that have ended used that much, no further one starts and the task is given up.

    These are the limits of `tokenflation.sdk.task`, so the last call, and those under way beside it, may pass them.
    """

    max_calls: float | None = None
    max_input_tokens: float | None = None
    max_output_tokens: float | None = None
    max_tokens: float | None = None
    """Input and output together."""
    max_cost: float | None = None
    """In the currency of the plan's `prices`."""

    def check(self, where: str) -> None:
        """Raise PlanError if a limit makes no sense, or there is none."""
        given = {one.name: getattr(self, one.name) for one in fields(self) if getattr(self, one.name) is not None}
        if not given:
            raise PlanError(f"plan.{where} has no limit; give one of {', '.join(one.name for one in fields(self))}.")
        for name, value in given.items():
            number(f"{where}.{name}", value, above=True)
        if self.max_calls is not None and self.max_calls < 1:
            raise PlanError(f"plan.{where}.max_calls is {self.max_calls:g}; a task makes at least 1 call.")


def check_models(where: str, shares: object) -> None:
    """Raise PlanError unless `shares` is a mapping from models to shares that sum to 1."""
    if not isinstance(shares, Mapping) or not shares:
        raise PlanError(
            f"plan.{where} is {shares!r}; give the share of tasks by model: {{gpt-5-mini: 0.6, gpt-5: 0.4}}."
        )
    for model, share in shares.items():
        number(f"{where}[{model!r}]", share, high=1.0)
    total = float(sum(shares.values()))
    if abs(total - 1) > _SUM_TOLERANCE:
        fix = f"multiply each by {1 / total:.4g}." if total > 0 else "at least one must be above 0."
        raise PlanError(f"plan.{where} sums to {total:g}; the shares of a kind's tasks must sum to 1: {fix}")
