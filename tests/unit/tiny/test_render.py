"""The renderer draws exact, repeatable clips, and windows of them."""

from __future__ import annotations

import pytest
import torch

from models.tiny.data import BACKGROUNDS, COLOURS, SHAPES, Combination, Thing
from models.tiny.render import Backdrop, Item, Scene, Window, draw_backdrops, render
from models.tiny.scenes import (
    draw_autoencoder_scene,
    draw_picture_scene,
    draw_scene,
    draw_window,
)
from models.tiny.tracks import Stage, Track
from models.tiny.training import Draws

STAGE = Stage()
STILL = Track((32, 32), (32, 32), 12, 12)
BROWN = Backdrop(*BACKGROUNDS["brown"])
RED_CIRCLE = Combination((Thing("red", "circle", "up"),), "gray")

# A point that each shape covers, relative to its centre.
INSIDE = dict.fromkeys(SHAPES, (0, 0)) | {"ring": (9, 0), "moon": (-5, 0)}


@pytest.mark.parametrize("stage", [STAGE, Stage(96, 64, 9), Stage(64, 160, 5)])
def test_a_batch_is_float_video_in_range(stage: Stage) -> None:
    rng = Draws(1, 0).rng
    clips = render([draw_autoencoder_scene(stage, rng) for _ in range(20)])
    assert clips.shape == (20, 3, stage.num_frames, stage.height, stage.width)
    assert clips.dtype == torch.float32
    assert clips.min() >= -1
    assert clips.max() <= 1


def test_the_same_seed_draws_the_same_pixels() -> None:
    first, second = (
        render([draw_picture_scene(RED_CIRCLE, STAGE, Draws(seed, 0).rng)]) for seed in (5, 5)
    )
    assert torch.equal(first, second)


def test_a_clip_does_not_depend_on_its_batch() -> None:
    rng = Draws(2, 0).rng
    scenes = [draw_autoencoder_scene(STAGE, rng) for _ in range(6)]
    together = render(scenes)
    for row, scene in enumerate(scenes):
        torch.testing.assert_close(together[row], render([scene])[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_inside_is_the_colour_and_outside_the_background(shape: str) -> None:
    scene = Scene(STAGE, BROWN, (Item(shape, COLOURS["cyan"], STILL),))
    clip = (render([scene])[0] + 1) / 2 * 255
    across, down = INSIDE[shape]
    inside, outside = clip[:, 8, 32 + down, 32 + across], clip[:, 8, 2, 2]
    for pixel, rgb in ((inside, COLOURS["cyan"]), (outside, (90, 50, 20))):
        torch.testing.assert_close(pixel, torch.tensor(rgb, dtype=torch.float32), atol=0.01, rtol=0)


def test_a_ring_shows_the_background_in_its_middle() -> None:
    scene = Scene(STAGE, BROWN, (Item("ring", COLOURS["cyan"], STILL),))
    middle = (render([scene])[0, :, 0, 32, 32] + 1) / 2 * 255
    torch.testing.assert_close(middle, torch.tensor([90.0, 50.0, 20.0]), atol=0.01, rtol=0)


def test_a_sunset_blends_from_top_to_bottom() -> None:
    top, bottom = BACKGROUNDS["sunset"]
    column = draw_backdrops([Scene(STAGE, Backdrop(top, bottom), ())])[0, :, 0, :, 5] * 255
    torch.testing.assert_close(column[:, 0], torch.tensor(top, dtype=torch.float32), atol=2, rtol=0)
    assert (column[0].diff() > 0).all()
    torch.testing.assert_close(
        column[:, -1], torch.tensor(bottom, dtype=torch.float32), atol=2, rtol=0
    )


def test_a_blinking_item_is_gone_while_it_is_hidden() -> None:
    track = Track((32, 32), (32, 32), 12, 12, is_blinking=True)
    clip = render([Scene(STAGE, BROWN, (Item("circle", COLOURS["cyan"], track),))])[0]
    is_seen = (clip[:, :, 32, 32] - clip[:, :, 2, 2]).abs().amax(0) > 0.5
    assert is_seen.tolist() == [True] * 5 + [False] * 4 + [True] * 4 + [False] * 4


def test_the_last_item_is_in_front() -> None:
    items = (Item("square", COLOURS["red"], STILL), Item("circle", COLOURS["white"], STILL))
    centre = render([Scene(STAGE, BROWN, items)])[0, :, 0, 32, 32]
    assert (centre > 0.9).all()


def test_a_window_is_cut_from_the_whole_clip() -> None:
    rng = Draws(3, 0).rng
    stage, part = Stage(96, 64, 17), Stage(32, 32, 5)
    scenes = [draw_autoencoder_scene(stage, rng) for _ in range(12)]
    windows = [draw_window(scene, part, rng) for scene in scenes]
    clips, parts = render(scenes), render(scenes, windows, part)
    for clip, small, window in zip(clips, parts, windows, strict=True):
        left, top, first = window.left, window.top, window.first_frame
        cut = clip[:, first : first + 5, top : top + 32, left : left + 32]
        torch.testing.assert_close(small, cut, atol=1e-4, rtol=0)


def test_a_texture_lies_behind_the_shapes_of_a_picture() -> None:
    scene = draw_picture_scene(RED_CIRCLE, STAGE, Draws(4, 0).rng)
    backdrop = draw_backdrops([scene])[0, :, 0]
    assert backdrop.std((1, 2)).max() > 0.03, "it has structure"
    red = torch.tensor(scene.items[0].rgb) / 127.5 - 1
    first = render([scene])[0, :, 0]
    x, y = (round(value - 0.5) for value in scene.items[0].track.start)
    torch.testing.assert_close(first[:, y, x], red, atol=0.01, rtol=0)


def test_a_window_starts_at_the_corner_unless_told() -> None:
    assert Window() == Window(0, 0, 0)


def test_a_scene_has_the_things_of_its_combination() -> None:
    things = (Thing("red", "star", "left"), Thing("blue", "moon", "still"))
    scene = draw_scene(Combination(things, "white", "below"), STAGE, Draws(5, 0).rng)
    assert [item.shape for item in scene.items] == ["star", "moon"]
    assert scene.items[0].track.start[1] > scene.items[1].track.start[1]


@pytest.mark.parametrize(("shape", "end"), [("star", 0), ("triangle", 0), ("heart", -1)])
def test_a_star_and_a_triangle_point_up_and_a_heart_down(shape: str, end: int) -> None:
    frame = render([Scene(STAGE, BROWN, (Item(shape, COLOURS["cyan"], STILL),))])[0, 2, 0]
    is_shape = (frame - frame[0, 0]).abs() > 0.5
    tip, other = (is_shape.any(1).nonzero()[place].item() for place in (end, -1 - end))
    across = [is_shape[int(row)].nonzero().flatten() for row in (tip, other)]
    at_tip, at_other = (int(columns[-1] - columns[0]) for columns in across)
    assert at_tip < 8 < at_other
