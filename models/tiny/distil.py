"""Distils the sampler: a student that takes four steps without guidance.

For each of the four steps the teacher takes several smaller ones with guidance, and the student
learns the straight line between its ends: progressive distillation (Salimans and Ho, 2022,
arXiv:2202.00512) with guidance folded in (Meng et al., 2023, arXiv:2210.03142), in one round.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.config import NUM_FAST_STEPS, build_fast_scheduler
from models.tiny.optimizer import MuonAdamW
from models.tiny.padding import PaddedAttention, training_attention
from models.tiny.train_transformer import (
    IMAGE_SHARE,
    Batch,
    Parts,
    compile_blocks,
    draw_batch,
    mark_free,
    predict,
    split_parameters,
    spread_timesteps,
    tell,
    weigh_things,
    weighted_error,
)
from models.tiny.training import Budget, Draws, Run, train

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from torch import Tensor

    from models.tiny.latents import Pool
    from models.tiny.untyped import Transformer


@dataclass(frozen=True)
class DistilSettings:
    """Seed, video tokens in a batch, peak learning rates, and how the teacher samples.

    `is_compiled` is as that of `TransformerSettings`.
    """

    seed: int = 0
    num_tokens: int = 1280
    matrix_rate: float = 1e-3
    other_rate: float = 5e-4
    average_decay: float = 0.995
    guidance_scale: float = 2.5
    num_substeps: int = 3
    is_compiled: bool = False


@dataclass(frozen=True)
class _Told:
    """Text embeddings with the attention bias of their padding."""

    text: Tensor
    bias: Tensor | None


@dataclass(frozen=True)
class Leg:
    """The way of each clip through one of the four steps.

    `start` is `[N, 24, T, H, W]`, `sigma` and `next_sigma` `[N]`, `is_free` as of `mark_free`.
    """

    start: Tensor
    sigma: Tensor
    next_sigma: Tensor
    is_free: Tensor


def distil(
    teacher: Parts,
    student: Transformer,
    pool: Pool,
    *,
    state: Path,
    budget: Budget,
    settings: DistilSettings,
) -> None:
    """Trains a student in place and leaves the averaged weights in it.

    Args:
        teacher: The trained model; it stays as it is, and so does the text encoder.
        student: Starts as a copy of the teacher's transformer.
        pool: Normalised latents with their combinations.
        state: File to resume from and save to; weights go to `fast/transformer` beside it.
        budget: How long to train.
        settings: Seed, batch size, rates and guidance.
    """
    teacher.transformer.requires_grad_(requires_grad=False)
    teacher.text_encoder.requires_grad_(requires_grad=False)
    matrices, others = split_parameters(student)
    optimizer = MuonAdamW(
        matrices, others, settings.matrix_rate, settings.other_rate, betas=(0.9, 0.98)
    )
    run = Run(list(student.parameters()), optimizer, state, settings.average_decay)
    if settings.is_compiled:
        compile_blocks(teacher.transformer)
        compile_blocks(student)

    def save_weights() -> str:
        student.save_pretrained(state.parent / "fast" / "transformer")
        return "weights=averaged"

    with training_attention(teacher.transformer) as attention, training_attention(student) as own:

        def loss_at(draws: Draws, _done: float) -> Tensor:
            batch = draw_batch(pool, settings.num_tokens, draws)
            leg = draw_leg(batch, draws)
            untold = _tell(teacher, [""] * len(batch.captions), attention, draws)
            told = _tell(teacher, batch.captions, attention, draws)

            def guided(here: Tensor, sigma: Tensor) -> Tensor:
                timesteps = spread_timesteps(sigma, leg.is_free)
                plain, led = (
                    _listen(teacher, here, timesteps, each, attention) for each in (untold, told)
                )
                return torch.lerp(plain, led, settings.guidance_scale)

            straight = walk(leg, guided, settings.num_substeps)
            own.bias = told.bias
            timesteps = spread_timesteps(leg.sigma, leg.is_free)
            predicted = predict(student, leg.start, timesteps, told.text)
            return weighted_error(predicted, straight, leg.is_free * weigh_things(batch.covers))

        train(run, budget, settings.seed, loss_at, save_weights)
    run.use_average()


def step_sigmas() -> Tensor:
    """Returns the noise levels of the distilled sampler, from 1 down to 0; one more than steps."""
    scheduler = build_fast_scheduler()
    scheduler.set_timesteps(NUM_FAST_STEPS)
    sigmas: Tensor = scheduler.sigmas
    return sigmas.to(torch.get_default_device())


def draw_leg(batch: Batch, draws: Draws) -> Leg:
    """Draws which of the four steps each clip is at, and noises it accordingly."""
    num_clips = len(batch.latents)
    levels = step_sigmas()
    number = draws.integers(NUM_FAST_STEPS, num_clips)
    is_image = batch.is_picture | (draws.uniform(num_clips) < IMAGE_SHARE)
    is_free = mark_free(batch.latents, is_image)
    noise = draws.normal(batch.latents)
    start = torch.lerp(batch.latents, noise, _wide(levels[number]) * is_free)
    return Leg(start, levels[number], levels[number + 1], is_free)


def _tell(teacher: Parts, captions: list[str], attention: PaddedAttention, draws: Draws) -> _Told:
    text = tell(captions, teacher, attention, draws)
    return _Told(text, attention.bias)


def _listen(
    teacher: Parts, here: Tensor, timesteps: Tensor, told: _Told, attention: PaddedAttention
) -> Tensor:
    """Returns the teacher's velocity for one of its two texts."""
    attention.bias = told.bias
    return predict(teacher.transformer, here, timesteps, told.text)


@torch.no_grad()
def walk(leg: Leg, velocity_at: Callable[[Tensor, Tensor], Tensor], num_substeps: int) -> Tensor:
    """Goes along a leg in small steps: Euler's first, then Adams and Bashforth's of two velocities.

    Args:
        leg: Where it starts and ends.
        velocity_at: Returns the velocity at latents `[N, 24, T, H, W]` and noise levels `[N]`.
        num_substeps: Number of steps.

    Returns:
        The mean velocity: one step with it leads to the same end.
    """
    here, before = leg.start, None
    size = (leg.sigma - leg.next_sigma) / num_substeps
    for number in range(num_substeps):
        velocity = velocity_at(here, leg.sigma - number * size)
        ahead = velocity if before is None else 1.5 * velocity - 0.5 * before
        here, before = here - _wide(size) * ahead * leg.is_free, velocity
    return (leg.start - here) / _wide(leg.sigma - leg.next_sigma)


def _wide(values: Tensor) -> Tensor:
    return values.view(-1, 1, 1, 1, 1)
