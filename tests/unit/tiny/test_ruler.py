"""The ruler reads rendered clips without a mistake, so a wrong reading is the model's fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from models.tiny.data import list_combinations
from models.tiny.render import render
from models.tiny.ruler import measure
from models.tiny.scenes import draw_scene
from models.tiny.training import Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKDROP = np.full((17, 64, 64, 3), 110, dtype=np.uint8)


def paint(clip: NDArray[Any], frame: int, left: int, top: int, side: int) -> None:
    """Paints a red square into one frame."""
    clip[frame, top : top + side, left : left + side] = (220, 30, 30)


def test_every_combination_reads_back_as_drawn() -> None:
    rng = Draws(6, 0).rng
    wanted = list_combinations()[::4]
    clips = render([draw_scene(each, rng) for each in wanted])
    frames = ((clips + 1) / 2).permute(0, 2, 3, 4, 1).numpy()
    readings = [measure(clip) for clip in frames]
    for attribute in ("colour", "motion", "background"):
        assert [getattr(each, attribute) for each in readings] == [
            getattr(each, attribute) for each in wanted
        ]
    right = sum(each.shape == one.shape for each, one in zip(readings, wanted, strict=True))
    assert right / len(wanted) >= 0.95
    assert sum(each.num_blank_frames for each in readings) == 0
    assert max(each.misfit for each in readings) < 0.05


def test_integers_and_floats_read_alike() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        paint(clip, frame, 5 + 2 * frame, 20, 16)
    assert measure(clip) == measure(clip.astype(np.float64) / 255)
    assert measure(clip).motion == "right"


def test_lengths_are_relative_to_the_frame() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        paint(clip, frame, 20, 40 - 2 * frame, 16)
    doubled = clip.repeat(2, axis=1).repeat(2, axis=2)
    assert measure(doubled).motion == measure(clip).motion == "up"
    assert measure(doubled).travel == pytest.approx(measure(clip).travel, abs=0.01)


def test_a_clip_without_an_object_is_blank() -> None:
    reading = measure(BACKDROP)
    assert reading.num_blank_frames == reading.num_frames == 17
    assert (reading.colour, reading.shape, reading.motion) == (None, None, None)
    assert reading.background == "gray"


def test_single_blank_frames_are_counted() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        if frame not in (0, 9):
            paint(clip, frame, 20, 20, 16)
    reading = measure(clip)
    assert reading.num_blank_frames == 2
    assert reading.colour == "red"
    assert reading.motion is None, "the first frame says nothing about where it started"


def test_a_frame_that_is_mostly_object_is_broken() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        paint(clip, frame, 3, 3, 58 if frame == 4 else 16)
    assert measure(clip).num_blank_frames == 1


@pytest.mark.parametrize("shape", [(17, 64, 64), (17, 64, 64, 4), (1, 64, 64, 3)])
def test_what_is_no_clip_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected frames"):
        measure(np.zeros(shape, dtype=np.uint8))
