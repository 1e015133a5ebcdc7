"""The distilled student learns one straight step for several small guided ones."""

from __future__ import annotations

import copy
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
import torch

from models.tiny.config import LATENT_CHANNELS, NUM_FAST_STEPS, build_fast_scheduler
from models.tiny.distil import (
    DistilSettings,
    Leg,
    distil,
    draw_free,
    draw_leg,
    start_student,
    step_sigmas,
    walk,
)
from models.tiny.train_transformer import Parts
from models.tiny.training import Draws
from tests.support.tiny import (
    BUDGET,
    SAVING_BUDGET,
    CutError,
    assert_same_weights,
    cut_after,
    small_batch,
    small_parts,
    small_pool,
)

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

# Stock norms keep float32 weights under autocast; torch remarks on it once a process.
pytestmark = pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")

SETTINGS = DistilSettings(num_tokens=60)


def shaken_parts() -> Parts:
    """Returns a teacher whose output depends on text and noise; an untrained one predicts zero."""
    parts = small_parts()
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for each in parts.transformer.parameters():
            each.add_(torch.randn(each.shape, generator=generator), alpha=0.1)
    return parts


def drawn_leg() -> tuple[Leg, Tensor]:
    """Draws legs for a velocity that is the place itself; returns them and the latents."""
    batch, draws = small_batch(), Draws(0, 1)
    is_free = draw_free(batch, draws)
    return draw_leg(batch.latents, is_free, lambda here, *_: here, draws), batch.latents


def test_a_resumed_distillation_ends_bit_equal_and_leaves_the_teacher_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = shaken_parts()
    before = copy.deepcopy(teacher)
    straight, cut, resumed = (copy.deepcopy(teacher.transformer) for _ in range(3))
    first, second = tmp_path / "a" / "distil.pt", tmp_path / "b" / "distil.pt"
    distil(teacher, straight, small_pool(), state=first, budget=BUDGET, settings=SETTINGS)
    with monkeypatch.context() as patch:
        cut_after(2, patch)
        with pytest.raises(CutError):
            distil(
                teacher, cut, small_pool(), state=second, budget=SAVING_BUDGET, settings=SETTINGS
            )
    distil(teacher, resumed, small_pool(), state=second, budget=BUDGET, settings=SETTINGS)
    assert_same_weights(straight, resumed)
    assert (straight.proj_out.weight - teacher.transformer.proj_out.weight).abs().max() > 0
    assert_same_weights(before.transformer, teacher.transformer)
    assert_same_weights(before.text_encoder, teacher.text_encoder)
    assert (tmp_path / "a" / "fast" / "transformer" / "config.json").exists()


def test_the_legs_are_the_steps_of_the_shipped_sampler() -> None:
    sigmas = step_sigmas()
    assert sigmas.tolist() == pytest.approx([1.0, 0.9, 0.75, 0.5, 0.0], abs=2e-3)
    leg, _ = drawn_leg()
    drawn = set(zip(leg.sigma.tolist(), leg.next_sigma.tolist(), strict=True))
    assert drawn == set(zip(sigmas[:-1].tolist(), sigmas[1:].tolist(), strict=True))


def test_the_sampler_takes_plain_steps_along_the_velocity() -> None:
    scheduler = build_fast_scheduler()
    scheduler.set_timesteps(NUM_FAST_STEPS)
    sampled = torch.randn(2, 3, generator=torch.Generator().manual_seed(7))
    plain = sampled.clone()
    sigmas = step_sigmas()
    for number, timestep in enumerate(scheduler.timesteps):
        assert timestep == pytest.approx(sigmas[number].item() * 1000, abs=1.01)
        plain = plain + (sigmas[number + 1] - sigmas[number]) * plain.sin()
        (sampled,) = scheduler.step(sampled.sin(), timestep, sampled, return_dict=False)
    torch.testing.assert_close(sampled, plain, atol=1e-5, rtol=0)


def test_a_leg_starts_where_the_steps_before_it_lead_and_keeps_given_frames() -> None:
    leg, latents = drawn_leg()
    sigmas = step_sigmas()
    is_first = leg.sigma > 0.999
    noise = leg.start[is_first] * leg.is_free[is_first]
    assert noise[:, :, 1:].std() == pytest.approx(1, abs=0.05)
    # Every step with this velocity shrinks what is not given by its length.
    shrunk = torch.ones_like(leg.sigma)
    for sigma, next_sigma in pairwise(sigmas):
        shrunk[leg.sigma < sigma] *= 1 - (sigma - next_sigma)
    stretched = leg.start / shrunk.view(-1, 1, 1, 1, 1)
    for number, (start, is_free) in enumerate(zip(stretched, leg.is_free, strict=True)):
        assert start[:, 1:].std() == pytest.approx(1, abs=0.1)
        if not is_free[:, 0].any():
            torch.testing.assert_close(leg.start[number, :, 0], latents[number, :, 0])
    is_image = leg.is_free[:, 0, 0, 0, 0] == 0
    assert 0 < is_image.sum() < len(is_image)


def test_pictures_always_begin_with_their_first_frame() -> None:
    batch = small_batch()
    is_free = draw_free(batch, Draws(0, 1))
    assert not is_free[batch.is_picture, :, 0].any()
    assert is_free[:, :, 1:].all()


def test_a_student_begins_with_blocks_of_the_teacher() -> None:
    teacher = shaken_parts()
    settings = replace(SETTINGS, num_blocks=1)
    student = start_student(teacher, small_pool(), settings)
    assert student.config.num_layers == len(student.blocks) == 1
    assert torch.equal(student.proj_out.weight, teacher.transformer.proj_out.weight)


def test_one_step_with_the_mean_velocity_ends_where_the_small_ones_do() -> None:
    """On a curved way: the velocity grows with the place, so the end is known exactly."""
    start = torch.randn(3, LATENT_CHANNELS, 2, 2, 2, generator=torch.Generator().manual_seed(6))
    is_free = torch.ones(3, 1, 2, 2, 2)
    is_free[0, :, 0] = 0
    sigma, next_sigma = torch.tensor([1.0, 0.9, 0.5]), torch.tensor([0.9, 0.5, 0.0])
    leg = Leg(start, sigma, next_sigma, is_free)
    seen: list[Tensor] = []

    def velocity(here: Tensor, sigmas: Tensor) -> Tensor:
        seen.append(sigmas)
        return here

    mean = walk(leg, velocity, num_substeps=2)
    size = (sigma - next_sigma).view(-1, 1, 1, 1, 1)
    half = size / 2
    end = torch.where(is_free > 0, start * ((1 - half) * (1 - 1.5 * half) + 0.5 * half), start)
    torch.testing.assert_close(start - size * mean, end)
    torch.testing.assert_close(torch.stack(seen), torch.stack([sigma, (sigma + next_sigma) / 2]))
