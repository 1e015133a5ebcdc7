"""The ruler reads rendered clips without a mistake, so a wrong reading is the model's fault."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from models.tiny.blobs import label
from models.tiny.data import MOTIONS, RELATIONS, SHAPES, Combination, Thing, draw_combination
from models.tiny.outcomes import ATTRIBUTES, Outcome, share
from models.tiny.render import draw_backdrops, render
from models.tiny.ruler import measure
from models.tiny.scenes import draw_picture_scene, draw_scene
from models.tiny.tracks import Stage
from models.tiny.training import Draws

if TYPE_CHECKING:
    from numpy.typing import NDArray

BACKDROP = np.full((17, 64, 64, 3), 110, dtype=np.uint8)
RED, BLUE = (220, 30, 30), (40, 70, 230)


def paint(
    clip: NDArray[Any], frame: int, left: int, top: int, side: int, rgb: tuple[int, ...] = RED
) -> None:
    """Paints a square into one frame."""
    clip[frame, top : top + side, left : left + side] = rgb


def film(combination: Combination, stage: Stage, seed: int) -> NDArray[Any]:
    """Renders a clip as frames, float32 `[T, H, W, 3]` in 0..1."""
    video = render([draw_scene(combination, stage, Draws(6, seed).rng)])[0]
    frames: NDArray[Any] = ((video + 1) / 2).permute(1, 2, 3, 0).numpy()
    return frames


def read_many(stage: Stage, num_clips: int) -> list[Outcome]:
    """Renders and measures held-out combinations."""
    rng = Draws(7, stage.width).rng
    wanted = [draw_combination(rng, held_out=True) for _ in range(num_clips)]
    return [Outcome.read(each, film(each, stage, row)) for row, each in enumerate(wanted)]


def test_held_out_combinations_read_back_as_drawn() -> None:
    outcomes = read_many(Stage(), 120)
    things = [thing for each in outcomes for thing in each.wanted.things]
    assert {each.shape for each in things} == set(SHAPES)
    assert {each.motion for each in things} == set(MOTIONS)
    assert {each.wanted.relation for each in outcomes} == {None, *RELATIONS}
    for attribute in ATTRIBUTES:
        assert (share(outcomes, attribute) or 0) >= 0.98, attribute
    assert not any(each.is_blank for each in outcomes)
    assert max(seen.misfit for each in outcomes for seen in each.things) < 0.2


@pytest.mark.parametrize("stage", [Stage(160, 96, 49), Stage(96, 160, 9), Stage(64, 96, 33)])
def test_other_sizes_and_lengths_read_as_well(stage: Stage) -> None:
    outcomes = read_many(stage, 6)
    assert [each.is_right for each in outcomes].count(False) == 0


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_motion_is_read_in_every_world_size(motion: str) -> None:
    wanted = Combination((Thing("yellow", "star", motion),), "black")
    readings = [measure(film(wanted, Stage(96, 64), seed)) for seed in range(5)]
    assert Counter(each.motion for each in readings) == {motion: 5}


def test_noise_and_blur_do_not_change_what_is_read() -> None:
    wanted = Combination(
        (Thing("red", "heart", "left"), Thing("cyan", "cross", "still")), "white", "above"
    )
    clip = torch.from_numpy(film(wanted, Stage(), 1)).permute(0, 3, 1, 2)
    blurred = torch.nn.functional.avg_pool2d(clip, 3, 1, 1, count_include_pad=False)
    noise = torch.randn(clip.shape, generator=torch.Generator().manual_seed(1)) * 0.03
    frames = (blurred + noise).clamp(0, 1).permute(0, 2, 3, 1).numpy()
    assert Outcome.read(wanted, frames).is_right


@pytest.mark.parametrize(
    ("attribute", "shown"),
    [
        ("colour", Combination((Thing("blue", "star", "up"),), "black")),
        ("shape", Combination((Thing("red", "moon", "up"),), "black")),
        ("motion", Combination((Thing("red", "star", "up left"),), "black")),
        ("background", Combination((Thing("red", "star", "up"),), "navy")),
    ],
)
def test_what_differs_from_the_wish_is_found(attribute: str, shown: Combination) -> None:
    wanted = Combination((Thing("red", "star", "up"),), "black")
    outcome = Outcome.read(wanted, film(shown, Stage(), 2))
    assert [name for name in ATTRIBUTES if not outcome.has(name)] == [attribute]


def test_a_wrong_relation_and_a_wrong_number_are_found() -> None:
    things = (Thing("red", "star", "still"), Thing("blue", "ring", "still"))
    wanted = Combination(things, "white", "above")
    other_way = Outcome.read(wanted, film(wanted._replace(relation="below"), Stage(), 3))
    assert [name for name in ATTRIBUTES if not other_way.has(name)] == ["relation"]
    alone = Outcome.read(wanted, film(Combination(things[:1], "white"), Stage(), 3))
    assert not alone.has("count")
    assert not alone.has("relation")


def test_a_doubled_shape_is_counted() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        paint(clip, frame, 6, 20, 14)
        paint(clip, frame, 40, 20, 14)
    assert measure(clip).count == 2
    for frame in range(17):
        paint(clip, frame, 24, 45, 14, BLUE)
    assert measure(clip).count == 3


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
    assert measure(doubled).things[0].travel == pytest.approx(
        measure(clip).things[0].travel, abs=0.01
    )


def test_a_clip_without_an_object_is_blank() -> None:
    reading = measure(BACKDROP)
    assert reading.num_blank_frames == reading.num_frames == 17
    assert (reading.colour, reading.shape, reading.motion) == (None, None, None)
    assert (reading.background, reading.count) == ("gray", 0)


def test_single_blank_frames_are_counted() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        if frame not in (0, 9):
            paint(clip, frame, 20, 20, 16)
    reading = measure(clip)
    assert reading.num_blank_frames == 2
    assert reading.colour == "red"
    assert reading.motion is None, "the first frame says nothing about where it started"


def test_a_thing_that_comes_late_does_not_blink() -> None:
    clip = BACKDROP.copy()
    for frame in range(5, 17):
        paint(clip, frame, 20, 20, 16)
    reading = measure(clip)
    assert (reading.motion, reading.num_blank_frames) == (None, 5)


def test_a_second_thing_that_comes_late_makes_blank_frames() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        paint(clip, frame, 6, 6, 16)
        if frame >= 3:
            paint(clip, frame, 40, 40, 16, BLUE)
    reading = measure(clip)
    assert (len(reading.things), reading.num_blank_frames) == (2, 3)


def test_a_frame_that_is_mostly_object_is_broken() -> None:
    clip = BACKDROP.copy()
    for frame in range(17):
        paint(clip, frame, 3, 3, 58 if frame == 4 else 16)
    assert measure(clip).num_blank_frames == 1


def test_things_over_a_known_picture_are_read() -> None:
    rng = Draws(8, 0).rng
    num_right = 0
    for row in range(20):
        wanted = draw_combination(rng)
        scene = draw_picture_scene(wanted, Stage(), Draws(9, row).rng)
        frames = ((render([scene])[0] + 1) / 2).permute(1, 2, 3, 0).numpy()
        picture = draw_backdrops([scene])[0, :, 0].permute(1, 2, 0).numpy()
        outcome = Outcome.read(wanted, frames, picture)
        num_right += outcome.has("motion")
    # A texture may hold a patch of the shape's own colour.
    assert num_right >= 16


def test_patches_that_touch_at_a_corner_are_one() -> None:
    mask = np.zeros((2, 4, 6), dtype=bool)
    mask[0, 0, 0] = mask[0, 1, 1] = mask[0, 3, 5] = mask[1, 2, 2] = True
    labels = label(mask)
    assert len(np.unique(labels[0])) == 3, "nothing, the corner pair, the far pixel"
    assert labels[0, 0, 0] == labels[0, 1, 1] != labels[0, 3, 5]
    assert (labels > 0).sum() == mask.sum()


@pytest.mark.parametrize("shape", [(17, 64, 64), (17, 64, 64, 4), (1, 64, 64, 3)])
def test_what_is_no_clip_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected frames"):
        measure(np.zeros(shape, dtype=np.uint8))
