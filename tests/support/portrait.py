"""The person drawn by code, as pixels: the networks take it for a face, and no photo is needed."""

import io

import numpy as np
from PIL import Image

from gateway.local import portrait
from models.pipeline import Frame


def draw_portrait(size: int = 640) -> Frame:
    """A calm face with its mouth closed, uint8 [size, size, 3], RGB."""
    return np.asarray(Image.open(io.BytesIO(portrait.draw_portrait(size))), np.uint8)
