"""What a plan's models, budgets and uncertain numbers add to a forecast's manifest."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from tokenflation.analysis.fleet.outer import Busiest, Outer, doubts, effects
from tokenflation.analysis.fleet.planned import Planned
from tokenflation.analysis.profiles.scattered import scattered_remarks
from tokenflation.sdk.words import percent

__all__ = ["remarked"]

_GROUPED = 1_000


def remarked(manifest: Mapping[str, Any], fleet: Planned, outer: Outer | None, at: Mapping[str, Busiest],
             rng: np.random.Generator) -> dict[str, Any]:  # fmt: skip
    """Return the manifest with what the plan changed: `budgets`, `uncertain` and `effects`, and what to say of them.

    `effects` are rows as of `outer.effects`, `uncertain` as of `outer.doubts`, `budgets` as of `planned.cut_at_budget`.
    """
    kinds = []
    for row in manifest["kinds"]:
        _, model = fleet.kind_and_model.get(row["task"], (row["task"], ""))
        kinds.append({**row, "model": model or None})
    found = {**manifest, "kinds": kinds, "budgets": list(fleet.budgets), "uncertain": [], "effects": []}
    said = list(fleet.assumptions)
    if outer is not None:
        found |= {"uncertain": doubts(outer), "effects": effects(outer, at, rng), "draws": outer.draws}
        said += [_said(row) for row in found["uncertain"]]
        surface = outer.assumed.surface
        if surface is not None:
            said.append(
                f"{surface.settings} settings of {', '.join(surface.places)} were evaluated on the recorded runs; in between "
                f"a quadratic is taken (largest error {percent(surface.error, 1)})."
            )
    found["assumptions"] = [*said, *manifest["assumptions"]]
    scattered = scattered_remarks({row["task"]: row["runs"] for row in manifest["kinds"]})
    found["warnings"] = [*scattered, *manifest["warnings"], *fleet.warnings]
    return found


def _said(row: Mapping[str, Any]) -> str:
    value, low, high = row["value"], row["p10"], row["p90"]
    what = (
        f"the largest share of plan.{row['assumption']}"
        if row["assumption"].startswith("models")
        else f"plan.{row['assumption']}"
    )
    return f"Uncertain: {what} is {_number(value)}, and in 8 of 10 draws from {_number(low)} to {_number(high)}."


def _number(value: float) -> str:
    """Return four significant digits without an exponent, thousands apart: 20,000 and 0.00001."""
    if abs(value) >= _GROUPED:
        return f"{float(f'{value:.4g}'):,.0f}"
    return np.format_float_positional(value, precision=4, fractional=False, trim="-")
