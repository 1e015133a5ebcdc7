"""What only some families do: long clips in windows, tiles in time, distilled schedules."""

import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from diffusers.pipelines.ltx2.utils import DISTILLED_SIGMA_VALUES

from models.adapters import placement
from models.adapters.cogvideox import stream_decode
from models.adapters.family import DiffusersAdapter
from models.adapters.ltx2_decode import decode_in_time_tiles
from models.adapters.pixels import to_frames
from models.adapters.sampling import SkipMeter
from models.card import ModelCard, SpecError
from models.pipeline import LoadFailed
from models.registry import create_pipeline
from models.spec import Kind, Stage
from tests.support.renderers import (
    MODELS,
    Model,
    Watcher,
    largest_difference,
    save_lora,
    save_picture,
    video,
)
from workers.media.finish import finish_clip
from workers.media.label import build_label
from workers.selftest import run_self_test

Load = Callable[..., tuple[DiffusersAdapter, ModelCard]]
BY_NAME = {model.name: model for model in MODELS}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Model], Path]:
    """A checkpoint of every model that is asked for, built once."""
    built: dict[str, Path] = {}

    def folder_of(model: Model) -> Path:
        if model.name not in built:
            built[model.name] = tmp_path_factory.mktemp(model.name)
            model.save(built[model.name])
        return built[model.name]

    return folder_of


@pytest.fixture
def load(folders: Callable[[Model], Path]) -> Load:
    """A loaded renderer of a model, with changes to its card."""

    def load(name: str, **changes: object) -> tuple[DiffusersAdapter, ModelCard]:
        model = BY_NAME[name]
        card = model.card(folders(model), **changes)
        renderer = create_pipeline(card)
        assert isinstance(renderer, DiffusersAdapter)
        renderer.load(card, "cpu")
        return renderer, card

    return load


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Any."""
    return save_picture(tmp_path / "red.png", (250, 60, 30))


@pytest.mark.parametrize("num_frames", [13, 17, 21, 29])
def test_a_clip_longer_than_its_window_has_exactly_its_frames(
    load: Load, picture: Path, num_frames: int
) -> None:
    renderer, card = load("skyreels")
    watcher = Watcher()
    spec = BY_NAME["skyreels"].spec(
        card, picture, num_frames=num_frames, kind=Kind.TEXT_TO_VIDEO, image=None, last_image=None
    )
    clips = []
    for others in range(2):
        torch.manual_seed(others)
        clips.append(video(renderer.generate([spec], watcher)[0]))
    first, again = clips
    assert len(first) == num_frames
    assert np.array_equal(first, again), "nobody else's random numbers reach a window"
    counts = [(done, total) for stage, done, total in watcher.steps if stage is Stage.DENOISING]
    half = counts[: len(counts) // 2]
    assert half == [(done, half[0][1]) for done in range(half[0][1] + 1)]


def test_a_window_that_would_be_rounded_is_refused(load: Load) -> None:
    for options, message in (
        ({"base_num_frames": 10}, "base_num_frames must be a multiple of 4, plus 1"),
        ({"base_num_frames": 9, "overlap_history": 9}, "overlap_history must be below"),
    ):
        with pytest.raises(LoadFailed, match=message):
            load("skyreels", options=options)


def test_first_and_last_frame_are_both_needed_where_weights_were_made_for_both(
    load: Load, picture: Path
) -> None:
    model = BY_NAME["wan-flf"]
    renderer, card = load("wan-flf")
    watcher = Watcher()
    with pytest.raises(SpecError) as refusal:
        renderer.generate([model.spec(card, picture, last_image=None)], watcher)
    assert (refusal.value.param, watcher.steps) == ("last_image", [])
    run_self_test(renderer, card)


@pytest.mark.parametrize("name", ["wan-ti2v", "wan-i2v", "cogvideox-i2v", "hunyuan15-i2v"])
@pytest.mark.parametrize("param", ["last_image", "reference_images"])
def test_pictures_that_would_be_ignored_are_refused(
    load: Load, picture: Path, name: str, param: str
) -> None:
    renderer, card = load(name)
    given = (picture,) if param == "reference_images" else picture
    watcher = Watcher()
    with pytest.raises(SpecError) as refusal:
        renderer.generate([BY_NAME[name].spec(card, picture, **{param: given})], watcher)
    assert (refusal.value.param, watcher.steps) == (param, [])


@pytest.mark.parametrize(("scale", "passes"), [(0.0, 1), (1.0, 1), (3.0, 2), (8.0, 2)])
def test_guidance_of_a_job_reaches_the_component_that_guides(
    load: Load, picture: Path, scale: float, passes: int
) -> None:
    ranges = {"guidance_scale": {"min": 0.0, "max": 8.0, "default": 3.0}}
    renderer, card = load("hunyuan15-t2v", **ranges)
    pipe = renderer.pipelines[Kind.TEXT_TO_VIDEO]
    meter = SkipMeter()
    meter.watch(pipe.transformer)
    spec = BY_NAME["hunyuan15-t2v"].spec(card, picture, guidance_scale=scale)
    renderer.generate([spec], Watcher())
    assert meter.calls == passes * spec.num_inference_steps
    assert pipe.guider.guidance_scale == max(scale, 1.0)


def test_sizes_that_a_picture_would_change_are_refused(load: Load) -> None:
    with pytest.raises(LoadFailed, match="sizes: 48x32 would come out as"):
        load("hunyuan15-i2v", sizes=["48x32"])


def test_a_given_schedule_and_a_shift_change_the_clip(load: Load, picture: Path) -> None:
    sigmas = [1.0, 0.9, 0.6, 0.3]
    modes = {
        "standard": 4,
        "fast": {"num_inference_steps": 4, "guidance_scale": 1.0, "sigmas": sigmas},
        "unguided": {"num_inference_steps": 4, "guidance_scale": 1.0},
    }
    renderer, card = load("ltx2", modes=modes)
    clips = []
    for mode in modes:
        spec = BY_NAME["ltx2"].spec(card, picture, mode=mode, guidance_scale=card.guidance_of(mode))
        clips.append(video(renderer.generate([spec], Watcher())[0]))
    assert largest_difference(clips[0], clips[2]) > 0
    assert largest_difference(clips[1], clips[2]) > 0


@pytest.mark.parametrize("name", ["ltx2", "hunyuan15-t2v"])
def test_a_given_schedule_is_walked_as_it_is_given(load: Load, picture: Path, name: str) -> None:
    fast = {
        "num_inference_steps": len(DISTILLED_SIGMA_VALUES),
        "guidance_scale": 1.0,
        "sigmas": DISTILLED_SIGMA_VALUES,
    }
    steps = {"min": 2, "max": 8, "default": 4}
    renderer, card = load(name, modes={"standard": 4, "fast": fast}, num_inference_steps=steps)
    spec = BY_NAME[name].spec(card, picture, mode="fast", guidance_scale=1.0, num_inference_steps=8)
    pipe = renderer.pipelines[spec.kind]
    own, walked = pipe.scheduler, []

    def look(stage: Stage, done: int, _total: int, previews: object = ()) -> None:
        del previews
        if stage is Stage.DENOISING and done:
            walked.append(pipe.scheduler.sigmas.tolist())

    renderer.generate([spec], look)
    assert walked == [pytest.approx([*DISTILLED_SIGMA_VALUES, 0.0])] * 8
    assert pipe.scheduler is own, "the next mode has its own again"


def test_steps_that_the_scheduler_would_divide_by_zero_for_are_refused(load: Load) -> None:
    with pytest.raises(LoadFailed, match="num_inference_steps: min must be 2 or more"):
        load("ltx2", num_inference_steps={"min": 1, "max": 8, "default": 6})


def test_a_shift_lasts_no_longer_than_its_mode(load: Load, picture: Path) -> None:
    modes = {"standard": 4, "shifted": {"num_inference_steps": 4, "flow_shift": 12.0}}
    renderer, card = load("wan-t2v", modes=modes)
    plain, shifted, again = (
        video(renderer.generate([BY_NAME["wan-t2v"].spec(card, picture, mode=mode)], Watcher())[0])
        for mode in ("standard", "shifted", "standard")
    )
    assert largest_difference(plain, shifted) > 0
    assert np.array_equal(plain, again)


@pytest.mark.parametrize(
    ("name", "mode", "problem"),
    [
        ("wan-t2v", {"sigmas": [1.0, 0.5]}, "sigmas cannot be given"),
        ("ltx2", {"cache": {"kind": "first_block"}}, "cache first_block skips nothing"),
        ("skyreels", {"cache": {"kind": "first_block"}}, "cache first_block skips nothing"),
        ("cogvideox-t2v", {"flow_shift": 3.0}, "flow_shift cannot be given"),
    ],
)
def test_a_mode_that_its_family_would_ignore_is_refused(
    load: Load, name: str, mode: dict[str, object], problem: str
) -> None:
    with pytest.raises(LoadFailed, match=f"mode fast: {problem}"):
        load(name, modes={"fast": {"num_inference_steps": 2, **mode}})


def test_what_waits_in_host_memory_takes_no_room_on_the_device(load: Load) -> None:
    whole, by_model, by_group = (
        load("wan-t2v", options={"offload": offload})[0].memory_bytes
        for offload in ("none", "model", "group")
    )
    assert 0 < by_group < by_model < whole


@pytest.mark.parametrize(
    ("offload", "share", "remedy"),
    [
        ("none", 0.99, "let option offload be auto"),
        ("model", 0.5, "let option offload be auto"),
        ("auto", 0.001, "free some of it"),
    ],
)
def test_a_device_with_too_little_room_is_named_with_both_figures(
    load: Load, monkeypatch: pytest.MonkeyPatch, offload: str, share: float, remedy: str
) -> None:
    whole = load("wan-t2v")[0].memory_bytes
    free = int(whole * share)
    monkeypatch.setattr(placement, "find_room", lambda *_: free)
    with pytest.raises(LoadFailed, match=remedy) as failure:
        load("wan-t2v", options={"offload": offload})
    [(needed, said_free)] = re.findall(
        r"need (\d+) bytes on cpu, (\d+) are free", str(failure.value)
    )
    assert int(said_free) == free < int(needed) <= whole


def test_weights_that_fit_into_what_is_free_are_loaded(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = load("wan-t2v")[0].memory_bytes
    monkeypatch.setattr(placement, "find_room", lambda *_: whole)
    assert load("wan-t2v", options={"offload": "none"})[0].memory_bytes == whole
    assert 0 < load("wan-t2v")[0].memory_bytes < whole, "auto leaves room to work"


def test_each_expert_has_a_lora_of_its_own(
    folders: Callable[[Model], Path], load: Load, picture: Path
) -> None:
    model = BY_NAME["wan-experts"]
    renderer, _ = load("wan-experts")
    file = save_lora(folders(model), renderer)
    modes: dict[str, object] = {"standard": 4}
    modes |= {name: {"num_inference_steps": 4, name: file} for name in ("lora", "lora_2")}
    renderer, card = load("wan-experts", modes=modes)
    plain, first, second = (
        video(renderer.generate([model.spec(card, picture, mode=mode)], Watcher())[0])
        for mode in modes
    )
    assert largest_difference(plain, first) > 0
    assert largest_difference(plain, second) > 0
    assert largest_difference(first, second) > 0
    with pytest.raises(LoadFailed, match=r"mode fast: lora .* is for a transformer_2"):
        load("wan-t2v", modes={"fast": {"num_inference_steps": 4, "lora_2": file}})


def test_two_lora_files_are_not_taken_for_one(folders: Callable[[Model], Path], load: Load) -> None:
    folder = folders(BY_NAME["wan-ti2v"])
    file = save_lora(folder, load("wan-ti2v")[0])
    (folder / "a").mkdir()
    (folder / file).rename(folder / "a" / "b.safetensors")
    modes = {
        name: {"num_inference_steps": 4, "lora": name}
        for name in ("a/b.safetensors", "a_b.safetensors")
    }
    with pytest.raises(LoadFailed, match=r"a_b\.safetensors is not in"):
        load("wan-ti2v", modes=modes)


@pytest.mark.parametrize(("of", "to"), [("ltx2", "wan-t2v"), ("wan-t2v", "cogvideox-t2v")])
def test_a_lora_of_another_family_is_refused_by_its_mode(
    folders: Callable[[Model], Path], load: Load, of: str, to: str
) -> None:
    file = save_lora(folders(BY_NAME[to]), load(of)[0])
    with pytest.raises(LoadFailed, match=f"mode fast: lora {file} does not fit these weights"):
        load(to, modes={"fast": {"num_inference_steps": 4, "lora": file}})


def test_the_file_of_a_clip_with_sound_has_a_track_of_its_length(
    load: Load, picture: Path, tmp_path: Path
) -> None:
    renderer, card = load("ltx2")
    spec = BY_NAME["ltx2"].spec(card, picture, generate_audio=True)
    [clip] = renderer.generate([spec], Watcher())
    label = build_label("Reelgate", "a-job")
    finished = finish_clip(clip, tmp_path, num_frames=spec.num_frames, label=label)
    with av.open(str(finished.video.path)) as container:
        [track] = container.streams.audio
        assert track.codec_context.name == "aac"
        assert track.duration is not None
        assert track.time_base is not None
        heard_s = float(track.duration * track.time_base)
        assert heard_s == pytest.approx(spec.num_frames / spec.fps, abs=0.001)


@pytest.mark.parametrize("frames", [2, 3, 4, 7])
def test_tiles_in_time_are_those_of_the_stock_decoder(load: Load, frames: int) -> None:
    renderer, _ = load("ltx2")
    vae = renderer.pipelines[Kind.TEXT_TO_VIDEO].vae
    latents = torch.randn(1, 8, frames, 2, 2, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        stock = vae._temporal_tiled_decode(latents, None, return_dict=False)[0]
    levels = stock.clamp(-1, 1).mul(127.5).add(127.5).round()
    expected = levels.to(torch.uint8)[0].permute(1, 2, 3, 0).numpy()
    ours = np.stack([*decode_in_time_tiles(vae, latents, Watcher())])
    assert np.array_equal(ours, expected)


@pytest.mark.parametrize("frames", [1, 2, 3, 5])
def test_parts_of_a_clip_are_decoded_as_the_stock_decoder_does_it(load: Load, frames: int) -> None:
    renderer, _ = load("cogvideox-t2v")
    pipe = renderer.pipelines[Kind.TEXT_TO_VIDEO]
    latents = torch.randn(1, 4, frames, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        stock = pipe.vae.decode(latents / pipe.vae_scaling_factor_image).sample
    watcher = Watcher()
    ours = np.stack([*stream_decode(pipe.vae, latents, watcher)])
    assert np.array_equal(ours, to_frames(stock)[0])
    assert watcher.steps[-1][1:] == (max(frames // 2, 1), max(frames // 2, 1))


@pytest.mark.parametrize("name", ["ltx2", "cogvideox-t2v", "hunyuan15-t2v", "skyreels"])
def test_with_little_memory_the_clip_keeps_its_geometry(
    load: Load, picture: Path, name: str
) -> None:
    model = BY_NAME[name]
    renderer, card = load(name, low_memory={"vae_tiling": True})
    spec = model.spec(card, picture)
    [tiled] = renderer.generate([spec], Watcher(), low_memory=True)
    [plain] = renderer.generate([spec], Watcher())
    assert video(tiled).shape == video(plain).shape


@pytest.mark.parametrize(
    ("name", "pictures", "problem"),
    [
        ("wan-ti2v", {"last_image": "taken"}, "last_image must be refused"),
        ("wan-i2v", {"last_image": "needed"}, "last_image must be refused"),
        ("wan-flf", {"last_image": "taken"}, "last_image must be needed"),
        ("wan-flf", {"last_image": "refused"}, "last_image must be needed"),
        ("wan-experts-i2v", {"reference_images": 1}, "reference_images must be 0 at most"),
        ("cogvideox-i2v", {"last_image": "taken"}, "last_image must be refused"),
    ],
)
def test_a_card_that_promises_too_many_pictures_is_refused(
    load: Load, name: str, pictures: dict[str, object], problem: str
) -> None:
    with pytest.raises(LoadFailed, match=f"pictures: {problem}"):
        load(name, pictures=pictures)


@pytest.mark.parametrize(
    ("name", "pictures"),
    [
        ("wan-experts-i2v", {"last_image": "taken"}),
        ("wan-flf", {"last_image": "needed"}),
        ("wan-vace", {"last_image": "needed", "reference_images": 4}),
        ("ltx2", {"last_image": "taken"}),
        ("skyreels", {"last_image": "taken"}),
    ],
)
def test_a_card_may_promise_what_its_weights_take(
    load: Load, name: str, pictures: dict[str, object]
) -> None:
    _renderer, card = load(name, pictures=pictures)
    assert card.pictures.last_image == pictures["last_image"]
