"""A clip from portrait to checked file, with made-up speech; and files that must not pass."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.assets import AssetMissing, asset_path
from models.avatar.check import lip_sync
from models.avatar.controls import Floats
from models.avatar.faces import ASSETS
from models.avatar.lookahead import drawn_ahead
from models.avatar.pipeline import AvatarPipeline
from models.catalog import ModelCard
from models.pipeline import Audio, CheckFailed, Clip, InputRefused
from models.refusal import Refusal
from models.spec import Kind, Performance, SpokenText, Stage, VideoSpec
from models.speech.track import MOUTH_RATE_HZ, MouthTrack, Spoken
from tests.support.portrait import draw_portrait
from workers.media.encode import encode_video

FPS, RATE, SECONDS = 24, 16_000, 2.52
CARD = ModelCard.model_validate(
    {
        "id": "avatar",
        "title": "Avatar",
        "adapter": "models.avatar.pipeline:AvatarPipeline",
        "checkpoint": "builtin:avatar",
        "licence": "Apache-2.0",
        "kinds": ["digital_human"],
        "sizes": ["320x320"],
        "size_multiple": 2,
        "fps": [FPS],
        "seconds": [2],
        "num_frames": {"offset": 0, "min": 1, "max": 240},
        "voices": [{"id": "none", "title": "None", "languages": ["en"]}],
        "num_inference_steps": {"min": 1, "max": 1, "default": 1},
        "guidance_scale": {"min": 1, "max": 1, "default": 1},
        "max_prompt_chars": 100,
        "deadline_s": 60,
    }
)


def speech(_performance: Performance, seed: int, _max_s: float) -> Spoken:
    """Noise in syllables of uneven length; the mouth opens as it grows loud."""
    draw = np.random.default_rng(seed)
    times = np.arange(round(SECONDS * RATE)) / RATE
    knots = np.cumsum(draw.uniform(0.09, 0.3, 60))
    levels = np.where(np.arange(60) % 2, draw.uniform(0.5, 1, 60), 0.0)
    loud = np.interp(times, knots, levels)
    sound = (loud * draw.uniform(-0.5, 0.5, len(times))).astype(np.float32)
    mouth = np.zeros((round(SECONDS * MOUTH_RATE_HZ), 4), np.float32)
    mouth[:, 0] = np.interp(np.arange(len(mouth)) / MOUTH_RATE_HZ, times, loud)
    return Spoken(Audio(sound[None], RATE), MouthTrack(mouth))


@pytest.fixture(scope="module")
def pipeline() -> AvatarPipeline:
    try:
        for name in ASSETS:
            asset_path(name)
    except AssetMissing as missing:
        pytest.skip(str(missing))
    made = AvatarPipeline(speech)
    made.load(CARD, "cpu")
    return made


@pytest.fixture
def spec(tmp_path: Path) -> VideoSpec:
    Image.fromarray(draw_portrait(360)).save(tmp_path / "portrait.png")
    return VideoSpec(
        kind=Kind.DIGITAL_HUMAN,
        model="avatar",
        prompt="-",
        width=320,
        height=320,
        num_frames=240,
        fps=FPS,
        num_inference_steps=1,
        guidance_scale=1,
        seed=3,
        image=tmp_path / "portrait.png",
        performance=Performance(speech=SpokenText(text="-")),
    )


def made(pipeline: AvatarPipeline, spec: VideoSpec) -> Clip:
    [clip] = pipeline.generate([spec], lambda *_: None)
    return clip


def checked(clip: Clip, path: Path) -> dict[str, float]:
    assert clip.num_frames is not None
    assert clip.check is not None
    encode_video(clip, path, num_frames=clip.num_frames, label={"Label": "1"})
    return clip.check(path)


def test_a_clip_is_as_long_as_its_speech_and_in_time_with_it(
    pipeline: AvatarPipeline, spec: VideoSpec, tmp_path: Path
) -> None:
    clip = made(pipeline, spec)
    assert (clip.num_frames, clip.stage) == (60, Stage.RENDERING)
    measured = checked(clip, tmp_path / "clip.mp4")
    assert measured["faces_share"] == 1
    assert measured["lip_sync_r"] > 0.5
    assert abs(measured["lip_sync_lag_ms"]) <= 1000 / FPS


def test_the_sound_of_another_moment_does_not_pass(
    pipeline: AvatarPipeline, spec: VideoSpec, tmp_path: Path
) -> None:
    clip = made(pipeline, spec)
    assert clip.audio is not None
    late = Audio(np.roll(clip.audio.samples, RATE, axis=1), RATE)
    with pytest.raises(CheckFailed, match=r"correlate|off the sound|turned sound"):
        checked(replace(clip, audio=late), tmp_path / "clip.mp4")


def test_a_hidden_face_does_not_pass(
    pipeline: AvatarPipeline, spec: VideoSpec, tmp_path: Path
) -> None:
    clip = made(pipeline, spec)
    grey = (np.full_like(frame, 128) for frame in clip.frames)
    with pytest.raises(CheckFailed, match="face is found in 0"):
        checked(replace(clip, frames=grey), tmp_path / "clip.mp4")


def test_speech_that_is_too_long_is_refused(pipeline: AvatarPipeline, spec: VideoSpec) -> None:
    with pytest.raises(InputRefused, match=r"takes 2\.5 s; at most 2\.0 s") as refused:
        made(pipeline, spec.model_copy(update={"num_frames": 48}))
    assert refused.value.code == Refusal.AUDIO_TOO_LONG


def test_lag_is_positive_where_the_picture_is_late() -> None:
    loud = np.random.default_rng(0).normal(size=400).cumsum()
    measured = lip_sync(np.roll(loud, 3), loud, 48)
    assert measured["lip_sync_lag_ms"] == pytest.approx(62.5)


def test_few_frames_wait_and_the_reader_may_leave() -> None:
    asked: list[int] = []

    def endless() -> Iterator[Floats]:
        while True:
            asked.append(1)
            yield np.zeros(1)

    frames = drawn_ahead(lambda _: np.zeros((2, 2, 3), np.uint8), endless())
    next(frames)
    assert len(asked) <= 5
    frames.close()  # type: ignore[attr-defined]  # a generator, typed as what readers need
