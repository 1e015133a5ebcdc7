"""Latents of LTX-2 to frames, a stretch of time after another.

Its decoder looks ahead, so a clip is decoded whole where there is room. Where there is not, in
tiles that overlap in time and fade into each other, with the arithmetic of diffusers 0.42; but each
tile becomes frames before the next is decoded.
"""

from collections.abc import Iterator
from typing import Any

import torch

from models.adapters.common import memory_errors_named
from models.adapters.pixels import to_frames
from models.pipeline import Frame, StepCallback
from models.spec import Stage


def decode_in_time_tiles(
    vae: Any,  # noqa: ANN401 -- diffusers is untyped
    latents: torch.Tensor,
    on_step: StepCallback,
) -> Iterator[Frame]:
    """As `AutoencoderKLLTX2Video._temporal_tiled_decode`, with two tiles held and not all.

    Args:
        vae: tiles are its own, 16 frames every 8 and 512 pixels unless it says otherwise.
        latents: [1, C, F, h, w], as the pipeline returns them.
        on_step: called with `Stage.DECODING` after each tile.

    Yields:
        uint8 [H, W, 3], RGB.

    Raises:
        OutOfMemory: the device has too little room for one tile.
    """
    ratio = vae.temporal_compression_ratio
    stride = vae.tile_sample_stride_num_frames
    overlap = vae.tile_sample_min_num_frames - stride
    starts = range(0, latents.shape[2], stride // ratio)
    length = vae.tile_sample_min_num_frames // ratio + 1
    left = (latents.shape[2] - 1) * ratio + 1
    before: torch.Tensor | None = None
    for number, start in enumerate(starts, start=1):
        with memory_errors_named("decoding a tile"), torch.inference_mode():
            tile = _decode_tile(vae, latents[:, :, start : start + length].to(vae.dtype))
            if before is not None:
                tile = vae.blend_t(before, tile[:, :, :-1], overlap)
            before = tile
        on_step(Stage.DECODING, number, len(starts))
        [frames] = to_frames(tile[:, :, : stride + (number == 1)])
        yield from frames[:left]
        left -= len(frames)
        if left <= 0:
            on_step(Stage.DECODING, len(starts), len(starts))
            return


def _decode_tile(vae: Any, latents: torch.Tensor) -> torch.Tensor:  # noqa: ANN401 -- untyped
    timestep = None
    if vae.config.timestep_conditioning:
        timestep = torch.zeros(len(latents), device=latents.device, dtype=vae.dtype)
    height, width = latents.shape[-2:]
    ratio = vae.spatial_compression_ratio
    pixels: torch.Tensor
    if height > vae.tile_sample_min_height // ratio or width > vae.tile_sample_min_width // ratio:
        pixels = vae.tiled_decode(latents, timestep, return_dict=False)[0]
    else:
        pixels = vae.decoder(latents, timestep)
    return pixels
