"""Questions to a forecast: what if the runs had gone another way, and which volume fits.

Knows nothing of how answers look.

A what-if re-evaluates recorded runs call by call; no result is multiplied by a guess.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from tokenflation import analysis as an
from tokenflation.analysis import whatif
from tokenflation.analysis.fleet.buckets import busiest
from tokenflation.analysis.fleet.pace import prefill_pace, repaced
from tokenflation.cli.views.numbers import human_time
from tokenflation.sdk.errors import FrameError, PlanError

__all__ = ["Fit", "WhatIf", "compared", "fits_of", "read_fits", "read_what_ifs", "said_of", "under"]

Change = Callable[[pd.DataFrame, an.Plan], tuple[pd.DataFrame, an.Plan]]

_FORMS = "cache=on, cache=off, max_depth=2, compact_at=60000 or model:OLD=NEW"
_COMPARED = ("mean", "mean_low", "mean_high", "p95", "day_peak_p95")
_SAID = {
    "cache=on": "what each call continues is read from a cache that forgets nothing within a task; ",
    "cache=off": "all input is computed; ",
    "max_depth": "agent runs deeper than that are not done; what they reported to those above stays in their prompts.",
    "compact_at": "before a history passes the limit, one more call sums it up to a tenth of the limit.",
    "model": "recorded runs of the new model stand for those of the old; were they given like tasks?",
}


@dataclass(frozen=True, slots=True)
class WhatIf:
    """One answer to --what-if: its text, what it does to calls and plan, and a sentence on what that means.

    Of a cache it ends in a semicolon: `said_of` knows the rest.
    """

    text: str
    changes: tuple[Change, ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fit:
    """One answer to --fits: a limit on a statistic of a resource."""

    resource: str
    statistic: str
    limit: float


def read_what_ifs(texts: Sequence[str]) -> list[WhatIf]:
    """Return what each text asks; several changes that hold together stand in one text, with commas between.

    Raises:
        PlanError: a text is none of the known forms, or given twice.
    """
    found: list[WhatIf] = []
    for text in texts:
        if any(one.text == text for one in found):
            raise PlanError(f"--what-if {text} is given twice; leave one out.")
        parts = [_change(text, part.strip()) for part in text.split(",")]
        found.append(WhatIf(text, tuple(change for change, _ in parts), tuple(said for _, said in parts)))
    return found


def _change(text: str, part: str) -> tuple[Change, str]:
    name, equals, value = part.partition("=")
    name, value = name.strip(), value.strip()
    if not equals or not value:
        raise PlanError(f"--what-if {text!r} is no change; write {_FORMS}.")
    if name == "cache":
        if value not in ("on", "off"):
            raise PlanError(f"--what-if {text!r}: a cache is on or off; write cache=on or cache=off.")
        served = whatif.caching_on if value == "on" else whatif.caching_off
        return _served(served), _SAID[f"cache={value}"]
    if name == "max_depth":
        depth = _whole(text, value, least=0)
        return _of_calls(lambda calls: whatif.depth_capped(calls, depth)), _SAID["max_depth"]
    if name == "compact_at":
        limit = _whole(text, value, least=10)
        return _of_calls(lambda calls: whatif.history_compacted(calls, limit)), _SAID["compact_at"]
    if name.startswith("model:") and name != "model:":
        old = name.removeprefix("model:")
        if old == value:
            raise PlanError(f"--what-if {text!r} replaces a model by itself; name another one: model:{old}=NEW.")
        return (lambda calls, plan: whatif.model_replaced(calls, plan, old, value)), _SAID["model"]
    raise PlanError(f"--what-if {text!r}: there is no {name!r}; write {_FORMS}.")


def _served(cache: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    """Return the change to calls with another cache: as long as they then take, where the plan has no timing."""
    return lambda calls, plan: (cache(calls) if plan.timing is not None else repaced(calls, cache(calls)), plan)


def said_of(what_if: WhatIf, calls: pd.DataFrame, plan: an.Plan) -> list[str]:
    """Return a sentence on what each change means; of a cache, how long calls take then."""
    return [f"{said}{_paced(calls, plan)}" if said.endswith("; ") else said for said in what_if.said]


def _paced(calls: pd.DataFrame, plan: an.Plan) -> str:
    if plan.timing is not None:
        return "calls are re-timed by plan.timing."
    paces = sorted(prefill_pace(calls).values())
    if not paces:
        return (
            "calls last as long as they were recorded, with whatever cache they had, as their times to first token do not tell "
            "what a computed token takes; give plan.timing."
        )
    ends = [human_time(1000 * one) for one in (paces[0], paces[-1])]
    return (
        f"1,000 tokens more to compute take {ends[0]}{f' to {ends[1]}' if ends[1] != ends[0] else ''} longer, as the recorded "
        "times to first token say."
    )


def _of_calls(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Change:
    return lambda calls, plan: (change(calls), plan)


def _whole(text: str, value: str, *, least: int) -> int:
    """Return a whole number; 60k is 60,000."""
    thousand = value.endswith(("k", "K"))
    digits = value[:-1] if thousand else value
    try:
        number = int(digits) * (1000 if thousand else 1)
    except ValueError:
        number = least - 1
    if number < least:
        raise PlanError(f"--what-if {text!r}: {value!r} is no whole number of at least {least}; write {_FORMS}.")
    return number


def under(what_if: WhatIf, calls: pd.DataFrame, plan: an.Plan) -> tuple[pd.DataFrame, an.Plan]:
    """Return calls and plan as they would be.

    Raises:
        PlanError: the recorded runs cannot tell; the message names the option.
    """
    try:
        for change in what_if.changes:
            calls, plan = change(calls, plan)
    except (FrameError, PlanError) as error:
        raise PlanError(f"--what-if {what_if.text}: {error}") from error
    return calls, plan


def compared(forecasts: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return forecasts beside the first, which is the base; one row per what-if and resource.

    Columns: `what_if`, `resource`, `unit`, then `mean`, `mean_low`, `mean_high`, `p95` of the busiest bucket,
    `day_peak_p95` of the busiest day (of a total of all days the mean alone), and for three of them `..._change`, over
    the base, as a fraction. NaN where the forecast has none.
    """
    rows = [
        {"what_if": name, "resource": resource, "unit": unit, **values}
        for name, demand in forecasts.items()
        for (resource, unit), values in _figures(demand).items()
    ]
    frame = pd.DataFrame(rows, columns=["what_if", "resource", "unit", *_COMPARED])
    base = frame[frame["what_if"] == next(iter(forecasts))].set_index("resource")
    for statistic in ("mean", "p95", "day_peak_p95"):
        before = frame["resource"].map(base[statistic]).astype("float64")
        frame[f"{statistic}_change"] = (frame[statistic] / before.where(before > 0) - 1).astype("float64")
    return frame


def _figures(demand: pd.DataFrame) -> dict[tuple[str, str], dict[str, float]]:
    """Return of each resource the figures of its busiest bucket and day."""
    known = demand[demand["statistic"].isin(_COMPARED)]
    found: dict[tuple[str, str], dict[str, float]] = {}
    for (resource, unit), rows in known.groupby(["resource", "unit"], sort=False):
        wide = rows.pivot_table(index="bucket_start", columns="statistic", values="value", sort=True)
        buckets = wide[wide.index >= 0]
        of = buckets if len(buckets) else wide
        if "mean" not in of.columns or of["mean"].isna().all():
            continue
        row = busiest(of).to_dict()
        if len(buckets) and "day_peak_p95" in wide.columns:
            row["day_peak_p95"] = wide["day_peak_p95"].max()
        found[str(resource), str(unit)] = {str(name): float(value) for name, value in row.items()}
    return found


def read_fits(texts: Sequence[str]) -> list[Fit]:
    """Return the limits of --fits RESOURCE[@STATISTIC]=LIMIT; the statistic is p95 where none is given.

    Raises:
        PlanError: a text is not of that form.
    """
    found = []
    for text in texts:
        what, equals, limit = text.rpartition("=")
        resource, _, statistic = what.partition("@")
        try:
            number = float(limit.replace("_", ""))
        except ValueError:
            number = float("nan")
        if not equals or not resource.strip() or not 0 < number < float("inf"):
            raise PlanError(
                f"--fits {text!r} is no RESOURCE=LIMIT with a limit above 0; write --fits prefill_tokens_per_s=250000, or "
                "name a statistic: --fits concurrent_calls@day_peak_p95=800."
            )
        found.append(Fit(resource.strip(), statistic.strip() or "p95", number))
    return found


def fits_of(fits: Sequence[Fit], setups: Mapping[str, tuple[pd.DataFrame, an.Plan]], *, seed: int) -> pd.DataFrame:
    """Return the volume at which each limit is reached; one row per set-up and limit.

    Columns: `what_if`, `resource`, `statistic`, `limit`, `factor` (on the plan's volume), `tasks_per_day` (of all
    kinds).

    Raises:
        PlanError: the forecast has no such resource or statistic.
    """
    rows = []
    for name, (calls, plan) in setups.items():
        planned = _volume_of(calls, plan)
        for fit in fits:
            try:
                factor = whatif.volume_that_fits(
                    calls, plan, resource=fit.resource, limit=fit.limit, statistic=fit.statistic, seed=seed
                )
            except PlanError as error:
                raise PlanError(f"--fits {fit.resource}@{fit.statistic}={fit.limit:g}: {error}") from error
            rows.append((name, fit.resource, fit.statistic, fit.limit, factor, factor * planned))
    return pd.DataFrame(rows, columns=["what_if", "resource", "statistic", "limit", "factor", "tasks_per_day"])


def _volume_of(calls: pd.DataFrame, plan: an.Plan) -> float:
    """Return the plan's tasks a day of all kinds, at the first day's level."""
    counts = calls.groupby("task")["task_id"].nunique()
    return float(sum(plan.volumes({str(kind): int(count) for kind, count in counts.items()}).values()))
