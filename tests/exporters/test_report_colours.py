"""Colours that stand beside each other in one bar differ for those who see no red, no green or no blue too."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest

from tokenflation.exporters.report import parts
from tokenflation.exporters.report.sections import structure
from tokenflation.exporters.report.theme import PALETTE

# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency" (2009).
SEEN: dict[str, list[list[float]]] = {
    "no red": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no green": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "no blue": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])
BARS = {
    "input": [part.colour for part in (*parts.INPUT_PARTS, *parts._WHOLE_INPUT)],
    "output": [part.colour for part in (*parts.OUTPUT_PARTS, *parts._WHOLE_OUTPUT)],
    "time": [colour for _, _, colour in structure._TIMES],
}


def _lab(colour: str, seen: str) -> Any:
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    ratio = XYZ @ np.clip(np.array(SEEN[seen]) @ linear, 0, 1) / WHITE
    x, y, z = np.where(ratio > 0.008856, np.cbrt(ratio), 7.787 * ratio + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("seen", SEEN)
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("bar", BARS)
def test_parts_of_one_bar_are_told_apart_by_colour(bar: str, theme: str, seen: str) -> None:
    for one, other in combinations(BARS[bar], 2):
        colours = [getattr(PALETTE[name], theme) for name in (one, other)]
        difference = np.linalg.norm(_lab(colours[0], seen) - _lab(colours[1], seen))
        assert difference > 11, (one, other)
