"""Latents of Wan to frames, a few at a time.

`AutoencoderKLWan.decode` returns a whole float video: 15 GB for a minute of 720p. It works
latent frame by latent frame inside, so we drive its decoder and keep one chunk.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify

from models.adapters.common import memory_errors_named
from models.adapters.pixels import to_frames
from models.pipeline import Frame, StepCallback
from models.spec import Stage

MOST_PIXELS = 1 << 18
"""Pixels of all frames of a chunk that has more than one latent frame.

Of 96x96 seven fit, so a short clip is decoded in two goes, in 0.7 to 0.8 of the time on a CPU;
it is still a sixth of what one latent frame of 832x480 takes.
"""


def stream_decode(
    vae: AutoencoderKLWan, latents: torch.Tensor, on_step: StepCallback
) -> Iterator[Frame]:
    """Decode one clip while its frames are read.

    The arithmetic is that of `AutoencoderKLWan._decode` without tiles (diffusers 0.42), but the
    cache between chunks is the iterator's own: two clips may be read in any order, and one left
    halfway spoils nothing.

    Args:
        vae: an `AutoencoderKLWan`.
        latents: [1, C, F, h, w], normalized, as the pipelines return them.
        on_step: called with `Stage.DECODING` after each chunk: one of the F latent frames, of
            small clips several after the first.

    Yields:
        uint8 [H, W, 3], RGB, C-contiguous: one frame of the first latent frame, then four each.

    Raises:
        OutOfMemory: the device has too little room for one chunk.
    """
    total = latents.shape[2]
    with memory_errors_named("decoding one latent frame"):
        scaled = denormalize(vae, latents)
    caches = new_caches(vae)
    starts = [0, *range(1, total, _count_at_once(vae, latents))]
    for start, end in pairwise([*starts, total]):
        with memory_errors_named("decoding one latent frame"):
            chunk = decode_next(vae, scaled[:, :, start:end], caches, is_first=start == 0)
        on_step(Stage.DECODING, end, total)
        yield from chunk[0]


def _count_at_once(vae: AutoencoderKLWan, latents: torch.Tensor) -> int:
    """How many latent frames make a chunk."""
    side, length = vae.config.scale_factor_spatial, vae.config.scale_factor_temporal
    num_pixels: int = latents.shape[3] * latents.shape[4] * side * side * length
    return max(1, MOST_PIXELS // num_pixels)


def decode_tiled(
    vae: AutoencoderKLWan, latents: torch.Tensor, on_step: StepCallback
) -> Iterator[Frame]:
    """As `stream_decode`, tile after tile: the device holds the caches of one tile only.

    Tiles and strides are those of `vae` (256 and 192 pixels unless it says otherwise); the
    finished clip, uint8, waits in host memory. Differs from `AutoencoderKLWan.tiled_decode`, which
    keeps every tile on the device and blends before it undoes the patches.
    """
    scale = vae.config.scale_factor_spatial
    height, width = latents.shape[3] * scale, latents.shape[4] * scale
    overlaps = (
        vae.tile_sample_min_height - vae.tile_sample_stride_height,
        vae.tile_sample_min_width - vae.tile_sample_stride_width,
    )
    tops = range(0, max(height - overlaps[0], 1), vae.tile_sample_stride_height)
    lefts = range(0, max(width - overlaps[1], 1), vae.tile_sample_stride_width)
    corners = [(top, left) for top in tops for left in lefts]
    per_tile = latents.shape[2]
    clip: np.ndarray[Any, np.dtype[np.uint8]] | None = None
    for number, (top, left) in enumerate(corners):
        rows = slice(top // scale, (top + vae.tile_sample_min_height) // scale)
        columns = slice(left // scale, (left + vae.tile_sample_min_width) // scale)

        on_tile_step = _part_of(on_step, number * per_tile, len(corners) * per_tile)
        tile = np.stack([*stream_decode(vae, latents[:, :, :, rows, columns], on_tile_step)])
        if clip is None:
            clip = np.zeros((len(tile), height, width, 3), np.uint8)
        place = clip[:, top:, left:][:, : tile.shape[1], : tile.shape[2]]
        _lay(tile, place, (overlaps[0] if top else 0, overlaps[1] if left else 0))
    if clip is not None:
        yield from clip


def decode_pictures(vae: AutoencoderKLWan, latents: torch.Tensor, index: int) -> list[Frame]:
    """Latent frame `index` of every clip as one picture: uint8 [H, W, 3], RGB.

    For the eye only. Exact for index 0; a later frame decoded without those before it keeps its
    shapes, while its colours are a little off.

    Args:
        vae: as of `stream_decode`.
        latents: [N, C, F, h, w], normalized.
        index: below F.

    Raises:
        OutOfMemory: the device has too little room.
    """
    with memory_errors_named("a preview"):
        scaled = denormalize(vae, latents[:, :, index : index + 1])
        pixels = _decode(vae, scaled, new_caches(vae), is_first=True)
        return [clip[0] for clip in to_frames(pixels)]


def _part_of(on_step: StepCallback, before: int, of_all: int) -> StepCallback:
    """A callback whose steps come after `before` others of `of_all`."""

    def on_part_step(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        del total  # of the part
        on_step(stage, before + done, of_all, previews)

    return on_part_step


def _lay(
    tile: np.ndarray[Any, np.dtype[np.uint8]],
    place: np.ndarray[Any, np.dtype[np.uint8]],
    seams: tuple[int, int],
) -> None:
    """Write `tile` into `place`, fading in over the first `seams` rows and columns.

    Frame by frame, for the mix is in float32. The ramp is that of `AutoencoderKLWan.blend_v`.
    """
    down = _ramp(seams[0], tile.shape[1])[:, None, None]
    right = _ramp(seams[1], tile.shape[2])[None, :, None]
    for new, old in zip(tile, place, strict=True):
        mixed = old + (new - old.astype(np.float32)) * down
        mixed = old + (mixed - old) * right
        old[...] = mixed.round().astype(np.uint8)


def _ramp(seam: int, length: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """`length` weights: 0 rising to 1 over the first `seam`, then 1."""
    ramp = np.ones(length, np.float32)
    ramp[:seam] = (np.arange(seam, dtype=np.float32) / max(seam, 1))[:length]
    return ramp


@torch.inference_mode()
def denormalize(vae: AutoencoderKLWan, latents: torch.Tensor) -> torch.Tensor:
    """Latents [N, C, F, h, w] as the decoder takes them."""
    like = {"device": latents.device, "dtype": vae.dtype}
    mean = torch.tensor(vae.config.latents_mean).to(**like).view(1, -1, 1, 1, 1)
    inverse_std = (1.0 / torch.tensor(vae.config.latents_std)).to(**like).view(1, -1, 1, 1, 1)
    scaled: torch.Tensor = vae.post_quant_conv(latents.to(vae.dtype) / inverse_std + mean)
    return scaled


def new_caches(vae: AutoencoderKLWan) -> list[Any]:
    """Empty ones of a clip, one for each layer that looks back in time."""
    return [None] * sum(isinstance(part, WanCausalConv3d) for part in vae.decoder.modules())


def decode_next(
    vae: AutoencoderKLWan, latent: torch.Tensor, caches: list[Any], *, is_first: bool
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The next denormalized latent frames of N clips to uint8 [N, T, H, W, 3]; changes `caches`.

    The first comes alone and makes one frame, every other one makes four.
    """
    return to_frames(_decode(vae, latent, caches, is_first=is_first))


@torch.inference_mode()
def _decode(
    vae: AutoencoderKLWan, latents: torch.Tensor, caches: list[Any], *, is_first: bool
) -> torch.Tensor:
    """Latent frames of N clips to pixels, [N, 3, T, H, W] in [-1, 1] or a little beyond."""
    # The decoder doubles frames except in the first chunk, and knows it by this flag alone.
    first = {"first_chunk": True} if is_first else {}
    pixels: torch.Tensor = vae.decoder(latents, feat_cache=caches, feat_idx=[0], **first)
    if vae.config.patch_size is not None:
        pixels = unpatchify(pixels, patch_size=vae.config.patch_size)
    return pixels
