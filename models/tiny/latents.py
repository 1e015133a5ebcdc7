"""Encodes a pool of captioned clips once, so that the transformer trains on latents only."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.data import Combination, list_training
from models.tiny.render import render
from models.tiny.scenes import draw_scene
from models.tiny.training import Draws
from models.tiny.untyped import Vae

if TYPE_CHECKING:
    import random
    from pathlib import Path

    from torch import Tensor

logger = logging.getLogger(__name__)

BATCH_SIZE = 25
CHUNK_SIZE = 500


@dataclass(frozen=True)
class Pool:
    """Training clips in latent form.

    `latents` is float32 `[N, 24, 5, 4, 4]`, normalised per channel to mean 0 and deviation 1;
    `mean` and `std` are the 24 values each that were taken out.
    """

    combinations: list[Combination]
    latents: Tensor
    mean: list[float]
    std: list[float]


def encode_pool(vae: Vae, folder: Path, num_clips: int, seed: int = 0) -> None:
    """Encodes random clips of training combinations; goes on where an earlier call stopped.

    Args:
        vae: A trained autoencoder.
        folder: Gets one file per 500 clips; existing files are kept.
        num_clips: Size of the pool, rounded up to whole files.
        seed: Seed of the pool.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for chunk in range(-(-num_clips // CHUNK_SIZE)):
        path = folder / f"{chunk:04d}.pt"
        if not path.exists():
            encode_chunk(vae, path, Draws(seed + 1, chunk).rng)
            logger.info("latents_encoded num_clips=%d", (chunk + 1) * CHUNK_SIZE)


def encode_chunk(vae: Vae, path: Path, rng: random.Random) -> None:
    """Encodes 500 random clips of training combinations into one file.

    Args:
        vae: A trained autoencoder.
        path: Gets the combinations and their latents, float16 `[500, 24, 5, 4, 4]`.
        rng: Source of randomness.
    """
    combinations = [rng.choice(list_training()) for _ in range(CHUNK_SIZE)]
    latents = []
    for first in range(0, CHUNK_SIZE, BATCH_SIZE):
        batch = combinations[first : first + BATCH_SIZE]
        latents.append(_encode(vae, render([draw_scene(each, rng) for each in batch])))
    partial = path.with_suffix(".partial")
    torch.save(([tuple(each) for each in combinations], torch.cat(latents).half()), partial)
    partial.replace(path)


def load_pool(folder: Path) -> Pool:
    """Loads all clips that are encoded so far and normalises them.

    Args:
        folder: The folder that `encode_pool` filled.

    Returns:
        The pool; its statistics belong in the autoencoder's config.
    """
    combinations: list[Combination] = []
    parts = []
    for path in sorted(folder.glob("*.pt")):
        words, latents = torch.load(path)
        combinations += [Combination(*each) for each in words]
        parts.append(latents.float())
    raw = torch.cat(parts)
    mean, std = raw.mean((0, 2, 3, 4)), raw.std((0, 2, 3, 4))
    shaped = (1, -1, 1, 1, 1)
    normalised = (raw - mean.view(shaped)) / std.view(shaped)
    return Pool(combinations, normalised, mean.tolist(), std.tolist())


@torch.no_grad()
def _encode(vae: Vae, clips: Tensor) -> Tensor:
    latents: Tensor = vae.encode(clips).latent_dist.mode()
    return latents
