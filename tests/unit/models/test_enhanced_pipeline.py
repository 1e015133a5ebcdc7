"""A renderer with its frames raised: it sees what it can make, the client gets what was asked for.

The networks here have random weights; how good the pictures get is tested elsewhere.
"""

import weakref
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from models.card import ModelCard, SpecError
from models.cardparts import Pictures
from models.enhance import pipeline as enhanced
from models.enhance.interpolate import Interpolator
from models.enhance.pipeline import EnhancedPipeline
from models.enhance.upscale import Compact, Upscaler, load_upscaler, upscale
from models.pipeline import Audio, Canceled, Clip, Frame, LoadFailed, StepCallback
from models.registry import create_pipeline
from models.spec import Keyframe, Kind, Stage, VideoSpec
from tests.unit.models.conftest import CardFactory
from tests.unit.models.test_enhance import write_model
from workers.media.encode import encode_video
from workers.media.label import build_label

OFFER = {"fps": [16, 24], "upscale": [2]}
SOUND = Audio(np.zeros((1, 1000), np.float32), 16000)


class Renderer:
    """Renders noise, remembers what it was asked for, and counts the frames that are alive."""

    def __init__(self) -> None:
        self.memory_bytes = 7
        self.specs: list[VideoSpec] = []
        self.made = self.alive = self.most_alive = 0

    def load(self, card: ModelCard, device: str) -> None:
        """Nothing to load."""

    def generate(
        self, specs: Sequence[VideoSpec], on_step: StepCallback, *, low_memory: bool = False
    ) -> list[Clip]:
        """A clip of noise for each, with sound."""
        del on_step, low_memory
        self.specs += specs
        return [Clip(self.frames(spec), Fraction(spec.fps), SOUND) for spec in specs]

    def frames(self, spec: VideoSpec) -> Iterator[Frame]:
        """The frames, counted while they live."""
        draw = np.random.default_rng(spec.seed)
        for _ in range(spec.num_frames):
            frame = draw.integers(0, 256, (spec.height, spec.width, 3)).astype(np.uint8)
            self.made += 1
            self.alive += 1
            self.most_alive = max(self.most_alive, self.alive)
            weakref.finalize(frame, self._died)
            yield frame
            del frame

    def _died(self) -> None:
        self.alive -= 1


@pytest.fixture(autouse=True)
def networks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Interpolator, Upscaler]:
    """Small ones with random weights stand for the published ones."""
    torch.manual_seed(0)
    between = Interpolator().eval().requires_grad_(requires_grad=False)
    larger = load_upscaler(Compact, *write_model(tmp_path), scale=2, device="cpu")
    monkeypatch.setattr(enhanced, "open_interpolator", lambda _device: between)
    monkeypatch.setattr(enhanced, "open_upscaler", lambda *_: larger)
    return between, larger


@pytest.fixture
def card(make_card: CardFactory) -> ModelCard:
    """Makes 64x64 at 8 fps, and offers twice the size at two and three times the rate."""
    return make_card(enhance=OFFER, sizes=["64x64"])


def spec_of(card: ModelCard, size: str = "128x128", fps: int = 24, **changes: Any) -> VideoSpec:
    """One second."""
    kind = card.kinds[0]
    example = card.example(kind=kind, mode="standard", size=size, fps=fps, seconds=1)
    return example.model_copy(update=changes)


def start(card: ModelCard) -> tuple[EnhancedPipeline, Renderer]:
    """The pipeline, loaded, and the renderer inside."""
    inner = Renderer()
    pipeline = EnhancedPipeline(inner)
    pipeline.load(card, "cpu")
    return pipeline, inner


def test_the_renderer_sees_its_own_size_and_rate(
    card: ModelCard, ignore_steps: StepCallback
) -> None:
    pipeline, inner = start(card)
    (clip,) = pipeline.generate([spec_of(card)], ignore_steps)
    (native,) = inner.specs
    assert (native.size, native.fps, native.num_frames) == ("64x64", 8, 9)
    frames = list(clip.frames)
    assert len(frames) == clip.num_frames == 25
    assert {frame.shape for frame in frames} == {(128, 128, 3)}
    assert (clip.fps, clip.stage) == (Fraction(24), Stage.ENHANCING)
    assert clip.audio is SOUND


def test_a_keyframe_is_at_a_frame_that_stays_as_the_model_makes_it(
    make_card: CardFactory, ignore_steps: StepCallback
) -> None:
    card = make_card(enhance=OFFER, sizes=["64x64"], pictures={"keyframes": 1})
    pipeline, inner = start(card)
    spec = spec_of(card, "64x64", keyframes=(Keyframe(frame=6),))
    (clip,) = pipeline.generate([spec], ignore_steps)
    assert [each.frame for each in inner.specs[0].keyframes] == [2]
    own = [*Renderer().frames(inner.specs[0])]
    assert np.array_equal([*clip.frames][6], own[2])
    with pytest.raises(SpecError, match="takes no keyframes"):
        card.model_copy(update={"pictures": Pictures()}).check(spec)


def test_what_needs_nothing_passes_untouched(card: ModelCard, ignore_steps: StepCallback) -> None:
    pipeline, inner = start(card)
    spec = spec_of(card, "64x64", 8)
    (clip,) = pipeline.generate([spec], ignore_steps)
    assert inner.specs == [spec]
    assert clip.stage is Stage.ENCODING
    assert all(map(np.array_equal, clip.frames, Renderer().frames(spec)))


def test_streamed_frames_equal_those_of_the_whole_clip(
    card: ModelCard, ignore_steps: StepCallback, networks: tuple[Interpolator, Upscaler]
) -> None:
    between, larger = networks
    pipeline, _ = start(card)
    spec = spec_of(card, fps=16)
    (clip,) = pipeline.generate([spec], ignore_steps)
    native = list(Renderer().frames(card.native(spec)))
    raised = [
        between.between(native[index // 2], native[index // 2 + 1], Fraction(1, 2))
        if index % 2
        else native[index // 2]
        for index in range(17)
    ]
    whole = [upscale(larger, frame) for frame in raised]
    assert all(map(np.array_equal, clip.frames, whole))


def test_memory_does_not_grow_with_the_clip(card: ModelCard, ignore_steps: StepCallback) -> None:
    pipeline, inner = start(card)
    (clip,) = pipeline.generate([spec_of(card)], ignore_steps)
    for _ in clip.frames:
        pass
    assert inner.made == 9
    # The two that are compared, and the one being made while they are let go.
    assert inner.most_alive <= 3


def test_a_cancel_is_heard_at_the_next_frame(card: ModelCard, tmp_path: Path) -> None:
    pipeline, inner = start(card)
    seen: list[tuple[Stage, int, int]] = []

    def step(stage: Stage, done: int, total: int, previews: Sequence[Frame] = ()) -> None:
        del previews
        seen.append((stage, done, total))
        if done == 4:
            raise Canceled

    (clip,) = pipeline.generate([spec_of(card)], step)
    with pytest.raises(Canceled):
        encode_video(
            clip, tmp_path / "a.mp4", num_frames=25, label=build_label("a", "b"), on_step=step
        )
    assert seen == [(Stage.ENHANCING, done, 25) for done in (1, 2, 3, 4)]
    assert inner.made == 2


def test_a_digital_human_is_seen_to_the_end_of_what_is_heard(
    make_card: CardFactory, ignore_steps: StepCallback
) -> None:
    card = make_card(
        kinds=["digital_human"],
        sizes=["64x64"],
        num_frames={"multiple": 1, "offset": 0, "min": 1, "max": 17},
        voices=[{"id": "a", "title": "A", "languages": ["zh"]}],
        enhance=OFFER,
    )
    pipeline, inner = start(card)
    lengths = {}
    for num_frames in (14, 15, 16):
        spec = spec_of(card, "64x64", 16, num_frames=num_frames, prompt="")
        (clip,) = pipeline.generate([spec], ignore_steps)
        lengths[inner.specs[-1].num_frames] = sum(1 for _ in clip.frames)
    assert lengths == {7: 14, 8: 16}
    assert [each.num_frames for each in inner.specs] == [7, 8, 8]


def test_more_than_the_card_offers_is_refused(card: ModelCard, forbid_steps: StepCallback) -> None:
    pipeline, inner = start(card)
    for change in ({"fps": 48, "num_frames": 49}, {"width": 256, "height": 256}):
        with pytest.raises(SpecError):
            pipeline.generate([spec_of(card).model_copy(update=change)], forbid_steps)
    assert not inner.specs


def test_only_a_card_with_an_offer_is_wrapped(make_card: CardFactory) -> None:
    assert isinstance(create_pipeline(make_card(enhance=OFFER)), EnhancedPipeline)
    assert not isinstance(create_pipeline(make_card()), EnhancedPipeline)


def test_without_the_published_weights_only_plain_videos_are_made(
    card: ModelCard,
    ignore_steps: StepCallback,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("REELGATE_ASSETS_DIR", str(tmp_path))
    pipeline, inner = start(card)
    assert pipeline.memory_bytes > inner.memory_bytes
    for size, fps in (("64x64", 16), ("128x128", 8)):
        with pytest.raises(LoadFailed, match="reelgate assets fetch"):
            pipeline.generate([spec_of(card, size, fps)], ignore_steps)
    assert not inner.specs
    (clip,) = pipeline.generate([spec_of(card, "64x64", 8)], ignore_steps)
    assert sum(1 for _ in clip.frames) == 9


def test_kinds_share_one_offer(card: ModelCard) -> None:
    assert card.kinds == [Kind.TEXT_TO_VIDEO, Kind.IMAGE_TO_VIDEO]
    for kind in card.kinds:
        card.check(spec_of(card, kind=kind))
