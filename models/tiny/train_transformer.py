"""Trains the transformer by flow matching on latents; the text encoder is given.

Text-to-video and image-to-video are one model, as in TI2V-5B: an image is the clean first latent
frame, its tokens at timestep 0. The batches feed exactly what the two stock pipelines feed. Stills
come first, for they teach colours, shapes and places for a fifth of the price of clips.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.captions import draw_picture_caption, draw_training_caption
from models.tiny.config import FLOW_SHIFT
from models.tiny.data import happens
from models.tiny.optimizer import MuonAdamW
from models.tiny.padding import padding_bias, training_attention
from models.tiny.precision import half_precision
from models.tiny.scene_head import SceneHead
from models.tiny.texts import embed, tokenize
from models.tiny.training import Budget, Draws, Run, train
from models.tiny.untyped import TextEncoder, Tokenizer, Transformer

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.nn import Parameter

    from models.tiny.latents import Pool

PADDED_LENGTHS = (64, 64, 64, 128, 226, 512)
"""Values of `max_sequence_length` to train for; 64 is served, 512 is the pipelines' default."""

STILL_SHARES = ((0.2, 1.0), (0.5, 0.3), (1.0, 0.15))
"""Until which share of the run which share of batches are stills."""

LATER_STILL_SHARES = ((1.0, 0.15),)
"""The same for a transformer that has been trained before."""

MAX_CLIPS = 256
"""Most clips of a batch: of small stills more would fit, but their texts cost more than they."""

IMAGE_SHARE = 0.4
"""Share of image-to-video samples."""

UNIFORM_SHARE = 0.5
"""Share of noise levels drawn uniformly; the rest gather in the middle."""

UNSHIFTED_SHARE = 0.5
"""Share of noise levels that are not shifted as at inference: outlines are made at low ones."""

THING_WEIGHT = 2.0
"""Weight of tokens that show a thing, beside 1 of all others."""

MIN_COVER = 0.01
"""Share of a token's pixels from which it shows a thing."""

SCENE_WEIGHT = 0.3
"""Weight of the scene head's loss beside that of the velocity."""

FIRST_FRAME_WEIGHT = 2.5
"""Weight of the first latent frame in text-to-video: alone it has no neighbour to lean on."""


@dataclass(frozen=True)
class TransformerSettings:
    """Seed, video tokens in a batch (91 clips of 96x96, 17 frames), peak learning rates.

    `still_shares` is as `STILL_SHARES`. With `is_compiled` the blocks are compiled, which takes two
    minutes and needs a C++ compiler, for a third less time a step where matrices are fast. With
    `trains_text` the text encoder trains as well, slowly: a transformer that knows its words well
    can say what they lack.
    """

    seed: int = 0
    num_tokens: int = 4096
    matrix_rate: float = 3e-3
    other_rate: float = 2e-3
    average_decay: float = 0.998
    still_shares: tuple[tuple[float, float], ...] = STILL_SHARES
    is_compiled: bool = False
    trains_text: bool = False


@dataclass(frozen=True)
class Parts:
    """The parts of the pipeline that make latents."""

    transformer: Transformer
    text_encoder: TextEncoder
    tokenizer: Tokenizer


@dataclass(frozen=True)
class Batch:
    """Clips of one size and length: latents `[N, 24, T, H, W]`, normalised, and their captions.

    Of a picture (`is_picture`, bool `[N]`) the first frame is always given: no caption names it.
    `covers` and `slots` are those of a `Bucket`.
    """

    latents: Tensor
    captions: list[str]
    is_picture: Tensor
    covers: Tensor
    slots: Tensor


@dataclass(frozen=True)
class Sample:
    """One batch as the transformer sees it.

    `noised` and `target` are `[N, 24, T, H, W]`, `timesteps` is `[N, T * H/2 * W/2]` in 0..1000,
    `weight` is `[N, 1, T, H, W]` and 0 where the loss does not look.
    """

    noised: Tensor
    timesteps: Tensor
    target: Tensor
    weight: Tensor


def train_transformer(
    parts: Parts, pool: Pool, state: Path, budget: Budget, settings: TransformerSettings
) -> None:
    """Trains the transformer in place and leaves the averaged weights in it.

    Args:
        parts: The transformer and the text encoder, float32.
        pool: Normalised latents with their combinations.
        state: File to resume from and save to; weights go to `transformer` beside it.
        budget: How long to train.
        settings: Seed, batch size and rates.
    """
    parts.text_encoder.requires_grad_(settings.trains_text)
    told = list(parts.text_encoder.parameters()) if settings.trains_text else []
    head = SceneHead(parts.transformer)
    matrices, others = split_parameters(parts.transformer)
    optimizer = MuonAdamW(
        matrices,
        [*others, *head.parameters()],
        settings.matrix_rate,
        settings.other_rate,
        betas=(0.9, 0.98),
        settled=told,
    )
    everything = [*parts.transformer.parameters(), *head.parameters(), *told]
    run = Run(everything, optimizer, state, settings.average_decay)
    if settings.is_compiled:
        compile_blocks(parts.transformer)

    def save_weights() -> str:
        parts.transformer.save_pretrained(state.parent / "transformer")
        if settings.trains_text:
            parts.text_encoder.save_pretrained(state.parent / "text_encoder")
        return "weights=averaged"

    with training_attention(parts.transformer) as attention:

        def loss_at(draws: Draws, done: float) -> Tensor:
            still_share = next(share for until, share in settings.still_shares if done <= until)
            batch = draw_batch(pool, settings.num_tokens, draws, still_share)
            text, attention.bias = tell(batch.captions, parts, draws)
            sample = draw_sample(batch, draws)
            predicted = predict(parts.transformer, sample.noised, sample.timesteps, text)
            error = weighted_error(predicted, sample.target, sample.weight)
            named = head.loss(batch.covers, batch.slots, batch.is_picture)
            return error + SCENE_WEIGHT * named

        train(run, budget, settings.seed, loss_at, save_weights)
    run.use_average()
    head.close()


def compile_blocks(transformer: Transformer) -> None:
    """Compiles each block for batches of any size; all of them share the result."""
    for block in transformer.blocks:
        block.compile(dynamic=True)


def split_parameters(transformer: Transformer) -> tuple[list[Parameter], list[Parameter]]:
    """Returns the matrices of the blocks, which Muon trains, and all other parameters."""
    matrices: list[Parameter] = []
    others: list[Parameter] = []
    for name, each in transformer.named_parameters():
        (matrices if each.ndim > 1 and name.startswith("blocks.") else others).append(each)
    return matrices, others


def draw_batch(
    pool: Pool, num_tokens: int, draws: Draws, still_share: float | None = None
) -> Batch:
    """Draws clips of one size and length.

    Args:
        pool: The clips.
        num_tokens: Video tokens in all; of large clips fewer fit, at least two.
        draws: Randomness of the step.
        still_share: Share (0..1) of batches that are stills; None for clips alone.
    """
    is_still = still_share is not None and happens(still_share, draws.rng)
    buckets = [each for each in pool.buckets if each.is_still is is_still]
    (bucket,) = draws.rng.choices(buckets, [each.share for each in buckets])
    num_clips = min(MAX_CLIPS, max(2, num_tokens // bucket.num_tokens))
    rows = draws.rows(bucket.weights, num_clips)
    is_picture = bucket.is_picture[rows]
    captions = [
        (draw_picture_caption if over_texture else draw_training_caption)(
            bucket.combinations[row], draws.rng
        )
        for row, over_texture in zip(rows.tolist(), is_picture.tolist(), strict=True)
    ]
    return Batch(
        bucket.latents[rows], captions, is_picture, bucket.covers[rows], bucket.slots[rows]
    )


def draw_sample(batch: Batch, draws: Draws) -> Sample:
    """Noises a batch of clean latents along the flow from data (0) to noise (1).

    Args:
        batch: The clips.
        draws: Randomness of the step.

    Returns:
        The batch; pictures and 40 % of the other clips keep a clean first latent frame at
        timestep 0.
    """
    latents, num_clips = batch.latents, len(batch.latents)
    sigma = draw_sigmas(num_clips, draws)
    noise = draws.normal(latents)
    is_image = batch.is_picture | (draws.uniform(num_clips) < IMAGE_SHARE)
    if latents.shape[2] == 1:
        is_image = torch.zeros_like(is_image)
    is_free = mark_free(latents, is_image)
    noised = torch.lerp(latents, noise, sigma.view(-1, 1, 1, 1, 1) * is_free)
    weight = is_free.clone()
    weight[:, :, 0] *= FIRST_FRAME_WEIGHT
    weight = weight * weigh_things(batch.covers)
    return Sample(noised, spread_timesteps(sigma, is_free), noise - latents, weight)


def weigh_things(covers: Tensor) -> Tensor:
    """Returns the weight of latents, `[N, 1, T, H, W]`, from `covers` `[N, 2, T, H/2, W/2]`."""
    is_thing = covers.sum(1, keepdim=True) > MIN_COVER
    weight = 1 + THING_WEIGHT * is_thing.float()
    return weight.repeat_interleave(2, 3).repeat_interleave(2, 4)


def mark_free(latents: Tensor, is_image: Tensor) -> Tensor:
    """Returns `[N, 1, T, H, W]`: 0 where a first frame is given, 1 where frames are sampled."""
    is_free = torch.ones_like(latents[:, :1])
    is_free[:, :, 0] = torch.where(is_image.view(-1, 1, 1, 1), 0.0, 1.0)
    return is_free


def spread_timesteps(sigma: Tensor, is_free: Tensor) -> Tensor:
    """Returns the timestep of each token, `[N, T * H/2 * W/2]`: 0 in given frames.

    Args:
        sigma: Noise level of each clip, `[N]` in 0..1.
        is_free: What `mark_free` returned.
    """
    # The pipelines thin the mask by the patch size.
    levels = (sigma * 1000).round().view(-1, 1, 1, 1)
    return (is_free[:, 0, :, ::2, ::2] * levels).flatten(1)


def draw_sigmas(num_values: int, draws: Draws) -> Tensor:
    """Draws noise levels: half uniform, half logit-normal; half shifted as at inference.

    Returns:
        float32 `[num_values]` in 0.001..1.
    """
    uniform = draws.uniform(num_values)
    bell = torch.sigmoid(draws.normal(uniform))
    level = torch.where(draws.uniform(num_values) < UNIFORM_SHARE, uniform, bell)
    shifted = FLOW_SHIFT * level / (1 + (FLOW_SHIFT - 1) * level)
    return torch.where(draws.uniform(num_values) < UNSHIFTED_SHARE, level, shifted).clamp(1e-3, 1)


def tell(captions: list[str], parts: Parts, draws: Draws) -> tuple[Tensor, Tensor]:
    """Embeds captions as the pipelines do and draws a padded length for each.

    Returns:
        Embeddings `[N, S, 128]`, zero after the end of each text, and the bias for
        `PaddedAttention`, `[N, 1, 1, S]`.
    """
    tokens = tokenize(captions, parts.tokenizer)
    lengths = torch.tensor(draws.rng.choices(PADDED_LENGTHS, k=len(captions)))
    return embed(tokens, parts.text_encoder), padding_bias(tokens.attention_mask, lengths)


def predict(transformer: Transformer, noised: Tensor, timesteps: Tensor, text: Tensor) -> Tensor:
    """Returns the predicted velocity (noise minus data), float32 in the shape of `noised`."""
    with half_precision(noised):
        (velocity,) = transformer(
            hidden_states=noised, timestep=timesteps, encoder_hidden_states=text, return_dict=False
        )
    predicted: Tensor = velocity.float()
    return predicted


def weighted_error(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Returns the mean squared error of the weighted frames, each clip counted alike."""
    error = (predicted - target).square() * weight
    return (error.mean((1, 2, 3, 4)) / weight.mean((1, 2, 3, 4))).mean()
