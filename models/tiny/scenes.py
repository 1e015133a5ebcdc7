"""Draws random scenes: captioned ones of a combination, and general ones for the autoencoder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.tiny.data import (
    BACKGROUNDS,
    COLOURS,
    MOTIONS,
    NUM_FRAMES,
    RGB,
    SHAPES,
    SIZE,
    Combination,
    draw_track,
    happens,
    list_combinations,
)
from models.tiny.render import Item, Scene, Window

if TYPE_CHECKING:
    import random

GENERAL_SHARE = 0.25
"""Share of general scenes in the autoencoder's data; without them it knows twelve colours only."""


def draw_scene(combination: Combination, rng: random.Random, jitter: float = 6.0) -> Scene:
    """Draws a scene that shows a combination.

    Args:
        combination: What the scene shows.
        rng: Source of randomness.
        jitter: Largest change of a colour channel, of 255, so that no colour is one exact value.

    Returns:
        A scene with one item.
    """
    track = draw_track(combination.motion, rng)
    colour = _jittered(COLOURS[combination.colour], jitter, rng)
    background = _jittered(BACKGROUNDS[combination.background], jitter * 0.7, rng)
    return Scene(background, (Item(combination.shape, colour, track),))


def draw_general_scene(rng: random.Random) -> Scene:
    """Draws a scene outside the vocabulary: any colours, one to three shapes, maybe a gradient."""
    items = tuple(
        Item(rng.choice(SHAPES), _any_colour(COLOURS, rng), draw_track(rng.choice(MOTIONS), rng))
        for _ in range(rng.choice((1, 1, 2, 2, 3)))
    )
    slope = (0.0, 0.0)
    if happens(0.4, rng):
        slope = (rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4))
    return Scene(_any_colour(BACKGROUNDS, rng), items, slope)


def draw_autoencoder_scene(rng: random.Random) -> Scene:
    """Draws a scene of any combination with strong colour jitter, or a general one."""
    if happens(GENERAL_SHARE, rng):
        return draw_general_scene(rng)
    return draw_scene(rng.choice(list_combinations()), rng, jitter=10.0)


def draw_window(scene: Scene, size: int, num_frames: int, rng: random.Random) -> Window:
    """Draws a window of a clip that looks at the first item of a scene.

    Args:
        scene: The scene that is looked at.
        size: Height and width of the window, at most 64 pixels.
        num_frames: Length of the window, at most 17 frames.
        rng: Source of randomness.

    Returns:
        A window inside the clip, its centre up to 14 pixels away from the item's.
    """
    first = rng.randint(0, NUM_FRAMES - num_frames)
    middle = (first + num_frames / 2) / (NUM_FRAMES - 1)
    track = scene.items[0].track
    left, top = (
        min(SIZE - size, max(0, round(a + (b - a) * middle - size / 2 + rng.uniform(-14, 14))))
        for a, b in zip(track.start, track.end, strict=True)
    )
    return Window(left, top, first)


def _jittered(rgb: RGB, amount: float, rng: random.Random) -> RGB:
    red, green, blue = (min(255.0, max(0.0, v + rng.uniform(-amount, amount))) for v in rgb)
    return (red, green, blue)


def _any_colour(named: dict[str, RGB], rng: random.Random) -> RGB:
    if happens(0.5, rng):
        return _jittered(rng.choice(list(named.values())), 10.0, rng)
    return (rng.uniform(0, 255), rng.uniform(0, 255), rng.uniform(0, 255))
