"""Writes flame graphs as speedscope reads them: one profile per measure, each call a sample whose weight is its tokens.

A call that does not report a measure is no sample of its profile, and the profile's name says how many there are.
Source: https://www.speedscope.app/file-format-schema.json (the type `FileFormat.File`).
"""

from importlib.metadata import version

import msgspec

from tokenflation.exporters.flamegraph import Flames
from tokenflation.sdk.words import many

__all__ = ["encode_speedscope"]

_MEASURES = (
    ("input_tokens", "input tokens", "calls_with_input"),
    ("output_tokens", "output tokens", "calls_with_output"),
    ("reasoning_tokens", "reasoning tokens, part of output", None),
    ("cache_read_tokens", "cache reads, part of input", None),
    ("calls", "calls", None),
)


def encode_speedscope(flames: Flames) -> bytes:
    """Return the file as UTF-8 JSON; weights are whole tokens, which speedscope shows without a unit."""
    places: dict[str, int] = {}
    stacks = [[places.setdefault(frame, len(places)) for frame in sample.stack] for sample in flames.samples]
    profiles = []
    for field, label, known in _MEASURES:
        if not getattr(flames.total, field):
            continue
        weighed = [
            (stack, weight)
            for stack, sample in zip(stacks, flames.samples, strict=True)
            if (weight := getattr(sample.totals, field))
        ]
        silent = flames.total.calls - getattr(flames.total, known) if known else 0
        profiles.append(
            {
                "type": "sampled",
                "name": f"{label} ({silent:,} of {many(flames.total.calls, 'call')} not reported)" if silent else label,
                "unit": "none",
                "startValue": 0,
                "endValue": sum(weight for _, weight in weighed),
                "samples": [stack for stack, _ in weighed],
                "weights": [weight for _, weight in weighed],
            }
        )
    return msgspec.json.encode(
        {
            "$schema": "https://www.speedscope.app/file-format-schema.json",
            "name": "Tokens by task, agent, step and tool",
            "exporter": f"tokenflation@{version('tokenflation')}",
            "activeProfileIndex": 0,
            "shared": {"frames": [{"name": frame} for frame in places]},
            "profiles": profiles,
        }
    )
