"""The renderer draws exact, repeatable clips, and windows of them."""

from __future__ import annotations

import pytest
import torch

from models.tiny.data import BACKGROUNDS, COLOURS, SHAPES, Combination, Track
from models.tiny.render import Item, Scene, Window, render
from models.tiny.scenes import draw_autoencoder_scene, draw_scene, draw_window
from models.tiny.training import Draws

STILL = Track((32, 32), (32, 32), 12, 12)


def test_a_batch_is_float_video_in_range() -> None:
    rng = Draws(1, 0).rng
    clips = render([draw_autoencoder_scene(rng) for _ in range(20)])
    assert clips.shape == (20, 3, 17, 64, 64)
    assert clips.dtype == torch.float32
    assert clips.min() >= -1
    assert clips.max() <= 1


def test_the_same_seed_draws_the_same_pixels() -> None:
    first, second = (
        render([draw_scene(Combination("red", "circle", "up", "gray"), Draws(seed, 0).rng)])
        for seed in (5, 5)
    )
    assert torch.equal(first, second)


def test_a_clip_does_not_depend_on_its_batch() -> None:
    rng = Draws(2, 0).rng
    scenes = [draw_autoencoder_scene(rng) for _ in range(6)]
    together = render(scenes)
    for row, scene in enumerate(scenes):
        torch.testing.assert_close(together[row], render([scene])[0])


@pytest.mark.parametrize("shape", SHAPES)
def test_inside_is_the_colour_and_outside_the_background(shape: str) -> None:
    scene = Scene(BACKGROUNDS["brown"], (Item(shape, COLOURS["cyan"], STILL),))
    clip = (render([scene])[0] + 1) / 2 * 255
    for pixel, rgb in ((clip[:, 8, 32, 32], COLOURS["cyan"]), (clip[:, 8, 2, 2], (90, 50, 20))):
        torch.testing.assert_close(pixel, torch.tensor(rgb, dtype=torch.float32), atol=0.01, rtol=0)


def test_the_last_item_is_in_front() -> None:
    items = (Item("square", COLOURS["red"], STILL), Item("circle", COLOURS["white"], STILL))
    centre = render([Scene(BACKGROUNDS["black"], items)])[0, :, 0, 32, 32]
    assert (centre > 0.9).all()


def test_a_window_is_cut_from_the_whole_clip() -> None:
    rng = Draws(3, 0).rng
    scenes = [draw_autoencoder_scene(rng) for _ in range(8)]
    windows = [draw_window(scene, 32, 5, rng) for scene in scenes]
    clips, parts = render(scenes), render(scenes, windows, 32, 5)
    for clip, part, window in zip(clips, parts, windows, strict=True):
        left, top, first = int(window.left), int(window.top), window.first_frame
        cut = clip[:, first : first + 5, top : top + 32, left : left + 32]
        torch.testing.assert_close(part, cut, atol=1e-4, rtol=0)


def test_a_window_starts_at_the_corner_unless_told() -> None:
    assert Window() == Window(0.0, 0.0, 0)
