"""Trains the transformer and the text encoder together, by flow matching on latents.

Text-to-video and image-to-video are one model, as in TI2V-5B: an image is the clean first latent
frame, its tokens at timestep 0. The batches feed exactly what the two stock pipelines feed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.captions import draw_training_caption
from models.tiny.config import FLOW_SHIFT
from models.tiny.optimizer import MuonAdamW
from models.tiny.padding import PaddedAttention, padding_bias, training_attention
from models.tiny.training import Budget, Draws, Run, train
from models.tiny.untyped import TextEncoder, Tokenizer, Transformer

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from models.tiny.latents import Pool

NUM_TEXT_TOKENS = 26
"""Text tokens per caption in training; the longest template with noise words fits."""

PADDED_LENGTHS = (512, 512, 512, 226, 128, 64, NUM_TEXT_TOKENS)
"""Values of `max_sequence_length` to train for; 512 is the pipelines' default."""

IMAGE_SHARE = 0.4
"""Share of image-to-video samples."""

UNIFORM_SHARE = 0.5
"""Share of noise levels drawn uniformly; the rest gather in the middle."""

FIRST_FRAME_WEIGHT = 2.5
"""Weight of the first latent frame in text-to-video: alone it has no neighbour to lean on."""


@dataclass(frozen=True)
class TransformerSettings:
    """Seed, batch size, peak learning rates and averaging."""

    seed: int = 0
    batch_size: int = 64
    matrix_rate: float = 3e-3
    other_rate: float = 2e-3
    average_decay: float = 0.995


@dataclass(frozen=True)
class Parts:
    """The parts of the pipeline that train together; the tokenizer is fixed."""

    transformer: Transformer
    text_encoder: TextEncoder
    tokenizer: Tokenizer


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
    """Trains both models in place and leaves the averaged weights in them.

    Args:
        parts: What is trained, float32 on the CPU.
        pool: Normalised latents with their combinations.
        state: File to resume from and save to; weights go to `transformer` and `text_encoder`
            beside it.
        budget: How long to train.
        settings: Seed, batch size and rates.
    """
    named = list(parts.transformer.named_parameters())
    matrices = [each for name, each in named if each.ndim > 1 and name.startswith("blocks.")]
    taken = {id(each) for each in matrices}
    everything = [each for _, each in named] + list(parts.text_encoder.parameters())
    others = [each for each in everything if id(each) not in taken]
    optimizer = MuonAdamW(
        matrices, others, settings.matrix_rate, settings.other_rate, betas=(0.9, 0.98)
    )
    run = Run(everything, optimizer, state, settings.average_decay)

    def save_weights() -> str:
        parts.transformer.save_pretrained(state.parent / "transformer")
        parts.text_encoder.save_pretrained(state.parent / "text_encoder")
        return "weights=averaged"

    with training_attention(parts.transformer) as attention:

        def loss_at(draws: Draws, _done: float) -> Tensor:
            rows = torch.randint(
                len(pool.combinations), (settings.batch_size,), generator=draws.generator
            )
            words = [pool.combinations[row] for row in rows.tolist()]
            captions = [draw_training_caption(each, draws.rng) for each in words]
            text = _embed(captions, parts, attention, draws)
            return _loss(parts.transformer, draw_sample(pool.latents[rows], draws), text)

        train(run, budget, settings.seed, loss_at, save_weights)
    run.use_average()


def draw_sample(latents: Tensor, draws: Draws) -> Sample:
    """Noises a batch of clean latents along the flow from data (0) to noise (1).

    Args:
        latents: float32 `[N, 24, T, H, W]`, normalised.
        draws: Randomness of the step.

    Returns:
        The batch; about 40 % of the clips keep a clean first latent frame at timestep 0.
    """
    num_clips = latents.shape[0]
    sigma = draw_sigmas(num_clips, draws).view(-1, 1, 1, 1, 1)
    noise = draws.normal(latents)
    is_image = (draws.uniform(num_clips) < IMAGE_SHARE).view(-1, 1, 1, 1)
    is_free = torch.ones_like(latents[:, :1])
    is_free[:, :, 0] = torch.where(is_image, 0.0, 1.0)
    noised = torch.lerp(latents, noise, sigma * is_free)
    # One timestep per token: the pipelines thin the mask by the patch size.
    timesteps = is_free[:, 0, :, ::2, ::2] * (sigma * 1000).round()[:, 0]
    weight = is_free.clone()
    weight[:, :, 0] *= FIRST_FRAME_WEIGHT
    return Sample(noised, timesteps.flatten(1), noise - latents, weight)


def draw_sigmas(num_values: int, draws: Draws) -> Tensor:
    """Draws noise levels, half of them uniform and half logit-normal, both shifted as at inference.

    Returns:
        float32 `[num_values]` in 0.001..1.
    """
    uniform = draws.uniform(num_values)
    bell = torch.sigmoid(draws.normal(uniform))
    level = torch.where(draws.uniform(num_values) < UNIFORM_SHARE, uniform, bell)
    return (FLOW_SHIFT * level / (1 + (FLOW_SHIFT - 1) * level)).clamp(1e-3, 1)


def _embed(captions: list[str], parts: Parts, attention: PaddedAttention, draws: Draws) -> Tensor:
    """Embeds captions as the pipelines do and sets the bias for a random padded length."""
    tokens = parts.tokenizer(
        captions,
        padding="max_length",
        max_length=NUM_TEXT_TOKENS,
        truncation=True,
        return_tensors="pt",
    )
    mask = tokens.attention_mask
    lengths = torch.tensor(draws.rng.choices(PADDED_LENGTHS, k=len(captions)))
    attention.bias = padding_bias(mask, lengths)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        embedded = parts.text_encoder(input_ids=tokens.input_ids, attention_mask=mask)
    hidden: Tensor = embedded.last_hidden_state * mask.unsqueeze(-1)
    return hidden


def _loss(transformer: Transformer, sample: Sample, text: Tensor) -> Tensor:
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (predicted,) = transformer(
            hidden_states=sample.noised,
            timestep=sample.timesteps,
            encoder_hidden_states=text,
            return_dict=False,
        )
    error: Tensor = (predicted.float() - sample.target).square() * sample.weight
    return (error.mean((1, 2, 3, 4)) / sample.weight.mean((1, 2, 3, 4))).mean()
