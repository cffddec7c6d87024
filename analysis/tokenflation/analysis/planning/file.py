"""Plans as YAML files: reading one, and writing a commented one from recorded tasks.

Fields are those of `Plan`; `planning.content` makes it out of what YAML holds. Knows nothing of runs beyond kinds and
counts.
"""

import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from tokenflation.analysis.planning.content import plan_of
from tokenflation.analysis.planning.plan import SHAPES, Plan
from tokenflation.sdk.errors import PlanError

__all__ = ["plan_of", "read_plan", "template"]

_SECONDS_PER_DAY = 86_400


class _Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """SafeLoader that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue  # `<<: *other` brings in another mapping's fields, which those given here go before
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
    """Return the plan in a YAML file; files that it names are looked for beside it.

    Raises:
        PlanError: the file cannot be read, is no YAML, or a field makes no sense; the message names file and field.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text in UTF-8"
        raise PlanError(f"The plan {path} cannot be read: {why}. `tokenflation plan init DB` writes one.") from error
    try:
        content = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, ValueError) as error:
        told = " ".join(str(error).split())
        raise PlanError(f"The plan {path} is no YAML: {told}. `tokenflation plan init DB` writes one.") from error
    except RecursionError as error:
        raise PlanError(f"The plan {path} is nested too deep; `tokenflation plan init DB` writes one.") from error
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error
    try:
        return plan_of(content, folder=Path(path).parent)
    except RecursionError as error:
        raise PlanError(f"The plan {path} is nested too deep; `tokenflation plan init DB` writes one.") from error
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from error


def template(
    recorded: Mapping[str, int], *, span_s: float = 0.0, models: Mapping[str, Mapping[str, int]] | None = None
) -> str:
    """Return a commented plan for the `recorded` runs of each task kind.

    The volume is that of the recording, per day, if its `span_s` from the first start of a run to the last is a day or
    more; else 1,000. `models` are the runs of each kind by model, as `planned.runs_by_models` counts them.
    """
    lines = []
    for kind, runs in recorded.items():
        volume = "1000" if span_s < _SECONDS_PER_DAY else _a_day(runs * _SECONDS_PER_DAY / span_s)
        # In double quotes a name of several lines is written on one.
        style = None if kind.isprintable() else '"'
        name = yaml.safe_dump(kind, width=10**6, allow_unicode=style is None, default_style=style).splitlines()[0]
        lines.append(f"  {name}: {volume}   # {runs} recorded run{'' if runs == 1 else 's'}")
    first = next(iter(recorded), "triage")
    return _TEMPLATE.format(volumes="\n".join(lines), shapes=", ".join(SHAPES), models=_models(models or {}, first),
                            budgets=_flow({first: {"max_calls": 40, "max_input_tokens": 2_000_000}}))  # fmt: skip


def _a_day(tasks: float) -> str:
    """Return a volume as YAML reads numbers; none is 0, which a forecast of that kind alone would refuse."""
    return f"{tasks:.0f}" if tasks >= 10 else f"{max(tasks, 0.01):.2g}"


def _flow(content: Any) -> str:
    """Return YAML on one line."""
    text = str(
        yaml.safe_dump(content, default_flow_style=True, width=10**6, allow_unicode=True, sort_keys=False)
    ).strip()
    # A name of several lines would take as many; JSON is YAML on one.
    return text if text.isprintable() else json.dumps(content)


def _models(models: Mapping[str, Mapping[str, int]], first: str) -> str:
    """Return the mix of models as recorded, of the kinds with several; an example where there is none."""
    mixed = {
        kind: {name: round(count / sum(counts.values()), 4) for name, count in counts.items()}
        for kind, counts in models.items()
        if len(counts) > 1
    }
    for shares in mixed.values():
        last = next(reversed(shares))
        shares[last] = round(1 - sum(share for name, share in shares.items() if name != last), 4)
    one = next((name for counts in models.values() for name in counts), "gpt-5-mini")
    return _flow(mixed or {first: {one: 1.0}})


_TEMPLATE = """\
# What a fleet will be asked to do. Forecast it: tokenflation forecast DB --plan THIS_FILE
# Lines that start with "# " and a field are choices not taken; remove the "# " to take one.

# A volume, growth a day, timing, bytes or cache_kept that nobody knows for sure may be {{value: 20000, cv: 0.3}} (give or take
# 30 %), or have an sd in its own unit. The forecast then shows what these assumptions hold of the variance, and which most.

# Tasks a day on an average day of the first day's level, by task kind: a number, or
# {{users: 2000, tasks_per_user_per_day: 6}}. Change these: a recording is no fleet.
tasks_per_day:
{volumes}

# Of the tasks of a kind, the share that runs on each model it was recorded with; without it, models are as recorded.
# Unsure by 10 points: {{shares: {{a: 0.6, b: 0.4}}, sd: 0.1}}. A run of several models is of "a + b".
# models: {models}

# What one task may use at most: max_calls, max_input_tokens, max_output_tokens, max_tokens, max_cost. Recorded runs are cut
# where it ends: no call starts once those before it used that much. max_cost needs prices: model, input, output, and
# cache_read, cache_write and cache_write_1h where they differ from input, per million tokens.
# budgets: {budgets}
# prices: prices.csv

# Hours of a day: {shapes}, or 24 weights that sum to 24.
day_shape: flat
# Days of a week, from the first day of the horizon on: 7 weights that sum to 7.
# week_shape: [1.2, 1.2, 1.2, 1.2, 1.2, 0.5, 0.5]

# Growth of the volume, as a multiple of the first day's.
# growth: {{kind: exponential, per_day: 0.01}}
# growth: {{kind: exponential, per_day: {{value: 0.01, sd: 0.005}}}}    # not known for sure
# growth: {{kind: logistic, per_day: 0.02, limit: 5}}
# growth: {{kind: table, table: {{0: 1, 30: 1.5, 90: 3}}}}

# How arrivals bunch beyond the shape. Poisson is right for many people who do not know of each other.
burstiness: {{kind: poisson}}
# burstiness: {{kind: modulated, cv: 0.2}}                            # the whole day is up or down by a fifth or so
# burstiness: {{kind: sessions, tasks_per_session: 5, gap_s: 300}}    # one person starts several tasks
# burstiness: {{kind: hawkes, branching: 0.5, decay_s: 60}}           # tasks set off others
# burstiness: {{kind: trace, file: arrivals.csv}}                     # as measured: starts, one a line, in s or ISO 8601

# How fast the fleet serves a call, in s; without it, calls last as long as they did where they were recorded.
# timing: {{ttft_s: 0.5, ttft_s_per_token: 0.00001, tpot_s: 0.02}}
# timing: {{ttft_s: {{value: 0.5, cv: 0.2}}, tpot_s: {{value: 0.02, cv: 0.2}}}}

# Of the input that recorded calls read from a prefix cache, the share that the fleet's cache still holds.
# cache_kept: 0.9
# cache_kept: {{value: 0.9, sd: 0.05}}

days: 1            # to look ahead, 1 to 366
bucket_s: 3600     # seconds per row of the result; a divisor of an hour
level: 0.9         # probability that an interval claims
# kv_bytes_per_token: 327680    # also give KV cache in bytes
# kv_ttl_s: 300      # how long a call's KV cache is kept for the call that goes on from it

# The served model's shape, for FLOP and bytes of KV cache: as in its configuration file, or one for each recorded model by
# name, `default` for all others. Multi-head latent attention: latent_dim and rope_dim in place of kv_heads.
# serving: {{active_parameters: 70.6e9, layers: 80, heads: 64, head_dim: 128, kv_heads: 8, bytes_per_element: 2}}

# Whether the fleet has the limits that cut recorded runs; else longer runs stand in for what cut ones had left to do.
# limits_hold: true
"""
