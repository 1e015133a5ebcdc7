"""A clip at half its size, then refined at full size: what each pass is given, what is refused."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2LatentUpsamplePipeline
from diffusers.pipelines.ltx2 import LTX2LatentUpsamplerModel
from diffusers.pipelines.ltx2.utils import STAGE_2_DISTILLED_SIGMA_VALUES
from pydantic import ValidationError

from models.adapters.family import DiffusersAdapter
from models.adapters.ltx2_passes import enlarge
from models.card import ModelCard
from models.modes import Mode
from models.pipeline import LoadFailed
from models.registry import create_pipeline
from models.spec import Kind, Stage, VideoSpec
from tests.support.checkpoints import ltx2
from tests.support.renderers import (
    MODELS,
    StoppedError,
    Watcher,
    largest_difference,
    save_lora,
    save_picture,
    video,
)

[MODEL] = [model for model in MODELS if model.name == "ltx2-two-passes"]
SECOND = {"sigmas": STAGE_2_DISTILLED_SIGMA_VALUES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LTX-2 with its upsampler."""
    made = tmp_path_factory.mktemp("ltx2")
    ltx2.save(made)
    return made


def loaded(folder: Path, **changes: object) -> tuple[DiffusersAdapter, ModelCard]:
    card = MODEL.card(folder, **changes)
    renderer = create_pipeline(card)
    assert isinstance(renderer, DiffusersAdapter)
    renderer.load(card, "cpu")
    return renderer, card


def text(card: ModelCard, **changes: object) -> VideoSpec:
    """A spec of `card` without pictures."""
    plain = {"kind": Kind.TEXT_TO_VIDEO, "image": None, "last_image": None}
    return MODEL.spec(card, Path(), **plain | changes)


def calls_of(renderer: DiffusersAdapter, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The arguments of every call of the pipeline from now on, with its schedule beside them."""
    seen: list[dict[str, Any]] = []
    kind = type(renderer.pipelines[Kind.TEXT_TO_VIDEO])
    call = kind.__call__

    def watched(pipe: Any, **arguments: Any) -> Any:
        made = call(pipe, **arguments)
        seen.append({**arguments, "walked": pipe.scheduler.sigmas.tolist(), "made": made})
        return made

    monkeypatch.setattr(kind, "__call__", watched)
    return seen


def test_the_second_pass_begins_with_what_the_first_made_enlarged(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer, card = loaded(folder)
    calls = calls_of(renderer, monkeypatch)
    own = renderer.pipelines[Kind.TEXT_TO_VIDEO].scheduler
    renderer.generate([text(card)], Watcher())
    first, second = calls
    assert (first["width"], first["height"]) == (64, 64)
    assert (second["width"], second["height"]) == (128, 128)
    assert first["made"].frames.shape[2:] == (3, 2, 2)
    assert second["made"].frames.shape[2:] == (3, 4, 4)
    upsample = LTX2LatentUpsamplePipeline(
        vae=renderer.pipelines[Kind.TEXT_TO_VIDEO].vae,
        latent_upsampler=ltx2_upsampler(folder),
    )
    stock = upsample(latents=first["made"].frames, output_type="latent", return_dict=False)[0]
    assert torch.equal(second["latents"], stock)
    assert torch.equal(second["audio_latents"], first["made"].audio)
    assert second["walked"] == pytest.approx([*STAGE_2_DISTILLED_SIGMA_VALUES, 0.0])
    assert second["noise_scale"] == STAGE_2_DISTILLED_SIGMA_VALUES[0]
    assert (first["guidance_scale"], second["guidance_scale"]) == (3.0, 1.0)
    assert renderer.pipelines[Kind.TEXT_TO_VIDEO].scheduler is own
    assert second["generator"] == first["generator"], "new noise, not that of the first pass again"


def ltx2_upsampler(folder: Path) -> Any:
    """The network itself."""
    return LTX2LatentUpsamplerModel.from_pretrained(folder / "latent_upsampler")


def test_both_passes_count_and_either_can_be_canceled(folder: Path) -> None:
    renderer, card = loaded(folder)
    [expected] = renderer.generate([text(card)], Watcher())
    frames = video(expected)
    steps = [(done, 9) for done in range(10)]
    for stop_at in (2, 7):
        watcher = Watcher(stop_at=stop_at)
        with pytest.raises(StoppedError):
            renderer.generate([text(card, seed=1)], watcher)
        counts = [step[1:] for step in watcher.steps if step[0] is Stage.DENOISING]
        assert counts == steps[: stop_at + 1]
        [again] = renderer.generate([text(card)], Watcher())
        assert np.array_equal(video(again), frames)


def test_given_frames_are_given_to_both_passes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renderer, card = loaded(folder)
    picture = save_picture(tmp_path / "red.png", (250, 60, 30))
    kind = type(renderer.pipelines[Kind.IMAGE_TO_VIDEO])
    call, given = kind.__call__, []

    def watched(pipe: Any, **arguments: Any) -> Any:
        given.append((arguments["height"], len(arguments["conditions"])))
        return call(pipe, **arguments)

    monkeypatch.setattr(kind, "__call__", watched)
    renderer.generate([MODEL.spec(card, picture)], Watcher())
    assert given == [(64, 2), (128, 2)]


def test_the_clip_and_its_sound_are_those_of_no_single_pass(folder: Path) -> None:
    modes: dict[str, object] = {"standard": 6, "refined": MODEL.mode(6)}
    renderer, card = loaded(folder, modes=modes)
    one, two = (
        renderer.generate([text(card, mode=mode, generate_audio=True)], Watcher())[0]
        for mode in modes
    )
    assert largest_difference(video(one), video(two)) > 3
    assert one.audio is not None
    assert two.audio is not None
    assert one.audio.samples.shape == two.audio.samples.shape
    assert np.abs(one.audio.samples - two.audio.samples).max() > 0


def test_a_lora_of_the_second_pass_is_off_in_the_first(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = save_lora(folder, loaded(folder)[0])
    with_lora = {"num_inference_steps": 6, "second_pass": {**SECOND, "lora": file}}
    modes = {"standard": MODEL.mode(6), "tuned": with_lora}
    renderer, card = loaded(folder, modes=modes)
    calls = calls_of(renderer, monkeypatch)
    plain, tuned, again = (
        video(renderer.generate([text(card, mode=mode)], Watcher())[0])
        for mode in ("standard", "tuned", "standard")
    )
    firsts = [call["made"].frames for call in calls[::2]]
    assert torch.equal(firsts[0], firsts[1])
    assert largest_difference(plain, tuned) > 0
    assert np.array_equal(plain, again)


def test_the_upsampler_counts_as_memory(folder: Path) -> None:
    with_it, _ = loaded(folder)
    without, _ = loaded(folder, modes={"standard": 6})
    own = sum(part.nbytes for part in ltx2_upsampler(folder).state_dict().values())
    assert with_it.memory_bytes == without.memory_bytes + own
    assert own > 0


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sizes": ["96x128"]}, "mode .*: second_pass: half of 96x128 is no multiple of 32"),
        (
            {
                "modes": {
                    "fast": {
                        "num_inference_steps": 6,
                        "second_pass": {**SECOND, "lora": "a.safetensors"},
                    }
                }
            },
            "mode fast: lora a.safetensors is not in",
        ),
    ],
)
def test_a_card_that_cannot_be_made_in_two_passes_is_refused_by_its_mode(
    folder: Path, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(LoadFailed, match=problem):
        loaded(folder, **changes)


def test_other_families_have_no_second_pass(tmp_path: Path) -> None:
    for model in MODELS:
        if model.adapter == MODEL.adapter:
            continue
        model.save(tmp_path / model.name)
        card = model.card(tmp_path / model.name, modes={"fast": MODEL.mode(6)})
        with pytest.raises(LoadFailed, match="mode fast: second_pass cannot be given to this"):
            create_pipeline(card).load(card, "cpu")


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (shutil.rmtree, "is not in"),
        (lambda inner: ltx2.save_upsampler(inner, in_channels=16), "it enlarges 16 channels of"),
        (lambda inner: ltx2.save_upsampler(inner, rational_spatial_scale=1.5), "2 times as long"),
        (
            lambda inner: ltx2.save_upsampler(inner, temporal_upsample=True),
            "2 times as long and nothing else",
        ),
    ],
)
def test_an_upsampler_of_no_use_is_refused_by_its_mode(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], problem: str
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    spoil(broken / "latent_upsampler")
    with pytest.raises(LoadFailed, match=f"mode standard: upsampler latent_upsampler .*{problem}"):
        loaded(broken)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"second_pass": {"sigmas": [0.4, 0.9]}}, "sigmas must fall"),
        ({"second_pass": {"sigmas": [1.2, 0.9]}}, "sigmas must fall"),
        ({"second_pass": {"sigmas": []}}, "second_pass.sigmas"),
        ({"second_pass": {**SECOND, "upsampler": "../up"}}, "second_pass.upsampler"),
        (
            {"lora": "a.safetensors", "second_pass": {**SECOND, "lora": "b.safetensors"}},
            "lora works in both passes",
        ),
    ],
)
def test_a_second_pass_that_makes_no_sense_is_refused(
    changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        Mode.model_validate({"num_inference_steps": 4, **changes})


def test_enlarging_keeps_the_precision_of_what_it_is_given(folder: Path) -> None:
    upsampler = ltx2_upsampler(folder).to(torch.bfloat16)
    with torch.inference_mode():
        enlarged = enlarge(upsampler, torch.randn(1, ltx2.CHANNELS, 2, 2, 2))
    assert (enlarged.dtype, [*enlarged.shape]) == (torch.float32, [1, ltx2.CHANNELS, 2, 4, 4])
