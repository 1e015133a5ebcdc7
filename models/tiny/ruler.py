"""Reads a clip back from its pixels: which things, how they moved, where, on what background.

Numpy only, so that a test can measure a decoded MP4 without loading torch. `blobs.py` cuts the
shapes out, `fitting.py` compares their outlines with perfect ones.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.tiny.blobs import Patch, cut_out, fit_backdrop, segment
from models.tiny.data import BACKGROUNDS, COLOURS, DIRECTIONS, SHAPES
from models.tiny.fitting import fit, total_turn
from models.tiny.tracks import UNIT_SIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MIN_TRAVEL = 8.0
"""Travel of the centroid, in pixels of a frame with a short side of 64, that counts as moving."""

MIN_SLANT = 0.45
"""Smaller way over larger from which a movement is diagonal."""

MIN_GROWTH = 1.8
"""Last area over first that counts as growing; its inverse counts as shrinking."""

MIN_TURN = math.radians(30)
"""Turn from first frame to last that counts as rotating."""

MIN_HIDDEN, MAX_HIDDEN = 0.2, 0.7
"""Share of frames in which a blinking thing is hidden."""


@dataclass(frozen=True)
class Seen:
    """One thing of a clip, in the words of `data.py`.

    `motion` is None when the thing is missing at the start or the end. `travel` is the centroid's
    way (x, y) in pixels of a frame with a short side of 64, `growth` the last area over the first,
    `misfit` the share (0 is perfect) by which it differs from the best-fitting shape.
    """

    colour: str
    shape: str
    motion: str | None
    travel: tuple[float, float]
    growth: float
    misfit: float
    centre: tuple[float, float]
    hidden_frames: frozenset[int]


@dataclass(frozen=True)
class Reading:
    """What a clip shows.

    `things` are the larger first; `count` also counts further shapes of the same colour. A frame
    is blank when it is broken or a thing is missing that does not blink.
    """

    things: tuple[Seen, ...]
    count: int
    background: str
    num_frames: int
    num_blank_frames: int

    @property
    def colour(self) -> str | None:
        """The colour of the largest thing; None when every frame is blank."""
        return self.things[0].colour if self.things else None

    @property
    def shape(self) -> str | None:
        """The shape of the largest thing; None when every frame is blank."""
        return self.things[0].shape if self.things else None

    @property
    def motion(self) -> str | None:
        """The motion of the largest thing; None when it does not start or end in sight."""
        return self.things[0].motion if self.things else None


def measure(clip: NDArray[Any], picture: NDArray[Any] | None = None) -> Reading:
    """Measures a clip of one or two things on a plain or blended background, or a given one.

    Args:
        clip: `[T, H, W, 3]`, RGB; uint8 in 0..255, or float in 0..1.
        picture: What is behind the things, `[H, W, 3]` as `clip`; without it the background is
            read from the clip.

    Returns:
        The reading; a clip without a thing is read too, with blank frames.

    Raises:
        ValueError: The array is not a clip of at least two frames.
    """
    match clip.shape:
        case (num_frames, _, _, 3) if num_frames > 1:
            pass
        case _:
            raise ValueError(f"expected frames [T >= 2, H, W, 3], got {list(clip.shape)}")
    scale = 1.0 if clip.dtype == np.uint8 else 255.0
    pixels = clip.astype(np.float32) * np.float32(scale)
    backdrop = fit_backdrop(pixels)
    if picture is not None:
        backdrop = picture.astype(np.float32) * np.float32(scale)
    found = segment(pixels, backdrop)
    things = tuple(_read_thing(pixels, found.backdrop, each) for each in found.patches)
    blank = set(found.broken_frames)
    for thing in things:
        if thing.motion != "blinking":
            blank |= thing.hidden_frames
    return Reading(
        things=things,
        count=sum(each.count for each in found.patches),
        background=_name_backdrop(found.backdrop),
        num_frames=len(clip),
        num_blank_frames=len(blank) if things else len(clip),
    )


def name_relation(first: Seen, second: Seen) -> str:
    """Returns where the first thing is, seen from the second, on the whole."""
    right, down = (a - b for a, b in zip(first.centre, second.centre, strict=True))
    if abs(right) > abs(down):
        return "right of" if right > 0 else "left of"
    return "below" if down > 0 else "above"


def _read_thing(pixels: Floats, backdrop: Floats, patch: Patch) -> Seen:
    cutouts = cut_out(pixels, backdrop, patch)
    path = np.array([each.centre for each in cutouts.values()]) * UNIT_SIDE / min(pixels.shape[1:3])
    fits = {shape: fit(list(cutouts.values()), shape) for shape in SHAPES}
    shape = min(SHAPES, key=lambda name: float(np.median(fits[name][0])))
    misfits, turns = fits[shape]
    hidden = frozenset(range(len(pixels))) - cutouts.keys()
    areas = [each.area for each in cutouts.values()]
    growth = areas[-1] / max(areas[0], 1.0)
    across, down = (path[-1] - path[0]).tolist()
    return Seen(
        colour=min(COLOURS, key=lambda name: math.dist(COLOURS[name], patch.colour)),
        shape=shape,
        motion=_name_motion(path, growth, total_turn(turns, shape), hidden, len(pixels)),
        travel=(across, down),
        growth=growth,
        misfit=float(misfits.mean()),
        centre=(float(path[:, 0].mean()), float(path[:, 1].mean())),
        hidden_frames=hidden,
    )


def _name_motion(
    path: Floats, growth: float, turn: float, hidden: frozenset[int], num_frames: int
) -> str | None:
    if 0 not in hidden and MIN_HIDDEN <= len(hidden) / num_frames <= MAX_HIDDEN:
        return "blinking"
    if hidden & {0, num_frames - 1}:
        return None
    along = _name_path(path)
    if along is not None:
        return along
    if growth > MIN_GROWTH:
        return "growing"
    if growth < 1 / MIN_GROWTH:
        return "shrinking"
    return "rotating" if abs(turn) > MIN_TURN else "still"


def _name_path(path: Floats) -> str | None:
    """Names a movement of the centre, `[T, 2]`; None where it stays in its place."""
    width, height = np.ptp(path, axis=0)
    across, down = path[-1] - path[0]
    way = max(abs(across), abs(down))
    if way < max(width, height) / 2 and height >= MIN_TRAVEL:
        return "circling" if width >= height / 2 else "bouncing"
    if way < MIN_TRAVEL:
        return None
    slant = min(abs(across), abs(down)) / way
    step = tuple(
        int(np.sign(value)) if slant >= MIN_SLANT or abs(value) == way else 0
        for value in (across, down)
    )
    return next(name for name, each in DIRECTIONS.items() if each == step)


def _name_backdrop(backdrop: Floats) -> str:
    """Names the background whose top and bottom colours are nearest."""
    top, bottom = backdrop[0, 0], backdrop[-1, 0]
    return min(
        BACKGROUNDS,
        key=lambda name: (
            math.dist(BACKGROUNDS[name][0], top) + math.dist(BACKGROUNDS[name][1], bottom)
        ),
    )
