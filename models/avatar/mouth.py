"""What shows between open lips: a dark cavity, a tongue, the upper teeth.

Painted, as the photo rarely holds it, and coloured after the photo.
"""

from dataclasses import dataclass

import numpy as np

from models.avatar.controls import Floats, smoothstep
from models.avatar.painting import blend, mask, pixels_at, window
from models.avatar.shapes import OPEN_GAPE
from models.avatar.topology import (
    LOWER_INNER,
    LOWER_LIP,
    UPPER_INNER,
)
from models.pipeline import Frame

SHOWS_TEETH = 0.1
"""Gap of the photographed lips, in widths of the mouth, above which the teeth are seen."""

HALF = 0.5
PRESSED = 0.05
"""How far pressed lips are past each other, in widths of the mouth."""

COLOURED_LIPS = 25.0
"""Difference between the channels of lips from which on a mouth has all its colour."""

CAVITY_RGB = (70.0, 26.0, 28.0)
TONGUE_RGB = (170.0, 84.0, 84.0)
TEETH_RGB = (214.0, 201.0, 184.0)


@dataclass(frozen=True)
class Palette:
    """Colours of one mouth, float RGB [3] from 0 to 255; `is_open`: lips apart in the photo."""

    seam: Floats
    teeth: Floats
    cavity: Floats
    tongue: Floats
    is_open: bool


def palette_of(picture: Frame, source: Floats, mouth_width: float) -> Palette:
    """Colours of the mouth at the points `source`, float [P, 2] in pixels of `picture`."""
    lip = np.median(pixels_at(picture, source[list(LOWER_LIP)]), axis=0)
    gaps = source[list(LOWER_INNER)] - source[list(UPPER_INNER)]
    is_open = float(np.linalg.norm(gaps, axis=1).max()) > SHOWS_TEETH * mouth_width
    # A dim photo has dim teeth: the cheek tells the light.
    cheek = float(np.median(pixels_at(picture, source[[50, 280, 205, 425]]).max(1)))
    light = float(np.clip(cheek / 205.0, 0.35, 1.1))
    # A grey photo has a grey mouth: the lips tell the colour.
    colour = float(np.clip((lip.max() - lip.min()) / COLOURED_LIPS, 0, 1))
    teeth, cavity, tongue = (
        np.minimum(_faded(np.array(rgb), colour) * light, 245)
        for rgb in (TEETH_RGB, CAVITY_RGB, TONGUE_RGB)
    )
    if is_open:
        outline = np.concatenate([source[list(UPPER_INNER)], source[list(LOWER_INNER[::-1])][1:-1]])
        between = mask(picture.shape[:2], outline, blur=0.5) > HALF
        if between.any():
            bright = np.percentile(picture[between].astype(np.float64), 85, axis=0)
            # Half way to grey: the pixels between the lips hold some of the lips' colour.
            warm = bright.mean() * _faded(np.array([1.06, 1.0, 0.9]), colour)
            teeth = np.minimum((bright + warm) / 2, 245)
    return Palette(lip * 0.42, teeth, cavity, tongue, is_open)


def _faded(rgb: Floats, colour: float) -> Floats:
    """`rgb` with so much of its colour, 0 for grey to 1."""
    return np.asarray(rgb.mean() + (rgb - rgb.mean()) * colour)


def paint_mouth(frame: Frame, points: Floats, palette: Palette, mouth_width: float) -> None:
    """Paint between the lips of `frame`, in place.

    Args:
        frame: uint8 [H, W, 3], RGB.
        points: float [P, 2], pixels of `frame`.
        palette: of this face.
        mouth_width: pixels, at rest.
    """
    upper, lower, gap, past = _parted(points[list(UPPER_INNER)], points[list(LOWER_INNER)])
    # Lips that were apart in the photo leave a ragged line where they meet; a seam covers it, the
    # finer the harder they are pressed.
    pressed = min(1.0, past / (PRESSED * mouth_width))
    seam = 0.018 * mouth_width * (1 - 0.7 * pressed) if palette.is_open else 0.0
    if gap < max(1.0, 0.012 * mouth_width) and not seam:
        return
    half = np.array([0, seam / 2])
    upper, lower = upper - half, lower + half
    outline = np.concatenate([upper, lower[::-1][1:-1]])
    place = window(outline, frame.shape, margin=6)
    if place is None:
        return
    corner = np.array([place[1].start, place[0].start])
    part = frame[place]
    cover = mask(part.shape[:2], outline - corner, blur=max(0.6, 0.008 * mouth_width))
    inside = _Inside(part.shape[:2], upper - corner, lower - corner, mouth_width, gap)
    painted = inside.paint(palette)
    part[:] = (part + (painted - part) * cover[..., None]).astype(np.uint8)


def _parted(upper: Floats, lower: Floats) -> tuple[Floats, Floats, float, float]:
    """Both rows, meeting where they are pressed past each other; widest gap, most pressed past."""
    across = upper[-1] - upper[0]
    down = np.array([-across[1], across[0]]) / max(float(np.linalg.norm(across)), 1e-6)
    gaps = (lower - upper) @ down
    past = np.minimum(gaps, 0)
    meet = past[:, None] * down / 2
    return upper + meet, lower - meet, max(0.0, float(gaps.max())), float(-past.min())


class _Inside:
    """Coordinates of the pixels between the lips, float32 [h, w]."""

    def __init__(
        self, shape: tuple[int, ...], upper: Floats, lower: Floats, mouth_width: float, gap: float
    ) -> None:
        height, width = shape
        columns = np.arange(width, dtype=np.float32)
        middle = (upper[len(upper) // 2, 0] + lower[len(lower) // 2, 0]) / 2
        self._across = (columns - middle)[None] / mouth_width
        top = np.interp(columns, upper[:, 0], upper[:, 1])[None]
        bottom = np.interp(columns, lower[:, 0], lower[:, 1])[None]
        rows = np.arange(height, dtype=np.float32)[:, None]
        self._below = (rows - top) / mouth_width
        self._gape = np.maximum(bottom - top, 1) / mouth_width
        self._depth = np.clip(self._below / self._gape, 0, 1)
        spread = float(upper[-1, 0] - upper[0, 0]) / mouth_width
        # Rounded lips hang over the teeth.
        self._bared = float(np.clip((spread - 0.68) / 0.18, 0, 1))
        self._opened = float(np.clip(gap / (OPEN_GAPE * mouth_width), 0, 1))

    def paint(self, palette: Palette) -> Floats:
        """The inside, float32 [h, w, 3]; where the lips all but touch it is their seam."""
        teeth = self._teeth(palette.teeth)
        inside = blend(self._cavity(palette), teeth, self._teeth_cover())
        near = np.clip(1 - (self._gape - 0.02) / 0.05, 0, 1) * np.ones_like(self._depth)
        return blend(inside, palette.seam, near).astype(np.float32)

    def _cavity(self, palette: Palette) -> Floats:
        side = np.clip(1 - np.abs(self._across), 0.3, 1)
        dark = palette.cavity * ((0.5 + 0.3 * self._depth) * side)[..., None]
        tongue = np.exp(-((self._across / 0.3) ** 2)) * smoothstep((self._depth - 0.62) / 0.35)
        cover = tongue * min(1.0, 2 * self._opened) * 0.75
        return blend(dark, palette.tongue, cover)

    def _teeth_cover(self) -> Floats:
        length = 0.13 * self._bared * (1 - 1.4 * self._across**2)
        edge = smoothstep((length - self._below) / 0.03 + 0.5)
        sides = np.clip(1.1 - np.abs(2 * self._across) ** 3, 0, 1)
        room = np.clip((self._gape - 0.02) / 0.06, 0, 1)
        return np.asarray(edge * sides * room * min(1.0, 4 * self._bared) * 0.95)

    def _teeth(self, colour: Floats) -> Floats:
        # Darker under the lip and towards the corners, with fine lines between the teeth.
        shade = 0.70 + 0.34 * smoothstep(self._below / 0.07)
        shade = shade * (1 - 0.45 * np.abs(np.clip(2 * self._across, -1, 1)) ** 1.6)
        beside = 0.5 - np.abs((self._across / 0.115 + 0.5) % 1 - 0.5)
        lines = 1 - 0.10 * np.exp(-((beside / 0.05) ** 2))
        return np.asarray(colour * (shade * lines)[..., None])
