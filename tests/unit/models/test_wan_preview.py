"""What a viewer sees of a clip that is still being denoised, by the shipped model."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.adapters.wan import WanAdapter
from models.catalog import load_catalog
from models.pipeline import Frame
from models.spec import Kind, Stage, VideoSpec
from tests.conftest import ROOT

Shown = list[tuple[Stage, int, list[Frame]]]


@pytest.fixture(scope="module")
def tiny() -> WanAdapter:
    """The shipped model, loaded."""
    adapter = WanAdapter()
    adapter.load(load_catalog(ROOT / "configs" / "models.yaml").default, "cpu")
    return adapter


def make_spec(kind: Kind, prompt: str, seed: int, *, mode: str = "standard") -> VideoSpec:
    """A clip of the default size and length."""
    card = load_catalog(ROOT / "configs" / "models.yaml").default
    made = card.example(kind=kind, mode=mode, size="64x64", fps=8, seconds=2, prompt=prompt)
    return made.model_copy(update={"seed": seed})


def render(adapter: WanAdapter, *specs: VideoSpec) -> tuple[list[list[Frame]], Shown]:
    """All clips, and the steps that had previews."""
    shown: Shown = []

    def note(stage: Stage, done: int, _total: int, previews: Sequence[Frame] = ()) -> None:
        if previews:
            shown.append((stage, done, list(previews)))

    clips = [list(clip.frames) for clip in adapter.generate(specs, note)]
    return clips, shown


def distance(one: Frame, other: Frame) -> float:
    """Root mean square difference in 8-bit levels."""
    return float(np.sqrt(np.mean((one.astype(np.float64) - other) ** 2)))


def test_every_clip_of_a_batch_is_shown_as_what_it_becomes(tiny: WanAdapter) -> None:
    red = make_spec(Kind.TEXT_TO_VIDEO, "a red circle moves right on a black background", 3)
    blue = make_spec(Kind.TEXT_TO_VIDEO, "a blue square moves left on a white background", 4)
    clips, [(stage, done, previews)] = render(tiny, red, blue)
    assert (stage, done) == (Stage.DENOISING, 8)
    assert [(each.shape, str(each.dtype)) for each in previews] == [((64, 64, 3), "uint8")] * 2
    for preview, own, other in zip(previews, clips, reversed(clips), strict=True):
        assert distance(preview, own[0]) < 0.5 * distance(preview, other[0])


def test_more_steps_are_shown_more_often_and_previews_change_no_frame(tiny: WanAdapter) -> None:
    spec = make_spec(Kind.TEXT_TO_VIDEO, "a green circle moves up", 5, mode="pro")
    [clip], shown = render(tiny, spec)
    assert [done for _, done, _ in shown] == [8, 20]
    first, second = (distance(previews[0], clip[0]) for _, _, previews in shown)
    assert second < first
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("models.adapters.wan.find_prediction", lambda *_: None)
        [unseen], none_shown = render(tiny, spec)
    assert none_shown == []
    assert np.array_equal(np.stack(unseen), np.stack(clip))


def test_image_to_video_shows_the_middle_not_the_given_frame(
    tiny: WanAdapter, tmp_path: Path
) -> None:
    [source], _ = render(tiny, make_spec(Kind.TEXT_TO_VIDEO, "a red circle moves right", 3))
    Image.fromarray(source[0]).save(tmp_path / "first.png")
    spec = make_spec(Kind.IMAGE_TO_VIDEO, "a red circle moves right", 3)
    spec = spec.model_copy(update={"image": tmp_path / "first.png"})
    [clip], [(_, _, [preview])] = render(tiny, spec)
    assert distance(preview, clip[8]) < distance(preview, clip[0])
