"""The world of the tiny model: one coloured shape that moves over a plain background.

This is the vocabulary and the geometry, in plain Python. `render.py` turns it into pixels,
`captions.py` into words, and `ruler.py` reads it back from pixels.
"""

from __future__ import annotations

import functools
import math
import random
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

NUM_FRAMES = 17
"""Frames in a clip."""

SIZE = 64
"""Height and width of a clip in pixels; all lengths below are pixels of this canvas."""

RGB = tuple[float, float, float]
"""Red, green and blue in 0..255."""

COLOURS: dict[str, RGB] = {
    "red": (220, 30, 30),
    "green": (30, 180, 50),
    "blue": (40, 70, 230),
    "yellow": (245, 220, 40),
    "magenta": (220, 50, 200),
    "cyan": (40, 210, 220),
    "orange": (250, 140, 20),
    "white": (245, 245, 245),
}

BACKGROUNDS: dict[str, RGB] = {
    "black": (10, 10, 10),
    "gray": (110, 110, 110),
    "white": (245, 245, 245),
    "brown": (90, 50, 20),
}

SHAPES = ("circle", "square", "triangle")

SQUARE_HALF_SIDE = 0.9
TRIANGLE_INRADIUS = 0.7
TRIANGLE_DROP = 0.2
"""Sizes and downward offset relative to a shape's radius; they make the areas alike."""

MOTIONS = ("right", "left", "up", "down", "still", "growing", "shrinking")

DIRECTIONS: dict[str, tuple[int, int]] = {
    "right": (1, 0),
    "left": (-1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
"""Unit step (x, y) of each moving motion; y points down."""

MIN_CONTRAST = 150.0
"""Smallest distance in RGB (0..442) between a shape and its background.

It leaves out white on white, green, blue on gray, red, green on brown: pairs that a blurred clip
cannot show.
"""

NUM_HELD_OUT = 64
HELD_OUT_SEED = 1234


class Combination(NamedTuple):
    """What a caption can say about a clip."""

    colour: str
    shape: str
    motion: str
    background: str


@dataclass(frozen=True)
class Track:
    """Where a shape is and how large: linear from the first frame to the last, in pixels."""

    start: tuple[float, float]
    end: tuple[float, float]
    start_radius: float
    end_radius: float


def has_contrast(colour: str, background: str) -> bool:
    """Tells whether a shape of this colour can be seen on this background."""
    return math.dist(COLOURS[colour], BACKGROUNDS[background]) >= MIN_CONTRAST


@functools.cache
def list_combinations() -> tuple[Combination, ...]:
    """Lists all combinations with enough contrast, in a stable order."""
    return tuple(
        Combination(*words)
        for words in product(COLOURS, SHAPES, MOTIONS, BACKGROUNDS)
        if has_contrast(words[0], words[3])
    )


@functools.cache
def list_held_out() -> tuple[Combination, ...]:
    """Lists the combinations that the transformer never trains on; every score is on these."""
    shuffled = list(list_combinations())
    # A fixed shuffle, no secret.
    random.Random(HELD_OUT_SEED).shuffle(shuffled)  # noqa: S311
    return tuple(shuffled[:NUM_HELD_OUT])


@functools.cache
def list_training() -> tuple[Combination, ...]:
    """Lists the combinations that the transformer trains on, in a stable order."""
    held_out = set(list_held_out())
    return tuple(each for each in list_combinations() if each not in held_out)


def happens(share: float, rng: random.Random) -> bool:
    """Draws whether something that happens in a share (0..1) of cases happens now."""
    return rng.random() < share


def draw_track(motion: str, rng: random.Random) -> Track:
    """Draws start, size and speed of a shape that never touches the border.

    Args:
        motion: One of `MOTIONS`. A moving shape travels at least 24 pixels; a growing one more
            than triples its area.
        rng: Source of randomness; a track takes a fixed number of draws per motion.

    Returns:
        The track on the 64x64 canvas.
    """
    if motion in ("growing", "shrinking"):
        return _draw_resizing_track(motion, rng)
    radius = rng.uniform(9, 13)
    margin = radius * 1.25 + 1.5
    low, high = margin, SIZE - margin
    start = end = (rng.uniform(low, high), rng.uniform(low, high))
    if motion in DIRECTIONS:
        distance = min(rng.uniform(24, 34), high - low)
        first = rng.uniform(low, high - distance)
        start, end = _along(DIRECTIONS[motion], start, first, first + distance)
    return Track(start, end, radius, radius)


def _draw_resizing_track(motion: str, rng: random.Random) -> Track:
    small, large = rng.uniform(6, 8), rng.uniform(14.5, 18)
    margin = large * 1.25 + 1.5
    centre = (rng.uniform(margin, SIZE - margin), rng.uniform(margin, SIZE - margin))
    if motion == "growing":
        return Track(centre, centre, small, large)
    return Track(centre, centre, large, small)


def _along(
    direction: tuple[int, int], point: tuple[float, float], near: float, far: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Replaces the moving coordinate of a point by the two ends of its way."""
    x, y = point
    if direction[0] + direction[1] < 0:
        near, far = far, near
    if direction[0]:
        return (near, y), (far, y)
    return (x, near), (x, far)
