"""The still picture in the shape of the video: cut to the head where it fits, else padded.

What comes out is the plate: the frame and a margin around it, so that the camera can drift.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from models.avatar.controls import Floats
from models.pipeline import Frame

MARGIN_SHARE = 0.02
"""Room around the frame, in its shorter side."""

HEAD_WIDTH, HEAD_ABOVE, HEAD_BELOW = 1.9, 1.0, 0.55
"""Room a head needs, in widths of the face, and in its heights above its top and below its chin."""

FACE_CENTRE = 0.42
"""Where the middle of the face comes to lie, from the top of the frame."""

MAX_FRAME = 6.0
"""The frame is at most so many faces high; a small face in a wide picture is brought closer."""


@dataclass(frozen=True)
class Plate:
    """A still picture in the size of the video, plus `margin` pixels on every side.

    Attributes:
        picture: uint8 [H + 2 margin, W + 2 margin, 3], RGB.
        points: float64 [468, 3]: the face, in pixels of `picture`.
        margin: pixels.
    """

    picture: Frame
    points: Floats
    margin: int


def make_plate(picture: Frame, points: Floats, width: int, height: int) -> Plate:
    """Bring `picture` and the face in it into a frame of `width` by `height` pixels."""
    margin = max(4, round(MARGIN_SHARE * min(width, height)))
    size = (width + 2 * margin, height + 2 * margin)
    corner, scale = _view(picture.shape[1::-1], points, size)
    matrix = np.array([[scale, 0, -scale * corner[0]], [0, scale, -scale * corner[1]]])
    matrix[:, 2] += 0.5 * scale - 0.5
    placed = points.astype(np.float64) * scale
    placed[:, :2] = points[:, :2] @ matrix[:, :2].T + matrix[:, 2]
    sharp = _resample(picture, matrix, size, scale)
    return Plate(_padded(picture, sharp, matrix, size), placed, margin)


def _view(photo: tuple[int, ...], points: Floats, size: tuple[int, int]) -> tuple[Floats, float]:
    """Top left corner of what is shown, in pixels of the photo, and the enlargement."""
    low, high = points[:, :2].min(0), points[:, :2].max(0)
    face = high - low
    ratio = size[0] / size[1]
    head = np.minimum([HEAD_WIDTH * face[0], (1 + HEAD_ABOVE + HEAD_BELOW) * face[1]], photo)
    needed, whole = (max(sides[1], sides[0] / ratio) for sides in (head, photo))
    inside = min(photo[1], photo[0] / ratio)
    closest = max(MAX_FRAME * face[1], needed)
    height = min(closest, inside if needed <= inside else whole)
    shown = np.array([height * ratio, height])
    middle = (low + high) / 2
    corner = middle - shown * [0.5, FACE_CENTRE]
    room = np.array(photo) - shown
    corner = np.where(room >= 0, np.clip(corner, 0, np.maximum(room, 0)), room / 2)
    return corner, float(size[1] / height)


def _resample(picture: Frame, matrix: Floats, size: tuple[int, int], scale: float) -> Frame:
    # Average before shrinking: sampling alone would alias.
    soft = cv2.GaussianBlur(picture, (0, 0), 0.5 / scale) if scale < 1 else picture
    kind = cv2.INTER_LANCZOS4 if scale > 1 else cv2.INTER_LINEAR
    sharp = cv2.warpAffine(soft, matrix, size, flags=kind, borderMode=cv2.BORDER_REFLECT_101)
    return np.asarray(sharp, np.uint8)


def _padded(picture: Frame, sharp: Frame, matrix: Floats, size: tuple[int, int]) -> Frame:
    """`sharp` with what lies outside the photo replaced by a blurred enlargement of it."""
    whole = np.full(picture.shape[:2], 255, np.uint8)
    inside = cv2.warpAffine(whole, matrix, size, flags=cv2.INTER_NEAREST)
    if inside.all():
        return sharp
    side = min(size)
    # A soft seam inside the photo; its outermost pixels are pulled in by the blur of the mask.
    eroded = cv2.erode(
        inside, np.ones((3, 3), np.uint8), iterations=max(2, side // 40), borderValue=255
    )
    cover = cv2.GaussianBlur(eroded, (0, 0), max(1.5, side / 90)).astype(np.float32) / 255
    cover[inside == 0] = 0
    cover_scale = max(size[0] / picture.shape[1], size[1] / picture.shape[0])
    filled = cv2.resize(picture, None, fx=cover_scale, fy=cover_scale, interpolation=cv2.INTER_AREA)
    top, left = (filled.shape[0] - size[1]) // 2, (filled.shape[1] - size[0]) // 2
    filled = cv2.resize(filled[max(top, 0) :, max(left, 0) :][: size[1], : size[0]], size)
    pad = 0.75 * cv2.GaussianBlur(filled, (0, 0), side / 18).astype(np.float32)
    return (pad + (sharp - pad) * cover[..., None]).astype(np.uint8)
