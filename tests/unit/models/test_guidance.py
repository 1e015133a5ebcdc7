"""The two calls of guidance computed as one: what is saved, and that nothing else changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from PIL import Image

from models.adapters.guidance import GuidancePair, guidance_fused
from models.adapters.onednn import convolve_by_onednn
from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import StepCallback
from models.spec import Kind, VideoSpec
from tests.support.checkpoints.wan import save_ti2v

MakeSpec = Callable[..., VideoSpec]
MakeCard = Callable[..., ModelCard]
OPTIONS = {"max_sequence_length": 32, "threads": 1}

TOLD, UNTOLD = torch.full((2, 3), 10.0), torch.zeros(2, 3)
TIME = torch.ones(2)


class Denoiser:
    """Adds latents, text and time of every clip, and remembers the batch of every call."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def forward(
        self,
        hidden_states: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        *,
        return_dict: bool = False,
    ) -> tuple[torch.Tensor]:
        """As the pipelines call it."""
        assert not return_dict
        self.batches.append(len(hidden_states))
        return (hidden_states + encoder_hidden_states + timestep.unsqueeze(1),)


def ask(
    denoiser: Denoiser, latents: torch.Tensor, text: torch.Tensor, time: torch.Tensor = TIME
) -> torch.Tensor:
    return denoiser.forward(
        hidden_states=latents, timestep=time, encoder_hidden_states=text, return_dict=False
    )[0]


def test_from_the_second_step_on_one_call_answers_both() -> None:
    denoiser = Denoiser()
    with guidance_fused(denoiser):
        for step in range(4):
            latents = torch.full((2, 3), float(step))
            assert torch.equal(ask(denoiser, latents, TOLD), latents + 11)
            assert torch.equal(ask(denoiser, latents, UNTOLD), latents + 1)
    assert denoiser.batches == [2, 2, 4, 4, 4]
    ask(denoiser, TOLD, TOLD)
    assert denoiser.batches[-1] == 2, "outside the block nothing is fused"


def test_without_guidance_nothing_is_fused() -> None:
    denoiser = Denoiser()
    with guidance_fused(denoiser):
        for step in range(4):
            ask(denoiser, torch.full((2, 3), float(step)), TOLD)
    assert denoiser.batches == [2, 2, 2, 2]


def test_a_second_call_that_does_not_fit_is_computed_for_itself() -> None:
    denoiser = Denoiser()
    with guidance_fused(denoiser):
        for step in range(2):
            latents = torch.full((2, 3), float(step))
            ask(denoiser, latents, TOLD)
            ask(denoiser, latents, UNTOLD)
        latents, later = torch.zeros(2, 3), torch.full((2,), 7.0)
        ask(denoiser, latents, TOLD)
        assert torch.equal(ask(denoiser, latents, UNTOLD, later), latents + 7)
        other = torch.full((2, 3), 5.0)
        assert torch.equal(ask(denoiser, latents, other), latents + 6)


def test_texts_of_two_lengths_are_not_fused() -> None:
    pair = GuidancePair(lambda **inputs: (inputs["hidden_states"],))
    short, long = torch.zeros(2, 3), torch.zeros(2, 5)
    for _ in range(3):
        latents = torch.zeros(2, 3)
        for text in (short, long):
            (answer,) = pair(hidden_states=latents, encoder_hidden_states=text, return_dict=False)
            assert answer is latents


@pytest.mark.parametrize("kind", [Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO])
def test_frames_are_the_same_with_half_the_calls(
    make_card: MakeCard,
    make_spec: MakeSpec,
    ignore_steps: StepCallback,
    kind: Kind,
    tmp_path: Path,
) -> None:
    Image.new("RGB", (64, 96), (200, 50, 30)).save(tmp_path / "red.png")
    image = tmp_path / "red.png" if kind is Kind.IMAGE_TO_VIDEO else None
    spec = make_spec(kind=kind, image=image, num_inference_steps=5, negative_prompt="blur")
    videos, calls = [], []
    for fuse in (False, True):
        adapter = WanAdapter()
        adapter.load(make_card(options=OPTIONS | {"fuse_guidance": fuse}), "cpu")
        assert adapter._loaded is not None
        transformer = adapter._loaded.pipelines[kind].transformer
        batches: list[int] = []
        handle = transformer.blocks[0].register_forward_pre_hook(
            lambda _, inputs, batches=batches: batches.append(len(inputs[0]))
        )
        [clip] = adapter.generate([spec], ignore_steps)
        videos.append(np.stack(list(clip.frames)).astype(int))
        calls.append(batches)
        handle.remove()
    assert calls == [[1] * 10, [1, 1, 2, 2, 2, 2]]
    assert np.abs(videos[0] - videos[1]).max() <= 1


def test_one_small_clip_is_decoded_by_onednn(tmp_path: Path) -> None:
    save_ti2v(tmp_path)
    vae: Any = AutoencoderKLWan.from_pretrained(tmp_path / "vae").eval()
    latents = torch.randn(1, vae.config.z_dim, 2, 4, 4)
    with torch.inference_mode():
        plain = vae.decode(latents).sample
        convolve_by_onednn(vae)
        with torch.profiler.profile() as profile:
            again = vae.decode(latents).sample
    names = {event.key for event in profile.key_averages()}
    assert "aten::mkldnn_convolution" in names
    assert "aten::slow_conv3d_forward" not in names
    torch.testing.assert_close(again, plain, atol=1e-4, rtol=0)
    half = vae.to(torch.bfloat16).decode(latents.bfloat16()).sample
    assert half.dtype == torch.bfloat16, "other types go the usual way"
