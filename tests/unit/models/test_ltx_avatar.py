"""A talking video through every part of LTX, with random weights: noise, but whole and in time.

How well it speaks is nothing that these weights could show.
"""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from models.adapters.ltx_avatar import LtxAvatarPipeline
from models.adapters.ltx_chunks import QUIET, frame_levels
from models.adapters.ltx_prompt import describe_performance
from models.adapters.ltx_stages import ChunkRequest
from models.assets import AssetMissing, asset_path
from models.avatar.faces import ASSETS
from models.card import ModelCard
from models.enhance.interpolate import Interpolator
from models.enhance.pipeline import EnhancedPipeline
from models.pipeline import (
    Audio,
    Canceled,
    CheckFailed,
    Clip,
    Frame,
    InputRefused,
    LoadFailed,
    StepCallback,
)
from models.spec import Emotion, EmotionName, Kind, Performance, SpokenText, Stage, VideoSpec
from models.speech.track import MouthTrack, Spoken
from tests.support.checkpoints import ltx2
from tests.support.portrait import draw_portrait
from workers.media.encode import encode_video

RATE = 24_000
LENGTH_S = 9.73
PAUSE_S = (4.4, 4.8)
STEPS = 11


def _missing() -> bool:
    try:
        for name in ASSETS:
            asset_path(name)
    except AssetMissing:
        return True
    return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_missing(), reason="reelgate assets fetch was not run"),
]


def speak(
    performance: Performance | None, seed: int, max_s: float, length_s: float = LENGTH_S
) -> Spoken:
    """Noise with a pause; what stands for a voice here needs no weights."""
    del performance, max_s
    samples = np.random.default_rng(seed).normal(0, 0.2, (1, round(length_s * RATE)))
    samples[:, round(PAUSE_S[0] * RATE) : round(PAUSE_S[1] * RATE)] = 0
    mouth = MouthTrack(np.zeros((round(length_s * 100), 4), np.float32))
    return Spoken(Audio(samples.astype(np.float32), RATE), mouth)


def card_of(folder: Path, **changes: object) -> ModelCard:
    """A card of the random checkpoint; no card like it is in `configs`."""
    fields: dict[str, object] = {
        "id": "ltx-random",
        "title": "Random weights",
        "adapter": "models.adapters.ltx_avatar:LtxAvatarPipeline",
        "checkpoint": str(folder),
        "licence": "none",
        "kinds": ["digital_human"],
        "sizes": ["64x60"],
        "size_multiple": 2,
        "fps": [24],
        "seconds": [10],
        "num_frames": {"multiple": 1, "offset": 0, "min": 1, "max": 240},
        "num_inference_steps": {"min": STEPS, "max": STEPS, "default": STEPS},
        "guidance_scale": {"min": 1, "max": 1, "default": 1},
        "max_prompt_chars": 200,
        "voices": [{"id": "a", "title": "A", "languages": ["en"]}],
        "deadline_s": 60,
        "options": {"max_sequence_length": 64},
    }
    return ModelCard.model_validate(fields | changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The random checkpoint, and a portrait in it."""
    folder = tmp_path_factory.mktemp("ltx-random-weights")
    ltx2.save_2_5(folder)
    Image.fromarray(draw_portrait(480)).save(folder / "portrait.png")
    return folder


def load(folder: Path) -> LtxAvatarPipeline:
    """The pipeline on the CPU."""
    pipeline = LtxAvatarPipeline(speak)
    pipeline.load(card_of(folder), "cpu")
    return pipeline


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> LtxAvatarPipeline:
    """Loaded once."""
    return load(folder)


def spec_of(folder: Path, workspace: Path | None = None, seed: int = 3) -> VideoSpec:
    """The longest digital human the card allows."""
    return VideoSpec(
        kind=Kind.DIGITAL_HUMAN,
        model="ltx-random",
        prompt="",
        width=64,
        height=60,
        num_frames=240,
        fps=24,
        num_inference_steps=STEPS,
        guidance_scale=1,
        seed=seed,
        image=folder / "portrait.png",
        performance=Performance(speech=SpokenText(text="-")),
        workspace=workspace,
    )


def ignore(_stage: Stage, _done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
    """Nobody watches."""
    del previews


def made(pipeline: LtxAvatarPipeline, spec: VideoSpec, on_step: StepCallback = ignore) -> Clip:
    """The clip of `spec`."""
    [clip] = pipeline.generate([spec], on_step)
    return clip


Steps = list[tuple[Stage, int, int]]


@pytest.fixture(scope="module")
def reference(pipeline: LtxAvatarPipeline, folder: Path) -> tuple[Clip, list[Frame], Steps]:
    """One clip in one go, its frames, and its steps."""
    steps: Steps = []

    def note(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        steps.append((stage, done, total))

    clip = made(pipeline, spec_of(folder), note)
    return clip, list(clip.frames), steps


def test_a_clip_is_as_long_as_its_sound_which_stays_as_it_was_spoken(
    reference: tuple[Clip, list[Frame], Steps],
) -> None:
    clip, frames, _ = reference
    assert len(frames) == clip.num_frames == round(LENGTH_S * 24) == 234
    assert {(frame.shape, str(frame.dtype)) for frame in frames} == {((60, 64, 3), "uint8")}
    assert clip.fps == 24
    spoken = speak(Performance(speech=SpokenText(text="-")), 3, 10).audio
    assert clip.audio is not None
    assert clip.audio.sample_rate == RATE
    assert np.array_equal(clip.audio.samples, spoken.samples)


@pytest.mark.parametrize("offload", ["model", "group"])
def test_offloaded_weights_wait_and_speak_the_same(
    folder: Path, reference: tuple[Clip, list[Frame], Steps], offload: str
) -> None:
    pipeline = LtxAvatarPipeline(speak)
    options = {"max_sequence_length": 64, "offload": offload}
    pipeline.load(card_of(folder, options=options), "cpu")
    assert all(map(np.array_equal, made(pipeline, spec_of(folder)).frames, reference[1]))
    loaded = pipeline._loaded
    assert loaded is not None
    parts = [
        part for part in loaded.stages.pipe.components.values() if isinstance(part, torch.nn.Module)
    ]
    assert any(hasattr(part, "_hf_hook") for part in parts) == (offload == "model")


def test_progress_counts_the_steps_of_all_pieces(
    reference: tuple[Clip, list[Frame], Steps],
) -> None:
    _, _, steps = reference
    denoised = [(done, total) for stage, done, total in steps if stage is Stage.DENOISING]
    assert [done for done, _ in denoised] == sorted(done for done, _ in denoised)
    assert {total for _, total in denoised} == {3 * STEPS}
    assert {done for done, _ in denoised} == set(range(3 * STEPS + 1))
    order = list(dict.fromkeys(stage for stage, _, _ in steps))
    assert order == [Stage.SPEAKING, Stage.DENOISING, Stage.DECODING]


def test_pieces_meet_in_the_pause_and_go_on_from_each_other(
    pipeline: LtxAvatarPipeline,
    folder: Path,
    reference: tuple[Clip, list[Frame], Steps],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[ChunkRequest] = []
    loaded = pipeline._loaded  # to hear what is asked of the model
    assert loaded is not None
    sample = loaded.stages.sample

    def note(request: ChunkRequest, on_step: object) -> torch.Tensor:
        asked.append(request)
        return sample(request, on_step)  # type: ignore[arg-type]  # passed on as it came

    monkeypatch.setattr(loaded.stages, "sample", note)
    clip, frames = made(pipeline, spec_of(folder)), reference[1]
    assert all(map(np.array_equal, clip.frames, frames))
    assert [len(request.given) for request in asked] == [1, 9, 9]
    assert clip.audio is not None
    levels = frame_levels(clip.audio.samples[0], RATE, 24, len(frames))
    cuts = [
        index
        for index in range(9, len(frames))
        for request in asked[1:]
        if np.array_equal(request.given[-1][2:-2], frames[index - 1])
    ]
    assert len(cuts) == 2
    assert PAUSE_S[0] * 24 < cuts[0] < PAUSE_S[1] * 24
    assert levels[cuts[0]] < QUIET
    # The next piece keeps what it was given, as far as random weights can.
    assert asked[1].sound.shape[2] >= round(asked[1].num_frames / 24 * 25)


def test_the_picture_follows_the_voice(
    pipeline: LtxAvatarPipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = pipeline._loaded  # another voice, all else equal
    assert loaded is not None
    short = partial(speak, length_s=2.0)
    clips = []
    for voice_seed in (1, 2):

        def voice(performance: Performance, _seed: int, max_s: float, seed: int) -> Spoken:
            return short(performance, seed, max_s)

        other = replace(loaded, speak=partial(voice, seed=voice_seed))
        monkeypatch.setattr(pipeline, "_loaded", other)
        clips.append(np.stack(list(made(pipeline, spec_of(folder)).frames)))
    assert clips[0].shape == clips[1].shape == (48, 60, 64, 3)
    assert not np.array_equal(clips[0], clips[1])


def test_what_is_heard_holds_still_in_both_passes(
    pipeline: LtxAvatarPipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = pipeline._loaded  # to see what comes out of the model
    assert loaded is not None
    monkeypatch.setattr(pipeline, "_loaded", replace(loaded, speak=partial(speak, length_s=2.0)))
    run = loaded.stages._run
    heard: list[tuple[torch.Tensor, torch.Tensor]] = []

    def note(request: ChunkRequest, *rest: Any) -> Any:
        made_of = run(request, *rest)
        heard.append((request.sound, made_of.audio))
        return made_of

    monkeypatch.setattr(loaded.stages, "_run", note)
    made(pipeline, spec_of(folder))
    assert len(heard) == 2
    assert all(torch.allclose(given, kept, atol=1e-4) for given, kept in heard)


def test_48_fps_are_interpolated_and_the_sound_stays(
    pipeline: LtxAvatarPipeline, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = pipeline._loaded  # a short voice
    assert loaded is not None
    short = partial(speak, length_s=2.0)
    monkeypatch.setattr(pipeline, "_loaded", replace(loaded, speak=short))
    between = Interpolator().eval().requires_grad_(requires_grad=False)
    monkeypatch.setattr("models.enhance.pipeline.open_interpolator", lambda _device: between)
    smooth = EnhancedPipeline(pipeline)
    monkeypatch.setattr(pipeline, "load", lambda *_: None)
    smooth.load(card_of(folder, enhance={"fps": [48]}), "cpu")
    spec = spec_of(folder)
    plain = list(made(pipeline, spec).frames)
    [clip] = smooth.generate([spec.model_copy(update={"fps": 48, "num_frames": 480})], ignore)
    frames = list(clip.frames)
    assert (len(plain), len(frames), clip.num_frames) == (48, 96, 96)
    assert all(map(np.array_equal, frames[::2], plain))
    assert clip.audio is not None
    assert np.array_equal(clip.audio.samples, short(spec.performance, 3, 10).audio.samples)


def test_a_cancel_ends_within_a_step_and_leaves_the_renderer_usable(
    pipeline: LtxAvatarPipeline,
    folder: Path,
    tmp_path: Path,
    reference: tuple[Clip, list[Frame], Steps],
) -> None:
    done_steps: list[int] = []

    def cancel(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        if stage is Stage.DENOISING:
            done_steps.append(done)
            if done == STEPS + 4:
                raise Canceled

    with pytest.raises(Canceled):
        made(pipeline, spec_of(folder, tmp_path / "work"), cancel)
    assert max(done_steps) == STEPS + 4
    kept = sorted(path.name for path in (tmp_path / "work").iterdir())
    assert kept == ["chunk-000.safetensors", "speech.safetensors"]
    clip = made(pipeline, spec_of(folder, tmp_path / "work"))
    assert all(map(np.array_equal, clip.frames, reference[1]))


def _render_until_killed(folder: Path, workspace: Path) -> None:
    torch.set_num_threads(1)
    made(load(folder), spec_of(folder, workspace))


def test_a_killed_worker_goes_on_behind_the_last_finished_piece(
    pipeline: LtxAvatarPipeline,
    folder: Path,
    tmp_path: Path,
    reference: tuple[Clip, list[Frame], Steps],
) -> None:
    work = tmp_path / "work"
    worker = multiprocessing.get_context("spawn").Process(
        target=_render_until_killed, args=(folder, work)
    )
    worker.start()
    try:
        first, last = work / "chunk-000.safetensors", work / "chunk-002.safetensors"
        while not first.exists() and worker.is_alive():
            worker.join(0.02)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    finally:
        worker.join()
    assert first.exists()
    assert not last.exists()
    before = first.stat().st_mtime_ns
    steps: list[int] = []

    def note(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        if stage is Stage.DENOISING:
            steps.append(done)

    clip = made(pipeline, spec_of(folder, work), note)
    assert min(steps) >= STEPS
    assert all(map(np.array_equal, clip.frames, reference[1]))
    assert first.stat().st_mtime_ns == before


def test_pieces_of_another_job_and_torn_files_are_not_taken_up(
    pipeline: LtxAvatarPipeline,
    folder: Path,
    tmp_path: Path,
    reference: tuple[Clip, list[Frame], Steps],
) -> None:
    made(pipeline, spec_of(folder, tmp_path, seed=4))
    other = (tmp_path / "chunk-001.safetensors").read_bytes()
    clip = made(pipeline, spec_of(folder, tmp_path))
    assert all(map(np.array_equal, clip.frames, reference[1]))
    assert (tmp_path / "chunk-001.safetensors").read_bytes() != other
    (tmp_path / "chunk-001.safetensors").write_bytes(other[: len(other) // 2])
    clip = made(pipeline, spec_of(folder, tmp_path))
    assert all(map(np.array_equal, clip.frames, reference[1]))


def test_the_finished_file_is_measured_and_noise_does_not_pass(
    reference: tuple[Clip, list[Frame], Steps], tmp_path: Path
) -> None:
    clip, frames, _ = reference
    again = Clip(iter(frames), clip.fps, clip.audio, clip.num_frames)
    encode_video(again, tmp_path / "a.mp4", num_frames=len(frames), label={"Label": "1"})
    assert clip.check is not None
    with pytest.raises(CheckFailed, match="face"):
        clip.check(tmp_path / "a.mp4", len(frames), clip.fps)


def test_a_speech_that_is_too_long_is_refused(pipeline: LtxAvatarPipeline, folder: Path) -> None:
    spec = spec_of(folder).model_copy(update={"num_frames": 48})
    with pytest.raises(InputRefused, match=r"9\.7 s; at most 2\.0 s"):
        made(pipeline, spec)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"num_inference_steps": {"min": 8, "max": 11, "default": 8}}, "num_inference_steps must"),
        ({"guidance_scale": {"min": 1, "max": 4, "default": 1}}, "guidance_scale must be 1"),
        ({"checkpoint": "nowhere"}, "no model_index.json in .*: put a diffusers folder there"),
        ({"options": {"colour": "red"}}, "options must leave out colour"),
        ({"options": {"offload": True}}, "option offload must be auto, none, model, group"),
    ],
)
def test_a_card_that_does_not_fit_is_refused_at_the_load(
    folder: Path, changes: dict[str, object], problem: str
) -> None:
    with pytest.raises(LoadFailed, match=problem):
        LtxAvatarPipeline(speak).load(card_of(folder, **changes), "cpu")


def test_feeling_movement_and_words_reach_the_prompt() -> None:
    performance = Performance(
        speech=SpokenText(text="-"),
        emotion=Emotion(name=EmotionName.HAPPY, intensity=5),
        motion=1.0,
    )
    told = describe_performance(performance, " in a library ")
    assert "extremely happy" in told
    assert "Lively gestures" in told
    assert told.endswith(" in a library")
    still = describe_performance(performance.model_copy(update={"motion": 0.0}))
    assert "almost still" in still
