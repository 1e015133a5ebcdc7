"""The outlines of the shapes as signed distances, for tensors and arrays alike.

The renderer evaluates them in torch and the ruler in numpy, so both mean the same by "star".
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

Field: TypeAlias = Any
"""A torch tensor or a numpy array of float coordinates."""

REACH = 1.34
"""Farthest point of any shape from its centre, in radii, however it is turned."""

SQUARE_HALF_SIDE = 0.9
TRIANGLE_INRADIUS = 0.66
ARM_HALF_WIDTH = 0.31
RING_MIDDLE, RING_HALF_WIDTH = 0.75, 0.28
HEART_SIDE, HEART_DROP = 0.62, 0.27
STAR_INRADIUS, STAR_TIP = 0.52, 1.2
MOON_RADIUS, MOON_BITE, MOON_OFFSET, MOON_SHIFT = 1.05, 0.8, 0.57, 0.37
"""Sizes relative to a shape's radius; areas are comparable, centroids in the middle."""


def _larger(a: Field, b: Field) -> Field:
    return (a + b + abs(a - b)) / 2


def _smaller(a: Field, b: Field) -> Field:
    return (a + b - abs(a - b)) / 2


def _disc(x: Field, y: Field, radius: float) -> Field:
    return (x * x + y * y) ** 0.5 - radius


def _box(x: Field, y: Field, half_width: float, half_height: float) -> Field:
    return _larger(abs(x) - half_width, abs(y) - half_height)


def _circle(x: Field, y: Field) -> Field:
    return _disc(x, y, 1.0)


def _square(x: Field, y: Field) -> Field:
    return _box(x, y, SQUARE_HALF_SIDE, SQUARE_HALF_SIDE)


def _triangle(x: Field, y: Field) -> Field:
    return _larger(0.75**0.5 * abs(x) - 0.5 * y, y) - TRIANGLE_INRADIUS


def _star(x: Field, y: Field) -> Field:
    """A pentagram, its thin tips cut round: inside lies what one of five lines may leave out."""
    heights = [
        x * math.cos(angle) + y * math.sin(angle)
        for angle in (turn * math.tau / 5 - math.pi / 2 for turn in range(5))
    ]
    highest, second = _larger(*heights[:2]), _smaller(*heights[:2])
    for height in heights[2:]:
        second = _larger(second, _smaller(highest, height))
        highest = _larger(highest, height)
    return _larger(second - STAR_INRADIUS, _disc(x, y, STAR_TIP))


def _cross(x: Field, y: Field) -> Field:
    return _smaller(_box(x, y, 1.0, ARM_HALF_WIDTH), _box(x, y, ARM_HALF_WIDTH, 1.0))


def _ring(x: Field, y: Field) -> Field:
    return abs(_disc(x, y, RING_MIDDLE)) - RING_HALF_WIDTH


def _heart(x: Field, y: Field) -> Field:
    side, y = abs(x), y - HEART_DROP
    half = HEART_SIDE / 2**0.5
    diamond = (side + abs(y)) / 2**0.5 - HEART_SIDE
    return _smaller(diamond, _disc(side - half, y + half, HEART_SIDE))


def _moon(x: Field, y: Field) -> Field:
    x = x - MOON_SHIFT
    return _larger(_disc(x, y, MOON_RADIUS), -_disc(x - MOON_OFFSET, y, MOON_BITE))


OUTLINES: dict[str, Callable[[Field, Field], Field]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "cross": _cross,
    "ring": _ring,
    "heart": _heart,
    "moon": _moon,
}

SYMMETRY = {"circle": 0, "ring": 0, "square": 4, "cross": 4, "star": 5, "triangle": 3}
"""How many turns of a shape look alike; 0 where all do, 1 where it is not named."""


def distance(shape: str, x: Field, y: Field) -> Field:
    """Returns the signed distance to a shape of radius 1, y pointing down.

    Args:
        shape: One of `OUTLINES`.
        x: Coordinates right of the shape's centre, in radii.
        y: Coordinates below it; must broadcast with `x`.

    Returns:
        Negative inside; near the outline its slope is 1.
    """
    return OUTLINES[shape](x, y)


def can_turn(shape: str) -> bool:
    """Tells whether a turn of the shape can be seen."""
    return SYMMETRY.get(shape, 1) > 0
