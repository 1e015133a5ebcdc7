"""Draws random scenes: captioned ones of a combination, and others for pictures from elsewhere."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from models.tiny.data import (
    BACKGROUNDS,
    COLOURS,
    MIN_CONTRAST,
    MOTIONS,
    RGB,
    SHAPES,
    Combination,
    draw_combination,
    happens,
)
from models.tiny.render import Backdrop, Item, Scene, Window
from models.tiny.tracks import Lane, Stage, draw_track, split_stage

if TYPE_CHECKING:
    import random

GENERAL_SHARE = 0.2
"""Share of general scenes in the autoencoder's data; without them it knows named colours only."""

PICTURE_SHARE = 0.1
"""Share of scenes over a texture in the autoencoder's data."""


def draw_scene(
    combination: Combination, stage: Stage, rng: random.Random, jitter: float = 6.0
) -> Scene:
    """Draws a scene that shows a combination.

    Args:
        combination: What the scene shows.
        stage: Size and length of the clip.
        rng: Source of randomness.
        jitter: Largest change of a colour channel, of 255, so that no colour is one exact value.

    Returns:
        A scene with one item per thing.
    """
    lanes = split_stage(stage, combination.relation, rng)
    items = tuple(
        Item(
            thing.shape,
            _jittered(COLOURS[thing.colour], jitter, rng),
            draw_track(thing.motion, lane, stage, rng),
        )
        for thing, lane in zip(combination.things, lanes, strict=True)
    )
    top, bottom = BACKGROUNDS[combination.background]
    shift = [rng.uniform(-jitter, jitter) * 0.7 for _ in range(3)]
    return Scene(stage, Backdrop(_shifted(top, shift), _shifted(bottom, shift)), items)


def draw_picture_scene(combination: Combination, stage: Stage, rng: random.Random) -> Scene:
    """Draws the things of a combination over a texture, as in a picture from elsewhere."""
    scene = draw_scene(combination, stage, rng, jitter=10.0)
    start, end = _contrasting_colour(scene, rng), _contrasting_colour(scene, rng)
    backdrop = Backdrop(start, end, _any_slope(rng), texture_seed=rng.getrandbits(32))
    return replace(scene, backdrop=backdrop)


def draw_general_scene(stage: Stage, rng: random.Random) -> Scene:
    """Draws a scene outside the vocabulary: any colours, one to three shapes that may overlap."""
    lane = Lane(0, 0, stage.width, stage.height)
    items = tuple(
        Item(
            rng.choice(SHAPES),
            _any_colour(rng),
            draw_track(rng.choice(MOTIONS), lane, stage, rng),
        )
        for _ in range(rng.choice((1, 1, 2, 2, 3)))
    )
    start = _any_colour(rng)
    end = _any_colour(rng) if happens(0.4, rng) else start
    return Scene(stage, Backdrop(start, end, _any_slope(rng)), items)


def draw_autoencoder_scene(stage: Stage, rng: random.Random) -> Scene:
    """Draws a scene of any combination, a general one, or one over a texture."""
    chance = rng.random()
    if chance < GENERAL_SHARE:
        return draw_general_scene(stage, rng)
    combination = draw_combination(rng)
    if chance < GENERAL_SHARE + PICTURE_SHARE:
        return draw_picture_scene(combination, stage, rng)
    return draw_scene(combination, stage, rng, jitter=10.0)


def draw_window(scene: Scene, part: Stage, rng: random.Random) -> Window:
    """Draws a window of a clip that looks at one of its items.

    Args:
        scene: The scene that is looked at.
        part: Size and length of the window, no larger than the scene's.
        rng: Source of randomness.

    Returns:
        A window inside the clip, its centre up to 14 pixels away from the item's.
    """
    stage = scene.stage
    first = rng.randint(0, stage.num_frames - part.num_frames)
    middle = (first + part.num_frames / 2) / stage.num_frames
    track = rng.choice(scene.items).track
    left, top = (
        min(whole - side, max(0, round(a + (b - a) * middle - side / 2 + rng.uniform(-14, 14))))
        for a, b, whole, side in zip(
            track.start,
            track.end,
            (stage.width, stage.height),
            (part.width, part.height),
            strict=True,
        )
    )
    return Window(left, top, first)


def _jittered(rgb: RGB, amount: float, rng: random.Random) -> RGB:
    return _shifted(rgb, [rng.uniform(-amount, amount) for _ in range(3)])


def _shifted(rgb: RGB, shift: list[float]) -> RGB:
    red, green, blue = (
        min(255.0, max(0.0, value + step)) for value, step in zip(rgb, shift, strict=True)
    )
    return (red, green, blue)


def _any_colour(rng: random.Random) -> RGB:
    if happens(0.5, rng):
        return _jittered(rng.choice(list(COLOURS.values())), 10.0, rng)
    return (rng.uniform(0, 255), rng.uniform(0, 255), rng.uniform(0, 255))


def _contrasting_colour(scene: Scene, rng: random.Random) -> RGB:
    """Draws a colour in which all items of a scene stand out."""
    while True:
        colour = _any_colour(rng)
        if all(math.dist(colour, item.rgb) >= MIN_CONTRAST for item in scene.items):
            return colour


def _any_slope(rng: random.Random) -> tuple[float, float]:
    return (rng.uniform(-1, 1), rng.uniform(-1, 1))
