"""What a clip says of itself decides its length, its stage, and whether it is reported at all."""

import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from gateway.protocol import LabelFields
from models.pipeline import Audio, CheckFailed, Clip
from models.spec import Kind, Stage, VideoSpec
from workers.clips import write_clip
from workers.media.encode import EncodeError
from workers.messages import RenderOrder
from workers.spool import AttemptFolder

FPS = 10


def order(folder: Path, num_frames: int) -> RenderOrder:
    """A job with at most this many frames."""
    spec = VideoSpec(
        kind=Kind.DIGITAL_HUMAN,
        model="m",
        prompt="",
        width=64,
        height=64,
        num_frames=num_frames,
        fps=FPS,
        num_inference_steps=1,
        guidance_scale=1,
        seed=1,
    )
    label = LabelFields(producer="x", produce_id="y")
    return RenderOrder("job", 1, spec, label, folder, time.monotonic(), 0.0)


Check = Callable[[Path, int, Fraction], dict[str, float]]


def clip(frames: int, check: Check | None = None) -> Clip:
    """A grey clip with silence that says how many frames it has."""
    return Clip(
        frames=(np.full((64, 64, 3), 90, np.uint8) for _ in range(frames)),
        fps=Fraction(FPS),
        audio=Audio(np.zeros((1, 16_000 * frames // FPS), np.float32), 16_000),
        num_frames=frames,
        stage=Stage.RENDERING,
        check=check,
    )


def test_a_clip_may_be_shorter_than_its_spec_and_is_measured(tmp_path: Path) -> None:
    checked: list[bool] = []
    steps: list[tuple[object, ...]] = []

    def check(path: Path, num_frames: int, fps: Fraction) -> dict[str, float]:
        checked.append(path.is_file() and num_frames == 12 and fps == Fraction(FPS))
        return {"lip_sync_r": 0.6}

    write_clip(clip(12, check), order(tmp_path, 20), lambda *step: steps.append(step))

    manifest = AttemptFolder(tmp_path).find_manifest()
    assert manifest is not None
    made = manifest.rendered
    assert made.num_frames == 12
    assert made.duration_s == pytest.approx(1.2)
    assert made.audio_s == pytest.approx(1.2, abs=0.1)
    assert (made.checks, checked) == ({"lip_sync_r": 0.6}, [True])
    assert steps[-1][:3] == (Stage.RENDERING, 12, 12)


def test_a_clip_that_fails_its_check_has_no_manifest(tmp_path: Path) -> None:
    def check(*_facts: object) -> dict[str, float]:
        raise CheckFailed("the mouth is late")

    with pytest.raises(CheckFailed):
        write_clip(clip(12, check), order(tmp_path, 20), lambda *_step: None)
    assert AttemptFolder(tmp_path).find_manifest() is None


def test_a_clip_is_never_longer_than_was_paid_for(tmp_path: Path) -> None:
    with pytest.raises(EncodeError, match="more than 10"):
        write_clip(clip(12), order(tmp_path, 10), lambda *_step: None)
