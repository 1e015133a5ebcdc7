"""A person drawn by code, for the demo and for tests, so that no photo of anybody is needed."""

from __future__ import annotations

import io
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

SIZE = 720

SKIN, SHADOW, BLUSH = (233, 190, 162), (196, 143, 116), (226, 160, 140)
HAIR, HAIR_LIGHT = (72, 46, 34), (112, 76, 54)
LIPS, LIPS_DARK = (196, 96, 92), (150, 62, 62)
SHIRT, WALL = (64, 92, 138), (206, 212, 214)
IRIS = (86, 112, 92)

Point = tuple[float, float]
Colour = tuple[int, int, int]


def draw_portrait(size: int = SIZE) -> bytes:
    """A calm face with its mouth closed, as a PNG of `size` by `size` pixels."""
    canvas = _Canvas(size)
    _background(canvas)
    _hair_behind(canvas)
    _body(canvas)
    _head(canvas)
    for side in (-1, 1):
        _eye(canvas, side)
    _nose(canvas)
    _mouth(canvas)
    _fringe(canvas)
    png = io.BytesIO()
    canvas.picture.save(png, "PNG")
    return png.getvalue()


class _Canvas:
    """Paints soft shapes; positions and radii are in shares of the side of the picture."""

    def __init__(self, size: int) -> None:
        from PIL import Image

        self.size = size
        self.picture: Image.Image = Image.new("RGB", (size, size), WALL)

    def ellipse(
        self,
        centre: Point,
        radii: Point,
        colour: Colour,
        *,
        soft: float = 0.003,
        cover: float = 1.0,
        arc: Point = (0, 360),
    ) -> None:
        """A filled ellipse, or the part of it between two angles of an arc."""
        angles = [math.radians(arc[0] + (arc[1] - arc[0]) * step / 89) for step in range(90)]
        rim = [
            (centre[0] + math.cos(angle) * radii[0], centre[1] + math.sin(angle) * radii[1])
            for angle in angles
        ]
        self.shape(rim, colour, soft=soft, cover=cover)

    def shape(
        self, points: list[Point], colour: Colour, *, soft: float = 0.003, cover: float = 1.0
    ) -> None:
        """A filled polygon."""
        from PIL import Image, ImageDraw, ImageFilter

        mask = Image.new("L", (2 * self.size, 2 * self.size))
        rim = [(2 * self.size * x, 2 * self.size * y) for x, y in points]
        ImageDraw.Draw(mask).polygon(rim, fill=round(255 * cover))
        mask = mask.reduce(2).filter(ImageFilter.GaussianBlur(max(0.5, soft * self.size)))
        self.picture.paste(colour, mask=mask)


def _background(canvas: _Canvas) -> None:
    canvas.ellipse((0.3, 0.2), (0.5, 0.5), (232, 234, 232), soft=0.12)
    canvas.ellipse((0.9, 0.8), (0.4, 0.5), (176, 186, 192), soft=0.12)


def _hair_behind(canvas: _Canvas) -> None:
    canvas.ellipse((0.5, 0.36), (0.235, 0.265), HAIR)
    canvas.ellipse((0.5, 0.5), (0.225, 0.2), HAIR, soft=0.01)


def _body(canvas: _Canvas) -> None:
    canvas.ellipse((0.5, 1.05), (0.42, 0.29), SHIRT, soft=0.004)
    canvas.ellipse((0.68, 1.05), (0.2, 0.25), (50, 74, 114), soft=0.04, cover=0.6)
    canvas.shape([(0.42, 0.55), (0.58, 0.55), (0.6, 0.79), (0.5, 0.85), (0.4, 0.79)], SKIN)
    canvas.ellipse((0.5, 0.66), (0.1, 0.05), SHADOW, soft=0.02, cover=0.8)


def _head(canvas: _Canvas) -> None:
    for side in (-1, 1):
        canvas.ellipse((0.5 + 0.188 * side, 0.43), (0.025, 0.05), SHADOW)
    canvas.ellipse((0.5, 0.37), (0.185, 0.21), SKIN)
    canvas.ellipse((0.5, 0.46), (0.172, 0.2), SKIN)
    canvas.ellipse((0.5, 0.6), (0.1, 0.062), SKIN)
    for side in (-1, 1):
        canvas.ellipse((0.5 + 0.17 * side, 0.5), (0.03, 0.13), SHADOW, soft=0.02, cover=0.5)
        canvas.ellipse((0.5 + 0.105 * side, 0.5), (0.05, 0.035), BLUSH, soft=0.02, cover=0.7)
    canvas.ellipse((0.5, 0.3), (0.1, 0.04), (244, 208, 184), soft=0.03, cover=0.7)
    canvas.ellipse((0.5, 0.64), (0.05, 0.02), (240, 200, 174), soft=0.015, cover=0.6)


def _eye(canvas: _Canvas, side: int) -> None:
    x, y = 0.5 + 0.083 * side, 0.41
    canvas.ellipse((x, y - 0.01), (0.06, 0.04), SHADOW, soft=0.014, cover=0.55)
    canvas.ellipse((x, y), (0.041, 0.0195), (240, 236, 232), soft=0.001)
    canvas.ellipse((x, y - 0.001), (0.0185, 0.0185), IRIS, soft=0.001)
    canvas.ellipse((x, y - 0.001), (0.009, 0.009), (22, 18, 18), soft=0.001)
    canvas.ellipse((x - 0.006, y - 0.007), (0.004, 0.004), (250, 250, 250), soft=0.001)
    turns = [math.pi * step / 29 for step in range(30)]
    upper = [(x + 0.045 * math.cos(a), y - 0.023 * math.sin(a)) for a in turns]
    under = [(px, py + 0.007) for px, py in reversed(upper)]
    canvas.shape(upper + under, (58, 38, 32), soft=0.0012)
    canvas.ellipse((x, y + 0.03), (0.035, 0.006), SHADOW, soft=0.006, cover=0.4)
    brow = [
        (x - 0.05 * side, y - 0.063),
        (x, y - 0.073),
        (x + 0.055 * side, y - 0.055),
        (x, y - 0.062),
        (x - 0.05 * side, y - 0.052),
    ]
    canvas.shape(brow, HAIR, soft=0.003, cover=0.9)


def _nose(canvas: _Canvas) -> None:
    canvas.ellipse((0.48, 0.45), (0.012, 0.06), SHADOW, soft=0.012, cover=0.45)
    canvas.ellipse((0.506, 0.47), (0.01, 0.05), (246, 212, 190), soft=0.008, cover=0.8)
    canvas.ellipse((0.5, 0.515), (0.034, 0.018), SHADOW, soft=0.01, cover=0.6)
    canvas.ellipse((0.5, 0.507), (0.024, 0.016), (242, 202, 178), soft=0.008)
    for side in (-1, 1):
        canvas.ellipse((0.5 + 0.017 * side, 0.522), (0.008, 0.004), (120, 70, 60), soft=0.002)


def _mouth(canvas: _Canvas) -> None:
    canvas.ellipse((0.5, 0.61), (0.045, 0.008), SHADOW, soft=0.008, cover=0.6)
    canvas.ellipse((0.5, 0.578), (0.066, 0.019), LIPS, soft=0.002, arc=(0, 180))
    bow = [(0.434, 0.578), (0.48, 0.561), (0.5, 0.565), (0.52, 0.561), (0.566, 0.578)]
    canvas.shape(bow, LIPS, soft=0.002)
    canvas.ellipse((0.5, 0.586), (0.03, 0.005), (222, 138, 130), soft=0.004, cover=0.7)
    seam = [(0.432, 0.577), (0.47, 0.579), (0.5, 0.577), (0.53, 0.579), (0.568, 0.577)]
    canvas.shape(seam + [(x, y + 0.003) for x, y in reversed(seam)], LIPS_DARK, soft=0.001)


def _fringe(canvas: _Canvas) -> None:
    canvas.ellipse((0.42, 0.2), (0.15, 0.085), HAIR, soft=0.004)
    canvas.ellipse((0.58, 0.2), (0.14, 0.075), HAIR, soft=0.004)
    for side in (-1, 1):
        canvas.ellipse((0.5 + 0.2 * side, 0.36), (0.035, 0.17), HAIR, soft=0.004)
    canvas.ellipse((0.42, 0.15), (0.08, 0.03), HAIR_LIGHT, soft=0.02, cover=0.7)
