"""Reads a clip back from its pixels: what colour, which shape, how it moved, on what background.

Numpy only, so that a test can measure a decoded MP4 without loading torch. The background is the
median of the border; the object is whatever differs from it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from models.tiny.data import BACKGROUNDS, COLOURS, RGB, SHAPES, SIZE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

MIN_DIFFERENCE = 50.0
"""Largest channel difference (of 255) to the background from which a pixel is object."""

MIN_AREA, MAX_AREA = 0.005, 0.6
"""Share of a frame that the object takes; a frame outside this is blank or broken."""

MIN_TRAVEL = 8.0
"""Travel of the centroid, in pixels of a 64-pixel clip, that counts as moving."""

MIN_GROWTH = 1.8
"""Last area over first that counts as growing; its inverse counts as shrinking."""


@dataclass(frozen=True)
class Reading:
    """What a clip shows, in the words of `data.py`.

    `colour` and `shape` are None when every frame is blank, `motion` when the first or the last
    one is. `travel` is the centroid's way (x, y) in pixels of a 64-pixel clip, `growth` the last
    area over the first, `misfit` the share (0 is perfect) by which the object differs from the
    best-fitting shape.
    """

    colour: str | None
    shape: str | None
    motion: str | None
    background: str
    num_frames: int
    num_blank_frames: int
    travel: tuple[float, float]
    growth: float
    misfit: float


@dataclass(frozen=True)
class _Cutout:
    """The object cut out of its background.

    `cover` is `[T, H, W]` in 0..1, `area` `[T]` in pixels, `x` and `y` are offsets from the
    centroid, `[T, 1, W]` and `[T, H, 1]`, and `centre` is `[2, T]`, x above y.
    """

    cover: Floats
    area: Floats
    x: Floats
    y: Floats
    centre: Floats


def measure(clip: NDArray[Any]) -> Reading:
    """Measures a clip of one object on a plain background.

    Args:
        clip: `[T, H, W, 3]`, RGB; uint8 in 0..255, or float in 0..1.

    Returns:
        The reading; a clip without an object is read too, with blank frames.

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
    background = _border_colour(pixels)
    difference = np.abs(pixels - background).max(-1)
    share = (difference > MIN_DIFFERENCE).mean((1, 2))
    is_blank = (share < MIN_AREA) | (share > MAX_AREA)
    named_background = _nearest(background, BACKGROUNDS)
    num_blank = int(is_blank.sum())
    if is_blank.all():
        nothing = (0.0, 0.0)
        return Reading(None, None, None, named_background, len(clip), num_blank, nothing, 1.0, 1.0)
    colour = _object_colour(pixels[~is_blank], difference[~is_blank])
    cutout = _cut_out(pixels, background, colour, difference)
    travel, growth = _travel(cutout)
    misfits = [_misfit(cutout, shape) for shape in SHAPES]
    return Reading(
        colour=_nearest(colour, COLOURS),
        shape=SHAPES[int(np.argmin(misfits))],
        motion=None if is_blank[0] or is_blank[-1] else _name_motion(travel, growth),
        background=named_background,
        num_frames=len(clip),
        num_blank_frames=num_blank,
        travel=travel,
        growth=growth,
        misfit=min(misfits),
    )


def _border_colour(pixels: Floats) -> Floats:
    edge = max(2, pixels.shape[1] // 32)
    strips = (
        pixels[:, :edge], pixels[:, -edge:], pixels[:, :, :edge], pixels[:, :, -edge:],
    )  # fmt: skip
    border = np.concatenate([strip.reshape(-1, 3) for strip in strips])
    return np.asarray(np.median(border, axis=0), dtype=np.float32)


def _object_colour(pixels: Floats, difference: Floats) -> Floats:
    """Returns the median colour of the pixels that differ most; edges are mixtures."""
    strongest = difference.max((1, 2), keepdims=True)
    is_core = (difference > MIN_DIFFERENCE) & (difference >= 0.7 * strongest)
    return np.asarray(np.median(pixels[is_core], axis=0), dtype=np.float32)


def _cut_out(pixels: Floats, background: Floats, colour: Floats, difference: Floats) -> _Cutout:
    towards = colour - background
    cover = ((pixels - background) @ towards / (towards @ towards)).clip(0, 1)
    # Faint noise over thousands of pixels would outweigh a small object.
    cover = np.where(difference > MIN_DIFFERENCE / 2, cover, 0).astype(np.float32)
    area = cover.sum((1, 2)).clip(1e-6)
    rows, columns = (np.arange(length, dtype=np.float32) + 0.5 for length in cover.shape[1:])
    centre_x = (cover * columns).sum((1, 2)) / area
    centre_y = (cover * rows[:, None]).sum((1, 2)) / area
    return _Cutout(
        cover=cover,
        area=area,
        x=columns[None, None, :] - centre_x[:, None, None],
        y=rows[None, :, None] - centre_y[:, None, None],
        centre=np.stack([centre_x, centre_y]),
    )


def _travel(cutout: _Cutout) -> tuple[tuple[float, float], float]:
    height, width = cutout.cover.shape[1:]
    step = cutout.centre[:, -1] - cutout.centre[:, 0]
    growth = float(cutout.area[-1] / max(cutout.area[0], 1.0))
    return (float(step[0]) * SIZE / width, float(step[1]) * SIZE / height), growth


def _name_motion(travel: tuple[float, float], growth: float) -> str:
    x, y = travel
    if max(abs(x), abs(y)) >= MIN_TRAVEL:
        if abs(x) > abs(y):
            return "right" if x > 0 else "left"
        return "down" if y > 0 else "up"
    if growth > MIN_GROWTH:
        return "growing"
    return "shrinking" if growth < 1 / MIN_GROWTH else "still"


def _misfit(cutout: _Cutout, shape: str) -> float:
    """Compares all frames with a perfect shape of the same centre and area."""
    area = cutout.area[:, None, None]
    x, y = np.abs(cutout.x), cutout.y
    if shape == "circle":
        distance = np.sqrt(x**2 + y**2) - np.sqrt(area / math.pi)
    elif shape == "square":
        distance = np.maximum(x, np.abs(y)) - np.sqrt(area) / 2
    else:
        # An equilateral triangle's area is 3 sqrt(3) times its squared inradius.
        inradius = np.sqrt(area / (27**0.5))
        distance = np.maximum(0.75**0.5 * x - 0.5 * y, y) - inradius
    perfect = (0.5 - distance).clip(0, 1)
    return float(np.abs(perfect - cutout.cover).sum() / cutout.area.sum())


def _nearest(colour: Floats, named: dict[str, RGB]) -> str:
    return min(named, key=lambda name: math.dist(named[name], colour))
