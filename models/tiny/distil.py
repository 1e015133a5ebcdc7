"""Distils the sampler: a student that takes four steps without guidance.

For each of the four steps the teacher takes several smaller ones with guidance, and the student
learns the straight line between its ends: progressive distillation (Salimans and Ho, 2022,
arXiv:2202.00512) with guidance folded in (Meng et al., 2023, arXiv:2210.03142), in one round. A
step starts where the steps of the student itself lead from noise, so it learns to mend what they
left undone (Ross et al., 2011, arXiv:1011.0686).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from models.tiny.config import NUM_FAST_BLOCKS, NUM_FAST_STEPS, build_fast_scheduler
from models.tiny.optimizer import MuonAdamW
from models.tiny.padding import PaddedAttention, training_attention
from models.tiny.thin import thin_transformer
from models.tiny.train_transformer import (
    IMAGE_SHARE,
    Parts,
    compile_blocks,
    draw_batch,
    draw_sample,
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
    from models.tiny.train_transformer import Batch
    from models.tiny.untyped import Transformer


@dataclass(frozen=True)
class DistilSettings:
    """Seed, video tokens in a batch, peak learning rates, and how the teacher samples.

    `num_blocks` is how many of the teacher's blocks a student begins with; `is_compiled` is as that
    of `TransformerSettings`.
    """

    seed: int = 0
    num_tokens: int = 1280
    matrix_rate: float = 1.5e-3
    other_rate: float = 7.5e-4
    average_decay: float = 0.995
    guidance_scale: float = 2.5
    num_substeps: int = 3
    num_blocks: int = NUM_FAST_BLOCKS
    is_compiled: bool = False


@dataclass(frozen=True)
class Leg:
    """The way of each clip through one of the four steps.

    `start` is `[N, 24, T, H, W]`, `sigma` and `next_sigma` `[N]`, `is_free` as of `mark_free`.
    """

    start: Tensor
    sigma: Tensor
    next_sigma: Tensor
    is_free: Tensor


@dataclass(frozen=True)
class _Told:
    """A transformer with the texts of a batch, and the attention bias of their padding."""

    transformer: Transformer
    attention: PaddedAttention
    text: Tensor
    bias: Tensor
    is_free: Tensor

    def velocity(self, here: Tensor, sigma: Tensor, rows: Tensor | slice = slice(None)) -> Tensor:
        """Returns the velocity at latents `[n, 24, T, H, W]` and noise levels `[n]` of `rows`."""
        self.attention.bias = self.bias[rows]
        timesteps = spread_timesteps(sigma, self.is_free[rows])
        return predict(self.transformer, here, timesteps, self.text[rows])


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
        student: What `start_student` returned.
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
            is_free = draw_free(batch, draws)
            untold = tell([""] * len(batch.captions), teacher, draws)
            told = tell(batch.captions, teacher, draws)
            unled = _Told(teacher.transformer, attention, *untold, is_free)
            led = _Told(teacher.transformer, attention, *told, is_free)
            learner = _Told(student, own, *told, is_free)

            def guided(here: Tensor, sigma: Tensor) -> Tensor:
                plain = unled.velocity(here, sigma)
                return torch.lerp(plain, led.velocity(here, sigma), settings.guidance_scale)

            leg = draw_leg(batch.latents, is_free, learner.velocity, draws)
            straight = walk(leg, guided, settings.num_substeps)
            predicted = learner.velocity(leg.start, leg.sigma)
            # Covers are of the pool's clip: right where its first frame is given, else chance.
            return weighted_error(predicted, straight, is_free * weigh_things(batch.covers))

        train(run, budget, settings.seed, loss_at, save_weights)
    run.use_average()


def start_student(teacher: Parts, pool: Pool, settings: DistilSettings) -> Transformer:
    """Returns what of the teacher's transformer the student begins with: the blocks that do most.

    Args:
        teacher: The trained model; it stays as it is.
        pool: What its transformer is tried on.
        settings: Seed, batch size and number of blocks.
    """
    draws = Draws(settings.seed, step=0)
    batch = draw_batch(pool, settings.num_tokens, draws)
    text, bias = tell(batch.captions, teacher, draws)
    sample = draw_sample(batch, draws)

    def predict_sample(transformer: Transformer) -> Tensor:
        with training_attention(transformer) as attention:
            attention.bias = bias
            return predict(transformer, sample.noised, sample.timesteps, text)

    return thin_transformer(teacher.transformer, settings.num_blocks, predict_sample)


def step_sigmas() -> Tensor:
    """Returns the noise levels of the distilled sampler, from 1 down to 0; one more than steps."""
    scheduler = build_fast_scheduler()
    scheduler.set_timesteps(NUM_FAST_STEPS)
    sigmas: Tensor = scheduler.sigmas
    return sigmas.to(torch.get_default_device())


def draw_free(batch: Batch, draws: Draws) -> Tensor:
    """Draws which clips begin with a given first frame; returns what `mark_free` does."""
    is_image = batch.is_picture | (draws.uniform(len(batch.latents)) < IMAGE_SHARE)
    return mark_free(batch.latents, is_image)


@torch.no_grad()
def draw_leg(
    latents: Tensor,
    is_free: Tensor,
    velocity_at: Callable[[Tensor, Tensor, Tensor], Tensor],
    draws: Draws,
) -> Leg:
    """Draws which of the four steps each clip is at, and takes it there from noise.

    Args:
        latents: `[N, 24, T, H, W]`, normalised; only the given frames are looked at.
        is_free: What `mark_free` returned.
        velocity_at: Returns the student's velocity at latents and noise levels of some rows of the
            batch, `[n]` int64.
        draws: Randomness of the step.
    """
    levels = step_sigmas()
    number = draws.integers(NUM_FAST_STEPS, len(latents))
    here = torch.lerp(latents, draws.normal(latents), is_free)
    for step in range(NUM_FAST_STEPS - 1):
        (rows,) = torch.where(number > step)
        if len(rows):
            velocity = velocity_at(here[rows], levels[step].expand(len(rows)), rows)
            here[rows] -= (levels[step] - levels[step + 1]) * velocity * is_free[rows]
    return Leg(here, levels[number], levels[number + 1], is_free)


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
