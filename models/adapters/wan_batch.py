"""The latents of a batch to frames: small clips side by side, large ones one after the other."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan

from models.adapters.common import memory_errors_named
from models.adapters.wan_decode import decode_next, denormalize, new_caches, stream_decode
from models.pipeline import Frame, StepCallback
from models.spec import Stage

MOST_BYTES = 64 << 20
"""Frames of a batch that may wait in host memory; 64 clips of 64x64 with 81 frames are this much.

Side by side, clips so small take half the time (42 ms for 83 at 64x64 and 17 frames on one core);
larger ones fill a device alone, and a batch of them would fill the memory.
"""


def decode_batch(
    vae: AutoencoderKLWan, latents: torch.Tensor, on_step: StepCallback
) -> list[Iterator[Frame]]:
    """Frames of every clip, decoded while they are read, in order.

    Args:
        vae: an `AutoencoderKLWan`.
        latents: [N, C, F, h, w], normalized, as the pipelines return them.
        on_step: called with `Stage.DECODING` after each of the F latent frames of a clip.

    Returns:
        For each clip uint8 [H, W, 3], RGB, C-contiguous; reading raises `OutOfMemory`.
    """
    num_clips, _channels, num_latents, height, width = latents.shape
    side, length = vae.config.scale_factor_spatial, vae.config.scale_factor_temporal
    num_bytes = num_clips * num_latents * length * height * width * side * side * 3
    if num_clips == 1 or num_bytes > MOST_BYTES:
        rows = (latents[row : row + 1] for row in range(num_clips))
        return [stream_decode(vae, row, on_step) for row in rows]
    together = _Together(vae, latents)
    return [together.read(row, on_step) for row in range(num_clips)]


class _Together:
    """Every latent frame is decoded for all clips when the first of them wants it."""

    def __init__(self, vae: AutoencoderKLWan, latents: torch.Tensor) -> None:
        self._vae = vae
        self._latents = latents
        self._begin()

    def read(self, row: int, on_step: StepCallback) -> Iterator[Frame]:
        total = self._latents.shape[2]
        for index in range(total):
            while index >= len(self._chunks):
                self._decode_next()
            on_step(Stage.DECODING, index + 1, total)
            yield from self._chunks[index][row]

    def _begin(self) -> None:
        self._caches = new_caches(self._vae)
        self._chunks: list[np.ndarray[Any, np.dtype[np.uint8]]] = []

    def _decode_next(self) -> None:
        index = len(self._chunks)
        try:
            with memory_errors_named(f"decoding one latent frame of {len(self._latents)} clips"):
                latent = denormalize(self._vae, self._latents[:, :, index : index + 1])
                chunk = decode_next(self._vae, latent, self._caches, is_first=index == 0)
        except BaseException:
            # Half of the layers have seen this frame: whoever reads on begins anew.
            self._begin()
            raise
        self._chunks.append(chunk)
