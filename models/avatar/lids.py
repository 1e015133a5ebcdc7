"""Shut eyes. Squeezing an open eye leaves a sliver of white and lashes; skin is painted over it."""

import cv2
import numpy as np

from models.avatar.controls import Floats, smoothstep
from models.avatar.painting import blend, mask, pixels_at, window
from models.avatar.topology import (
    EYE_CORNERS,
    LID_CREASES,
    LID_FOLDS,
    LOWER_LIDS,
    UNDER_EYES,
    UPPER_LIDS,
)
from models.pipeline import Frame

LASH_SHADE = 0.42
DARKEST_LID = 0.86
"""Of the brightness of the skin under the eye."""

SHUT_FROM = 0.45
"""The blink from which on a painted lid comes down, to the lower one at 1."""

STEEP = 4.0
"""The lid is all there after a quarter of its way: an eye that shines through looks ghostly."""


def lid_colours(picture: Frame, source: Floats) -> tuple[Floats, Floats]:
    """Skin of the left and the right lid, float RGB [3], between the brow and the lashes."""
    left, right = (
        _lid_colour(pixels_at(picture, source[list(crease)]), pixels_at(picture, source[list(bag)]))
        for crease, bag in zip(LID_CREASES, UNDER_EYES, strict=True)
    )
    return left, right


def _lid_colour(crease: Floats, under: Floats) -> Floats:
    # Brow, paint or shadow may lie in the crease; a lid is hardly darker than the skin below.
    skin = np.median(under, axis=0)
    colour = np.percentile(crease, 60, axis=0)
    return np.asarray(np.maximum(colour, skin * DARKEST_LID), np.float64)


def paint_lids(
    frame: Frame, points: Floats, colours: tuple[Floats, Floats], *, blink: float, size: float
) -> None:
    """Cover the eyes of `frame`, in place, as far as `blink`, 0 to 1, shuts them.

    Args:
        frame: uint8 [H, W, 3], RGB.
        points: float [P, 2], pixels of `frame`.
        colours: from `lid_colours`.
        blink: as the control.
        size: distance between the eyes, pixels.
    """
    cover = float(smoothstep(np.asarray((blink - SHUT_FROM) / (1 - SHUT_FROM))))
    if cover <= 0:
        return
    for eye, colour in enumerate(colours):
        outer, inner = EYE_CORNERS[eye]
        ends = points[[outer]], points[[inner]]
        fold = np.concatenate([ends[0], points[list(LID_FOLDS[eye])], ends[1]])
        upper, lower = (points[list(lids[eye])] for lids in (UPPER_LIDS, LOWER_LIDS))
        edge = np.concatenate([ends[0], upper + (lower - upper) * cover, ends[1]])
        _paint_lid(frame, fold, edge, colour, cover=min(1.0, STEEP * cover), size=size)


def _paint_lid(
    frame: Frame, fold: Floats, edge: Floats, colour: Floats, *, cover: float, size: float
) -> None:
    # From the fold, which is plain skin, over the lashes that the warp has drawn down.
    outline = np.concatenate([fold, np.add(edge, [0, 0.02 * size])[::-1]])
    place = window(outline, frame.shape, margin=int(0.05 * size) + 3)
    if place is None:
        return
    corner = np.array([place[1].start, place[0].start])
    part = frame[place]
    skin = mask(part.shape[:2], outline - corner, blur=max(0.8, 0.015 * size)) * cover
    painted = blend(part.astype(np.float64), colour * _shade(part.shape[:2], edge - corner), skin)
    lashes = np.zeros(part.shape[:2], np.uint8)
    line = np.round((edge - corner) * 16).astype(np.int32)
    width = max(1, round(0.014 * size))
    cv2.polylines(lashes, [line], isClosed=False, color=255, thickness=width, lineType=16, shift=4)
    soft = np.asarray(cv2.GaussianBlur(lashes, (0, 0), max(0.6, 0.008 * size)), np.float32) / 255
    part[:] = blend(painted, colour * LASH_SHADE, soft * cover * 0.85).astype(np.uint8)


def _shade(shape: tuple[int, ...], edge: Floats) -> Floats:
    """Brightness [h, w, 1] of a lid over the ball of the eye: less towards corners and edge."""
    span = edge[-1, 0] - edge[0, 0]
    across = 2 * (np.arange(shape[1]) - edge[0, 0]) / span - 1
    return np.asarray(np.tile(1.03 - 0.13 * np.minimum(across**2, 1), (shape[0], 1))[..., None])
