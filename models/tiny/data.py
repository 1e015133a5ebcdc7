"""The vocabulary of the tiny model: what a caption can name and which words go together.

`tracks.py` gives it geometry, `render.py` pixels and `captions.py` words; `ruler.py` reads it back.
"""

from __future__ import annotations

import functools
import math
import random
import zlib
from typing import NamedTuple

from models.tiny.shapes import OUTLINES, can_turn

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
    "black": (15, 15, 15),
    "purple": (120, 40, 180),
    "pink": (255, 160, 190),
    "lime": (160, 240, 50),
}

BACKGROUNDS: dict[str, tuple[RGB, RGB]] = {
    "black": ((10, 10, 10), (10, 10, 10)),
    "gray": ((110, 110, 110), (110, 110, 110)),
    "white": ((245, 245, 245), (245, 245, 245)),
    "brown": ((90, 50, 20), (90, 50, 20)),
    "navy": ((15, 25, 80), (15, 25, 80)),
    "sunset": ((70, 30, 100), (245, 130, 70)),
    "sky": ((60, 130, 220), (215, 235, 250)),
    "forest": ((10, 35, 30), (70, 120, 70)),
}
"""Colours at the top and at the bottom of a frame, blended in between."""

SHAPES = tuple(OUTLINES)

DIRECTIONS: dict[str, tuple[int, int]] = {
    "right": (1, 0),
    "left": (-1, 0),
    "up": (0, -1),
    "down": (0, 1),
    "up right": (1, -1),
    "up left": (-1, -1),
    "down right": (1, 1),
    "down left": (-1, 1),
}
"""Step (x, y) of each moving motion; y points down."""

MOTIONS = (
    *DIRECTIONS, "circling", "bouncing", "growing", "shrinking", "rotating", "blinking", "still",
)  # fmt: skip

OPPOSITES = {"above": "below", "below": "above", "left of": "right of", "right of": "left of"}

RELATIONS = tuple(OPPOSITES)
"""Where the first of two things is, seen from the second."""

PAIR_MOTIONS: dict[str, tuple[str, ...]] = {
    relation: (*ways, "rotating", "blinking", "still")
    for relation, ways in (
        ("above", ("right", "left")),
        ("below", ("right", "left")),
        ("left of", ("up", "down")),
        ("right of", ("up", "down")),
    )
}
"""Motions that keep a relation true from the first frame to the last."""

MIN_CONTRAST = 140.0
"""Smallest distance in RGB (0..442) between a thing and all it can be in front of or beside.

It leaves out white on white, green or blue on gray, red on brown: pairs a blurred clip cannot show.
"""

PAIR_SHARE = 0.35
STILL_SHARE = 0.5
HARD_WORDS = {"star": 2.0, "triangle": 2.0, "cross": 2.0, "rotating": 2.0, "circling": 1.5}
"""How many times as often as others clips with what is hard to draw are trained on."""

HELD_OUT_PART = 16
"""One in this many combinations is held out; every score is on these."""

HELD_OUT_SEED = 1234


class Thing(NamedTuple):
    """What a caption can say about one shape."""

    colour: str
    shape: str
    motion: str


class Combination(NamedTuple):
    """What a caption can say about a clip.

    With two things, `relation` says where the first is, seen from the second.
    """

    things: tuple[Thing, ...]
    background: str
    relation: str | None = None


def happens(share: float, rng: random.Random) -> bool:
    """Draws whether something that happens in a share (0..1) of cases happens now."""
    return rng.random() < share


@functools.cache
def has_contrast(colour: str, background: str) -> bool:
    """Tells whether a shape of this colour can be seen everywhere on this background."""
    top, bottom = BACKGROUNDS[background]
    return all(
        math.dist(
            COLOURS[colour], [a + (b - a) * part / 4 for a, b in zip(top, bottom, strict=True)]
        )
        >= MIN_CONTRAST
        for part in range(5)
    )


def is_held_out(combination: Combination) -> bool:
    """Tells whether the transformer never trains on a combination; the same on every machine."""
    words = [*combination.things, combination.background, combination.relation]
    return zlib.crc32(repr(words).encode()) % HELD_OUT_PART == 0


def training_weight(combination: Combination) -> float:
    """Returns how often a combination is trained on, beside 1 for an easy one.

    Of two things the harder counts.
    """
    return max(
        HARD_WORDS.get(thing.shape, 1.0) * HARD_WORDS.get(thing.motion, 1.0)
        for thing in combination.things
    )


def draw_combination(
    rng: random.Random, *, held_out: bool = False, pair_share: float = PAIR_SHARE
) -> Combination:
    """Draws what a clip shows: one thing or two.

    Args:
        rng: Source of randomness.
        held_out: Whether to draw from the combinations kept for scores, or from all others.
        pair_share: Share (0..1) of combinations of two things.

    Returns:
        A combination whose colours stand out and whose motions can be seen.
    """
    while True:
        drawn = _draw_pair(rng) if happens(pair_share, rng) else _draw_single(rng)
        if is_held_out(drawn) is held_out:
            return drawn


def list_held_out(count: int) -> list[Combination]:
    """Returns combinations that the transformer never trained on, always the same."""
    # A fixed sample, no secret.
    rng = random.Random(HELD_OUT_SEED)  # noqa: S311
    return [draw_combination(rng, held_out=True) for _ in range(count)]


def _draw_single(rng: random.Random) -> Combination:
    background = rng.choice(list(BACKGROUNDS))
    colour = rng.choice([each for each in COLOURS if has_contrast(each, background)])
    return Combination((_draw_thing(colour, MOTIONS, rng),), background)


def _draw_pair(rng: random.Random) -> Combination:
    relation = rng.choice(RELATIONS)
    background = rng.choice(list(BACKGROUNDS))
    visible = [each for each in COLOURS if has_contrast(each, background)]
    first = rng.choice(visible)
    second = rng.choice(
        [each for each in visible if math.dist(COLOURS[each], COLOURS[first]) >= MIN_CONTRAST]
    )
    motions = PAIR_MOTIONS[relation]
    others = ("still",) if happens(STILL_SHARE, rng) else motions
    things = (_draw_thing(first, motions, rng), _draw_thing(second, others, rng))
    return Combination(things, background, relation)


def _draw_thing(colour: str, motions: tuple[str, ...], rng: random.Random) -> Thing:
    motion = rng.choice(motions)
    shapes = [each for each in SHAPES if motion != "rotating" or can_turn(each)]
    return Thing(colour, rng.choice(shapes), motion)
