"""Encodes a pool of captioned clips once, so that the transformer trains on latents only.

Clips come in several sizes and lengths, and as stills: their first frames alone, which say all but
the motion at a fraction of the cost. Those of one size and length are a bucket, and a batch is
drawn from one bucket. Some clips lie over textures: pictures from elsewhere, for image-to-video.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.data import Combination, Thing, draw_combination, happens, training_weight
from models.tiny.precision import half_precision
from models.tiny.render import draw_covers, render
from models.tiny.scenes import draw_picture_scene, draw_scene
from models.tiny.slots import fill_slots
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

CLIP_STAGES = (
    Stage(96, 96, 9), Stage(96, 96, 17), Stage(160, 96, 9), Stage(64, 64, 17),
    Stage(96, 96, 9), Stage(96, 96, 17), Stage(96, 160, 9), Stage(160, 96, 17),
    Stage(96, 96, 9), Stage(96, 64, 17), Stage(96, 96, 25), Stage(96, 160, 17),
    Stage(96, 96, 17), Stage(64, 96, 17), Stage(160, 96, 33), Stage(96, 96, 49),
)  # fmt: skip
"""Sizes and lengths of successive files: what comes often here is trained often."""

STILL_STAGES = tuple(
    Stage(width, height, 1)
    for width, height in (
        (96, 96), (160, 96), (96, 96), (64, 64), (96, 96), (96, 160), (96, 64), (64, 96),
    )
)  # fmt: skip

STAGES = {"stills": STILL_STAGES, "clips": CLIP_STAGES}
SORTS = tuple(STAGES)

PICTURE_SHARE = 0.12

POOL_PAIR_SHARE = 0.5
"""Share of clips with two things: harder to learn than one, and each is one more example."""


@dataclass(frozen=True)
class Bucket:
    """Clips of one size and length in latent form.

    `latents` is float32 `[N, 24, T, H, W]`, normalised; `is_picture` (bool, `[N]`) tells which lie
    over a texture. `covers` (float32, `[N, 2, T, H/2, W/2]`) says where things are, as of
    `draw_covers`, and `slots` (int64, `[N, 8]`) what they are, as of `fill_slots`. `weights`
    (float32, `[N]`, on the CPU) are those of `training_weight`. `share` is the share of the batches
    of its sort, stills or clips.
    """

    combinations: list[Combination]
    is_picture: Tensor
    latents: Tensor
    covers: Tensor
    slots: Tensor
    weights: Tensor
    share: float

    @property
    def num_tokens(self) -> int:
        """Tokens of a clip in the transformer, whose patches are 2x2 latents."""
        return self.latents[0, 0].numel() // 4

    @property
    def is_still(self) -> bool:
        """Whether the clips are first frames alone."""
        return self.latents.shape[2] == 1


@dataclass(frozen=True)
class Statistics:
    """What is taken out of raw latents: the mean of each channel, and one scale for all.

    A scale for each would make as much of channels that say little as of the others.
    """

    mean: list[float]
    scale: float

    def normalize(self, raw: Tensor) -> Tensor:
        """Returns latents `[N, 24, T, H, W]` with mean 0 and deviation 1 over all."""
        return (raw - torch.tensor(self.mean).view(1, -1, 1, 1, 1)) / self.scale


@dataclass(frozen=True)
class Pool:
    """Training clips by size and length."""

    buckets: list[Bucket]


def encode_pool(vae: Vae, folder: Path, num_chunks: int, sort: str, seed: int = 0) -> None:
    """Encodes random clips of training combinations; goes on where an earlier call stopped.

    Args:
        vae: A trained autoencoder.
        folder: Gets one file per chunk; existing files are kept.
        num_chunks: Number of files, each the work of 500 clips of the default size.
        sort: One of `STAGES`: `stills` or `clips`.
        seed: Seed of the pool.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stages = STAGES[sort]
    for chunk in range(num_chunks):
        path = folder / f"{sort}-{chunk:04d}.pt"
        if not path.exists():
            draws = Draws(seed + 1 + SORTS.index(sort), chunk)
            encode_chunk(vae, path, stages[chunk % len(stages)], draws.rng)
            logger.info("latents_encoded sort=%s chunk=%d of=%d", sort, chunk + 1, num_chunks)


def encode_chunk(vae: Vae, path: Path, stage: Stage, rng: random.Random) -> None:
    """Encodes random clips of training combinations into one file.

    Args:
        vae: A trained autoencoder.
        path: Gets the combinations, which of them are pictures, their latents and covers, float16.
        stage: Size and length of the clips.
        rng: Source of randomness.
    """
    size = _volume(stage) / _volume(Stage())
    num_clips = max(min(MIN_CHUNK_SIZE, CHUNK_SIZE), round(CHUNK_SIZE / size))
    batch_size = max(1, round(BATCH_SIZE / size))
    combinations = [draw_combination(rng, pair_share=POOL_PAIR_SHARE) for _ in range(num_clips)]
    # Of a picture the first frame is given, so there would be nothing left to learn of a still.
    share = PICTURE_SHARE if stage.num_frames > 1 else 0.0
    is_picture = [happens(share, rng) for _ in combinations]
    scenes = [
        (draw_picture_scene if over_texture else draw_scene)(each, stage, rng)
        for each, over_texture in zip(combinations, is_picture, strict=True)
    ]
    batches = [scenes[first : first + batch_size] for first in range(0, num_clips, batch_size)]
    latents = torch.cat([_encode(vae, render(batch)) for batch in batches]).half().cpu()
    covers = torch.cat([draw_covers(batch) for batch in batches]).half().cpu()
    words = [(list(map(tuple, each.things)), *each[1:]) for each in combinations]
    partial = path.with_suffix(".partial")
    torch.save((words, is_picture, latents, covers), partial)
    partial.replace(path)


def measure_pool(folder: Path) -> Statistics:
    """Measures all latents that are encoded so far; the result belongs in the VAE's config."""
    chunks = [torch.load(path, map_location="cpu")[2] for path in sorted(folder.glob("*.pt"))]
    values = torch.cat([each.float().transpose(0, 1).flatten(1) for each in chunks], 1)
    mean = values.mean(1, keepdim=True)
    return Statistics(mean.flatten().tolist(), (values - mean).square().mean().sqrt().item())


def write_statistics(statistics: Statistics, path: Path) -> None:
    """Writes statistics as the entries of an autoencoder's config, JSON."""
    scales = [statistics.scale] * len(statistics.mean)
    path.write_text(json.dumps({"latents_mean": statistics.mean, "latents_std": scales}))


def read_statistics(path: Path) -> Statistics:
    """Reads what `write_statistics` wrote."""
    entries = json.loads(path.read_text())
    return Statistics(entries["latents_mean"], entries["latents_std"][0])


def load_pool(folder: Path, statistics: Statistics) -> Pool:
    """Loads all clips that are encoded so far and normalises them.

    Args:
        folder: The folder that `encode_pool` filled.
        statistics: What is taken out of the latents.
    """
    chunks = [torch.load(path, map_location="cpu") for path in sorted(folder.glob("*.pt"))]
    shapes = [tuple(latents.shape[1:]) for _, _, latents, _ in chunks]
    buckets = []
    for shape, count in Counter(shapes).items():
        same = [chunk for chunk, each in zip(chunks, shapes, strict=True) if each == shape]
        combinations = [_as_combination(*each) for words, *_ in same for each in words]
        num_alike = sum((each[1] == 1) == (shape[1] == 1) for each in shapes)
        raw = torch.cat([latents.float() for _, _, latents, _ in same])
        where = torch.get_default_device()
        buckets.append(
            Bucket(
                combinations,
                torch.tensor([each for _, marks, *_ in same for each in marks]),
                statistics.normalize(raw.to(where)),
                torch.cat([covers.float() for *_, covers in same]).to(where),
                torch.tensor([fill_slots(each) for each in combinations]),
                torch.tensor([training_weight(each) for each in combinations], device="cpu"),
                count / num_alike,
            )
        )
    return Pool(buckets)


def _volume(stage: Stage) -> int:
    return stage.width * stage.height * (stage.num_frames + 3)


def _as_combination(
    things: list[tuple[str, str, str]], background: str, relation: str | None
) -> Combination:
    return Combination(tuple(Thing(*each) for each in things), background, relation)


@torch.no_grad()
def _encode(vae: Vae, clips: Tensor) -> Tensor:
    with half_precision(clips):
        latents: Tensor = vae.encode(clips).latent_dist.mode()
    return latents.float()
