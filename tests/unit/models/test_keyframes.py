"""Pictures at given frames, with LTX-2: each exactly at its own, whatever else is rendered."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import LTX2ConditionPipeline

from models.adapters.ltx2 import LTX2Adapter
from models.card import ModelCard, SpecError
from models.cardparts import MAX_KEYFRAMES
from models.spec import Keyframe, Kind, VideoSpec
from tests.support.checkpoints import ltx2
from tests.support.renderers import (
    MODELS,
    Video,
    Watcher,
    largest_difference,
    save_picture,
    video,
)

[MODEL] = [model for model in MODELS if model.name == "ltx2"]
PICTURES = {"last_image": "taken", "keyframes": MAX_KEYFRAMES}
FRAMES = 17
FRAME_TOKENS = 4
"""Of 64x64 pixels."""


@pytest.fixture(scope="module", params=[ltx2.save, ltx2.save_2_5], ids=["2.3", "2.5"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of each generation."""
    save: Callable[[Path], None] = request.param
    made = tmp_path_factory.mktemp("weights")
    save(made)
    return made


@pytest.fixture(scope="module")
def card(folder: Path) -> ModelCard:
    """Takes as many keyframes as there can be."""
    return MODEL.card(folder, pictures=PICTURES)


@pytest.fixture(scope="module")
def renderer(card: ModelCard) -> LTX2Adapter:
    """Loaded."""
    made = LTX2Adapter()
    made.load(card, "cpu")
    return made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """By colour."""
    made = tmp_path_factory.mktemp("pictures")
    colours = {"red": (250, 60, 30), "blue": (10, 60, 250)}
    return {name: save_picture(made / f"{name}.png", rgb) for name, rgb in colours.items()}


def text(card: ModelCard, *keyframes: tuple[int, Path], **changes: object) -> VideoSpec:
    """A clip from a text that comes by pictures."""
    given = tuple(Keyframe(frame=frame, image=image) for frame, image in keyframes)
    no_others = {"kind": Kind.TEXT_TO_VIDEO, "last_image": None, "image": None}
    fields = {**no_others, "keyframes": given, **changes}
    return MODEL.spec(card, Path(), **fields)


def render(renderer: LTX2Adapter, *specs: VideoSpec) -> list[Video]:
    """All frames of each."""
    return [video(clip) for clip in renderer.generate(specs, Watcher())]


class Conditions:
    """What the pipeline adds to the tokens of a clip."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tokens: list[torch.Tensor] = []
        self.frames: list[tuple[float, float]] = []
        stock = LTX2ConditionPipeline.prepare_latents

        def look(pipe: Any, **given: Any) -> Any:
            made = stock(pipe, **given)
            _latents, mask, clean, times = made
            [own] = {int(mask.shape[1]) - times.shape[2]}
            assert mask[0, own:].eq(1).all(), "nothing of a picture is denoised"
            self.tokens += clean[0, own:].split(FRAME_TOKENS)
            for ends in (times[0, 0] * given["frame_rate"]).split(FRAME_TOKENS):
                [(start, end)] = {tuple(each) for each in ends.tolist()}
                self.frames.append((start, end))
            return made

        monkeypatch.setattr(LTX2ConditionPipeline, "prepare_latents", look)


def test_every_frame_but_the_first_holds_a_picture_exactly(
    card: ModelCard,
    renderer: LTX2Adapter,
    pictures: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Conditions(monkeypatch)
    half = range(1, FRAMES, 2)
    for frames in (half, range(2, FRAMES, 2)):
        given = [(frame, pictures["red" if frame % 4 else "blue"]) for frame in frames]
        render(renderer, text(card, *given, num_inference_steps=2))
    expected = [*half, *range(2, FRAMES, 2)]
    assert seen.frames == [pytest.approx((frame, frame + 1)) for frame in expected]
    reds = [token for token, frame in zip(seen.tokens, expected, strict=True) if frame % 4]
    blues = [token for token, frame in zip(seen.tokens, expected, strict=True) if not frame % 4]
    for alike in (reds, blues):
        assert all(torch.equal(token, alike[0]) for token in alike)
    assert not torch.equal(reds[0], blues[0])


def test_a_last_frame_is_the_last_and_not_the_first_of_its_latents(
    card: ModelCard,
    renderer: LTX2Adapter,
    pictures: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = Conditions(monkeypatch)
    given = (Keyframe(frame=5, image=pictures["blue"]),)
    render(renderer, MODEL.spec(card, pictures["red"], keyframes=given))
    assert seen.frames == [pytest.approx((5, 6)), pytest.approx((FRAMES - 1, FRAMES))]
    assert not torch.equal(*seen.tokens), "the keyframe is blue, the last frame red"


def test_picture_and_place_decide_the_clip(
    card: ModelCard, renderer: LTX2Adapter, pictures: dict[str, Path]
) -> None:
    clip, again, other, elsewhere = (
        render(renderer, text(card, (frame, pictures[colour])))[0]
        for frame, colour in ((6, "red"), (6, "red"), (6, "blue"), (7, "red"))
    )
    assert np.array_equal(clip, again)
    assert largest_difference(clip, other) > 0
    assert largest_difference(clip, elsewhere) > 0


def test_a_batch_of_texts_with_and_without_equals_its_clips_alone(
    card: ModelCard, renderer: LTX2Adapter, pictures: dict[str, Path]
) -> None:
    specs = [text(card), text(card, (6, pictures["red"])), text(card, (9, pictures["blue"]))]
    for clip, spec in zip(render(renderer, *specs), specs, strict=True):
        assert np.array_equal(clip, render(renderer, spec)[0])


@pytest.mark.parametrize("offload", ["model", "group"])
def test_weights_that_wait_in_host_memory_make_the_same_clip(
    card: ModelCard, renderer: LTX2Adapter, pictures: dict[str, Path], offload: str
) -> None:
    spec = text(card, (6, pictures["red"]))
    waiting = LTX2Adapter()
    waiting.load(card.model_copy(update={"options": {**card.options, "offload": offload}}), "cpu")
    for _ in range(2):
        assert largest_difference(render(waiting, spec)[0], render(renderer, spec)[0]) <= 1


def test_a_text_with_a_keyframe_shows_previews_and_sound(
    card: ModelCard, folder: Path, pictures: dict[str, Path]
) -> None:
    steps = {"min": 2, "max": 12, "default": 12}
    long = MODEL.card(folder, pictures=PICTURES, num_inference_steps=steps, modes={"standard": 12})
    renderer, watcher = LTX2Adapter(), Watcher()
    renderer.load(long, "cpu")
    spec = text(card, (6, pictures["red"]), num_inference_steps=12, generate_audio=True)
    [clip] = renderer.generate([spec], watcher)
    assert [preview.shape for preview in watcher.previews] == [(64, 64, 3)]
    assert clip.audio is not None


@pytest.mark.parametrize(
    ("frames", "has_last", "limit", "value"),
    [
        ([0], False, [1, 16], 0),
        ([17], False, [1, 16], 17),
        ([16], True, [1, 15], 16),
        ([3, 3], False, 1, 3),
        ([*range(1, 10)], False, MAX_KEYFRAMES, 9),
    ],
)
def test_what_cannot_be_held_is_refused_before_work(
    card: ModelCard,
    renderer: LTX2Adapter,
    pictures: dict[str, Path],
    frames: list[int],
    has_last: bool,  # noqa: FBT001 -- a parameter of the test
    limit: object,
    value: object,
) -> None:
    red, watcher = pictures["red"], Watcher()
    given = tuple(Keyframe.model_construct(frame=frame, image=red) for frame in frames)
    changes = {"last_image": red if has_last else None, "keyframes": given}
    with pytest.raises(SpecError) as refusal:
        renderer.generate([MODEL.spec(card, red, **changes)], watcher)
    assert (refusal.value.param, refusal.value.limit) == ("keyframes", limit)
    assert (refusal.value.value, watcher.steps) == (value, [])


def test_a_picture_that_is_missing_or_broken_is_refused(
    card: ModelCard, renderer: LTX2Adapter, tmp_path: Path
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for image in (tmp_path / "broken.png", None):
        spec = text(card).model_copy(update={"keyframes": (Keyframe(frame=4, image=image),)})
        with pytest.raises(SpecError) as refusal:
            render(renderer, spec)
        assert refusal.value.param == "keyframes"


def test_frames_between_those_of_the_model_hold_nothing() -> None:
    card = MODEL.card(
        Path(),
        pictures=PICTURES,
        fps=[16],
        seconds=[1],
        num_frames={"min": 1, "max": 99},
        enhance={"fps": [24]},
        size_multiple=32,
    )
    spec = card.example(
        kind=Kind.TEXT_TO_VIDEO, mode="standard", size=card.sizes[0], fps=24, seconds=1
    )
    on_time, between = (
        spec.model_copy(update={"keyframes": (Keyframe(frame=frame),)}) for frame in (9, 10)
    )
    card.check(on_time)
    assert [each.frame for each in card.native(on_time).keyframes] == [9 / Fraction(24, 16)]
    with pytest.raises(SpecError) as refusal:
        card.check(between)
    assert (refusal.value.param, refusal.value.limit) == ("keyframes", "a multiple of 3")
