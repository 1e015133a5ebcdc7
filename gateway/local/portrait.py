"""A person drawn by code for the demo, so that no photo of anybody is needed."""

import io

SIZE = 720
_OVERSAMPLING = 2

WALL, SHIRT, COLLAR = (221, 228, 226), (58, 98, 120), (240, 240, 236)
SKIN, SHADE, BLUSH = (236, 196, 168), (214, 166, 138), (232, 172, 150)
HAIR, STRANDS = (66, 44, 36), (92, 63, 50)
EYE, IRIS, PUPIL = (250, 250, 248), (74, 104, 88), (24, 24, 28)
LIPS, SEAM = (198, 104, 100), (146, 70, 70)

Box = tuple[float, float, float, float]


def draw_portrait() -> bytes:
    """A calm face with its mouth closed, as a PNG of 720x720 pixels."""
    from PIL import Image, ImageDraw

    side = SIZE * _OVERSAMPLING
    image = Image.new("RGB", (side, side), WALL)
    draw = ImageDraw.Draw(image)

    def px(box: Box) -> Box:
        """Shares of the side to pixels."""
        left, top, right, bottom = (side * share for share in box)
        return left, top, right, bottom

    def ellipse(box: Box, colour: tuple[int, int, int]) -> None:
        draw.ellipse(px(box), fill=colour)

    def arc(box: Box, start: float, end: float, colour: tuple[int, int, int], width: float) -> None:
        draw.arc(px(box), start, end, fill=colour, width=round(side * width))

    ellipse((0.26, 0.10, 0.74, 0.80), HAIR)
    ellipse((0.10, 0.76, 0.90, 1.40), SHIRT)
    ellipse((0.40, 0.72, 0.60, 0.90), COLLAR)
    draw.rounded_rectangle(px((0.43, 0.60, 0.57, 0.83)), radius=side * 0.06, fill=SHADE)
    ellipse((0.32, 0.17, 0.68, 0.72), SKIN)
    for mirror in (False, True):
        for box, colour in (
            ((0.355, 0.50, 0.425, 0.56), BLUSH),
            ((0.382, 0.400, 0.462, 0.442), EYE),
            ((0.405, 0.401, 0.441, 0.441), IRIS),
            ((0.415, 0.411, 0.431, 0.431), PUPIL),
        ):
            ellipse(_mirrored(box) if mirror else box, colour)
        lid, brow = (0.378, 0.392, 0.466, 0.452), (0.370, 0.350, 0.470, 0.410)
        arc(_mirrored(lid) if mirror else lid, 190, 350, HAIR, 0.006)
        arc(_mirrored(brow) if mirror else brow, 200, 340, STRANDS, 0.010)
    arc((0.470, 0.45, 0.530, 0.545), 20, 160, SHADE, 0.008)
    ellipse((0.435, 0.590, 0.565, 0.645), LIPS)
    arc((0.425, 0.555, 0.575, 0.622), 30, 150, SEAM, 0.005)
    draw.chord(px((0.30, 0.11, 0.70, 0.52)), 196, 344, fill=HAIR)
    arc((0.33, 0.14, 0.67, 0.46), 205, 300, STRANDS, 0.006)

    png = io.BytesIO()
    image.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(png, "PNG")
    return png.getvalue()


def _mirrored(box: Box) -> Box:
    left, top, right, bottom = box
    return 1 - right, top, 1 - left, bottom
