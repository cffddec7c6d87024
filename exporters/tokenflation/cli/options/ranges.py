"""Numbers within limits, as options of commands take them. Knows nothing of what they mean."""

import math
from typing import Any

import click

__all__ = ["Number", "Whole"]


class Number(click.FloatRange):
    """A number; click would say of another text that it is no "float range", and let nan and inf through."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or fail as click does."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a valid {self.name}.", param, ctx)
        return number


class Whole(click.IntRange):
    """A whole number; likewise."""

    name = "whole number"
