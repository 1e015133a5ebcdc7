"""Where shapes are, how large and how turned, from the first frame of a clip to its last."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from models.tiny.data import DIRECTIONS
from models.tiny.shapes import REACH, Field

if TYPE_CHECKING:
    import random

UNIT_SIDE = 64
"""Short side of a frame in which the lengths below are pixels; they grow with the frame."""

CLEARANCE = 1.5
"""Pixels that stay free between a shape and the border, whatever the frame's size."""

MAX_SKEW = 8
"""Farthest that one of two standing things is from the middle of its lane, in units."""

SPIN = math.pi / 3
"""Angle that a rotating shape turns by, in radians; no word says how far, so it is always the same.

Where it was drawn at random fewer shapes could be read: frames have to agree on it.
"""

BLINK_FRAMES = 4
"""Frames a blinking shape is seen and then hidden, in turn; the first frame stands before them."""


UNHURRIED_STEPS = 12
"""Steps from frame to frame from which on a thing goes its whole way; in a shorter clip less."""


@dataclass(frozen=True)
class Stage:
    """Width, height (pixels) and number of frames of a clip."""

    width: int = 64
    height: int = 64
    num_frames: int = 17

    @property
    def unit(self) -> float:
        """Pixels that stand for one pixel of a frame whose short side is 64."""
        return min(self.width, self.height) / UNIT_SIDE

    @property
    def pace(self) -> float:
        """Share (0..1) of the usual way that a thing goes; a still begins as a long clip does."""
        return min(1.0, (self.num_frames - 1) / UNHURRIED_STEPS) if self.num_frames > 1 else 1.0


USUAL_STAGE = Stage(96, 96, 17)
"""Clips of the size and length that the model is scored on."""


@dataclass(frozen=True)
class Track:
    """How a shape moves while the clip's time runs from 0 to 1; lengths in pixels.

    Centre and radius go straight from start to end. On top of it the centre runs once round a
    circle of radius `orbit` from the angle `phase`, hops up twice by `hop`, and the shape turns
    clockwise by `spin` radians. A blinking shape is hidden in every other four frames.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    start_radius: float
    end_radius: float
    orbit: float = 0.0
    phase: float = 0.0
    hop: float = 0.0
    spin: float = 0.0
    is_blinking: bool = False


@dataclass(frozen=True)
class Lane:
    """The part of a stage that a shape keeps to, in pixels."""

    left: float
    top: float
    right: float
    bottom: float


def is_hidden(frame: Field) -> Field:
    """Tells whether a blinking shape is hidden in a frame, or in each of a tensor of frames."""
    group = (frame + BLINK_FRAMES - 1) // BLINK_FRAMES
    return (group > 0) & (group % 2 == 0)


def split_stage(stage: Stage, relation: str | None, rng: random.Random) -> list[Lane]:
    """Returns the lane of each thing: the whole stage for one, halves of a square for two.

    Args:
        stage: The clip.
        relation: Where the first of two things is, seen from the second; None for one thing.
        rng: Source of randomness, for the place of the square.
    """
    if relation is None:
        return [Lane(0, 0, stage.width, stage.height)]
    side = min(stage.width, stage.height)
    left, top = rng.uniform(0, stage.width - side), rng.uniform(0, stage.height - side)
    right, bottom = left + side, top + side
    middle_x, middle_y = left + side / 2, top + side / 2
    if relation in ("above", "below"):
        lanes = [Lane(left, top, right, middle_y), Lane(left, middle_y, right, bottom)]
    else:
        lanes = [Lane(left, top, middle_x, bottom), Lane(middle_x, top, right, bottom)]
    return lanes if relation in ("above", "left of") else lanes[::-1]


def draw_track(motion: str, lane: Lane, stage: Stage, rng: random.Random) -> Track:
    """Draws start, size and speed of a shape that never leaves its lane.

    Args:
        motion: One of `MOTIONS`. In 13 frames or more a moving shape travels at least 14 units; a
            growing one more than triples its area.
        lane: Where the shape stays.
        stage: The clip, which gives the unit of length and the pace.
        rng: Source of randomness.

    Returns:
        The track, in pixels.
    """
    unit = stage.unit
    is_narrow = min(lane.right - lane.left, lane.bottom - lane.top) < UNIT_SIDE * unit
    radius = (rng.uniform(9, 10.4) if is_narrow else rng.uniform(12.5, 15)) * unit
    if motion in DIRECTIONS:
        return _draw_straight(DIRECTIONS[motion], lane, stage, radius, rng)
    if motion in ("growing", "shrinking"):
        return _draw_resizing(motion, lane, unit, rng)
    if motion == "circling":
        return _draw_circling(lane, stage, rng)
    if motion == "bouncing":
        return _draw_bouncing(lane, stage, rng)
    if is_narrow:
        track = _stand(_middle_of(lane, radius, unit), radius, rng)
    else:
        track = _stand(lane, rng.uniform(13, 17) * unit, rng)
    if motion == "rotating":
        return replace(track, spin=SPIN)
    return replace(track, is_blinking=motion == "blinking")


def _draw_straight(
    direction: tuple[int, int], lane: Lane, stage: Stage, radius: float, rng: random.Random
) -> Track:
    travel = rng.uniform(14, 22) * stage.unit * stage.pace
    spans = _spans(lane, radius)
    travel = min(
        travel, *(high - low for (low, high), step in zip(spans, direction, strict=True) if step)
    )
    ways = []
    for (low, high), step in zip(spans, direction, strict=True):
        near = rng.uniform(low, high - travel * abs(step))
        far = near + travel * abs(step)
        ways.append((far, near) if step < 0 else (near, far))
    (left, right), (top, bottom) = ways
    return Track((left, top), (right, bottom), radius, radius)


def _draw_resizing(motion: str, lane: Lane, unit: float, rng: random.Random) -> Track:
    small, large = rng.uniform(7.5, 9) * unit, rng.uniform(17, 20) * unit
    track = _stand(lane, large, rng)
    if motion == "growing":
        return replace(track, start_radius=small)
    return replace(track, end_radius=small)


def _draw_circling(lane: Lane, stage: Stage, rng: random.Random) -> Track:
    radius = rng.uniform(10.5, 12.5) * stage.unit
    orbit = rng.uniform(7, 8.5) * stage.unit * stage.pace
    track = _stand(lane, radius, rng, around=orbit)
    return replace(track, orbit=orbit, phase=rng.uniform(0, math.tau))


def _draw_bouncing(lane: Lane, stage: Stage, rng: random.Random) -> Track:
    radius = rng.uniform(11, 13) * stage.unit
    hop = rng.uniform(14, 18) * stage.unit * stage.pace
    (low_x, high_x), (low_y, high_y) = _spans(lane, radius)
    ground = rng.uniform(low_y + hop, high_y)
    centre = (rng.uniform(low_x, high_x), ground)
    return Track(centre, centre, radius, radius, hop=hop)


def _stand(lane: Lane, radius: float, rng: random.Random, around: float = 0.0) -> Track:
    (low_x, high_x), (low_y, high_y) = _spans(lane, radius, around)
    centre = (rng.uniform(low_x, high_x), rng.uniform(low_y, high_y))
    return Track(centre, centre, radius, radius)


def _middle_of(lane: Lane, radius: float, unit: float) -> Lane:
    """Shortens a lane round its middle: far apart along their lanes, two things look askew."""
    reach = radius * REACH + CLEARANCE + MAX_SKEW * unit
    x, y = (lane.left + lane.right) / 2, (lane.top + lane.bottom) / 2
    return Lane(
        max(lane.left, x - reach),
        max(lane.top, y - reach),
        min(lane.right, x + reach),
        min(lane.bottom, y + reach),
    )


def _spans(
    lane: Lane, radius: float, around: float = 0.0
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns where a centre may be, across and down."""
    margin = radius * REACH + CLEARANCE + around
    return (lane.left + margin, lane.right - margin), (lane.top + margin, lane.bottom - margin)
