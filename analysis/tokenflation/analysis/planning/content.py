"""From what a YAML file holds to a plan, with messages that name the field.

Reads the files that a plan names, no other.
"""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from tokenflation.analysis.comparison.costs import read_prices
from tokenflation.analysis.planning.arrival_trace import read_arrivals
from tokenflation.analysis.planning.limits import Budget
from tokenflation.analysis.planning.parts import Bursts, Growth, Timing, Uncertain, Users, nearest
from tokenflation.analysis.planning.plan import SHAPES, Plan
from tokenflation.analysis.planning.serving import serving_of
from tokenflation.sdk.errors import PlanError

__all__ = ["plan_of"]

_PARTS = {"growth": Growth, "burstiness": Bursts, "timing": Timing}
_OF_KIND: dict[str, dict[str, tuple[str, ...]]] = {
    "growth": {"exponential": ("per_day",), "logistic": ("per_day", "limit"), "table": ("table",)},
    "burstiness": {"poisson": (), "modulated": ("cv",), "sessions": ("tasks_per_session", "gap_s"),
                   "hawkes": ("branching", "decay_s"), "trace": ("file", "times_s", "scale")},
}  # fmt: skip
_NEEDED = {
    "exponential": ("per_day", "the volume does not grow"),
    "logistic": ("per_day", "the volume does not grow"),
    **{kind: (field, f"the kind {kind} is no other than poisson")
       for kind, field in (("modulated", "cv"), ("sessions", "tasks_per_session"), ("hawkes", "branching"))},
}  # fmt: skip
_SUM_TOLERANCE = 0.01
_HOW = frozenset({"value", "cv", "sd"})
_EXAMPLES = {"growth": "per_day: 0.01", "burstiness": "kind: modulated, cv: 0.2", "timing": "ttft_s: 0.5, tpot_s: 0.02",
             "budgets": "max_calls: 40", "models": "gpt-5-mini: 0.6, gpt-5: 0.4", "assumptions": "growth.per_day: {sd: 0.005}"}  # fmt: skip


def plan_of(content: object, *, folder: Path | None = None) -> Plan:
    """Return the plan that a parsed file holds: a mapping of `Plan`'s fields, its parts as mappings.

    A number may be `{value: 20000, cv: 0.3}`, or with `sd`: then it is uncertain. Files are looked for in `folder`.

    Raises:
        PlanError: a field is unknown, missing, or makes no sense, or a file that it names cannot be read.
    """
    if content is None:
        raise PlanError("the plan is empty; give at least `tasks_per_day: {triage: 20000}`.")
    if not isinstance(content, Mapping):
        raise PlanError("a plan is a mapping of fields, as in `tasks_per_day: {triage: 20000}`; this is none.")
    given = _known("plan", content, Plan)
    if "tasks_per_day" not in given:
        raise PlanError("plan.tasks_per_day is missing; give {kind: tasks per day}, or one number for all kinds.")
    for name, example in _EXAMPLES.items():
        if name in given and not isinstance(given[name], Mapping):
            raise PlanError(f"plan.{name} is {given[name]!r}; it is a mapping, as in `{name}: {{{example}}}`.")
    doubts = {str(place): _doubt(f"assumptions[{place!r}]", how) for place, how in given.get("assumptions", {}).items()}
    given["tasks_per_day"] = _volumes(given["tasks_per_day"], doubts)
    for name, part in _PARTS.items():
        if name in given:
            given[name] = _part(name, part, given[name], doubts, folder)
    if "models" in given:
        given["models"] = _models(given["models"], doubts)
    if "serving" in given:
        given["serving"] = serving_of(given["serving"])
    if "budgets" in given:
        given["budgets"] = _budgets(given["budgets"])
    if "prices" in given:
        given["prices"] = read_prices(_file("prices", given["prices"], folder))
    for name in ("growth_per_day", "cache_kept", "kv_bytes_per_token"):
        if name in given:
            given[name] = _settled(name, given[name], doubts)
    for name in ("days", "bucket_s"):
        if isinstance(given.get(name), float) and given[name].is_integer():
            given[name] = int(given[name])
    for name, count in (("day_shape", 24), ("week_shape", 7)):
        _check_sum(name, given.get(name), count)
    given["assumptions"] = doubts
    return Plan(**given)


def _known(where: str, content: Mapping[Any, Any], record: type) -> dict[str, Any]:
    """Return the fields that are given a value; numbers that YAML 1.1 takes for text, as 1e6, as numbers."""
    names = [one.name for one in fields(record)]
    for name in content:
        if name not in names:
            raise PlanError(f"{where}.{name} is no field of a plan{nearest(str(name), names)}")
    return {str(name): _numeric(value) for name, value in content.items() if value is not None}


def _numeric(value: Any) -> Any:
    if isinstance(value, list):
        return [_numeric(one) for one in value]
    if isinstance(value, Mapping):
        return {key: _numeric(one) for key, one in value.items()}
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _settled(place: str, value: Any, doubts: dict[str, Uncertain]) -> Any:
    """Return a number as it is, and of one that is uncertain the value; how unsure it is goes into `doubts`."""
    if not isinstance(value, Mapping):
        return value
    unknown = [name for name in value if name not in _HOW]
    if unknown or "value" not in value:
        what = f"has {unknown[0]!r}" if unknown else "lacks its value"
        raise PlanError(f"plan.{place} {what}; an uncertain number is {{value: 20000, cv: 0.3}}, or with sd.")
    if place in doubts:
        raise PlanError(f"plan.assumptions and plan.{place} both say how unsure it is; keep one of them.")
    doubts[place] = _doubt(place, {name: one for name, one in value.items() if name != "value"})
    return value["value"]


def _doubt(place: str, how: Any) -> Uncertain:
    if not isinstance(how, Mapping) or not how or not set(how) <= {"cv", "sd"}:
        raise PlanError(f"plan.{place} is uncertain by {how!r}; give one of cv (a share of it) and sd (in its unit).")
    found = Uncertain(**how)
    found.check(place)
    return found


def _volumes(volumes: Any, doubts: dict[str, Uncertain]) -> Any:
    if not isinstance(volumes, Mapping):
        return volumes  # Plan says what is wrong with what is no number
    if "value" in volumes and set(volumes) <= _HOW:
        return _settled("tasks_per_day", volumes, doubts)
    found: dict[str, Any] = {}
    for name, volume in volumes.items():
        kind = str(name)
        if kind in found:
            raise PlanError(f"plan.tasks_per_day names {kind!r} twice; keep one of them.")
        found[kind] = _volume(f"tasks_per_day.{kind}", volume, doubts)
    return found


def _volume(place: str, volume: Any, doubts: dict[str, Uncertain]) -> Any:
    if not isinstance(volume, Mapping) or "value" in volume:
        return _settled(place, volume, doubts)
    values = _known(f"plan.{place}", volume, Users)
    missing = [one.name for one in fields(Users) if one.name not in values]
    if missing:
        raise PlanError(f"plan.{place}.{missing[0]} is missing; give users and tasks_per_user_per_day, or one number.")
    return Users(**{name: _settled(f"{place}.{name}", value, doubts) for name, value in values.items()})


def _part(name: str, part: type, content: Mapping[Any, Any], doubts: dict[str, Uncertain], folder: Path | None) -> Any:
    values = _known(f"plan.{name}", content, part)
    if name == "timing":
        for needed in ("ttft_s", "tpot_s"):
            if needed not in values:
                raise PlanError(f"plan.timing.{needed} is missing; timing needs ttft_s and tpot_s, in seconds.")
    if name in _OF_KIND:
        _check_kind(name, values, part)
    places = {"growth": ("per_day",), "timing": ("ttft_s", "ttft_s_per_token", "tpot_s"), "burstiness": ()}[name]
    for field in places:
        if field in values:
            values[field] = _settled(f"{name}.{field}", values[field], doubts)
    if name == "burstiness" and "file" in values:
        file = _file("burstiness.file", values["file"], folder)
        values |= {"times_s": read_arrivals(file), "file": str(file)}
    elif name == "burstiness" and "times_s" in values:
        values["times_s"] = tuple(values["times_s"]) if isinstance(values["times_s"], list) else values["times_s"]
    return part(**values)


def _check_kind(name: str, values: Mapping[str, Any], part: Any) -> None:
    """Raise PlanError where a field has no effect with the kind that is given, or the kind has none without a field."""
    kinds = _OF_KIND[name]
    kind = values.get("kind", part().kind)
    if not isinstance(kind, str) or kind not in kinds:
        return  # the part itself says which kinds there are
    for field in values:
        others = [other for other, of_other in kinds.items() if field in of_other]
        if others and kind not in others:
            takes = f"it takes {', '.join(kinds[kind])}" if kinds[kind] else "it takes no other field"
            raise PlanError(
                f"plan.{name}.{field} has no effect with the kind {kind}; {takes}. Take it out, or write kind: "
                f"{' or '.join(others)}."
            )
    needed, without = _NEEDED.get(kind, (None, ""))
    if needed is not None and needed not in values:
        raise PlanError(f"plan.{name}.{needed} is missing; without it {without}.")


def _file(place: str, name: Any, folder: Path | None) -> Path:
    if not isinstance(name, str) or not name:
        raise PlanError(f"plan.{place} is {name!r}; give the path of a file, from where the plan is.")
    return (folder or Path()) / name


def _models(content: Mapping[Any, Any], doubts: dict[str, Uncertain]) -> dict[str, Any]:
    if "shares" in content:
        return _shares("models", content, doubts)
    return {
        str(kind): _shares(f"models.{kind}", shares, doubts) if isinstance(shares, Mapping) else shares
        for kind, shares in content.items()
    }


def _shares(place: str, content: Mapping[Any, Any], doubts: dict[str, Uncertain]) -> dict[str, Any]:
    """Return shares by model; they may stand under `shares`, with the `sd` of the largest beside them."""
    if "shares" not in content:
        return {str(model): share for model, share in content.items()}
    unknown = [name for name in content if name not in ("shares", "sd")]
    if unknown or not isinstance(content["shares"], Mapping):
        raise PlanError(
            f"plan.{place} is {dict(content)!r}; write {{shares: {{gpt-5-mini: 0.6, gpt-5: 0.4}}, sd: 0.1}}."
        )
    if "sd" in content:
        doubts[place] = _doubt(place, {"sd": content["sd"]})
    return {str(model): share for model, share in content["shares"].items()}


def _budgets(content: Mapping[Any, Any]) -> Any:
    if any(name in {one.name for one in fields(Budget)} for name in content):
        return Budget(**_known("plan.budgets", content, Budget))
    found = {}
    for kind, budget in content.items():
        if not isinstance(budget, Mapping):
            raise PlanError(f"plan.budgets[{kind!r}] is {budget!r}; give limits of a task: {{max_calls: 40}}.")
        found[str(kind)] = Budget(**_known(f"plan.budgets[{kind!r}]", budget, Budget))
    return found


def _check_sum(name: str, weights: Any, count: int) -> None:
    """Raise PlanError where the weights of a file sum neither to their number nor, as shares, to 1."""
    if weights is None or isinstance(weights, str):
        return
    if not isinstance(weights, list) or any(
        isinstance(one, bool) or not isinstance(one, int | float) for one in weights
    ):
        named = f"{', '.join(SHAPES)} or " if count == len(SHAPES["flat"]) else ""
        raise PlanError(f"plan.{name} is {weights!r}; it may be {named}a list of {count} numbers.")
    total = float(sum(weights))
    if len(weights) == count and total and min(abs(total / count - 1), abs(total - 1)) > _SUM_TOLERANCE:
        raise PlanError(
            f"plan.{name} sums to {total:g}; its {count} weights must sum to {count} (a mean of 1) or to 1 (shares). "
            f"Multiply each by {count / total:.4g}."
        )
