"""Which vocabulary a checkpoint was trained on, and what it is scored on.

Version 1 knew one shape at a time, three shapes and English; its checkpoint says nothing about a
version. Version 2 is all of `data.py`, and its checkpoints hold a `world.json`.
"""

from __future__ import annotations

import functools
import json
import math
import random
from dataclasses import dataclass
from itertools import cycle, islice, product
from typing import TYPE_CHECKING

from models.tiny.data import BACKGROUNDS, COLOURS, SHAPES, Combination, Thing, draw_combination
from models.tiny.tracks import Stage

if TYPE_CHECKING:
    from pathlib import Path

WORLD_FILE = "world.json"
WORLD_VERSION = 2
"""The version that is trained now."""

HELD_OUT_SEED = 1234
NUM_FIRST_HELD_OUT = 64
FIRST_MIN_CONTRAST = 150.0


@dataclass(frozen=True)
class World:
    """The words of one version, the languages its prompts come in, and its usual clip."""

    version: int
    colours: tuple[str, ...]
    shapes: tuple[str, ...]
    backgrounds: tuple[str, ...]
    languages: tuple[str, ...]
    stage: Stage

    def list_held_out(self, count: int) -> list[Combination]:
        """Returns combinations that the transformer never trained on, always the same."""
        if self.version == 1:
            return list(islice(cycle(list_first_held_out()), count))
        # A fixed sample, no secret.
        rng = random.Random(HELD_OUT_SEED)  # noqa: S311
        return [draw_combination(rng, held_out=True) for _ in range(count)]


FIRST_WORLD = World(
    version=1,
    colours=("red", "green", "blue", "yellow", "magenta", "cyan", "orange", "white"),
    shapes=("circle", "square", "triangle"),
    backgrounds=("black", "gray", "white", "brown"),
    languages=("en",),
    stage=Stage(64, 64, 17),
)

WORLD = World(
    version=WORLD_VERSION,
    colours=tuple(COLOURS),
    shapes=SHAPES,
    backgrounds=tuple(BACKGROUNDS),
    languages=("en", "zh"),
    stage=Stage(96, 96, 17),
)


def read_world(checkpoint: Path) -> World:
    """Returns the world of a checkpoint.

    Raises:
        ValueError: The folder is of a version that this code does not know.
    """
    path = checkpoint / WORLD_FILE
    if not path.exists():
        return FIRST_WORLD
    version = json.loads(path.read_text())["version"]
    if version != WORLD_VERSION:
        raise ValueError(f"{path} says version {version}, known are 1 and {WORLD_VERSION}")
    return WORLD


@functools.cache
def list_first_held_out() -> tuple[Combination, ...]:
    """Lists what version 1 held out; a new choice would void the shipped checkpoint's scores."""
    motions = ("right", "left", "up", "down", "still", "growing", "shrinking")
    everything = [
        Combination((Thing(colour, shape, motion),), background)
        for colour, shape, motion, background in product(
            FIRST_WORLD.colours, FIRST_WORLD.shapes, motions, FIRST_WORLD.backgrounds
        )
        if math.dist(COLOURS[colour], BACKGROUNDS[background][0]) >= FIRST_MIN_CONTRAST
    ]
    # A fixed shuffle, no secret.
    random.Random(HELD_OUT_SEED).shuffle(everything)  # noqa: S311
    return tuple(everything[:NUM_FIRST_HELD_OUT])
