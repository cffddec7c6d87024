"""Plans as YAML files: reading one with messages that name the field, and writing a commented one from recorded tasks.

Fields are those of `Plan`. Knows nothing of runs beyond their kinds' names and counts.
"""

import difflib
from collections.abc import Hashable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import yaml

from tokenflation.analysis.plan import SHAPES, Plan
from tokenflation.analysis.plan_parts import Bursts, Growth, Timing, Users
from tokenflation.sdk.errors import PlanError

__all__ = ["plan_of", "read_plan", "template"]

_PARTS = {"growth": Growth, "burstiness": Bursts, "timing": Timing}
_SUM_TOLERANCE = 0.01
_SECONDS_PER_DAY = 86_400


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """SafeLoader that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                raise PlanError(
                    f"plan: line {key.start_mark.line + 1} has a key that is no name; write `field: value`."
                )
            if name in seen:
                raise PlanError(f"plan: {name!r} is given twice (line {key.start_mark.line + 1}); keep one of them.")
            seen.add(name)
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


def read_plan(path: str | Path) -> Plan:
    """Return the plan in a YAML file.

    Raises:
        PlanError: the file cannot be read, is no YAML, or a field makes no sense; the message names file and field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"The plan {path} cannot be read: {error}. `tokenflation plan init DB` writes one.") from error
    try:
        content = yaml.load(text, Loader=_Loader)
        return plan_of(content)
    except (yaml.YAMLError, ValueError) as error:
        told = " ".join(str(error).split())
        raise PlanError(f"The plan {path} is no YAML: {told}. `tokenflation plan init DB` writes one.") from error
    except RecursionError as error:
        raise PlanError(f"The plan {path} is nested too deep; `tokenflation plan init DB` writes one.") from error
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error


def plan_of(content: object) -> Plan:
    """Return the plan that a parsed file holds: a mapping of `Plan`'s fields, its parts as mappings.

    Raises:
        PlanError: a field is unknown, missing, or makes no sense.
    """
    if not isinstance(content, Mapping):
        raise PlanError("a plan is a mapping of fields, as in `tasks_per_day: {triage: 20000}`; this is none.")
    given = _known("plan", content, Plan)
    if "tasks_per_day" not in given:
        raise PlanError("plan.tasks_per_day is missing; give {kind: tasks per day}, or one number for all kinds.")
    volumes = given["tasks_per_day"]
    if isinstance(volumes, Mapping):
        given["tasks_per_day"] = {str(kind): _volume(f"{kind}", volume) for kind, volume in volumes.items()}
    for name, part in _PARTS.items():
        if isinstance(given.get(name), Mapping):
            values = _known(f"plan.{name}", given[name], part)
            needed = [one for one in ("ttft_s", "tpot_s") if name == "timing" and one not in values]
            if needed:
                raise PlanError(f"plan.timing.{needed[0]} is missing; timing needs ttft_s and tpot_s, in seconds.")
            given[name] = part(**values)
        elif name in given:
            raise PlanError(f"plan.{name} is {given[name]!r}; it is a mapping, as in `{name}: {{{_example(name)}}}`.")
    for name, count in (("day_shape", 24), ("week_shape", 7)):
        _check_sum(name, given.get(name), count)
    return Plan(**given)


def _example(name: str) -> str:
    return {"growth": "per_day: 0.01", "burstiness": "kind: modulated, cv: 0.2"}.get(name, "ttft_s: 0.5, tpot_s: 0.02")


def _known(where: str, content: Mapping[Any, Any], record: type) -> dict[str, Any]:
    """Return the fields that are given a value; numbers that YAML 1.1 takes for text, as 1e6, as numbers."""
    names = [one.name for one in fields(record)]
    for name in content:
        if name not in names:
            near = difflib.get_close_matches(str(name), names, 1)
            hint = f"did you mean {near[0]}?" if near else f"it may have {', '.join(names)}."
            raise PlanError(f"{where}.{name} is no field of a plan; {hint}")
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


def _volume(kind: str, volume: Any) -> float | Users:
    where = f"plan.tasks_per_day.{kind}"
    if not isinstance(volume, Mapping):
        return volume  # type: ignore[no-any-return]  # Plan says what is wrong with what is no number
    values = _known(where, volume, Users)
    missing = [one.name for one in fields(Users) if one.name not in values]
    if missing:
        raise PlanError(f"{where}.{missing[0]} is missing; give users and tasks_per_user_per_day, or one number.")
    return Users(**values)


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


def template(recorded: Mapping[str, tuple[int, float]]) -> str:
    """Return a commented plan for task kinds `recorded` as {kind: (runs, seconds from first to last start)}.

    The volume is that of the recording, per day, where at least two runs tell one; else 1,000.
    """
    lines = []
    for kind, (runs, span_s) in recorded.items():
        volume = round(runs * _SECONDS_PER_DAY / span_s) if runs > 1 and span_s >= _SECONDS_PER_DAY else 1_000
        name = yaml.safe_dump(kind, width=10**6, allow_unicode=True).splitlines()[0]
        lines.append(f"  {name}: {volume}   # {runs} recorded run{'' if runs == 1 else 's'}")
    return _TEMPLATE.format(volumes="\n".join(lines), shapes=", ".join(SHAPES))


_TEMPLATE = """\
# What a fleet will be asked to do. Forecast it: tokenflation forecast DB --plan THIS_FILE
# Lines that start with "# " and a field are choices not taken; remove the "# " to take one.

# Tasks a day on an average day of the first day's level, by task kind: a number, or
# {{users: 2000, tasks_per_user_per_day: 6}}. Change these: a recording is no fleet.
tasks_per_day:
{volumes}

# Hours of a day: {shapes}, or 24 weights that sum to 24.
day_shape: flat
# Days of a week, from the first day of the horizon on: 7 weights that sum to 7.
# week_shape: [1.2, 1.2, 1.2, 1.2, 1.2, 0.5, 0.5]

# Growth of the volume, as a multiple of the first day's.
# growth: {{kind: exponential, per_day: 0.01}}
# growth: {{kind: logistic, per_day: 0.02, limit: 5}}
# growth: {{kind: table, table: {{0: 1, 30: 1.5, 90: 3}}}}

# How arrivals bunch beyond the shape. Poisson is right for many people who do not know of each other.
burstiness: {{kind: poisson}}
# burstiness: {{kind: modulated, cv: 0.2}}                            # the whole day is up or down by a fifth or so
# burstiness: {{kind: sessions, tasks_per_session: 5, gap_s: 300}}    # one person starts several tasks
# burstiness: {{kind: hawkes, branching: 0.5, decay_s: 60}}           # tasks set off others

# How fast the fleet serves a call, in s; without it, calls last as long as they did where they were recorded.
# timing: {{ttft_s: 0.5, ttft_s_per_token: 0.00001, tpot_s: 0.02}}

days: 1            # to look ahead, 1 to 366
bucket_s: 3600     # seconds per row of the result; a divisor of an hour
level: 0.9         # probability that an interval claims
# kv_bytes_per_token: 327680    # also give KV cache in bytes
"""
