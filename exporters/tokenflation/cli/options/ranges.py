"""Numbers within limits, as options of commands take them. Knows nothing of what they mean."""

import click

__all__ = ["Number", "Whole"]


class Number(click.FloatRange):
    """A number; click would say of another text that it is no "float range"."""

    name = "number"


class Whole(click.IntRange):
    """A whole number; likewise."""

    name = "whole number"
