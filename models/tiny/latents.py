"""Encodes a pool of captioned clips once, so that the transformer trains on latents only.

Clips come in several sizes and lengths; those of one are a bucket, and a batch is drawn from one
bucket. Some clips lie over textures: pictures from elsewhere, for image-to-video alone.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.data import Combination, Thing, draw_combination, happens
from models.tiny.render import render
from models.tiny.scenes import draw_picture_scene, draw_scene
from models.tiny.tracks import Stage
from models.tiny.training import Draws
from models.tiny.untyped import Vae

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from torch import Tensor

logger = logging.getLogger(__name__)

BATCH_SIZE = 25
CHUNK_SIZE = 500
"""Clips of the default size in one file; of larger clips fewer, for about the same work."""

MIN_CHUNK_SIZE = 50

STAGES = (
    Stage(64, 64, 17), Stage(64, 64, 33), Stage(96, 64, 17), Stage(64, 64, 17),
    Stage(64, 96, 17), Stage(64, 64, 9), Stage(64, 64, 17), Stage(96, 96, 17),
    Stage(160, 96, 17), Stage(64, 64, 17), Stage(96, 160, 17), Stage(64, 64, 49),
    Stage(64, 64, 17), Stage(96, 64, 33), Stage(96, 96, 25), Stage(160, 96, 49),
)  # fmt: skip
"""Sizes and lengths of successive files: what comes often here is trained often."""

PICTURE_SHARE = 0.12


@dataclass(frozen=True)
class Bucket:
    """Clips of one size and length in latent form.

    `latents` is float32 `[N, 48, T, H, W]`, normalised per channel to mean 0 and deviation 1;
    `is_picture` (bool, `[N]`) tells which lie over a texture. `share` is the share of batches.
    """

    combinations: list[Combination]
    is_picture: Tensor
    latents: Tensor
    share: float

    @property
    def num_tokens(self) -> int:
        """Tokens of a clip in the transformer, whose patches are 2x2 latents."""
        return self.latents[0, 0].numel() // 4


@dataclass(frozen=True)
class Pool:
    """Training clips; `mean` and `std` are what was taken out of each channel."""

    buckets: list[Bucket]
    mean: list[float]
    std: list[float]


def encode_pool(vae: Vae, folder: Path, num_chunks: int, seed: int = 0) -> None:
    """Encodes random clips of training combinations; goes on where an earlier call stopped.

    Args:
        vae: A trained autoencoder.
        folder: Gets one file per chunk; existing files are kept.
        num_chunks: Number of files, each the work of 500 clips of the default size.
        seed: Seed of the pool.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for chunk in range(num_chunks):
        path = folder / f"{chunk:04d}.pt"
        if not path.exists():
            stage = STAGES[chunk % len(STAGES)]
            encode_chunk(vae, path, stage, Draws(seed + 1, chunk).rng)
            logger.info("latents_encoded chunk=%d of=%d", chunk + 1, num_chunks)


def encode_chunk(vae: Vae, path: Path, stage: Stage, rng: random.Random) -> None:
    """Encodes random clips of training combinations into one file.

    Args:
        vae: A trained autoencoder.
        path: Gets the combinations, which of them are pictures, and their latents in float16.
        stage: Size and length of the clips.
        rng: Source of randomness.
    """
    size = _volume(stage) / _volume(Stage())
    num_clips = max(min(MIN_CHUNK_SIZE, CHUNK_SIZE), round(CHUNK_SIZE / size))
    batch_size = max(1, round(BATCH_SIZE / size))
    combinations = [draw_combination(rng) for _ in range(num_clips)]
    is_picture = [happens(PICTURE_SHARE, rng) for _ in combinations]
    scenes = [
        (draw_picture_scene if over_texture else draw_scene)(each, stage, rng)
        for each, over_texture in zip(combinations, is_picture, strict=True)
    ]
    batches = [scenes[first : first + batch_size] for first in range(0, num_clips, batch_size)]
    latents = torch.cat([_encode(vae, render(batch)) for batch in batches]).half().cpu()
    words = [(list(map(tuple, each.things)), *each[1:]) for each in combinations]
    partial = path.with_suffix(".partial")
    torch.save((words, is_picture, latents), partial)
    partial.replace(path)


def load_pool(folder: Path) -> Pool:
    """Loads all clips that are encoded so far and normalises them.

    Args:
        folder: The folder that `encode_pool` filled.

    Returns:
        The pool; its statistics belong in the autoencoder's config.
    """
    chunks = [torch.load(path, map_location="cpu") for path in sorted(folder.glob("*.pt"))]
    values = torch.cat([latents.float().transpose(0, 1).flatten(1) for *_, latents in chunks], 1)
    mean, std = values.mean(1), values.std(1)
    shapes = [tuple(latents.shape[1:]) for *_, latents in chunks]
    buckets = []
    for shape, count in Counter(shapes).items():
        same = [chunk for chunk, each in zip(chunks, shapes, strict=True) if each == shape]
        raw = torch.cat([latents.float() for *_, latents in same])
        wide = (1, -1, 1, 1, 1)
        buckets.append(
            Bucket(
                [_as_combination(*each) for words, *_ in same for each in words],
                torch.tensor([each for _, marks, _ in same for each in marks]),
                ((raw - mean.view(wide)) / std.view(wide)).to(torch.get_default_device()),
                count / len(chunks),
            )
        )
    return Pool(buckets, mean.tolist(), std.tolist())


def _volume(stage: Stage) -> int:
    return stage.width * stage.height * (stage.num_frames + 3)


def _as_combination(
    things: list[tuple[str, str, str]], background: str, relation: str | None
) -> Combination:
    return Combination(tuple(Thing(*each) for each in things), background, relation)


@torch.no_grad()
def _encode(vae: Vae, clips: Tensor) -> Tensor:
    latents: Tensor = vae.encode(clips).latent_dist.mode()
    return latents
