"""Weights of a mode alone: used for it and no other, counted, refused if they do not fit."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel

from models.adapters.common import weight_bytes
from models.adapters.wan import WanAdapter
from models.card import ModelCard
from models.pipeline import LoadFailed, StepCallback
from models.spec import VideoSpec
from tests.support.checkpoints.wan import save_ti2v

MakeSpec = Callable[..., VideoSpec]
MakeCard = Callable[..., ModelCard]
MODES = {"standard": 8, "fast": {"num_inference_steps": 4, "distilled": "fast"}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A checkpoint whose `fast` holds a copy of its transformer and no scheduler."""
    save_ti2v(tmp_path)
    shutil.copytree(tmp_path / "transformer", tmp_path / "fast" / "transformer")
    return tmp_path


def change(folder: Path, edit: Callable[[Any], None]) -> None:
    """Save the distilled transformer again after `edit`."""
    path = folder / "fast" / "transformer"
    transformer = WanTransformer3DModel.from_pretrained(path)
    with torch.no_grad():
        edit(transformer)
    transformer.save_pretrained(path)


def change_vae(folder: Path, edit: Callable[[Any], None]) -> AutoencoderKLWan:
    """Save the autoencoder after `edit` as that of the mode."""
    vae = AutoencoderKLWan.from_pretrained(folder / "vae")
    with torch.no_grad():
        edit(vae)
    vae.save_pretrained(folder / "fast" / "vae")
    return vae


def video(
    adapter: WanAdapter, spec: VideoSpec, ignore_steps: StepCallback
) -> npt.NDArray[np.int64]:
    [clip] = adapter.generate([spec], ignore_steps)
    return np.stack(list(clip.frames)).astype(int)


def test_a_copy_of_the_weights_changes_nothing_but_the_memory(
    folder: Path, make_card: MakeCard, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    adapter = WanAdapter()
    adapter.load(make_card(checkpoint=str(folder), modes={"standard": 8}), "cpu")
    plain_bytes = adapter.memory_bytes
    adapter = WanAdapter()
    adapter.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    [transformer] = adapter.transformers
    assert adapter.memory_bytes == plain_bytes + weight_bytes([transformer])
    standard, fast = (
        video(adapter, make_spec(mode=mode, num_inference_steps=4), ignore_steps)
        for mode in ("standard", "fast")
    )
    assert np.array_equal(standard, fast)


def test_weights_and_schedule_of_a_mode_are_used_for_it_alone(
    folder: Path, make_card: MakeCard, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    first = WanAdapter()
    first.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    usual = make_spec(mode="standard", num_inference_steps=4)
    before = video(first, usual, ignore_steps)
    change(folder, lambda model: model.proj_out.weight.mul_(1.5))
    weights = WanAdapter()
    weights.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    stock = UniPCMultistepScheduler.from_pretrained(folder / "scheduler")
    euler = UniPCMultistepScheduler.from_config(stock.config, solver_order=1)
    euler.save_pretrained(folder / "fast" / "scheduler")
    both = WanAdapter()
    both.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    fast = make_spec(mode="fast", num_inference_steps=4)
    one, other = (video(adapter, fast, ignore_steps) for adapter in (weights, both))
    assert np.abs(one - before).max() > 2
    assert np.abs(one - other).max() > 2
    assert np.array_equal(video(both, usual, ignore_steps), before)


def test_an_autoencoder_of_a_mode_decodes_its_clips_alone_and_whenever_they_are_read(
    folder: Path, make_card: MakeCard, make_spec: MakeSpec, ignore_steps: StepCallback
) -> None:
    usual, fast = (
        make_spec(mode=mode, num_inference_steps=4, num_frames=9) for mode in ("standard", "fast")
    )
    plain = WanAdapter()
    plain.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    plain_bytes = plain.memory_bytes
    before, expected = (video(plain, spec, ignore_steps) for spec in (usual, fast))
    vae = change_vae(folder, lambda vae: vae.decoder.conv_out.bias.add_(0.5))
    adapter = WanAdapter()
    adapter.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    assert adapter.memory_bytes == plain_bytes + weight_bytes([vae])
    [brighter] = adapter.generate([fast], ignore_steps)
    assert np.array_equal(video(adapter, usual, ignore_steps), before), "read later than made"
    difference = np.stack(list(brighter.frames)).astype(int) - expected
    assert np.median(difference[expected < 180]) == pytest.approx(64, abs=1)


def cut_off(model: Any) -> None:
    """Leave a layer out."""
    del model.proj_out


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: shutil.rmtree(folder / "fast"), "has no folder transformer"),
        (lambda folder: change(folder, cut_off), r"has no proj_out\.\w+ in its files, 2 are"),
        (
            lambda folder: WanTransformer3DModel(
                num_attention_heads=2, attention_head_dim=12, in_channels=8, num_layers=1
            ).save_pretrained(folder / "fast" / "transformer"),
            "is of another model: in_channels, out_channels, text_dim of its transformer differ",
        ),
        (
            lambda folder: change_vae(
                folder, lambda vae: vae.register_to_config(latents_std=[1.0] * vae.config.z_dim)
            ),
            "is of another model: latents_std of its vae differ",
        ),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    folder: Path, make_card: MakeCard, spoil: Callable[[Path], None], words: str
) -> None:
    spoil(folder)
    adapter = WanAdapter()
    with pytest.raises(LoadFailed, match=f"mode fast: distilled fast {words}"):
        adapter.load(make_card(checkpoint=str(folder), modes=MODES), "cpu")
    assert adapter.memory_bytes == 0


def test_there_is_no_room_for_two_where_one_waits_in_host_memory(
    folder: Path, make_card: MakeCard
) -> None:
    card = make_card(checkpoint=str(folder), modes=MODES, options={"offload": "group"})
    with pytest.raises(LoadFailed, match="distilled weights need all on the device"):
        WanAdapter().load(card, "cpu")
