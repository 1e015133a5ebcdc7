"""Compares a cut-out shape with perfect ones of the same area, in every turn. Numpy only."""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from models.tiny.shapes import SYMMETRY, distance

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from models.tiny.blobs import Cutout

    Floats = NDArray[np.float32]

GRID = 32
"""Side of the square, in cells, that every shape is scaled to."""

HALF_WIDTH = 1.3
"""Half of that side in units of the square root of the shape's area; every shape fits in."""

TURN_STEP = math.tau / 48
"""Step in radians between the turns that are tried."""


def fit(cutouts: Sequence[Cutout], shape: str) -> tuple[Floats, Floats]:
    """Fits a shape of the same centre and area to each cut-out.

    Args:
        cutouts: A shape in some frames.
        shape: What to compare with.

    Returns:
        The misfit of each frame (0 is perfect, 1 as much error as area) and the turn in radians
        that fits best, clockwise, up to the shape's symmetry.
    """
    crops = np.stack([_crop(each) for each in cutouts])
    templates = _draw_templates(shape)
    misfits = np.stack([np.abs(crops - each).sum((1, 2)) for each in templates], axis=1)
    best = misfits.argmin(1)
    cells = crops.sum((1, 2)).clip(1e-6)
    return misfits.min(1) / cells, (best * TURN_STEP).astype(np.float32)


def total_turn(turns: Floats, shape: str) -> float:
    """Returns how far a shape turned from first to last, in radians, clockwise positive.

    Args:
        turns: The turn of each frame up to the shape's symmetry; between two frames the shape
            turns by less than half of what makes it look the same.
        shape: The shape; circles and rings never turn.
    """
    num_alike = SYMMETRY.get(shape, 1)
    if num_alike == 0:
        return 0.0
    unwrapped = np.unwrap(turns, period=math.tau / num_alike)
    return float(unwrapped[-1] - unwrapped[0])


def _crop(cutout: Cutout) -> Floats:
    """Samples the square round a shape, `[GRID, GRID]`, with linear interpolation."""
    reach = HALF_WIDTH * math.sqrt(cutout.area)
    offsets = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * reach
    columns = cutout.centre[0] + offsets - 0.5
    rows = cutout.centre[1] + offsets - 0.5
    return _interpolate(_interpolate(cutout.cover, rows).T, columns).T


def _interpolate(image: Floats, rows: NDArray[np.float64]) -> Floats:
    """Samples an image at fractional rows; outside it is 0."""
    padded = np.pad(image, ((1, 1), (0, 0)))
    place = (rows + 1).clip(0, len(padded) - 1)
    above = np.minimum(np.floor(place).astype(int), len(padded) - 2)
    part = (place - above)[:, None].astype(np.float32)
    mixed: Floats = padded[above] * (1 - part) + padded[above + 1] * part
    return mixed


@functools.cache
def _draw_templates(shape: str) -> Floats:
    """Draws a perfect shape in each turn that looks different: `[K, GRID, GRID]` in 0..1."""
    fine = np.linspace(-1.5, 1.5, 301)
    inside = distance(shape, fine[None, :], fine[:, None]) < 0
    side = math.sqrt(inside.mean()) * 3.0
    middle_x = float((inside * fine[None, :]).sum() / inside.sum())
    middle_y = float((inside * fine[:, None]).sum() / inside.sum())
    cells = ((np.arange(GRID) + 0.5) / GRID * 2 - 1) * HALF_WIDTH * side
    num_alike = SYMMETRY.get(shape, 1)
    num_turns = round(math.tau / TURN_STEP / num_alike) if num_alike else 1
    edge = 2 * HALF_WIDTH * side / GRID
    templates = []
    for turn in np.arange(num_turns) * TURN_STEP:
        x = cells[None, :] * math.cos(turn) + cells[:, None] * math.sin(turn)
        y = cells[:, None] * math.cos(turn) - cells[None, :] * math.sin(turn)
        templates.append((0.5 - distance(shape, x + middle_x, y + middle_y) / edge).clip(0, 1))
    return np.stack(templates).astype(np.float32)
