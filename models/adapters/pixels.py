"""From what an autoencoder gives to frames."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from models.adapters.common import memory_errors_named
from models.pipeline import Frame, StepCallback
from models.spec import Stage

FRAMES_AT_ONCE = 8
"""Of a clip that was decoded whole: how many leave the device together."""


@torch.inference_mode()
def to_frames(pixels: torch.Tensor) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Pixels [N, 3, T, H, W] in [-1, 1], or a little beyond, to uint8 [N, T, H, W, 3]."""
    levels = pixels.float().clamp(-1, 1).mul(127.5).add(127.5).round()
    frames: np.ndarray[Any, np.dtype[np.uint8]] = (
        levels.to(torch.uint8).permute(0, 2, 3, 4, 1).contiguous().cpu().numpy()
    )
    return frames


def decode_whole(decode: Callable[[], torch.Tensor], on_step: StepCallback) -> Iterator[Frame]:
    """The frames of one clip whose autoencoder looks ahead in time, so that none can come early.

    `decode`: called when the first frame is read; pixels [1, 3, T, H, W] that stay on the device.

    Raises:
        OutOfMemory: the device has too little room for the clip.
    """
    with memory_errors_named("decoding a whole clip"), torch.inference_mode():
        pixels = decode()
    on_step(Stage.DECODING, 1, 1)
    for start in range(0, pixels.shape[2], FRAMES_AT_ONCE):
        [chunk] = to_frames(pixels[:, :, start : start + FRAMES_AT_ONCE])
        yield from chunk
