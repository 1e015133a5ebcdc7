"""Small brushes that mouth and lids share; all on a few thousand pixels."""

import cv2
import numpy as np

from models.avatar.controls import Floats
from models.pipeline import Frame

SUBPIXEL_BITS = 4


def blend(below: Floats, above: Floats, cover: Floats) -> Floats:
    """`above` [h, w, 3] or [3] over `below` where `cover` [h, w] is 1."""
    return np.asarray(below + (above - below) * cover[..., None])


def pixels_at(picture: Frame, points: Floats) -> Floats:
    """Colours at `points` [N, 2], float64 [N, 3]; the nearest inside where they lie outside."""
    height, width = picture.shape[:2]
    x, y = np.clip(np.round(points).astype(int), 0, [width - 1, height - 1]).T
    return np.asarray(picture[y, x], np.float64)


def window(outline: Floats, shape: tuple[int, ...], margin: int) -> tuple[slice, slice] | None:
    """Rows and columns of a picture of `shape` around `outline` [N, 2]; None if all outside."""
    low = np.maximum(np.floor(outline.min(0)).astype(int) - margin, 0)
    high = np.minimum(np.ceil(outline.max(0)).astype(int) + margin + 1, [shape[1], shape[0]])
    if (high <= low).any():
        return None
    return slice(low[1], high[1]), slice(low[0], high[0])


def mask(shape: tuple[int, ...], outline: Floats, blur: float) -> Floats:
    """Float32 `shape`, 1 inside `outline` [N, 2], its edge soft over `blur` pixels."""
    mask = np.zeros(shape, np.uint8)
    corners = np.round(outline * (1 << SUBPIXEL_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [corners], 255, cv2.LINE_AA, SUBPIXEL_BITS)
    soft = cv2.GaussianBlur(mask, (0, 0), blur)
    return np.asarray(soft, np.float32) / 255
